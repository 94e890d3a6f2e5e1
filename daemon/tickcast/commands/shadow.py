"""`tickcast shadow`: put a bundle into the shadow's place, and the bundle in force into its own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tickcast import config as configuration
from tickcast import control_topic, promotion, shadow_place
from tickcast.control_topic import ControlTopic
from tickcast.promotion_record import Control
from tickcast.topic_reader import TopicReader


def shadow(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `tickcast export`; it is copied.")],
    config: Annotated[Path, typer.Option(help="The configuration file of a daemon of this host.", dir_okay=False)],
    model: Annotated[
        int | None, typer.Option(min=0, help="Which entry of `models`, from 0; default: the only one with a shadow.")
    ] = None,
) -> None:
    """Make BUNDLE the shadow: the folder `models.shadow` comes to hold it, the folder `models.bundle` what is in force.

    A daemon that runs takes it up on SIGHUP, one that had no shadow by a restart. What answered before the bundle in
    force is kept beside it, under a name that ends in `.previous`.
    """
    settings = configuration.load(config, os.environ)
    place = promotion.place_of(settings, model)
    controls: dict[str, Control] = {}
    if settings.promotion.control_topic:
        with TopicReader(settings.kafka) as reader:
            topic = ControlTopic(reader, settings.promotion.control_topic)
            topic.read()
            controls = topic.controls
    entry = settings.models[place]
    in_force = control_topic.applied(settings, controls)
    for remark in in_force.remarks:
        typer.echo(remark, err=True)
    placed = shadow_place.put(bundle, entry, in_force.config.models[place], settings.inference.mode)
    typer.echo(f"in force {placed.in_force}: {entry.bundle}")
    typer.echo(f"shadow   {placed.shadow}: {entry.shadow}{'' if placed.changed else ' (as it was)'}")
    typer.echo("daemons take it up on SIGHUP; one that had no shadow, at its next start")
