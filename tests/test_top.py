"""`tickcast top`: what it draws, what it makes of keys, and how it meets instances that do not answer as they should.

The instance is a small server that tells recorded snapshots; one test has a real one.
"""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from instances import Serving, serving
from rich.console import Console
from tickcast import cli, page_table, top_chart, top_document, top_screen, top_stream, top_words
from tickcast.errors import TickcastError, UsageError
from tickcast.top_choice import SORTS, Choice, pressed
from tickcast.top_feed import Feed, Look
from tickcast.top_keys import KeyParser
from tickcast.top_stream import Address, Stream

HORIZONS = list(range(1, 11))
SYMBOLS = [f"SYM-{at:02}" for at in range(40)]
CHOICE = Choice("SYM-01", "movers", "", 50)
HOSTILE = "\x1b[2J\x07\x9b31mEVIL\u202e\r\n\t[bold]&#x1b;"
WAIT_S = 20.0


def _recorded(**changes: Any) -> dict[str, Any]:
    """A snapshot as an instance tells it, of `SYM-01`; `changes` replace whole parts."""
    told: dict[str, Any] = {
        "instance": {
            "name": "desk",
            "version": "1.2.3",
            "ready": True,
            "live": True,
            "status": "6 partitions, 40 symbols",
            "remark": "",
            "uptime_s": 5_400.0,
            "now_ms": 1_735_806_600_000,
        },
        "model": {
            "name": "btc",
            "version": "2024.1",
            "sha256": "0" * 64,
            "family": "additive",
            "provider": "cpu",
            "window": 64,
            "horizons": HORIZONS,
            "unit": "USD",
            "target_scale": 0.5,
            "attention": True,
        },
        "totals": {
            "ticks_per_s": 1_003.4,
            "forecasts_per_s": 1_001.0,
            "lag": 12,
            "symbols": 40,
            "partitions": 6,
            "forecasts": 123_456,
            "warming": 2_560,
            "skipped": 0,
            "dead_letters": 3,
            "expired": 0,
            "lost": 0,
        },
        "paths": {"finish": 0.941, "window": 0.059, "carried": 0.0},
        "latency": {
            "p50_s": 84.1e-6,
            "p99_s": 1.2e-3,
            "p999_s": 3.1e-3,
            "max_bucket_s": 5e-3,
            "history": [[at * 500, 80e-6 + at * 1e-7, 1e-3 if at != 150 else 9e-3] for at in range(300)],
        },
        "latency_over_s": 10.0,
        "end_to_end": {
            "event_to_sent": {"p50_s": 2e-3, "p99_s": 9e-3},
            "kafka_to_sent": {"p50_s": 1e-3, "p99_s": 4e-3},
            "handed_to_acknowledged": {"p50_s": None, "p99_s": None},
        },
        "errors": [{"horizon": h, "scored": 1_000, "relative": 0.05 - h / 100} for h in HORIZONS],
        "symbols": [
            {
                "symbol": symbol,
                "mid": 61_837.635 + at,
                "change": 1.25 - at,
                "change_share": (1.25 - at) / 61_837,
                "forecast": 0.013 * (-1) ** at,
                "error": 0.97,
                "rate": 25.0,
                "age_s": 0.2,
            }
            for at, symbol in enumerate(SYMBOLS)
        ],
        "symbols_matching": 40,
        "symbol": {
            "symbol": "SYM-01",
            "path": [[at * 40, 100 + at, 61_800 + (at * 7) % 13] for at in range(200)],
            "fans": [{"position": 299, "event_ms": 7_960, "mid": 61_805.0, "forecast": [h * 0.5 for h in HORIZONS]}],
            "scored": [],
            "attention": {"weights": [1 / 128] * 63 + [1 - 63 / 128], "position": 299},
            "latency_ms": 0.1,
            "last": {},
        },
    }
    return told | changes


def _look(told: dict[str, Any], age_s: float = 0.0, trouble: str = "") -> Look:
    return Look(top_document.read(json.dumps(told).encode()), age_s, trouble)


def _drawn(look: Look, width: int, height: int | None, choice: Choice = CHOICE) -> list[str]:
    """The screen as lines of text, checked to fit."""
    lines = top_screen.drawn(look, choice, width, height)
    assert max(line.cell_len for line in lines) <= width
    assert height is None or len(lines) == height
    written = io.StringIO()
    console = Console(file=written, width=width, color_system=None)
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")
    shown = written.getvalue().splitlines()
    assert len(shown) == len(lines)
    return shown


# -- what is drawn


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (300, 80), (120, 24)])
def test_a_screen_shows_state_latency_error_symbols_and_the_chosen_one(width, height):
    shown = _drawn(_look(_recorded()), width, height)
    text = "\n".join(shown)
    for part in ("desk", "ready", "btc 2024.1", "additive", "6 partitions, 40 symbols", "ticks 1,003/s", "lag 12"):
        assert part in text
    for part in ("p50 84.1 us", "p99 1.20 ms", "finish 94.1%", "dead letters 3", "since event 2.00 ms/9.00 ms"):
        assert part in text
    assert "+1 +4.0%" in text
    assert "+10 -5.0%" in text
    assert "> SYM-01" in text
    assert "61838.635" in text
    assert "in 10 ticks +5 USD" in text
    assert "most 51%, the newest tick" in text
    assert "q quit" in shown[-1]
    assert re.search("[⠁-⣿]", text)


def test_a_small_screen_has_the_table_above_the_symbol_and_a_wide_one_side_by_side():
    def rows(shown: list[str]) -> tuple[int, int]:
        table = next(at for at, line in enumerate(shown) if "> SYM-01" in line)
        picture = next(at for at, line in enumerate(shown) if re.search("[⠁-⣿]", line))
        return table, picture

    table, picture = rows(_drawn(_look(_recorded()), 80, 24))
    assert table < picture
    wide = _drawn(_look(_recorded()), 160, 50)
    table, picture = rows(wide)
    assert abs(table - picture) <= 2
    assert sum("SYM-" in line for line in wide) > 30


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10, 3), (20, 10), (40, 12), (79, 9), (119, 100)])
def test_no_size_of_a_terminal_breaks_it(width, height):
    _drawn(_look(_recorded()), width, height)


def test_an_instance_that_knows_nothing_yet_is_drawn_with_what_there_is():
    told = _recorded(
        model=None,
        totals=dict.fromkeys(_recorded()["totals"]),
        paths=None,
        latency={"p50_s": None, "p99_s": None, "p999_s": None, "max_bucket_s": None, "history": [[0, None, None]]},
        end_to_end={},
        errors=[{"horizon": 1, "scored": 0, "relative": None}],
        symbols=[dict.fromkeys(("mid", "change_share", "forecast", "error", "rate", "age_s")) | {"symbol": "NEW"}],
        symbol={"symbol": "NEW", "path": [[0, 1, None]], "fans": [], "attention": None},
    )
    told["instance"] |= {"ready": False, "status": None, "uptime_s": None}
    text = "\n".join(_drawn(_look(told), 80, 24, Choice("NEW", "movers", "", 50)))
    for part in ("NOT READY", "nothing scored yet", "NEW", "no mid is known of it yet", "attention: not told yet"):
        assert part in text


def test_the_worst_bias_and_the_column_that_drifted_most_are_named():
    outcomes = {1: 0.02, 5: -0.13, 10: None}
    errors = [{"horizon": h, "scored": 900, "relative": 0.1, "bias": bias} for h, bias in outcomes.items()]
    drift = [{"column": "ask_\x1b[2Jsize", "psi": 0.31}, {"column": "bid_size", "psi": 0.1}]
    text = "\n".join(_drawn(_look(_recorded(errors=errors, drift=drift)), 80, 24))
    assert "bias up to +5 -13.0%" in text
    assert "drift up to ask_\\x1b[2Jsize 0.31" in text


@pytest.mark.parametrize("part", ["totals", "paths", "latency", "end_to_end", "errors", "symbols", "symbol", "model"])
def test_what_another_version_leaves_out_is_not_known(part):
    told = _recorded()
    del told[part]
    _drawn(_look(told | {"of a later version": {"deep": [[]]}}), 80, 24)


def test_names_with_control_characters_reach_the_terminal_as_their_codes():
    told = _recorded()
    told["instance"] |= {"name": HOSTILE, "version": HOSTILE, "status": HOSTILE}
    told["model"] |= {"name": HOSTILE, "unit": HOSTILE, "family": HOSTILE, "provider": HOSTILE, "version": HOSTILE}
    told["symbols"][1]["symbol"] = told["symbol"]["symbol"] = HOSTILE
    told["symbol"]["attention"] = {"reason": HOSTILE}
    choice = Choice(HOSTILE, "movers", HOSTILE, 50, typed=HOSTILE)
    for size in ((80, 24), (160, 50)):
        text = "\n".join(_drawn(_look(told, trouble=HOSTILE), *size, choice))
        assert "\\x1b[2J\\x07" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_a_name_of_wide_characters_keeps_the_columns_straight():
    told = _recorded()
    told["symbols"][0]["symbol"] = "株価指数先物" * 10
    lines = top_screen.drawn(_look(told), CHOICE, 80, 24)
    wide, plain = (next(line for line in lines if text in line.plain) for text in ("株価", "SYM-01 "))
    assert wide.cell_len == plain.cell_len


def test_a_stream_that_stalls_is_said():
    assert "nothing new for 3.5 s" in _drawn(_look(_recorded(), age_s=3.5), 80, 24)[1]
    said = _drawn(_look(_recorded(), age_s=70.0, trouble="http://h:1 does not answer any more: reset"), 100, 24)[1]
    assert said == "http://h:1 does not answer any more: reset; trying again; this is 70 s old"


def test_why_an_instance_is_not_ready_is_said():
    told = _recorded()
    told["instance"] |= {"ready": False, "reason": "the loop is not ready: 2 partitions cannot be taken up"}
    shown = _drawn(_look(told), 80, 24)
    assert "NOT READY" in shown[0]
    assert shown[1] == "the loop is not ready: 2 partitions cannot be taken up"


def test_a_refused_reload_is_said_first_and_in_full_where_lines_hold_it():
    told = _recorded()
    digits = "0123456789abcdef" * 4
    told["instance"]["remark"] = f"reload refused: model.onnx has the sha256 {digits} and the manifest says another one"
    shown = _drawn(_look(told), 80, 24)
    assert " ".join(line.strip() for line in shown[1:3]) == (
        "reload refused: model.onnx has the sha256 01234567… and the manifest says another one"
    )
    assert shown[3] == "6 partitions, 40 symbols"
    told["instance"]["remark"] += " very long reason" * 50
    shown = _drawn(_look(told), 80, 24)
    assert shown[2].endswith("…")
    assert shown[3] == "6 partitions, 40 symbols"
    _drawn(_look(told), 1, 1)


def test_an_accepted_reload_is_said_last():
    told = _recorded()
    told["instance"]["remark"] = "reload: btc 2024.2 answers"
    assert _drawn(_look(told), 80, 24)[1] == "6 partitions, 40 symbols; reload: btc 2024.2 answers"


def test_a_latency_beyond_the_last_bound_is_no_number():
    latency = {"p50_s": 9.9, "p99_s": 10.0, "p999_s": 10.0, "max_bucket_s": None}
    text = "\n".join(_drawn(_look(_recorded(latency=latency)), 80, 24))
    assert "p50 9.90 s  p99 > 10 s  p99.9 > 10 s  max > 10 s" in text


def test_a_lag_that_is_not_known_is_no_number():
    text = "\n".join(_drawn(_look(_recorded(totals={"lag": None})), 80, 24))
    assert "lag - " in text


def test_a_loop_that_makes_no_turn_is_said_to_hang():
    told = _recorded()
    told["instance"]["live"] = False
    assert "HANGS" in _drawn(_look(told), 80, 24)[0]


def test_the_chosen_symbol_stays_in_sight_of_a_long_table():
    shown = _drawn(_look(_recorded()), 80, 24, Choice("SYM-35", "movers", "", 50))
    assert any("> SYM-35" in line for line in shown)
    assert any("waiting for what there is of it" in line for line in shown)


def test_a_table_says_how_many_symbols_it_leaves_out():
    assert "symbol (40 of 10,000)" in "\n".join(_drawn(_look(_recorded(symbols_matching=10_000)), 80, 24))


def test_a_forecast_above_the_path_is_drawn_at_the_right_and_above_it():
    told = _recorded()
    told["symbol"]["path"] = [[at, at, 100.0] for at in range(51)]
    told["symbol"]["fans"] = [{"position": 50, "mid": 100.0, "forecast": [h / 10 for h in HORIZONS]}]
    shown = _drawn(_look(told), 80, 24)
    picture = [line for line in shown if re.search("[⠁-⣿]", line)]
    assert picture[0].rstrip().endswith("101")
    assert picture[-1].rstrip().endswith("100")
    first_dot = [re.search("[⠁-⣿]", line).start() for line in picture]
    assert first_dot[0] > 50
    assert first_dot[-1] == 0


def test_a_path_before_its_positions_began_anew_is_left_out():
    told = _recorded()
    told["symbol"]["path"] = [[0, 500, 1.0], [1, 501, 2.0], [2, 64, 100.0], [3, 65, 101.0]]
    told["symbol"]["fans"] = []
    text = "\n".join(_drawn(_look(told), 80, 24))
    assert "101" in text
    assert not re.search(r"[⠁-⣿ ] 1\s*$", text, re.MULTILINE)


def test_braille_dots_lie_where_they_were_set():
    canvas = top_chart.Canvas(2, 1)
    canvas.line((0, 3), (3, 0), "")
    assert canvas.rows()[0].plain == chr(0x2800 + 0x40 + 0x20) + chr(0x2800 + 0x02 + 0x08)


def test_bars_show_the_largest_of_what_falls_into_a_column():
    assert top_chart.sparkline([1e-4] * 5 + [1e-2] + [1e-4] * 6, 4) == "▁█▁▁"
    assert top_chart.sparkline([None, 1e-3, None], 3) == " ▁ "
    assert top_chart.sparkline([], 4) == ""
    assert top_chart.strip([0.0, 0.1, 0.1, 0.8], 2) == "▂█"
    assert top_chart.strip([0.0, 0.0], 0) == ""


def test_words_for_numbers():
    assert [top_words.age(value) for value in (None, 0.25, 12.0, 600.0, 7_300.0, 400_000.0)] == [
        *("-", "0.2 s", "12 s", "10 min", "2 h", "5 d")
    ]
    assert [top_words.per_second(value) for value in (None, 0.25, 1_003.4)] == ["-", "0.25/s", "1,003/s"]
    assert top_words.plain("abcdef", 4) == "abc…"


# -- keys


def _after(choice: Choice, *keys: str) -> Choice | None:
    after: Choice | None = choice
    for key in keys:
        assert after is not None
        after = pressed(after, key, SYMBOLS)
    return after


def test_arrows_move_among_the_symbols_and_stop_at_the_ends():
    assert _after(CHOICE, "down", "down").symbol == "SYM-03"
    assert _after(CHOICE, "up", "up").symbol == "SYM-00"
    assert _after(Choice("GONE", "movers", "", 50), "down").symbol == "SYM-00"
    assert pressed(CHOICE, "down", []) == CHOICE


def test_s_goes_through_the_orders():
    assert [_after(CHOICE, *"s" * count).sort for count in range(5)] == [*SORTS, SORTS[0]]


def test_a_search_is_typed_mended_and_sent_or_left():
    assert _after(CHOICE, "/", *"btx", "erase", "c", "enter") == Choice("SYM-01", "movers", "btc", 50)
    assert _after(CHOICE, "/", *"btc").query == CHOICE.query  # not while it is written
    assert _after(CHOICE, "/", *"btc", "escape") == CHOICE
    assert _after(Choice("SYM-01", "movers", "btc", 50), "escape") == CHOICE
    assert _after(CHOICE, "/", "q").typed == "q"


def test_the_orders_are_those_an_instance_has():
    assert list(SORTS) == list(page_table.SORTS)


@pytest.mark.parametrize("key", ["q", "quit"])
def test_leaving(key):
    assert pressed(CHOICE, key, SYMBOLS) is None


def test_keys_of_several_bytes_are_taken_apart_however_they_come():
    sent = b"\x1b[A\x1bOBx\xc3\xa9\r\x7f\x03\x1b[1;5C\x1b[5~\x01/"
    wanted = ["up", "down", "x", "é", "enter", "erase", "quit", "right", "/"]
    assert KeyParser().feed(sent) == wanted
    parser = KeyParser()
    assert [key for at in range(len(sent)) for key in parser.feed(sent[at : at + 1])] == wanted


def test_an_escape_key_alone_is_known_when_nothing_follows():
    parser = KeyParser()
    assert parser.feed(b"\x1b") == []
    assert parser.waits
    assert parser.flush() == ["escape"]
    assert parser.feed(b"\x1b[") == []
    assert parser.flush() == []
    assert not parser.waits


# -- the stream


class Instance(ThreadingHTTPServer):
    """What answers like an instance: `tell(query)` is what it tells, again and again."""

    daemon_threads = True

    def __init__(self, tell: Callable[[dict[str, str]], bytes], status: int = 200) -> None:
        self.tell = tell
        self.status = status
        self.asked: list[dict[str, str]] = []
        self.media = "text/event-stream"
        self.events = 1_000
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go."""


class Handler(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append({"path": parts.path} | query)
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.media)
        self.end_headers()
        for _ in range(self.server.events):
            self.wfile.write(self.server.tell(query))
            self.wfile.flush()
            if self.server.over.wait(0.02):
                return

    def log_message(self, *_: Any) -> None:
        pass


def _event(told: dict[str, Any]) -> bytes:
    return b"retry: 1000\n: a comment\ndata: " + json.dumps(told).encode() + b"\n\n"


def _told_of(query: dict[str, str]) -> bytes:
    told = _recorded()
    told["symbol"]["symbol"] = query.get("symbol", "SYM-00")
    return _event(told)


@pytest.fixture
def instance() -> Iterator[Instance]:
    server = Instance(_told_of)
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def _opened(instance: Instance) -> Stream:
    return Stream(Address.of(instance.url), CHOICE.query)


def test_a_stream_is_asked_for_what_is_wanted_and_read_event_by_event(instance):
    with _opened(instance) as stream:
        assert [stream.read().instance.name for _ in range(3)] == ["desk"] * 3
    assert instance.asked == [{"path": "/stream", "symbol": "SYM-01", "sort": "movers", "limit": "50"}]


@pytest.mark.parametrize(
    ("status", "media", "told", "message"),
    [
        (404, "application/json", b"{}", "has no /stream: an older tickcast, or another program"),
        (503, "application/json", b'{"error": "8 viewers already"}', "refuses: 503 .*: 8 viewers already"),
        (503, "application/json", b'["not what is expected"]', "refuses: 503 Service Unavailable$"),
        (500, "text/html", b"\xff<html>", "refuses: 500 Internal Server Error$"),
        (200, "text/html", b"<html>", "is no tickcast instance: its /stream is text/html"),
    ],
)
def test_an_instance_that_tells_nothing_is_met_with_the_reason(instance, status, media, told, message):
    instance.status, instance.media, instance.events, instance.tell = status, media, 1, lambda _: told
    with pytest.raises(TickcastError, match=f"{instance.url} {message}"):
        _opened(instance)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (b"data: {\n\n", "cannot be understood"),
        (b'data: {"instance": []}\n\n', "cannot be understood"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "cannot be understood"),
        (b"data: {}", "has ended the stream"),
        (b"", "has ended the stream"),
    ],
)
def test_what_is_no_document_is_an_error_and_no_crash(instance, told, message):
    instance.events, instance.tell = 1, lambda _: told
    with _opened(instance) as stream, pytest.raises(TickcastError, match=message):
        stream.read()


def test_a_line_without_an_end_is_read_up_to_a_bound(instance, monkeypatch):
    monkeypatch.setattr(top_stream, "EVENT_BYTES_MAX", 10_000)
    instance.tell = lambda _: b"data: " + b"x" * 4_000
    with _opened(instance) as stream, pytest.raises(TickcastError, match="tells too much at once"):
        stream.read()


def test_events_that_never_end_are_read_up_to_a_bound(instance, monkeypatch):
    monkeypatch.setattr(top_stream, "EVENT_BYTES_MAX", 10_000)
    instance.tell = lambda _: b"data: " + b"x" * 4_000 + b"\n"
    with _opened(instance) as stream, pytest.raises(TickcastError, match="tells too much at once"):
        stream.read()


def test_an_instance_that_says_nothing_any_more_is_an_error(instance, monkeypatch):
    monkeypatch.setattr(top_stream, "SILENCE_S_MAX", 0.1)
    instance.tell = lambda _: b"" * instance.over.wait(WAIT_S)
    with _opened(instance) as stream, pytest.raises(TickcastError, match=r"has said nothing for 0\.1 s"):
        stream.read()


def test_nobody_there_is_one_message_and_exit_1(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["top", "--once", "127.0.0.1:9"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "tickcast: http://127.0.0.1:9 does not answer: Connection refused\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("desk:9464", "http://desk:9464"),
        ("http://desk:9464/", "http://desk:9464"),
        ("https://host/one/desk/", "https://host/one/desk"),
        ("http://[::1]:9464", "http://[::1]:9464"),
    ],
)
def test_an_address_may_be_short(url, shown):
    assert str(Address.of(url)) == shown


@pytest.mark.parametrize(
    "url", [":1", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://h/?a=1", "http://[::"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match=re.escape(url)):
        Address.of(url)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="no user and password") as refused:
        Address.of("http://me:secret@host")
    assert "secret" not in str(refused.value)


# -- the feed


def _until(met: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.01)


def _feed(instance: Instance) -> Feed:
    address = Address.of(instance.url)
    return Feed(Stream(address, CHOICE.query), CHOICE.query, lambda query: Stream(address, query))


def test_another_question_is_answered_by_a_new_stream(instance):
    with _feed(instance) as feed:
        feed.ask({"symbol": "SYM-07"})
        _until(lambda: feed.look().document.symbol.symbol == "SYM-07")
        assert feed.look().trouble == ""
    assert [asked["symbol"] for asked in instance.asked] == ["SYM-01", "SYM-07"]


def test_news_ring_the_bell_and_a_look_silences_it(instance):
    with _feed(instance) as feed:
        assert select.select([feed.fd], [], [], WAIT_S)[0]
        instance.over.set()
        _until(lambda: feed.look().trouble != "")
        feed.look()
        assert not select.select([feed.fd], [], [], 0)[0]


def test_a_stream_that_breaks_is_said_and_taken_up_again(instance, monkeypatch):
    monkeypatch.setattr("tickcast.top_feed.RETRY_S", 0.05)
    instance.events = 2
    with _feed(instance) as feed:
        _until(lambda: "has ended the stream" in feed.look().trouble)
        assert feed.look().document.instance.name == "desk"  # what was there stays
        instance.events = 1_000
        _until(lambda: feed.look().trouble == "")
        _until(lambda: feed.look().age_s < 0.5)


# -- the command


@pytest.mark.parametrize(("ready", "status"), [(True, 0), (False, 1)])
def test_once_prints_plain_text_and_exits_by_readiness(instance, ready, status):
    told = _recorded()
    told["instance"]["ready"] = ready
    instance.tell = lambda _: _event(told)
    done = _once(instance.url)
    assert done.returncode == status, done.stderr
    assert ("NOT READY" in done.stdout) is not ready
    assert "\x1b" not in done.stdout
    assert sum("SYM-" in line for line in done.stdout.splitlines()) > 40  # all of them: nothing limits its height
    assert "symbol" not in instance.asked[0]
    assert "> SYM-01" in done.stdout  # whichever it told of


def test_a_real_instance_is_shown_with_rates_path_forecast_and_attention(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with serving() as instance, _told_on(instance):
        done = _once(instance.url)
    assert done.returncode == 0, done.stderr
    for part in ("desk  ready  btc 2024.1, additive, cpu, window 8", "6 partitions, 2 symbols\n", "p50 "):
        assert part in done.stdout
    for part in ("> BUSY", "QUIET", "in 10 ticks +1 USD", "most 65%, the newest tick", "finish 100.0%"):
        assert part in done.stdout
    assert re.search("[⠁-⣿]", done.stdout)
    assert "ticks -" not in done.stdout


@contextmanager
def _told_on(instance: Serving) -> Iterator[None]:
    """A loop that goes on meanwhile."""
    over = threading.Event()

    def loop() -> None:
        for position in range(70, 10_000):
            instance.tell("BUSY", position, 1)
            instance.answer_wish()
            if over.wait(0.02):
                return

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_terminal_gets_colours_and_a_screen_of_its_own_and_is_put_back_by_q(instance):
    with Terminal(instance.url) as terminal:
        terminal.until(lambda: "> " in terminal.shown)
        terminal.press(b"\x1b[B")
        terminal.until(lambda: instance.asked[-1].get("symbol") == "SYM-01")
        terminal.press(b"/sym-3\r")
        terminal.until(lambda: instance.asked[-1].get("search") == "sym-3")
        terminal.press(b"s")
        terminal.until(lambda: instance.asked[-1]["sort"] == "errors")
        terminal.press(b"q")
        assert terminal.ended() == 0
        assert "\x1b[?1049h" in terminal.shown
        assert terminal.is_as_before()


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda terminal: terminal.press(b"\x03"), 0),
        (lambda terminal: terminal.signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda terminal: terminal.signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_a_terminal_is_put_back_however_it_ends(instance, end, status):
    with Terminal(instance.url) as terminal:
        terminal.until(lambda: "SYM-01" in terminal.shown)
        end(terminal)
        assert terminal.ended() == status
        assert terminal.is_as_before()


def test_top_loads_nothing_of_research_nor_onnxruntime():
    code = (
        "import sys, tickcast.commands.top;"
        "print([m for m in ('tensorflow', 'onnxruntime', 'kafka', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def _once(url: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tickcast", "top", "--once", url]
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables)


class Terminal:
    """`tickcast top URL` on a terminal of 80 by 24, seen and typed at from the other end."""

    def __init__(self, url: str) -> None:
        self.shown = ""
        self._ours, self._its = pty.openpty()
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._before = termios.tcgetattr(self._its)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tickcast", "top", url],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._its)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def until(self, met: Callable[[], bool]) -> None:
        """Wait; what it shows is read meanwhile, or it would wait for that."""
        deadline_s = time.monotonic() + WAIT_S
        while not met():
            assert time.monotonic() < deadline_s, self.shown
            self._read(0.05)
        self._read(0.0)

    def ended(self) -> int:
        """Its exit status."""
        self.until(lambda: self._process.poll() is not None)
        return self._process.returncode

    def is_as_before(self) -> bool:
        """Its modes, the cursor, and the screen that was there before."""
        modes = {mode: self.shown.rfind(f"\x1b[?{mode}") for mode in ("25h", "25l", "1049h", "1049l")}
        is_put_back = modes["25h"] > modes["25l"] and modes["1049l"] > modes["1049h"]
        return is_put_back and termios.tcgetattr(self._its) == self._before

    def _read(self, timeout_s: float) -> None:
        if select.select([self._ours], [], [], timeout_s)[0]:
            self.shown += os.read(self._ours, 65_536).decode(errors="replace")
