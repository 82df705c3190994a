"""Pages of the documentation site that no file in docs/ holds; MkDocs calls the functions `on_…`.

Made on the way, and written nowhere but into the site:

- the reference of the API, from the public names of the packages: no list to forget a name in;
- the commands, from their helps;
- a page for each regulariser, by `docs/regulariser_pages.py`, and the notebooks, by `docs/notebooks.py`;
- "Contributing" and "Changelog", from the files at the root of the repository;
- the colours of the site, from those of the figures.
"""

from __future__ import annotations

import importlib.util
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import click
import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from regjax.cli.help import whole_help
from regjax.cli.main import FIRST, commands
from regjax.plot import palette

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# Files at the root of the repository, and their pages.
ROOT_FILES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

# What the names of `regjax` are for, by the package that defines them: (page, heading, a sentence).
SUBJECTS = {
    "core": ("networks", "One network", "Pure functions of parameters, hyperparameters, data and keys."),
    "data": (
        "data",
        "Data",
        "Data sets by name and from files; `Data.from_arrays` takes your arrays.",
    ),
    "study": (
        "questions",
        "Questions and answers",
        "Grids, spaces, plans, and what a sweep found.",
    ),
    "engine": ("training", "Sweeps and searches", "The functions that train many networks at once."),
    "research": ("research", "Research", "Derivatives through a whole training."),
    "store": ("models", "Model files", "A trained model as one file, and as ONNX."),
    "sklearn": ("scikit-learn", "scikit-learn", "Estimators and searches with scikit-learn's parameters."),
}
# The same of the packages with public names of their own.
PACKAGES = {
    "regjax.plot": ("plot", "Figures", "Each returns a Matplotlib figure; the gallery shows them all."),
    "regjax.report": ("report", "The page of a sweep", "What `regjax report` writes, as a text."),
    "regjax.optuna": ("optuna", "Optuna", "Needs the extra `regjax[optuna]`."),
    "regjax.tutorial": (
        "tutorial",
        "The tutorial's functions",
        "Under the tutorial's own names.",
    ),
    "regjax.data.datasets": ("datasets", "Data sets by name", "Read them as `regjax.datasets`."),
}
# Modules of `regjax.core` whose names without an underscore are public.
CORE_MODULES = ("activations", "convert", "losses", "metrics", "mlp", "objective", "penalties")

# A question finds the guide that answers it before the reference that has its words.
SEARCHED_LAST = "---\nsearch:\n  boost: 0.5\n---\n\n"


class Entry(NamedTuple):
    """A public name and its page.

    Attributes:
        name: as users write it, such as "regjax.sweep".
        sentence: the first sentence of its docstring; empty where it has none.
        page: path of its page in the site, such as "api/training.md".
    """

    name: str
    sentence: str
    page: str


def tree() -> Any:
    """Returns `regjax` as griffe reads it from the source, with `regjax.Config` leading to its definition."""
    return griffe.load("regjax", search_paths=[str(ROOT)], resolve_aliases=True)


def first_sentence(thing: Any) -> str:
    text = thing.docstring.value if thing.docstring else ""
    return " ".join(text.split("\n\n")[0].split())


def entries(package: Any) -> Iterator[Entry]:
    """Yields each public name of regjax, in the order of the packages' `__all__`."""
    for name in package.exports:
        thing = package[name]
        subject = thing.canonical_path.split(".")[1]
        yield Entry(f"regjax.{name}", first_sentence(thing), f"api/{SUBJECTS[subject][0]}.md")
    for path, (page, *_) in PACKAGES.items():
        module = package[path.removeprefix("regjax.")]
        for name in module.exports:
            yield Entry(f"{path}.{name}", first_sentence(module[name]), f"api/{page}.md")
    for module in CORE_MODULES:
        for name, thing in package["core"][module].members.items():
            if not name.startswith("_") and not thing.is_alias:
                path = f"regjax.core.{module}.{name}"
                yield Entry(path, first_sentence(thing), f"api/core-{module}.md")


def api_pages(package: Any) -> dict[str, str]:
    """Returns the pages of the reference, by their paths in the site; the first one lists every name."""
    heads = {f"api/{page}.md": (heading, words) for page, heading, words in SUBJECTS.values()}
    heads |= {f"api/{page}.md": (heading, words) for page, heading, words in PACKAGES.values()}
    heads |= {
        f"api/core-{module}.md": (f"regjax.core.{module}", first_sentence(package["core"][module]))
        for module in CORE_MODULES
    }
    found: dict[str, list[Entry]] = {page: [] for page in heads}
    for entry in entries(package):
        found[entry.page].append(entry)

    index = ["# API reference\n\nEvery public name. All else is private and may change without notice.\n"]
    pages = {"api/index.md": ""}
    for page, (heading, words) in heads.items():
        table = "".join(f"| [`{e.name}`][{e.name}] | {cell(e.sentence)} |\n" for e in found[page])
        index.append(f"\n## {heading}\n\n{words}\n\n| name | what it is |\n|---|---|\n{table}")
        blocks = "".join(f"\n::: {e.name}\n" for e in found[page])
        pages[page] = f"{SEARCHED_LAST}# {heading}\n\n{words}\n{blocks}"
    pages["api/index.md"] = SEARCHED_LAST + "".join(index)
    return pages


def command_line() -> str:
    """Returns the page of the commands: what `regjax` says, and the help of each with all of its options."""
    # Its headings would be the first hit of "resume" and the like, which the guides answer.
    unsearched = "---\nsearch:\n  exclude: true\n---\n\n"
    parts = [f"{unsearched}# The command line", f"`regjax` alone says:\n\n```text\n{FIRST}```"]
    context = click.Context(commands, info_name="regjax")
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        assert command is not None
        with click.Context(command, context, name, max_content_width=100) as inner:
            words = whole_help(command, inner)
        parts.append(f"## regjax {name}\n\n```text\n{words}\n```")
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Returns a text for a cell of a table."""
    return text.replace("|", "\\|")


def root_page(name: str) -> str:
    """Returns a file at the root of the repository as a page, its links changed to those of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for file, page in ROOT_FILES.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text.replace("](docs/", "](").replace("](README.md", "](index.md")


def colours() -> str:
    """Returns the style sheet of the figures' colours: `--regjax-blue` and the others."""
    named = {
        name: value for name, value in vars(palette).items() if name.isupper() and isinstance(value, str)
    }
    lines = "".join(f"  --regjax-{name.lower()}: {value};\n" for name, value in named.items())
    return f":root {{\n{lines}}}\n"


def beside(name: str) -> ModuleType | None:
    """Returns a module that stands beside this one, or None where there is none."""
    path = DOCS / f"{name}.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"docs_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made() -> dict[str, str | bytes]:
    """Returns what no file holds, by its path in the site: pages as Markdown, pictures as bytes."""
    found: dict[str, str | bytes] = {"assets/colours.css": colours()}
    found |= {page: root_page(name) for name, page in ROOT_FILES.items()}
    for module in (beside("regulariser_pages"), beside("notebooks")):
        if module is not None:
            found |= module.pages()
    for page, content in found.items():
        if page.startswith("notebooks/") and isinstance(content, str):
            found[page] = SEARCHED_LAST + content
    return found | api_pages(tree()) | {"api/command-line.md": command_line()}


def navigation(nav: list[dict[str, Any]], pages: Mapping[str, object]) -> list[dict[str, Any]]:
    """Returns the navigation with the pages that were made in their sections, and no empty section.

    >>> navigation([{"API": []}, {"Notebooks": []}], {"api/plot.md": ""})
    [{'API': ['api/plot.md']}]
    """
    made_in = {"Regularisers": "regularisers/", "Notebooks": "notebooks/", "API": "api/"}
    found = []
    for section in nav:
        ((title, listed),) = section.items()
        if title in made_in:
            listed = listed + [p for p in pages if p.startswith(made_in[title]) and p.endswith(".md")]
        if listed:
            found.append({title: listed})
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what no file holds to the site, and its pages to the navigation."""
    pages = made()
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    config.nav = navigation(config.nav or [], pages)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Returns a page's text with links where the repository's text names a page, and no other change."""
    here = page.file.src_uri
    module = beside("regulariser_pages") if here == "regularisers.md" else None
    if module is not None and hasattr(module, "linked"):
        markdown = module.linked(markdown)
    return linked(markdown, here)


def on_page_content(html: str, **_: object) -> str:
    """Returns a page without its source code for the search, which would find every name a second time."""
    source = 'class="mkdocstrings-source"'
    return html.replace(f"<details {source}", f"<details data-search-exclude {source}")


def linked(markdown: str, here: str) -> str:
    """Returns a text with links where it names a page: `docs/NAME.md`, or a file of the root.

    Args:
        markdown: the text of a page.
        here: path of that page in the site.

    >>> linked("see `docs/store.md`", "guides/resuming.md")
    'see [store](../store.md)'
    >>> linked("[Changelog](../../CHANGELOG.md)", "concepts/packages.md")
    '[Changelog](../changelog.md)'
    """

    def path_to(page: str) -> str:
        return posixpath.relpath(page, posixpath.dirname(here) or ".")

    def link(match: re.Match[str]) -> str:
        return f"[{posixpath.splitext(posixpath.basename(match[1]))[0]}]({path_to(match[1])})"

    markdown = re.sub(r"`docs/([\w/-]+\.md)`", link, markdown)
    examples = r"\]\((?:\.\./)+examples/(\w+)\.(?:py|ipynb)\)"
    markdown = re.sub(examples, lambda m: f"]({path_to(f'notebooks/{m[1]}.md')})", markdown)
    for file, page in ROOT_FILES.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{file}", f"]({path_to(page)}", markdown)
    return markdown
