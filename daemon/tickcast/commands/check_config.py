"""`tickcast check-config`: every error of a configuration at once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tickcast import bundle, codec
from tickcast import config as configuration
from tickcast.errors import BundleError, ConfigurationError


def check_config(
    config: Annotated[Path, typer.Option(help="Configuration file, TOML.", dir_okay=False)],
) -> None:
    """Check a configuration and the bundle it names; exit 78 with every error, key, value and what is allowed."""
    settings = configuration.load(config, os.environ)
    problems = []
    for model in settings.models:
        try:
            manifest = bundle.load(model.bundle).manifest
        except BundleError as error:
            problems.append(f"{config}: models.0.bundle: {error}")
            continue
        try:
            codec.decoder(settings.input, manifest.record_columns)
        except ConfigurationError as error:
            problems.append(f"{config}: {error}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    typer.echo(f"{config}: ok; instance {settings.instance_id}, group {settings.kafka.group_id}")
