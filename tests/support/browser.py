"""Chromium for the tests of pages: headless, with a log of what it says and asks for."""

import contextlib
import os
import shutil

import pytest

CHROMIUM = os.environ.get("REGJAX_CHROMIUM") or shutil.which("chromium")


@contextlib.contextmanager
def browser():
    """Yields a driver of Chromium; without Chromium the test is skipped."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None:
        pytest.skip("needs Chromium and its driver; REGJAX_CHROMIUM says where the browser is")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "no-first-run",
                 "disable-component-update", "disable-sync", "window-size=1500,1400"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
