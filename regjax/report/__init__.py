"""A sweep as one HTML page that opens offline: `page`, and `About` the sweep; see docs/report.md."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regjax.report.html import About, page

__all__ = ["About", "page"]


# Bokeh, pandas and JAX are imported where a page is asked for.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regjax.report' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("regjax.report.html"), name)
