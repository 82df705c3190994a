"""Progress: in words, as lines, and who is called."""

import sys
import types

import pytest

from regjax.engine.progress import Progress, bar, in_notebook, lines, notebook_bar, reporter

HALF = Progress("train", 1200, 600, 3, 0.5, "l2=1 with 0.9", 125.0)


def test_progress_in_words():
    said = "600 of 1,200 networks done, 1,197 alive, 2 min 5 s left, best so far l2=1 with 0.9"
    assert str(HALF) == said
    assert str(HALF._replace(seconds_left=None, best="")) == "600 of 1,200 networks done, 1,197 alive"
    assert str(HALF._replace(phase="compile")) == "compiling for 1,200 networks"


def test_a_line_for_each_tenth_of_a_phase(capsys):
    with lines() as report:
        report(HALF._replace(phase="compile", fraction=0.0))
        for percent in range(0, 101, 2):
            report(HALF._replace(fraction=percent / 100))
    found = capsys.readouterr().err.splitlines()
    assert len(found) == 1 + 11
    assert found[0].split() == ["0%", "compiling", "for", "1,200", "networks"]
    assert found[-1].startswith("100% 600 of 1,200")


def test_who_is_called(capsys, monkeypatch):
    called = []
    with reporter(called.append) as report:
        report(HALF)
    assert called == [HALF]
    for quiet in (False, True):  # True: standard error is no terminal here
        with reporter(quiet) as report:
            report(HALF)
    assert capsys.readouterr().err == ""
    for wrong in ("yes", 1, None):
        with (
            pytest.raises(TypeError, match=f"progress must be True, False or a function, got {wrong!r}"),
            reporter(wrong),
        ):
            pass


def test_a_bar_shows_the_words_that_it_is_given(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with bar("before") as draw:
        draw(0.25, "a quarter")
    found = capsys.readouterr().err
    assert "a quarter" in found
    assert "25 %" in found


def test_a_bar_in_a_notebook_is_one_output(monkeypatch):
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html.data)

    def display(html, *, display_id):
        assert display_id
        shown.append(html.data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("regjax.engine.progress.in_notebook", lambda: True)
    with reporter(True) as report:
        for _ in range(1_000):
            report(HALF._replace(best="<b>&"))
    assert (
        shown[0] == '<progress value="0.000" max="1" style="vertical-align:middle"></progress> 0% compiling'
    )
    assert len(shown) < 10, "a thousand reports in no time are not a thousand messages"
    assert "best so far &lt;b&gt;&amp; – done after " in shown[-1]

    def broken():
        with notebook_bar("training", 0.0) as draw:
            draw(0.5, "half")
            assert "0.500" in shown[-1]
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert "half – stopped after " in shown[-1]


def test_a_terminal_is_no_notebook(monkeypatch):
    assert not in_notebook()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
