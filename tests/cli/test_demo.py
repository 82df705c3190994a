"""`regjax demo`: the two commands that it types, its page, and what stops it."""

import sys

import pytest
from command_line import regjax

from regjax.cli import demo, terminal


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The same sweep with few steps and networks."""
    monkeypatch.setattr(
        demo, "SWEEP", ("sweep", "two_regions", "--steps", "60", "--seeds", "2", "--folds", "2")
    )


@pytest.mark.slow
def test_it_answers_and_writes_its_page(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(terminal, "open_page", opened.append)
    first = regjax("demo", "--out", tmp_path / "o")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    typed = [line for line in lines if line.startswith("$ regjax ")]
    assert [line.split()[2] for line in typed] == ["sweep", "report"]
    assert opened == [tmp_path / "o" / "report.html"]
    assert "<html" in opened[0].read_text()
    assert lines[-2:] == [
        "With a table of yours: regjax sweep rows.csv --target COLUMN",
        "and its page: regjax report --open",
    ]


@pytest.mark.slow
def test_without_bokeh_it_still_answers(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    done = regjax("demo", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'regjax[report]'; the pictures are in {tmp_path}" in done.stdout
    assert (tmp_path / "scores.png").exists()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.nightly
def test_a_folder_may_begin_with_a_dash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(terminal, "open_page", opened.append)
    for _ in range(2):  # the second time the networks are there
        done = regjax("demo", "--out", "-o", "--no-open")
        assert done.returncode == 0, done.stderr
    assert not opened
    assert (tmp_path / "-o" / "report.html").exists()
    assert "next: regjax report ./-o/demo.sqlite --open" in done.stdout


def test_a_folder_without_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = regjax("demo", "--out", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "output folder must have a name" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_page_is_made_says_what_there_is(tmp_path, monkeypatch):
    def called(command, words, started):
        if words[0] == "report":
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_call", called)
    done = regjax("demo", "--out", tmp_path)
    assert done.returncode == 130
    assert f"interrupted; the sweep and its pictures are in {tmp_path}" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = regjax("demo", "--out", tmp_path / "file" / "o")
    assert (done.returncode, done.stdout) == (2, "")
    assert "output folder cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1
