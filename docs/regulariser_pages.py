"""The page of each regulariser, as Markdown: the site makes them from here, and no file is written.

What only a person can write is in regularisers/pages.toml. Names, ranges, off values and flags come from
`HYPERPARAMETERS`; places, costs, sources and other libraries from the tables of regularisers.md; the
strengths of the pictures, which `python docs/gallery.py --regularisers` draws, are in their titles.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regjax.core.hparams import HYPERPARAMETERS, Hyperparameter

DOCS = Path(__file__).parent
OVERVIEW = "regularisers.md"
# The sweep that every page shows. The off value stands first, so that it is the baseline.
STEPS = 2_000
DATA_TERM = " The data term is the mean loss of the samples."
# Ratios of a step's time below it may be noise: the same step, measured again, differs by as much.
FREE = 1.1
# Imports of a proof, each where it is used.
IMPORTS = (
    ("jax", "import jax"),
    ("jnp", "import jax.numpy as jnp"),
    ("regjax", "import regjax"),
    *(
        (name, f"from regjax.core import {name}")
        for name in (
            "augment", "averaging", "constraints", "dropout", "early_stopping", "gradients", "losses",
            "optimizers", "penalties",
        )
    ),
    ("Data", "from regjax.core.data import Data"),
    ("check_hparams", "from regjax.core.hparams import check_hparams"),
    ("Layer", "from regjax.core.mlp import Layer"),
)  # fmt: skip


def texts() -> dict[str, dict[str, Any]]:
    """Returns what regularisers/pages.toml says about each regulariser."""
    return tomllib.loads((DOCS / "regularisers" / "pages.toml").read_text(encoding="utf-8"))


def pages() -> dict[str, str]:
    """Returns the pages: path on the site -> Markdown, in the order of the overview's table."""
    overview, written = (DOCS / OVERVIEW).read_text(encoding="utf-8"), texts()
    known, costs = regularisers(overview), costs_of(overview)
    return {
        f"regularisers/{name}.md": page(name, written, known[name], costs, places(overview)) for name in known
    }


def linked(overview: str) -> str:
    """Returns the overview with the names in the first cells of its tables, and in its advice, as links.

    In the repository the pages are no files, so that the names are no links there.
    """
    return re.sub(r"^\| .+$", lambda row: _linked_row(row[0]), overview, flags=re.MULTILINE)


def _linked_row(row: str) -> str:
    """Returns a row of a table: with its name as a link, or with all names of what to try."""
    cells = row.split(" | ")
    place = 0 if row.startswith("| `") else len(cells) - 1 if len(cells) == 2 else None
    if place is not None:
        cells[place] = re.sub(
            r"`(\w+)`",
            lambda name: f"[{name[0]}](regularisers/{name[1]}.md)" if is_regulariser(name[1]) else name[0],
            cells[place],
        )
    return " | ".join(cells)


def is_regulariser(name: str) -> bool:
    """Returns whether a name is that of a hyperparameter with a place in a training step."""
    return name in HYPERPARAMETERS and bool(HYPERPARAMETERS[name].place)


def rows(table: str, columns: int) -> list[list[str]]:
    """Returns the rows of a page that begin with a name in backticks and have so many cells."""
    # A bar inside a cell is written \| in Markdown.
    lines = (
        re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines() if line.startswith("| `")
    )
    return [cells for cells in lines if len(cells) == columns]


def regularisers(overview: str) -> dict[str, dict[str, str]]:
    """Returns the source of each regulariser and its names elsewhere, from the overview's table."""
    return {cells[0].strip("`"): {"source": cells[4], "elsewhere": cells[5]} for cells in rows(overview, 6)}


def costs_of(overview: str) -> dict[str, tuple[str, str]]:
    """Returns the ratio of a step's time to that without, of full batches and of minibatches."""
    return {cells[0].strip("`"): (cells[2], cells[4]) for cells in rows(overview, 5)}


def places(overview: str) -> dict[str, str]:
    """Returns the places of a training step in order, each with its file, from the overview."""
    found = re.findall(r"^\| ([a-z, ]+) \| `(regjax/core/\w+\.py)` \|$", overview, re.MULTILINE)
    return dict(found)


def page(
    name: str,
    written: Mapping[str, Mapping[str, Any]],
    table: Mapping[str, str],
    costs: Mapping[str, tuple[str, str]],
    order: Mapping[str, str],
) -> str:
    """Returns the page of one regulariser.

    Args:
        name: of the regulariser.
        written: what is written about each, see `texts`.
        table: its source and its names elsewhere, see `regularisers`.
        costs: see `costs_of`.
        order: see `places`.
    """
    text, declared = written[name], HYPERPARAMETERS[name]
    steps = " → ".join(f"**{place}**" if place == declared.place else place for place in order)
    parts = [
        f"# {text['title']}: `{name}`",
        _linked_words(text["says"], name),
        f"![Decision boundaries without and with {name}](../pictures/regularisers/{name}.webp)",
        "*The same network without and with it. Both have the same first weights and the same samples; those "
        "with a black edge were held out. One network each, and a strength that is not tuned: this shows "
        f"what it does, not whether it helps.{' ' + text['picture'] if 'picture' in text else ''}*",
        "## When to try it",
        f"**Try it:** {_linked_words(text['helps'], name)}",
        f"**Rather not:** {_linked_words(text['not'], name)}",
        f"**First values:** {_first(text['values'])}. {_range(name, declared)}",
        "## Formula",
        _block("text", text["formula"]),
        text["letters"] + (DATA_TERM if "data term" in text["formula"] + text["letters"] else ""),
        "## Derivative",
        _block("text", text["derivative"]),
        "## In numbers",
        "The function that training calls, held against the formula:",
        _block("python", proof(text["proof"])),
        "## Place in the training step",
        steps,
        f"{text['step']} The code is in `{order[declared.place]}`.",
        "## Sweep it",
        "On the command line, where the answer says how each value compares with off:",
        _block("sh", command(name, text)),
        "In Python:",
        _block("python", python(name, text)),
        f"As a file, `{name}.toml`:",
        _block("toml", toml(name, text)),
        "run with:",
        _block("sh", f"regjax sweep {name}.toml"),
        "## In other libraries",
        _elsewhere(name, declared, table["elsewhere"]),
        "## What it costs",
        _cost(costs.get(name)),
        "## Source",
        f"{text['paper']}." if table["source"] == "—" else f"{table['source']}: {text['paper']}.",
        "**See also:** "
        + " · ".join(f"[{written[other]['title']}]({other}.md)" for other in text["related"])
        + f" · [all regularisers](../{OVERVIEW}) · [glossary](../glossary.md)",
    ]
    return "\n\n".join(parts) + "\n"


def _linked_words(text: str, own: str) -> str:
    """Returns a text of a page with the names of other regularisers as links."""
    return re.sub(
        r"`(\w+)`",
        lambda name: f"[{name[0]}]({name[1]}.md)" if name[1] != own and is_regulariser(name[1]) else name[0],
        text,
    )


def proof(code: str) -> str:
    """Returns a proof with the imports that it needs."""
    used = [line for name, line in IMPORTS if re.search(rf"(?<![\w.]){name}\b[.(]", code)]
    core = [line.rsplit(" ", 1)[1] for line in used if line.startswith("from regjax.core import")]
    head = [line for line in used if line.startswith("import")]
    tail = [f"from regjax.core import {', '.join(core)}"] if core else []
    tail += [line for line in used if line.startswith("from") and "core import" not in line]
    groups = [[line for line in head if "regjax" not in line], [*(n for n in head if "regjax" in n), *tail]]
    return "\n\n".join([*("\n".join(group) for group in groups if group), code.strip()])


def settings(name: str, text: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of `Config` that the sweep of a page names."""
    declared = HYPERPARAMETERS[name]
    found: dict[str, Any] = {"num_steps": STEPS, **text.get("options", {})}
    return found | ({"optimizer": declared.optimizers[0]} if declared.optimizers else {})


def values(name: str, text: Mapping[str, Any]) -> list[float]:
    """Returns the values of the sweep of a page: off, and what to try first."""
    off = HYPERPARAMETERS[name].off
    assert off is not None
    return [off, *text["values"]]


def command(name: str, text: Mapping[str, Any]) -> str:
    """Returns the command that sweeps a regulariser."""
    flags = {"num_steps": "steps"}
    asked = "".join(
        f" --{flags.get(key, key).replace('_', '-')} {value}" for key, value in settings(name, text).items()
    )
    axis = ",".join("none" if math.isinf(value) else f"{value:g}" for value in values(name, text))
    return f"regjax sweep --{name.replace('_', '-')} {axis}{asked}"


def python(name: str, text: Mapping[str, Any]) -> str:
    """Returns the same sweep in Python."""
    axis = ", ".join("None" if math.isinf(value) else f"{value:g}" for value in values(name, text))
    config = ", ".join(f'"{key}": {_literal(value)}' for key, value in settings(name, text).items())
    return (
        "import regjax\n\n"
        "found = regjax.sweep(\n"
        f'    "two_regions", {{{config}}}, {{"{name}": [{axis}]}}, seeds=4, folds=5\n'
        ")\n"
        "print(found.compare())"
    )


def toml(name: str, text: Mapping[str, Any]) -> str:
    """Returns the same sweep as a file."""
    config = "\n".join(f"{key} = {_literal(value)}" for key, value in settings(name, text).items())
    axis = ", ".join(f"{value:g}" for value in values(name, text))
    return f"[config]\n{config}\n\n[grid]\n{name} = [{axis}]"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:_}" if value >= 1000 else f"{value}"


def _block(language: str, code: str) -> str:
    return f"```{language}\n{code.strip()}\n```"


def _first(wanted: list[float]) -> str:
    return " and ".join(f"{value:g}" for value in wanted)


def _range(name: str, declared: Hyperparameter) -> str:
    per = {
        "scalar": "",
        "weights": ", one for all layers or one per layer",
        "hidden": ", one for all hidden layers or one per hidden layer",
    }[declared.shape]
    off = "`none`" if declared.off == math.inf else f"{declared.off:g} (or `none`)"
    limits = " It needs plain sgd." if declared.proximal else ""
    limits += f" It needs the optimizer `{declared.optimizers[0]}`." if declared.optimizers else ""
    limits += " It needs classes." if declared.classes else ""
    return f"`{name}` is {declared.range.words.removesuffix(', or 0 for off')}{per}; off is {off}.{limits}"


def _elsewhere(name: str, declared: Hyperparameter, elsewhere: str) -> str:
    none = "We know of no counterpart in scikit-learn's networks, PyTorch or Keras."
    found = none if elsewhere == "—" else elsewhere.rstrip(".") + "."
    if not declared.sklearn:
        return f"{found}\n\nregjax's own scikit-learn estimators have no parameter for it."
    meaning = {
        "same": "with the same value",
        "strength": "divided by the batch as in scikit-learn and not by n: the same number with full batches",
        "rate": f"which is 1 − `{name}`",
        "bound": "with the same value, and `None` for off",
    }[declared.meaning]
    return f"{found}\n\nIn regjax's own scikit-learn estimators it is `{declared.sklearn}`, {meaning}."


def _cost(ratios: tuple[str, str] | None) -> str:
    link = f"[how this was measured](../{OVERVIEW}#what-each-adds-to-a-step)"
    if ratios is None:
        return f"Not in the table of costs, which is of sgd ({link})."
    noise = (
        " So little cannot be told from the noise of the machine." if max(map(float, ratios)) < FREE else ""
    )
    return (
        f"The time of a step, as a multiple of that without it: {ratios[0]} with a full batch, {ratios[1]} "
        f"with batches of 32 ({link}).{noise}"
    )
