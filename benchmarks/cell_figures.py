"""The pictures of a card, from what `benchmarks.cells` saved there: docs/benchmarks.md shows them.

python -m benchmarks.cell_figures --matrix 51600 --memory 2800
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

from benchmarks import figures
from benchmarks.__main__ import efficiency
from benchmarks.problems import problems
from benchmarks.table import Cell

RESULTS = Path(__file__).with_name("results")
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def cells_of(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Returns the cells of all `gpu_*.json` of a folder as `figures` takes them, and the device's name.

    Of a cell that was measured twice, the one with more steps counts: short calls drown in noise.
    """
    best: dict[Any, dict[str, Any]] = {}
    device = ""
    for path in sorted(folder.glob("gpu_*.json")):
        found = json.loads(path.read_text())
        for cell in found.get("cells", ()):
            key = found["problem"], cell["opponent"], cell["networks"]
            before = best.get(key)
            if cell["us"] and (before is None or before["steps"] < cell["steps"]):
                best[key] = cell | {"problem": found["problem"], "rows": cell["networks"]}
                device = found["device"]
    order = {problem.name: place for place, problem in enumerate(problems())}
    return sorted(best.values(), key=lambda cell: (order[cell["problem"]], cell["rows"])), device


def main() -> None:
    """Draws the costs of all opponents, and regjax under the limits of the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--matrix", type=float, required=True, help="GFLOP/s of the largest product")
    parser.add_argument("--memory", type=float, required=True, help="GB/s of the triad")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json files")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    asked = parser.parse_args()
    cells, device = cells_of(asked.results)
    figures.costs(cells, device).savefig(asked.pictures / "benchmarks_gpu.png", dpi=110)
    ours = [
        Cell(**cast(Any, {name: cell.get(name) for name in Cell._fields}))
        for cell in cells
        if cell["opponent"] == "regjax"
    ]
    points = efficiency(ours, problems(), asked.matrix)
    figures.roofline(points, asked.matrix, asked.memory, device).savefig(
        asked.pictures / "roofline_gpu.png", dpi=110
    )


if __name__ == "__main__":
    main()
