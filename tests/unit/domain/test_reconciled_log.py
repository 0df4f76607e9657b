"""The log of changes: counted by month, what is young apart, what the store lacks by record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain.reconciled_log import RULE, LogComparison, Logged, LogGroup, LogKey, Stored, log_findings
from finwatch.domain.reconciliation import Comparison, Item, Reference, Scope, findings
from finwatch.domain.records import Finding

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
changes = st.lists(
    st.builds(
        Logged,
        st.integers(1, 5),
        st.integers(1, 9).map(lambda number: f"message:{number}"),
        st.sampled_from(["state", "name"]),
        st.integers(-90 * 24, 2).map(lambda hours: NOW + timedelta(hours=hours)),
    ),
    unique_by=lambda one: one.name,
    max_size=30,
)
# The store has no document 5.
HELD = {
    1: Stored("bill", "1", "event-1"),
    2: Stored("bill", "2", "event-2"),
    3: Stored("invoice", "1", "event-3"),
    4: Stored("entry", "", "event-4"),
}


@given(changes, st.sets(st.integers(0, 29)))
def test_every_change_of_a_stored_document_is_counted_once(logged: list[Logged], lost: set[int]) -> None:
    told = {one.name for number, one in enumerate(logged) if number not in lost}
    comparison = LogComparison("account.move", NOW)
    comparison.add(logged, HELD, told)
    counted = [one for one in logged if one.record_id in HELD]
    groups = comparison.groups.values()
    assert sum(group.source + group.in_flight for group in groups) == len(counted)
    assert all(group.source == group.store + group.missing for group in groups)
    missing = [one for one in counted if one.at < NOW and one.name not in told]
    assert sum(group.missing for group in groups) == len(missing)
    assert {one for group in groups for one in group.records} == {one.record_id for one in missing}


def test_by_model_entity_company_and_month() -> None:
    logged = [
        Logged(1, "message:1", "state", datetime(2026, 10, 31, 23, 59, tzinfo=UTC)),
        Logged(1, "message:2", "state", datetime(2026, 11, 1, tzinfo=UTC)),
        Logged(3, "message:3", "state", datetime(2026, 11, 2, tzinfo=UTC)),
        Logged(5, "message:4", "state", datetime(2026, 11, 2, tzinfo=UTC)),
    ]
    whole = LogComparison("account.move", NOW)
    whole.add(logged, HELD, {logged[0].name})
    assert {key: (one.source, one.store, one.missing) for key, one in whole.groups.items()} == {
        LogKey("account.move", "bill", "1", "2026-10"): (1, 1, 0),
        LogKey("account.move", "bill", "1", "2026-11"): (1, 0, 1),
        LogKey("account.move", "invoice", "1", "2026-11"): (1, 0, 1),
    }
    month = LogComparison("account.move", NOW, "2026-10")
    month.add(logged, HELD, set())
    assert set(month.groups) == {LogKey("account.move", "bill", "1", "2026-10")}


OCTOBER = datetime(2026, 10, 31, tzinfo=UTC)
LOGGED = [Logged(1, "message:41", "state", OCTOBER), Logged(1, "message:42", "amount_total", OCTOBER)]
SCOPE = Scope({"account.move"}, {"bill"})


def lacking(logged: list[Logged], told: int, model: str = "account.move") -> dict[LogKey, LogGroup]:
    """A comparison whose store has the first `told` changes."""
    comparison = LogComparison(model, NOW)
    held = {1: Stored("custom_record", "1", "event-1")} if model != "account.move" else HELD
    comparison.add(logged, held, {one.name for one in logged[:told]})
    return comparison.groups


def test_what_the_store_lacks_is_a_finding_until_it_has_it() -> None:
    known: dict[str, Finding] = {}
    said: list[Finding] = []
    for at, told in enumerate((2, 1, 1, 0, 2, 2, 1), 1):
        new = log_findings("odoo", lacking(LOGGED, told), known, SCOPE, at)
        known |= {one.finding_id: one for one in new}
        said += new
    assert [(one.version, one.status, one.opened_at, one.updated_at) for one in said] == [
        (1, "open", 2, 2),
        (2, "updated", 2, 4),
        (3, "retracted", 2, 5),
        (4, "open", 7, 7),
    ]
    assert len(known) == 1
    first = said[0]
    assert (first.detector, first.rule, first.entity, first.company_id) == ("reconciliation", RULE, "bill", "1")
    assert (first.document_keys, first.evidence, first.level) == (["odoo:bill:1"], ["event-1"], "2026-10")
    assert first.owner and "finwatch reconcile --log --model bill" in first.next_action
    text = " ".join(first.reasons)
    assert "1 change of 1 document is" in text and "amount_total" in text and "42" in text and "41" not in text
    assert "2 changes of 1 document are" in said[1].reasons[0]


def test_a_document_that_differs_and_a_change_that_is_missing_are_findings_of_their_own() -> None:
    comparison = Comparison("account.move", None)
    bill = Item(Reference("bill", 1), "1", {"accounting_date": "2026-10-05"}, OCTOBER)
    comparison.add({bill.reference: bill}, {})
    differs = findings("odoo", comparison.groups, {}, SCOPE, 1)
    untold = log_findings("odoo", lacking(LOGGED, 0), {}, SCOPE, 1)
    known = {one.finding_id: one for one in differs + untold}
    assert len(known) == 2
    # Each takes back its own: a run that did not compare the log says nothing of it.
    assert [one.rule for one in findings("odoo", {}, known, SCOPE, 2)] == [differs[0].rule]
    assert [one.rule for one in log_findings("odoo", {}, known, SCOPE, 2)] == [RULE]


def test_a_custom_models_log_is_named_and_taken_back_by_its_model() -> None:
    [loan] = log_findings("odoo", lacking(LOGGED, 1, "x_loan"), {}, Scope({"x_loan"}, {"custom_record"}), 1)
    assert loan.document_keys == ["odoo:custom_record:x_loan/1"] and "--model x_loan" in loan.next_action
    known = {loan.finding_id: loan}
    assert log_findings("odoo", {}, known, Scope({"x_asset"}, {"custom_record"}), 2) == []
    assert [one.status for one in log_findings("odoo", {}, known, Scope({"x_loan"}, {"custom_record"}), 2)] == [
        "retracted"
    ]
