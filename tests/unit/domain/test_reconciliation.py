"""Two sides of documents: any difference is found, equal sides are silent, what is on its way is neither."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain import reconciliation
from finwatch.domain.reconciliation import (
    NOT_COMPARED,
    Comparison,
    Group,
    Item,
    Key,
    Reference,
    Scope,
    Waiting,
    canonical,
    findings,
    totals,
)
from finwatch.domain.records import Finding

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTHS = ("2026-09", "2026-10", "2026-11")


def item(number: int = 1, *, entity: str = "bill", company: str = "1", at: datetime = NOW, **content: Any) -> Item:
    """A bill of October, unless told otherwise."""
    own = {"accounting_date": "2026-10-05", "currency": "EUR", "amount_total": "10.000000", "state": "posted"}
    return Item(Reference(entity, number), company, own | content, at, f"event-{number}")


def side(*items: Item) -> dict[Reference, Item]:
    return {one.reference: one for one in items}


def compared(
    source: Mapping[Reference, Item], store: Mapping[Reference, Item], before: datetime | None = None
) -> dict[Key, Group]:
    comparison = Comparison("account.move", before)
    comparison.add(source, store)
    return comparison.groups


lines = st.fixed_dictionaries({"line_id": st.sampled_from("123"), "label": st.sampled_from("ab")})
contents = st.fixed_dictionaries(
    {
        "accounting_date": st.sampled_from([f"{month}-01" for month in MONTHS] + [None]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "amount_total": st.decimals(-1000, 1000, places=2).map(canonical),
        "state": st.sampled_from(["draft", "posted"]),
        "lines": st.lists(
            st.fixed_dictionaries({"line_id": st.sampled_from("123"), "label": st.sampled_from("ab")}), max_size=2
        ),
    }
)
items = st.builds(
    Item,
    st.builds(Reference, st.sampled_from(["bill", "invoice"]), st.integers(1, 6)),
    st.sampled_from(["1", "2"]),
    contents,
    st.just(NOW),
)
sides = st.lists(items, max_size=5, unique_by=lambda one: one.reference).map(lambda many: side(*many))


@given(sides)
def test_equal_sides_are_silent(documents: dict[Reference, Item]) -> None:
    groups = compared(documents, dict(documents))
    assert sum(totals(groups.values()).values()) == 0
    assert all(group.equal and not group.differences for group in groups.values())
    assert sum(group.source.count for group in groups.values()) == len(documents)
    assert findings("odoo", groups, {}, Scope({"account.move"}, {"bill", "invoice"}), 1) == []


@given(sides, sides)
def test_a_group_is_listed_exactly_when_its_sides_do_not_add_up(
    source: dict[Reference, Item], store: dict[Reference, Item]
) -> None:
    comparison = Comparison("account.move", None)
    suspects = comparison.suspects(source, store)
    comparison.add(source, store)
    for group in comparison.groups.values():
        assert group.equal == (group.drift == 0)
        assert group.drift == len(group.differences)
    # And by document: what is not listed is the same on both sides, company and period included.
    listed = {one.reference for group in comparison.groups.values() for one in group.differences}
    differing = {one for one in source.keys() | store.keys() if source.get(one) != store.get(one)}
    assert listed == differing == set(suspects)


@given(sides, sides, st.randoms(use_true_random=False))
def test_parts_in_any_order_add_up_to_the_whole(
    source: dict[Reference, Item], store: dict[Reference, Item], random: Any
) -> None:
    numbers = sorted({one.record_id for one in source.keys() | store.keys()})
    random.shuffle(numbers)
    comparison = Comparison("account.move", None)
    for number in numbers:
        comparison.add(
            {key: one for key, one in source.items() if key.record_id == number},
            {key: one for key, one in store.items() if key.record_id == number},
        )
    whole = compared(source, store)
    assert {key: (one.source, one.store, one.counts) for key, one in comparison.groups.items()} == {
        key: (one.source, one.store, one.counts) for key, one in whole.items()
    }


@given(sides, st.data())
def test_any_single_change_is_found_in_its_own_group(documents: dict[Reference, Item], data: st.DataObject) -> None:
    if not documents:
        return
    reference = data.draw(st.sampled_from(sorted(documents)))
    changed = data.draw(items.filter(lambda one: (one.company, one.content) != _plain(documents[reference])))
    store = dict(documents) | {reference: Item(reference, changed.company, changed.content, NOW)}
    groups = compared(documents, store)
    listed = [one for group in groups.values() for one in group.differences]
    assert {(one.reference, one.kind) for one in listed} == {(reference, "changed")}
    assert listed[0].fields


def _plain(one: Item) -> tuple[str, Mapping[str, Any]]:
    return one.company, one.content


def test_missing_gone_and_changed_are_told_apart_with_their_columns() -> None:
    source = side(item(1), item(2, state="draft"), item(3, company="2"))
    store = side(item(2), item(3), item(4))
    [groups] = [compared(source, store)]
    october = groups[Key("account.move", "bill", "1", "2026-10")]
    assert [(one.reference.record_id, one.kind, one.fields) for one in october.differences] == [
        (1, "missing", ()),
        (2, "changed", ("state",)),
        (3, "changed", ("company_id",)),
        (4, "gone", ()),
    ]
    # A document that changed its company stands in both groups.
    assert [one.reference.record_id for one in groups[Key("account.move", "bill", "2", "2026-10")].differences] == [3]


def test_sums_are_by_currency_and_exact() -> None:
    many = [item(number, amount_total="0.100000", currency="EUR" if number % 2 else "JPY") for number in range(1, 31)]
    [group] = compared(side(*many), {}).values()
    assert group.source.sums == {"EUR": Decimal("1.5"), "JPY": Decimal("1.5")}
    assert (group.source.count, group.store.count, group.counts) == (30, 0, {"missing": 30})


def test_two_changes_do_not_cancel_out_in_count_and_sum_yet_the_hash_tells() -> None:
    source = side(item(1, amount_total="10.000000"), item(2, amount_total="20.000000"))
    store = side(item(1, amount_total="20.000000"), item(2, amount_total="10.000000"))
    [group] = compared(source, store).values()
    assert (group.source.count, group.source.sums) == (group.store.count, group.store.sums)
    assert group.source.hash != group.store.hash and group.drift == 2


@pytest.mark.parametrize("name", sorted(NOT_COMPARED))
def test_what_a_source_changes_without_the_document_is_no_drift(name: str) -> None:
    [group] = compared(side(item(1, **{name: "a"})), side(item(1, **{name: "b"}))).values()
    assert group.equal and not group.drift


def test_a_column_that_the_store_did_not_know_yet_is_no_drift_and_an_empty_one_is_none() -> None:
    [group] = compared(side(item(1, checked=True, origin=None)), side(item(1, origin=""))).values()
    assert group.equal and not group.drift


def test_what_was_written_lately_is_in_flight_on_whichever_side_it_shows() -> None:
    old, late = NOW - timedelta(minutes=10), NOW - timedelta(seconds=10)
    source = side(item(1, at=late), item(2, at=old), item(3, at=late), item(5, at=old))
    store = side(item(2, at=late, state="draft"), item(3, at=old), item(4, at=late), item(5, at=old))
    [group] = compared(source, store, NOW - timedelta(minutes=3)).values()
    assert (group.in_flight, group.drift, group.source.count, group.store.count) == (4, 0, 1, 1)


def test_where_no_stamp_tells_of_changes_only_missing_and_gone_are_differences() -> None:
    comparison = Comparison("ir.cron", None, contents=False)
    source, store = side(item(1), item(2, state="draft"), item(3)), side(item(2), item(3), item(4))
    assert [one.record_id for one in comparison.suspects(source, store)] == [1, 4]
    comparison.add(source, store)
    [group] = comparison.groups.values()
    assert (group.in_flight, group.counts, group.source.count) == (1, {"missing": 1, "gone": 1}, 2)


def test_a_deletion_is_awaited_for_its_time_and_then_a_difference() -> None:
    waiting = Waiting(60)

    def run(now: float, store: dict[Reference, Item]) -> Group:
        comparison = Comparison("account.move", None, waiting.of("account.move", now))
        comparison.add({}, store)
        waiting.round_over()
        return next(iter(comparison.groups.values()), Group())

    assert (run(0, side(item(1))).in_flight, run(59, side(item(1))).in_flight) == (1, 1)
    assert run(61, side(item(1))).counts == {"gone": 1}
    # Back in between: the waiting begins anew.
    assert run(62, {}).in_flight == 0
    assert run(63, side(item(1))).in_flight == 1


def test_values_are_written_the_same_on_both_sides() -> None:
    paris = timezone(timedelta(hours=2))
    assert canonical(Decimal("1E+2")) == "100.000000"
    assert canonical(Decimal("-0.00")) == "0.000000"
    assert canonical(datetime(2026, 10, 5, 14, tzinfo=paris)) == "2026-10-05T12:00:00+00:00"
    assert canonical({"at": date(2026, 10, 5), "unit": "Units", "n": [Decimal("0.1")]}) == {
        "at": "2026-10-05",
        "n": ["0.100000"],
    }
    with pytest.raises(ValueError, match="naive"):
        canonical(datetime(2026, 10, 5))  # noqa: DTZ001


def test_what_a_line_leaves_open_counts_as_not_being_there() -> None:
    """The source tells a column of some lines only; the store has it of all of them."""
    assert canonical([{"line_id": "4", "to_refund": None}]) == canonical([{"line_id": "4"}])
    assert canonical([{"line_id": "4", "to_refund": False}]) != canonical([{"line_id": "4"}])


# -- findings


def life(*rounds: tuple[dict[Reference, Item], dict[Reference, Item]]) -> list[Finding]:
    """All versions published over rounds of comparison."""
    made: list[Finding] = []
    for number, (source, store) in enumerate(rounds, 1):
        known = {one.finding_id: one for one in made}
        made += findings("odoo", compared(source, store), known, Scope({"account.move"}, {"bill"}), number)
    return made


def test_a_finding_opens_once_is_updated_retracted_and_opens_again_under_one_id() -> None:
    both = side(item(1), item(2))
    made = life(
        (both, side(item(1))),
        (both, side(item(1))),  # the same drift: nothing new
        (both, {}),
        (both, both),
        (both, both),
        (both, side(item(2))),
    )
    assert [(one.version, one.status, one.opened_at, one.updated_at) for one in made] == [
        (1, "open", 1, 1),
        (2, "updated", 1, 3),
        (3, "retracted", 1, 4),
        (4, "open", 6, 6),
    ]
    assert len({one.finding_id for one in made}) == 1
    assert made[0].document_keys == ["odoo:bill:2"] and made[1].document_keys == ["odoo:bill:1", "odoo:bill:2"]
    assert (made[0].amount_at_risk, made[0].currency, made[0].level) == (Decimal(10), "EUR", "2026-10")


def test_findings_name_columns_and_never_values() -> None:
    source, store = side(item(1, reference="SECRET-1")), side(item(1, reference="SECRET-2"))
    [made] = life((source, store))
    text = " ".join([made.title, made.next_action, *made.reasons])
    assert "reference" in text and "SECRET" not in text
    assert made.evidence == ["event-1"]


def test_what_a_run_did_not_look_at_is_not_retracted() -> None:
    both = side(item(1))
    [opened] = life((both, {}))
    known = {opened.finding_id: opened}
    agreed = compared(both, both)
    for scope in (
        Scope({"account.move"}, {"payment"}),
        Scope({"account.move"}, {"bill"}, company="2"),
        Scope({"account.move"}, {"bill"}, period="2026-11"),
    ):
        assert findings("odoo", agreed, known, scope, 2) == []
    # Gone from both sides altogether: the group is not even there, and the drift is gone all the same.
    assert [
        one.status for one in findings("odoo", {}, known, Scope({"account.move"}, {"bill"}, "1", "2026-10"), 2)
    ] == ["retracted"]


def test_a_whole_table_missing_is_counted_in_full_and_listed_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "KEEP", 3)
    [group] = compared(side(*(item(number) for number in range(1, 11))), {}).values()
    assert group.drift == 10 and len(group.differences) == 3
    assert group.equal is False


# -- records of models that a configuration adds


def loan(number: int, model: str = "x_loan", **content: Any) -> Item:
    """A custom record of October."""
    own = {"date": "2026-10-05", "currency": "EUR", "amount": "10.000000", "model": model}
    return Item(Reference("custom_record", number, model), "1", own | content, NOW, f"event-{model}-{number}")


def loans(model: str, source: dict[Reference, Item], store: dict[Reference, Item]) -> dict[Key, Group]:
    comparison = Comparison(model, None)
    comparison.add(source, store)
    return comparison.groups


def test_custom_records_are_counted_summed_and_named_by_their_model() -> None:
    groups = loans("x_loan", side(loan(3), loan(4)), side(loan(3, amount="9.000000")))
    assert set(groups) == {Key("x_loan", "custom_record", "1", "2026-10")}
    [group] = groups.values()
    assert group.source.sums == {"EUR": Decimal(20)} and group.store.sums == {"EUR": Decimal(9)}
    scope = Scope({"x_loan"}, {"custom_record"})
    [made] = findings("odoo", groups, {}, scope, 1)
    assert made.document_keys == ["odoo:custom_record:x_loan/3", "odoo:custom_record:x_loan/4"]
    assert "x_loan" in made.title and "--model x_loan" in made.next_action


def test_a_run_over_one_custom_model_takes_back_nothing_of_another() -> None:
    drifting = loans("x_loan", side(loan(3)), {}) | loans("x_asset", side(loan(3, "x_asset")), {})
    both = Scope({"x_loan", "x_asset"}, {"custom_record"})
    known = {one.finding_id: one for one in findings("odoo", drifting, {}, both, 1)}
    assert len(known) == 2
    equal = loans("x_loan", side(loan(3)), side(loan(3)))
    [taken_back] = findings("odoo", equal, known, Scope({"x_loan"}, {"custom_record"}), 2)
    assert taken_back.status == "retracted" and taken_back.document_keys == ["odoo:custom_record:x_loan/3"]


def test_custom_fields_are_columns_without_the_names_of_other_records() -> None:
    told = [
        {"name": "cost_center", "value": "7"},
        {"name": "cost_center.name", "value": "North"},
        {"name": "lines[4].due", "value": "2027-01-31"},
        {"name": "retention.currency", "value": "EUR"},
    ]
    own = {"custom.cost_center": "7", "custom.retention.currency": "EUR"}
    assert reconciliation.custom_content(told, whole=False) == own
    of_lines = {"custom.lines[]": [{"name": "lines[4].due", "value": "2027-01-31"}]}
    assert reconciliation.custom_content(told, whole=True) == own | of_lines
    assert reconciliation.custom_content(None, whole=True) == {"custom.lines[]": []}
    assert canonical([{"line_id": "4", "custom": told[:2]}]) == [{"line_id": "4", "custom": told[:1]}]
