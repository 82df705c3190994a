"""Nothing in the source leans on a default of JAX that a user may change."""

import ast
import functools
from pathlib import Path

import pytest

import regjax

ROOT = Path(regjax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Functions of jax.random that draw nothing.
OF_KEYS = {"key", "PRNGKey", "wrap_key_data", "key_data", "fold_in", "split"}
# Functions of jax.numpy whose dtype is a default, and where they take it among their positional arguments.
MAKERS = {"arange": 4, "zeros": 2, "ones": 2, "empty": 2, "full": 3, "linspace": 6, "eye": 4, "identity": 2}


@functools.cache
def calls(path):
    """Every call in a file: (name of the function, node)."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return [(ast.unparse(node.func), node) for node in nodes if isinstance(node, ast.Call)]


def words(node):
    return {keyword.arg for keyword in node.keywords}


def found(chosen):
    """The calls that a condition of a file, a name and a node picks, as "file:line name"."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in FILES
        for name, node in calls(path)
        if chosen(path, name, node)
    ]


def is_draw(name):
    return name.startswith("jax.random.") and name.split(".")[-1] not in OF_KEYS | {"key_impl"}


@pytest.mark.slow
def test_keys_name_their_generator():
    makers = {f"jax.random.{name}" for name in ("key", "PRNGKey", "wrap_key_data")}
    assert found(lambda path, name, node: name in makers and "impl" not in words(node)) == []


def test_random_numbers_are_drawn_in_one_module():
    # The built-in data sets, and what tools of research draw, are drawn by a key of the user's.
    drawing = ("core/random.py", "data/datasets.py", "research/")

    def elsewhere(path, name, node):
        return is_draw(name) and not path.relative_to(ROOT).as_posix().startswith(drawing)

    assert found(elsewhere) == []


def test_random_numbers_name_their_dtype():
    drawn = found(lambda path, name, node: is_draw(name))
    named = found(lambda path, name, node: is_draw(name) and ("dtype" in words(node) or len(node.args) > 2))
    assert drawn == named != []


def test_arrays_name_their_dtype():
    def unnamed(path, name, node):
        module, _, function = name.rpartition(".")
        if module != "jnp" or "dtype" in words(node):
            return False
        if function in ("array", "asarray"):  # of numbers in the source; of an array they keep its dtype
            return len(node.args) < 2 and isinstance(node.args[0], ast.Constant | ast.List | ast.Tuple)
        return function in MAKERS and len(node.args) < MAKERS[function]

    assert found(unnamed) == []


@pytest.mark.parametrize("setting", ["enable_x64", "default_prng_impl", "debug_nans", "disable_jit"])
def test_settings_are_made_in_one_place(setting):
    files = {line.split(":")[0] for line in found(lambda path, name, node: name == f"jax.{setting}")}
    # There x64 is on for a user's own functions, whose other settings are not ours to change.
    assert files - {"core/gradient_check.py"} == {"core/settings.py"}


def test_the_only_global_setting_is_the_cache():
    files = {line.split(":")[0] for line in found(lambda path, name, node: name == "jax.config.update")}
    assert files == {"core/caching.py", "cli/terminal.py"}
