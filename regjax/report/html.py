"""A sweep as one page that opens offline: `page`, which `regjax report` and users call.

Bokeh (the extra `report`) draws. report.html is the frame, which escapes every text; report.js is all of our
own JavaScript; `words` has every text of the page.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence

from regjax.core.metrics import without_split
from regjax.report.arrays import arrays_of
from regjax.report.inputs import importance_of
from regjax.report.words import About, inputs_in_words, words_of
from regjax.study.choice import Choice
from regjax.study.comparison import Comparison
from regjax.study.importance import Importance
from regjax.study.one_question import ChoiceComparison
from regjax.study.results import Results


def page(
    results: Results | None,
    comparison: Comparison | None = None,
    choice: Choice | None = None,
    *,
    missing: Sequence[str] = (),
    about: About | None = None,
    first: ChoiceComparison | None = None,
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
        first: whether choosing beats the baseline, the page's first sentence; None where it is not known.

    Raises:
        ImportError: without Bokeh, the extra `report`.
    """
    # Bokeh is an extra: nothing else of the package needs it.
    from bokeh.embed import file_html
    from bokeh.resources import INLINE
    from jinja2 import Environment

    from regjax.report.models import document_of

    about = about or About()
    words = words_of(results, comparison, choice, missing, about, first)
    frame = importlib.resources.files("regjax.report").joinpath("report.html").read_text("utf-8")
    template = Environment(autoescape=True, trim_blocks=True).from_string(frame)
    if results is None:
        return template.render(words=words, bare=True)
    # Without held-out samples nothing is ranked; the training loss is shown.
    metric = "train_loss" if results.design.splits.kind == "none" else results.metric
    metric = metric if choice is None else choice.metric  # the page ranks as the choice did
    data = arrays_of(results, metric, comparison, None if choice is None else choice.index)
    found = None if choice is None else importance_of(results, choice)
    words["importance"] = inputs_in_words(found)
    document = document_of(data, results.design, comparison, found, about.every)
    more = {"words": words, "bare": False, "pickers": len(data["axes"]), "metric": without_split(metric)}
    more["important"] = isinstance(found, Importance)
    return file_html(document, INLINE, words["title"], template=template, template_variables=more)
