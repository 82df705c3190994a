"""The page of a search: its answer, its rungs, and the networks that it compared; `regjax tune` writes it."""

from __future__ import annotations

from regjax.plot.answers import outer_folds, rungs
from regjax.report.html import answer_page, page
from regjax.report.words import About
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
    try:
        choice = tuned.results.best(tuned.metric)
    except ValueError:  # all of them diverged
        choice = None
    return page(
        tuned.results, tuned.comparison, choice, about=about, pictures=pictures, references=references
    )
