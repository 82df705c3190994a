"""What results show of themselves in a notebook: every state, short, escaped, the answer first."""

import dataclasses
import html.parser

import numpy as np
import pytest
from sweeps import made_up

import regjax
from regjax.study.notebook import MOST_ROWS, card
from regjax.study.plan import make_plan

HOSTILE = "<script>alert('x')</script> & \"$\\alpha$\"\n\n# heading"
GRID = regjax.grid(l2=[0, 0.1, 1, 10])


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in their order, and collects the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.said = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def read(value):
    """Reads what a value shows: tags in order, on one line, short, with no colour of its own."""
    text = value if isinstance(value, str) else value._repr_html_()
    assert "\n" not in text
    assert len(text) < 12_000
    assert "color" not in text
    assert "background" not in text
    page = Page(text)
    assert page.tags[:3] == ["div", "p", "strong"], "the answer comes first"
    return page


def scores(gains, *, folds=5, noise=0.01):
    rng = np.random.default_rng(0)
    return 0.5 + np.asarray(gains)[:, None, None] + noise * rng.standard_normal((len(gains), 1, folds))


def test_results_say_the_answer_then_the_best():
    results = made_up(scores([0, 0.02, 0.4, -0.4]), GRID, folds=5)
    page = read(results)
    assert page.said[0] == results.compare_choice().sentence
    assert "helps" in page.said[0]
    best = results.design.in_words(results.best().configuration, 4)
    assert page.said[5] == best, "the first line of the table, below its head"
    assert page.said[8] == "5 of 5"
    assert page.tags.count("tr") == 1 + 4


def test_one_split_says_the_choice():
    results = made_up(np.full((4, 3, 1), 0.8), GRID, validation=0.25)
    assert read(results).said[0] == results.best().in_words()


def test_one_configuration_has_no_answer_and_says_why():
    page = read(made_up(scores([0]), regjax.grid(l2=[1]), folds=5))
    assert "no answer: baseline must be in the grid" in page.said[0]
    assert page.tags.count("tr") == 2


def test_everything_diverged():
    results = made_up(scores([0, 0, 0, 0]), GRID, folds=5, diverged=range(20))
    page = read(results)
    assert "20 diverged; no answer: " in page.said[0]
    assert "nan" not in " ".join(page.said)
    assert page.said.count("0 of 5") == 4
    comparison = results.compare()
    assert read(comparison).said[0] == "None of 3 separated from l2=0"


@pytest.mark.nightly
@pytest.mark.slow
def test_ten_thousand_configurations_are_short():
    gains = np.random.default_rng(1).standard_normal(10_000) / 100
    results = made_up(scores(gains, folds=3), regjax.grid(l2=np.linspace(0, 1, 10_000)), folds=3)
    page = read(results)
    assert f"… and {10_000 - MOST_ROWS:,} more" in page.said


def test_comparison_has_the_separated_first():
    comparison = made_up(scores([0, 0.02, -0.4, 0.4]), GRID, folds=5).compare()
    page = read(comparison)
    table = comparison.table
    assert table["verdict"].tolist() == ["not separated", "hurts", "helps"]
    assert page.said[0] == "1 of 3 helps, 1 of 3 hurts: val_accuracy"
    assert page.said[3] == table["name"][2]
    assert page.said[4] == table["sentence"][2]
    empty = dataclasses.replace(comparison, table=table.iloc[:0])
    assert read(empty).said[0].startswith("None of 0 separated")


def test_choice_plan_and_question():
    results = made_up(scores([0, 0.02, 0.4, -0.4]), GRID, folds=5)
    choice = dataclasses.replace(results.best(), warnings=("it lies at the edge",))
    page = read(choice)
    assert page.said[0] == choice.in_words()
    assert page.said[1:3] == ["l2", "1"]
    assert page.said[-1] == "it lies at the edge"
    question = results.compare_choice()
    assert read(question).said[0] == question.sentence
    plan = make_plan(results.design)
    assert read(plan).said[0].startswith("20 networks, ")
    many = dataclasses.replace(plan, groups=plan.groups * 50, num_rows=20 * 50)
    assert f"… and {50 * len(plan.groups) - MOST_ROWS} more" in read(many).said


def test_hostile_names_are_text():
    for text in ((card(HOSTILE, (HOSTILE,), [(HOSTILE,)], count=2, notes=[HOSTILE])),):
        page = read(text)
        assert "script" not in page.tags
        assert page.said.count(" ".join(HOSTILE.split())) == 4
        assert "mathjax_ignore" in text  # a $ of a name begins no formula
    results = made_up(scores([0, 0.02, 0.4, -0.4]), GRID, folds=5)
    read(dataclasses.replace(results, notes=(HOSTILE,)))
    question = dataclasses.replace(results.compare_choice(), times={HOSTILE * 1000: 5})
    assert "script" not in read(question).tags
    comparison = results.compare()
    comparison.table.loc[:, "name"] = HOSTILE
    assert "script" not in read(comparison).tags


def test_long_cells_and_many_notes_are_cut():
    page = read(card("x" * 10_000, (), [("y" * 10_000,)], notes=["z"] * 1_000))
    assert [text[-1] for text in page.said[:2]] == ["…", "…"]
    assert page.said[-1] == "… and 988 more"


@pytest.mark.nightly
def test_a_search_shows_its_answer():
    tuned = regjax.tune(
        "two_regions", {"l2": [0.01, 0.1, 1]}, config={"num_steps": 100}, budget=8, progress=False
    )
    page = read(tuned)
    assert page.said[0] == tuned.sentence
    assert page.said[1] == "chosen"
