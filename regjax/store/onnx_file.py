"""A `Model` as ONNX: one graph from the columns of a table to its predictions.

`regjax fit --onnx` and users call `export_onnx`. The graph does what `Model.predict` does: gaps are filled,
numbers standardised, levels found, and the networks averaged.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from regjax.core.activations import SELU_ALPHA, SELU_SCALE
from regjax.data.schema import Column
from regjax.store.model_file import write_beside
from regjax.study.model import Model

# Old enough for runtimes of some years; all operators below are in these versions.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def export_onnx(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes a model as an ONNX file; it needs the extra `onnx`.

    The inputs have the names of the table's columns, `(n, 1)` each: numbers and dates (days since 1970) are
    doubles, NaN for a gap; categories are strings as they stand in the table, without spaces around them, ""
    for a gap, and numbers or booleans as Python writes them: 1, True. A model of arrays has the one input X,
    `(n, columns)`. The outputs are `label` `(n,)` and `probabilities` `(n, classes)`, or `value`
    `(n, outputs)`; one that is the name of a column gets an underscore.

    Args:
        model: a model, as `regjax.refit` returns it.
        path: the file, such as `model.onnx`.

    Raises:
        ImportError: onnx is not installed.
        OSError: the file cannot be written.
        ValueError: the networks have blocks, see `Config.blocks`.

    Example:
        >>> import regjax, tempfile
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> regjax.export_onnx(regjax.refit(results), f"{folder.name}/model.onnx")
        >>> folder.cleanup()
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("export_onnx needs onnx, which is missing: pip install 'regjax[onnx]'") from None
    from pathlib import Path

    found = as_onnx(model)
    onnx.checker.check_model(found, full_check=True)
    write_beside(Path(path), found.SerializeToString())


def as_onnx(model: Model) -> Any:
    """Returns a model as `onnx.ModelProto`."""
    from onnx import TensorProto, helper

    if not model.config.is_plain:
        raise ValueError(f"model must be a plain network for ONNX, got {model.config.blocks}")
    graph = _Graph(model.config.dtype)
    inputs, x = _columns(graph, model) if model.named else _matrix(graph, model)
    outputs = _predictions(graph, model, x, {value.name for value in inputs})
    made = helper.make_graph(graph.nodes, "regjax", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    found = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="regjax")
    found.producer_version = model.versions.get("regjax", "")
    helper.set_model_props(found, {"configuration": model.chosen.words, "target": model.schema.target})
    assert found.graph.input[0].type.tensor_type.elem_type in (TensorProto.DOUBLE, TensorProto.STRING)
    return found


class _Graph:
    """The nodes and constants of a graph; `add` returns the name of a node's output."""

    def __init__(self, dtype: str) -> None:
        from onnx import TensorProto

        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.type = TensorProto.DOUBLE if dtype == "float64" else TensorProto.FLOAT
        self.dtype = np.dtype(dtype)
        self._number = itertools.count()

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node, and returns the name of its output; that begins with a slash unless it is given."""
        from onnx import helper

        name = output or f"/{operator}_{next(self._number)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Adds a constant, and returns its name."""
        from onnx import numpy_helper

        name = f"/constant_{next(self._number)}"
        array = np.asarray(value, self.dtype if dtype is None else dtype)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def cast(self, name: str) -> str:
        """Adds a cast to the networks' own dtype."""
        return self.add("Cast", name, to=self.type)


def _matrix(graph: _Graph, model: Model) -> tuple[list[Any], str]:
    """Returns the one input of a model of arrays, and the name of what the networks get."""
    from onnx import TensorProto, helper

    statistics = model.statistics
    given = helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["n", len(model.schema.kept)])
    centred = graph.add("Sub", "X", graph.constant(statistics.mean[None], np.float64))
    return [given], graph.cast(graph.add("Div", centred, graph.constant(statistics.scale[None], np.float64)))


def _columns(graph: _Graph, model: Model) -> tuple[list[Any], str]:
    """Returns an input for each column, and the name of what the networks get."""
    from onnx import TensorProto, helper

    inputs, blocks, first_level = [], [], 0
    for j, column in enumerate(model.schema.kept):
        category = column.kind == "category"
        kind = TensorProto.STRING if category else TensorProto.DOUBLE
        inputs.append(helper.make_tensor_value_info(column.name, kind, ["n", 1]))
        if category:
            rare = model.statistics.rare[first_level : first_level + len(column.levels)]
            first_level += len(column.levels)
            blocks.append(_one_hot(graph, column, rare))
        else:
            blocks.append(_number(graph, column, *(float(part[j]) for part in model.statistics[:3])))
    return inputs, graph.add("Concat", *blocks, axis=1) if len(blocks) > 1 else blocks[0]


def _number(graph: _Graph, column: Column, median: float, mean: float, scale: float) -> str:
    """Returns the name of a number's inputs: filled, standardised, and beside it whether it was a gap."""
    gap = graph.add("IsNaN", column.name)
    filled = graph.add("Where", gap, graph.constant([[median]], np.float64), column.name)
    # In float64: the mean of large numbers would eat the digits of float32.
    centred = graph.add("Sub", filled, graph.constant([[mean]], np.float64))
    found = graph.cast(graph.add("Div", centred, graph.constant([[scale]], np.float64)))
    return graph.add("Concat", found, graph.cast(gap), axis=1) if column.gaps else found


def _one_hot(graph: _Graph, column: Column, rare: np.ndarray) -> str:
    """Returns the name of a category's inputs; a level that has none is 0 in all."""
    other = len(column.levels)
    place = {level: other if rare[i] else i for i, level in enumerate(column.levels)}
    place |= dict.fromkeys(column.rare, other)
    if column.gaps:
        place[""] = len(column.inputs) - 1
    code = graph.add(
        "LabelEncoder", column.name, domain="ai.onnx.ml",
        keys_strings=list(place), values_int64s=list(place.values()), default_int64=-1,
    )  # fmt: skip
    places = graph.constant([range(len(column.inputs))], np.int64)
    return graph.cast(graph.add("Equal", code, places))


def _predictions(graph: _Graph, model: Model, x: str, taken: set[str]) -> list[Any]:
    """Adds the networks and their mean, and returns the graph's outputs."""
    from onnx import TensorProto, helper

    each = [_network(graph, model, params, x) for params in model.networks]
    # onnxruntime has the operator Mean in float32 alone.
    total = functools.reduce(lambda one, other: graph.add("Add", one, other), each)
    mean = graph.add("Mul", total, graph.constant(1 / len(each)))
    if model.classes is None:
        scaled = graph.add("Mul", mean, graph.constant(model.target_scale))
        name = _free("value", taken)
        graph.add("Add", scaled, graph.constant(model.target_mean[None]), output=name)
        return [helper.make_tensor_value_info(name, graph.type, ["n", len(model.target_mean)])]
    label, probabilities = _free("label", taken), _free("probabilities", taken)
    graph.add("Identity", mean, output=probabilities)
    chosen = graph.add("ArgMax", mean, axis=1, keepdims=0)
    classes = model.classes
    kind = {"U": TensorProto.STRING, "b": TensorProto.BOOL}.get(classes.dtype.kind, TensorProto.INT64)
    values = classes.astype(object if classes.dtype.kind == "U" else helper.tensor_dtype_to_np_dtype(kind))
    graph.add("Gather", graph.constant(values, values.dtype), chosen, axis=0, output=label)
    return [
        helper.make_tensor_value_info(label, kind, ["n"]),
        helper.make_tensor_value_info(probabilities, graph.type, ["n", len(classes)]),
    ]


def _free(name: str, taken: set[str]) -> str:
    """Returns a name that no input has."""
    return name if name not in taken else _free(f"{name}_", taken)


def _network(graph: _Graph, model: Model, params: Sequence[Any], x: str) -> str:
    """Returns the name of one network's probabilities or real values."""
    a = x
    for number, (w, b) in enumerate(params):
        product = graph.add("MatMul", a, graph.constant(np.asarray(w).T))
        a = graph.add("Add", product, graph.constant(np.asarray(b).T))
        if number < len(params) - 1:
            a = _activation(graph, model.config.activation, a)
    if model.loss == "sigmoid_cross_entropy":
        p = graph.add("Sigmoid", a)
        return graph.add("Concat", graph.add("Sub", graph.constant(1.0), p), p, axis=1)
    if model.loss == "poisson":
        return graph.add("Exp", a)
    return a if model.loss == "squared_error" else graph.add("Softmax", a, axis=1)


def _activation(graph: _Graph, activation: str, z: str) -> str:
    """Returns the name of a hidden layer's values; silu is z·σ(z), gelu z·(1 + erf(z/√2))/2."""
    if activation == "identity":
        return z
    if activation == "silu":
        return graph.add("Mul", z, graph.add("Sigmoid", z))
    if activation == "selu":
        # By its parts: the operator Selu has its constants in float32.
        low = graph.add(
            "Sub", graph.add("Exp", graph.add("Min", z, graph.constant(0.0))), graph.constant(1.0)
        )
        low = graph.add("Mul", low, graph.constant(SELU_SCALE * SELU_ALPHA))
        high = graph.add("Mul", z, graph.constant(SELU_SCALE))
        return graph.add("Where", graph.add("Greater", z, graph.constant(0.0)), high, low)
    if activation != "gelu":
        return graph.add({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[activation], z)
    from onnx import TensorProto

    # onnxruntime has erf in float32 alone.
    inner = graph.add("Cast", graph.add("Mul", z, graph.constant(np.sqrt(0.5))), to=TensorProto.FLOAT)
    erf = graph.cast(graph.add("Erf", inner))
    half = graph.add("Mul", z, graph.constant(0.5))
    return graph.add("Mul", half, graph.add("Add", erf, graph.constant(1.0)))
