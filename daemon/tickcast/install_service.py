"""The systemd service of one configuration: which files it takes, and putting them in place.

Before every stage of the way of a tick. The files are those of the project's `systemd/`: in a wheel they lie in the
package, in a checkout beside it. Nothing is started or enabled, and no file that somebody changed is lost silently.
"""

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import tickcast
from tickcast.errors import ConfigurationError

UNIT = "tickcast@.service"
# The path that the files in `systemd/` name the command by.
PLACEHOLDER = "/opt/tickcast/bin/tickcast"
CPUS_PLACEHOLDER = "#CPUAffinity=2-3"
# As `name` in the configuration; a dot in front would hide the file.
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
# /var/lib/tickcast/NAME is the instance's own: not where everybody's bundles lie.
NAMES_TAKEN = ("bundles",)
# systemd splits paths at spaces and colons, and expands percent signs.
PATH = re.compile(r"/[\w./+@~-]*")
CPUS = re.compile(r"\d+(-\d+)?([, ]\d+(-\d+)?)*", re.ASCII)
# What ProtectHome= and PrivateTmp= hide from a service.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")

Fate = Literal["written", "replaced", "unchanged", "kept"]


@dataclass(frozen=True)
class Service:
    """What is asked for."""

    name: str
    executable: Path  # `tickcast`, absolute
    cpu_only: bool = False
    low_latency: bool = False
    cpus: str = ""  # as CPUAffinity= takes them; with `low_latency`
    needs: tuple[Path, ...] = ()  # folders that the executable imports from
    has_librdkafka: bool = False  # the faster Kafka client can be imported there

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a name or processors that systemd would not take, or take amiss."""
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r}: a service's name has letters, digits and `._-`, at most 100")
        if self.name in NAMES_TAKEN:
            raise ConfigurationError(f"{self.name!r}: /var/lib/tickcast/{self.name} is not an instance's folder")
        if self.cpus and not self.low_latency:
            raise ConfigurationError("processors are given to a service for low latency only: --low-latency")
        if self.cpus and not CPUS.fullmatch(self.cpus):
            raise ConfigurationError(f"{self.cpus!r}: processors are numbers and ranges, as in `2-3,6`")
        if odd := [str(path) for path in (self.executable, *self.needs) if not PATH.fullmatch(str(path))]:
            raise ConfigurationError(f"{', '.join(odd)}: a unit cannot name such a path; install tickcast elsewhere")


class File(NamedTuple):
    """One to be in place."""

    path: str  # from the root on, without its slash
    content: str
    purpose: str
    is_operators: bool = False  # written once, never again


class Outcome(NamedTuple):
    """What became of a file."""

    file: File
    fate: Fate


def files(service: Service) -> list[File]:
    """Every file of the service, in the order in which they are written. Raises ConfigurationError."""
    folder = _drop_ins(service.name)
    found = [
        File("etc/sysusers.d/tickcast.conf", template("sysusers.conf"), "the account it runs as"),
        File("etc/tmpfiles.d/tickcast.conf", template("tmpfiles.conf"), "the folders of configurations and bundles"),
        File(
            f"etc/systemd/system/{UNIT}",
            template(UNIT).replace(PLACEHOLDER, str(service.executable)),
            "the service, one for all instances",
        ),
    ]
    if service.cpu_only:
        found.append(File(f"{folder}/10-cpu-only.conf", template("cpu-only.conf"), "closed to devices: no GPU"))
    if service.low_latency:
        found.append(File(f"{folder}/20-lowlatency.conf", _low_latency(service.cpus), "priority; read its comments"))
    if hidden := _hidden(service):
        found.append(File(f"{folder}/30-visible.conf", _visible(hidden), f"lets it see {' and '.join(hidden)}"))
    choices = _choices(service)
    chosen = ", ".join(f"{key} = {value}" for key, value in choices.items())
    purpose = "its configuration: edit it" + (f"; with {chosen}" if chosen else "")
    found.append(File(f"etc/tickcast/{service.name}.toml", _example(service.name, choices), purpose, True))
    return found


def leftovers(service: Service, root: Path) -> list[str]:
    """Drop-ins of the instance that lie there and were not asked for, ours or the operator's."""
    asked = {file.path for file in files(service)}
    folder = _drop_ins(service.name)
    return [path for each in sorted((root / folder).glob("*.conf")) if (path := f"{folder}/{each.name}") not in asked]


def install(wanted: Collection[File], root: Path, force: bool, dry_run: bool) -> Iterator[Outcome]:
    """Write what is not there; replace what differs if `force`. Raises ConfigurationError where that cannot be done."""
    for file in wanted:
        path = root / file.path
        if not path.parent.resolve().is_relative_to(root.resolve()):
            raise ConfigurationError(f"{path.parent}: a link leads out of {root}")
        try:
            fate = _fate(path, file, force)
            if fate in ("written", "replaced") and not dry_run:
                _write(path, file.content)
        except OSError as error:
            hint = "; run it as root, or with --root" if isinstance(error, PermissionError) else ""
            raise ConfigurationError(f"{path}: {error.strerror}{hint}") from error
        yield Outcome(file, fate)


def executable() -> Path:
    """The `tickcast` of the Python that runs. Raises ConfigurationError where it has none."""
    found = Path(sysconfig.get_path("scripts"), "tickcast")
    if not found.is_file():
        raise ConfigurationError(f"{found}: not there; install tickcast with pip for the Python that is to run it")
    return found


def has_librdkafka() -> bool:
    """Whether the Python that runs can import the faster Kafka client."""
    return importlib.util.find_spec("confluent_kafka") is not None


def bundle(name: str) -> str:
    """Where a new configuration looks for its bundle."""
    return f"/var/lib/tickcast/bundles/{name}"


def imported_from() -> tuple[Path, ...]:
    """The folders that this Python and this package lie in."""
    package = Path(tickcast.__file__).parents[1]
    return tuple(dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve(), package)))


def template(name: str) -> str:
    """One of the files of `systemd/`. Raises ConfigurationError where it was not installed."""
    package = Path(tickcast.__file__).parent
    for folder in (package / "systemd", package.parents[1] / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8")
    raise ConfigurationError(f"{package / 'systemd' / name}: not there: this installation has no unit files")


def _fate(path: Path, file: File, force: bool) -> Fate:
    if not os.path.lexists(path):
        return "written"
    if path.exists() and path.read_text("utf-8", "replace") == file.content:
        return "unchanged"
    return "replaced" if force and not file.is_operators else "kept"


def _write(path: Path, content: str) -> None:
    """Whole or not at all. A link is replaced, not what it leads to: of a masked unit that is /dev/null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.write_text(content, "utf-8")
    beside.chmod(0o644)  # whatever the umask: nothing here is secret, and the service has to read it
    beside.replace(path)


def _drop_ins(name: str) -> str:
    return f"etc/systemd/system/tickcast@{name}.service.d"


def _low_latency(cpus: str) -> str:
    text = template("lowlatency.conf")
    return text.replace(CPUS_PLACEHOLDER, f"CPUAffinity={cpus}") if cpus else text


def _choices(service: Service) -> dict[str, str]:
    """What is known of this host, setting -> TOML value: without a GPU `auto` would complain for good."""
    known = {"client": '"confluent-kafka"'} if service.has_librdkafka else {}
    return known | ({"provider": '"cpu"'} if service.cpu_only else {})


def _example(name: str, choices: Mapping[str, str]) -> str:
    text = template("example.toml").replace('#name = "example"', f'#name = "{name}"')
    for key, value in choices.items():
        text = re.sub(rf"^#{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
    return text.replace(bundle("example"), bundle(name))


def _hidden(service: Service) -> list[str]:
    """Folders that the service could not see and has to, outermost only."""
    hidden = [str(path) for path in sorted({service.executable.parent, *service.needs}) if _is_hidden(str(path))]
    return [path for path in hidden if not any(path.startswith(f"{other}/") for other in hidden)]


def _is_hidden(path: str) -> bool:
    return any(path.startswith(f"{folder}/") for folder in HIDDEN)


def _visible(folders: Collection[str]) -> str:
    """Homes are replaced by empty folders, and only these appear in them."""
    lines = [
        "# This tickcast lies where services see nothing. What it needs of that is shown to it, read only, and nothing",
        "# else; an installation under /opt needs no such exception.",
        "",
        "[Service]",
        "ProtectHome=tmpfs",
        *(f"BindReadOnlyPaths={folder}" for folder in folders),
    ]
    return "\n".join([*lines, ""])
