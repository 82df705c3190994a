"""What a value shows of itself in a notebook: a small table of HTML, its answer first.

`Results`, `Comparison`, `Choice`, `ChoiceComparison`, `Plan` and `Tuned` call `card` in `_repr_html_`, which
Jupyter calls. The look is the notebook's own, light or dark: no colour is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# Rows that a table shows; more are counted.
MOST_ROWS = 6
# Notes that are shown, and characters of one cell: a name may be as long as a file.
MOST_NOTES, MOST_CHARACTERS = 12, 160
# Jupyter aligns cells to the right, which is hard to read where they hold words.
CELL = "text-align:left;vertical-align:top;padding:0.15em 0.8em 0.15em 0"


def card(
    first: str,
    head: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
    *,
    count: int = 0,
    most: int = MOST_ROWS,
    notes: Sequence[str] = (),
) -> str:
    """Returns HTML on one line: the answer in bold, a table, how many rows are left out, notes to unfold.

    All text is escaped, and none is taken for a formula.

    Args:
        first: the answer.
        head: names of the columns; none leaves the line out.
        rows: cells of the table; the first `most` are read.
        count: number of all rows, shown or not.
        most: largest number of rows that are shown.
        notes: sentences behind a click.

    Example:
        >>> card("l2 helps", ("name", "gain"), [("l2=1", "+0.1")], count=3).count("<tr>")
        2
        >>> "… and 2 more" in card("l2 helps", ("name", "gain"), [("l2=1", "+0.1")], count=3)
        True
    """
    shown = [row for row, _ in zip(rows, range(most), strict=False)]
    parts = [f"<p><strong>{_text(first, 6 * MOST_CHARACTERS)}</strong></p>"]
    if shown:
        lines = [_line("th", head)] if head else []
        lines += [_line("td", row) for row in shown]
        parts.append(f"<table>{''.join(lines)}</table>")
    if count > len(shown) > 0:
        parts.append(f"<p>… and {count - len(shown):,} more</p>")
    if notes:
        items = "".join(f"<li>{_text(note, 6 * MOST_CHARACTERS)}</li>" for note in notes[:MOST_NOTES])
        items += f"<li>… and {len(notes) - MOST_NOTES:,} more</li>" if len(notes) > MOST_NOTES else ""
        parts.append(f"<details><summary>Notes</summary><ul>{items}</ul></details>")
    return f'<div class="regjax tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _line(tag: str, cells: Sequence[object]) -> str:
    found = "".join(f'<{tag} style="{CELL}">{_text(cell, MOST_CHARACTERS)}</{tag}>' for cell in cells)
    return f"<tr>{found}</tr>"


def _text(value: object, longest: int) -> str:
    """Returns a value as one line of escaped text, cut where it is long."""
    text = " ".join(str(value).split())
    return escape(text if len(text) <= longest else text[: longest - 1] + "…")
