"""A search: its bits, what it has seen, its store, and its answer; both ways of comparing."""

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

import regjax
from regjax.engine import confirming, scheduler, tune, tuning
from regjax.engine.searching import Work, num_networks, searched, steps_of, thinned
from regjax.engine.sweep import opened, run
from regjax.report.searches import choice_of, search_page
from regjax.study import halving
from regjax.study.comparison import row_variance
from regjax.study.questions import NOWHERE
from regjax.study.tuned import Budget

SPACE = {
    "learning_rate": "loguniform(0.1, 1)", "hidden": [(6,), (3,)], "l2": "loguniform(0.1, 10)",
    "keep_prob": "uniform(0.5, 0.95)",
}  # fmt: skip
CONFIG = {"optimizer": "sgd", "num_steps": 18, "eval_every": 2, "batch_size": "full"}
ASKED = {"config": CONFIG, "folds": 2, "seeds": 2, "progress": False}


def samples(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, (X[:, 0] + rng.normal(size=n) > 0).astype(int)


def setting(data=None, space=None, **options):
    """Returns the setting of a small search; options as those of `tune`."""
    found = {"confirm": 0.3, "baseline": None, "search": regjax.Search(), "metric": None} | options
    return tuning.make_setting(
        samples() if data is None else data, regjax.study.space.Space.of(SPACE if space is None else space),
        CONFIG, Budget.of("100 networks"), options={"folds": 2, "seeds": 2}, **found,
    )  # fmt: skip


def same_answer(one, other):
    assert one.sentence == other.sentence
    assert repr(one.difference) == repr(other.difference)  # NaN is the same as NaN here
    assert one.rungs == other.rungs
    assert one.finalists == other.finalists
    for a, b in zip(one.model.networks, other.model.networks, strict=True):
        for layer, again in zip(a, b, strict=True):
            np.testing.assert_array_equal(layer.w, again.w)


@pytest.fixture
def trained(monkeypatch):
    """Steps x rows of all tasks that are trained."""
    found = []
    take = scheduler.Scheduler.take

    def noted(self, chunk, task, done):
        found.append((done.stop - chunk.step) * len(chunk.places))
        return take(self, chunk, task, done)

    monkeypatch.setattr(scheduler.Scheduler, "take", noted)
    return found


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("hyperband", [False, True])
def test_networks_that_go_on_have_the_bits_of_a_full_sweep(hyperband):
    found = setting(search=regjax.Search(hyperband=hyperband))
    design, num = found.design(36)
    race = found.race(design, num)
    work = Work()
    standings = searched(design, race, None, work, NOWHERE)
    assert [s.step for s in standings] == [2, 6, 18]
    # One fold of each candidate at first, and both of those that go on.
    baselines = len(design.configurations) - num
    assert len(standings[0].rows) == num + 2 * baselines < design.num_rows
    assert {design.row(row).fold for row in standings[1].rows} == {0, 1}
    assert len(standings[0].rows) > len(standings[1].rows) > len(standings[2].rows)
    arenas = race.arenas
    assert num_networks(standings) == sum(map(halving.networks_of, arenas)) < design.num_rows
    assert steps_of(design, race, standings) == found.steps(arenas)
    full = run(design, plan=work.plan(design))
    for standing in standings:
        for name, values in standing.metrics.items():
            wanted = full.records[name][standing.rows, standing.step // 2]
            np.testing.assert_array_equal(values[standing.rows], wanted)


@pytest.mark.nightly
@pytest.mark.bits
def test_a_search_never_sees_the_rows_that_confirm():
    X, y = samples(90)
    (_, held), = setting((X, y)).splitting.confirms  # fmt: skip
    assert len(held) == 27
    one = regjax.tune((X, y), SPACE, budget="60 networks", confirm=0.3, **ASKED)
    spoilt = X.copy()
    spoilt[held] = 1e6 * np.random.default_rng(1).normal(size=spoilt[held].shape)
    other = regjax.tune((spoilt, y), SPACE, budget="60 networks", confirm=0.3, **ASKED)
    assert one.rungs == other.rungs
    assert one.finalists == other.finalists
    assert one.baseline == other.baseline
    assert one.results.records["val_loss"].tolist() != other.results.records["val_loss"].tolist()


@pytest.mark.slow
@pytest.mark.bits
def test_an_outer_fold_is_never_seen_by_its_own_search():
    X, y = samples()
    found = setting((X, y), confirm="nested")
    design, num = found.design(6)
    splits, race = design.splits, found.race(design, num)
    assert {arena.outer for arena in race.arenas} == {-1, 0, 1, 2, 3, 4}
    for arena in race.arenas:
        if arena.outer >= 0:
            train, val = race.pairs(60)[arena.outer]
            for fold in arena.folds:
                assert not splits.train[fold][val].any()
                assert not splits.val[fold][val].any()
                assert set(np.flatnonzero(splits.train[fold] + splits.val[fold])) == set(train)


@pytest.mark.nightly
def test_the_answer_on_held_out_rows_is_a_family_of_the_finalists():
    found = regjax.tune(samples(120), SPACE, budget="120 networks", confirm=0.3, **ASKED)
    assert found.mode == "holdout"
    assert found.num_confirm == 36
    assert found.comparison is not None
    table = found.comparison.table
    assert len(table) == 3
    best = table["difference"].idxmax()
    assert found.difference.mean == table["difference"][best]
    assert found.difference.low == table["family_low"][best]
    assert found.verdict == table["verdict"][best]
    assert found.chosen == (found.finalists[best] if found.difference.mean > 0 else found.baseline)
    # Both errors in quadrature, with the degrees of freedom of both, for three lines at once.
    for entry in table.to_dict("records"):
        if not np.isnan(entry["se"]):
            s, e = entry["se"] ** 2, entry["sampling_se"] ** 2
            df = np.floor((s + e) ** 2 / (s**2 / 1 + e**2 / 35))
            reach = stats.t.ppf(1 - 0.05 / 6, df) * np.sqrt(s + e)
            assert entry["family_high"] - entry["difference"] == pytest.approx(reach)
            assert entry["family_low"] - entry["difference"] == pytest.approx(-reach)
            assert entry["reach"] * np.sqrt(s + e) == pytest.approx(reach)
            assert entry["p_family"] == pytest.approx(min(1, 3 * entry["p"]))
            if entry["verdict"] == "not separated":  # more than the interval reaches, by 80 % power
                assert reach < entry["detectable"] < 2 * reach
                assert "could have shown" in entry["sentence"]
    assert any(note.startswith("This evidence could have shown") for note in found.notes) == (
        found.verdict == "not separated"
    )
    assert len(set(found.comparison.notes)) == len(found.comparison.notes)
    assert found.numbers.endswith(f": {found.verdict}")
    assert "on 36 rows that the search never saw" in found.sentence
    # Networks that begin: candidates and baselines in two folds, and four configurations of two seeds.
    assert found.num_networks <= 120
    first, second = found.rungs[:2]
    assert first.candidates == found.num_candidates
    assert found.num_networks == first.candidates + second.candidates + 2 * first.baselines + 8
    assert found.model.predict(samples(5)[0]).shape == (5,)
    assert len(found.of_choice) == 2
    assert str(found).splitlines()[0] == found.sentence
    assert found.as_json()["verdict"] == found.verdict


@pytest.mark.slow
def test_the_answer_of_a_nested_search_is_one_interval_over_outer_folds():
    found = regjax.tune(samples(), SPACE, budget="320 networks", **ASKED)
    assert found.mode == "nested"
    assert found.folds is not None
    assert found.folds.shape == (5, 2)
    assert found.comparison is None
    differences = found.folds[:, 0] - found.folds[:, 1]
    assert found.difference.mean == pytest.approx(differences.mean())
    least = row_variance(found.of_choice.design, found.metric, differences[None])[0]
    se = np.sqrt(max(differences.var(ddof=1), least) * (1 / 5 + 12 / 48))
    assert found.difference.se == pytest.approx(se)
    assert found.difference.df == 4
    assert "over 5 outer folds" in found.sentence
    assert any(note.startswith("This evidence could have shown") for note in found.notes) == (
        found.verdict == "not separated"
    )
    assert not any("repeats" in note for note in found.notes)
    assert found.num_networks <= 320
    np.testing.assert_allclose(found.of_choice.units("val_accuracy")[0], found.folds[:, 0], rtol=1e-6)


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("confirm", [0.3, "nested"])
@pytest.mark.parametrize("resource", ["steps", "rows"])
def test_a_store_goes_on_to_the_same_answer(tmp_path, trained, monkeypatch, confirm, resource):
    options = {
        "budget": "200 networks",
        "confirm": confirm,
        "search": regjax.Search(resource=resource, outer=2),
    }
    whole = regjax.tune(samples(), SPACE, **ASKED, **options)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    steps, store = [], tmp_path / "s.sqlite"

    class Stop(Exception):
        pass

    def stops(progress):
        steps.append(progress)
        if len(steps) in (5, 12, 20):
            raise Stop

    stopped = 0
    for _ in range(3):
        try:
            regjax.tune(samples(), SPACE, **ASKED | {"progress": stops}, **options, store=store)
        except Stop:
            stopped += 1
    assert stopped
    same_answer(regjax.tune(samples(), SPACE, **ASKED, **options, store=store), whole)
    trained.clear()
    same_answer(regjax.tune(samples(), SPACE, **ASKED, **options, store=store), whole)
    assert sum(trained) == 18  # the model, which is not stored


@pytest.mark.nightly
@pytest.mark.bits
def test_a_larger_budget_begins_with_what_is_stored(tmp_path, trained):
    store = tmp_path / "s.sqlite"
    options = {"confirm": 0.3, "search": regjax.Search(rungs=0)}
    regjax.tune(samples(), SPACE, budget="60 networks", **ASKED, **options, store=store)
    trained.clear()
    larger = regjax.tune(samples(), SPACE, budget="90 networks", **ASKED, **options)
    alone = sum(trained)
    trained.clear()
    grown = regjax.tune(samples(), SPACE, budget="90 networks", **ASKED, **options, store=store)
    same_answer(grown, larger)
    assert sum(trained) < alone - 18 * 40  # of more than forty networks


@pytest.mark.nightly
def test_seconds_become_a_number_of_candidates_once(tmp_path, monkeypatch):
    options = {"budget": "3s", "confirm": 0.3, "store": tmp_path / "s.sqlite"}
    one = regjax.tune(samples(), SPACE, **ASKED, **options)
    assert any(note.startswith("measured: ") for note in one.notes)
    monkeypatch.setattr(tuning.Setting, "measured", None)  # it must not be asked again
    same_answer(regjax.tune(samples(), SPACE, **ASKED, **options), one)


@pytest.mark.nightly
@pytest.mark.bits
def test_rows_as_the_resource_are_nested_and_start_afresh():
    found = setting(samples(120), search=regjax.Search(resource="rows"))
    assert found.rungs == (14, 42 // 3 * 1)[:0] or found.rungs[-1] < 42
    design, num = found.design(9)
    small, large = (thinned(design, number).train > 0 for number in (12, 30))
    assert (small.sum(axis=1) == 12).all()
    assert (large & ~small).sum() == 18 * 2
    assert not (small & ~large).any()
    assert not (large & ~(design.splits.train > 0)).any()
    y = design.data.y[0]
    assert all(0 < y[fold].sum() < 12 for fold in small)
    standings = searched(design, found.race(design, num), None, Work(), NOWHERE)
    full = run(design, plan=Work().plan(design))
    last = standings[-1]
    np.testing.assert_array_equal(last.metrics["val_loss"][last.rows], full.values("val_loss")[last.rows])


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["groups", "time", "regression", "early"])
def test_groups_times_real_targets_and_early_stopping(kind):
    X, y = samples(80)
    space, asked = dict(SPACE), dict(ASKED)
    if kind in ("groups", "time"):
        asked[kind] = np.arange(80) // 4
    if kind == "regression":
        y = X[:, 0] * 1000.0
    if kind == "early":
        space["patience"] = [4, 8]
    found = regjax.tune((X, y), space, budget="100 networks", confirm=0.3, **asked)
    assert found.metric == ("val_r2" if kind == "regression" else "val_accuracy")
    train, val = found.results.design.splits.train[0] > 0, found.results.design.splits.val[0] > 0
    if kind == "groups":
        assert not set(np.flatnonzero(train) // 4) & set(np.flatnonzero(val) // 4)
    if kind == "time":
        assert np.flatnonzero(train).max() < np.flatnonzero(val).min()
    if kind == "regression":
        assert found.results.design.standardize_target


@pytest.mark.nightly
def test_a_baseline_of_the_user_is_kept():
    found = regjax.tune(
        samples(),
        SPACE,
        budget="60 networks",
        confirm=0.3,
        baseline={"learning_rate": 0.5, "hidden": 6},
        **ASKED,
    )
    assert found.baseline["learning_rate"] == 0.5
    assert found.baseline["hidden"] == (6,)
    assert found.baseline["l2"] == 0


@pytest.mark.slow
def test_all_candidates_that_diverge_are_said():
    wild = SPACE | {"learning_rate": [1e30, 1e31]}
    with pytest.raises(
        ValueError, match=r"must stay finite, and all .* diverged: search lower learning rates"
    ):
        regjax.tune(samples(), wild, budget="60 networks", confirm=0.3, **ASKED)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"budget": "5 networks"}, ValueError, "budget must be at least"),
        ({"budget": "100 steps"}, ValueError, "budget must be at least"),
        ({"budget": "soon"}, ValueError, "budget must be like"),
        ({"space": {"l2": 0.1}}, ValueError, "space must have a regulariser"),
        (
            {"space": {"l2": [0, 1], "learning_rate": 0.1}},
            ValueError,
            "space must have at least 3 candidates",
        ),
        ({"search": regjax.Search(finalists=9), "space": {"l2": [0, 1, 2, 3]}}, ValueError, "finalists"),
        ({"baseline": {"learning_rate": 5}}, ValueError, "baseline must be in the space"),
        ({"confirm": 1.5}, ValueError, "confirm must be a fraction"),
        ({"confirm": "all"}, ValueError, "confirm must be a fraction"),
        ({"folds": 40}, ValueError, "folds must be at most"),
        ({"folds": 1}, ValueError, "folds"),
        ({"metric": "accuracy"}, ValueError, "metric must be one of"),
        ({"validation": 0.2}, TypeError, "validation must not be given"),
        ({"colour": 3}, TypeError, "colour"),
        ({"config": 3}, TypeError, "config must be"),
    ],
)
def test_bad_input_is_said_before_anything_is_trained(tmp_path, trained, options, error, words):
    asked = {"space": SPACE, "budget": "100 networks", "confirm": 0.3} | ASKED | options
    store = tmp_path / "s.sqlite"
    with pytest.raises(error, match=re.escape(words)):
        regjax.tune(samples(), **asked, store=store)
    assert not trained
    assert not store.exists()


@pytest.mark.nightly
def test_a_part_of_a_search_finds_the_whole(tmp_path):
    store = tmp_path / "s.sqlite"
    whole = regjax.tune(samples(), SPACE, budget="60 networks", confirm=0.3, **ASKED, store=store)
    with opened(store) as kept:
        assert kept is not None
        assert [part["part"] for _, part in kept.searches()] == ["search", "confirm"]
        for number in (1, 2):
            begun = kept.design_of(number)
            race = regjax.study.tuned.Race.from_json(begun.origin.search)
            design = tune.part_of_search(kept, begun.design, race)
            same_answer(tune.go_on(design, race, kept, Work(), begun.origin), whole)


@pytest.mark.nightly
def test_a_search_without_an_interval_says_why():
    found = regjax.tune(samples(), SPACE, confirm=0.3, budget="60 networks", metric="val_roc_auc", **ASKED)
    assert found.verdict == "not separated"
    assert "in validation area under the ROC curve on 18 rows" in found.sentence
    assert found.sentence.endswith("; there is no interval, so this data cannot tell.")
    assert not found.numbers
    assert "--confirm nested" in found.notes[0]


@pytest.mark.nightly
def test_a_search_that_learnt_nothing_says_so():
    X, _ = samples()
    y = (np.arange(60) % 6 == 0).astype(int)
    found = regjax.tune((X * 0, y), SPACE, confirm=0.3, budget="60 networks", **ASKED)
    assert any("most frequent class" in note for note in found.notes)


def test_figures_of_the_sentence_are_rounded_to_its_interval():
    found = regjax.tune(samples(), SPACE, confirm=0.3, budget="60 networks", **ASKED)
    difference = found.difference._replace(mean=0.0102, low=-8.23e-4, high=0.0212)
    rounded = dataclasses.replace(found, difference=difference)
    assert "+0.0102 [-0.0008, +0.0212]" in rounded.numbers
    assert "1.0 points better" in rounded.sentence
    assert "(−0.1 to +2.1)" in rounded.sentence


@pytest.mark.nightly
def test_the_page_of_a_nested_search_names_no_configuration_as_shown():
    found = regjax.tune(samples(), SPACE, budget="320 networks", **ASKED)
    html = search_page(found, "none")
    assert found.sentence in html
    assert html.count("<img") == 2
    assert "Shown: " not in html
    assert "layer_sizes" not in html


@pytest.mark.nightly
def test_the_page_of_a_search_asks_for_no_flag_of_a_sweep():
    found = regjax.tune(samples(), SPACE, confirm=0.3, budget="60 networks", **ASKED)
    html = search_page(found, "none")
    assert "keep=&#39;all&#39;" not in html
    assert "Shown: " in html


@pytest.mark.parametrize(
    "other", [{"pairing": "independent"}, {"labels": ["no", "yes"]}, {"budget": "7201s"}]
)
def test_a_search_that_asks_for_something_else_is_another_one(other):
    X, y = samples()
    options = {"config": CONFIG, "confirm": 0.3, "baseline": None, "search": regjax.Search(), "metric": None}
    asks = []
    for extra in ({}, other):
        found = dict(extra)
        labels = np.array(found.pop("labels", ["a", "b"]))[y]
        budget = Budget.of(found.pop("budget", "7200s"))
        one = tuning.make_setting(
            (X, labels), regjax.study.space.Space.of(SPACE), budget=budget,
            options={"folds": 2, "seeds": 2, **found}, **options,
        )  # fmt: skip
        asks.append(one.ask)
    assert asks[0] != asks[1]


@pytest.mark.nightly
def test_counts_are_tuned_as_they_are():
    X, _ = samples(80)
    counts = np.random.default_rng(0).poisson(np.exp(0.5 * X[:, 0])).astype(float)
    asked = ASKED | {"config": CONFIG | {"loss": "poisson"}}
    space = SPACE | {"learning_rate": "loguniform(0.001, 0.01)"}
    found = regjax.tune((X, counts), space, budget="60 networks", confirm=0.3, **asked)
    assert not found.results.design.standardize_target


@pytest.mark.nightly
def test_one_sample_more_in_each_outer_fold_does_not_help(monkeypatch):
    # Of 13 and 12 samples: these differences have next to no spread of their own.
    differences = np.array([1 / 13, 1 / 12, 1 / 12, 1 / 12, 1 / 12])
    monkeypatch.setattr(confirming, "unrounded", lambda *scores: differences)
    found = regjax.tune(samples(61), SPACE, budget="160 networks", **ASKED | {"seeds": 1})
    assert found.difference.mean == pytest.approx(differences.mean())
    assert found.verdict == "not separated"


@pytest.mark.slow
def test_a_baseline_with_a_regulariser_on_is_not_called_one_without():
    space = {"l2": [5.0], "keep_prob": [1, 0.9, 0.7, 0.5], "learning_rate": [0.01]}
    found = regjax.tune(samples(), space, budget="40 networks", confirm=0.3, **ASKED)
    assert found.baseline["l2"] == 5
    assert " a tuned network with λ = 5 alone in validation accuracy" in found.sentence


@pytest.mark.nightly
def test_few_that_diverge_while_a_budget_is_measured_end_no_search(monkeypatch):
    measured = tuning.Setting.measured

    def at_least_12(*arguments):
        # On a busy machine two seconds would leave time for three candidates, which may all diverge.
        number, words = measured(*arguments)
        return max(12, number), words

    monkeypatch.setattr(tuning.Setting, "measured", at_least_12)
    wild = {"learning_rate": [0.1, 0.2, 0.3, 1e30, 1e31, 1e32], "l2": "loguniform(0.1, 10)"}
    for seed in range(3):
        search = regjax.Search(seed=seed, outer=2)
        found = regjax.tune(samples(), wild, budget="2s", search=search, **ASKED)
        assert found.num_candidates >= 12
        assert found.chosen["learning_rate"] < 1


def test_a_bracket_that_diverged_ends_no_search():
    one, other = (halving.Arena("candidates", own, (0,), (1, 1)) for own in ((0, 1), (2, 3)))
    scores = np.array([[np.nan], [np.nan], [0.5], [0.7]])
    assert halving.goes_on([one, other], 0, scores, -scores, higher=True) == [(3, 0)]
    with pytest.raises(ValueError, match="all 2 diverged"):
        halving.goes_on([one], 0, scores, -scores, higher=True)
    with pytest.raises(ValueError, match="all 2 diverged"):
        halving.goes_on([one, other._replace(outer=0)], 0, scores, -scores, higher=True)


@pytest.mark.parametrize(
    ("groups", "confirm", "mode"), [(40, None, "nested"), (1200, None, "holdout"), (40, 0.3, "holdout")]
)
def test_rows_of_few_groups_do_not_confirm(groups, confirm, mode):
    found = tuning.make_setting(
        samples(1200), regjax.study.space.Space.of(SPACE), CONFIG, Budget.of("100 networks"),
        confirm=confirm, baseline=None, search=regjax.Search(), metric=None,
        options={"folds": 2, "seeds": 2, "groups": np.arange(1200) % groups},
    )  # fmt: skip
    assert found.splitting.mode == mode
    assert any("for independent" in note for note in found.first.notes) == (mode == "holdout")


@pytest.mark.nightly
def test_the_page_of_a_search_marks_the_configuration_of_the_model():
    found = regjax.tune(samples(120), SPACE, budget="60 networks", confirm=0.3, **ASKED)
    for chosen in (*found.finalists, found.baseline):
        choice = choice_of(dataclasses.replace(found, chosen=chosen))
        assert choice is not None
        assert choice.configuration == chosen
        assert found.results.design.configurations[choice.index] == chosen
        mean = found.results.units(found.metric)[choice.index].mean()
        assert choice.validation == pytest.approx(mean)
