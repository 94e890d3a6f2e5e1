"""What became of a disturbed run, beside an undisturbed one over the same ticks.

Two second opinions: the audit recomputes from the input topic what should be there, and each copy of each forecast and
dead letter is held against the one that an undisturbed daemon gave.
"""

from typing import NamedTuple

import feeds
from daemons import CLOCKS, Job
from tickcast import audit, manifest, records
from tickcast import config as configuration

from chaos.topics import Topics, forecast_of

TOLERANCE = 1e-6
# Of every run here: some records are too long, and their dead letters stay small.
LIMITS = {"record_bytes_max": feeds.OVERSIZE_BYTES, "dead_letter_bytes_max": 500}
Source = tuple[str, int, int]  # topic, partition, offset


class Verdict(NamedTuple):
    """The sums of one run."""

    ticks: int
    missing: int  # by the audit, or there in the undisturbed run and not in this one; the larger
    doubled: int  # copies beyond the first; each names its source in its headers, or reading had failed
    unexpected: int  # neither the rules nor the undisturbed run give these
    different: int  # copies that differ in anything but clocks
    deviation: float  # largest |forecast - undisturbed| / max(target_scale, |undisturbed|)
    undisturbed_doubled: int
    sent_ns: list[int]  # when each forecast was sent, ascending

    def problems(self, delivery: str) -> list[str]:
        """What does not hold, in words."""
        names = ("missing", "unexpected", "different", "undisturbed_doubled")
        wrong = [f"{name} {number}" for name in names if (number := getattr(self, name))]
        if self.doubled and delivery == "exactly_once":
            wrong.append(f"doubled {self.doubled}")
        if not self.deviation <= TOLERANCE:  # also not a number
            wrong.append(f"deviation {self.deviation:g}")
        return wrong


class Answers:
    """Forecasts and dead letters of one run by source; the first copy stands for all, once they are compared."""

    def __init__(self) -> None:
        self.fields: dict[Source, int] = {}  # hash of all but clocks and values
        self.values: dict[Source, tuple[float, ...]] = {}
        self.copies = 0
        self.different = 0
        self.deviation = 0.0
        self.sent_ns: list[int] = []

    def add(self, source: Source, fields: int, values: tuple[float, ...], scale: float) -> None:
        """One copy; a further one is held against the first."""
        self.copies += 1
        if source in self.fields:
            self.compare(source, fields, values, self, scale)
        else:
            self.fields[source], self.values[source] = fields, values

    def compare(self, source: Source, fields: int, values: tuple[float, ...], other: "Answers", scale: float) -> None:
        """Note how far a copy is from `other`'s."""
        wanted = other.values[source]
        self.different += fields != other.fields[source] or len(values) != len(wanted)
        off = [abs(value - each) / max(scale, abs(each)) for value, each in zip(values, wanted, strict=False)]
        self.deviation = max([self.deviation, *off], key=lambda number: (number != number, number))


def judge(topics: Topics, disturbed: Job, undisturbed: Job) -> Verdict:
    """Read everything, and compare. Raises ValueError or KeyError for an output record that names no source."""
    scale = disturbed.target_scale
    found = _answers(topics, disturbed, scale)
    wanted = _answers(topics, undisturbed, scale)
    for source in found.fields.keys() & wanted.fields.keys():
        found.compare(source, found.fields[source], found.values[source], wanted, scale)
    account = _audited(topics, disturbed)
    return Verdict(
        ticks=account.ticks,
        missing=max(account.missing, len(wanted.fields.keys() - found.fields.keys())),
        doubled=found.copies - len(found.fields),
        unexpected=max(account.unexpected, len(found.fields.keys() - wanted.fields.keys())),
        different=found.different,
        deviation=found.deviation,
        undisturbed_doubled=wanted.copies - len(wanted.fields),
        sent_ns=sorted(found.sent_ns),
    )


def _answers(topics: Topics, job: Job, scale: float) -> Answers:
    answers = Answers()
    for record in topics.read(job.output_topic):
        forecast = forecast_of(record)
        kept = [str(getattr(forecast, name)) for name in forecast.__struct_fields__ if name not in CLOCKS]
        source = (forecast.topic, forecast.partition, forecast.offset)
        answers.add(source, hash((*kept, record.key, record.headers)), tuple(forecast.forecast), scale)
        answers.sent_ns.append(forecast.sent_time_ns)
    for record in topics.read(job.dead_letter_topic):
        partition, offset = records.source_of(record.headers)
        answers.add((*partition, offset), hash((record.value, record.key, record.headers)), (), scale)
    return answers


def _audited(topics: Topics, job: Job) -> audit.Account:
    config = configuration.load(job.config("audit", input=LIMITS), {})
    rules = manifest.read(job.bundle)[0]
    asked = (topics.read(topic) for topic in (job.input_topic, job.output_topic, job.dead_letter_topic))
    return audit.total(audit.audit(config, [rules], topics.held(job.input_topic), *asked).values())
