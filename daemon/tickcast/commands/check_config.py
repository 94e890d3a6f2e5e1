"""`tickcast check-config`: every error of a configuration at once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tickcast import (
    attention,
    bundle,
    codec_routed,
    forecast_formats,
    kafka_security,
    manifest,
    providers,
    shadow_fit,
    symbols,
)
from tickcast import config as configuration
from tickcast.config import Config
from tickcast.errors import BundleError, ConfigurationError, ProviderError
from tickcast.manifest import Manifest


def check_config(
    config: Annotated[Path, typer.Option(help="Configuration file, TOML.", dir_okay=False)],
) -> None:
    """Check a configuration and the bundles it names; exit 78 with every error, key, value and what is allowed."""
    problems = []
    settings = None
    try:
        settings = configuration.load(config, os.environ)
    except ConfigurationError as error:
        problems.append(str(error))
    folders = configuration.bundles(config) if settings is None else [model.bundle for model in settings.models]
    manifests = []
    for place, folder in enumerate(folders):
        try:
            manifests.append(bundle.load(folder).manifest)
            if settings is not None and settings.inference.mode == "carried":
                bundle.carried_certificate(folder, manifests[-1])
        except BundleError as error:
            problems.append(f"{config}: models.{place}.bundle: {error}")
            continue
        if settings is not None:
            problems += _shadow_problems(config, settings, place, manifests[-1])
    if settings is not None:
        if len(manifests) == len(settings.models):
            problems += [f"{config}: {problem}" for problem in _input_problems(settings, manifests)]
            problems += [f"{config}: {problem}" for problem in _attention_problems(settings, manifests)]
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
    for remark in (*symbols.overlaps(settings.models), *attention.remarks(settings, manifests)):
        typer.echo(f"{config}: {remark}")
    typer.echo(f"{config}: ok; instance {settings.instance_id}, group {settings.kafka.group_id}")


def _shadow_problems(config: Path, settings: Config, place: int, answering: Manifest) -> list[str]:
    """Why the entry's shadow cannot answer the ticks of the bundle of `answering`."""
    folder = settings.models[place].shadow
    if folder is not None:
        try:
            shadow_fit.check(answering, bundle.load(folder).manifest, settings.inference.mode)
        except BundleError as error:
            return [f"{config}: models.{place}.shadow: {error}"]
    return []


def _input_problems(settings: Config, manifests: list[Manifest]) -> list[str]:
    """Why the bundles' columns cannot be read."""
    try:
        codec_routed.configured(settings, manifests, symbols.route(settings.models, manifests))
    except ConfigurationError as error:
        return [str(error)]
    return []


def _attention_problems(settings: Config, manifests: list[Manifest]) -> list[str]:
    """Which patterns of `output.attention` ask bundles that have none; a shadow may come to answer in their place."""
    shadows = []
    for entry in settings.models:
        try:
            shadows.append(None if entry.shadow is None else manifest.read(entry.shadow)[0])
        except BundleError:  # which is a problem of its own
            return []
    try:
        attention.check(settings, manifests, shadows)
    except ConfigurationError as error:
        return str(error).splitlines()
    return []
