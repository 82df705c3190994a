"""The documentation site: it builds, a broken link ends the build, it lists all names, its search finds."""

import doctest
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import browser
from pages import wait_for
from surface import core_names

pytest.importorskip("mkdocs", reason="the site is built with the extra `docs`")
pytest.importorskip("mkdocstrings", reason="the site is built with the extra `docs`")

ROOT = Path(__file__).parents[1]

# A question to the search, and the pages that answer it.
QUESTIONS = {
    "dropout rate keep_prob": {"concepts/objective.html", "regularisers/keep_prob.html"},
    "resume": {"guides/resuming.html"},
    "lambda sklearn alpha": {"concepts/objective.html", "regularisers/l2.html"},
    "out of memory": {"guides/gpu.html"},
    "not separated": {"guides/answer.html"},
}


def loaded(name):
    """Returns a module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(source, site):
    """Builds the site strictly; returns the exit status and what was said."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", source / "mkdocs.yml", "-d", site]
    surroundings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=source, env=surroundings, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    status, said = build(ROOT, folder)
    assert status == 0, said
    return folder


@pytest.fixture(scope="module")
def driver():
    with browser() as found:
        yield found


def public_names():
    """Returns the public names as the running program has them; the site reads them from the source."""
    pages = loaded("pages")
    names = set()
    for path in ("regjax", *pages.PACKAGES):
        names |= {f"{path}.{name}" for name in importlib.import_module(path).__all__}
    for name in pages.CORE_MODULES:
        names |= {f"regjax.core.{name}.{key}" for key in core_names(name) if not key.isupper()}
    return names


def test_every_page_is_in_the_navigation():
    listed = re.findall(
        r"^ +- (?:.*: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE
    )
    written = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert written == set(listed) - set(loaded("pages").ROOT_FILES.values())
    assert len(listed) == len(set(listed))


def test_every_public_name_has_its_entry_and_a_sentence():
    pages = loaded("pages")
    found = {entry.name: entry.sentence for entry in pages.entries(pages.tree())}
    assert public_names() - set(found) == set()
    core = tuple(f"regjax.core.{name}." for name in pages.CORE_MODULES)
    assert {name for name in set(found) - public_names() if not name.startswith(core)} == set()
    # Python gives a table no docstring, and HParams gets its own while it runs.
    without = {"regjax.DEFAULT_SPACE", "regjax.plot.KINDS", "regjax.HParams"}
    assert {name for name in public_names() if not found[name]} <= without


@pytest.mark.parametrize("name", ["pages", "docstrings"])
def test_examples_of_the_sites_own_code(name):
    failed, tried = doctest.testmod(loaded(name))
    assert (failed, tried > 0) == (0, True)


def test_colours_are_those_of_the_figures():
    style = (ROOT / "docs" / "assets" / "site.css").read_text("utf-8")
    written = loaded("pages").colours()
    for name in set(re.findall(r"var\((--regjax-\w+)\)", style)):
        assert re.search(rf"^  {name}: #[0-9A-F]{{6}};$", written, re.MULTILINE), name


@pytest.mark.nightly
def test_every_public_name_has_a_heading_in_the_built_site(site):
    written = "".join(path.read_text("utf-8") for path in site.glob("api/*.html"))
    anchors = set(re.findall(r'id="(regjax[\w.]+)"', written))
    assert {entry.name for entry in loaded("pages").entries(loaded("pages").tree())} - anchors == set()


@pytest.mark.nightly
@pytest.mark.slow
def test_nothing_is_asked_of_the_network(site):
    for path in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", path.read_text("utf-8"))
        assert [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)] == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", path.read_text("utf-8")), path


@pytest.mark.nightly
def test_a_broken_link_ends_the_build(tmp_path):
    for path in ROOT.iterdir():
        if path.name in ("mkdocs.yml", "regjax", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs" / "guides" / "resuming.md"
    page.write_text(
        page.read_text("utf-8") + "\n[gone](gone.md) and [nowhere](../store.md#nowhere)\n", "utf-8"
    )
    status, said = build(tmp_path, tmp_path / "site")
    assert status != 0
    assert "'gone.md'" in said
    assert "#nowhere" in said


@pytest.mark.nightly
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_first_hit_answers(question, site, driver):
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get((site / "index.html").as_uri())
    driver.execute_script("document.querySelector('#__search').click()")
    box = driver.find_element("css selector", ".md-search__input")
    wait_for(box.is_displayed)
    box.send_keys(question)
    hits = ".md-search-result__item a.md-search-result__link"
    wait_for(lambda: driver.find_elements("css selector", hits))
    first = driver.find_element("css selector", hits).get_attribute("href")
    path = re.sub(r"[?#].*", "", first).removeprefix(site.as_uri() + "/")
    assert path in QUESTIONS[question]
    assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", ["guides/python.md", "guides/teaching.md"])
def test_the_examples_of_a_guide_run(page):
    failed, tried = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert (failed, tried > 3) == (0, True)
