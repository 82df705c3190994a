"""Docstrings as the site shows them; a griffe extension that mkdocs.yml names."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

import regjax


class AsShown(griffe.Extension):
    """Gives docstrings what they have when Python runs, and their examples the look of examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Puts the examples of a docstring into fences."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Takes docstrings from the running program, which writes those of HParams and the estimators."""
        for name in pkg.exports or ():
            thing, running = pkg[str(name)], getattr(regjax, str(name))
            text = inspect.getdoc(running) if inspect.isclass(running) else None
            if text:
                target = thing.final_target if thing.is_alias else thing
                target.docstring = griffe.Docstring(fenced(text), parent=target)


def fenced(text: str) -> str:
    """Returns a docstring whose examples stand between fences, as Markdown wants them.

    >>> fenced("Adds.\\n\\n>>> 1 + 1\\n2")
    'Adds.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    lines: list[str] = []
    indent = None
    for line in text.splitlines():
        if indent is None and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    return "\n".join([*lines, *([] if indent is None else [f"{indent}```"])])
