"""`regjax export`: the table of a finished sweep's networks, as a file; `main` adds the command."""

from __future__ import annotations

from pathlib import Path

import click

from regjax.cli import terminal
from regjax.cli.stored import check_not_the_store, number_of, of_a_sweep
from regjax.cli.terminal import user_errors


@click.command()
@of_a_sweep()
@click.option("--csv", metavar="PATH", help="Where the table of networks goes.")
@click.option("--parquet", metavar="PATH", help="The same as Parquet; needs regjax[parquet].")
def export(path: str, number: str, csv: str | None, parquet: str | None) -> None:
    """Writes the table of a finished sweep's networks, a line each."""
    import regjax

    with user_errors():
        if csv is None and parquet is None:
            raise ValueError("export must have --csv PATH or --parquet PATH, got neither")
        if parquet is not None:
            terminal.check_extra("parquet", "pyarrow", "parquet")
        for target in (csv, parquet):
            check_not_the_store("export", target, path)
        table = regjax.load(path, number_of(number)).to_pandas()
        if csv is not None:
            terminal.write(Path(csv), lambda part: table.to_csv(part, index=False))
        if parquet is not None:
            terminal.write(Path(parquet), lambda part: table.to_parquet(part, index=False, engine="pyarrow"))
    print(f"written: {', '.join(name for name in (csv, parquet) if name is not None)}")
