"""What is done to the daemons: one function for each scenario, all under the same market."""

import os
import signal
import time
from collections.abc import Callable

from tickcast.config import FAULT_VARIABLE

from chaos.course import RESTART_S, Course, owned_by, wait_until_struck
from chaos.members import Member
from chaos.plans import OUTSIDE, Strike

# What is promised beside the session timeout: rebuilding windows, and a reader that sees the forecast.
TAKEOVER_MARGIN_S = 3.0
# For longer than the session timeout, by so much.
STOPPED_MARGIN_S = 3.0
CUT_MARGIN_S = 4.0
BROKER_AWAY_S = 3.0
BROKER_PAUSED_S = 20.0
# What was on its way when a member fell silent may still arrive: forecasts count from so long afterwards on.
AFTERWARDS_S = 1.0
# A stage that is not reached by then will not be: killed from outside, and counted as such.
REACHED_TIMEOUT_S = 30.0
KILLS = "kill -9"


def killed(course: Course, strikes: list[Strike]) -> None:
    """kill -9 again and again, inside each stage and at random, and a supervisor that starts it again at once."""
    member = course.member("one", [strike.environment for strike in strikes])
    course.open_market()
    for number, strike in enumerate(strikes):
        wait_until_struck(lambda seen=number: len(member.lives) > seen, REACHED_TIMEOUT_S)
        life = member.lives[number]
        ended = wait_until_struck(
            lambda life=life: life.process.status is not None, strike.after_s or REACHED_TIMEOUT_S
        )
        if not ended:
            member.kill()
            wait_until_struck(lambda life=life: life.process.status is not None, REACHED_TIMEOUT_S)
        if life.process.status == -signal.SIGKILL:
            course.notes.strikes[life.stage or OUTSIDE] += 1
        else:
            course.notes.problems.append(f"ended by itself with {life.process.status}: {life.last_words()}")
        if strike.stage != OUTSIDE and life.stage != strike.stage:
            course.notes.unreached[strike.stage] += 1
    course.wait_forecasts(time.time_ns())
    course.let_run(course.site.settled_s)


def stopped(course: Course) -> None:
    """SIGSTOP for longer than the session timeout, with answers on their way; then SIGCONT beside its successor."""
    stage, count = _on_its_way(course)
    first, second = course.member("one", [{FAULT_VARIABLE: f"{stage}:{count}:stop"}]), course.member("two")
    course.wait_shared(first, second)
    course.open_market()
    wait_until_struck(lambda: first.lives[0].stage, REACHED_TIMEOUT_S)
    if not first.lives[0].stage:
        course.notes.unreached[stage] += 1
        os.kill(first.process.pid, signal.SIGSTOP)
    course.notes.strikes[f"stop in {stage}"] += 1
    stopped_ns = time.time_ns()
    seconds = AFTERWARDS_S + course.wait_forecasts(stopped_ns + int(AFTERWARDS_S * 1e9))
    course.notes.takeover("stopped", seconds, course.site.session_s + TAKEOVER_MARGIN_S)
    course.let_run(max(0.0, course.site.session_s + STOPPED_MARGIN_S - seconds))
    os.kill(first.process.pid, signal.SIGCONT)
    course.wait_shared(first, second)
    course.let_run(course.site.settled_s)


def broker_killed(course: Course) -> None:
    """The broker is killed (kill -9), and back on the same folder and port some seconds later."""
    course.member("one")
    course.open_market()
    course.wait_forecasts(time.time_ns())
    course.let_run(course.site.settled_s)
    course.site.broker.kill()
    course.let_run(BROKER_AWAY_S)
    course.site.broker.start()
    course.notes.takeover("broker back", course.wait_forecasts(time.time_ns()))
    course.let_run(course.site.settled_s)


def broker_paused(course: Course) -> None:
    """The broker says nothing for 20 s, and goes on as if nothing had been."""
    course.member("one")
    course.open_market()
    course.wait_forecasts(time.time_ns())
    os.kill(course.site.broker.pid, signal.SIGSTOP)
    try:
        course.let_run(BROKER_PAUSED_S)
    finally:
        os.kill(course.site.broker.pid, signal.SIGCONT)
    course.notes.takeover("broker goes on", course.wait_forecasts(time.time_ns()))
    course.let_run(course.site.settled_s)


def cut_off(course: Course) -> None:
    """One of two is cut off from the broker, with nothing closed; the other takes over; then the network is mended."""
    first, second = course.member("one", through_proxy=True), course.member("two")
    course.wait_shared(first, second)
    course.open_market()
    course.wait_forecasts(time.time_ns())
    sources = owned_by(first)
    course.site.proxy.cut()
    try:
        cut_ns = time.time_ns()
        seconds = AFTERWARDS_S + course.wait_forecasts(cut_ns + int(AFTERWARDS_S * 1e9), sources)
        course.notes.takeover("cut off", seconds, course.site.session_s + TAKEOVER_MARGIN_S)
        course.let_run(max(0.0, course.site.session_s + CUT_MARGIN_S - seconds))
    finally:
        course.site.proxy.mend()
    course.wait_shared(first, second)
    course.let_run(course.site.settled_s)


def in_turn(course: Course) -> None:
    """Three join and leave in turn: asked to, and by kill -9."""
    first = course.member("one")
    course.open_market()
    course.wait_forecasts(time.time_ns())
    second = course.member("two")
    course.wait_shared(first, second)
    third = course.member("three")
    course.wait_shared(first, second, third)
    _leave(course, first)
    course.wait_shared(second, third)
    second.kill()
    course.notes.strikes[OUTSIDE] += 1
    course.wait_shared(second, third)
    first = course.member("one")
    course.wait_shared(first, second, third)
    _leave(course, third)
    _leave(course, second)
    course.wait_shared(first)
    course.let_run(course.site.settled_s)


def taken_over(course: Course) -> None:
    """One of two hosts dies for good with answers on their way; then one that is back is killed and starts at once."""
    stage, count = _on_its_way(course)
    first, second = course.member("one"), course.member("two", [{FAULT_VARIABLE: f"{stage}:{count}"}])
    course.wait_shared(first, second)
    course.open_market()
    sources = owned_by(second)
    second.abandon()  # a host that is gone does not come back by itself
    struck = wait_until_struck(lambda: second.process.status is not None, REACHED_TIMEOUT_S)
    killed_ns = second.lives[-1].ended_ns or time.time_ns() if struck else second.kill_for_good()
    course.notes.strikes[second.lives[0].stage or OUTSIDE] += 1
    course.depart(second)
    seconds = course.wait_forecasts(killed_ns + 1, sources)
    course.notes.takeover(f"other host, killed in {stage}", seconds, course.site.session_s + TAKEOVER_MARGIN_S)
    course.wait_shared(first)
    second = course.member("two")
    course.wait_shared(first, second)
    _restart_beside(course, first, second)
    course.let_run(course.site.settled_s)


def _on_its_way(course: Course) -> tuple[str, int]:
    """The stage in which answers are sent and not committed, and when: some seconds after the market's opening."""
    seconds = course.chance.uniform(1.0, 3.0)
    if course.variant.delivery == "exactly_once":
        return "transaction", round(seconds * course.site.rate)
    return "produced", round(seconds * 10)  # commits


def _restart_beside(course: Course, first: Member, second: Member) -> None:
    """`second` is killed and starts at once; `first` sees no rebalance."""
    sources, moves = owned_by(second), _moves(first)
    second.kill()
    course.notes.strikes[OUTSIDE] += 1
    wait_until_struck(lambda: len(second.lives) > 1, REACHED_TIMEOUT_S)
    course.notes.takeover("same instance", course.wait_forecasts(second.lives[-1].started_ns, sources), RESTART_S)
    course.wait_shared(first, second)
    if _moves(first) != moves or owned_by(second) != sources:
        course.notes.problems.append("a restart of the same instance moved partitions")


def _moves(member: Member) -> int:
    events = ("partition taken up", "partitions given back", "partitions lost")
    return sum(len(member.process.events(event)) for event in events)


def _leave(course: Course, member: Member) -> None:
    course.leave(member)
    course.depart(member)


SCENARIOS: dict[str, Callable[[Course], None]] = {
    "stopped": stopped,
    "broker killed": broker_killed,
    "broker paused 20 s": broker_paused,
    "network cut": cut_off,
    "three in turn": in_turn,
    "another host": taken_over,
}
