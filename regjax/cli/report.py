"""`regjax report`: a stored sweep as one page, once or while it is trained; `main` adds the command."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import terminal
from regjax.cli.stored import check_not_the_store, number_of, of_a_sweep
from regjax.cli.terminal import Interrupted, ctrl_c, user_errors

if TYPE_CHECKING:
    from regjax.store.store import Overview, StoredSweep
    from regjax.study.questions import Questions
    from regjax.study.results import Answers, Results


@click.command()
@of_a_sweep()
@click.option("-o", "out", default="report.html", show_default=True, metavar="FILE", help="Where it goes.")
@click.option(
    "--every", type=click.IntRange(1, 86_400), metavar="SECONDS",
    help="Write it again and again until the sweep is finished; the page loads itself again.",
)  # fmt: skip
@click.option("--open/--no-open", "opens", help="Open the page in the browser.")
@click.option(
    "--references/--no-references", default=True, show_default=True,
    help="Hold a linear model and boosted trees against the networks of a finished sweep.",
)  # fmt: skip
def report(path: str, number: str, out: str, every: int | None, opens: bool, references: bool) -> None:
    """Writes a sweep as one page that opens offline: the decision, and every configuration to click.

    Of a sweep that is not finished it shows the configurations that are.
    """
    from regjax.store.store import Store

    with user_errors():
        terminal.check_extra("report", "bokeh", "report")
        terminal.check_drawing()
        check_not_the_store("report", out, path)
        if Path(out).is_dir():
            raise IsADirectoryError(21, "is a directory where a file must go", out)
        with Store(path, create=False) as store:
            sweep = store.sweep_number(number_of(number))
        _write(path, sweep, Path(out), every, references, opens=opens)


def _write(path: str, sweep: int, out: Path, every: int | None, references: bool, *, opens: bool) -> None:
    """Writes the page, and opens it; with `every`, again when networks are finished, until all are."""
    from regjax.store.store import Store

    written = -1
    try:
        while True:
            with Store(path, create=False) as store:
                (overview,) = store.overview(sweep)
                begun = store.design_of(sweep)
            done, total = overview.done, overview.num_rows
            if done > written:
                page = _page(path, overview, begun, None if done == total else every, references)
                terminal.write(out, lambda part, page=page: part.write_text(page, "utf-8"))
                written = done
                so_far = f", {done:,} of {total:,} networks" if done < total else ""
                print(f"written: {out}{so_far}", flush=True)
                if opens:
                    opens = False  # a page that is written again loads itself again
                    terminal.open_page(out)
            if done == total or every is None:
                return
            # In short naps, so that Ctrl-C is answered at once.
            for _ in range(10 * every):
                ctrl_c.check()
                time.sleep(0.1)
    except KeyboardInterrupt:
        if written < 0:
            raise
        raise Interrupted(f"{out} holds the sweep as it stood") from None


def _page(path: str, overview: Overview, begun: StoredSweep, every: int | None, references: bool) -> str:
    import regjax
    from regjax.engine.references import references_or_why
    from regjax.engine.sweep import NotFinished
    from regjax.report import About, page

    done, total = overview.done, overview.num_rows
    unfinished = "" if done == total else f"{done:,} of {total:,} networks are finished"
    if unfinished and overview.finished and begun.origin.search:
        unfinished += ", the others dropped out of the search or were not asked for"
    about = About(
        source=begun.origin.source or About.source,
        command=begun.origin.command,
        toml=begun.origin.toml,
        unfinished=unfinished,
        every=every,
    )
    try:
        results = regjax.load(path, overview.id, unfinished=True)
    except NotFinished:
        return page(None, about=about)
    # Single configurations are compared: an arm that is its best learning rate has no place in a heatmap.
    questions = dataclasses.replace(begun.questions, over=())
    answers = _of_search(results.answers(questions), results, questions, begun.origin.search)
    # Nothing is chosen without held-out samples; what is not finished is chosen again.
    wanted = references and done == total and answers.choice is not None
    return page(
        results, answers.comparison, answers.choice, missing=list(answers.missing), about=about,
        first=answers.first, references=references_or_why(results, questions) if wanted else None,
    )  # fmt: skip


def _of_search(
    answers: Answers, results: Results, questions: Questions, search: Mapping[str, Any] | None
) -> Answers:
    """Returns answers as they may be given of a sweep that is part of a search, None being of none."""
    from regjax.engine.confirming import compared

    if search is None:
        return answers
    if search["part"] == "confirm" and search["mode"] == "holdout":
        if answers.comparison is None:
            return answers
        return answers._replace(comparison=compared(results, questions), first=None)
    why = "no comparison: a search has chosen by these rows; regjax tune gives its answer"
    return answers._replace(comparison=None, first=None, missing=(why,))
