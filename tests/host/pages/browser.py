"""A person's browser in the network of a test host: Debian's Chromium, driven by Playwright."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from testhost import HOST, TestHost

# As a person reaches them: through Nginx, below the path that the inventory gives them.
PAGES = "http://127.0.0.1/ci/"
CHROMIUM = "/usr/bin/chromium"

# Collects what must not happen: the page is told of all that Content-Security-Policy refuses.
WATCH = """
window.marker = Math.random();
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def leader(server: TestHost) -> str:
    """PID 1 of the host, as seen from outside."""
    config = subprocess.run([HOST, "ssh-config", server.name], capture_output=True, text=True, check=True).stdout
    return (Path(config.strip()).parent / "leader").read_text().strip()


@contextmanager
def chromium(server: TestHost, directory: Path) -> Iterator[Browser]:
    """Run it in the host's network, and in ours for all else."""
    inside = directory / "chromium"
    inside.write_text(f'#!/bin/sh\nexec nsenter --target {leader(server)} --net {CHROMIUM} "$@"\n')
    inside.chmod(0o755)
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=inside, args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page in a context of its own, and its complaints."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.navigations: list[str] = []
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("framenavigated", lambda frame: self.navigations.append(frame.url))

    def _console(self, kind: str, text: str) -> None:
        # A status that is no 200 is told there as well: the tests look at statuses themselves.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.complaints.append(f"{kind}: {text}")

    def open(self, path: str) -> int:
        """Go to a path; return the status of the answer."""
        answer = self.page.goto(PAGES + path)
        assert answer
        self.navigations.clear()
        return answer.status

    def text(self, selector: str) -> str:
        """The text of an element, in one line."""
        return " ".join(self.page.inner_text(selector).split())

    def wait_for(self, selector: str, text: str = "", limit: float = 60) -> Locator:
        """Wait until an element is visible, with that text in it, if any."""
        element = self.page.locator(selector)
        expect(element).to_be_visible(timeout=limit * 1000)
        if text:
            expect(element).to_contain_text(text, timeout=limit * 1000)
        return element

    def wait_for_state(self, selector: str, word: str, limit: float = 60) -> None:
        """Wait until an element shows that state."""
        self.wait_for(f'{selector} [data-state="{word}"]', word, limit)

    def violations(self) -> list[str]:
        violations: list[str] = self.page.evaluate("window.violations")
        return violations

    def check(self) -> None:
        """Assert that nothing was refused, and nothing went wrong."""
        assert self.complaints == []
        assert self.violations() == []


Open = Callable[..., Tab]
