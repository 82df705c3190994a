"""What a step of yours must be, for `python -m benchmarks step`, and how its parameters are read.

Everything that is wrong with a step is said in one line before anything is compiled.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import naive
from benchmarks.problems import Params, Problem
from regjax.core.checks import did_you_mean, shortened, shown
from regjax.core.mlp import init_params
from regjax.core.random import replicate_key

ARGUMENTS = ("params", "hparams", "x", "y", "key")
HPARAMS = ("learning_rate", "l2", "keep_prob")
# What JAX raises where Python asks for the number that a traced array stands for.
NOT_KNOWN = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


class Step(NamedTuple):
    """A user's training step.

    Attributes:
        name: module:function, as it was asked for.
        function: `(params, hparams, x, y, key) → params`, of one network.
        init: `(key, layer_sizes) → params`, the function `init` of the same module; regjax's where the module
            has none.
    """

    name: str
    function: Callable[..., Any]
    init: Callable[..., Any]


class Layout(NamedTuple):
    """Where the parameters of a network stand among the leaves of a user's pytree.

    Attributes:
        places: for each leaf "w" or "b", and the number of the layer.
        shapes: the shapes of the leaves of one network.
        inputs_first: whether weights are `(fan_in, fan_out)` rather than `(fan_out, fan_in)`.
    """

    places: tuple[tuple[str, int], ...]
    shapes: tuple[tuple[int, ...], ...]
    inputs_first: bool

    def leaves(self, params: Params) -> list[jax.Array]:
        """Returns the leaves for networks that are given as `problems.Rows` has them."""
        found = []
        for (kind, layer), shape in zip(self.places, self.shapes, strict=True):
            w, b = params[layer]
            leaf = b if kind == "b" else np.swapaxes(w, 1, 2) if self.inputs_first else w
            found.append(jnp.asarray(leaf.reshape(len(w), *shape)))
        return found

    def params(self, leaves: list[Any]) -> Params:
        """Returns the networks of such leaves, as `problems.Rows` has them."""
        by_place = {place: np.asarray(leaf) for place, leaf in zip(self.places, leaves, strict=True)}
        found = []
        for layer in range(len(self.places) // 2):
            w, b = by_place["w", layer], by_place["b", layer]
            found.append((np.swapaxes(w, 1, 2) if self.inputs_first else w, b.reshape(len(b), -1)))
        return found


def layout_of(params: Any, layer_sizes: tuple[int, ...]) -> Layout | None:
    """Returns the layout of a network's parameters; None where they are not its weights and biases alone.

    Layers stand in their order, and weights and biases in turn or one kind after the other, in any pytree.

    Args:
        params: the parameters of one network.
        layer_sizes: the sizes of its layers.
    """
    shapes = tuple(tuple(np.shape(leaf)) for leaf in jax.tree.leaves(params))
    pairs = list(itertools.pairwise(layer_sizes))
    layers = range(len(pairs))
    orders = [[(kind, i) for i in layers for kind in kinds] for kinds in ("wb", "bw")]  # in turn
    orders += [[(kind, i) for kind in kinds for i in layers] for kinds in ("wb", "bw")]  # first one kind
    for inputs_first, places in itertools.product((False, True), orders):
        if len(places) == len(shapes) and all(
            shape in _shapes(kind, *pairs[i], inputs_first)
            for (kind, i), shape in zip(places, shapes, strict=True)
        ):
            return Layout(tuple(places), shapes, inputs_first)
    return None


def _shapes(kind: str, fan_in: int, fan_out: int, inputs_first: bool) -> list[tuple[int, ...]]:
    """Returns the shapes that the weights or biases of a layer may have."""
    if kind == "b":
        return [(fan_out, 1), (fan_out,), (1, fan_out)]
    return [(fan_in, fan_out) if inputs_first else (fan_out, fan_in)]


def load(name: str) -> Step:
    """Returns the step that is called module:function; the module may also be a file that ends in .py.

    Raises:
        ValueError: no such module or function, or another signature.
        TypeError: what is no function.
    """
    module_name, colon, function_name = name.rpartition(":")
    if not (colon and module_name and function_name):
        raise ValueError(f"step must be module:function, got {shown(name)}")
    try:
        module = _imported(module_name)
    except BaseException as error:  # of a user's file, which may also call sys.exit
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ValueError(
            f"step must be in a module that can be imported, got {module_name}: {in_a_line(error)}"
        ) from error
    if not hasattr(module, function_name):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(
            f"step must name a function of {module_name}, got {shown(function_name)}"
            + did_you_mean(function_name, known)
        )
    function, init = getattr(module, function_name), getattr(module, "init", init_params)
    check_signature(function_name, function, ARGUMENTS)
    check_signature("init", init, ("key", "layer_sizes"))
    return Step(name, function, init)


def check_signature(name: str, function: Any, arguments: tuple[str, ...]) -> None:
    """Raises TypeError for what cannot be called, ValueError for a function of other arguments."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, got {shown(function)}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ValueError(f"{name} must take ({', '.join(arguments)}), got {signature}") from None


def begin_of(step: Step, problem: Problem, seed: int = 0) -> Any:
    """Returns the parameters that a user's `init` draws for one network, as arrays.

    Raises:
        ValueError: `init` fails, or returns something other than a pytree of arrays.
    """
    try:
        drawn = step.init(replicate_key(seed), problem.layer_sizes)
    except Exception as error:
        raise ValueError(
            f"init must draw parameters for layers {problem.layer_sizes}, got {_said(error)}"
        ) from error
    try:
        params = jax.tree.map(jnp.asarray, drawn)
    except (TypeError, ValueError) as error:
        raise ValueError(f"init must return a pytree of arrays, got {shown(drawn)}") from error
    if not jax.tree.leaves(params):
        raise ValueError(f"init must return a pytree of arrays, got {shown(drawn)}")
    return params


def check_step(step: Step, problem: Problem) -> Any:
    """Returns the parameters of one network, after a check that the step may be traced and keeps their form.

    Raises:
        ValueError: the step cannot be traced or mapped over networks, or returns another pytree, shape or
            dtype than it takes.
    """
    params = begin_of(step, problem)
    name = step.name.rpartition(":")[2]
    x, y = (_like(array[: problem.batch_size]) for array in naive.data(problem))
    number = jax.ShapeDtypeStruct((), jnp.float32)
    hparams = dict.fromkeys((*HPARAMS, "num_train"), number)
    key = jax.eval_shape(jax.random.key, 0)
    begin = jax.tree.map(_like, params)
    two, keys = jax.tree.map(_two, begin), jax.eval_shape(lambda: jax.random.split(jax.random.key(0)))
    try:
        after = jax.eval_shape(step.function, begin, hparams, x, y, key)
    except NOT_KNOWN as error:
        raise ValueError(
            f"{name} must be traceable by jax.jit, got Python that asks for the value of a traced array"
            f"{_place(error)}: use jnp.where, lax.cond or jnp in place of if, float and NumPy"
        ) from error
    except Exception as error:
        raise ValueError(f"{name} must be traceable by jax.jit, got {_said(error)}") from error
    _check_same(name, begin, after)
    try:
        axes = (0, None, None, None, 0)
        jax.eval_shape(jax.vmap(step.function, axes), two, hparams, x, y, keys)
    except Exception as error:
        raise ValueError(f"{name} must be mapped over networks by jax.vmap, got {_said(error)}") from error
    return params


def _check_same(name: str, begin: Any, after: Any) -> None:
    """Raises ValueError unless a step returns the pytree, the shapes and the dtypes that it takes."""
    if jax.tree.structure(begin) != jax.tree.structure(after):
        raise ValueError(
            f"{name} must return params as it takes them, {_leaves(begin)}, got {_leaves(after)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(begin), jax.tree.leaves(after), strict=True)
    for (path, old), new in pairs:
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            at = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name} must return params as it takes them, params{at} {_form(old)}, got {_form(new)}"
            )


def in_a_line(error: BaseException) -> str:
    """Returns the kind and the first line of an error."""
    words = (str(error).strip() or "no words").splitlines()[0]
    return f"{type(error).__name__}: {shortened(words)}"


def _said(error: Exception) -> str:
    return f"{in_a_line(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Returns where in a user's file an error arose: the last line that is of no installed package."""
    outside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and Path(frame.filename).parent != Path(__file__).parent
        and Path(frame.filename).is_file()
    ]
    if not outside:
        return ""
    last = outside[-1]
    return f" at {Path(last.filename).name}:{last.lineno}, {shortened(last.line or '')!r}"


def _imported(name: str) -> ModuleType:
    """Returns a module by its name, or by the path of its file."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no file {name}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # it may import the files beside it, as in `python FILE`
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _like(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _two(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype)


def _form(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _leaves(tree: Any) -> str:
    """Returns a pytree in words: its type, and where its arrays stand in it."""
    paths = [jax.tree_util.keystr(path) or "itself" for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    if not paths:
        return f"{type(tree).__name__} without arrays" if tree is not None else "None"
    return f"{type(tree).__name__} with the arrays {shortened(', '.join(paths))}"
