"""The dashboard, generated: `python deploy/grafana/dashboard.py` writes tickcast.json, `--check` says whether it is so.

Six rows, read from the top: the first says whether all is right and whose fault it is, the others why. Built with
grafana-foundation-sdk (extra `dev`); the panels are in `rows`, how they look in `panels`, what they ask in `queries`.
"""

import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from panels import DATASOURCE
from queries import ALERTS, selected
from rows import flow, health, kafka, latency, model, process

FILE = Path(__file__).with_name("tickcast.json")

# It stays: links and bookmarks name it.
UID = "tickcast"
ROWS = (health, latency, flow, kafka, model, process)
# A row's panels are numbered from its own hundred, so that links to a panel outlive most changes.
IDS_A_ROW = 100

# Recent enough to see what just changed, long enough to see from what.
SPAN = "now-1h"
REFRESH = "10s"
# An annotation is looked for every minute; one that lasts so long is not missed, and drawn once.
SHOWN_S = 120


class Mark(models.AnnotationQuery):
    """An annotation with the caption that Prometheus annotations have, and the SDK's type has not."""

    def __init__(self, name: str, expr: str, colour: str, caption: str) -> None:
        """`caption` names labels of what `expr` finds, as `{{label}}`."""
        super().__init__(name=name, datasource=DATASOURCE, enable=True, icon_color=colour, expr=expr)
        self._caption = caption

    def to_json(self) -> dict[str, object]:
        """As Grafana has it."""
        return {**super().to_json(), "titleFormat": self._caption, "step": f"{SHOWN_S // 2}s"}


def dashboard() -> models.Dashboard:
    """All of it."""
    board = (
        builders.Dashboard("tickcast")
        .uid(UID)
        .description("Forecasts of market ticks: whether they come, how fast, how good, and what hinders them.")
        .tags(["tickcast", "kafka", "latency"])
        .time(SPAN, "now")
        .refresh(REFRESH)
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .variables(_variables())
    )
    for number, row in enumerate(ROWS, 1):
        ids = count(number * IDS_A_ROW)
        board.with_row(builders.Row(row.TITLE).id(next(ids)))
        for panel in row.panels():
            board.with_panel(panel.id(next(ids)))
    built = board.build()
    built.annotations = models.AnnotationContainer(list_val=_annotations())
    return built


def text() -> str:
    """The file as it should be."""
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard()) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the file, or with `--check` only look; the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {Path(__file__).name} [--check]\n")
        return 2
    if not arguments:
        FILE.write_text(text())
    elif not FILE.exists() or FILE.read_text() != text():
        sys.stderr.write(f"{FILE.name} is not what {Path(__file__).name} makes: run it\n")
        return 1
    return 0


def _variables() -> list[Builder[models.VariableModel]]:
    build = "tickcast_build_info"
    return [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _labels("job", f"label_values({build}, job)"),
        # `.+` finds instances that have been down for longer than the time shown, too.
        _labels("instance", f'label_values({build}{{job=~"$job"}}, instance)').all_value(".+"),
    ]


def _labels(name: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _annotations() -> list[models.AnnotationQuery]:
    started = f"time() - {selected('tickcast_start_time_seconds')} < {SHOWN_S}"
    reloaded = f"sum by (instance, result) (increase({selected('tickcast_reloads_total')}[{SHOWN_S}s])) > 0"
    return [
        Mark("Starts", started, "blue", "{{instance}} started"),
        Mark("Reloads", reloaded, "purple", "{{instance}}: reload {{result}}"),
        Mark("Alerts", ALERTS, "red", "{{alertname}} {{instance}}"),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
