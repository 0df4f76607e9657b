"""What the demo and the import ask the store: the console's panels, the summary, and queries for people to try."""

from dataclasses import dataclass, replace
from typing import Any

from clickhouse_connect.driver.client import Client

from finwatch.cli.console import BUCKETS, AgeingRow, ClockRow, ExceptionRow, FindingRow, Snapshot

_AGEING = """
SELECT label['entity'] AS entity, label['role'] AS role, label['band'] AS band, toUInt64(sum(value)) AS steps
FROM kpis WHERE kpi = 'approvals_open' GROUP BY ALL HAVING steps > 0
"""
_OLDEST = """
SELECT label['entity'] AS entity, label['role'] AS role, max(value) / 86400 AS days
FROM kpis WHERE kpi = 'approvals_oldest_seconds' GROUP BY ALL
"""
_CLOCKS = """
SELECT policy, countIf(status IN ('running', 'paused')), countIf(status = 'met'), countIf(status = 'breached')
FROM clocks GROUP BY policy ORDER BY policy
"""
_EXCEPTIONS = """
SELECT type, any(severity), countIf(status = 'open'), countIf(status = 'resolved')
FROM exceptions GROUP BY type ORDER BY countIf(status = 'open') DESC, type
"""
_FOUND = """
SELECT opened_at, severity, detector, concat(title, ' · ', entity, ' ',
       arrayStringConcat(arrayMap(key -> splitByChar(':', key)[3], document_keys), ', ')), status
FROM findings
WHERE detector {comparison} 'duplicates' ORDER BY opened_at DESC, finding_id LIMIT {most}
"""
_COUNTS = "SELECT count() FROM documents"
_BY_KIND = """
SELECT detector, rule, severity, level, countIf(status IN ('open', 'updated')) AS open,
       countIf(status = 'resolved') AS resolved, countIf(status = 'retracted') AS retracted,
       argMax(title, (opened_at, finding_id)) AS example, argMax(next_action, (opened_at, finding_id)) AS next_action
FROM findings GROUP BY detector, rule, severity, level ORDER BY detector, rule, min(opened_at), level
"""
_STANDING_FINDINGS = "SELECT detector, rule, level, document_keys FROM findings WHERE status != 'retracted'"
_STANDING_EXCEPTIONS = "SELECT type, entity, document_key FROM exceptions WHERE status != 'retracted'"


@dataclass(frozen=True)
class KindRow:
    """Findings of one kind, with the title and the next action of the latest."""

    detector: str
    rule: str
    severity: str
    level: str | None
    open: int
    resolved: int
    retracted: int
    example: str
    next_action: str


TO_TRY = (
    "SELECT opened_at, severity, title, next_action FROM findings WHERE detector = 'duplicates' ORDER BY opened_at",
    "SELECT policy, status, count(), round(quantileExact(0.5)(business_seconds) / 3600, 1) AS p50_hours "
    "FROM clocks GROUP BY policy, status ORDER BY policy, status",
    "SELECT role, count() AS waiting, min(started_at) AS oldest FROM steps WHERE decided_at IS NULL GROUP BY role",
    "SELECT type, status, count() FROM exceptions GROUP BY type, status ORDER BY type, status",
    "SELECT occurred_at, op, mode, actor FROM events WHERE document_key = "
    "(SELECT document_keys[1] FROM findings WHERE detector = 'duplicates' LIMIT 1) ORDER BY occurred_at",
)
"""Queries the summary suggests; a test runs each of them against the demo's data."""


def ask(client: Client, snapshot: Snapshot) -> Snapshot:
    """`snapshot` with what the store says now."""
    return replace(
        snapshot,
        documents=_one(client, _COUNTS),
        ageing=ageing(client),
        clocks=[ClockRow(*row) for row in _rows(client, _CLOCKS)],
        exceptions=exceptions(client),
        duplicates=_found(client, duplicates=True, most=12),
        findings=_found(client, duplicates=False, most=12),
        dead=_one(client, "SELECT count() FROM dead_letters"),
    )


def ageing(client: Client) -> list[AgeingRow]:
    """Open steps by kind and band, longest waiting first."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for entity, role, band, steps in _rows(client, _AGEING):
        counts.setdefault((entity, role), {})[band] = steps
    oldest = {(entity, role): days for entity, role, days in _rows(client, _OLDEST)}
    rows = [
        AgeingRow(
            entity,
            f"{entity} · {role}" if role else entity,
            tuple(bands.get(b, 0) for b in BUCKETS),
            oldest.get(key, 0.0),
        )
        for key, bands in counts.items()
        for entity, role in [key]
    ]
    return sorted(rows, key=lambda row: -row.oldest_days)


def stored(client: Client) -> int:
    """Records in the raw log."""
    return _one(client, "SELECT count() FROM raw_log")


def counts(client: Client) -> dict[str, int]:
    """Rows of the views that an import fills."""
    views = ("events", "steps", "clocks", "exceptions", "findings", "dead_letters")
    return {view: _one(client, f"SELECT count() FROM {view}") for view in views}  # noqa: S608 names of our own


def documents_by_entity(client: Client) -> list[tuple[str, int]]:
    """Documents by entity, most first."""
    rows = _rows(client, "SELECT entity, count() FROM documents GROUP BY entity ORDER BY count() DESC")
    return [(str(entity), int(count)) for entity, count in rows]


def exceptions(client: Client) -> list[ExceptionRow]:
    """Exceptions by type."""
    return [ExceptionRow(*row) for row in _rows(client, _EXCEPTIONS)]


def by_kind(client: Client) -> list[KindRow]:
    """Findings by detector, rule, severity and level."""
    return [KindRow(*row) for row in _rows(client, _BY_KIND)]


def standing(client: Client) -> list[tuple[str, frozenset[str]]]:
    """What was said and not taken back, as signals of `finwatch.local.truth` with their documents."""
    from finwatch.local.truth import exception_signal, finding_signal

    found = [
        (signal, frozenset(keys))
        for detector, rule, level, keys in _rows(client, _STANDING_FINDINGS)
        if (signal := finding_signal(detector, rule, level))
    ]
    return found + [
        (signal, frozenset({key}))
        for kind, entity, key in _rows(client, _STANDING_EXCEPTIONS)
        if (signal := exception_signal(kind, entity))
    ]


def _found(client: Client, *, duplicates: bool, most: int) -> list[FindingRow]:
    sql = _FOUND.format(comparison="=" if duplicates else "!=", most=most)
    return [FindingRow(*row) for row in _rows(client, sql)]


def _rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql).result_rows]


def _one(client: Client, sql: str) -> int:
    return int(_rows(client, sql)[0][0])
