"""Pages of the site that no file holds: MkDocs calls `on_config`, `on_files` and `on_page_markdown`.

The reference has every public name, and the helps of all commands; contributing and changelog are the files
at the top of the repository. Where a page names another one as `docs/name.md`, the site links to it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
# Title -> (what stands above, names). A module stands for all of its public names.
REFERENCE: dict[str, tuple[str, str]] = {
    "Sweeps": (
        "Ask for a sweep, and train it.",
        "regjax.sweep regjax.plan regjax.Plan regjax.load regjax.grid regjax.Grid regjax.random_grid "
        "regjax.sobol_grid regjax.Questions regjax.references",
    ),
    "Results": (
        "What a sweep found, and what may be said of it.",
        "regjax.Results regjax.study.comparison.Comparison regjax.study.one_question.ChoiceComparison "
        "regjax.study.choice.Choice",
    ),
    "Searches": (
        "Without a grid.",
        "regjax.tune regjax.Tuned regjax.Search regjax.DEFAULT_SPACE regjax.Maybe regjax.Where",
    ),
    "Populations": (
        "Hyperparameters that change while networks train.",
        "regjax.population regjax.Population regjax.Explore regjax.Schedule regjax.train_schedule",
    ),
    "Models": (
        "From a sweep to predictions.",
        "regjax.refit regjax.fit regjax.Model regjax.save_model regjax.load_model regjax.export_onnx",
    ),
    "scikit-learn": (
        "Estimators and searches.",
        "regjax.RegMLPClassifier regjax.RegMLPRegressor regjax.RegGridSearchCV regjax.RegRandomizedSearchCV "
        "regjax.RegHalvingGridSearchCV regjax.RegHalvingRandomSearchCV regjax.RegPathCV regjax.one_se "
        "regjax.TableEncoder",
    ),
    "Optuna": ("Trials of a study, many at once.", "regjax.optuna.optimize regjax.optuna.as_study"),
    "Data": (
        "Data sets and files.",
        "regjax.Data regjax.load_mat regjax.load_npz regjax.load_table regjax.two_regions regjax.datasets",
    ),
    "One network": (
        "Pure functions of keys, hyperparameters, data and parameters.",
        "regjax.Config regjax.HParams regjax.make_train regjax.Trained regjax.replicate_key regjax.Layer "
        "regjax.init_params regjax.forward regjax.backward regjax.predict regjax.predict_proba regjax.cost "
        "regjax.cost_and_grads regjax.dropout_masks regjax.check_gradient",
    ),
    "The core": (
        "The mathematics, each derivative directly below its function.",
        "regjax.core.activations regjax.core.losses regjax.core.penalties regjax.core.mlp "
        "regjax.core.objective regjax.core.metrics regjax.core.convert",
    ),
    "Figures": ("Figures of results, and of any model.", "regjax.plot"),
    "The page": ("A sweep as one page.", "regjax.report"),
    "The tutorial": ("The tutorial's functions under its own names.", "regjax.tutorial"),
}
# Files at the top of the repository -> their pages.
AT_THE_TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Names that a user reads in a module whose code stands elsewhere.
WRITTEN_IN = {"regjax.datasets": "regjax.data.datasets"}
# The guides answer a question before the reference does.
BEHIND = "---\nsearch:\n  boost: 0.2\n---\n\n"


def slug(title: str) -> str:
    """Returns the file's name of a title."""
    return title.lower().replace(" ", "-")


def public(name: str) -> list[str]:
    """Returns the names that an entry of the reference stands for: itself, or the public ones of a module."""
    try:
        module = importlib.import_module(WRITTEN_IN.get(name, name))
    except ModuleNotFoundError:
        return [name]
    if not hasattr(module, "__file__"):
        return [name]
    # The modules of the core have no list: what they define, and no more.
    names = getattr(module, "__all__", None) or [
        key for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]  # fmt: skip
    return [f"{WRITTEN_IN.get(name, name)}.{key}" for key in names]


def reference() -> dict[str, str]:
    """Returns path -> Markdown of the reference's pages."""
    pages = {}
    for title, (words, names) in REFERENCE.items():
        entries = [entry for name in names.split() for entry in public(name)]
        pages[f"reference/{slug(title)}.md"] = f"{BEHIND}# {title}\n\n{words}\n\n" + "".join(
            f"::: {entry}\n\n" for entry in entries
        )
    return pages


def command_line() -> str:
    """Returns the page of the commands: what `regjax COMMAND --help` says, of all options."""
    from regjax.cli.help import LongCommand
    from regjax.cli.main import FIRST, PURPOSES, commands

    parts = [f"{BEHIND}# The command line", f"`regjax` alone says:\n\n```text\n{FIRST}```"]
    context = click.Context(commands, info_name="regjax")
    for found in PURPOSES.values():
        for name in found:
            command = commands.get_command(context, name)
            assert command is not None
            inner = click.Context(command, context, name, max_content_width=100)
            if isinstance(command, LongCommand):
                inner.meta["regjax.help_all"] = True
            parts.append(f"## regjax {name}\n\n```text\n{command.get_help(inner)}\n```")
            context.meta.clear()
    return "\n\n".join(parts) + "\n"


def root_page(name: str) -> str:
    """Returns a file at the top of the repository as a page: its links lead to the pages of the site."""
    text = (ROOT / name).read_text("utf-8")
    text = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", text)
    for other, page in AT_THE_TOP.items():
        text = text.replace(f"]({other}", f"]({page}")
    return text


def others() -> dict[str, Any]:
    """Returns path -> content of the pages that the other modules of this folder make."""
    found: dict[str, Any] = {}
    for name in ("regulariser_pages", "notebooks"):
        place = Path(__file__).parent / f"{name}.py"
        if place.is_file():
            spec = importlib.util.spec_from_file_location(name, place)
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found |= module.pages()
    return found


def generated() -> dict[str, Any]:
    """Returns path -> content of all pages and pictures that no file of docs holds."""
    return {
        **reference(),
        "reference/command-line.md": command_line(),
        "contributing.md": root_page("CONTRIBUTING.md"),
        "changelog.md": root_page("CHANGELOG.md"),
        **others(),
    }


def title_of(text: str) -> str:
    """Returns the first heading of a page."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def on_config(config: Any) -> Any:
    """Fills the navigation: the reference, and the pages of regularisers and notebooks."""
    made = config.extra["generated"] = generated()
    for entry in config.nav:
        if "Reference" in entry:
            titles = {**{title: f"reference/{slug(title)}.md" for title in REFERENCE}}
            titles["The command line"] = "reference/command-line.md"
            entry["Reference"] = [{title: path} for title, path in titles.items()]
        for title, folder in (("Regularisers", "regularisers/"), ("Tutorial", "notebooks/")):
            paths = [path for path in made if path.startswith(folder) and path.endswith(".md")]
            if title in entry and paths:
                entry[title] = [entry[title], *({title_of(made[path]): path} for path in paths)]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages to those of the folder."""
    from mkdocs.structure.files import File

    for path, content in config.extra["generated"].items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to the pages that a page names as `docs/name.md`, and to those of regularisers."""

    def linked(found: re.Match[str]) -> str:
        target = found[1]
        if files.get_file_from_path(target) is None:
            return found[0]
        title = title_of((ROOT / "docs" / target).read_text("utf-8"))
        return f"[{title}]({os.path.relpath(target, Path(page.file.src_uri).parent).replace(os.sep, '/')})"

    for name, place in AT_THE_TOP.items():
        markdown = markdown.replace(f"](../{name}", f"]({place}")
    if page.file.src_uri == "regularisers.md":
        markdown = sys.modules["regulariser_pages"].linked(markdown)
    return re.sub(r"`docs/([\w-]+\.md)`", linked, markdown)
