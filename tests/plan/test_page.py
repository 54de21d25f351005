"""The report in a browser: it renders, loads nothing, logs no error, and can be read on a phone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

PHONE = {"width": 390, "height": 844, "pixelRatio": 2.0}
FIGURES = 11
LEAST_PT = 8


@pytest.fixture(scope="module")
def report(done: tuple[Path, dict[str, Any], str]) -> Path:
    """The page of a plan with everything in it."""
    return done[0] / "plan.html"


@pytest.fixture(scope="module")
def phone(report: Path) -> Iterator[Chrome]:
    """A browser as small as a phone, with the page in it."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        reason = "chromium and chromedriver are not installed"
        if os.environ.get("SUNSIM_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": PHONE})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options, ChromeService(driver))
    try:
        browser.get(report.as_uri())
        yield browser
    finally:
        browser.quit()


def test_it_renders(phone: Chrome) -> None:
    assert phone.title == "small: capacity plan"
    assert phone.find_element("css selector", ".verdict").text.count("meet") >= 1
    heights: list[float] = phone.execute_script(
        "return [...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)"
    )
    large = [number.text for number in phone.find_elements("css selector", ".headline strong")]
    assert len(large) == 3
    assert large[0].endswith(" GPUs")
    assert large[1].endswith(" an hour")
    assert large[2].endswith(" %")
    assert len(heights) == FIGURES
    assert min(heights) > 80


def test_nothing_is_loaded_and_nothing_goes_wrong(phone: Chrome, report: Path) -> None:
    logs: dict[str, list[dict[str, Any]]] = {
        kind: phone.get_log(kind)  # type: ignore[no-untyped-call]
        for kind in ("browser", "performance")
    }
    assert logs["browser"] == []
    events = [json.loads(entry["message"])["message"] for entry in logs["performance"]]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


def test_a_phone_can_show_it(phone: Chrome) -> None:
    inner: int = phone.execute_script("return window.innerWidth")
    assert inner == PHONE["width"]
    for details in phone.find_elements("css selector", "details"):
        phone.execute_script("arguments[0].open = true", details)
    assert phone.execute_script("return document.documentElement.scrollWidth") <= inner
    # What is wider than the screen scrolls within itself.
    wide: list[Any] = phone.execute_script(
        "return [...document.querySelectorAll('p, li, h1, h2, svg, .scroll, pre')]"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert tables_that_scroll(phone) == []
    breaks: list[list[float]] = phone.execute_script(
        "return [...document.querySelectorAll('td[data-of=\"breaks first\"]')]"
        ".map(e => [e.getBoundingClientRect().left, e.getBoundingClientRect().right])"
    )
    assert len(breaks) == 2
    assert all(0 <= left < right <= inner for left, right in breaks)
    smallest: float = phone.execute_script(
        "return Math.min(...[...document.querySelectorAll('p, li, td, th')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    assert smallest_text_of_figures(phone) >= LEAST_PT * 96 / 72


def test_no_column_is_beside_a_desktop(phone: Chrome) -> None:
    desktop = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)
    try:
        assert phone.execute_script("return window.innerWidth") == 1280
        for details in phone.find_elements("css selector", "details"):
            phone.execute_script("arguments[0].open = true", details)
        assert tables_that_scroll(phone) == []
        assert smallest_text_of_figures(phone) >= LEAST_PT * 96 / 72
    finally:
        phone.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def tables_that_scroll(browser: Chrome) -> list[str]:
    """The first words of each."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.innerText.slice(0, 60))"
    )
    return found


def smallest_text_of_figures(browser: Chrome) -> float:
    """In pixels, as it is shown."""
    smallest: float = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('svg')].flatMap(svg => {"
        " const times = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;"
        " return [...svg.querySelectorAll('text')].map(e => times * parseFloat(getComputedStyle(e).fontSize)) }))"
    )
    return smallest
