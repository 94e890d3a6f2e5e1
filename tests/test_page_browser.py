"""The page in headless Chromium, over shared memory that the test writes: ten thousand symbols, ticks simulated."""

import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import Visit, chromium
from simulated_loop import HORIZONS, SimulatedLoop, model
from tickcast.config import HttpConfig
from tickcast.sidecar import Sidecar
from tickcast.tape import Ticks

pytestmark = pytest.mark.slow

SYMBOLS = 10_000
HOSTILE = "<img src=x onerror=\"document.title='taken over'\">"
NAMES = [f"SIM-{number:05d}" for number in range(SYMBOLS - 1)] + [HOSTILE]
SIGNS = "+\u2212"  # plus and minus as the page writes them
BUSY = 40  # of them tick, so that there is a path to see


class Market:
    """Simulated ticks that go on in the background, of the first and the last symbols."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._busy = [*range(BUSY), SYMBOLS - 1]
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            self._loop.tick_of(np.array(self._busy))
            self._loop.explain()
            self._loop.turn()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def loop() -> Iterator[SimulatedLoop]:
    with SimulatedLoop(NAMES) as loop:
        loop.begin()
        loop.tick(2 * SYMBOLS)
        with Market(loop):
            yield loop


@pytest.fixture(scope="module")
def sidecar(loop: SimulatedLoop) -> Iterator[Sidecar]:
    sidecar = Sidecar.start(loop.shared, HttpConfig(port=0), 60, "desk-1")
    urllib.request.urlopen(f"{sidecar.url}/snapshot", timeout=30).close()  # the tape is read by now
    yield sidecar
    sidecar.stop()


@pytest.fixture
def visit(browser: Any, sidecar: Sidecar) -> Iterator[Callable[..., Visit]]:
    """`visit(path="/", scheme="dark", phone=False)` opens the page; nothing may complain or leave the host."""
    visits: list[Visit] = []

    def open_page(path: str = "/", scheme: str = "dark", phone: bool = False) -> Visit:
        made = Visit(browser, scheme, phone)
        visits.append(made)
        made.page.goto(sidecar.url + path)
        made.wait("() => document.querySelectorAll('#rows tr').length > 0")
        return made

    yield open_page
    for made in visits:
        with made:
            assert made.hosts() == {urlsplit(sidecar.url).netloc}
            assert made.complaints == []


def test_the_page_shows_how_the_daemon_is_and_a_forecast(visit: Callable[..., Visit]) -> None:
    seen = visit("/?symbol=SIM-00007")
    assert seen.text("#state-word") == "ready"
    assert seen.text("#instance") == "desk-1"
    assert seen.text("#model").startswith("simulated-additive 1 · 5e5e5e5e")
    assert seen.text("#symbols-count") == "10,000"
    seen.wait("() => /^\\d+/.test(document.querySelector('#ticks-rate').textContent)")
    seen.wait("() => /µs|ms/.test(document.querySelector('#p99').textContent)")
    seen.wait("() => document.querySelectorAll('#path-chart .dot:not([display=none])').length === 10")
    seen.wait("() => document.querySelectorAll('#attention-chart .weight').length === 64")
    mid = seen.page.evaluate("() => document.querySelector('#path-chart .mid').getAttribute('d')")
    assert mid.count("L") >= 1
    assert re.fullmatch(rf"[{SIGNS}]?\d\.\d+", seen.text("#symbol-ahead"))
    spoken = seen.page.locator("#path-chart svg").get_attribute("aria-label") or ""
    assert re.match(rf"SIM-00007: last mid [\d.]+, forecast for 10 ticks ahead [{SIGNS}]?[\d.]+\.", spoken)


def test_ticks_go_on_coming(visit: Callable[..., Visit]) -> None:
    seen = visit("/?symbol=SIM-00003")
    first = seen.text("#ticks")
    seen.wait("(first) => document.querySelector('#ticks').textContent !== first", first)


def test_another_symbol_is_chosen_by_click_and_by_keys(visit: Callable[..., Visit]) -> None:
    seen = visit("/?sort=name")
    seen.page.locator("#rows tr").nth(5).click()
    seen.wait("() => document.querySelector('#symbol-name').textContent === 'SIM-00004'")  # after the hostile one
    assert "symbol=SIM-00004" in seen.page.url
    seen.page.keyboard.press("ArrowDown")
    seen.wait("() => document.querySelector('#symbol-name').textContent === 'SIM-00005'")
    assert seen.text("#rows tr.chosen th") == "SIM-00005"
    seen.page.keyboard.press("ArrowUp")
    seen.page.keyboard.press("ArrowUp")
    seen.wait("() => document.querySelector('#symbol-name').textContent === 'SIM-00003'")


def test_of_ten_thousand_symbols_the_first_are_shown_and_a_search_finds_any(visit: Callable[..., Visit]) -> None:
    seen = visit("/?sort=name")
    assert seen.page.locator("#rows tr").count() == 50
    assert seen.text("#matching") == "first 50 of 10,000"
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("sim-0777")
    seen.wait("() => document.querySelector('#matching').textContent.startsWith('found 10 of')")
    rows = seen.page.locator("#rows th").all_inner_texts()
    assert rows == [f"SIM-0777{digit}" for digit in range(10)]
    seen.page.keyboard.press("Enter")
    seen.wait("() => document.querySelector('#symbol-name').textContent === 'SIM-07770'")
    seen.page.keyboard.press("Escape")
    seen.wait("() => document.querySelectorAll('#rows tr').length === 50")


@pytest.mark.parametrize(("sort", "header"), [("movers", 2), ("errors", 4), ("rate", 5)])
def test_a_header_sorts(visit: Callable[..., Visit], sort: str, header: int) -> None:
    seen = visit("/?sort=name")
    seen.page.locator(f"th[data-sort={sort}] button").click()
    seen.wait("(sort) => document.querySelector(`th[data-sort=${sort}]`).ariaSort === 'descending'", sort)
    shown = seen.page.locator(f"#rows td:nth-child({header + 1})").all_inner_texts()
    sizes = [float(text.lstrip(SIGNS)) for text in shown if text != "\u2013"]
    assert len(sizes) >= 40
    assert sum(sizes[:10]) > sum(sizes[-10:])  # numbers go on while the order stands for some seconds


def test_a_hostile_symbol_is_text(visit: Callable[..., Visit]) -> None:
    seen = visit("/?search=%3Cimg")
    seen.page.locator("#rows tr").first.click()
    seen.wait("(name) => document.querySelector('#symbol-name').textContent === name", HOSTILE)
    seen.wait("() => document.querySelectorAll('#attention-chart .weight').length === 64")
    assert seen.page.locator("img").count() == 0
    assert seen.page.title() == "desk-1 · tickcast"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Callable[..., Visit], scheme: str) -> None:
    seen = visit("/?symbol=SIM-00001", scheme, phone=True)
    seen.wait("() => document.querySelector('#path-chart .mid').getAttribute('d')")
    width, screen = seen.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width == screen == 390


@pytest.mark.parametrize("width", [1440, 1024, 760, 390])
def test_a_readout_of_seven_digits_has_room(visit: Callable[..., Visit], width: int) -> None:
    seen = visit("/?symbol=SIM-00001")
    seen.page.set_viewport_size({"width": width, "height": 900})
    assert seen.page.evaluate(CROWDED, "1,234,567") == []


def test_a_latency_beyond_the_last_bound_and_a_refused_reload_are_said(browser: Any) -> None:
    with SimulatedLoop(["SIM-A", "SIM-B"]) as loop:
        loop.begin()
        loop.tick_of(np.array([0]))
        sidecar = Sidecar.start(loop.shared, HttpConfig(port=0), 60)
        try:
            with Visit(browser) as seen:
                seen.page.goto(sidecar.url + "/")
                seen.wait(SAYS, ["#matching", "1 seen here of 2"])
                loop.shared.board.histogram("tickcast_received_to_handed_seconds").observe([60.0] * 100)
                loop.turn(f"1 partition, 9 ticks/s, lag 0, p99 over 10 s; reload refused: sha256 {'5e' * 32} is wrong")
                seen.wait(SAYS, ["#p99", "> 10 s"])
                seen.wait(SAYS, ["#handed-p50", "> 10 s"])
                assert seen.text("#state-remark") == "reload refused: sha256 5e5e5e5e… is wrong"
                assert seen.text("#state-reason") == "1 partition"
                assert "5e" * 32 in (seen.page.locator("#state").get_attribute("title") or "")
                loop.turn("1 partition; reload: btc 2 answers")
                seen.wait(SAYS, ["#state-reason", "1 partition; reload: btc 2 answers"])
                assert seen.text("#state-remark") == ""
                loop.turn("the cluster does not answer; 1 partition, lag 0")
                seen.wait(SAYS, ["#lag", "\u2013"])
                assert seen.complaints == []
        finally:
            sidecar.stop()


def test_dark_and_light_are_two_pictures_and_text_stands_out_in_both(visit: Callable[..., Visit]) -> None:
    pictures = set()
    for scheme in ("dark", "light"):
        seen = visit("/?symbol=SIM-00001", scheme)
        colours = seen.page.evaluate(COLOURS)
        assert all(_contrast(text, ground) >= 4.5 for text, ground in colours), colours
        pictures.add(colours[0][1])
    assert len(pictures) == 2


def test_a_lost_stream_is_said_and_comes_back(browser: Any, loop: SimulatedLoop, visit: Callable[..., Visit]) -> None:
    own = Sidecar.start(loop.shared, HttpConfig(port=0), 60, "desk-1")
    port = urlsplit(own.url).port
    assert port is not None
    try:
        with Visit(browser) as seen:
            asked: list[str] = []
            seen.page.on("request", lambda request: asked.append(request.url))
            seen.page.goto(own.url + "/")
            seen.wait("() => document.querySelector('#state-word').textContent === 'ready'")
            assert seen.page.locator("#notice").is_hidden()
            assert "symbol=" not in asked[-1]  # the busiest
            own.stop()
            seen.wait("() => /^Not live: .* Trying again/.test(document.querySelector('#notice').textContent)")
            assert seen.text("#state-word") == "not connected"
            assert seen.page.locator("main.stale").count() == 1
            own = Sidecar.start(loop.shared, HttpConfig(port=port), 60, "desk-1")
            seen.wait("() => document.querySelector('#notice').hidden")
            seen.wait("() => document.querySelector('#state-word').textContent === 'ready'")
            assert seen.page.locator("main.stale").count() == 0
            assert "symbol=" in asked[-1]  # it stays, whichever is the busiest now
    finally:
        own.stop()


def test_of_several_models_the_one_that_answers_the_symbol_is_named(browser: Any) -> None:
    with SimulatedLoop(["SIM-A"]) as loop:
        loop.begin()
        other = {**model(horizons=(1, 3)), "name": "other"}
        loop.shared.tape.begin(len(HORIZONS), model(), [other])
        loop.tick(300)
        numbers, now_ns = np.arange(300), np.full(300, loop.clock.wall_ns())
        forecasts = np.full((300, 2), 0.25, np.float32)
        ticks = Ticks(["OTHER"] * 300, np.ones(300, np.uint32), numbers, now_ns, now_ns, 100.0 + numbers % 5, forecasts)
        loop.shared.tape.append(ticks, place=1)
        loop.turn()
        sidecar = Sidecar.start(loop.shared, HttpConfig(port=0), 60)
        try:
            with Visit(browser) as seen:
                seen.page.goto(sidecar.url + "/?symbol=OTHER")
                seen.wait(SAYS, ["#symbol-model", "other 1"])
                seen.wait(SAYS, ["#symbol-ahead-name", "forecast, 3 ticks on"])
                assert seen.text("#model") == "2 bundles"
                assert seen.text("#table-ahead") == "longest"  # the rows' horizons differ
                assert "simulated-additive 1" in (seen.page.locator("#model").get_attribute("title") or "")
                seen.page.goto(sidecar.url + "/?symbol=SIM-A")
                seen.wait(SAYS, ["#symbol-model", "simulated-additive 1"])
                assert seen.complaints == []
        finally:
            sidecar.stop()


def test_what_is_missing_is_said_in_words(browser: Any) -> None:
    with SimulatedLoop(["SIM-A"]) as loop:
        sidecar = Sidecar.start(loop.shared, HttpConfig(port=0, live_timeout_ms=60_000), 60)
        try:
            with Visit(browser) as seen:
                seen.page.goto(sidecar.url + "/")
                seen.wait(SAYS, ["#path-chart", "No model answers yet"])
                assert seen.text("#state-word") == "not ready"
                loop.begin()
                seen.wait(SAYS, ["#path-chart", "No ticks yet"])
                loop.shared.board.counter("tickcast_ticks_processed_total", topic="ticks").add(30)
                loop.turn()
                seen.wait(SAYS, ["#path-chart", "Warming: 30 ticks so far; a forecast needs 64 of one symbol."])
                assert seen.complaints == []
        finally:
            sidecar.stop()


SAYS = "([where, words]) => document.querySelector(where).textContent.includes(words)"

# Readouts that would be wider than their place if they said so much.
CROWDED = """(text) => [...document.querySelectorAll('.readouts div')].filter((node) => {
  const said = node.querySelector('dd');
  said.style.width = 'max-content';
  said.textContent = text;
  return said.getBoundingClientRect().right > node.getBoundingClientRect().right;
}).map((node) => node.textContent)"""

# Colour of text and of what is behind it, of every text that stands in a panel.
COLOURS = """() => [...document.querySelectorAll('h1, h2, dt, dd, small, th button, td, .soft, .note, input')]
  .filter((node) => node.offsetParent)
  .map((node) => {
    let behind = node;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    return [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
  })"""


def _contrast(first: str, second: str) -> float:
    """As WCAG 2 has it."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
