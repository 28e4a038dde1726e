"""Builders of panels and dashboards with the defaults that all dashboards share."""

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statushistory, timeseries
from grafana_foundation_sdk.builders import table as table_builders
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import Dataquery, PromQueryFormat, QueryEditorMode

from monitoring.dashboards.queries import gauge

Panel = timeseries.Panel | stat.Panel | heatmap.Panel | statushistory.Panel | table_builders.Panel
PanelT = TypeVar("PanelT", timeseries.Panel, stat.Panel, heatmap.Panel, statushistory.Panel, table_builders.Panel)

TAG = "mlmon"
DATA_SOURCE_UID = "prometheus"
MLMON_URL = "http://localhost:8000"
# Without a placement Grafana shows links and annotations above the panels. The default of the SDK hides them in a menu.
ABOVE_PANELS: Any = None
DATA_SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

BY_MODEL = "{{model_name}}"
BY_VERSION = "{{model_name}} {{model_version}}"
BY_FEATURE = "{{model_name}} {{feature_name}}"
BY_CLASS = "{{model_name}} {{predicted_class}}"


def link(title: str, path: str) -> builders.DashboardLink:
    """Return a link to a page of mlmon."""
    return builders.DashboardLink(title).url("${mlmon_url}" + path).placement(ABOVE_PANELS)


_MODEL_PATH = "/go/models/${__field.labels.model_name}"
MODEL_PAGE = link("Open in mlmon", _MODEL_PATH)
VERSION_PAGE = link("Open in mlmon", _MODEL_PATH + "/versions/${__field.labels.model_version}")
DRIFT_PAGE = link("What changed", _MODEL_PATH + "/drift")
FEATURE_PAGE = link("What changed", _MODEL_PATH + "/drift?feature=${__field.labels.feature_name:percentencode}")


def steps(first: str, *others: tuple[float, str]) -> builders.ThresholdsConfig:
    """Return the color below all thresholds, then the color from each threshold on."""
    thresholds = [models.Threshold(None, first), *(models.Threshold(value, color) for value, color in others)]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)


def yes_no(yes: str, no: str, *, yes_color: str = "red", no_color: str = "green") -> models.ValueMap:
    """Return the texts and colors that stand for 1 and 0."""
    return models.ValueMap(
        {
            "1": models.ValueMappingResult(text=yes, color=yes_color, index=0),
            "0": models.ValueMappingResult(text=no, color=no_color, index=1),
        }
    )


# Properties that draw a threshold's series as dashed red lines.
DASHED = [
    models.DynamicConfigValue("color", models.FieldColor(models.FieldColorModeId.FIXED, "red")),
    models.DynamicConfigValue("custom.lineStyle", common.LineStyle("dash", [6, 6])),
    models.DynamicConfigValue("custom.fillOpacity", 0),
]


def query(expression: str, legend: str = "__auto") -> prometheus.Dataquery:
    """Return a query; `legend` names its series, with labels in double braces."""
    target = prometheus.Dataquery().datasource(DATA_SOURCE).editor_mode(QueryEditorMode.CODE).range()
    return target.expr(expression).legend_format(legend).format(PromQueryFormat.TIME_SERIES)


def lines(title: str, unit: str, *, alert_at: float | None = None) -> timeseries.Panel:
    """Return a panel of lines over time, with a dashed line at the value at which an alert fires."""
    panel = _with_defaults(timeseries.Panel(), title, unit, "palette-classic-by-name")
    panel.legend(_legend(common.LegendDisplayMode.TABLE, "lastNotNull", "max"))
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    panel.line_width(1).fill_opacity(8).show_points(common.VisibilityMode.NEVER)
    if alert_at is not None:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(steps("transparent", (alert_at, "red"))).thresholds_style(style)
    return panel


def figure(title: str, unit: str) -> stat.Panel:
    """Return a panel with one large number and a line of its history behind it."""
    reduce = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    panel = _with_defaults(stat.Panel(), title, unit).color_mode(common.BigValueColorMode.VALUE)
    return panel.graph_mode(common.BigValueGraphMode.AREA).reduce_options(reduce).height(4)


def heat(title: str, unit: str, buckets: str) -> heatmap.Panel:
    """Return a panel that shows the buckets of a histogram over time."""
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").fill("blue").steps(32)
    return (
        _with_defaults(heatmap.Panel(), title, unit)
        .with_target(query(buckets, "{{le}}").format(PromQueryFormat.HEATMAP))
        .color(color.scale(HeatmapColorScale.EXPONENTIAL).exponent(0.5))
        .y_axis(heatmap.YAxisConfig().axis_placement(common.AxisPlacement.LEFT).unit(unit))
        .tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .show_value(common.VisibilityMode.NEVER)
        .show_legend()
    )


def states(title: str, unit: str) -> statushistory.Panel:
    """Return a panel with a row for each series and a cell for each point in time, colored by its value."""
    panel = _with_defaults(statushistory.Panel(), title, unit).show_value(common.VisibilityMode.NEVER)
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE)
    panel.legend(_legend(common.LegendDisplayMode.LIST)).tooltip(tooltip.sort(common.SortOrder.NONE))
    return panel.col_width(1).fill_opacity(90).line_width(0)


def _with_defaults(panel: PanelT, title: str, unit: str, color: str = "thresholds") -> PanelT:
    """Set what all kinds of panels have. A panel is half as wide as the dashboard."""
    panel.title(title).datasource(DATA_SOURCE).span(12).height(8)
    scheme = builders.FieldColor().mode(models.FieldColorModeId(color))
    return panel.unit(unit).no_value("-").color_scheme(scheme).thresholds(steps("green"))


def _legend(mode: common.LegendDisplayMode, *calculations: str) -> common_builders.VizLegendOptions:
    legend = common_builders.VizLegendOptions().display_mode(mode).show_legend(True)
    return legend.placement(common.LegendPlacement.BOTTOM).calcs(list(calculations))


class Column(NamedTuple):
    """A column of a table: the latest value of an expression, with properties such as a unit."""

    title: str
    expression: str
    properties: Mapping[str, object] = {}


def table(title: str, keys: Sequence[str], columns: Sequence[Column]) -> table_builders.Panel:
    """Return a table with a row for each combination of the labels `keys`, which are its first columns."""
    panel = _with_defaults(table_builders.Panel(), title, units.Short).span(24)
    panel.cell_height(common.TableCellHeight.SM).show_header(True)
    titles = {}
    for ref_id, column in zip(string.ascii_uppercase, columns, strict=False):
        titles[f"Value #{ref_id}"] = column.title
        panel.with_target(query(column.expression).instant().format(PromQueryFormat.TABLE))
        if column.properties:
            properties = [models.DynamicConfigValue(name, value) for name, value in column.properties.items()]
            panel.override_by_name(column.title, properties)
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate([*keys, *titles])},
        "renameByName": titles,
    }
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    return panel.with_transformation(models.DataTransformerConfig("organize", options=organize))


def _label_values(name: str, title: str, expression: str) -> builders.QueryVariable:
    """Return a variable whose choices are the values of the label `name`."""
    return (
        builders.QueryVariable(name)
        .label(title)
        .datasource(DATA_SOURCE)
        .query({"query": f"label_values({expression}, {name})", "refId": f"variable-{name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


_JOB = _label_values("job", "Job", "ml_collector_success")
_MODEL_NAME = _label_values("model_name", "Model", 'ml_model_info{job=~"$job"}')
_MODEL_VERSION = _label_values("model_version", "Version", 'ml_model_info{job=~"$job", model_name=~"$model_name"}')
CHOOSE_MODEL = (_JOB, _MODEL_NAME)
CHOOSE_VERSION = (_JOB, _MODEL_NAME, _MODEL_VERSION)
CHOOSE_INSTANCE = (_JOB, _label_values("instance", "Instance", 'ml_collector_success{job=~"$job"}'))


def dashboard(
    uid: str,
    title: str,
    description: str,
    choices: Iterable[builders.QueryVariable],
    panels: Iterable[Panel],
    *,
    time_from: str = "now-6h",
    refresh: str = "30s",
    shows_incidents: bool = True,
) -> models.Dashboard:
    """Return a dashboard; the SDK places its panels from left to right, row by row.

    Parameters
    ----------
    shows_incidents
        Whether the panels mark when a drift incident was open.
    """
    data_source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    data_source.current(models.VariableOption(selected=True, text="Prometheus", value=DATA_SOURCE_UID))
    siblings = builders.DashboardLink("").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).icon("dashboard")
    incident = builders.AnnotationQuery().name("Open drift incident").datasource(DATA_SOURCE).icon_color("red")
    incident.target(query(f"{gauge('ml_drift_incident_open')} == 1", BY_MODEL).ref_id("annotation"))
    board = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh(refresh)
        .time(time_from, "now")
        .timezone(common.TimeZoneBrowser)
        .variables([data_source, *choices, builders.ConstantVariable("mlmon_url").value(MLMON_URL)])
        .annotations([incident.enable(True).placement(ABOVE_PANELS)] if shows_incidents else [])
        .link(siblings.include_vars(True).keep_time(True).placement(ABOVE_PANELS))
        .link(link("mlmon", "/admin/").icon("external link"))
    )
    for number, panel in enumerate(panels, start=1):
        for ref_id, target in zip(string.ascii_uppercase, panel.build().targets or [], strict=False):
            if isinstance(target, Dataquery):
                target.ref_id = ref_id
        board.with_panel(panel.id(number))
    return board.build()
