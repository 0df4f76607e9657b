"""A custom model is captured alike from every version and over every transport, into records of the real schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.sim import SimulatedOdoo, customise
from finwatch.sim.captured import add_catalogue_rows
from finwatch.sim.store import Database
from finwatch.sim.users import capture_account
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.configured import example, parse_file
from producers.odoo.records import RecordEncoder
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry
from tests.conformance.test_transports import WAYS, Way

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


class Publisher:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes | None]] = []

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """Take a record."""
        self.records.append((topic, key, value))

    def flush(self) -> None:
        """Nothing waits."""


def database(version: str) -> Database:
    made = Database("sim", version, clock=lambda: AT)
    add_catalogue_rows(made)
    made.users[6] = capture_account(6)
    customise(made)
    with made.begin(AT) as tx:
        center = tx.create("x_cost_center", {"x_name": "North"})
        loan = tx.create(
            "x_loan",
            {"x_name": "Van", "x_state": "open", "x_due": "2027-03-31", "x_amount": 12000.5, "x_rate": 0.0}
            | {"x_signed_at": "2026-11-20 10:00:00.000000", "x_tag_ids": [center], "x_partner_id": None},
        )
        tx.create("x_loan_line", {"x_loan_id": loan, "x_due": "2027-01-31", "x_amount": 6000.25})
    return made


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.api}-{way.version}")
def test_a_custom_record_is_the_same_whichever_way_it_is_read(way: Way) -> None:
    mappings = parse_file(example(), "example").mappings("odoo")
    publisher, registry = Publisher(), EmbeddedRegistry()
    settings = CaptureSettings(
        source="odoo", database="sim", account_key=b"k" * 32, models=("x_loan",), mappings=mappings, partitions=1
    )
    with SimulatedOdoo(database(way.version)) as odoo:
        transport = way.open(odoo)
        Capture(transport, publisher, ManualClock(AT), settings, encode=RecordEncoder(registry)).snapshot()
        transport.close()
    (told,) = [
        describe(value or b"", registry) for topic, _, value in publisher.records if topic.startswith("finance.")
    ]
    assert told["$schema"] == "finwatch.CustomRecord"
    expected: dict[str, Any] = {
        "document_key": "odoo:custom_record:x_loan/1",
        "kind": "loan",
        "state": "open",
        "date": "2027-03-31",
        "partner_id": None,
        "parent_key": None,
    }
    assert {name: str(told[name]) if name == "date" else told[name] for name in expected} == expected
    assert {one["name"]: one["value"] for one in told["custom"]} == {
        "rate": "0.0",
        "signed_at": "2026-11-20T10:00:00+00:00",
        "tags": "1",
        "borrower_account": None,
    }
    (line,) = told["lines"]
    assert {one["name"]: one["value"] for one in line["custom"]}["due"] == "2027-01-31"
