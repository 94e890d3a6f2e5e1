"""What is seen of onnxruntime's sessions from outside, and that nothing is left of the seeing."""

import pytest
from tickcast import providers
from tickcast.bench_sessions import SessionWatch
from tickcast.config import InferenceConfig


class Session:
    """Stands in for onnxruntime's."""

    def run(self, outputs, feeds):
        return [outputs, feeds]

    def io_binding(self):
        return "bound"

    def run_with_iobinding(self, binding):
        assert binding == "bound"


@pytest.fixture
def session(monkeypatch):
    made = Session()
    monkeypatch.setattr(providers, "session", lambda graph, name, config: made)
    return made


def test_runs_are_counted_while_somebody_watches_and_only_then(session):
    watch = SessionWatch()
    with watch.opening():
        watched = providers.session(b"", "cpu", InferenceConfig())
    watched.run([], {})
    watch.start()
    assert watched.run(["forecast"], {"rows": 1}) == [["forecast"], {"rows": 1}]
    watched.run_with_iobinding(watched.io_binding())
    watch.stop()
    watched.run([], {})
    assert watch.runs == 2
    assert watch.cpu_s > 0


def test_sessions_opened_afterwards_are_not_watched(session):
    with SessionWatch().opening():
        pass
    assert providers.session(b"", "cpu", InferenceConfig()) is session


def test_each_watch_starts_from_zero(session):
    watch = SessionWatch()
    with watch.opening():
        watched = providers.session(b"", "cpu", InferenceConfig())
    watch.start()
    watched.run([], {})
    watch.start()
    assert watch.runs == 0
    assert watch.cpu_s == 0
