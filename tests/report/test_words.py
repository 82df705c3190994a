"""The texts of the page: each said once, in Python, and made of fields."""

import re
from importlib.resources import files

import numpy as np
import pytest
from sweeps import made_up

from regjax.report.words import FRAME, SCRIPT, About, decision, words_of
from regjax.study.evidence import Evidence


def text_of(name):
    return files("regjax.report").joinpath(name).read_text("utf-8")


def test_every_text_is_used_and_every_used_text_exists():
    assert set(re.findall(r"words\.frame\.(\w+)", text_of("report.html"))) == set(FRAME)
    script = text_of("report.js")
    for name in SCRIPT:
        assert f'"{name}"' in script or f"p.words.{name}" in script, name
    # A verdict or a sentence in the script would be said twice.
    for words in ("helps", "hurts", "not separated", "configurations", "difference to", "mean "):
        assert f'"{words}' not in script


def test_the_decision_names_verdict_numbers_and_evidence():
    scores = 0.5 + 0.001 * np.random.default_rng(0).random((3, 2, 5))
    scores[1] += 0.3
    results = made_up(scores, {"l2": [0, 1, 2]}, folds=5)
    comparison, choice = results.compare(), results.best()
    said, first, reason = decision(results, comparison, choice)
    row = comparison.table.iloc[0]
    low, high = 100 * row["family_low"], 100 * row["family_high"]
    assert said == (
        f"λ = 1 helps: 30 points better than none in validation accuracy ({low:+.0f} to {high:+.0f})."
    )
    assert first == (
        f"val_accuracy {row['sentence'].rpartition(':')[0]}, against l2=0, over 5 folds × 2 seeds (t, 4 df)."
    )
    assert "family [" in first
    assert reason == str(choice).splitlines()[0]
    assert "There is no baseline" in decision(results, None, choice)[0]
    own = results.compare({"l2": 1})
    assert decision(results, own, choice)[0].startswith("l2=1 was chosen, and is itself a baseline: val_acc")
    assert decision(results, None, None, ["why"]) == ["Nothing was chosen.", "why"]


def test_what_is_not_separated_says_what_it_would_take():
    scores = np.random.default_rng(0).random((3, 2, 5)) * 0.1
    results = made_up(scores, {"l2": [0, 1, 2]}, folds=5)
    comparison, choice = results.compare(), results.best()
    assert choice.index > 0
    first, _, needs = decision(results, comparison, choice)[:3]
    assert "this data cannot tell" in first
    assert needs.startswith("The comparison could have shown 0.")
    row = comparison.table.iloc[choice.index - 1]
    assert needs.endswith(f"{row['sentence'].rpartition('; the ')[2]}.") or not row["needs"]


def test_the_answer_to_the_one_question_is_the_first_sentence_of_the_page():
    scores = 0.5 + 0.001 * np.random.default_rng(0).random((3, 2, 5))
    scores[1] += 0.3
    results = made_up(scores, {"l2": [0, 1, 2]}, folds=5)
    first, choice = results.compare_choice(), results.best()
    words = words_of(results, results.compare(), choice, (), About(), first)
    assert words["decision"][:3] == [first.sentence, first.numbers, first.details]
    assert words["decision"][3:] == decision(results, results.compare(), choice)
    assert words["decision"][0].startswith("Choosing a regulariser helps: 30 points better than none")


@pytest.mark.nightly
def test_evidence_in_words():
    assert Evidence("folds", 5, 8).in_words() == "over 5 folds × 8 seeds (t, 4 df)"
    assert Evidence("folds", 5, 1).mean_in_words() == "over 5 folds × 1 seed"
    assert Evidence("folds", 50, 2, 10).in_words() == "over 5 folds × 10 repeats × 2 seeds (t, 49 df)"
    assert Evidence("folds", 5, 8).in_words(11) == "over 5 folds × 8 seeds (t, 11 df)"
    assert Evidence("seeds", 1, 1).in_words() == "1 seed on 1 split: no interval"
    several = Evidence("seeds", 1, 8)
    assert several.mean_in_words() == "over 8 seeds on this one split"
    assert several.in_words() == "over 8 seeds on this one split: says nothing about other data"
    assert several.df == 7
