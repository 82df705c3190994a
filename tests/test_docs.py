"""The pages: links and paths that resolve, the glossary, and the files that come with a distribution."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/NOTES.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
FOLDERS = r"regjax|tests|docs|benchmarks|examples|\.ci|\.github"


def anchors(page):
    """Returns the anchors of a page's headings, as sites that show Markdown form them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_resolve(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        assert "://" not in link, f"{link}: pages link to no address"
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_readme_links_the_files_beside_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        assert f"]({name})" in readme


def glossary():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([^|`]+)` \|$", text, re.MULTILINE)


def test_the_glossary_has_one_sentence_a_word_in_order():
    entries = glossary()
    words = [word for word, *_ in entries]
    assert len(words) > 50
    assert words == sorted(set(words))
    for word, sentence, file in entries:
        assert re.fullmatch(r"[A-Z\"][^.]*(?:\.(?! )[^.]*)*\.", sentence), f"{word}: {sentence}"
        assert (ROOT / file).is_file(), f"{word} names {file}"


def test_the_readme_has_a_row_for_each_package():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `regjax/(\w+)/` \|", readme, re.MULTILINE)
    assert sorted(named) == sorted(path.parent.name for path in ROOT.glob("regjax/*/__init__.py"))


def test_a_source_distribution_holds_what_the_readme_shows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    taken = [entry.lstrip("/") for entry in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)\)", readme):
        assert link.split("/")[0] in taken, link


def test_the_changelog_tells_of_this_version_and_of_the_stores_tables():
    from regjax.store.schema import SCHEMA_VERSION

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.search(rf"^## (\[Unreleased\]|{re.escape(project['version'])})", changes, re.MULTILINE)
    assert f"schema version {SCHEMA_VERSION}" in changes


def test_the_workflow_takes_the_oldest_versions_that_the_project_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = dict(re.findall(r"\"(\w+)>=([\d.]+)", f"{project['dependencies']}".replace("'", '"')))
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (line,) = re.findall(r"name: oldest, .*", workflow)
    assert {name: oldest[name] for name in ("jax", "jaxlib", "optax", "chex")} == dict(
        re.findall(r"(\w+)==([\d.]+)", line)
    )
    assert f'python: "{project["requires-python"].removeprefix(">=")}"' in line
