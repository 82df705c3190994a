"""`regjax completion`: lets a shell complete regjax's words; `main` adds the command."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from regjax.cli import terminal

SHELLS = ("bash", "zsh", "fish")
# A script calls `regjax` with this variable in the environment, and click answers.
VARIABLE = "_REGJAX_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Write the script where the shell finds it.")
def completion(shell: str | None, install: bool) -> None:
    """Lets the Tab key complete commands, options and values: prints the script that a shell runs.

    \b
      regjax completion bash --install      write it where bash finds it
      eval "$(regjax completion bash)"      for this terminal alone

    Without SHELL it is that of $SHELL.
    """
    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in SHELLS:
            raise terminal.UserError(f"shell must be one of {', '.join(SHELLS)}, got {shell!r} from $SHELL")
    script = script_of(shell)
    if not install:
        print(script, end="")
        return
    with terminal.user_errors():
        path = place_of(shell)
        # Another version of click writes another script, with the same variable.
        if path.exists() and VARIABLE not in path.read_text("utf-8", "replace"):
            raise ValueError(f"{path} must be absent or regjax's own, got another script there")
        path.parent.mkdir(parents=True, exist_ok=True)
        terminal.write(path, lambda part: part.write_text(script, "utf-8"))
    print(f"written: {path}")
    if shell == "zsh":
        print(f"~/.zshrc must have this line before compinit: fpath+=({path.parent})")
    print("new terminals complete regjax")


def script_of(shell: str) -> str:
    """Returns click's script for a shell."""
    found = get_completion_class(shell)
    assert found is not None, shell
    return found(click.Command("regjax"), {}, "regjax", VARIABLE).source().lstrip("\n") + "\n"


def place_of(shell: str) -> Path:
    """Returns where a shell looks for the completions of a command named regjax."""
    home = Path.home()
    if shell == "fish":
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions"
        return folder / "regjax.fish"
    if shell == "zsh":
        return home / ".zfunc" / "_regjax"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "bash-completion" / "completions" / "regjax"
