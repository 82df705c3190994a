"""What the site's reader of docstrings (griffe) must be told: what examples are, and what code completes."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

# Classes whose docstring is completed when their module is imported.
COMPLETED = re.compile(r"\{\w+\}")


class Docstrings(griffe.Extension):
    """Names the section of examples as griffe knows it, and reads completed docstrings from the class."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Changes a docstring before it is parsed."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if obj.is_class and COMPLETED.search(text):
            module, _, name = obj.path.rpartition(".")
            text = inspect.getdoc(getattr(importlib.import_module(module), name)) or text
        obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
