"""`tickcast check-config`: every error of a configuration at once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tickcast import bundle, codec, forecast_formats, kafka_security, providers
from tickcast import config as configuration
from tickcast.errors import BundleError, ConfigurationError, ProviderError


def check_config(
    config: Annotated[Path, typer.Option(help="Configuration file, TOML.", dir_okay=False)],
) -> None:
    """Check a configuration and the bundle it names; exit 78 with every error, key, value and what is allowed."""
    problems = []
    settings = None
    try:
        settings = configuration.load(config, os.environ)
    except ConfigurationError as error:
        problems.append(str(error))
    folders = configuration.bundles(config) if settings is None else [model.bundle for model in settings.models]
    for folder in folders:
        try:
            manifest = bundle.load(folder).manifest
            if settings is not None:
                codec.configured(settings, manifest.record_columns)
                if settings.inference.mode == "carried":
                    bundle.carried_certificate(folder, manifest)
        except BundleError as error:
            problems.append(f"{config}: models.bundle: {error}")
        except ConfigurationError as error:
            problems.append(f"{config}: {error}")
    if settings is not None:
        problems += [f"{config}: {problem}" for problem in kafka_security.problems(settings.kafka.security)]
        try:
            forecast_formats.decoder(settings)
        except ConfigurationError as error:
            problems.append(f"{config}: {error}")
        try:
            providers.choose(settings.inference.provider)
        except ProviderError as error:
            problems.append(f"{config}: inference.provider: {error}")
    if problems or settings is None:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))
    typer.echo(f"{config}: ok; instance {settings.instance_id}, group {settings.kafka.group_id}")
