"""Makes the notebooks of examples/ from their scripts, and the site's pages from the notebooks.

python docs/notebooks.py             # writes their text; outputs stay where the code is the same
python docs/notebooks.py --execute   # runs them (some minutes), and keeps what they print and draw

A notebook is written as a script in jupytext's percent format, `examples/NAME.py`, whose differences can be
read; `examples/NAME.ipynb` is made from it and never changed by hand. The site's hook calls `pages`.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# In the order of the site.
NAMES = ("tutorial", "choose", "gradients", "lanes", "search")
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Seconds after which a cell counts as stuck.
LIMIT = 300


def from_script(name: str) -> Any:
    """Returns the notebook of a script, without outputs, its cells numbered.

    Args:
        name: one of `NAMES`.
    """
    import jupytext
    import nbformat

    notebook = jupytext.read(EXAMPLES / f"{name}.py", fmt="py:percent")
    notebook.metadata = nbformat.from_dict(KERNEL)
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}  # random ones would change with every run
    return notebook


def stored(name: str) -> Any:
    """Returns the committed notebook, as nbformat reads it."""
    import nbformat

    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def executed(name: str) -> Any:
    """Returns the notebook of a script with the outputs of running it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails; the message holds its traceback.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = from_script(name)
    NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", coalesce_streams=True).execute()
    notebook.metadata = nbformat.from_dict(KERNEL)  # without the version of this Python
    for cell in notebook.cells:
        cell.metadata = {}  # when each cell ran
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
            output.pop("transient", None)
    return notebook


def write(name: str, *, execute: bool) -> None:
    """Writes the notebook of a script.

    Args:
        name: one of `NAMES`.
        execute: run it; otherwise the outputs of the committed notebook stay, cell by cell, where the code
            of the cell and of all before it is the same.
    """
    import nbformat

    path = EXAMPLES / f"{name}.ipynb"
    notebook = executed(name) if execute else from_script(name)
    if not execute and path.is_file():
        for new, old in zip(notebook.cells, stored(name).cells, strict=False):
            if new.cell_type != old.cell_type or (new.cell_type == "code" and new.source != old.source):
                break
            if new.cell_type == "code":
                new.outputs, new.execution_count = old.outputs, old.execution_count
    nbformat.write(notebook, path)


def pages() -> dict[str, str | bytes]:
    """Returns path in the site -> the page of a notebook as Markdown, or a picture of it as PNG.

    Raises:
        OSError: a notebook is missing.
    """
    found: dict[str, str | bytes] = {}
    for name in NAMES:
        parts = [f"*[This page as a notebook]({name}.ipynb), made by running `examples/{name}.py`.*"]
        pictures = 0
        for cell in stored(name).cells:
            if cell.cell_type == "markdown":
                parts.append(cell.source)
                continue
            if cell.source.strip():
                parts.append(f"```python\n{cell.source}\n```")
            for output in cell.outputs:
                data = output.get("data", {})
                if "image/png" in data:
                    pictures += 1
                    picture = f"{name}_{pictures}.png"
                    found[f"notebooks/{picture}"] = base64.b64decode(data["image/png"])
                    parts.append(f"![{data.get('text/plain', 'figure')!s}]({picture})")
                else:
                    parts += _shown(output)
        parts[0], parts[1] = parts[1], parts[0]  # the title first
        found[f"notebooks/{name}.md"] = "\n\n".join(parts) + "\n"
        found[f"notebooks/{name}.ipynb"] = (EXAMPLES / f"{name}.ipynb").read_bytes()
    return found


def _shown(output: Any) -> Iterator[str]:
    """Yields the Markdown of an output that is no picture."""
    data = output.get("data", {})
    if "text/html" in data:
        # Markdown ends a block of HTML at an empty line; styles of one page must not reach the others.
        html = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        yield '<div class="notebook-output">' + " ".join(html.split()) + "</div>"
    else:
        text = output.get("text", data.get("text/plain", ""))
        if text.strip():
            yield f"```text\n{text.rstrip()}\n```"


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description="Makes examples/*.ipynb from examples/*.py.")
    parser.add_argument("names", nargs="*", default=NAMES, help="names of examples; all by default")
    parser.add_argument("--execute", action="store_true", help="run them and keep their outputs")
    asked = parser.parse_args(arguments)
    for name in asked.names:
        write(name, execute=asked.execute)
        size = (EXAMPLES / f"{name}.ipynb").stat().st_size
        print(json.dumps({"notebook": f"examples/{name}.ipynb", "bytes": size}))


if __name__ == "__main__":
    main()
