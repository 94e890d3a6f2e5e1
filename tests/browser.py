"""Headless Chromium for the tests of the page: Debian's `chromium`, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXECUTABLE = "/usr/bin/chromium"
# The browser speaks with the page's own process and with nobody else.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 15_000


@contextmanager
def chromium() -> "Iterator[Browser]":
    """The browser; skips the test where there is none."""
    if shutil.which(EXECUTABLE) is None:
        pytest.skip(f"no {EXECUTABLE}: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=EXECUTABLE, headless=True, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Visit:
    """One reader's look at the page: everything asked for and everything complained about is noted."""

    def __init__(self, browser: "Browser", scheme: str = "dark", phone: bool = False) -> None:
        more: dict[str, Any] = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2} if phone else {}
        viewport = PHONE if phone else DESKTOP
        self._context = browser.new_context(viewport=viewport, color_scheme=scheme, **more)  # type: ignore[arg-type]
        self._context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self._context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._note(message.type, message.text))

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def hosts(self) -> set[str]:
        """Whom the page has asked for anything."""
        return {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}

    def text(self, selector: str) -> str:
        """What the element says."""
        return self.page.locator(selector).inner_text()

    def wait(self, condition: str, argument: object = None) -> None:
        """Until a JavaScript condition holds; `argument` is given to it."""
        self.page.wait_for_function(condition, arg=argument)

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)
