"""`import regjax` loads nothing else; every public name is there all the same."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import regjax

SOURCE = Path(regjax.__file__).read_text()


def fresh(code):
    """Runs code in a process of its own and returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_no_other_module():
    found = fresh(
        "import sys; before = {*sys.modules}; import regjax; dir(regjax); print(*{*sys.modules} - before)"
    )
    assert [name for name in found if name.split(".")[0] not in sys.stdlib_module_names] == ["regjax"]


def test_the_command_answers_ctrl_c_before_jax_is_imported():
    # Ctrl-C comes when `regjax.cli.main`, the first import of `main`, begins.
    code = """
import importlib.abc, os, signal, sys
class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("regjax."):
            assert "jax" not in sys.modules
            os.kill(os.getpid(), signal.SIGINT)
from regjax.__main__ import main
sys.meta_path.insert(0, Press())
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "regjax: interrupted; nothing was written\n"


def test_type_checkers_and_python_find_the_same_names_in_the_same_modules():
    (block,) = [
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    names = [(alias, node.module) for node in imports for alias in node.names if node.module != "regjax"]
    # A module under a name of its own is written with `as`.
    assert [f"{module}.{alias.name}" for alias, module in names if alias.asname] == ["regjax.data.datasets"]
    assert regjax.datasets is importlib.import_module("regjax.data.datasets")
    seen = {alias.name: module for alias, module in names if not alias.asname}
    assert {name: f"regjax.{module}" for name, module in regjax._MODULE_OF.items()} == seen
    assert set(seen) == set(regjax.__all__)
    assert set(regjax._PACKAGES) == {m.name for m in pkgutil.iter_modules(regjax.__path__) if m.ispkg}


@pytest.mark.parametrize("name", ["sweep", "plan", "grid", "cost", "load"])
def test_a_function_hides_no_module(name):
    assert callable(getattr(regjax, name))
    assert name not in {m.name for m in pkgutil.iter_modules(regjax.__path__)}


@pytest.mark.nightly
def test_packages_and_the_version_are_found_when_they_are_asked_for():
    code = "import regjax; print(regjax.RegMLPClassifier(), regjax.plot.heatmap.__name__, regjax.__version__)"
    assert fresh(code)[:2] == ["RegMLPClassifier()", "heatmap"]
    assert {"plot", "sweep", "__version__"} <= set(dir(regjax))
    with pytest.raises(AttributeError, match="module 'regjax' has no attribute 'nothing'"):
        _ = regjax.nothing
