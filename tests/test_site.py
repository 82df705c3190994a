"""The documentation site: it builds, has every public name, fetches nothing, and its search answers."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import browser
from pages import wait_for

ROOT = Path(__file__).parents[1]
pytest.importorskip("mkdocs")
pytest.importorskip("material")
pytest.importorskip("mkdocstrings")

# Question -> the page of the first hit.
QUESTIONS = {
    "dropout rate keep_prob": "regularisers/keep_prob.html",
    "resume": "store.html",
    "lambda sklearn alpha": "objective.html",
    "out of memory": "choosing.html",
    "not separated": "intervals.html",
}


def build(root, out):
    """Builds the site of a copy of the repository; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_every_public_name_has_an_entry(site):
    import regjax

    found = set()
    for page in (site / "reference").glob("*.html"):
        found |= set(re.findall(r'id="(regjax[\w.]*)"', page.read_text("utf-8")))
    names = {f"regjax.{name}" for name in regjax.__all__}
    names |= {f"regjax.plot.{name}" for name in regjax.plot.__all__}
    names |= {f"regjax.optuna.{name}" for name in regjax.optuna.__all__}
    names |= {f"regjax.tutorial.{name}" for name in regjax.tutorial.__all__}
    names |= {f"regjax.data.datasets.{name}" for name in regjax.datasets.__all__}
    assert not names - found
    assert {
        "regjax.core.losses.sigmoid_cross_entropy",
        "regjax.report.page",
        "regjax.Results.compare",
    } <= found
    # A docstring that code completes is read as users see it.
    assert "{regularisers}" not in (site / "reference" / "scikit-learn.html").read_text("utf-8")


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site):
    fetched = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?:)?//", re.IGNORECASE)
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        # The address of the page itself, which some elements of the head hold, is fetched by nobody.
        text = re.sub(r'<link rel="?(canonical|prev|next)[^>]*>', "", page.read_text("utf-8"))
        assert not fetched.search(text), page.name


@pytest.mark.slow
def test_every_page_of_the_folder_is_in_the_navigation(site):
    menu = (site / "index.html").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.stem not in ("index", "glossary"):  # the menu of the start page shows the first of each tab
            assert (site / f"{page.stem}.html").is_file()
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}" in nav, page.name
    assert "reference/sweeps.html" in menu


@pytest.mark.slow
def test_a_broken_link_stops_the_build(tmp_path):
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("regjax", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    page = tmp_path / "docs" / "choosing.md"
    page.write_text(page.read_text("utf-8") + "\n[nowhere](nowhere.md)\n", "utf-8")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert "nowhere.md" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_search_answers_in_the_first_hit(site):
    with browser() as driver:
        assert {question: first_hit(driver, site, question) for question in QUESTIONS} == QUESTIONS


def first_hit(driver, site, question):
    """Types a question into the site's search, and returns the page of the first result."""
    driver.get((site / "index.html").as_uri())
    body = driver.find_element("css selector", "body")
    field = driver.find_element("css selector", ".md-search__input")
    wait_for(lambda: body.send_keys("/") or driver.switch_to.active_element == field)  # the theme's key
    field.send_keys(question)
    found = []
    for _ in range(100):
        time.sleep(0.1)
        now = [
            link.get_attribute("href")
            for link in driver.find_elements("css selector", ".md-search-result__item a")
        ]
        if now and now == found:  # the list of results stands still
            break
        found = now
    assert found, question
    return found[0].partition(f"{site.name}/")[2].partition("?")[0].partition("#")[0]
