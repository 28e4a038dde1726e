"""The parts of a Grafana dashboard in its classic JSON, with our defaults; types: npm's @grafana/schema."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRID_COLUMNS = 24

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a panel.

    Attributes
    ----------
    legend
        How a series is called; labels in double braces.
    is_threshold
        Drawn as a dashed red line.
    is_table
        Only the newest values, a row each.
    is_heatmap
        Cumulative buckets of a histogram, by ``le``.
    """

    expression: str
    legend: str = ""
    is_threshold: bool = False
    is_table: bool = False
    is_heatmap: bool = False

    def json(self, ref: str) -> Json:
        return {
            "refId": ref,
            "datasource": DATA_SOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "legendFormat": self.legend or "__auto",
            "range": not self.is_table,
            "instant": self.is_table,
            "format": "table" if self.is_table else "heatmap" if self.is_heatmap else "time_series",
        }


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click on a value leads."""

    title: str
    url: str

    def json(self) -> Json:
        return {"title": self.title, "url": self.url, "targetBlank": False}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; the functions below make each kind with its options.

    Attributes
    ----------
    unit
        Grafana's name of a unit.
    limits
        Steps (from a value on, a colour); None begins without a bound.
    width, height
        In cells of the grid, which is 24 wide.
    """

    kind: str
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    options: Json
    custom: Json = field(default_factory=dict)
    limits: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    links: tuple[Link, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    color_mode: str = "palette-classic-by-name"
    mappings: tuple[Json, ...] = ()
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    width: int = 12
    height: int = 8

    def json(self, number: int, x: int, y: int) -> Json:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATA_SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.json(ref) for ref, query in zip("ABCDEFGHIJ", self.queries, strict=False)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": [*self._threshold_lines(), *self.overrides]},
            "options": self.options,
            "transformations": list(self.transformations),
        }

    def _defaults(self) -> Json:
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": self.color_mode},
            "custom": self.custom,
            "links": [link.json() for link in self.links],
            "mappings": list(self.mappings),
            "noValue": "-",
            "thresholds": {
                "mode": "absolute",
                "steps": [{"value": value, "color": color} for value, color in self.limits],
            },
        }
        bounds = {"min": self.minimum, "max": self.maximum, "decimals": self.decimals}
        return defaults | {name: value for name, value in bounds.items() if value is not None}

    def _threshold_lines(self) -> list[Json]:
        return [
            _override(
                {"id": "byFrameRefID", "options": ref},
                {
                    "color": {"mode": "fixed", "fixedColor": "red"},
                    "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
                    "custom.fillOpacity": 0,
                },
            )
            for ref, query in zip("ABCDEFGHIJ", self.queries, strict=False)
            if query.is_threshold
        ]


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    limit: float | None = None,
    stacked: bool = False,
    **more: Any,
) -> Panel:
    """Return lines over time, with a fixed `limit` as a dashed line."""
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        unit,
        options={
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        custom={
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "percent" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
        },
        limits=((None, "green"),) if limit is None else ((None, "transparent"), (limit, "red")),
        **more,
    )


def figure(title: str, description: str, query: Query, *, unit: str, **more: Any) -> Panel:
    """Return one large number with its course behind it."""
    return Panel(
        "stat",
        title,
        description,
        (query,),
        unit,
        options={
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        },
        **{"color_mode": "thresholds", "width": 4, "height": 4, **more},
    )


def heat(title: str, description: str, query: Query, *, unit: str, **more: Any) -> Panel:
    """Return how a histogram's buckets fill over time."""
    return Panel(
        "heatmap",
        title,
        description,
        (replace(query, legend="{{le}}", is_heatmap=True),),
        unit,
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "fill": "blue",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 32,
                "reverse": False,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "unit": unit},
        },
        custom={"scaleDistribution": {"type": "linear"}},
        **more,
    )


def states(title: str, description: str, query: Query, *, unit: str, **more: Any) -> Panel:
    """Return a cell for each series and moment, coloured by its value."""
    return Panel(
        "status-history",
        title,
        description,
        (query,),
        unit,
        options={
            "colWidth": 1,
            "rowHeight": 0.9,
            "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        custom={"fillOpacity": 90, "lineWidth": 0},
        **{"color_mode": "thresholds", **more},
    )


def table(
    title: str, description: str, columns: Sequence[tuple[str, Query, Json]], *, keys: Sequence[str], **more: Any
) -> Panel:
    """Return the newest values side by side, a row for each combination of the labels `keys`.

    Parameters
    ----------
    columns
        Name, query and what is special about it: properties of its fields, such as ``{"unit": "s"}``.
    """
    refs = dict(zip("ABCDEFGHIJ", columns, strict=False))
    overrides = tuple(
        _override({"id": "byName", "options": name}, properties) for name, _, properties in columns if properties
    )
    return Panel(
        "table",
        title,
        description,
        tuple(replace(query, is_table=True) for _, query, _ in columns),
        "short",
        options={"cellHeight": "sm", "frameIndex": 0, "showHeader": True},
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
        overrides=overrides,
        color_mode="thresholds",
        transformations=(
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "indexByName": {
                        name: place for place, name in enumerate([*keys, *(f"Value #{ref}" for ref in refs)])
                    },
                    "renameByName": {f"Value #{ref}": name for ref, (name, _, _) in refs.items()},
                },
            },
        ),
        **{"width": GRID_COLUMNS, **more},
    )


def yes_or_no(yes: str, no: str, *, bad: bool = True) -> Json:
    """Return how 1 and 0 are written; 1 is red where it is bad."""
    return {
        "type": "value",
        "options": {
            "1": {"text": yes, "color": "red" if bad else "green", "index": 0},
            "0": {"text": no, "color": "green" if bad else "red", "index": 1},
        },
    }


def _override(matcher: Json, properties: Json) -> Json:
    return {"matcher": matcher, "properties": [{"id": name, "value": value} for name, value in properties.items()]}


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard, from the values of a label."""

    name: str
    label: str
    query: str
    hidden: bool = False

    def json(self) -> Json:
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATA_SOURCE,
            "query": {"query": self.query, "refId": f"variable-{self.name}"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "hide": 2 if self.hidden else 0,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: its panels fill the grid from left to right, row by row.

    Attributes
    ----------
    annotations
        Name and expression of marks over all panels, where the expression has a value.
    """

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    time_from: str = "now-6h"
    refresh: Literal["30s", "1m"] = "30s"

    def json(self, *, data_source_uid: str, mlmon_url: str, tag: str) -> Json:
        """Return what Grafana reads."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [tag],
            "schemaVersion": 39,
            "editable": False,
            "graphTooltip": 1,
            "refresh": self.refresh,
            "time": {"from": self.time_from, "to": "now"},
            "timezone": "browser",
            "links": _dashboard_links(tag),
            "templating": {
                "list": [
                    _data_source_variable(data_source_uid),
                    *(variable.json() for variable in self.variables),
                    _constant("mlmon_url", mlmon_url),
                ]
            },
            "annotations": {"list": [_annotation(name, expression) for name, expression in self.annotations]},
            "panels": _placed(self.panels),
        }


def _placed(panels: Sequence[Panel]) -> list[Json]:
    placed: list[Json] = []
    x = y = row_height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > GRID_COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        placed.append(panel.json(number, x, y))
        x, row_height = x + panel.width, max(row_height, panel.height)
    return placed


def _data_source_variable(uid: str) -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {"selected": True, "text": "Prometheus", "value": uid},
        "refresh": 1,
        "hide": 0,
    }


def _constant(name: str, value: str) -> Json:
    return {
        "type": "constant",
        "name": name,
        "query": value,
        "current": {"selected": True, "text": value, "value": value},
        "hide": 2,
    }


def _annotation(name: str, expression: str) -> Json:
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": "red",
        "target": {"refId": "annotation", "expr": expression, "legendFormat": "{{model_name}}", "range": True},
    }


def _dashboard_links(tag: str) -> list[Json]:
    common = {"asDropdown": False, "tooltip": "", "targetBlank": False, "keepTime": True}
    return [
        common | {"type": "dashboards", "title": "", "tags": [tag], "icon": "dashboard", "includeVars": True},
        common
        | {
            "type": "link",
            "title": "mlmon",
            "tags": [],
            "icon": "external link",
            "includeVars": False,
            "keepTime": False,
            "url": "${mlmon_url}/admin/",
        },
    ]
