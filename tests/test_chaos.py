"""The crash matrix in short (`make chaos` is the long one): each stage struck, one stopped, one cut off, each delivery.

Whatever was done to the daemons, every tick has its forecast, an undisturbed run's; and with exactly once, once.
"""

from collections.abc import Callable, Iterator

import pytest
from chaos import plans, scenarios
from chaos.cluster import proxied_broker
from chaos.course import Course, Site, Variant
from chaos.plans import Strike
from tickcast.errors import MissingExtraError

pytestmark = [pytest.mark.broker, pytest.mark.slow]

# Either client and either delivery; the other two, and all scenarios with all four, in `make chaos`.
KILLED = (("kafka-python", "exactly_once"), ("confluent-kafka", "at_least_once"))
WINDOW = 16  # of the bundles that tests export
RATE = 600.0  # ticks a second
SESSION_S = 4.0  # longer than a daemon that is short of processor time keeps silent
SETTINGS = {"group.min.session.timeout.ms": "1000"}  # 6 s by default
# How often a stage is reached before it is struck: within a second or two.
COUNTS = {"decode": 300, "produced": 3, "transaction": 300, "commit": 4, "committed": 3, "recovery": 200}
SETTLED_S = 0.5


@pytest.fixture(scope="module")
def site(exported, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("chaos")
    bundle = exported("additive").bundle
    try:
        with proxied_broker(SETTINGS) as (broker, proxy):
            yield Site(broker, proxy, bundle, WINDOW, folder, RATE, SESSION_S, SETTLED_S)
    except MissingExtraError as error:
        pytest.skip(str(error))


def check(site: Site, variant: Variant, name: str, action: Callable[[Course], None]) -> Course:
    """Nothing missing, nothing doubled that must not be, every value the undisturbed run's."""
    with Course(site, variant, name) as course:
        action(course)
        found = course.finish()
    assert course.notes.problems == []
    assert found.ticks > course.sent.ticks > 0
    return course


@pytest.mark.parametrize(("client", "delivery"), KILLED)
def test_killed_inside_each_stage_it_goes_on_as_if_nothing_had_been(site, client, delivery):
    strikes = [Strike(stage, COUNTS[stage], 0.0) for stage in plans.stages(delivery)]
    course = check(site, Variant(client, delivery, 0), "kills", lambda course: scenarios.killed(course, strikes))
    assert course.notes.strikes == {strike.stage: 1 for strike in strikes}


def test_stopped_in_a_transaction_for_longer_than_its_session_it_publishes_nothing_twice(site):
    course = check(site, Variant("confluent-kafka", "exactly_once", 0), "stopped", scenarios.stopped)
    assert course.notes.strikes == {"stop in transaction": 1}


def test_cut_off_from_the_broker_it_loses_nothing_and_the_other_answers(site):
    course = check(site, Variant("kafka-python", "exactly_once", 0), "cut", scenarios.cut_off)
    assert course.notes.takeovers_s
