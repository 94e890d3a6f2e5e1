"""Which systems are compared, and how each is started on one job.

A system is a process that consumes the input topic from its start and writes forecasts until it is told to end.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers_files, peers_ticks
from bench.peers_topics import INPUT

HERE = Path(__file__).parent
PEERS = HERE / "peers"
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".bench"
SKETCH = ROOT.parent / "shared" / "tools" / "sketch"
SKETCH_BROKER, SKETCH_OUTPUT = "127.0.0.1:19092", '"sketch-out"'
DEAD_LETTERS = "dead-letters"
# Of onnxruntime, for everyone; with one none of the frameworks was faster.
THREADS = 2


@dataclass(frozen=True)
class Job:
    """What one run works on."""

    bootstrap_servers: str
    output_topic: str  # the consumer group is called the same: every run starts from the beginning
    ticks: int
    models: Path  # as `peers_model` made them
    folder: Path  # for configuration and whatever the system leaves behind; also where it runs


@dataclass(frozen=True)
class Started:
    """A command, and variables on top of the environment."""

    command: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class System:
    """One line of the comparison."""

    label: str
    packages: tuple[str, ...]  # whose versions are stated
    start: Callable[[Job], Started]
    environment: str = ""  # folder of its requirements; empty: the project's own
    unanswered_first: int = peers_files.WINDOW - 1  # ticks of each symbol that only fill its window
    reference: str = peers_files.PLAIN  # whose features its forecasts are checked with

    def expected(self, ticks: int) -> int:
        """How many forecasts answer every tick."""
        return ticks - self.unanswered_first * peers_ticks.SYMBOLS


def python_of(environment: str) -> str:
    """The interpreter of one of the environments."""
    return str(ENVIRONMENTS / environment / "bin" / "python") if environment else sys.executable


def _tickcast(client: str, bundle: str) -> Callable[[Job], Started]:
    def start(job: Job) -> Started:
        sections: dict[str, dict[str, object]] = {
            "[kafka]": {
                "client": client,
                "bootstrap_servers": job.bootstrap_servers,
                "group_id": job.output_topic,
                "input_topics": [INPUT],
                "output_topic": job.output_topic,
                "dead_letter_topic": DEAD_LETTERS,
                "start": "earliest",
            },
            "[recovery]": {"state_topic": "none"},  # none of the others keeps anything of the kind
            "[inference]": {"provider": "cpu", "threads": THREADS},
            "[http]": {"port": 0},
            "[log]": {"format": "json"},
            "[[models]]": {"bundle": str(job.models / bundle), "allow_untrained_symbols": True},
        }
        # Strings, numbers and lists of strings are written alike in TOML and JSON.
        blocks = (
            "\n".join([head, *(f"{k} = {json.dumps(v)}" for k, v in body.items())]) for head, body in sections.items()
        )
        path = job.folder / "tickcast.toml"
        path.write_text("\n\n".join(blocks) + "\n", "utf-8")
        return Started([sys.executable, "-m", "tickcast", "run", "--config", str(path)], {})

    return start


def _peer(
    name: str, arguments: Sequence[str], environment: str | None = None, model: str = peers_files.PLAIN_GRAPH
) -> Callable[[Job], Started]:
    """A program in `peers/NAME`, run by the environment of that name where no other one is said."""

    def start(job: Job) -> Started:
        given = {
            "PEERS_BOOTSTRAP_SERVERS": job.bootstrap_servers,
            "PEERS_INPUT_TOPIC": INPUT,
            "PEERS_OUTPUT_TOPIC": job.output_topic,
            "PEERS_GROUP": job.output_topic,
            "PEERS_MODEL": str(job.models / model),
            "PEERS_THREADS": str(THREADS),
            "PYTHONPATH": os.pathsep.join([str(PEERS / name), str(PEERS)]),
        }
        return Started([python_of(name if environment is None else environment), *arguments], given)

    return start


def _sketch(client: str) -> Callable[[Job], Started]:
    """A copy of the sketch whose broker and topics are this run's."""

    def start(job: Job) -> Started:
        text = (SKETCH / "sketch.py").read_text("utf-8")
        for old, new in ((SKETCH_BROKER, job.bootstrap_servers), (SKETCH_OUTPUT, f'"{job.output_topic}"')):
            if old not in text:
                raise ValueError(f"{SKETCH / 'sketch.py'}: no {old} in it any more")
            text = text.replace(old, new)
        (job.folder / "sketch.py").write_text(text, "utf-8")
        (job.folder / "common.py").write_bytes((SKETCH / "common.py").read_bytes())
        command = [python_of("sketch"), "sketch.py", str(job.ticks), client]
        return Started(command, {"LAB": str(job.models / peers_files.PLAIN)})

    return start


FAUST = ("--loop", "uvloop", "worker", "--without-web", "-l", "warn")
OF_BYTEWAX, OF_QUIX = ("bytewax", "confluent-kafka", "onnxruntime"), ("quixstreams", "confluent-kafka", "onnxruntime")
OF_FAUST = ("faust-streaming", "aiokafka", "onnxruntime")
OF_CONFLUENT = ("tickcast", "confluent-kafka", "onnxruntime-gpu")
OF_KAFKA_PYTHON = ("tickcast", "kafka-python", "onnxruntime-gpu")
# A row needs the sampled tick before it, and whether a tick is sampled depends on the one before it.
TICKCAST_FIRST = peers_files.WINDOW + 1

SYSTEMS: dict[str, System] = {
    "tickcast-confluent": System(
        "tickcast, confluent-kafka",
        OF_CONFLUENT,
        _tickcast("confluent-kafka", peers_files.CERTIFIED),
        unanswered_first=TICKCAST_FIRST,
        reference=peers_files.CERTIFIED,
    ),
    "tickcast-kafka-python": System(
        "tickcast, kafka-python",
        OF_KAFKA_PYTHON,
        _tickcast("kafka-python", peers_files.CERTIFIED),
        unanswered_first=TICKCAST_FIRST,
        reference=peers_files.CERTIFIED,
    ),
    "tickcast-same-features": System(
        "tickcast, confluent-kafka, plain graph",
        OF_CONFLUENT,
        _tickcast("confluent-kafka", peers_files.SAME_FEATURES),
        unanswered_first=TICKCAST_FIRST,
    ),
    "sketch-confluent": System(
        "sketch, confluent-kafka", ("confluent-kafka", "onnxruntime"), _sketch("confluent"), "sketch"
    ),
    "sketch-kafka-python": System(
        "sketch, kafka-python", ("kafka-python", "onnxruntime"), _sketch("kafka-python"), "sketch"
    ),
    "bytewax": System("Bytewax", OF_BYTEWAX, _peer("bytewax", ("-m", "bytewax.run", "main:flow")), "bytewax"),
    "quix": System("Quix Streams", OF_QUIX, _peer("quix", ("-m", "main")), "quix"),
    "faust": System("Faust", OF_FAUST, _peer("faust", ("-m", "main", *FAUST)), "faust"),
    "seed": System(
        "Keras predict, tick by tick",
        ("keras", "tensorflow", "confluent-kafka"),
        _peer("seed", ("-m", "main"), environment="", model=peers_files.CORE),
    ),
}
OURS_COMPARED = ("tickcast-confluent", "tickcast-kafka-python")
