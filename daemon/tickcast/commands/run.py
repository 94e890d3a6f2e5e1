"""`tickcast run`: the daemon."""

import faulthandler
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tickcast import config as configuration
from tickcast import log
from tickcast.clock import SystemClock
from tickcast.journal import Journal


def run(
    config: Annotated[Path, typer.Option(help="Configuration file, TOML.", dir_okay=False)],
) -> None:
    """Answer ticks from Kafka until SIGTERM or SIGINT; then drain, commit and exit 0."""
    settings = configuration.load(config, os.environ)
    faulthandler.enable()  # ended for hanging, it says where
    clock = SystemClock()
    log.configure(settings.log, clock, journal=Journal.behind(sys.stderr, os.environ))
    # Imported late: onnxruntime and kafka-python take a third of a second that a wrong configuration need not wait for.
    from tickcast.daemon import Daemon

    Daemon(settings, lambda: configuration.load(config, os.environ), os.environ, clock).run()
