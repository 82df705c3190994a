"""The page of the report in a real browser: what is drawn, clicked, typed and saved."""

import base64
import dataclasses
import json
import re

import numpy as np
import pytest
from browser import browser
from pages import HOSTILE, MATHS, SCRIPT, arrays, wait_for
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import regjax
from regjax.plot.palette import THEMES
from regjax.report import About, inputs, page
from regjax.report import arrays as report_data
from regjax.study.design import Design

pytestmark = pytest.mark.slow


def write_anew(path, text):
    """Writes a page as `regjax report` does: one that is reloaded half written would never reload again."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


@pytest.fixture(scope="module")
def driver():
    with browser() as found:
        yield found


@pytest.fixture
def opened(driver, tmp_path):
    """Returns a function that opens a page, and holds that it says no error and asks for nothing."""

    def go(html):
        path = tmp_path / "page.html"
        path.write_text(html, "utf-8")
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        driver.get(path.as_uri())
        wait_for(lambda: driver.execute_script("return document.getElementById('found').textContent"))
        return driver

    yield go
    assert [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"] == []
    sent = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []


def root(driver, name):
    """Returns JavaScript that is a view of the page."""
    return f"Bokeh.index[Bokeh.documents[0].roots().find(m => m.name === '{name}').id]"


def data_of(driver, name, k=0):
    """Returns the columns of the source that the first glyphs of a figure draw, or that a table shows."""
    what = "m.type === 'DataTable' ? m.source.data : m.renderers[k].data_source.data"
    script = f"""const m = {root(driver, name)}.model, k = {k}, data = {what}, out = {{}};
        for (const [c, v] of Object.entries(data)) out[c] = [...v].map(x => ArrayBuffer.isView(x) ? [...x] :
            Number.isNaN(x) ? null : x);
        return out"""
    return {c: [np.nan if v is None else v for v in of] for c, of in driver.execute_script(script).items()}


def click(driver, name, x, y):
    """Clicks into a figure, in data coordinates."""
    script = f"""const v = {root(driver, name)}, box = v.canvas_view.el.getBoundingClientRect();
        v.el.scrollIntoView({{block: "center"}});
        return [v.frame.x_scale.compute({x}), v.frame.y_scale.compute({y}), box.width, box.height]"""
    at_x, at_y, width, height = driver.execute_script(script)
    element = driver.execute_script(f"return {root(driver, name)}.el")
    ActionChains(driver).move_to_element_with_offset(
        element, at_x - width / 2, at_y - height / 2
    ).click().perform()


def shown(driver):
    return driver.find_element("id", "shown").text.lstrip("▸★ ")


def button(driver, name):
    element = driver.find_element("id", name)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def keys(driver, name, *pressed):
    """Types into a control, as a reader without a mouse does."""
    element = driver.execute_script(f"return {root(driver, name)}.input_el")
    element.send_keys(*pressed)


@pytest.mark.nightly
def test_a_click_chooses(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    before = {name: data_of(driver, name) for name in ("loss", "detail", "bars", "dots", "numbers")}
    cells = data_of(driver, "heat")
    assert len(cells["c"]) == 6  # at the learning rate of the chosen
    other = next(k for k, c in enumerate(cells["c"]) if c != planar.best().index)
    click(driver, "heat", cells["x"][other], cells["y"][other])
    c = cells["c"][other]
    wait_for(lambda: shown(driver).startswith(f"l2={planar.design.configurations[c]['l2']:g}, "))
    for name, data in before.items():
        assert data_of(driver, name) != data, name
    loss = planar.table("val_loss").mean((1, 2))[c]
    np.testing.assert_allclose(data_of(driver, "loss")["val_loss"][-1], loss, rtol=1e-3)
    np.testing.assert_allclose(cells["value"][other], planar.table("val_accuracy").mean((1, 2))[c], rtol=1e-6)
    # A second click on what is not chosen any more chooses it again.
    first = cells["c"].index(planar.best().index)
    click(driver, "heat", cells["x"][first], cells["y"][first])
    wait_for(lambda: data_of(driver, "numbers") == before["numbers"])
    # In the forest and in the gap too.
    pairs = data_of(driver, "forest")
    click(driver, "forest", pairs["difference"][0], pairs["y"][0])
    wait_for(lambda: data_of(driver, "numbers") != before["numbers"])


@pytest.mark.nightly
def test_the_boundary_is_what_the_network_predicts(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    data = arrays(planar)
    c = data["chosen"]
    x0, x1, y0, y1 = data["plane"]
    side = (np.arange(80) + 0.5) / 80
    grid = np.stack([a.ravel() for a in np.meshgrid(x0 + side * (x1 - x0), y0 + side * (y1 - y0))], axis=1)
    row = planar.design.index(c, 0, 0)
    rounded = [[np.float16(part).astype(np.float32) for part in layer] for layer in planar.params(row)]
    kept = {row: tuple(regjax.Layer(*layer) for layer in rounded)}
    expected = dataclasses.replace(planar, kept=kept).predict_proba(row, grid)
    np.testing.assert_allclose(expected, planar.predict_proba(row, grid), atol=0.01)
    (image,) = data_of(driver, "detail")["image"]
    bits = np.array(image, np.uint32)[:, None] >> np.array([0, 8, 16]) & 255
    for label, rgb in enumerate(((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2))):
        sure = 2 * expected[:, label] - 1
        mine = sure > 0.01
        paint = 0.2 + 0.6 * sure[mine, None]
        np.testing.assert_allclose(bits[mine], 255 - (255 - np.array(rgb)) * paint, atol=1)


def test_the_page_reads_every_half(driver):
    text = SCRIPT.read_text()
    half = re.search(r"const half = .*?;\n", text, re.DOTALL)[0]
    found = driver.execute_script(
        f"{half} return [...Array(65536).keys()].map(half).map(v => v === v ? v : null)"
    )
    expected = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    expected[~np.isfinite(expected)] = np.nan
    np.testing.assert_array_equal([np.nan if v is None else v for v in found], expected)


@pytest.mark.nightly
@pytest.mark.parametrize("which", ["planar", "one_split"])
def test_any_configuration_can_be_the_baseline(which, opened, request):
    results = request.getfixturevalue(which)
    first = results.compare()
    driver = opened(page(results, first, results.best()))
    c = results.best().index
    before = data_of(driver, "table")
    button(driver, "rebase")
    wait_for(lambda: data_of(driver, "table") != before)
    found = data_of(driver, "table")
    comparison = results.compare(dict(results.design.configurations[c]))
    names = [results.design.in_words(configuration) for configuration in results.design.configurations]
    assert len(comparison.table) == len(names) - 1
    for _, row in comparison.table.iterrows():
        place = found["c"].index(names.index(row["name"]))
        assert found["verdict"][place] == (row["verdict"] or row["status"])
        for name in ("difference", "low", "high", "family_low", "family_high"):
            # On one split halves of the scores of single samples stand in the page.
            rtol = 2e-3 if "family" in name and which == "one_split" else 1e-9
            np.testing.assert_allclose(found[name][place], row[name], rtol=rtol, atol=1e-12, err_msg=name)
    assert found["verdict"][found["c"].index(c)] == "baseline"
    button(driver, "first")
    wait_for(lambda: data_of(driver, "table") == before)


@pytest.mark.nightly
def test_large_targets(opened):
    """Losses and weights beyond float16."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    config = {"hidden": (), "num_steps": 60, "eval_every": 5}
    grid = regjax.grid(l2=[0, 1], learning_rate=0.3)
    results = regjax.sweep((x, 3e5 + 1e5 * x[:, 0]), config, grid, folds=2, progress=False)
    driver = opened(page(results, results.compare(), results.best()))
    curve = data_of(driver, "loss")
    assert min(curve["val_loss"]) > 0
    np.testing.assert_allclose(curve["val_loss"][0], results.records["val_loss"][:2, 0].mean(), rtol=1e-3)
    c = results.best().index
    found = data_of(driver, "dots")["value"]
    np.testing.assert_allclose(found[:2], results.table("val_r2")[c, 0], rtol=1e-3)
    image = np.array(data_of(driver, "detail")["image"][0])
    assert len(np.unique(image)) > 20


@pytest.mark.nightly
def test_the_plane_of_standardised_targets_is_in_their_own_unit(opened):
    x = np.random.default_rng(0).standard_normal((40, 2))
    config = {"hidden": (), "num_steps": 60, "eval_every": 20}
    results = regjax.sweep(
        (x, 3e5 + 1e5 * x[:, 0]), config, {"learning_rate": 0.3}, folds=2, standardize_target=True,
        progress=False,
    )  # fmt: skip
    driver = opened(page(results, None, results.best()))
    x0, x1, y0, y1 = report_data.plane_of(results.design)
    side = (np.arange(80) + 0.5) / 80
    grid = np.stack([a.ravel() for a in np.meshgrid(x0 + side * (x1 - x0), y0 + side * (y1 - y0))], axis=1)
    y = np.asarray(results.design.data.y)[0]
    share = np.clip((results.predict(0, grid) - y.min()) / np.ptp(y), 0, 1)
    (image,) = data_of(driver, "detail")["image"]
    bits = np.array(image, np.uint32)[:, None] >> np.array([0, 8, 16]) & 255
    for label, rgb in enumerate(((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2))):
        sure = 2 * np.abs(1 - label - share) - 1
        mine = sure > 0.01
        assert mine.sum() > 1000
        paint = 0.2 + 0.6 * sure[mine, None]
        np.testing.assert_allclose(bits[mine], 255 - (255 - np.array(rgb)) * paint, atol=1)


@pytest.mark.nightly
@pytest.mark.slow
def test_by_keyboard(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    keys(driver, "picker0", Keys.HOME)
    wait_for(lambda: shown(driver).startswith("l2=0, "))
    keys(driver, "picker0", Keys.END)
    wait_for(lambda: shown(driver).startswith("l2=3, "))
    keys(driver, "split", Keys.HOME)  # training samples
    wait_for(lambda: "training accuracy" in driver.find_element("id", "of_heat").text)
    values = planar.table("train_accuracy").mean((1, 2))
    cells = data_of(driver, "heat")
    np.testing.assert_allclose(cells["value"], values[cells["c"]], rtol=1e-6)
    keys(driver, "split", Keys.END)
    wait_for(lambda: "to look at, not to choose by" in driver.find_element("id", "of_heat").text)
    keys(driver, "filter", "l2=3 keep_prob<1", Keys.ENTER)
    wait_for(lambda: driver.find_element("id", "found").text == "2 of 12 configurations")
    assert {planar.design.configurations[c]["l2"] for c in data_of(driver, "table")["c"]} == {3}
    keys(driver, "filter", Keys.CONTROL + "a" + Keys.NULL, "L2>=0.1, l2<=0.1 nosuch=3", Keys.ENTER)
    wait_for(lambda: driver.find_element("id", "found").text == "0 of 12 configurations; no column nosuch")
    keys(driver, "filter", Keys.CONTROL + "a" + Keys.NULL, "L2>=0.1, l2<=0.1 baseline", Keys.ENTER)
    wait_for(lambda: driver.find_element("id", "found").text.startswith("0 of"))
    keys(driver, "filter", Keys.CONTROL + "a" + Keys.NULL, "L2>=0.1, l2<=0.1", Keys.ENTER)
    wait_for(lambda: driver.find_element("id", "found").text == "4 of 12 configurations")
    keys(driver, "filter", Keys.CONTROL + "a" + Keys.NULL, Keys.DELETE, Keys.ENTER)
    wait_for(lambda: driver.find_element("id", "found").text == "12 of 12 configurations")
    keys(driver, "order", "val_loss", Keys.ENTER)
    wait_for(
        lambda: (
            data_of(driver, "table")["c"]
            == np.argsort(planar.table("val_loss").mean((1, 2)), kind="stable").tolist()
        )
    )
    before = data_of(driver, "table")["verdict"]
    driver.find_element("id", "rebase").send_keys(Keys.ENTER)
    wait_for(lambda: data_of(driver, "table")["verdict"] != before)


FIGURE = "{ const m = %s.model; return [m.background_fill_color, m.left[0].major_label_text_color]; }"


def looks(driver):
    """Returns the colours of the page's paper and of a figure's background and labels."""
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return [paper, *driver.execute_script(FIGURE % root(driver, "loss"))]


def rgb(colour):
    return f"rgb({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:], 16)})"


@pytest.mark.nightly
def test_day_and_night(planar, opened):
    expected = {name: [rgb(of["paper"]), of["card"], of["ink"]] for name, of in THEMES.items()}
    driver = opened(page(planar, planar.compare(), planar.best()))
    try:
        for theme in ("dark", "light"):
            media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            wait_for(lambda theme=theme: looks(driver) == expected[theme])
            black = THEMES[theme]["black"]
            wait_for(lambda black=black: black in data_of(driver, "forest")["colour"])
        switch = driver.find_element("id", "theme")
        assert switch.get_attribute("aria-pressed") == "false"
        switch.send_keys(Keys.ENTER)
        wait_for(lambda: looks(driver) == expected["dark"])
        assert switch.get_attribute("aria-pressed") == "true"
        keys(driver, "picker0", Keys.HOME)  # what is kept of a click keeps the switch too
        driver.refresh()
        wait_for(lambda: driver.execute_script("return document.getElementById('found').textContent"))
        assert looks(driver) == expected["dark"]
    finally:
        driver.execute_script("history.replaceState(null, '')")
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.nightly
@pytest.mark.parametrize("which", ["planar", "one_split"])
def test_the_page_fits_every_width(which, opened, request):
    results = request.getfixturevalue(which)
    driver = opened(page(results, results.compare(), results.best(), about=About(source=HOSTILE * 9)))
    script = "return [document.documentElement.scrollWidth, innerWidth]"
    try:
        for width in (360, 800, 1400):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            wait_for(lambda width=width: driver.execute_script(script)[1] == width)
            assert driver.execute_script(script)[0] <= width
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.nightly
def test_marks_say_what_the_evidence_cannot_tell(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    cells = data_of(driver, "heat")
    best = int(np.argmin(arrays(planar)["rank"]))
    to_best = planar.compare(dict(planar.design.configurations[best])).table.set_index("name")["verdict"]
    to_first = planar.compare().table.set_index("name")["verdict"]
    for c, near, noise in zip(cells["c"], cells["near"], cells["noise"], strict=True):
        name = planar.design.in_words(planar.design.configurations[c])
        near_best = "best" if c == best else "≈" if to_best[name] == "not separated" else ""
        assert near == near_best, name
        assert (noise > 0) == (to_first.get(name) == "not separated"), name
    assert {"best", "≈"} <= set(cells["near"])
    assert driver.find_element("id", "evident").is_displayed()
    keys(driver, "metric", Keys.END)  # of another metric this evidence says nothing
    wait_for(lambda: not driver.find_element("id", "evident").is_displayed())
    assert set(data_of(driver, "heat")["near"]) == {""}
    assert set(data_of(driver, "heat")["noise"]) == {0}


@pytest.mark.nightly
def test_a_curve_stands_in_every_row(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    table = data_of(driver, "table")
    assert table["curve"] == [arrays(planar)["sparks"][c] for c in table["c"]]
    drawn = f"return [...{root(driver, 'table')}.shadow_el.querySelectorAll('.slick-row svg path')]"
    wait_for(lambda: driver.execute_script(f"{drawn}.map(e => e.getAttribute('d'))[0]") == table["curve"][0])


@pytest.mark.nightly
def test_a_screen_reader_finds_its_way(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best(), first=planar.compare_choice()))
    count = "return document.querySelectorAll(arguments[0]).length"
    for landmark in ("header", "main", "footer", "h1"):
        assert driver.execute_script(count, landmark) == 1
    # Each part has a name, and the name some text.
    unnamed = """return [...document.querySelectorAll("section, figure, .panel")].filter(e => !e.hidden &&
        !(e.ariaLabel || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent.trim()))
        .map(e => e.outerHTML.slice(0, 200))"""
    assert driver.execute_script(unnamed) == []
    assert driver.execute_script(count, "img:not([alt]), button:empty:not([hidden])") == 0
    levels = driver.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])"
    )
    assert max(np.diff(levels)) <= 1
    # The numbers are behind a summary that Enter opens; who has the focus is seen.
    numbers = driver.find_element("css selector", ".answer details")
    assert not numbers.get_property("open")
    summary = numbers.find_element("tag name", "summary")
    driver.find_element("id", "theme").send_keys(Keys.TAB)
    assert driver.switch_to.active_element == summary
    assert float(summary.value_of_css_property("outline-width").removesuffix("px")) >= 2
    summary.send_keys(Keys.ENTER)
    wait_for(lambda: numbers.get_property("open"))
    assert "selected among" in numbers.text


@pytest.mark.nightly
def test_a_header_sorts_and_the_page_prints(planar, opened):
    driver = opened(page(planar, planar.compare(), planar.best()))
    pdf = base64.b64decode(driver.print_page())
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000
    header = driver.execute_script(
        f"return [...{root(driver, 'table')}.shadow_el.querySelectorAll('.slick-header-column')]"
        ".find(e => e.textContent.includes('val loss'))"
    )
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", header)
    header.click()
    shown = f"return {root(driver, 'table')}.grid.getDataItem(0).val_loss"
    wait_for(lambda: driver.execute_script(shown) == planar.table("val_loss").mean((1, 2)).min())


@pytest.mark.nightly
def test_a_table_is_saved(planar, opened, tmp_path):
    import pandas as pd

    driver = opened(page(planar, planar.compare(), planar.best()))
    driver.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    button(driver, "csv")
    wait_for((tmp_path / "regjax.csv").exists)
    table = pd.read_csv(tmp_path / "regjax.csv")
    assert table["rank"].tolist() == list(range(1, 13))
    np.testing.assert_allclose(table["val_accuracy"].iloc[0], planar.best().validation)


LEGEND = "m.below.find(l => l.type === 'Legend').items.map(i => i.label.value)"
TICKS = "[...m.below[0].major_label_overrides.values()].map(t => t.type === 'PlainText' ? t.text : null)"


@pytest.mark.nightly
@pytest.mark.parametrize(("features", "labels"), [(2, LEGEND), (3, TICKS)])
def test_names_are_shown_as_text(features, labels, opened):
    x = np.random.default_rng(0).standard_normal((60, features))
    y = np.array([HOSTILE, MATHS])[(x[:, 0] > 0).astype(int)]
    config = {"hidden": (4,), "num_steps": 20, "eval_every": 10}
    results = regjax.sweep((x, y), config, regjax.grid(l2=[0, 0.1]), folds=2, progress=False)
    text = f"{MATHS} {HOSTILE}"
    about = About(source=text, command=text, toml=text)
    driver = opened(page(results, results.compare(), results.best(), missing=[text], about=about))
    assert driver.find_element("tag name", "h1").text.startswith(text)
    assert driver.title.startswith(text)
    assert driver.find_element("id", "asked").text == f"{text}\n\n{text}"
    with pytest.raises(Exception, match="no such alert"):
        driver.switch_to.alert.accept()
    found = driver.execute_script(f"const m = {root(driver, 'detail')}.model; return {labels}")
    assert sorted(found) == sorted([HOSTILE, MATHS])


@pytest.mark.nightly
def test_the_columns_that_matter_are_drawn_by_name(real, opened, monkeypatch):
    names = [HOSTILE, MATHS, "_" * 90, *(f"column {k}" for k in range(7))]
    columns = {name: (k,) for k, name in enumerate(names)}
    monkeypatch.setattr(Design, "column_inputs", property(lambda self: columns))
    driver = opened(page(real, real.compare(), real.best()))
    found = real.importance(repeats=inputs.REPEATS)
    assert f"{found.title}. Thick: 95 %" in driver.find_element("tag name", "main").text
    drawn = data_of(driver, "importance")
    assert list(drawn["column"]) == found.table["column"].tolist()
    for name in ("importance", "low", "high", "family_low", "family_high"):
        np.testing.assert_allclose(drawn[name], found.table[name], rtol=1e-9)
    labels = "[...m.left[0].major_label_overrides.values()].map(t => t.type === 'PlainText' ? t.text : null)"
    shown = driver.execute_script(f"const m = {root(driver, 'importance')}.model; return {labels}")
    assert {HOSTILE, MATHS, "_" * 19 + "…" + "_" * 20} < set(shown)
    with pytest.raises(Exception, match="no such alert"):
        driver.switch_to.alert.accept()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_page_loads_itself_again(planar, opened, tmp_path):
    about = About(source="before", every=4)
    driver = opened(page(planar, planar.compare(), planar.best(), about=about))
    keys(driver, "picker0", Keys.HOME)
    keys(driver, "filter", "keep_prob<1", Keys.ENTER)
    keys(driver, "split", Keys.HOME)
    button(driver, "rebase")
    wait_for(lambda: driver.find_element("id", "found").text == "6 of 12 configurations")
    now = shown(driver), driver.find_element("id", "of_forest").text
    after = dataclasses.replace(about, source="after", every=None)
    write_anew(tmp_path / "page.html", page(planar, planar.compare(), planar.best(), about=after))
    wait_for(lambda: driver.title.startswith("after"))
    wait_for(lambda: driver.find_element("id", "found").text == "6 of 12 configurations")
    assert (shown(driver), driver.find_element("id", "of_forest").text) == now
    assert "training accuracy" in driver.find_element("id", "of_heat").text


@pytest.mark.nightly
def test_nothing_chosen_follows_what_is_new(planar, opened, tmp_path):
    driver = opened(page(planar, planar.compare(), planar.best(), about=About(source="before", every=1)))
    other = dataclasses.replace(planar.best(), index=5)
    write_anew(tmp_path / "page.html", page(planar, planar.compare(), other, about=About(source="after")))
    wait_for(lambda: driver.title.startswith("after"))
    name = planar.design.in_words(planar.design.configurations[5], 4)
    wait_for(lambda: shown(driver).startswith(name))


@pytest.mark.nightly
@pytest.mark.parametrize("which", ["one_split", "real"])
def test_other_data(which, opened, request):
    results = request.getfixturevalue(which)
    driver = opened(page(results, results.compare(), results.best()))
    if which == "one_split":
        cells = data_of(driver, "heat")
        assert sorted(cells["lost"]) == [0, 0, 1, 1]
        assert [c for c, star in zip(cells["c"], cells["star"], strict=True) if star] == [
            results.best().index
        ]
        keys(driver, "picker1", Keys.END)
        wait_for(lambda: "learning_rate=1e+09" in shown(driver))
        assert driver.execute_script(f"return {root(driver, 'detail')}.model.visible") is False
        assert driver.find_element("id", "no_detail").is_displayed()
    else:
        drawn = data_of(driver, "detail")
        assert len(drawn["predicted"]) == 250


@pytest.mark.nightly
def test_ten_thousand_configurations(planar, opened, tmp_path):
    """The page of a large sweep: under 15 MB; how long it takes to open is measured, and not asserted."""
    design = planar.design
    times = 834
    grid = regjax.grid(
        l2=np.geomspace(1e-3, 1, times).tolist(), keep_prob=[1, 0.8], learning_rate=[*np.linspace(0.1, 1, 6)]
    )
    configurations = tuple(grid)
    count = len(configurations)
    assert count == 10_008
    first = {name: getattr(design, name)[:1] * count for name in ("configs", "hparams", "num_batches")}
    many = dataclasses.replace(design, configurations=configurations, **first)
    per, random = design.num_replicates, np.random.default_rng(0)

    def spread(values):
        noise = random.normal(0, 0.1, (count, 1, 1))
        return (values[:per] + noise).reshape(count * per, -1).astype(np.float32)

    rows = ("diverged_at", "stopped_at", "last_finite_cost", "seconds")
    results = dataclasses.replace(
        planar,
        design=many,
        records={name: spread(values) for name, values in planar.records.items()},
        kept={row: planar.kept[row % per] for row in range(count * per)},
        provenance=planar.provenance[:per] * count,
        **{name: np.tile(getattr(planar, name)[:per], count) for name in rows},
    )
    html = page(results, results.compare({"keep_prob": 1}), results.best())
    assert len(html) < 15e6
    driver = opened(html)
    assert driver.find_element("id", "found").text == "10008 of 10008 configurations"
    assert len(data_of(driver, "forest")["c"]) in (24, 25)
