"""The notebooks of examples/: their scripts and outputs agree, they run, and their pages are whole."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs/notebooks.py")
assert spec is not None
assert spec.loader is not None
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)

LEAST_FIGURES = {"tutorial": 2, "choose": 1, "gradients": 0, "lanes": 1, "search": 2}


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def assert_clean(notebook):
    """No error, no warning, no path of a machine, nothing on standard error but what progress shows."""
    for output in outputs(notebook):
        assert output.output_type in ("stream", "execute_result", "display_data"), output
        assert output.get("name", "stdout") == "stdout", output
        said = {name: text for name, text in output.get("data", {}).items() if name.startswith("text/")}
        for text in (output.get("text", ""), *said.values()):
            assert not re.search(r"Traceback|Warning|/home/|/tmp/|/root/|/work/|/Users/|0x[0-9a-f]{6}", text)
            assert "<progress" not in text, "progress ends as one line"


def test_every_script_is_a_notebook():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(notebooks.NAMES)
    assert {path.stem for path in (ROOT / "examples").glob("*.ipynb")} == set(notebooks.NAMES)


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_notebook_is_made_from_its_script(name):
    script, stored = notebooks.from_script(name), notebooks.stored(name)
    told = "run python docs/notebooks.py --execute"
    assert [(c.cell_type, c.source) for c in stored.cells] == [
        (c.cell_type, c.source) for c in script.cells
    ], told
    assert [c.id for c in stored.cells] == [c.id for c in script.cells]
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), f"a cell has not run: {told}"
    assert_clean(stored)
    figures = sum("image/png" in output.get("data", {}) for output in outputs(stored))
    assert figures >= LEAST_FIGURES[name]


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_notebook_answers_first_and_checks_its_claims(name):
    cells = notebooks.from_script(name).cells
    assert cells[0].source.startswith("# ")
    assert "**Answer:**" in cells[0].source or "**Answer:**" in cells[1].source
    assert any("assert " in cell.source for cell in cells if cell.cell_type == "code")


def test_notebooks_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "examples").glob("*.ipynb")) < 1_500_000


def test_pages_have_their_pictures():
    pages = notebooks.pages()
    linked = set()
    for name in notebooks.NAMES:
        page = pages[f"notebooks/{name}.md"]
        assert page.startswith("# ")
        assert len(re.findall(r"^# ", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)) == 1
        assert page.count("```") % 2 == 0
        linked |= {f"notebooks/{target}" for target in re.findall(r"\]\(([^)]+)\)", page)}
        for line in page.splitlines():
            assert line.count("<div") == line.count("</div"), "a block of HTML ends on its line"
    assert linked == {path for path in pages if not path.endswith(".md")}
    assert all(pages[path][:4] == b"\x89PNG" for path in linked if path.endswith(".png"))
    assert pages["notebooks/gradients.md"].startswith("# Is my backward right?\n")


def test_outputs_stay_where_the_code_is_the_same(tmp_path, monkeypatch):
    for path in (ROOT / "examples").iterdir():
        if path.stem == "gradients":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(notebooks, "EXAMPLES", tmp_path)
    script, notebook = tmp_path / "gradients.py", tmp_path / "gradients.ipynb"
    before = notebook.read_text()
    notebooks.write("gradients", execute=False)
    assert notebook.read_text() == before
    script.write_text(script.read_text().replace("LAMBDA, N = 0.7", "LAMBDA, N = 0.8"))
    notebooks.write("gradients", execute=False)
    counts = [c.execution_count for c in notebooks.stored("gradients").cells if c.cell_type == "code"]
    assert counts[:3] == [1, 2, 3]
    assert set(counts[3:]) == {None}


@pytest.mark.nightly
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_notebook_runs(name):
    code = f"import notebooks; notebooks.LIMIT = 200; found = notebooks.executed({name!r})"
    code += "; import nbformat, sys; sys.stdout.write(nbformat.writes(found))"
    # In a process of its own, whose warnings are no errors of this one.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    import nbformat

    found = nbformat.reads(done.stdout, as_version=4)
    assert_clean(found)
    assert len(outputs(found)) == len(outputs(notebooks.stored(name)))
