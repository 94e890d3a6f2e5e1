"""`tickcast install-service`: the systemd service of one configuration."""

from pathlib import Path
from typing import Annotated

import typer

from tickcast import install_service as services
from tickcast.install_service import Outcome, Service

# What is said of a file, and what would be said of it with --dry-run.
FATES = {
    "written": ("wrote", "would write"),
    "replaced": ("replaced", "would replace"),
    "unchanged": ("unchanged", "unchanged"),
    "kept": ("kept", "would keep"),
}


def install_service(
    name: Annotated[str, typer.Argument(help="The instance: its configuration is /etc/tickcast/NAME.toml.")],
    cpu_only: Annotated[
        bool, typer.Option("--cpu-only", help='No GPU here: close what one needs; `provider = "cpu"`.')
    ] = False,
    low_latency: Annotated[
        bool, typer.Option("--low-latency", help="Priority over other processes; its file explains each line.")
    ] = False,
    cpus: Annotated[str, typer.Option(help="With --low-latency: processors to run on, as in `2-3,6`.")] = "",
    root: Annotated[Path, typer.Option(help="Write below this folder instead of /.", file_okay=False)] = Path("/"),
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ; never a configuration.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would be done.")] = False,
) -> None:
    """Put a systemd service in place and say what was done; exit 1 if a file that differs was kept."""
    imported_from, has_librdkafka = services.imported_from(), services.has_librdkafka()
    service = Service(name, services.executable(), cpu_only, low_latency, cpus, imported_from, has_librdkafka)
    outcomes: list[Outcome] = []
    for outcome in services.install(services.files(service), root, force, dry_run):
        typer.echo(_line(outcome, root, dry_run))
        outcomes.append(outcome)
    for path in services.leftovers(service, root):
        typer.echo(f"{'in force':<13} {root / path}  (not of this installation; delete it if it should not be)")
    differing = [each for each in outcomes if each.fate == "kept" and not each.file.is_operators]
    if differing:
        typer.echo("kept files differ from this version's: compare, and --force replaces them", err=True)
    if not dry_run:
        typer.echo(_next(name, root, any(each.fate == "kept" and each.file.is_operators for each in outcomes)))
    if differing:
        raise typer.Exit(1)


def _line(outcome: Outcome, root: Path, dry_run: bool) -> str:
    said = FATES[outcome.fate][dry_run]
    remark = "yours" if outcome.fate == "kept" and outcome.file.is_operators else outcome.file.purpose
    if outcome.fate == "kept" and not outcome.file.is_operators:
        remark = f"differs; {remark}"
    return f"{said:<13} {root / outcome.file.path}  ({remark})"


def _next(name: str, root: Path, is_configuration_kept: bool) -> str:
    where = "" if root == Path("/") else f", on the host that boots from {root}"
    bundle = "where `models.bundle` says" if is_configuration_kept else f"at {services.bundle(name)}"
    return (
        f"next, as root{where}, once /etc/tickcast/{name}.toml says what you want:\n"
        "  systemd-sysusers && systemd-tmpfiles --create tickcast.conf && systemctl daemon-reload\n"
        f"  put the bundle {bundle}: a folder, or a link to one\n"
        f"  systemctl enable --now tickcast@{name}"
    )
