"""The daemon's configuration: one frozen tree, read from TOML and overridden from the environment.

Units stand last in the names. Unknown keys are errors. `load` reports every problem at once, with key, value and what
is allowed. `TICKCAST_KAFKA__BOOTSTRAP_SERVERS=host:9092` overrides `kafka.bootstrap_servers`.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from tickcast import model_config, security_config
from tickcast.config_section import Section as Section
from tickcast.errors import ConfigurationError
from tickcast.input_config import InputConfig as InputConfig
from tickcast.lag_config import LagConfig
from tickcast.model_config import MODELS_MAX
from tickcast.model_config import ModelConfig as ModelConfig
from tickcast.output_config import OutputConfig
from tickcast.promotion_config import PromotionConfig
from tickcast.recovery_config import RecoveryConfig as RecoveryConfig
from tickcast.registry_config import RegistryConfig
from tickcast.security_config import SecurityConfig

ENVIRONMENT_PREFIX = "TICKCAST_"
# Arms a fault point (`faults.py`) and is no setting.
FAULT_VARIABLE = "TICKCAST_FAULT"
# Kubernetes tells every container of a Service that is called tickcast, by variables that are no settings of ours.
KUBERNETES_SERVICE = re.compile(r"TICKCAST_(SERVICE_(HOST|PORT)|PORT)(_|$)(?!_)")

Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class KafkaConfig(Section):
    """Where ticks come from and forecasts go to."""

    client: Literal["kafka-python", "confluent-kafka"] = Field(
        "kafka-python", description="Kafka client library; `confluent-kafka` needs the extra `librdkafka`"
    )
    bootstrap_servers: str = Field(description="brokers to ask first, `host:port,host:port`", min_length=1)
    group_id: str = Field(description="consumer group; daemons of one group share the partitions", min_length=1)
    instance_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="static membership; differs between the daemons of a group; default: the configuration's `name`",
    )
    input_topics: tuple[TopicName, ...] = Field(description="topics with ticks", min_length=1)
    output_topic: TopicName = Field(description="topic for forecasts")
    dead_letter_topic: TopicName = Field(description="topic for records that are bad by themselves")
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="`exactly_once`: forecasts, dead letters and offsets in transactions of `commit_interval_ms`, "
        "seen by readers of committed records when each ends",
    )
    transaction_timeout_ms: Milliseconds = Field(
        60_000, description="with `exactly_once`: the longest a transaction may be open before the cluster aborts it"
    )
    start: Literal["latest", "earliest"] | int = Field(
        "latest",
        description="where a group without a committed offset starts: `latest`, `earliest` or epoch milliseconds",
    )
    session_timeout_ms: Milliseconds = Field(
        6_000, description="silence after which the group gives the partitions away"
    )
    poll_timeout_ms: Annotated[int, Field(ge=1, le=1_000)] = Field(
        100, description="longest wait for ticks; the loop does its housekeeping after it"
    )
    poll_records_max: int = Field(512, ge=1, le=100_000, description="most records taken in one poll")
    commit_interval_ms: Milliseconds = Field(1_000, description="time between commits of what was acknowledged")
    outstanding_max: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="most forecasts handed over and not yet acknowledged; more pauses the consumer",
    )
    batch_bytes_max: int = Field(
        1_048_576, ge=8_192, description="most bytes sent together; less where the topics' `max.message.bytes` is less"
    )
    outstanding_bytes_max: int = Field(
        67_108_864, ge=1, description="the same in bytes: dead letters may be as long as what they repeat"
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        "none", description="how what is written is packed; what is read may be packed in any of these ways"
    )
    request_timeout_ms: Milliseconds = Field(30_000, description="longest wait for one answer of a broker")
    delivery_timeout_ms: Milliseconds = Field(
        120_000, description="longest time to deliver one record, retries included"
    )
    security: SecurityConfig = SecurityConfig()

    @field_validator("start", mode="before")
    @classmethod
    def _start_is_one_of(cls, start: object) -> object:
        if start in ("latest", "earliest") or (isinstance(start, int) and not isinstance(start, bool) and start >= 0):
            return start
        raise ValueError("must be 'latest', 'earliest' or epoch milliseconds")

    @model_validator(mode="after")
    def _transactions_end_in_time(self) -> "KafkaConfig":
        if self.delivery == "exactly_once" and self.commit_interval_ms >= self.transaction_timeout_ms:
            raise ValueError("transaction_timeout_ms: must be above commit_interval_ms, or no transaction ends in time")
        return self


class InferenceConfig(Section):
    """How graphs are run."""

    mode: Literal["windowed", "carried"] = Field(
        "windowed",
        description="`carried`: recurrent state goes on from tick to tick, by bundles certified for it: another answer",
    )
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="execution provider; `auto` says which one it got"
    )
    device_id: int = Field(0, ge=0, description="GPU to use")
    gpu_memory_limit_mb: int = Field(
        0, ge=0, le=1_048_576, description="most GPU memory for weights and intermediate results; 0: what there is"
    )
    cuda_graphs: bool = Field(
        True, description="on a GPU: capture runs and replay them; where that fails, it is said and done without"
    )
    keep_warm_interval_ms: Annotated[int, Field(ge=0, le=3_600_000)] = Field(
        100, description="on a GPU: idle time after which a run keeps its clocks up; 0: never"
    )
    threads: int = Field(2, ge=1, le=256, description="window runs that go side by side on the CPU, a thread each")
    batch_max: int = Field(64, ge=1, le=16_384, description="most windows in one graph run")
    finish_path: bool = Field(True, description="answer single ticks from a carry prepared beforehand")
    carries_bytes_max: int = Field(
        67_108_864, ge=0, description="most memory for carries; the least recently prepared goes first"
    )


class HttpConfig(Section):
    """The page, `/metrics`, `/livez` and `/readyz`, served by a process of its own."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(9464, description="port to listen on; 0: a free one, written to the log")
    live_timeout_ms: Milliseconds = Field(
        10_000, description="`/livez` fails when the loop has made no turn for so long"
    )


class HealthConfig(Section):
    """When the process ends itself, for its supervisor to start it again."""

    stall_timeout_s: int = Field(
        60, ge=1, le=86_400, description="a partition that has more to read and has not got on for so long"
    )
    hang_timeout_s: int = Field(60, ge=1, le=86_400, description="a loop that has made no turn for so long")


class LogConfig(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least important level written")
    format: Literal["auto", "json", "text"] = Field(
        "auto", description="`auto`: fields where standard error is systemd's journal, text on a terminal, else json"
    )


class Config(Section):
    """The whole tree."""

    name: str = Field(
        description="stable name of this instance; default: the file's name", pattern=r"^[A-Za-z0-9._-]{1,100}$"
    )
    kafka: KafkaConfig
    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()
    registry: RegistryConfig = RegistryConfig()
    models: tuple[ModelConfig, ...] = Field(
        description="bundles, each for symbols of its own", min_length=1, max_length=MODELS_MAX
    )
    inference: InferenceConfig = InferenceConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    lag: LagConfig = LagConfig()
    promotion: PromotionConfig = PromotionConfig()
    http: HttpConfig = HttpConfig()
    health: HealthConfig = HealthConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _outputs_are_no_inputs(self) -> "Config":
        topics = (self.kafka.output_topic, self.kafka.dead_letter_topic)
        state = self.state_topic
        if state in {*self.kafka.input_topics, *topics, *self.shadow_topics, self.promotion.control_topic}:
            raise ValueError(f"recovery.state_topic: {state}: it is a topic of its own")
        if both := sorted({*topics, *self.shadow_topics} & set(self.kafka.input_topics)):
            raise ValueError(f"kafka.input_topics: {', '.join(both)}: also written to, which would never end")
        if len(set(topics)) < len(topics):
            raise ValueError("kafka.dead_letter_topic: must not be kafka.output_topic")
        if both := sorted({self.kafka.output_topic, self.kafka.dead_letter_topic} & self.shadow_topics):
            raise ValueError(f"models.shadow_topic: {', '.join(both)}: others write there")
        return self

    @model_validator(mode="after")
    def _schemas_come_from_somewhere(self) -> "Config":
        if self.input.is_framed and not self.registry.url:
            raise ValueError(f"input.format: {self.input.format} needs input.schema_file, or registry.url")
        return self

    @model_validator(mode="after")
    def _every_model_is_reached(self) -> "Config":
        model_config.check_reached(self.models)
        return self

    @property
    def shadow_topics(self) -> frozenset[str]:
        """Where shadows' forecasts go."""
        return model_config.shadow_topics(self.models, self.kafka.output_topic)

    @property
    def state_topic(self) -> str | None:
        """Where live state is kept, None where it is not."""
        return self.recovery.topic_of(self.kafka.output_topic)

    @property
    def instance_id(self) -> str:
        """The group's name for this member."""
        return self.kafka.instance_id or self.name


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read `path`, apply environment overrides, validate. Raises ConfigurationError naming every problem."""
    tree = _read(path)
    tree.setdefault("name", path.stem)
    overridden = _override(tree, environment)
    model_config.locate(tree, path.parent)
    security_config.locate(_security(tree), path.parent, environment)
    security_config.locate(_section(tree, "registry"), path.parent, environment)
    if isinstance(schema := _section(tree, "input").get("schema_file"), str) and schema:
        tree["input"]["schema_file"] = str(path.parent / schema)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problems = [each for each in error.errors() if not _follows(each, error.errors())]
        raise ConfigurationError("\n".join(_problem(path, overridden, each) for each in problems)) from error


def bundles(path: Path) -> list[Path]:
    """The bundles that `path` names, whatever else is wrong with it. Raises ConfigurationError where it is no TOML."""
    return [path.parent / model["bundle"] for model in model_config.entries(_read(path))]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _security(tree: dict[str, Any]) -> dict[str, Any]:
    return _section(_section(tree, "kafka"), "security")


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    section = tree.get(name)
    return section if isinstance(section, dict) else {}


def _override(tree: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Write the overrides into `tree`; key -> the variable that set it."""
    overridden = {}
    for name, text in sorted(environment.items()):
        is_ours = name.startswith(ENVIRONMENT_PREFIX) and name != FAULT_VARIABLE
        if not is_ours or KUBERNETES_SERVICE.match(name):
            continue
        *parents, last = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        node: Any = tree
        for key in parents:
            node = _child(node, key, name)
        if isinstance(node, list):
            node[_index(node, last, name)] = _value(text)
        else:
            node[last] = _value(text)
        overridden[".".join([*parents, last])] = name
    return overridden


def _child(node: Any, key: str, name: str) -> Any:
    child = node[_index(node, key, name)] if isinstance(node, list) else node.setdefault(key, {})
    if not isinstance(child, dict | list):
        raise ConfigurationError(f"environment: {name}: {key} has no settings of its own")
    return child


def _index(node: list[Any], key: str, name: str) -> int:
    if not key.isdecimal() or int(key) >= len(node):
        raise ConfigurationError(f"environment: {name}: {key} is not one of 0..{len(node) - 1}")
    return int(key)


def _value(text: str) -> Any:
    """An override is a TOML value where it reads as one, else a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _follows(problem: Any, problems: Sequence[Any]) -> bool:
    """Whether a list is only called too short because those of its entries that are wrong do not count."""
    here_or_within = [each for each in problems if each["loc"][: len(problem["loc"])] == problem["loc"]]
    return problem["type"] == "too_short" and len(here_or_within) > 1


def _problem(path: Path, overridden: Mapping[str, str], problem: Any) -> str:
    """One line: file, key, what is wrong, the value, what is allowed; the variable where one set it."""
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if key in overridden:
        key = f"{key} (set by {overridden[key]} in the environment)"
    if problem["type"] == "missing":
        return f"{path}: {key}: required and not given"
    if problem["type"] == "extra_forbidden":
        return f"{path}: {key}: no such setting; allowed: {', '.join(_settings_beside(problem['loc']))}"
    value = "" if isinstance(problem["input"], dict | BaseModel) else f" (got {problem['input']!r})"
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')}{value}"


def _settings_beside(location: tuple[str | int, ...]) -> list[str]:
    """The settings of the section that `location` lies in."""
    section: Any = Config
    for part in location[:-1]:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = next((each for each in (annotation, *get_args(annotation)) if _is_section(each)), section)
    return sorted(section.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
