"""`regjax tune`: flags, files, the answer, and one line for what is wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import regjax as command

import regjax

FAST = [
    *("--num-steps", 18, "--eval-every", 2, "--optimizer", "sgd", "--batch-size", "full", "--folds", 2),
    *("--seeds", 2, "--hidden", "6,3", "--learning-rate", "loguniform(0.1,1)", "--l2", "loguniform(0.1,10)"),
    *("--l1", "none", "--input-keep-prob", 1, "--confirm", 0.3, "--budget", "60 networks"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    frame["y"] = np.where(frame["a"] + rng.normal(size=80) > 0, "yes", "no")
    path = tmp_path_factory.mktemp("tune") / "t.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.nightly
def test_the_answer_comes_first_and_the_model_predicts(table, tmp_path):
    store = tmp_path / "s.sqlite"
    words = ["tune", table, *FAST, "--store", store, "--model", tmp_path / "model"]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Regularising ")
    assert (
        " a tuned network without it in validation accuracy on 24 rows that the search never saw" in lines[0]
    )
    chosen = next(line for line in lines if line.startswith("chosen: "))
    assert "(learning_rate=" in chosen
    assert lines.index(chosen) in (1, 2)  # after the answer and, where it has an interval, its numbers
    assert lines[-1] == f"written: {tmp_path}/model/model.safetensors"
    model = regjax.load_model(tmp_path / "model")
    assert set(model.classes) == {"no", "yes"}
    # The same command reads what it has stored, and JSON says the same.
    again = command(*words[:-2], "--json")
    found = json.loads(again.stdout)
    assert found["sentence"] == lines[0]
    assert found["networks"] <= 60
    shown = command("show", store).stdout
    assert "sweep 1: a search, " in shown
    assert "sweep 2: the comparison of a search, " in shown
    assert "not finished" not in shown
    resumed = command("resume", store)
    assert resumed.stdout.splitlines()[0] == lines[0]
    assert command("replay", store, "--sweep", 2, "--row", 0).returncode == 0
    page = command("report", store, "--sweep", 2, "-o", tmp_path / "r.html")
    assert page.returncode == 0, page.stderr


def test_a_file_says_the_whole_space(table, tmp_path):
    (tmp_path / "space.toml").write_text(
        'learning_rate = "loguniform(0.1, 1)"\nl2 = [0, 1, 10]\n'
        'keep_prob = "always(uniform(0.5, 0.9))"\nhidden = [[6], [3]]\n'
    )
    words = [
        "--space",
        tmp_path / "space.toml",
        "--num-steps",
        18,
        "--optimizer",
        "sgd",
        "--folds",
        2,
        "--seeds",
        2,
    ]
    words += ["--confirm", 0.3, "--budget", "60 networks", "--no-store", "--json", "--batch-size", "full"]
    done = command("tune", table, *words)
    assert done.returncode == 0, done.stderr
    for finalist in json.loads(done.stdout)["finalists"]:
        assert set(finalist) == {"learning_rate", "l2", "keep_prob", "hidden"}
        assert 0.5 < finalist["keep_prob"] < 0.9


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "0.5 networks"], "budget must be enough for one network"),
        (["--budget", "8 networks"], "budget must be at least"),
        (["--budget", "soon"], "budget must be like"),
        (["--finalists", "0"], "finalists"),
        (["--finalists", "500"], "budget must be at least"),
        (["--confirm", "2"], "confirm must be a fraction"),
        (["--folds", "90"], "folds must be at most"),
        (["--baseline", "learning_rate=9"], "baseline must be in the space"),
        (["--baseline", "learning_rate"], "baseline must be like"),
        (["--baseline", "hidden=4,hidden=6"], "baseline must name each hyperparameter once"),
        (["--learning-rate", "loguniform(0,1)"], "learning_rate: loguniform must have two ends"),
        (["--l2", "gamma(1,2)"], "l2"),
        (["--l2", "0", "--keep-prob", "1", "--weight-decay", "0"], "space must have a regulariser"),
        (["--resource", "money"], "resource"),
        (["--metric", "beauty"], "metric must be one of"),
        (["--space", "missing.toml"], "missing.toml"),
        (["--learning-rate", "1e30,1e31"], "must stay finite"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(table, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    asked = [*FAST]
    for flag in words[::2]:
        if flag in asked:
            place = asked.index(flag)
            del asked[place : place + 2]
    done = command("tune", table, *asked, *words, "--store", "none")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("regjax: error: ")
    assert said in last
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
def test_both_kinds_of_searches_have_a_page(table, tmp_path):
    done = command("tune", table, *FAST, "--no-store", "--out", tmp_path / "p.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "p.html").read_text()
    words = [
        *FAST[: FAST.index("--confirm")],
        "--budget",
        "200 networks",
        "--confirm",
        "nested",
        "--outer",
        2,
    ]
    done = command("tune", table, *words, "--no-store", "--out", tmp_path / "q.html")
    assert done.returncode == 0, done.stderr
    assert "a tuned network without it in validation accuracy" in (tmp_path / "q.html").read_text()


@pytest.mark.nightly
def test_sweeps_of_a_nested_search_say_why_they_are_not_whole(table, tmp_path):
    store, page = tmp_path / "s.sqlite", tmp_path / "r.html"
    asked = [*FAST[: FAST.index("--confirm")], "--confirm", "nested", "--budget", "320 networks"]
    done = command("tune", table, *asked, "--store", store)
    assert done.returncode == 0, done.stderr
    assert "best" not in command("show", store).stdout
    plotted = command("plot", store, "question", "-o", tmp_path / "q.png", "--sweep", 1)
    assert "it is part of a search, whose networks drop out" in plotted.stderr
    assert command("report", store, "--sweep", 1, "-o", page).returncode == 0
    assert "the others dropped out of the search" in page.read_text()


@pytest.mark.slow
def test_the_page_of_a_stored_comparison_says_what_the_search_said(tmp_path):
    import regjax
    from regjax.cli.report import _of_search
    from regjax.engine.sweep import opened

    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    y = (X[:, 0] + rng.normal(size=150) > 0).astype(int)
    space = {"learning_rate": "loguniform(0.1, 1)", "hidden": 6, "l2": "loguniform(0.1, 10)"}
    config = {"optimizer": "sgd", "num_steps": 18, "eval_every": 2, "batch_size": "full"}
    asked = {"config": config, "folds": 2, "seeds": 2, "progress": False, "budget": "60 networks"}
    store = tmp_path / "s.sqlite"
    found = regjax.tune((X, y), space, confirm=0.3, store=store, **asked)
    for number in (1, 2):
        with opened(store) as kept:
            assert kept is not None
            begun = kept.design_of(number)
        results = regjax.load(store, number, unfinished=True)
        answers = results.answers(begun.questions)
        said = _of_search(answers, results, begun.questions, begun.origin.search)
        assert said.first is None
        if number == 1:  # the search has chosen by these rows
            assert said.comparison is None
            assert "chosen by these rows" in said.missing[0]
        else:
            assert said.comparison is not None
            assert found.comparison is not None
            assert said.comparison.table["sentence"].tolist() == found.comparison.table["sentence"].tolist()
