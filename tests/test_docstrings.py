"""Docstrings of the public surface: what each must say, so that nobody must read the code to call it.

Of every public function, class and public method or property of a public class:

1. It has a docstring, whose first sentence ends with a full stop.
2. `Args:` names each parameter (of `**options` it may name what they hold), or the text says of what other
   name they are the arguments ("arguments as in `sweep`"). A function of one parameter may say it in its
   first sentence.
3. A parameter that is an array says its shape, such as `(n, d)`, or that it has any.
4. `Raises:` names each class of exceptions that the function itself raises.
5. A function has an example, `>>>`, and so has a class, unless it is a tuple of named fields.

A derivative that stands directly below its function, such as `relu_derivative`, shares that one's docstring.
The examples run as doctests: `test_package.py` runs those of every module.
"""

import ast
import importlib
import inspect
import re
import textwrap

import pytest
from surface import CORE_MODULES, SURFACE, core_names

ARRAYS = re.compile(r"ArrayLike|jax\.Array|np\.ndarray|Array\b")
ELSEWHERE = re.compile(r"\b(arguments|parameters)\b[^.]*\bas (in|of)\b", re.IGNORECASE)
# A shape such as `(n, d)`, or in words; a lone pair of brackets may be anything.
SHAPE = re.compile(
    r"`\([^()`]*,[^()`]*\)`|\bshapes?\b|any number|scalar|whole number|may be traced|one value|per layer",
    re.IGNORECASE,
)
AS_IN = re.compile(r"\bas in `([\w.]+)`")


def surface():
    """Yields (name, object) of the public surface, methods included."""
    modules = {name: names.split() for name, names in SURFACE.items()}
    modules |= {f"regjax.core.{name}": core_names(name) for name in CORE_MODULES}
    for module, names in modules.items():
        for name in names:
            found = getattr(importlib.import_module(module), name)
            if callable(found) or inspect.isclass(found):
                yield f"{module}.{name}", found
            if inspect.isclass(found) and found.__module__.startswith("regjax"):
                for key, member in vars(found).items():
                    inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                    if not key.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property)):
                        yield f"{module}.{name}.{key}", inner


NAMED = dict(surface())
FUNCTIONS = {name: found for name, found in NAMED.items() if inspect.isfunction(inspect.unwrap(found))}


def sections(text, heading):
    """Returns the indented texts below a heading: one, or with that of its function two of a derivative."""
    found = re.findall(rf"^{heading}:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(words) for words in found]


def entries(text):
    """Returns name -> text of a section's entries."""
    found = re.split(r"^(\*{0,2}\w[\w, .*|]*):", text, flags=re.MULTILINE)[1:]
    pairs = zip(found[::2], found[1::2], strict=True)
    return {name.strip("* "): words for names, words in pairs for name in re.split(r", | and ", names)}


def described_in(text):
    """Returns name -> text of the parameters that a docstring describes."""
    return {name: words for args in sections(text, "Args") for name, words in entries(args).items()}


def parameters(function):
    return [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]


def text_of(name):
    """Returns a docstring; of a derivative, with that of its function."""
    text = inspect.getdoc(NAMED[name]) or ""
    partner = re.sub(r"_(derivative|gradient)$", "", name)
    return text if partner == name or partner not in NAMED else f"{inspect.getdoc(NAMED[partner])}\n\n{text}"


@pytest.mark.parametrize("name", NAMED)
def test_it_has_a_first_sentence(name):
    first = (inspect.getdoc(NAMED[name]) or "").split("\n\n")[0]
    assert first
    assert first.rstrip().endswith((".", ":", "?", ")"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_described_and_arrays_with_their_shapes(name):
    text, given, described = text_of(name), parameters(FUNCTIONS[name]), described_in(text_of(name))
    if ELSEWHERE.search(text) or (not described and len(given) < 2):
        return
    for parameter in given:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name not in described:
            # The function that `**options` names has it.
            for other in AS_IN.findall(described.get("options", "")):
                described |= described_in(text_of(other if other in NAMED else f"regjax.{other}"))
        assert parameter.name in described, f"Args: lacks {parameter.name}"
        if ARRAYS.search(str(parameter.annotation)) and "Callable" not in str(parameter.annotation):
            has_shape = "key" in parameter.name or SHAPE.search(described[parameter.name])
            assert has_shape, f"{parameter.name} has no shape"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_that_it_raises_are_named(name):
    function = inspect.unwrap(FUNCTIONS[name])
    raised = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised |= {node.exc.func.id} if isinstance(node.exc.func, ast.Name) else set()
    named = "".join(sections(text_of(name), "Raises")[:1])
    assert not {error for error in raised if error not in named}


@pytest.mark.sampled(60)
@pytest.mark.parametrize("name", NAMED)
def test_it_has_an_example(name):
    found = NAMED[name]
    is_member = inspect.isclass(NAMED.get(name.rpartition(".")[0]))
    is_fields = inspect.isclass(found) and issubclass(found, tuple)
    assert is_member or is_fields or ">>>" in text_of(name)
