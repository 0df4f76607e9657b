"""One suite over both transports: whatever API is spoken, the same answers, the same errors, the same events."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from pydantic import SecretStr

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.config import OdooSettings
from finwatch.runtime.topics import TOPICS
from finwatch.sim import Company, Faults, SimulatedOdoo
from finwatch.sim.store import Database
from finwatch.sim.users import User
from producers.odoo import Capture, CaptureSettings
from producers.odoo.connect import open_transport
from producers.odoo.errors import (
    AccessDenied,
    AccessRefused,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)
from producers.odoo.records import RecordEncoder
from producers.odoo.transport import Transport
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

START = datetime(2026, 11, 2, tzinfo=UTC)
DOCUMENTS = [spec.name for spec in TOPICS if "finwatch.Heartbeat" in spec.records]


def company(version: str) -> Company:
    return Company(seed=2, weeks=1, scale=0.3, start=START, version=version)


@cache
def database(version: str) -> Database:
    """A company in the middle of its week; read by every test, changed by none."""
    made = company(version)
    made.advance(made.start + timedelta(days=3))
    return made.db


@dataclass(frozen=True)
class Way:
    """An API spoken with a version."""

    api: str
    version: str

    def open(self, odoo: SimulatedOdoo, login: str = "svc_cdc", *, timeout: float = 10.0, **other: Any) -> Transport:
        user = odoo.db.user(login)
        given = {
            "url": odoo.url,
            "database": odoo.db.name,
            "user": login,
            "password": user.password if user else "nobody",
            "api_key": user.api_key if user and self.api == "json2" else "",
            "transport": self.api,
            "timeout": timeout,
        } | other
        return open_transport(OdooSettings(**given))


WAYS = [Way("jsonrpc", "17.0"), Way("jsonrpc", "18.0"), Way("jsonrpc", "19.0"), Way("json2", "19.0")]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way.api}-{way.version}")
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def odoo(way: Way) -> Iterator[SimulatedOdoo]:
    with SimulatedOdoo(database(way.version), faults=Faults()) as odoo:
        yield odoo


@pytest.fixture
def transport(way: Way, odoo: SimulatedOdoo) -> Iterator[Transport]:
    opened = way.open(odoo)
    yield opened
    opened.close()


def any_read(transport: Transport) -> list[dict[str, Any]]:
    return transport.search_read("res.partner", [], ["name"], limit=1)


# Reads


def test_the_version_and_the_servers_clock(way: Way, odoo: SimulatedOdoo, transport: Transport) -> None:
    assert transport.version() == int(way.version.split(".")[0])
    assert transport.server_time() == odoo.db.now().replace(microsecond=0)
    assert transport.api.startswith({"jsonrpc": "JSON-RPC", "json2": "JSON-2"}[way.api])


def test_rights_are_told_and_nothing_is_tried(way: Way, odoo: SimulatedOdoo, transport: Transport) -> None:
    before = odoo.db.commits
    told = [transport.may("account.move", one) for one in ("read", "write", "create", "unlink")]
    assert told == [True, False, False, False]
    administrator = way.open(odoo, "admin")
    assert administrator.may("account.move", "write")
    administrator.close()
    assert odoo.db.commits == before


def test_rows_have_their_id_and_the_fields_asked_for(transport: Transport) -> None:
    fields = ("name", "partner_id", "amount_total", "invoice_line_ids", "posted_before", "invoice_date", "write_date")
    rows = transport.search_read("account.move", [("move_type", "=", "in_invoice")], fields, limit=5)
    assert len(rows) == 5
    for row in rows:
        assert set(row) == {"id", *fields}
        number, name = row["partner_id"]
        assert isinstance(number, int) and isinstance(name, str)
        assert isinstance(row["amount_total"], float) and isinstance(row["posted_before"], bool)
        assert all(isinstance(one, int) for one in row["invoice_line_ids"])
        assert datetime.fromisoformat(row["write_date"]).microsecond == 0 and len(row["invoice_date"]) == 10


def test_what_is_empty_is_false_and_numbers_never_are(transport: Transport) -> None:
    fields = ["parent_id", "vat", "supplier_rank", "active", "bank_ids"]
    (row,) = transport.search_read("res.partner", [("id", "=", 1)], fields, limit=1)
    assert (row["parent_id"], row["vat"], row["supplier_rank"], row["active"], row["bank_ids"]) == (
        False, False, 0, True, []
    )  # fmt: skip
    orders = transport.search_read(
        "purchase.order", [("date_approve", "=", False)], ["date_approve", "amount_total"], limit=1
    )
    assert orders[0]["date_approve"] is False and isinstance(orders[0]["amount_total"], float)


def test_pages_by_id_hold_everything_once(odoo: SimulatedOdoo, transport: Transport) -> None:
    found: list[int] = []
    while True:
        rows = transport.search_read("account.move", [("id", ">", found[-1] if found else 0)], ["name"], limit=37)
        found += [row["id"] for row in rows]
        if len(rows) < 37:
            break
    assert found == sorted(odoo.db.tables["account.move"].rows)
    assert transport.search_count("account.move", []) == len(found)
    assert transport.search("account.move", [], limit=len(found) + 1) == found
    assert transport.search("account.move", [], limit=3, order="id desc") == found[:-4:-1]


def test_domains(transport: Transport) -> None:
    everyone = transport.search("account.move", [], limit=10_000)
    posted = transport.search("account.move", [("state", "=", "posted")], limit=10_000)
    assert 0 < len(posted) < len(everyone)
    assert transport.search("account.move", ["!", ["state", "=", "posted"]], limit=10_000) == [
        one for one in everyone if one not in set(posted)
    ]
    either = ["|", ("state", "=", "posted"), ("id", "in", tuple(everyone[:3]))]
    assert transport.search("account.move", either, limit=10_000) == sorted({*posted, *everyone[:3]})
    assert transport.search_count("account.move", [("id", "in", [*everyone, *range(10**6, 10**6 + 5000)])]) == len(
        everyone
    )
    assert transport.search("account.move", [("id", "in", [])], limit=5) == []


def test_microseconds_count_in_a_domain_and_do_not_show(odoo: SimulatedOdoo, transport: Transport) -> None:
    rows = odoo.db.tables["purchase.order"].rows
    newest = max(rows.values(), key=lambda row: row["write_date"])
    assert transport.search("purchase.order", [("write_date", ">=", newest["write_date"])], limit=9) == [newest["id"]]
    assert transport.search("purchase.order", [("write_date", ">", newest["write_date"])], limit=9) == []


def test_a_language_is_for_one_call(transport: Transport) -> None:
    def label(context: dict[str, Any] | None) -> str:
        told = transport.fields_get("purchase.order", ("selection",), fields=("state",), context=context)
        return dict(told["state"]["selection"])["cancel"]

    assert [label({"lang": "fr_FR"}), label(None), label({"lang": "en_US"})] == ["Annulé", "Cancelled", "Cancelled"]


def test_fields_get_tells_all_fields_and_only_the_attributes_asked_for(transport: Transport) -> None:
    told = transport.fields_get("account.move", ("type",))
    assert {"name", "line_ids", "write_date"} <= told.keys()
    assert told["partner_id"] == {"type": "many2one"}


def test_archived_records_show_when_asked_for(way: Way, odoo: SimulatedOdoo, transport: Transport) -> None:
    with odoo.db.begin(uid=2) as tx:
        gone = tx.create("res.partner", {"name": "Archived", "active": False})
    try:
        assert transport.search("res.partner", [("id", "=", gone)], limit=1) == []
        assert transport.search("res.partner", [("id", "=", gone)], limit=1, context={"active_test": False}) == [gone]
        assert transport.search_count("res.partner", [("id", "=", gone)], context={"active_test": False}) == 1
    finally:
        with odoo.db.begin(uid=2) as tx:
            tx.unlink("res.partner", gone)
    assert transport.search_read("res.partner", [("id", "=", gone)], ["name"], limit=1) == []


# Errors


def test_what_does_not_exist_has_its_type(transport: Transport) -> None:
    for model in ("approval.request", "helpdesk.ticket"):
        with pytest.raises(UnknownModel, match=model):
            transport.search_read(model, [], ["name"], limit=1)
        with pytest.raises(UnknownModel, match=model):
            transport.fields_get(model, ("type",))
        with pytest.raises(UnknownModel, match=model):
            transport.search_count(model, [])
    with pytest.raises(UnknownField):
        transport.search_read("res.partner", [], ["no_such_field"], limit=1)
    with pytest.raises(UnknownField):
        transport.search("res.partner", [("no_such_field", "=", 1)], limit=1)
    assert any_read(transport), "an error of one call is no error of the next"


def test_a_missing_right_has_its_type(way: Way, odoo: SimulatedOdoo, transport: Transport) -> None:
    account = odoo.db.user("svc_cdc")
    assert account is not None
    hidden = next(model for model in sorted(odoo.db.tables) if not account.may_read(model))
    with pytest.raises(AccessRefused, match=hidden):
        transport.search_read(hidden, [], ["id"], limit=1)
    with pytest.raises(AccessRefused):
        transport.search_read("mail.message", [], ["tracking_value_ids"], limit=1)
    assert any_read(transport)


def test_a_request_that_cannot_be_answered_is_refused(transport: Transport) -> None:
    with pytest.raises(Refused):
        transport.search("account.move", [("write_date", ">", "garbage")], limit=1)
    with pytest.raises(Refused):
        transport.search("account.move", [], limit=-1)


@pytest.mark.parametrize("secret", ["not-the-secret", "c" * 39])
def test_a_wrong_secret_is_denied_and_told_to_nobody(
    way: Way, odoo: SimulatedOdoo, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    denied = way.open(odoo, password=SecretStr(secret), api_key=SecretStr(secret))
    for ask in (denied.version, lambda: any_read(denied)):
        with pytest.raises(AccessDenied) as raised:
            ask()
        assert secret not in f"{raised.value}{raised.value.__cause__!r}{denied!r}"
    assert secret not in caplog.text


def test_a_secret_revoked_between_two_calls_is_denied(odoo: SimulatedOdoo, transport: Transport) -> None:
    assert any_read(transport)
    odoo.faults.refuse_logins = True
    with pytest.raises(AccessDenied):
        any_read(transport)
    odoo.faults.clear()
    assert any_read(transport)


def test_a_missing_database_is_unavailable(way: Way, odoo: SimulatedOdoo) -> None:
    with pytest.raises(Unavailable):
        way.open(odoo, database="not_there").version()
    with pytest.raises(Unavailable):
        any_read(way.open(odoo, database="not_there"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (408, Unavailable),
        (401, AccessDenied),
        (403, AccessDenied),
        (400, Refused),
        (413, Refused),
    ],
)
def test_an_http_status_without_odoos_words(
    odoo: SimulatedOdoo, transport: Transport, status: int, kind: type[OdooError]
) -> None:
    assert any_read(transport)
    odoo.faults.next_statuses.append(status)
    with pytest.raises(OdooError) as raised:
        any_read(transport)
    assert type(raised.value) is kind
    if isinstance(raised.value, Unavailable):
        assert raised.value.retry_after == (1.0 if status == 429 else None)
    assert any_read(transport)


def test_a_cut_answer_is_unavailable(odoo: SimulatedOdoo, transport: Transport) -> None:
    assert any_read(transport)
    odoo.faults.cut_next = 1
    with pytest.raises(Unavailable, match="not JSON"):
        any_read(transport)
    assert any_read(transport)


def test_a_dropped_connection_is_unavailable(odoo: SimulatedOdoo, transport: Transport) -> None:
    assert any_read(transport)
    odoo.faults.reset_next = 1
    with pytest.raises(Unavailable, match="broke"):
        any_read(transport)
    assert any_read(transport)


def test_an_answer_that_takes_too_long_is_unavailable(way: Way, odoo: SimulatedOdoo) -> None:
    impatient = way.open(odoo, timeout=0.3)
    assert any_read(impatient)
    odoo.faults.latency = 1.5
    with pytest.raises(Unavailable, match="in time"):
        any_read(impatient)
    odoo.faults.clear()
    assert any_read(impatient)


def test_a_server_that_is_not_there_is_unavailable(way: Way, odoo: SimulatedOdoo) -> None:
    subject = way.open(odoo)
    assert any_read(subject)
    odoo.stop()
    with pytest.raises(Unavailable):
        any_read(subject)


# The same over both


def test_both_apis_answer_the_same() -> None:
    with SimulatedOdoo(database("19.0"), keep_alive=True) as odoo:
        older, newer = Way("jsonrpc", "19.0").open(odoo), Way("json2", "19.0").open(odoo)
        for model in ("res.partner", "account.move", "account.move.line", "purchase.order", "hr.expense", "uom.uom"):
            told = older.fields_get(model, ("type", "string", "relation", "selection"))
            assert told == newer.fields_get(model, ("type", "string", "relation", "selection"))
            for order in ("id", "id desc"):
                rows = [one.search_read(model, [], list(told), limit=50, order=order) for one in (older, newer)]
                assert rows[0] == rows[1] and rows[0]
        newer.close()


class Collected:
    """Publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.records: dict[str, list[bytes]] = defaultdict(list)

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        assert value is not None
        self.records[topic].append(value)

    def flush(self) -> None:
        """Nothing waits."""


@cache
def captured(api: str, version: str) -> dict[str, list[bytes]]:
    """What a capture publishes of a week: a snapshot, polls, and a sweep at the end."""
    made, topics = company(version), Collected()
    clock = ManualClock(START)
    made.advance(START)
    with SimulatedOdoo(made.db, keep_alive=True) as odoo:
        transport = Way(api, version).open(odoo)
        settings = CaptureSettings(
            source="erp",
            database=made.db.name,
            account_key=b"k" * 32,
            timeline="log",
            partitions=1,
            sweep_interval=0,
            read_ahead=False,
        )
        capture = Capture(transport, topics, clock, settings, encode=RecordEncoder(EmbeddedRegistry()))
        capture.connect()
        assert set(capture.stopped_models.values()) <= {"unknown_model"}
        capture.snapshot()
        for hours in range(24, 7 * 24, 24):
            made.advance(START + timedelta(hours=hours))
            clock.set(START + timedelta(hours=hours))
            capture.poll()
        capture.sweep()
        transport.close()
    return {topic: values for topic, values in topics.records.items() if topic in DOCUMENTS}


def test_the_same_capture_over_both_publishes_the_same_bytes() -> None:
    older, newer = captured("jsonrpc", "19.0"), captured("json2", "19.0")
    assert newer.keys() == older.keys()
    for topic, values in older.items():
        assert newer[topic] == values, topic
    assert len(newer["finance.expense_report.v1"]) > 50


def test_ids_are_those_of_18_where_the_data_is_the_same() -> None:
    """Of states and creations; the log's rows have other numbers, as a week of 18 writes more of them."""
    registry = EmbeddedRegistry()

    def ids(version: str, api: str, topic: str) -> set[str]:
        told = (describe(value, registry) for value in captured(api, version)[topic])
        states = (one for one in told if one.get("activity") in (None, "created"))
        return {one["event_id"] for one in states if "event_id" in one}

    for entity in ("vendor", "bank_account", "purchase_order", "receipt"):
        older, newer = (ids(*how, f"finance.{entity}.v1") for how in (("18.0", "jsonrpc"), ("19.0", "json2")))
        assert newer == older and older, entity


def test_payments_of_17_name_the_bills_that_those_of_18_name() -> None:
    registry = EmbeddedRegistry()

    def paid(version: str) -> dict[str, list[str]]:
        told = (describe(value, registry) for value in captured("jsonrpc", version)["finance.payment.v1"])
        return {one["record_id"]: one["bill_keys"] for one in told if one.get("bill_keys")}

    assert paid("17.0") == paid("18.0")
    assert len(paid("17.0")) > 10


def test_an_account_without_a_key_is_no_account_of_19() -> None:
    db = Database("sim", "19.0")
    db.users[7] = User(7, "somebody", "somebody", readable=None)
    with SimulatedOdoo(db) as odoo, pytest.raises(AccessDenied):
        Way("json2", "19.0").open(odoo, "somebody", api_key="").version()
