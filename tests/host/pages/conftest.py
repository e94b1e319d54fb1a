"""The pages of a booted host in a real browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import WATCH, Open, Tab, chromium
from playwright.sync_api import Browser
from testhost import TestHost


@pytest.fixture(scope="package")
def browser(server: TestHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(server, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory for pictures of pages; TINYCI_SHOTS names one that stays."""
    path = os.environ.get("TINYCI_SHOTS")
    directory = Path(path) if path else tmp_path_factory.mktemp("shots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture
def tab(browser: Browser) -> Iterator[Open]:
    """Opens tabs, with options of a Playwright context; the end of the test closes them."""
    tabs: list[Tab] = []

    def open_tab(**options: object) -> Tab:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        context.set_default_timeout(30_000)
        context.add_init_script(WATCH)
        tabs.append(Tab(context))
        return tabs[-1]

    yield open_tab
    for each in tabs:
        each.context.close()
