"""A sweep as one page that opens offline: `page`, which `regjax report` and users call.

Bokeh (the extra `report`) draws. report.html is the frame, which escapes every text, and switches day and
night; report.js is all of our other JavaScript; `words` has every text of the page.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from regjax.core.metrics import without_split
from regjax.report.arrays import arrays_of
from regjax.report.inputs import importance_of
from regjax.report.pictures import as_source
from regjax.report.words import About, answer_words, inputs_in_words, references_in_words, words_of
from regjax.study.choice import Choice
from regjax.study.comparison import Comparison
from regjax.study.importance import Importance
from regjax.study.one_question import ChoiceComparison
from regjax.study.references import References
from regjax.study.results import Results
from regjax.study.words import metric_in_words

if TYPE_CHECKING:
    from jinja2 import Template


def page(
    results: Results | None,
    comparison: Comparison | None = None,
    choice: Choice | None = None,
    *,
    missing: Sequence[str] = (),
    about: About | None = None,
    pictures: Mapping[str, Figure] | None = None,
    first: ChoiceComparison | None = None,
    references: References | str | None = None,
) -> str:
    """Returns a sweep as HTML.

        results = regjax.sweep("two_regions", grid=regjax.grid(l2=[0, 0.1, 1]), folds=5)
        html = regjax.report.page(results, results.compare(), results.best())

    Args:
        results: the results of the sweep; None where no configuration is finished yet.
        comparison: the comparison of single configurations, to any baseline; None where there is none.
        choice: the chosen configuration; None where none was chosen.
        missing: why the comparison or the choice is missing.
        about: texts that do not follow from the results.
        pictures: caption -> figure of `regjax.plot`, which the page shows as it is.
        first: whether choosing beats the baseline, the page's first sentence; None where it is not known.
        references: other models on the same folds, of `regjax.references`, or why there are none.

    Raises:
        ImportError: without Bokeh, the extra `report`.

    Example:
        >>> import regjax
        >>> results = regjax.sweep(
        ...     "two_regions", {"num_steps": 20, "eval_every": 20}, {"l2": [0, 1]}, folds=2, progress=False
        ... )
        >>> html = regjax.report.page(results, results.compare(), results.best())
        >>> html.startswith("<!DOCTYPE html>")
        True
    """
    # Bokeh is an extra: nothing else of the package needs it.
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    from regjax.report.models import document_of

    about = about or About()
    words = words_of(results, comparison, choice, missing, about, first)
    template = _template()
    words["pictures"] = _sources(pictures)
    if results is None:
        return template.render(words=words, bare=True)
    # Without held-out samples nothing is ranked; the training loss is shown.
    metric = "train_loss" if results.design.splits.kind == "none" else results.metric
    metric = metric if choice is None else choice.metric  # the page ranks as the choice did
    data = arrays_of(results, metric, comparison, None if choice is None else choice.index)
    found = None if choice is None else importance_of(results, choice)
    if about.answer and isinstance(found, str):
        found = None  # a search keeps no networks, and nobody who asked for it can change that
    words["importance"] = inputs_in_words(found)
    words["references"] = references_in_words(references)
    document = document_of(data, results.design, comparison, found, about.every)
    more = {
        "words": words,
        "bare": False,
        "pickers": len(data["axes"]),
        "metric": metric_in_words(without_split(metric)),
    }
    more["unit"] = f"In {results.design.in_units(metric)}"
    more["important"] = isinstance(found, Importance)
    return file_html(document, INLINE, words["title"], template=template, template_variables=more)


def answer_page(
    results: Results,
    about: About,
    pictures: Mapping[str, Figure],
    references: References | str | None,
    notes: Sequence[str],
) -> str:
    """Returns an answer with its pictures as HTML, and nothing to click.

    Args:
        results: results whose data and splits are described; their configuration is not shown.
        about: the answer, and where the data are from.
        pictures: caption -> figure of `regjax.plot`.
        references: other models on the same folds, or why there are none.
        notes: sentences below the pictures.
    """
    words = answer_words(results, about, notes)
    words["pictures"] = _sources(pictures)
    words["references"] = references_in_words(references)
    return _template().render(words=words, bare=True)


def _template() -> Template:
    """Returns the frame of a page, which escapes every text."""
    from jinja2 import Environment

    from regjax.report.themes import variables

    frame = importlib.resources.files("regjax.report").joinpath("report.html").read_text("utf-8")
    themes = {"day": variables("light"), "night": variables("dark")}
    return Environment(autoescape=True, trim_blocks=True).from_string(frame, globals=themes)


def _sources(pictures: Mapping[str, Figure] | None) -> list[tuple[str, str]]:
    """Returns each caption with its figure as the frame holds it."""
    return [(caption, as_source(figure)) for caption, figure in (pictures or {}).items()]
