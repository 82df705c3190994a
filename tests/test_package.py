"""The package as a whole: which package may import which, sizes, public names, docstrings, README."""

import ast
import doctest
import functools
import graphlib
import importlib
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from cases import slow_but
from surface import SURFACE

ROOT = Path(__file__).parents[1]

# What each package imports directly; it may also import whatever those may import.
ARROWS = {
    "core": [],
    "data": ["core"],
    "native": ["core"],
    "research": ["core"],
    "study": ["data", "native"],
    "store": ["study"],
    "plot": ["study", "research"],
    "engine": ["store", "research"],
    "report": ["store", "plot"],
    "sklearn": ["engine"],
    "optuna": ["engine"],
    "tutorial": ["engine", "plot"],
    "cli": ["report", "sklearn", "tutorial"],
}

# Modules without a test file of their own, and the file (under `tests/`) that tests each.
TESTED_IN = {
    "cli.check": "cli/test_main.py",
    "cli.cluster": "engine/test_cluster.py",
    "cli.compare": "cli/test_main.py",
    "cli.export": "cli/test_sweep.py",
    "cli.options": "cli/test_spec.py",
    "cli.plan": "cli/test_sweep.py",
    "cli.planned": "cli/test_sweep.py",
    "cli.plot": "plot/test_figures.py",
    "cli.replay": "cli/test_sweep.py",
    "cli.report": "report/test_page.py",
    "cli.resume": "cli/test_sweep.py",
    "cli.show": "cli/test_sweep.py",
    "cli.stored": "cli/test_sweep.py",
    "cli.terminal": "cli/test_main.py",
    "cli.values": "cli/test_spec.py",
    "core.augment": "core/test_regularisers.py",
    "core.averaging": "core/test_regularisers.py",
    "core.checks": "core/test_config.py",
    "core.constraints": "core/test_regularisers.py",
    "core.embeddings": "core/test_blocks.py",
    "core.evaluate": "core/test_train.py",
    "core.gradients": "core/test_regularisers.py",
    "core.members": "core/test_blocks.py",
    "core.network": "core/test_blocks.py",
    "core.normalisation": "core/test_blocks.py",
    "core.numpy_random": "data/test_loaders.py",
    "core.settings": "engine/test_settings.py",
    "data.ties": "data/test_splits.py",
    "engine.replicates": "engine/test_lanes.py",
    "engine.confirming": "engine/test_tune.py",
    "engine.searching": "engine/test_tune.py",
    "engine.remote": "engine/test_cluster.py",
    "engine.signals": "engine/test_checkpoints.py",
    "engine.tuning": "engine/test_tune.py",
    "data.columns": "data/test_files.py",
    "data.scales": "data/test_splits.py",
    "data.delimited": "data/test_files.py",
    "data.dialect": "data/test_files.py",
    "data.layout": "data/test_files.py",
    "data.names": "data/test_datasets.py",
    "data.reading": "data/test_loaders.py",
    "study.evidence": "study/test_design.py",
    "study.forecast": "study/test_pilot.py",
    "plot.along": "plot/test_figures.py",
    "plot.canvas": "plot/test_figures.py",
    "plot.cells": "plot/test_figures.py",
    "plot.columns": "plot/test_figures.py",
    "plot.dataset": "plot/test_figures.py",
    "plot.decision": "plot/test_figures.py",
    "plot.differences": "plot/test_figures.py",
    "plot.detectable": "plot/test_figures.py",
    "plot.dropped": "plot/test_figures.py",
    "plot.lines": "plot/test_figures.py",
    "plot.maps": "plot/test_figures.py",
    "plot.samples": "plot/test_figures.py",
    "plot.weights": "plot/test_figures.py",
    "report.arrays": "report/test_page.py",
    "report.compact": "report/test_page.py",
    "report.html": "report/test_page.py",
    "report.inputs": "report/test_page.py",
    "report.models": "report/test_page.py",
    "report.networks": "report/test_page.py",
    "report.pictures": "report/test_page.py",
    "report.searches": "cli/test_tune.py",
    "optuna.space": "optuna/test_trials.py",
    "plot.answers": "plot/test_figures.py",
    "sklearn.candidates": "sklearn/test_search.py",
    "sklearn.predicting": "sklearn/test_estimators.py",
    "sklearn.running": "sklearn/test_together.py",
    "sklearn.rungs": "sklearn/test_halving.py",
    "sklearn.trained": "sklearn/test_search.py",
    "study.choice": "study/test_results.py",
    "study.configuration": "study/test_grid.py",
    "cli.predict": "cli/test_fit.py",
    "store.onnx_file": "store/test_onnx.py",
    "study.inference": "study/test_model.py",
    "study.population": "engine/test_population.py",
    "study.predict": "study/test_results.py",
    "study.records": "study/test_results.py",
    "study.references": "engine/test_references.py",
    "study.sensitivities": "engine/test_sensitivities.py",
    "study.words": "study/test_grid.py",
}

PATHS = {
    ".".join(path.relative_to(ROOT / "regjax").with_suffix("").parts): path
    for path in sorted((ROOT / "regjax").rglob("*.py"))
}
MODULES = [name for name in PATHS if "." in name and not name.endswith("__init__")]
# Those whose doctests train for seconds.
TRAINING = {
    "engine.population", "engine.references", "engine.tune", "optuna.export", "optuna.trials",
    "sklearn.estimators", "sklearn.fitted", "sklearn.halving", "sklearn.path", "sklearn.rules",
    "sklearn.search", "engine.snapshots", "study.model", "tutorial.experiment", "tutorial.functions",
    "plot.along", "plot.answers", "plot.columns", "plot.dataset", "plot.detectable", "plot.differences",
    "plot.dropped", "plot.lines", "plot.maps", "plot.population", "plot.weights", "plot.decision",
    "engine.refit", "engine.sweep", "report.html", "store.model_file", "store.onnx_file", "study.population",
    "study.results", "study.tuned", "engine.sensitivities", "study.sensitivities", "core.blocks",
    "research.closed_forms", "research.curvature", "research.ensembles", "research.hypergradients",
    "research.landscape",
    "research.output_noise", "research.planes", "research.pruning", "research.reverse", "research.spectrum",
    "research.subnetworks", "research.weight_scaling",
}  # fmt: skip
NAMED_TUPLES = {"_make", "_asdict", "_fields", "_field_defaults", "_replace"}


@functools.cache
def tree_of(module):
    return ast.parse(PATHS[module].read_text())


def imported(module):
    """Yields (level, module, local name) of each import from regjax, those inside functions too."""
    package = ["regjax", *module.split(".")[:-1]]
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "regjax":
                    yield 0, alias.name.removeprefix("regjax").lstrip("."), alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            words = [*base, *(node.module or "").split(".")] if node.module else base
            if words[:1] != ["regjax"]:
                continue
            for alias in node.names:
                inner = ".".join([*words[1:], alias.name])
                found = inner if inner in PATHS else ".".join(words[1:])
                yield node.level, found, alias.asname or alias.name


@functools.cache
def reachable(package):
    return {package}.union(*(reachable(other) for other in ARROWS[package]))


def functions(module):
    """Yields (qualified name, node) of every function of a module."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", node


def length_without_docstring(node):
    first = node.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
    return node.end_lineno - node.lineno + 1 - docstring


def test_packages_are_those_of_the_table():
    assert {name.split(".")[0] for name in MODULES} == set(ARROWS)


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows(package):
    for module in PATHS:
        if module.split(".")[0] == package and "." in module:
            for level, name, _ in imported(module):
                fits = name.split(".")[0] in reachable(package) if name else package == "cli"
                assert fits, f"{module} imports {name or 'regjax itself'}"
                if package == "core":
                    assert level, f"{module} imports {name} by an absolute name; core is copied under others"


def test_no_modules_import_each_other():
    order = graphlib.TopologicalSorter({m: {n for _, n, _ in imported(m) if n in MODULES} for m in MODULES})
    order.prepare()  # raises CycleError, which names the modules


def test_private_names_stay_in_their_module():
    found = set()
    for module in PATHS:
        names = {}
        for _, source, name in imported(module):
            names[name] = source
            if name.startswith("_") and name not in ("__version__",):
                found.add(f"{module} imports {source}.{name}")
        for node in ast.walk(tree_of(module)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in names
            ):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                if private and node.attr not in NAMED_TUPLES:
                    found.add(f"{module} uses {node.value.id}.{node.attr}")
    assert not found


def test_every_module_has_its_test_file():
    missing = []
    for module in MODULES:
        package, _, name = module.partition(".")
        own = f"{package}/test_{name}.py"
        if (ROOT / "tests" / own).is_file():
            assert module not in TESTED_IN, f"{module} has {own}: take its line out of TESTED_IN"
        elif module not in TESTED_IN or not (ROOT / "tests" / TESTED_IN[module]).is_file():
            missing.append(own)
    assert not missing
    assert set(TESTED_IN) <= set(MODULES)


def test_files_are_short():
    lines = {module: len(path.read_text().splitlines()) for module, path in PATHS.items()}
    assert not {m: n for m, n in lines.items() if n > 500}
    assert statistics.median(lines[m] for m in MODULES) < 200


def test_functions_are_short():
    found = [(length_without_docstring(node), name) for module in MODULES for name, node in functions(module)]
    assert not [f for f in found if f[0] > 60]
    assert sum(lines < 30 for lines, _ in found) > 0.9 * len(found)


def test_functions_take_few_arguments():
    for module in MODULES:
        for name, node in functions(module):
            given = node.args
            count = len([*given.posonlyargs, *given.args, *given.kwonlyargs])
            # The calls with which users ask for everything.
            most = {"engine.sweep.sweep": 11, "engine.tune.tune": 13, "cli.tune.tune": 10}.get(name, 10)
            assert count <= most, f"{name} takes {count}: several of them are one value"


def test_jax_differentiates_in_certificates_and_through_trainings_only():
    calls = re.compile(r"jax\.(grad|value_and_grad|vjp|jvp|jacfwd|jacrev|hessian|linearize)\(")
    found = [m for m in PATHS if calls.search(PATHS[m].read_text())]
    certificates = ["core.certificate", "core.gradient_check", "engine.native_certificate"]
    assert found == [
        *certificates,
        *(f"research.{name}" for name in ("curvature", "hypergradients", "reverse")),
    ]


@pytest.mark.parametrize("package", SURFACE)
def test_public_names(package):
    module = importlib.import_module(package)
    assert module.__all__ == SURFACE[package].split()
    for name in module.__all__:
        assert getattr(module, name).__doc__


def test_no_other_package_has_a_surface():
    packages = {f"regjax.{package}" for package in ARROWS}
    assert {p for p in packages if hasattr(importlib.import_module(p), "__all__")} == set(SURFACE) - {
        "regjax",
        "regjax.data.datasets",
    }


@pytest.mark.nightly
def test_importing_changes_nothing():
    code = """
import jax
before = dict(jax.config.values)
import regjax, sys
assert dict(jax.config.values) == before, "a setting changed"
import jax._src.xla_bridge as bridge
assert not bridge._backends, "a backend was started"
names = "matplotlib sklearn pandas scipy rich click optuna".split()
heavy = [m for m in names if m in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.nightly
def test_every_public_function_has_a_docstring():
    for module, path in PATHS.items():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), module
        for scope in (tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))):
            if isinstance(scope, ast.Module) or not scope.name.startswith("_"):
                for node in scope.body:
                    named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
                    assert not named or ast.get_docstring(node), f"{module}: {node.name}"


# A rung of few epochs ends before a network has converged, and scikit-learn says so.
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("module", slow_but(MODULES, set(MODULES) - TRAINING, every=5))
def test_doctests_of(module):
    __import__(f"regjax.{module}")
    failed, _ = doctest.testmod(sys.modules[f"regjax.{module}"])
    assert failed == 0


def as_a_user(command, folder, path=""):
    """Runs a command in a folder; tests compile with less optimisation and by XLA, users do not."""
    headless = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    surroundings = {"PYTHONPATH": str(ROOT), "REGJAX_KERNEL": "native", "PATH": path + os.environ["PATH"]}
    options = {"cwd": folder, "env": headless | surroundings, "timeout": 300}
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.nightly
@pytest.mark.slow
def test_readme_examples_run(tmp_path):
    done = as_a_user([sys.executable, "-m", "doctest", ROOT / "README.md"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert (ROOT / "README.md").read_text().count(">>> ") >= 5


@pytest.mark.slow
def test_readmes_minute_on_the_command_line_runs_and_says_what_it_shows(tmp_path):
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)[2]
    (shown,) = re.findall(r"```console\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "regjax").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regjax "$@"\n')
    (tmp_path / "regjax").chmod(0o755)
    done = as_a_user(["bash", "-euc", commands], tmp_path, f"{tmp_path}:{Path(sys.executable).parent}:")
    assert done.returncode == 0, done.stderr
    # Another processor rounds in another order: the last digits of an interval may differ.
    for text in (shown, done.stdout):
        assert re.search(r"helps: 0\.3\d? better than none in validation R²", text), text
    for line in shown.splitlines():
        assert re.sub(r"[\d.+]+.*", "", line) in done.stdout, line
    assert f"open {(tmp_path / 'report.html').as_uri()}" in done.stdout
    assert (tmp_path / "report.html").stat().st_size > 1e6


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_readme_names_real_commands_and_files():
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#]+)\)", readme):
        if "://" not in path:
            assert (ROOT / path).exists(), path
    for name in re.findall(r"`((?:tests|benchmarks|regjax|docs)/[\w./]+)`", readme):
        assert (ROOT / name).exists(), name


def test_the_guides_toml_and_its_flags_ask_for_the_same_sweep(tmp_path):
    from regjax.cli import options, spec

    guide = (ROOT / "docs" / "guides" / "sweep.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "spec.toml").write_text(block)
    (line,) = re.findall(r"^\$ regjax plan (.*)$", guide, re.MULTILINE)
    words = ["--data", *line.split(), "--rule", "one_se"]  # the data stand first
    flags = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    assert set(flags) <= set(options.FLAGS)
    assert spec.resolve(str(tmp_path / "spec.toml"), {}) == spec.resolve(None, flags)
