"""What the parts put together show of the model that answers in them."""

from collections.abc import Iterator

import pytest
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with, model_of
from test_pipeline import COLUMNS, INPUT
from tickcast import model
from tickcast.board_reader import BoardReader
from tickcast.manifest import WindowRules
from tickcast.parity import PathParity
from toy_engine import ToyEngine

RULES = WindowRules(window=3)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(config_with(), MemoryClient(MemoryCluster(), [INPUT]), ToyEngine(RULES, COLUMNS))
    yield line
    line.close()


def certified(line: Line) -> dict[tuple[str, ...], float]:
    """What the board shows of measured errors, by path."""
    samples = BoardReader(line.board.fd).samples()
    return {each.labels: each.values[0] for each in samples if each.metric.name == "tickcast_certificate_error_ratio"}


def test_the_largest_error_of_each_path_is_shown_and_goes_with_its_bundle(line: Line) -> None:
    def swap(*errors: tuple[str, float]) -> None:
        parity = [PathParity(path, 1, 9, error, error, 1e-3) for path, error in errors]  # type: ignore[arg-type]
        certified = model_of(ToyEngine(RULES, COLUMNS))._replace(parity=parity)
        line.assembly.swap(model.together(line.config, [certified]))

    line.turn()
    assert certified(line) == {}
    swap(("window", 2e-4), ("finish", 1e-4), ("finish", 3e-4))
    assert certified(line) == {("finish",): 3e-4, ("window",): 2e-4}
    swap(("window", 1e-4))
    assert certified(line) == {("window",): 1e-4}


def test_the_tolerance_of_the_bundle_that_answers_is_shown(line: Line) -> None:
    tolerance = line.assembly.models.manifests[0].certificate.tolerance
    assert tolerance > 0
    assert line.value("tickcast_certificate_tolerance_ratio") == tolerance
