"""Helps of the command line: commands by purpose, the options that matter first, and all of them on demand.

`main` makes its group of `Commands`, which imports a command when it is called: `regjax`, its help and the
completion of a name take a tenth of a second. `sweep`, `plan` and `tune` are a `LongCommand`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from regjax.cli.letters import Context
from regjax.core.checks import did_you_mean


class Commands(click.Group):
    """A group of commands under headings, each imported from its module when it is first asked for."""

    context_class = Context

    def __init__(self, *arguments: Any, purposes: Mapping[str, Mapping[str, str]], **options: Any) -> None:
        """Makes a group.

        Args:
            arguments: as click has them.
            purposes: heading -> {command: its help in one line}; `regjax.cli.<command>` holds the command.
            options: as click has them.
        """
        super().__init__(*arguments, **options)
        self.purposes = purposes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands, in the order of use."""
        return [name for commands in self.purposes.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, or None where there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"regjax.cli.{cmd_name}"), cmd_name)
        command.context_class = Context
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns (name, command, the other words); of a name that is unknown, says which is meant."""
        name = args[0]
        known = self.list_commands(ctx)
        # A shell that completes a line of an unknown command asks too, and shows no error.
        if not (name.startswith("-") or name in known or ctx.resilient_parsing):
            ctx.fail(f"command must be one of {', '.join(known)}; got {name!r}{did_you_mean(name, known)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Returns the commands that begin so, with their helps; imports none of them."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words)
            for commands in self.purposes.values()
            for name, words in commands.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands under their headings."""
        for heading, commands in self.purposes.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))


class LongCommand(click.Command):
    """A command of many options: `--help` shows those that matter, `--help-all` all, both under headings."""

    def __init__(
        self,
        *arguments: Any,
        matters: Mapping[str, Sequence[str]],
        sections: Mapping[str, Sequence[str]],
        **options: Any,
    ) -> None:
        """Makes a command.

        Args:
            arguments: as click has them.
            matters: heading -> names of the options that `--help` shows.
            sections: heading -> names of options; those in none of them are shown under "Output".
            options: as click has them.
        """
        super().__init__(*arguments, **options)
        self.matters, self.sections = matters, sections
        self.params.append(
            click.Option(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_show_all,
                help="Show all options and exit.",
            )
        )  # fmt: skip

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, all of them where `--help-all` asks for them."""
        records = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and parameter.name is not None:
                records[parameter.name] = record
        whole = ctx.meta.get(_ALL, False)
        named = {name for names in self.sections.values() for name in names}
        rest = tuple(name for name in records if name not in named)
        headings = {**self.sections, "Output": rest} if whole else self.matters
        for heading, names in headings.items():
            with formatter.section(heading):
                formatter.write_dl([records[name] for name in names if name in records])
        if not whole:
            formatter.write_paragraph()
            formatter.write_text(f"regjax {self.name} --help-all shows all {len(records)} options.")


_ALL = "regjax.help_all"


def whole_help(command: click.Command, context: click.Context) -> str:
    """Returns the help of a command with all of its options."""
    context.meta[_ALL] = True
    return command.get_help(context)


def _show_all(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        print(whole_help(ctx.command, ctx))
        ctx.exit()
