"""The package as a whole: import order, public names, side effects, README."""

import ast
import doctest
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import regjax

ROOT = Path(__file__).parents[1]

# A module imports only from those above it.
HOUSE = [
    "core.checks",
    "core.config",
    "core.hparams",
    "core.data",
    "data.matlab",
    "data.loaders",
    "data.splits",
    "core.activations",
    "core.losses",
    "core.penalties",
    "core.random",
    "core.dropout",
    "core.augment",
    "core.mlp",
    "core.numpy_random",
    "core.objective",
    "core.gradients",
    "core.optimizers",
    "core.constraints",
    "core.averaging",
    "core.early_stopping",
    "core.metrics",
    "core.minibatches",
    "core.evaluate",
    "core.train",
    "study.grid",
    "engine.lanes",
    "study.design",
    "engine.progress",
    "study.provenance",
    "study.plan",
    "study.intervals",
    "study.selection",
    "study.comparison",
    "study.results",
    "store.identity",
    "store.codec",
    "store.schema",
    "store.database",
    "store.leases",
    "store.store",
    "engine.recorder",
    "engine.packing",
    "engine.tasks",
    "engine.checkpoints",
    "engine.scheduler",
    "engine.workers",
    "engine.sweep",
    "sklearn.base",
    "sklearn.estimators",
    "sklearn.search",
    "engine.replay",
    "tutorial.functions",
    "core.convert",
    "tutorial.experiment",
    "tutorial.showcase",
    "core.gradient_check",
    "core.certificate",
    "plot.canvas",
    "tutorial.figures",
    "plot.request",
    "plot.lines",
    "plot.maps",
    "plot.decision",
    "plot.figures",
    "report.arrays",
    "report.models",
    "report.page",
    "cli.spec",
    "cli.terminal",
    "cli.tables",
    "cli.sweep",
    "cli.compare",
    "cli.store",
    "cli.plot",
    "cli.report",
    "cli.main",
]


def imported(path):
    """Yields the regjax modules that a file imports, inside functions too."""
    package = path.parent.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            folder = ROOT / (package if node.level else "") / (node.module or "").replace(".", "/")
            if not folder.is_relative_to(ROOT / "regjax"):
                continue
            for alias in node.names:
                found = folder / alias.name if folder.is_dir() else folder
                yield ".".join(found.relative_to(ROOT / "regjax").parts)
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("regjax.") for a in node.names if a.name.startswith("regjax."))


def test_every_module_has_its_place_in_the_house():
    modules = {
        m.name.removeprefix("regjax.")
        for m in pkgutil.walk_packages(regjax.__path__, "regjax.")
        if not m.ispkg
    }
    assert modules - {"__main__"} == set(HOUSE)


@pytest.mark.parametrize("module", HOUSE)
def test_imports_go_one_way(module):
    above = HOUSE[: HOUSE.index(module)]
    for name in imported(ROOT / "regjax" / f"{module.replace('.', '/')}.py"):
        assert name in above, f"{module} imports {name}"


def test_jax_grad_is_called_in_the_certificate_only():
    calls = re.compile(r"jax\.(grad|value_and_grad|vjp|jvp|jacfwd|jacrev|hessian)\(")
    found = [p.stem for p in (ROOT / "regjax").rglob("*.py") if calls.search(p.read_text())]
    assert sorted(found) == ["certificate", "gradient_check"]


def test_public_names():
    assert regjax.__all__ == [
        "Config",
        "HParams",
        "Data",
        "load_mat",
        "load_csv",
        "load_npz",
        "two_regions",
        "Layer",
        "init_params",
        "forward",
        "backward",
        "predict",
        "predict_proba",
        "cost",
        "cost_and_grads",
        "dropout_masks",
        "replicate_key",
        "make_train",
        "Trained",
        "check_gradient",
        "Grid",
        "grid",
        "random_grid",
        "sobol_grid",
        "sweep",
        "Questions",
        "Results",
        "load",
        "plan",
        "Plan",
        "RegMLPClassifier",
        "RegMLPRegressor",
        "RegGridSearchCV",
        "RegRandomizedSearchCV",
        "one_se",
    ]
    for name in regjax.__all__:
        assert getattr(regjax, name).__doc__


def test_importing_changes_nothing():
    code = """
import jax
before = dict(jax.config.values)
import regjax, sys
for name in regjax.__all__:
    if regjax._MODULE_OF[name].split(".")[0] != "sklearn":
        getattr(regjax, name)
assert dict(jax.config.values) == before, "a setting changed"
import jax._src.xla_bridge as bridge
assert not bridge._backends, "a backend was started"
heavy = [m for m in ("matplotlib", "sklearn", "pandas", "scipy", "rich", "click") if m in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_public_function_has_a_docstring():
    for path in (ROOT / "regjax").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in [tree, *ast.walk(tree)]:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                nested = not any(
                    node in ast.iter_child_nodes(n)
                    for n in ast.walk(tree)
                    if isinstance(n, ast.Module | ast.ClassDef)
                )
                assert nested or ast.get_docstring(node), f"{path.name}: {node.name}"


@pytest.mark.parametrize("module", HOUSE)
def test_doctests_of(module):
    __import__(f"regjax.{module}")
    failed, _ = doctest.testmod(sys.modules[f"regjax.{module}"])
    assert failed == 0


def test_readme_examples_run():
    failed, attempted = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert failed == 0
    assert attempted >= 5


def test_readme_names_real_commands_and_files():
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#]+)\)", readme):
        if "://" not in path:
            assert (ROOT / path).exists(), path
    for name in re.findall(r"`((?:tests|benchmarks|regjax|docs)/[\w./]+)`", readme):
        assert (ROOT / name).exists(), name


def test_readme_toml_and_its_flags_ask_for_the_same_sweep(tmp_path):
    from regjax.cli import options, spec

    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "spec.toml").write_text(block)
    (line,) = re.findall(r"^\$ regjax plan (.*)$", readme, re.MULTILINE)
    words = [*line.split(), "--rule", "one_se"]
    flags = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    assert set(flags) <= set(options.FLAGS)
    assert spec.resolve(str(tmp_path / "spec.toml"), {}) == spec.resolve(None, flags)
