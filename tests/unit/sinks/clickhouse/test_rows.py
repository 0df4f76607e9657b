"""What records become in the tables, without a store: the columns are read from the migrations' text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import EmbeddedRegistry
from sinks.clickhouse.decoding import decoding
from sinks.clickhouse.migrations import shipped
from sinks.clickhouse.plan import RAW, Batch, Slice
from sinks.clickhouse.rows import ORDER, Insert, Life, inserts
from sinks.clickhouse.table_store import polars_type
from tests.parts.records import START, bill, dead_letter, encode, finding, header, heartbeat, kpi, step, transition

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
BILLS, EXPENSES = "finance.bill.v1", "finance.expense_report.v1"


def table_types() -> dict[str, dict[str, pl.DataType]]:
    """Columns of the tables as 0001 declares them, computed ones left out."""
    types: dict[str, dict[str, pl.DataType]] = {}
    for statement in shipped()[0].statements("finwatch"):
        table = re.search(r"TABLE IF NOT EXISTS finwatch\.(\w+)", statement)
        assert table is not None
        for line in statement.splitlines():
            column = re.match(r"    (\w+) +((?:\w|[(), ']|6)+?)(?: CODEC\(\w+\(\d\)\))? COMMENT", line)
            if column and "MATERIALIZED" not in line:
                types.setdefault(table[1], {})[column[1]] = polars_type(table[1], column[1], column[2])
    return types


TYPES = table_types()


@dataclass(frozen=True)
class Record:
    k: bytes | None
    v: bytes | None
    at: int = 1_764_000_000_000
    h: Sequence[tuple[str, bytes | None]] | None = None

    def key(self) -> bytes | None:
        return self.k

    def value(self) -> bytes | None:
        return self.v

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return self.h


def stored(records: dict[str, Sequence[bytes | Record | None]], start: int = 0) -> dict[str, pl.DataFrame]:
    """Tables made of records on partition 0 of their topics."""
    slices = tuple(
        Slice(
            (topic, 0),
            list(range(start, start + len(values))),
            [value if isinstance(value, Record) else Record(b"k", value) for value in values],
        )
        for topic, values in records.items()
    )
    lives = {topic: Life(f"cluster/{topic}", 3) for topic in records}
    made = inserts(Batch(slices), lives, decoding(EmbeddedRegistry()), TYPES, NOW)
    return {insert.table: checked(insert).rows for insert in made}


def checked(insert: Insert) -> Insert:
    assert list(insert.rows.schema.items()) == list(TYPES[insert.table].items())
    return insert


def test_the_raw_log_is_last_and_has_every_record_untouched() -> None:
    values = [bill(1, 1), b"garbage", None, b"", heartbeat(2)]
    slices = (Slice((BILLS, 3), [7, 8, 9, 11, 12], [Record(b"\x00\xff", v, 1_000 + i) for i, v in enumerate(values)]),)
    made = inserts(Batch(slices), {BILLS: Life("c/t", 1)}, decoding(EmbeddedRegistry()), TYPES, NOW)
    assert [i.table for i in made] == [t for t in ORDER if t in {i.table for i in made}] + [RAW]
    raw = made[-1].rows
    assert raw["value"].to_list() == values
    assert raw["tombstone"].to_list() == [False, False, True, False, False]
    assert raw["offset"].to_list() == [7, 8, 9, 11, 12]
    assert raw["key"].unique().to_list() == [b"\x00\xff"]
    assert raw["ingested_at"].unique().to_list() == [NOW]
    assert raw["timestamp"][0] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert set(raw["incarnation"]) == {"c/t"}


def test_headers_are_kept_in_order_with_their_bytes() -> None:
    raw = stored({BILLS: [Record(b"k", bill(1, 1), h=[("a", b"\xff"), ("a", None)])]})[RAW]
    assert json.loads(raw["headers"][0]) == [["a", "/w=="], ["a", None]]


def test_events_are_one_row_an_id_with_the_first_coordinates() -> None:
    events = stored({BILLS: [bill(1, 1), bill(2, 1), bill(1, 1)], EXPENSES: [transition(3, 9)]})["event_log"]
    assert sorted(events["offset"].to_list()) == [0, 0, 1]
    of_bills = events.filter(pl.col("entity") == "bill")
    assert of_bills["activity"].to_list() == [None, None]
    assert json.loads(of_bills["changes"][0]) == [{"field": "state", "old": '"draft"', "new": '"posted"'}]
    (approval,) = events.filter(pl.col("record") == "finwatch.Transition").to_dicts()
    assert (approval["activity"], approval["decision"], approval["amount"]) == ("approved", "approved", Decimal("10.5"))
    assert approval["incarnation"] == f"cluster/{EXPENSES}"


def test_a_document_has_its_latest_state_by_the_source_not_by_arrival() -> None:
    late = bill(5, 1, source_write_date=START + timedelta(seconds=50))
    (document,) = stored({BILLS: [late, bill(9, 1)]})["document_states"].to_dicts()
    assert document["amount_total"] == Decimal("105.10")
    assert document["invoice_date"].isoformat() == "2026-03-01"
    body = json.loads(document["payload"])
    assert body["amount_total"] == "105.100000"
    assert [line["line_id"] for line in body["lines"]] == ["1", "2"]
    assert "event_id" not in body


def test_the_later_of_two_states_of_one_write_wins() -> None:
    first, second = bill(5, 1, state="draft"), bill(5, 1, state="posted")
    assert stored({BILLS: [first, second]})["document_states"]["state"].to_list() == ["posted"]


def test_a_deleted_document_is_marked() -> None:
    (document,) = stored({BILLS: [bill(1, 1), bill(2, 1, op="d", mode="deleted", source_write_date=None)]})[
        "document_states"
    ].to_dicts()
    assert document["deleted"] is True


def test_a_transition_never_hides_a_state_but_makes_an_imported_document_visible() -> None:
    documents = stored(
        {BILLS: [bill(1, 1), transition(9, 1, entity="bill")], EXPENSES: [transition(1, 5), transition(2, 5)]}
    )["document_states"]
    by_key = {row["document_key"]: row for row in documents.to_dicts()}
    assert by_key["odoo:bill:1"]["state"] == "posted"
    assert by_key["odoo:bill:1"]["transitions_only"] is False
    imported = by_key["odoo:expense_report:5"]
    assert (imported["transitions_only"], imported["activity"], imported["state"]) == (True, "approved", None)
    assert imported["offset"] == 1


def test_outputs_keep_the_largest_version_and_findings_keep_every_one() -> None:
    made = stored(
        {
            "finance.step.v1": [step("a", 1), step("a", 3), step("a", 2)],
            "finance.finding.v1": [finding("f", 1), finding("f", 2, status="retracted"), finding("f", 1)],
        }
    )
    assert made["step_states"]["version"].to_list() == [3]
    assert made["finding_states"]["status"].to_list() == ["retracted"]
    assert sorted(made["finding_log"]["version"].to_list()) == [1, 2]
    assert made["finding_log"]["document_keys"].to_list()[0] == ["odoo:bill:2", "odoo:bill:1"]


def test_parts_of_kpis_keep_the_largest_position_and_show_what_was_withdrawn() -> None:
    parts = stored(
        {
            "finance.kpi.v1": [
                kpi("clocks_open", 0, 9, 4.0),
                kpi("clocks_open", 0, 8, 7.0),
                kpi("clocks_open", 1, 1, None),
                kpi("approval_rejection_rate", 0, 5, None, numerator=1.0, denominator=4.0),
            ]
        }
    )["kpi_parts"].sort("kpi", "partition")
    assert parts["value"].to_list() == [None, 4.0, None]
    assert parts["deleted"].to_list() == [False, False, True]
    assert parts["seq"].to_list() == [3, 3, 3]


@pytest.mark.parametrize(
    ("topic", "value", "reason"),
    [
        (BILLS, b"garbage", "not_confluent_format"),
        (BILLS, b"", "not_confluent_format"),
        (BILLS, b"\x00\x00\x00\x00\x01abc", "unknown_schema"),
        (BILLS, bill(1, 1)[:-3], "malformed_avro"),
        (BILLS, bill(1, 1) + b"x", "malformed_avro"),
        (BILLS, step("a", 1), "unexpected_record"),
        ("finance.step.v1", bill(1, 1), "unexpected_record"),
        (BILLS, bill(1, 1, source_write_date=datetime(1850, 1, 1, tzinfo=UTC)), "invalid_event"),
        (BILLS, bill(1, 1, due_date=datetime(2400, 1, 1, tzinfo=UTC).date()), "invalid_event"),
    ],
)
def test_a_bad_record_is_a_dead_letter_and_stands_beside_good_ones(topic: str, value: bytes, reason: str) -> None:
    good = bill(2, 2) if topic == BILLS else step("good", 1)
    made = stored({topic: [good, value, good]}, start=10)
    (dead,) = made["dead_letter_log"].to_dicts()
    assert (dead["reason"], dead["offset"], dead["stage"]) == (reason, 11, "clickhouse")
    assert dead["value"] == value
    assert made[RAW].height == 3
    assert made["event_log" if topic == BILLS else "step_states"].height == 1


def test_dead_letters_of_the_streams_are_kept_with_their_bytes() -> None:
    (dead,) = stored({"finance.dlq.v1": [dead_letter(4)]})["dead_letter_log"].to_dicts()
    assert (dead["stage"], dead["offset"], dead["value"]) == ("documents", 4, b"garbage")


def test_heartbeats_are_no_events() -> None:
    made = stored({BILLS: [heartbeat(1), heartbeat(5, final=True)]})
    assert "event_log" not in made
    assert made["heartbeats"]["final"].to_list() == [True]


def test_feedback_is_an_event_of_its_document_and_no_state() -> None:
    said = {**header(3, "bill", 1, actor="12"), "finding_id": "f" * 32, "detector": "duplicates"}
    said |= {"verdict": "dismissed", "reason": "why not"}
    tables = stored({"finance.bill.v1": [bill(1, 1), encode("finwatch.Feedback", said)]})
    assert tables["document_states"].height == 1
    row = tables["event_log"].filter(pl.col("record") == "finwatch.Feedback").row(0, named=True)
    assert (row["activity"], row["label"], row["new_value"]) == ("dismissed", "why not", "f" * 32)
    assert (row["actor"], row["changes"]) == ("12", "[]")


def test_relations_are_kept_in_the_raw_log_only() -> None:
    assert set(stored({"finance.relation.v1": [b"\x00\x00\x00\x00\x00anything"]})) == {RAW}


def test_awkward_text_passes() -> None:
    text = 'a\x00b "quoted" \\ \u202eright to left 💶'
    made = stored({BILLS: [bill(1, 1, partner_name=text)]})
    assert made["document_states"]["partner_name"][0] == text
    assert json.loads(made["document_states"]["payload"][0])["partner_name"] == text


def test_an_entity_without_columns_of_its_own_in_a_table_is_null_there() -> None:
    vendor = encode("finwatch.Vendor", {**header(1, "vendor", 3), "name": "Azure", "supplier_rank": 2, "active": True})
    (document,) = stored({"finance.vendor.v1": [vendor]})["document_states"].to_dicts()
    assert (document["name"], document["active"], document["amount_total"]) == ("Azure", True, None)


@settings(max_examples=30, deadline=None)
@given(
    cut=st.integers(1, 9),
    order=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), min_size=1, max_size=10),
)
def test_how_records_fall_into_batches_does_not_change_the_documents(cut: int, order: list[tuple[int, int]]) -> None:
    """The newest row a key over all batches is the row of one big batch: what ReplacingMergeTree then keeps."""
    values = [bill(n, record) for record, n in order]
    whole = stored({BILLS: values})["document_states"]
    rows: dict[str, tuple[object, ...]] = {}
    for start in range(0, len(values), cut):
        for row in stored({BILLS: values[start : start + cut]}, start)["document_states"].to_dicts():
            version = (row["source_write_date"], row["observed_at"])
            held = rows.get(row["document_key"])
            if held is None or version >= held[0]:  # type: ignore[operator]
                rows[row["document_key"]] = (version, row["amount_total"], row["offset"])
    assert {k: v[1:] for k, v in rows.items()} == {
        row["document_key"]: (row["amount_total"], row["offset"]) for row in whole.to_dicts()
    }
