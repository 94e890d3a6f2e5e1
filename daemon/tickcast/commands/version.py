"""`tickcast version`."""

import typer

from tickcast import __version__


def version() -> None:
    """Print the version."""
    typer.echo(__version__)
