"""How the dashboard's panels look: one function for each kind. What they show is in `rows`."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from types import MappingProxyType
from typing import NamedTuple

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap as heatmap_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.builders import stat as stat_builders
from grafana_foundation_sdk.builders import table as table_builders
from grafana_foundation_sdk.builders import timeseries as timeseries_builders
from grafana_foundation_sdk.models import common, dashboard, heatmap, prometheus

# Whichever Prometheus the variable `datasource` names: no address and no identity of one is in the dashboard.
DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

# In Grafana's units: a row is 24 wide.
STAT_HEIGHT = 4
HEIGHT = 8
SIXTH, THIRD, HALF, TWO_THIRDS = 4, 8, 12, 16

# Latencies span six decades.
LOGARITHM = 10

# The legend of a line that others should stay below.
BUDGET = "budget"

Panel = stat_builders.Panel | timeseries_builders.Panel | table_builders.Panel | heatmap_builders.Panel


class Query(NamedTuple):
    """A line of a panel, or several: one for each series that `expr` finds."""

    expr: str
    legend: str = "{{instance}}"


class Limits(NamedTuple):
    """From `watch` on a value is orange, from `bad` on red, else green. `bad` below `watch`: the other way round."""

    watch: float
    bad: float

    def steps(self) -> list[dashboard.Threshold]:
        """As Grafana has them: colours of the values from each bound on, the first bound being minus infinity."""
        if self.watch <= self.bad:
            colours = [(None, "green"), (self.watch, "orange"), (self.bad, "red")]
        else:
            colours = [(None, "red"), (self.bad, "orange"), (self.watch, "green")]
        return [dashboard.Threshold(value=value, color=colour) for value, colour in colours]


# For what should be 0, and for what should be 1.
NONE = Limits(watch=1, bad=1)
YES = Limits(watch=1, bad=0.5)


class Column(NamedTuple):
    """Of a table: the labels of `expr` that `labels` gives a title; and its value, if it has a `title`."""

    expr: str
    title: str = ""
    unit: str = "short"
    limits: Limits | None = None
    labels: Mapping[str, str] = MappingProxyType({})


def stat(
    title: str,
    description: str,
    unit: str,
    expr: str,
    limits: Limits | None = None,
    width: int = SIXTH,
    where_empty: str = "no data",
) -> stat_builders.Panel:
    """One number, coloured by `limits`, as it is now: with nothing there now it says so, not what was there last."""
    panel = (
        stat_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(where_empty)
        .height(STAT_HEIGHT if width == SIXTH else HEIGHT)
        .span(width)
        .color_mode(common.BigValueColorMode.BACKGROUND if limits else common.BigValueColorMode.NONE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["last"]))
        .mappings([_blank(where_empty)])
        .with_target(_target(0, expr).legend_format(title).instant())
    )
    return panel.thresholds(_thresholds(limits)) if limits else panel


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = HALF,
    limits: Limits | None = None,
    logarithmic: bool = False,
) -> timeseries_builders.Panel:
    """Lines over time; `limits` are drawn across."""
    panel = _over_time(title, description, unit, queries, width).fill_opacity(0)
    if limits:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(limits)).thresholds_style(style)
    if logarithmic:
        scale = common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(LOGARITHM)
        return panel.scale_distribution(scale)
    return panel.axis_soft_min(0)


def areas(title: str, description: str, unit: str, *queries: Query, width: int = HALF) -> timeseries_builders.Panel:
    """Parts of a whole over time, one upon the other."""
    stacked = common_builders.StackingConfig().mode(common.StackingMode.NORMAL)
    return _over_time(title, description, unit, queries, width).fill_opacity(40).stacking(stacked).min(0)


def bars(title: str, description: str, unit: str, *queries: Query, width: int = HALF) -> timeseries_builders.Panel:
    """Events over time: an empty panel is a quiet one."""
    stacked = common_builders.StackingConfig().mode(common.StackingMode.NORMAL)
    panel = _over_time(title, description, unit, queries, width).fill_opacity(80).stacking(stacked).min(0)
    return panel.draw_style(common.GraphDrawStyle.BARS)


def heat(title: str, description: str, unit: str, expr: str) -> heatmap_builders.Panel:
    """The buckets of a histogram over time; `expr` gives each its count."""
    query = _target(0, expr).legend_format("{{le}}").range().format(prometheus.PromQueryFormat.HEATMAP)
    colours = heatmap_builders.HeatmapColorOptions().mode(heatmap.HeatmapColorMode.SCHEME).scheme("Turbo").steps(64)
    return (
        heatmap_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .height(HEIGHT)
        .span(HALF)
        .calculate(False)
        .color(colours)
        .y_axis(heatmap_builders.YAxisConfig().unit(unit))
        .with_target(query)
    )


def table(
    title: str,
    description: str,
    key: str,
    *columns: Column,
    width: int = HALF,
    worst_first: str = "",
    where_empty: str = "no data",
) -> table_builders.Panel:
    """A line for each value of the label `key`, as it is now; `worst_first` is the column it is sorted by."""
    panel = (
        table_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .no_value(where_empty)
        .height(HEIGHT)
        .span(width)
    )
    titles = {key: key}
    for index, column in enumerate(columns):
        panel.with_target(_target(index, column.expr).instant().format(prometheus.PromQueryFormat.TABLE))
        titles |= column.labels
        if column.title:
            titles[f"Value #{ascii_uppercase[index]}"] = column.title
            panel.override_by_name(column.title, _cells(column))
    order = {name: place for place, name in enumerate(titles)}
    for step, options in (
        ("joinByField", {"byField": key, "mode": "outer"}),
        ("filterFieldsByName", {"include": {"names": list(titles)}}),
        ("organize", {"renameByName": titles, "indexByName": order}),
    ):
        panel.with_transformation(dashboard.DataTransformerConfig(id_val=step, options=options))
    if worst_first:
        panel.sort_by([common_builders.TableSortByFieldState().display_name(worst_first).desc(True)])
    return panel


def _over_time(
    title: str, description: str, unit: str, queries: Sequence[Query], width: int
) -> timeseries_builders.Panel:
    tooltip = (
        common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    panel = (
        timeseries_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(HEIGHT)
        .span(width)
        .line_width(1)
        .show_points(common.VisibilityMode.AUTO)
        .legend(_legend(width))
        .tooltip(tooltip)
    )
    for index, query in enumerate(queries):
        panel.with_target(_target(index, query.expr).legend_format(query.legend).range())
    return panel.override_by_name(BUDGET, _DASHED)


_DASHED = [
    dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
    dashboard.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]}),
]


def _legend(width: int) -> common_builders.VizLegendOptions:
    """Beside a wide panel, with numbers, the largest first: of fifty instances the worst is seen."""
    legend = common_builders.VizLegendOptions().show_legend(True)
    if width < HALF:
        return legend.display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM).calcs([])
    legend.display_mode(common.LegendDisplayMode.TABLE).placement(common.LegendPlacement.RIGHT)
    return legend.calcs(["lastNotNull", "max"]).sort_by("Max").sort_desc(True)


def _target(index: int, expr: str) -> prometheus_builders.Dataquery:
    return prometheus_builders.Dataquery().datasource(DATASOURCE).ref_id(ascii_uppercase[index]).expr(expr)


def _blank(text: str) -> dashboard.SpecialValueMap:
    """What is said in place of a quantile of nothing."""
    result = dashboard.ValueMappingResult(text=text, color="text")
    match = dashboard.SpecialValueMatch.NULL_AND_NAN
    return dashboard.SpecialValueMap(dashboard.DashboardSpecialValueMapOptions(match=match, result=result))


def _thresholds(limits: Limits) -> dashboard_builders.ThresholdsConfig:
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(limits.steps())


def _cells(column: Column) -> list[dashboard.DynamicConfigValue]:
    cells = [dashboard.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.limits:
        steps = [{"value": step.value, "color": step.color} for step in column.limits.steps()]
        cells += [
            dashboard.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}),
            dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background"}),
        ]
    return cells
