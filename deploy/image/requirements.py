"""What the distribution in this folder needs, with the extras named: `python requirements.py librdkafka cuda`.

An image installs this before it copies the code: pip alone can install dependencies only together with the project.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """One requirement each, as pip reads them. Raises KeyError for an extra that there is not."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    return [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml"), sys.argv[1:])) + "\n")
