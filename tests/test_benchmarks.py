"""Every benchmark runs at its smallest size; no test asserts a time."""

import json
import sys

import pytest

from benchmarks import (
    bench_compare,
    bench_coverage,
    bench_faults,
    bench_layout,
    bench_regularisers,
    bench_sklearn,
    bench_sweep,
)


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
def test_bench_sklearn(monkeypatch, capsys):
    arguments = ["--problems", "breast_cancer", "--candidates", "4", "--epochs", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["bench_sklearn", *arguments])
    bench_sklearn.main()
    out = capsys.readouterr().out
    assert "breast_cancer, 4 candidates" in out
    assert float(out.split("mean score: ")[1]) < 0.02
