"""Every benchmark runs at its smallest size; no test asserts a time."""

import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest

import benchmarks.__main__
from benchmarks import (
    agreement,
    bench_cluster,
    bench_compare,
    bench_coverage,
    bench_faults,
    bench_halving,
    bench_helps,
    bench_layout,
    bench_optuna,
    bench_plan,
    bench_regularisers,
    bench_rows,
    bench_sklearn,
    bench_sweep,
    bench_tune,
    cells,
    coverage_tune,
    figures,
    growth,
    limits,
    profile_step,
    public_tables,
    table,
    tune_peers,
    tune_tables,
    whole,
)
from benchmarks.__main__ import broken_bounds, efficiency
from benchmarks.measure import peak_memory, spread
from benchmarks.opponents import OPPONENTS, Opponent, numpy_loop
from benchmarks.problems import SIZES, Prepared, problems, rows_of

pytestmark = [pytest.mark.bits, pytest.mark.slow]


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_compare(monkeypatch, capsys, tmp_path):
    arguments = ["bench_compare", "--steps", "3", "--repeats", "1", "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_compare.main()
    assert "regjax, warm" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found["seconds"]) == {"numpy", "regjax, cold", "regjax, warm"}
    assert {"versions", "device", "cores", "date"} <= set(found)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of scikit-learn's network, which has not converged
def test_public_tables(capsys):
    (line,) = public_tables.main(["penguins", "--quick"])
    assert (line.rows, line.columns, line.inputs, line.gaps) == (344, 7, 15, 19)
    assert line.mlp > 0.95 < line.boosting
    assert "| penguins | 344 | 7 | 15 | 19 | accuracy |" in capsys.readouterr().out


def search(split, opponent, score):
    found = {
        "set": "data.mat",
        "split": split,
        "opponent": opponent,
        "budget": 1.0,
        "score": score,
        "rows": 211,
    }
    return found | {"seconds": 2.0, "networks": 10, "tried": 5, "metric": "accuracy"}


def test_bench_tune_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    results = tmp_path / "r.jsonl"
    theirs, asked = "random, by hand", []
    done = [search(split, bench_tune.OURS, 0.9 + split / 100) for split in range(3)]
    results.write_text("".join(json.dumps(line) + "\n" for line in done) + '{"set": "data.m')

    def in_a_process(path, name, split, opponent, seconds):
        asked.append((name, split, opponent))
        return search(split, opponent, 0.8)

    monkeypatch.setattr(bench_tune, "_in_a_process", in_a_process)
    words = ["--splits", "3", "--seconds", "1", "--sets", "data.mat", "--opponents", bench_tune.OURS, theirs]
    bench_tune.main([str(results), *words])
    assert asked == [("data.mat", split, theirs) for split in range(3)]
    bench_tune.main([str(results), *words])
    assert len(asked) == 3
    out = capsys.readouterr().out
    # 0.1, 0.11 and 0.12: a standard deviation of 0.01, times √(1/3 + 0.2/0.8) and t of 2 degrees of freedom.
    assert (
        f"| data.mat (211 rows) | {theirs} | 3 | accuracy 0.800 | +0.110 [+0.077, +0.143] | 5 | 5.0 | 2.0 |"
        in out
    )


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of the libraries that are compared
@pytest.mark.parametrize("real", [False, True])
def test_every_search_that_users_have_finds_something(real):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "b": rng.choice(["x", "y"], 120)})
    frame.loc[:3, "a"] = np.nan
    score = frame["a"].fillna(0) + (frame["b"] == "x")
    frame["y"] = score if real else np.where(score > 0.5, "yes", "no")
    problem = tune_tables.Problem("small", frame, "y", real)
    train, test = problem.split(0)
    for name, opponent in tune_peers.OPPONENTS.items():
        if name != bench_tune.OURS and all(map(importlib.util.find_spec, tune_peers.NEEDS.get(name, ()))):
            found = opponent(problem, train, test, 0)(1.0)
            assert problem.score(found.predicted, test) > (0.2 if real else 0.6), name
            assert found.networks > found.tried > 0


def test_bench_helps_counts_verdicts(tmp_path, capsys):
    lines = [
        {"set": "personality", "shuffle": shuffle, "sentence": "It helps.", "family": {"helps": shuffle == 3},
         "verdict": "helps" if shuffle in (None, 1, 3) else "not separated"}
        for shuffle in (None, *range(10))
    ]  # fmt: skip
    text = bench_helps.in_words(lines)
    assert text.startswith("personality: It helps.")
    assert '"helps" on 2 of 10 shuffles [2.5%, 55.6%]' in text
    assert 'any of the family says "helps" on 1 of 10' in text


@pytest.mark.nightly
@pytest.mark.slow
def test_agreement(capsys, tmp_path):
    assert agreement.main(["--quick", "--json", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    for words in ("0 of 20 comparisons", "PARTNERS", "glorot", "bfloat16", "16 networks"):
        assert words in out
    assert ("JAX has no GPU here" in out) == (jax.default_backend() == "cpu")
    found = json.loads((tmp_path / "r.json").read_text())
    assert {finding["part"] for finding in found["findings"]} == set(agreement.PARTS)
    gradient = [f["values"]["gradient"] for f in found["findings"] if f["part"] == "precision"]
    assert gradient[0] < 1e-5 < 1e-3 < gradient[3]


@pytest.mark.nightly
@pytest.mark.slow
def test_coverage_tune(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["coverage_tune", "--sets", "1", "--json", str(tmp_path / "r.json")])
    coverage_tune.main()
    assert "tune, coins, nested: helps" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "r.json").read_text())["claims"]) == 12


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_halving(monkeypatch, capsys, tmp_path):
    arguments = ["--candidates", "9", "--steps", "18", "--repeats", "1", "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", ["bench_halving", *arguments])
    bench_halving.main()
    assert "times fewer steps" in capsys.readouterr().out


@pytest.mark.nightly  # which runs the benchmark itself too
def test_bench_coverage(monkeypatch, capsys, tmp_path):
    arguments = ["bench_coverage", "--sweeps", "2", "--harmless", "2", "--json", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_coverage.main()
    out = capsys.readouterr().out
    for asked in ("93 to 97 %", "at least 93 %", "at most 5 %"):
        assert asked in out
    for claim in ("power of 80 %", "could have shown", "pilot's interval", "10 repeats over predicted"):
        assert claim in out
    found = json.loads((tmp_path / "r.json").read_text())
    assert all(
        claim["low"] <= claim["found"] <= claim["high"] for claim in found["claims"] if claim["trials"]
    )
    assert [choice["metric"] for choice in found["tables"]["single"]] == ["val_loss", "val_accuracy"]


@pytest.mark.nightly
def test_bench_cluster(monkeypatch, capsys, tmp_path):
    pytest.importorskip("distributed")
    problem = bench_cluster.PROBLEMS["tutorial"]
    problem = problem._replace(config=problem.config | {"num_steps": 60, "eval_every": 20})
    monkeypatch.setitem(bench_cluster.PROBLEMS, "tutorial", problem)
    few = ["--problems", "tutorial", "--networks", "160"]
    for part in ("check", "asleep", "growth"):
        given = [part, *few, "--workers", "1", "2", "--json", str(tmp_path / "r.json")]
        monkeypatch.setattr(sys, "argv", ["bench_cluster", *given])
        bench_cluster.main()
        found = json.loads((tmp_path / "r.json").read_text())["found"]
        assert found.keys() == {"tutorial, 1", "tutorial, 2"}
    assert found["tutorial, 1"]["networks"] == 160
    assert 0 < found["tutorial, 2"]["seconds"] < found["tutorial, 1"]["seconds"]
    assert 0 < found["tutorial, 1"]["efficiency"] <= 1
    monkeypatch.setattr(sys, "argv", ["bench_cluster", "plan", "--networks", "1000"])
    bench_cluster.main()
    assert "1,000 networks planned" in capsys.readouterr().out


@pytest.mark.nightly
def test_bench_layout(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_layout", "--steps", "2", "--repeats", "1", "--lanes", "4"])
    bench_layout.main()
    out = capsys.readouterr().out
    for variant in bench_layout.VARIANTS:
        assert variant in out


@pytest.mark.nightly
def test_bench_plan(capsys, tmp_path):
    found = bench_plan.main(["small", "minibatches", "--quick", "--json", str(tmp_path / "r.json")])
    assert set(found) == {"small", "minibatches"}
    assert all(predicted > 0 < actual for each in found.values() for predicted, actual in each)
    assert "| small |" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["seconds"].keys() == found.keys()


@pytest.mark.nightly
def test_bench_rows(capsys, tmp_path):
    given = ["--samples", "500", "--networks", "4", "--contestants", "regjax", "naive JAX"]
    found = bench_rows.main([*given, "--json", str(tmp_path / "r.json")])
    assert found["regjax"][500]["peak"] > 2**20 < found["naive JAX"][500]["peak"]
    assert "| naive JAX | 500 |" in capsys.readouterr().out


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_sweep(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_sweep", "--steps", "2", "--repeats", "1", "--rows", "128"])
    bench_sweep.main()
    out = capsys.readouterr().out
    assert "regjax, independent" in out
    assert "128 rows" in out
    assert "ratio" in out


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_bench_regularisers(monkeypatch, capsys):
    arguments = ["bench_regularisers", "--steps", "2", "--repeats", "1", "--names", "l2", "sam"]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_regularisers.main()
    out = capsys.readouterr().out
    assert out.count("sam") == 2
    assert "ratio to none" in out


@pytest.mark.nightly
@pytest.mark.slow
def test_the_table(capsys, tmp_path):
    asked = "--quick --problems tutorial --sizes 1 16 --seconds 0.01 --repeats 2 --parts table"
    assert benchmarks.__main__.main([*asked.split(), "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "GFLOP/s (float32, 2,048 squared" in out
    assert "ahead from so many networks on" in out
    found = json.loads((tmp_path / "table_part.json").read_text())
    assert {"versions", "device", "cores", "date", "limits", "break_even", "opponents"} <= set(found)
    for cell in found["cells"]:
        assert (cell["us"] is None) == bool(cell["why"])
        if cell["us"] is not None:
            assert len(cell["us"]["all"]) == 2


@pytest.mark.nightly
def test_who_reaches_another_cost_is_not_timed(monkeypatch):
    def wrong(problem, rows):
        prepared = numpy_loop(problem, rows)
        return prepared._replace(run=lambda steps: prepared.run(2 * steps))

    def nearly(problem, rows):
        return numpy_loop(problem, rows._replace(learning_rate=rows.learning_rate * np.float32(1.05)))

    def one_l2(problem, rows):
        return numpy_loop(problem, rows._replace(l2=np.full_like(rows.l2, rows.l2[0])))

    monkeypatch.setitem(OPPONENTS, "wrong", Opponent(wrong, 1))
    monkeypatch.setitem(OPPONENTS, "nearly", Opponent(nearly, 1))
    monkeypatch.setitem(OPPONENTS, "missing", Opponent(numpy_loop, 1, needs="no_such_library"))
    monkeypatch.setitem(OPPONENTS, "one λ for all", Opponent(one_l2, None))
    [cells] = table.measure(
        problems()[:1],
        [1],
        names=["NumPy", "wrong", "nearly", "missing", "one λ for all"],
        seconds=0.01,
        repeats=1,
        say=lambda words: None,
    )
    by_name = {cell.opponent: cell for cell in cells}
    assert by_name["NumPy"].us
    assert "another training cost" in by_name["wrong"].why
    assert "another training cost" in by_name["nearly"].why
    assert "another training cost" in by_name["one λ for all"].why
    assert by_name["missing"].why == "no_such_library is not installed"
    assert by_name["wrong"].us is by_name["missing"].us is None


@pytest.mark.nightly
def test_who_drops_no_units_or_sees_one_batch_is_refused(monkeypatch):
    def without_dropout(problem, rows):
        return numpy_loop(problem._replace(keep_prob=None), rows)

    def one_batch(problem, rows):
        size = problem.batch_size
        return numpy_loop(problem._replace(x=problem.x[:size], y=problem.y[:size]) if size else problem, rows)

    monkeypatch.setitem(OPPONENTS, "without dropout", Opponent(without_dropout, 1))
    monkeypatch.setitem(OPPONENTS, "one batch", Opponent(one_batch, 1))
    _, dropout, batches, _ = problems()
    assert list(table.refusals(dropout, ["regjax", "without dropout"])[0]) == ["without dropout"]
    assert list(table.refusals(batches, ["regjax", "one batch"])[0]) == ["one batch"]


@pytest.mark.nightly
def test_many_networks_are_timed_in_smaller_pieces(monkeypatch):
    monkeypatch.setattr(table, "MANY_NUMBERS", 10_000)  # 16 networks are more, one is not
    monkeypatch.setattr(table, "MANY_NETWORKS", 10)
    monkeypatch.setitem(OPPONENTS, "all at once", Opponent(numpy_loop, None))
    monkeypatch.setattr(table, "refusals", lambda problem, names, exact: ({}, {}))
    names = ["NumPy", "all at once"]
    found = table.measure(problems()[:1], [1, 16], names=names, seconds=0.01, say=lambda words: None)
    cells = [cell for cells in found for cell in cells]
    last = {c.opponent: c for c in cells if c.rows == 16}
    assert (last["all at once"].piece, last["all at once"].why) == (1, "")
    assert len(last["regjax"].us["all"]) == len(last["NumPy"].us["all"]) == 2
    in_pieces = {c.opponent: c for c in table.in_pieces(cells) if c.rows == 16}["all at once"]
    assert in_pieces == last["all at once"]
    # Where the piece's own size is not asked for, it is timed nevertheless.
    found = table.measure(problems()[:1], [16], names=["all at once"], seconds=0.01, say=lambda words: None)
    assert [(c.rows, c.piece, c.why) for cells in found for c in cells if c.opponent != "regjax"] == [
        (1, 1, ""),
        (16, 1, ""),
    ]


@pytest.mark.nightly
def test_cells_of_a_problem_come_one_by_one_until_the_budget_is_spent(monkeypatch, capsys, tmp_path):
    def twice(problem, rows):
        prepared = numpy_loop(problem, rows)
        return prepared._replace(run=lambda steps: prepared.run(2 * steps))

    monkeypatch.setitem(OPPONENTS, "Equinox", Opponent(twice, 1))
    monkeypatch.setitem(OPPONENTS, "Flax NNX", Opponent(lambda problem, rows: None, None))
    asked = ["--problem", "tutorial", "--counts", "16", "1", "--seconds", "0.01", "--repeats", "2"]
    asked += ["--opponents", "regjax", "naive JAX", "NumPy", "Equinox", "Flax NNX"]
    assert cells.main([*asked, "--to", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())["cells"]
    assert [(c["opponent"], c["networks"]) for c in found if c["us"] or "noise" in c["why"]] == [
        ("regjax", 1), ("naive JAX", 1), ("regjax", 16), ("naive JAX", 16), ("NumPy", 1),
    ]  # fmt: skip
    assert {c["why"].split(":")[0] for c in found if c["opponent"] == "Equinox"} == {
        "reaches another training cost"
    }
    assert {c["why"] for c in found if c["opponent"] == "Flax NNX"} == {table.CANNOT}
    assert "| regjax |" in out.replace("**", "")
    assert out.count("| NumPy |") == 1
    assert cells.main([*asked, "--budget", "0"]) == 0
    assert capsys.readouterr().out.count("no time was left") == len(found)


@pytest.mark.nightly
def test_whole_sweeps_and_profiles(capsys, tmp_path):
    assert whole.main(["--networks", "16", "--steps", "4", "--to", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())["sweeps"]
    assert [one["what"] for one in found] == [
        what for what in ("regjax, first", "JAX by hand", "regjax, again") for _ in range(2)
    ]
    assert capsys.readouterr().out.count("networks a minute") == 6
    assert profile_step.main(["--networks", "16", "--steps", "4", "--problems", "tutorial"]) == 0
    assert "calls: " in capsys.readouterr().out
    assert profile_step.covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0)]) == 4.0


def test_what_calls_come_to(monkeypatch):
    def timed(took, first, steps, repeats, name=""):
        took = {steps: list(seconds) for steps, seconds in took.items()}
        monkeypatch.setattr(table, "seconds_of", lambda run, steps: took[steps].pop(0))
        contestant = table.Contestant(Prepared(lambda steps: None, None), 10, first, steps)
        return table.timed_in_turn({name: contestant}, 0.1, repeats)[name]

    # Seven more steps seem to take less than none: four times as many are timed.
    drowned = {2: [2.0] * 4, 9: [1.0, 3.0], 36: [19.0, 19.0]}
    assert timed(drowned, 5.0, 9, 2) == ([5e4, 5e4], 3.0, 1.0)
    # One short call took long by chance: its repetition is not fast.
    assert timed({2: [9.0, 2.0, 2.0], 12: [12.0] * 3}, 5.0, 12, 3) == ([1e5] * 3, 3.0, 0.0)
    # regjax is timed twice in a repetition, and the mean counts.
    chosen = {2: [0.5] * 6, 16: [0.64] * 2, 52: [0.95, 1.05] * 2}
    found = timed(chosen, 2.0, None, 2, name="regjax")
    assert found.us == pytest.approx([1e3, 1e3])
    assert (found.compiling, found.beside) == pytest.approx((1.5, 0.48))
    # A slow short call is made once to choose the steps, and then once in each repetition.
    slow = {2: [2.0] * 3, 16: [16.0], 4: [4.0, 4.0]}
    assert timed(slow, 25.0, None, 2, name="regjax") == ([1e5, 1e5], 23.0, 0.0)
    # One that takes 20 s is not made in vain; the next repetition has its own.
    assert timed({2: [20.0, 24.0], 14: [34.0, 46.0]}, 25.0, None, 2) == ([1e5, 2e5], 3.0, 19.0)


@pytest.mark.nightly
def test_an_opponent_that_fails_is_left_out(monkeypatch):
    def fails_at(call):
        def prepare(problem, rows):
            prepared, calls = numpy_loop(problem, rows), []

            def run(steps):
                calls.append(steps)
                if len(calls) == call:
                    raise RuntimeError("out of luck")
                return prepared.run(steps)

            return prepared._replace(run=run)

        return prepare

    # In its first call, in the comparison of costs, and while it is timed.
    names = [f"fails {call}" for call in (1, 2, 3, 8)]
    for name in names:
        monkeypatch.setitem(OPPONENTS, name, Opponent(fails_at(int(name.split()[1])), None))
    begun = []  # networks each time one after the other is prepared: to compare costs, then to be timed too

    def counted(problem, rows):
        begun.append(len(rows.l2))
        return numpy_loop(problem, rows)

    monkeypatch.setitem(OPPONENTS, "counted", Opponent(counted, 1))
    [cells] = table.measure(
        problems()[1:2], [16], names=[*names, "counted"], seconds=0.01, say=lambda words: None
    )
    assert {cell.opponent: cell.why for cell in cells} == {
        "regjax": "",
        **dict.fromkeys(names, "RuntimeError: out of luck"),
        "counted": "",
    }
    assert begun == [4, 4]


def test_opponents_may_train_in_pieces():
    def cell(name, rows, us):
        return table.Cell("a", rows, name, rows, spread([us, us]), spread([us, us]), 0.5, 0.1, "")

    cells = [cell("regjax", 1, 2.0), cell("regjax", 16, 1.0)]
    cells += [
        cell("Equinox", 1, 3.0),
        cell("Equinox", 16, 4.0),
        cell("NumPy", 1, 5.0),
        cell("NumPy", 16, 6.0),
    ]
    found = {(c.opponent, c.rows): c for c in table.in_pieces(cells)}
    pieces = found["Equinox", 16]
    assert (pieces.piece, pieces.us, pieces.ratio) == (1, spread([3.0, 3.0]), spread([3.0, 3.0]))
    assert pieces.beside == pytest.approx(1.6)
    assert found["NumPy", 16].us["median"] == 6.0  # one network after the other anyway
    assert found["regjax", 1].us["median"] == 2.0


@pytest.mark.nightly
def test_peak_memory_is_of_this_process_alone():
    held = np.ones(50_000_000)  # 400 MB, which getrusage would count as the next process's
    command = [sys.executable, "-c", "from benchmarks.measure import peak_memory; print(peak_memory())"]
    done = subprocess.run(command, env=growth.environment(), capture_output=True, text=True, check=True)
    assert 1e7 < int(done.stdout) < held.nbytes < peak_memory()


def test_bounds_are_said_where_they_are_broken():
    us = {"median": 1.0, "min": 1.0, "max": 1.0, "all": [1.0]}
    cells = [table.Cell("a", 16, "NumPy", 1, us, us | {"max": 2.0}, 0.0, 0.0, "")]
    assert broken_bounds(cells, {"c": 0.5}, {"a, 16, NumPy": 3.0, "b": 1.0, "c": 0.6}) == [
        "a, 16, NumPy: 2, must be at least 3",
        "b: was not measured",
        "c: 0.5, must be at least 0.6",
    ]
    assert broken_bounds(cells, {}, {"a, 16, NumPy": 2.0}) == []


def test_break_even_counts_compiling():
    problem = problems()[0]._replace(usual_steps=1_000)

    def cell(name, rows, us):
        return table.Cell("tutorial", rows, name, rows, {"median": us}, None, 0.0, 0.0, "")

    # 2 s of compiling and 1 ms a network, against 11 ms a network: ahead from 200 networks on.
    cells = [cell("regjax", n, 1.0) for n in (1, 4096)] + [cell("NumPy", n, 11.0) for n in (1, 4096)]
    cells += [cell("Equinox", n, 0.5) for n in (1, 4096)]
    found = table.break_even(cells, problem, 2.0)
    assert found["NumPy"] == (1, pytest.approx(200, rel=0.05))
    assert found["Equinox"] == (1, None)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the libraries that are compared
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.nightly] if "compile" in n else []) for n in OPPONENTS],
)
def test_every_opponent_reaches_the_same_cost(name):
    needs = OPPONENTS[name].needs
    if needs:
        pytest.importorskip(needs)
    for problem in problems()[1::2]:  # dropout on all rows, batches with a softmax
        short = problem._replace(check_steps=problem.num_batches * 2)
        with jax.numpy_dtype_promotion("standard"):  # Equinox's dropout multiplies by booleans
            why, ready = table.refusals(short, ["regjax", name])
            assert why == {}
            assert {("regjax", 16)} <= set(ready)  # those that train all at once may be timed at once
    rows = rows_of(problems()[0], 16)
    prepared = OPPONENTS[name].prepare(problems()[0], rows)
    assert prepared is not None
    prepared.run(3)


def test_check_ends_with_one_where_a_bound_is_broken(monkeypatch, capsys, tmp_path):
    ratio, interrupted = 0.0, False

    def measured(wanted, sizes, **options):
        us = {name: spread([1.0 if name == "regjax" else ratio]) for name in options["names"]}
        for problem in wanted:
            for size in sizes:
                yield [
                    table.Cell(problem.name, size, name, size, us[name], us[name], 0.0, 0.0, "")
                    for name in options["names"]
                ]
                if interrupted:
                    raise KeyboardInterrupt

    monkeypatch.setattr(table, "measure", measured)
    monkeypatch.setattr(limits, "matrix_rate", lambda: ([100.0], "jax"))
    monkeypatch.setattr(limits, "memory_rate", lambda: ([10.0], "jax"))
    ratio = 1e3
    assert benchmarks.__main__.main(["--check", "--results", str(tmp_path)]) == 0
    assert "ratios are within" in capsys.readouterr().out
    for nothing in (["--sizes", "1"], ["--opponents", "Equinox", "--sizes", "4096"]):
        assert benchmarks.__main__.main(["--check", *nothing, "--results", str(tmp_path)]) == 1
        assert "no bound for what was asked for" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        benchmarks.__main__.main(["--check", "--parts", "growth", "--results", str(tmp_path)])
    ratio = 1e-3
    assert benchmarks.__main__.main(["--check", "--results", str(tmp_path)]) == 1
    assert "must be at least" in capsys.readouterr().out
    interrupted = True
    assert benchmarks.__main__.main(["--results", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().out
    # What was measured is kept, but not in the place of what is whole.
    assert [path.name for path in tmp_path.glob("*.json")] == ["table_part.json"]
    assert {cell["rows"] for cell in json.loads((tmp_path / "table_part.json").read_text())["cells"]} == {1}


def test_the_pictures_of_a_table(tmp_path):
    us = {"median": 2.0, "min": 1.0, "max": 3.0, "all": [1.0, 2.0, 3.0]}
    cells = [
        table.Cell(problem.name, size, name, size, us, us, 0.0, 0.0, "")
        for problem in problems()
        for size in SIZES
        for name in OPPONENTS
    ]
    figure = figures.costs([cell._asdict() for cell in cells], "a machine")
    assert [ax.get_title() for ax in figure.axes] == [problem.name for problem in problems()]
    figure.savefig(tmp_path / "costs.png")
    figures.roofline(efficiency(cells, problems(), 400.0), 400.0, 40.0, "a machine").savefig(
        tmp_path / "roofline.png"
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_growth_and_first_minutes(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(growth, "NETWORKS", (16,))
    monkeypatch.setattr(growth, "WIDTHS", (8,))
    monkeypatch.setattr(growth, "SAMPLES", (50,))
    asked = "--parts growth first --seconds 0.01 --repeats 1"
    folders = ["--results", str(tmp_path), "--pictures", str(tmp_path)]
    assert benchmarks.__main__.main([*asked.split(), *folders]) == 0
    out = capsys.readouterr().out
    assert "regjax compare: cold" in out
    found = json.loads((tmp_path / "growth_part.json").read_text())
    assert [len(found[what]) for what in ("networks", "width", "samples", "workers")] == [1, 1, 1, 6]
    assert not (tmp_path / "growth.png").exists()  # nor does it take the place of a whole one
    figures.growing(found, "a machine").savefig(tmp_path / "growth.png")


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_sklearn(monkeypatch, capsys):
    arguments = ["--problems", "breast_cancer", "--candidates", "4", "--epochs", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["bench_sklearn", *arguments])
    bench_sklearn.main()
    out = capsys.readouterr().out
    assert "breast_cancer, grid, 4 candidates" in out
    assert float(out.split("mean score: ")[1]) < 0.02


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_optuna(capsys):
    found = bench_optuna.main(["--trials", "4", "--steps", "4", "--folds", "2", "--repeats", "1"])
    assert list(found)[2:] == ["Optuna over PyTorch", "Optuna over scikit-learn"]
    assert "trials/s" in capsys.readouterr().out
