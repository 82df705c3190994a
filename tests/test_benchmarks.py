"""Every benchmark runs at its smallest size; no test asserts a time."""

import json
import sys

import pytest

import benchmarks.__main__
from benchmarks import (
    bench_compare,
    bench_coverage,
    bench_faults,
    bench_layout,
    bench_regularisers,
    bench_sklearn,
    bench_sweep,
    growth,
    table,
)
from benchmarks.__main__ import broken_bounds
from benchmarks.opponents import OPPONENTS, Opponent, numpy_loop
from benchmarks.problems import problems


@pytest.mark.slow
def test_bench_compare(monkeypatch, capsys, tmp_path):
    arguments = ["bench_compare", "--steps", "3", "--repeats", "1", "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_compare.main()
    assert "regjax, warm" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found["seconds"]) == {"numpy", "regjax, cold", "regjax, warm"}
    assert {"versions", "device", "cores", "date"} <= set(found)


def test_bench_coverage(monkeypatch, capsys, tmp_path):
    arguments = ["bench_coverage", "--sweeps", "2", "--harmless", "2", "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_coverage.main()
    out = capsys.readouterr().out
    for asked in ("93 to 97 %", "at least 93 %", "at most 5 %"):
        assert asked in out
    found = json.loads((tmp_path / "r.json").read_text())
    assert all(
        claim["low"] <= claim["found"] <= claim["high"] for claim in found["claims"] if claim["trials"]
    )
    assert [choice["metric"] for choice in found["choices"]] == ["val_loss", "val_accuracy"]


@pytest.mark.slow
def test_bench_layout(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_layout", "--steps", "2", "--repeats", "1", "--lanes", "4"])
    bench_layout.main()
    out = capsys.readouterr().out
    for variant in bench_layout.VARIANTS:
        assert variant in out


@pytest.mark.slow
def test_bench_sweep(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_sweep", "--steps", "2", "--repeats", "1", "--rows", "128"])
    bench_sweep.main()
    out = capsys.readouterr().out
    assert "regjax, independent" in out
    assert "128 rows" in out
    assert "ratio" in out


@pytest.mark.slow
def test_bench_faults(monkeypatch, capsys, tmp_path):
    arguments = "--kills 2 --files 10 --processes 2 --process-kills 1 --steps 800 --repeats 1 --inputs 40"
    arguments += f" --overhead-steps 2 --json {tmp_path}/r.json"
    monkeypatch.setattr(sys, "argv", ["bench_faults", *arguments.split()])
    bench_faults.main()
    assert "no room to write" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["killed"]["same"] == found["killed"]["finished"] >= 1
    assert found["killed"]["whole"] == found["killed"]["kills"] == 2
    assert found["full disk"]["exit code"] == 1
    assert found["full disk"]["same"]
    assert not any("wrong" in outcome for outcome in found["damaged"])
    assert found["several processes"]["undisturbed, same"]
    assert found["several processes"]["killed, same"]
    assert found["odd inputs"]["together"].endswith(" 0 faults")


@pytest.mark.slow
def test_bench_regularisers(monkeypatch, capsys):
    arguments = ["bench_regularisers", "--steps", "2", "--repeats", "1", "--names", "l2", "sam"]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_regularisers.main()
    out = capsys.readouterr().out
    assert out.count("sam") == 2
    assert "ratio to none" in out


@pytest.mark.slow
def test_the_table(capsys, tmp_path):
    asked = "--quick --problems tutorial --sizes 1 16 --seconds 0.01 --repeats 2 --parts table"
    assert benchmarks.__main__.main([*asked.split(), "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "GFLOP/s (float32, 2048 × 2048" in out
    assert "ahead from so many networks on" in out
    found = json.loads((tmp_path / "table.json").read_text())
    assert {"versions", "device", "cores", "date", "limits", "break_even"} <= set(found)
    for cell in found["cells"]:
        assert (cell["us"] is None) == bool(cell["why"])
        if cell["us"] is not None:
            assert len(cell["us"]["all"]) == 2


def test_who_reaches_another_cost_is_not_timed(monkeypatch):
    def wrong(problem, rows):
        prepared = numpy_loop(problem, rows)
        return prepared._replace(run=lambda steps: prepared.run(2 * steps))

    monkeypatch.setitem(OPPONENTS, "wrong", Opponent(wrong, 1))
    monkeypatch.setitem(OPPONENTS, "missing", Opponent(numpy_loop, 1, needs="no_such_library"))
    cells = table.measure(
        problems()[:1],
        [1],
        names=["NumPy", "wrong", "missing"],
        seconds=0.01,
        repeats=1,
        say=lambda words: None,
    )
    by_name = {cell.opponent: cell for cell in cells}
    assert by_name["NumPy"].us
    assert "another training cost" in by_name["wrong"].why
    assert by_name["missing"].why == "no_such_library is not installed"
    assert by_name["wrong"].us is by_name["missing"].us is None


def test_bounds_are_said_where_they_are_broken():
    us = {"median": 1.0, "min": 1.0, "max": 1.0, "all": [1.0]}
    cells = [table.Cell("a", 16, "NumPy", us, us | {"median": 2.0}, 0.0, 0.0, "")]
    bounds = {"at_least": {"a, 16, NumPy": 3.0}, "at_most": {"a, 16, NumPy": 1.5, "b": 1.0}}
    assert broken_bounds(cells, {}, bounds) == [
        "a, 16, NumPy: 2, must be at least 3",
        "a, 16, NumPy: 2, must be at most 1.5",
        "b: was not measured",
    ]
    assert broken_bounds(cells, {}, {"at_least": {"a, 16, NumPy": 2.0}, "at_most": {}}) == []


def test_break_even_counts_compiling():
    problem = problems()[0]._replace(usual_steps=1_000)

    def cell(name, rows, us):
        return table.Cell("tutorial", rows, name, {"median": us}, None, 0.0, 0.0, "")

    # 2 s of compiling and 1 ms a network, against 11 ms a network: ahead from 200 networks on.
    cells = [cell("regjax", n, 1.0) for n in (1, 4096)] + [cell("NumPy", n, 11.0) for n in (1, 4096)]
    cells += [cell("fast", n, 0.5) for n in (1, 4096)]
    found = table.break_even(cells, problem, 2.0)
    assert found["NumPy"] == pytest.approx(200, rel=0.05)
    assert found["fast"] is None


@pytest.mark.slow
def test_growth_and_first_minutes(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(growth, "NETWORKS", (1, 16))
    monkeypatch.setattr(growth, "WIDTHS", (8, 16))
    monkeypatch.setattr(growth, "SAMPLES", (50,))
    asked = "--parts growth first --seconds 0.01 --repeats 1"
    folders = ["--results", str(tmp_path), "--pictures", str(tmp_path)]
    assert benchmarks.__main__.main([*asked.split(), *folders]) == 0
    out = capsys.readouterr().out
    assert "regjax compare: first time" in out
    found = json.loads((tmp_path / "growth.json").read_text())
    assert [len(found[what]) for what in ("networks", "width", "samples", "workers")] == [2, 2, 1, 6]
    assert (tmp_path / "growth.png").exists()


@pytest.mark.slow
def test_bench_sklearn(monkeypatch, capsys):
    arguments = ["--problems", "breast_cancer", "--candidates", "4", "--epochs", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["bench_sklearn", *arguments])
    bench_sklearn.main()
    out = capsys.readouterr().out
    assert "breast_cancer, 4 candidates" in out
    assert float(out.split("mean score: ")[1]) < 0.02
