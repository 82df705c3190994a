"""scikit-learn's own test modules, run on this package's classes.

tests/sklearn/test_peer_mlp.py and test_peer_searches.py call it. The source is read from the installed
scikit-learn each time, so that its next version brings its new tests.
"""

import ast
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest


class _Without(ast.NodeTransformer):
    """Takes names out of a module's `from … import`s, and notes which it has taken."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names, self.taken = set(names), set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        self.taken |= {alias.name for alias in node.names} & self.names
        node.names = [alias for alias in node.names if alias.name not in self.names]
        return node if node.names else None


def run_with(ours: Mapping[str, type], module: str, namespace: dict[str, Any]) -> None:
    """Runs a module in a test module's namespace, with other classes in place of those that it imports.

    The tests, fixtures and classes that it defines become the test module's own, so that pytest collects
    them and pickle finds them.

    Args:
        ours: name that the module imports -> the class that it gets.
        module: dotted name of the module; it is read, not imported.
        namespace: `globals()` of the test module.

    Raises:
        AssertionError: the module does not import one of the names.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    change = _Without(ours)
    tree = ast.fix_missing_locations(change.visit(ast.parse(Path(spec.origin).read_text())))
    assert change.taken == set(ours), f"{module} does not import {set(ours) - change.taken}"
    namespace.update(ours)
    # Compiled under its own path, so that a failure shows its lines.
    exec(compile(tree, spec.origin, "exec"), namespace)


def mark(namespace: dict[str, Any], given: pytest.MarkDecorator, names: Iterable[str]) -> None:
    """Gives tests of a namespace a mark, such as `pytest.mark.slow`."""
    for name in names:
        namespace[name] = given(namespace[name])


def expecting(differences: Mapping[str, str]) -> Any:
    """Returns a fixture, used by all tests of its module, that marks those that are expected to fail.

    Args:
        differences: a test's name, with its parameters or without -> why it fails.
    """

    @pytest.fixture(autouse=True)
    def expected(request: pytest.FixtureRequest) -> None:
        node: Any = request.node
        reason = differences.get(node.name) or differences.get(node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    return expected
