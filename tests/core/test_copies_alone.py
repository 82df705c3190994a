"""`regjax/core` works as a folder of its own, under another name."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import regjax

CORE = Path(regjax.__file__).parent / "core"


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A function that imports a module of a copy of the folder, which cannot import regjax."""
    shutil.copytree(CORE, tmp_path / "network", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "regjax"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it raises
    yield lambda name: importlib.import_module(f"network.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "network"]:
        del sys.modules[name]


@pytest.mark.nightly
def test_the_readme_trains_a_copy(network):
    (block,) = re.findall(r"```python\n(.*?)```", (CORE / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})


def test_every_module_of_a_copy_can_be_imported(network):
    for path in CORE.glob("*.py"):
        network(path.stem if path.stem != "__init__" else "train")


@pytest.mark.nightly
def test_a_gradient_of_a_copy_is_that_of_jax(network, x64):
    config = network("config").Config(layer_sizes=(2, 4, 1), activation="tanh", dtype="float64")
    hparams = network("hparams").HParams(l2=0.5, label_smoothing=jnp.array(0.1))
    params = network("mlp").init_params(network("random").replicate_key(0), (2, 4, 1), dtype="float64")
    data = network("data").Data(jnp.ones((2, 3)), jnp.array([[0, 1, 1]]), jnp.ones(3))
    objective = network("objective")
    ours = objective.cost_and_grads(params, hparams, data, config=config)[1]
    oracle = jax.grad(lambda params: objective.cost(params, hparams, data, config=config))(params)
    assert float(network("gradient_check").relative_error(ours, oracle)) < 1e-12


def test_the_readme_names_every_module():
    text = (CORE / "README.md").read_text()
    for path in CORE.glob("*.py"):
        assert path.stem == "__init__" or f"`{path.name}`" in text, path.name
