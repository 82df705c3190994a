"""`regjax report`: a stored sweep as one page, once or while it is trained."""

from __future__ import annotations

import time
from pathlib import Path

import click

from regjax import terminal
from regjax.cli_store import check_not_the_store, number_of, of_a_sweep
from regjax.cli_sweep import answers
from regjax.terminal import ctrl_c, user_errors


@click.command()
@of_a_sweep()
@click.option("-o", "out", default="report.html", show_default=True, metavar="FILE", help="Where it goes.")
@click.option(
    "--every", type=click.IntRange(1, 86_400), metavar="SECONDS",
    help="Write it again and again until the sweep is finished; the page loads itself again.",
)  # fmt: skip
def report(path: str, number: str, out: str, every: int | None) -> None:
    """Writes a sweep as one page that opens offline: the decision, and every configuration to click.

    Of a sweep that is not finished it shows the configurations that are.
    """
    with user_errors():
        try:
            import bokeh  # noqa: F401
        except ImportError:
            raise ValueError(
                "report must have bokeh, which is missing: pip install 'regjax[report]'"
            ) from None
        check_not_the_store("report", out, path)
        if Path(out).is_dir():
            raise IsADirectoryError(21, "is a directory where a file must go", out)
        while True:
            page, done, number = _page(path, number, every)
            terminal.write(Path(out), lambda part, page=page: part.write_text(page, "utf-8"))
            if done or every is None:
                break
            for _ in range(10 * every):
                ctrl_c.check()
                time.sleep(0.1)
    print(f"written: {out}")


def _page(path: str, number: str, every: int | None) -> tuple[str, bool, str]:
    """Returns the page, whether the sweep is finished, and its number, which "last" meant."""
    import regjax
    from regjax.report import About, page
    from regjax.spec import DEFAULTS
    from regjax.store import Store
    from regjax.sweep import NotFinished

    with Store(path, create=False) as store:
        sweep = store.sweep_number(number_of(number))
        (told,) = store.overview(sweep)
        asked = store.design_of(sweep).asked
    done = told["done"] == told["num_rows"]
    about = About(
        source=told["source"] or About.source,
        command=asked.get("command", ""),
        toml=asked.get("toml", ""),
        unfinished="" if done else f"{told['done']:,} of {told['num_rows']:,} networks are finished",
        every=None if done else every,
    )
    try:
        results = regjax.load(path, sweep, unfinished=True)
    except NotFinished:
        return page(None, about=about), done, str(sweep)
    # Single configurations are compared: an arm that is its best learning rate has no place in a heatmap.
    comparison, choice, silence = answers(results, DEFAULTS | asked["questions"] | {"over": ()})
    return page(results, comparison, choice, silence=silence, about=about), done, str(sweep)
