"""The page of a search: its answer, its rungs, and the networks that it compared; `regjax tune` writes it."""

from __future__ import annotations

import dataclasses

from regjax.plot.answers import outer_folds, rungs
from regjax.report.html import answer_page, page
from regjax.report.words import About
from regjax.study.choice import Choice
from regjax.study.references import References
from regjax.study.tuned import Tuned

RUNGS = "The search: candidates at its rungs"
FOLDS = "The answer: what was chosen less the tuned baseline"


def search_page(tuned: Tuned, references: References | str | None = None) -> str:
    """Returns the answer of a search as HTML.

    Of a search that held rows out the page has the finalists and the baseline, to click; of a nested one,
    where each outer fold has its own choice, pictures alone.

    Args:
        tuned: the answer.
        references: other models on the same rows, of `regjax.references`, or why there are none.

    Raises:
        ImportError: without Bokeh, the extra `report`.
    """
    about = About(source=tuned.source or About.source, answer=tuple(tuned.summary))
    pictures = {RUNGS: rungs(tuned)}
    if tuned.comparison is None:
        if tuned.folds is not None:
            pictures = {FOLDS: outer_folds(tuned)} | pictures
        return answer_page(tuned.of_choice, about, pictures, references, tuned.notes)
    return page(
        tuned.results,
        tuned.comparison,
        choice_of(tuned),
        about=about,
        pictures=pictures,
        references=references,
    )


def choice_of(tuned: Tuned) -> Choice | None:
    """Returns the choice that the page of a search that held rows out marks: the model's; None of none.

    The best mean of the finalists and the baseline may be another one, since a finalist whose networks did
    not all stay finite is not chosen by its mean.
    """
    try:
        choice = tuned.results.best(tuned.metric)
    except ValueError:  # all of them diverged
        return None
    design = tuned.results.design
    index = design.configurations.index(tuned.chosen)
    if index == choice.index or tuned.results.num_ok()[index] < design.num_replicates:
        return choice
    reason = f"{design.in_words(tuned.chosen)}: the answer of the search"
    mean = float(tuned.results.units(tuned.metric)[index].mean())
    return dataclasses.replace(
        choice, index=index, configuration=tuned.chosen, validation=mean, reason=reason, warnings=()
    )
