"""Figures of Matplotlib within the page, each as one image that holds its own text; `html` calls it."""

from __future__ import annotations

import base64
import io

from matplotlib import rc_context
from matplotlib.figure import Figure


def as_source(figure: Figure) -> str:
    """Returns a figure as the address of an image: SVG that stands in the address itself.

    In an image no script runs and no name meets one of the page; letters are outlines, so that every reader
    sees the same.
    """
    drawn = io.BytesIO()
    # A fixed salt and no date: the same figure gives the same page.
    with rc_context({"svg.hashsalt": "regjax", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}"
