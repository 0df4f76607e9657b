"""The tracking log: who, when, old and new, as keys; of the captured servers and in two languages."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from producers.odoo import tracking
from producers.odoo.mapping import BY_MODEL
from producers.odoo.tracking import Labels, Tracked, TrackedField, decode, meaning
from tests.unit.producers.odoo.conftest import Captured

STATE = TrackedField("purchase.order", "state", "selection", "Status")
ENGLISH = [["draft", "RFQ"], ["to approve", "To Approve"], ["purchase", "Purchase Order"], ["done", "Locked"]]
FRENCH = [["draft", "Demande de prix"], ["to approve", "À approuver"], ["purchase", "Bon de commande"]]


def value(**given: Any) -> dict[str, Any]:
    empty = {
        f"{side}_value_{kind}": 0 if kind in ("integer", "float") else False
        for side in ("old", "new")
        for kind in ("char", "integer", "float", "text", "datetime")
    }
    return {"id": 473, "create_uid": [9, "Paul"], "create_date": "2026-11-22 03:19:27", **empty, **given}


def message(**given: Any) -> dict[str, Any]:
    return {
        "id": 1453,
        "model": "purchase.order",
        "res_id": 37,
        "date": "2026-11-22 03:19:30",
        "create_date": "2026-11-22 03:19:27",
        "create_uid": [9, "Paul"],
        **given,
    }


def labels() -> Labels:
    known = Labels()
    known.add("purchase.order", "state", ENGLISH)
    known.add("purchase.order", "state", FRENCH)
    return known


def decoded(row: dict[str, Any], field: TrackedField = STATE, **of_message: Any) -> Tracked:
    change = decode(row, message(**of_message), field, labels(), frozenset())
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("old", "new"), [("RFQ", "To Approve"), ("Demande de prix", "À approuver"), ("draft", "to approve")]
)
def test_labels_of_any_language_and_raw_keys_become_keys(old: str, new: str) -> None:
    change = decoded(value(old_value_char=old, new_value_char=new))
    assert (change.old, change.new, change.label) == ("draft", "to approve", new)
    assert not change.unknown_label
    found = meaning("purchase_order", change)
    assert (found.activity, found.decision) == ("submitted", None)


def test_an_unknown_label_is_no_key_and_is_counted() -> None:
    change = decoded(value(old_value_char="RFQ", new_value_char="Zu genehmigen"))
    assert (change.new, change.label, change.unknown_label) == (None, "Zu genehmigen", True)
    assert meaning("purchase_order", change).activity == "changed"


def test_where_two_languages_disagree_the_first_wins() -> None:
    known = Labels()
    known.add("m", "f", [["a", "Open"], ["b", "Closed"]])
    known.add("m", "f", [["a", "Ouvert"], ["b", "Open"]])
    assert [known.key("m", "f", label) for label in ("Open", "Ouvert", "Closed", "b", None)] == [
        "a",
        "a",
        "b",
        "b",
        None,
    ]


def test_the_time_is_the_wall_clock_of_the_action_and_the_actor_is_a_user_id() -> None:
    change = decoded(value(old_value_char="RFQ", new_value_char="Purchase Order"))
    assert (change.at.isoformat(), change.actor) == ("2026-11-22T03:19:30+00:00", "9")
    found = meaning("purchase_order", change)
    assert (found.activity, found.decision) == ("approved", "approved")


def test_account_numbers_are_masked_and_contact_data_left_out() -> None:
    field = TrackedField("res.partner.bank", "acc_number", "char", "Account Number")
    row = value(old_value_char="US517046593103155", new_value_char="US713543385239008")
    change = decoded(row, field, model="res.partner.bank", res_id=10)
    assert (change.old, change.new) == ("***3155", "***9008")
    mail = TrackedField("res.partner", "email", "char", "Email")
    change = decoded(value(old_value_char="a@x.org", new_value_char="b@x.org"), mail, model="res.partner", res_id=1)
    assert (change.field, change.old, change.new) == ("email", None, None)
    bank = TrackedField("account.move", "partner_bank_id", "many2one", "Recipient Bank")
    row = value(new_value_char="US713543385239008", new_value_integer=12)
    change = decoded(row, bank, model="account.move", res_id=1)
    assert (change.old, change.new) == (None, "12")


def test_the_twin_on_the_partner_is_dropped() -> None:
    field = TrackedField("res.partner.bank", "allow_out_payment", "boolean", "Send Money")
    assert decode(value(), message(model="res.partner"), field, labels(), frozenset()) is None


def test_a_message_without_a_record_tells_nothing() -> None:
    assert decode(value(), message(model=False), STATE, labels(), frozenset()) is None
    assert decode(value(), message(res_id=0), STATE, labels(), frozenset()) is None


@pytest.mark.parametrize(
    ("kind", "given", "old", "new"),
    [
        ("boolean", {"new_value_integer": 1}, "false", "true"),
        ("integer", {"new_value_integer": 7}, "0", "7"),
        ("monetary", {"old_value_float": 0.3, "new_value_float": 1234567.89}, "0.3", "1234567.89"),
        ("date", {"new_value_datetime": "2026-11-20 00:00:00"}, None, "2026-11-20"),
        ("datetime", {"new_value_datetime": "2026-11-20 07:08:09"}, None, "2026-11-20T07:08:09+00:00"),
        ("text", {"new_value_text": "long"}, None, "long"),
        ("many2many", {"new_value_char": "Ana, Bea"}, None, None),
        ("char", {"new_value_char": "pay DE89370400440532013000"}, None, "pay ***3000"),
    ],
)
def test_values_by_type(kind: str, given: dict[str, Any], old: str | None, new: str | None) -> None:
    change = decoded(value(**given), TrackedField("purchase.order", "x", kind, "X"))
    assert (change.old, change.new) == (old, new)


@pytest.mark.parametrize(
    ("entity", "field", "old", "new", "activity", "decision"),
    [
        ("purchase_order", "state", "draft", "to approve", "submitted", None),
        ("purchase_order", "state", "to approve", "purchase", "approved", "approved"),
        ("purchase_order", "state", "draft", "purchase", "approved", "approved"),
        ("purchase_order", "state", "sent", "purchase", "approved", "approved"),
        ("purchase_order", "state", "done", "purchase", "changed", None),
        ("purchase_order", "state", "to approve", "cancel", "cancelled", None),
        ("purchase_order", "state", "cancel", "draft", "reset", None),
        ("bill", "state", "draft", "posted", "posted", None),
        ("bill", "state", "posted", "draft", "reset", None),
        ("bill", "state", "draft", "cancel", "cancelled", None),
        ("invoice", "payment_state", "not_paid", "paid", "paid", None),
        ("bill", "payment_state", "not_paid", "partial", "changed", None),
        ("bill", "amount_untaxed", "1", "2", "changed", None),
        ("expense_report", "state", "draft", "submit", "submitted", None),
        ("expense_report", "state", "submit", "approve", "approved", "approved"),
        ("expense_report", "state", "submit", "cancel", "rejected", "rejected"),
        ("expense_report", "state", "submit", "draft", "withdrawn", None),
        ("expense_report", "state", "approve", "draft", "reset", None),
        ("expense_report", "state", "approve", "post", "posted", None),
        ("expense_report", "state", "draft", "submitted", "submitted", None),
        ("expense_report", "state", "submitted", "approved", "approved", "approved"),
        ("expense_report", "state", "posted", "approved", "changed", None),
        ("expense_report", "state", "submitted", "refused", "rejected", "rejected"),
        ("expense_report", "state", "submitted", "draft", "withdrawn", None),
        ("expense_report", "state", "approved", "posted", "posted", None),
        ("expense_report", "state", "posted", "in_payment", "payment_requested", None),
        ("expense_report", "state", "in_payment", "paid", "paid", None),
        ("receipt", "state", "assigned", "done", "received", None),
        ("payment", "state", "draft", "in_process", "posted", None),
        ("payment", "state", "in_process", "rejected", "rejected", "rejected"),
        ("vendor", "name", "A", "B", "changed", None),
    ],
)
def test_meanings(entity: str, field: str, old: str, new: str, activity: str, decision: str | None) -> None:
    change = Tracked(1, "1", "m", 1, field, "l", old, new, False, decoded(value()).at, "9")
    found = meaning(entity, change)
    assert (found.activity, found.decision) == (activity, decision)
    assert found.decision is None or found.activity in ("approved", "rejected")


def test_the_captured_log_decodes_wholly(server: Captured) -> None:
    """Each row of a watched model is a change or a twin; states have known keys; each change a time and a person."""
    messages = {row["id"]: row for row in server.rows("mail.message")}
    fields = {row["id"]: tracking.tracked_field(row) for row in server.rows("ir.model.fields")}
    known = Labels()
    for model, meta in server.meta.items():
        for name, field in meta["fields"].items():
            if field["type"] == "selection":
                known.add(model, name, field.get("selection", []))
    changes: list[Tracked] = []
    twins = 0
    for row in server.rows("mail.tracking.value"):
        message_row = messages.get(row["mail_message_id"][0])
        if message_row is None or message_row["model"] not in BY_MODEL:
            continue
        children = frozenset(child.model for child in BY_MODEL[message_row["model"]].children)
        change = decode(row, message_row, fields[row["field_id"][0]], known, children)
        if change is None:
            twins += 1
        else:
            changes.append(change)
    assert changes and all(change.actor and not change.unknown_label for change in changes)
    of_banks = Counter(change.field for change in changes if change.model == "res.partner.bank")
    of_partners = Counter(change.field for change in changes if change.model == "res.partner")
    assert twins == sum(of_banks.values()) - of_banks["acc_holder_name"]  # that one has no twin
    assert not set(of_partners) & {"acc_number", "allow_out_payment"}
    numbers = {row["acc_number"] for row in server.rows("res.partner.bank")}
    assert not numbers & {text for change in changes for text in (change.old, change.new, change.label)}
