"""`regjax replay`: one network of a store, trained again and compared to the bit; `main` adds the command."""

from __future__ import annotations

import click

from regjax.cli import terminal
from regjax.cli.stored import number_of, of_a_sweep
from regjax.cli.terminal import user_errors


@click.command()
@of_a_sweep()
@click.option("--row", type=int, required=True, metavar="N", help="Number of the network in its sweep.")
@terminal.cache_option
def replay(path: str, number: str, row: int, compilation_cache: bool) -> int:
    """Trains one network again, and says whether it came out as stored, to the bit; exit code 1 if not."""
    from regjax.engine.replay import replay as train_again

    terminal.use_compilation_cache(compilation_cache)
    with user_errors():
        found = train_again(path, row, number_of(number))
    print(found)
    return 0 if found.same else 1
