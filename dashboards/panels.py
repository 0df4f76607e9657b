"""Building blocks of dashboards: queries to the two data sources, and the few kinds of panel that are used.

A query is an expression in the data source's own language and nothing else, so that tests run it as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${prometheus}")
CLICKHOUSE = model.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${clickhouse}")
Level: TypeAlias = tuple[str, float]
Panel: TypeAlias = Builder[model.Panel]

GREEN, YELLOW, ORANGE, RED = "green", "#EAB839", "orange", "red"


class ClickHouseQuery(Dataquery):
    """A query as Grafana's ClickHouse data source stores it."""

    def __init__(self, sql: str, *, over_time: bool) -> None:
        self.sql = sql
        self.over_time = over_time

    def to_json(self) -> dict[str, object]:
        """Target of a panel; format 0 draws over time, 1 is a table."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": 0 if self.over_time else 1,
            "pluginVersion": "4.0.0",
            "queryType": "timeseries" if self.over_time else "table",
            "rawSql": self.sql,
            "refId": "A",
        }


class _Built(Builder[Dataquery]):
    """A ready query where a builder is asked for."""

    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


class Query:
    """One panel's query: `Prom(...)` or `Sql(...)`."""

    source: model.DataSourceRef

    def target(self) -> Builder[Dataquery]:
        """As the panel builders take it."""
        raise NotImplementedError


class Prom(Query):
    """PromQL. `now` asks for the newest value only; `legend` names the series."""

    source = PROMETHEUS

    def __init__(self, expr: str, legend: str = "", *, now: bool = False) -> None:
        self.expr, self.legend, self.now = " ".join(expr.split()), legend, now

    def target(self) -> Builder[Dataquery]:
        """As the panel builders take it."""
        query = prometheus.Dataquery().expr(self.expr).legend_format(self.legend or "__auto").ref_id("A")
        return query.instant() if self.now else query.range()


# The sources chosen at the top; the condition is dropped when all are.
_CHOSEN = "$__conditionalAll({0}source IN (${{source:singlequote}}), $source)"
# An imported log has a time of its own: ages in lists are counted at the last event of the source, which for a live
# source was moments ago.
_LAST = "(SELECT source, max(last_occurred_at) AS last FROM captures GROUP BY source) AS seen"


class Sql(Query):
    """ClickHouse SQL over the views of the store's database. `over_time`: the first column is the time.

    `@chosen` (or `@chosen(view)`) stands for the condition on the chosen sources, `@last` for a table `seen` of the
    time `last` of each source's last event.
    """

    source = CLICKHOUSE

    def __init__(self, sql: str, *, over_time: bool = False) -> None:
        written = re.sub(r"@chosen(?:\((\w+)\))?", lambda found: _chosen(found[1]), sql.replace("@last", _LAST))
        self.sql = "\n".join(line.strip() for line in written.strip().splitlines())
        self.over_time = over_time

    def target(self) -> Builder[Dataquery]:
        """As the panel builders take it."""
        return _Built(ClickHouseQuery(self.sql, over_time=self.over_time))


def _chosen(view: str | None) -> str:
    return _CHOSEN.format(f"{view}." if view else "")


def levels(*steps: Level) -> build.ThresholdsConfig:
    """Colours from the given values up; below the first one, green."""
    first = model.Threshold(value=None, color=GREEN)
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([first, *(model.Threshold(value=value, color=color) for color, value in steps)])
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def number(
    title: str,
    query: Query,
    description: str,
    *,
    unit: str = "short",
    steps: Sequence[Level] = (),
    width: int = 3,
    empty: str = "no data",
    decimals: int | None = None,
) -> Panel:
    """One figure; its colour says whether it needs somebody."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(query.source)
        .with_target(query.target())
        .unit(unit)
        .no_value(empty)
        .thresholds(levels(*steps))
        .reduce_options(_last())
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .height(4)
        .span(width)
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    query: Query,
    description: str,
    *,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    steps: Sequence[Level] = (),
) -> Panel:
    """Series over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(query.source)
        .with_target(query.target())
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .thresholds(levels(*steps))
        .height(8)
        .span(width)
    )
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A")) if stacked else panel


def bars(
    title: str, query: Query, description: str, *, unit: str = "short", width: int = 8, steps: Sequence[Level] = ()
) -> Panel:
    """The newest value of each series as a horizontal bar."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(query.source)
        .with_target(query.target())
        .unit(unit)
        .min(0)
        .no_value("0")
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.GRADIENT)
        .reduce_options(_last())
        .thresholds(levels(*steps))
        .height(8)
        .span(width)
    )


def rows(
    title: str,
    query: Sql,
    description: str,
    *,
    width: int = 12,
    units: dict[str, str] | None = None,
    height: int = 8,
) -> Panel:
    """A table; `units` gives Grafana's unit of a column by its name."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(query.source)
        .with_target(query.target())
        .filterable(True)
        .no_value("none")
        .height(height)
        .span(width)
    )
    for column, unit in (units or {}).items():
        panel = panel.override_by_name(column, [_property("unit", unit)])
    return panel


def _property(name: str, value: Any) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
