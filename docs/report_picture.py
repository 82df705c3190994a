"""Takes the picture of docs/report.md: the page of a sweep, as Chromium shows it.

python docs/report_picture.py [--out FILE]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import regjax
from regjax import report


def main() -> None:
    """Trains a sweep, writes its page, and photographs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures" / "report.png")
    out: Path = parser.parse_args().out.resolve()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("a browser must be installed: chromium")
    grid = regjax.grid(l2=[0, 0.1, 1, 10], keep_prob=[1, 0.9, 0.7], learning_rate=0.03)
    config = {"hidden": (32,), "optimizer": "adam", "num_steps": 1_500}
    results = regjax.sweep("moons", config, grid, seeds=4, folds=5, progress=False)
    answers = results.answers(regjax.Questions())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        about = report.About(source="moons")
        text = report.page(results, answers.comparison, answers.choice, about=about, first=answers.first)
        page.write_text(text, encoding="utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,920",
            "--virtual-time-budget=10000", f"--screenshot={out}", page.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
