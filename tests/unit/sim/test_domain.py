"""Search domains: the table of observed answers, and every combination against SQL's own three-valued logic."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.sim.domain import search
from finwatch.sim.errors import OdooError
from finwatch.sim.store import Database


def _database() -> Database:
    return Database("sim", "18.0", clock=lambda: datetime(2026, 11, 22, tzinfo=UTC))


@cache
def stored_at_52_140490() -> Database:
    db = _database()
    db.tables["account.move"].put({"id": 183, "write_date": "2026-11-22 03:19:52.140490"})
    return db


@pytest.mark.parametrize(
    ("operator", "literal", "matches"),
    [
        (">", "2026-11-22 03:19:52", True),
        (">=", "2026-11-22 03:19:52", True),
        ("=", "2026-11-22 03:19:52", False),
        (">", "2026-11-22 03:19:52.140490", False),
        (">=", "2026-11-22 03:19:52.140490", True),
        ("=", "2026-11-22 03:19:52.140490", True),
        (">=", "2026-11-22T03:19:52", True),
        (">=", "2026-11-22 03:19:52Z", True),
        (">=", "2026-11-22 04:19:52+01:00", False),  # accepted, the offset ignored: compared as 04:19:52
        (">", "2026-11-22", False),  # end of that day
        (">=", "2026-11-22", True),  # start of that day
        ("<=", "2026-11-22", True),
        ("<", "2026-11-22", False),
    ],
)
def test_datetimes_compare_with_hidden_microseconds(operator: str, literal: str, matches: bool) -> None:
    found = search(stored_at_52_140490(), "account.move", [("write_date", operator, literal)])
    assert found == ([183] if matches else [])


@pytest.mark.parametrize(
    ("domain", "name", "text"),
    [
        ([("write_date", ">", "garbage")], "psycopg2.errors.InvalidDatetimeFormat", "invalid input syntax"),
        ([("write_date", ">", "2026-02-30 00:00:00")], "psycopg2.errors.InvalidDatetimeFormat", "invalid input syntax"),
        ([("nothing", "=", 1)], "builtins.ValueError", "Invalid field account.move.nothing in leaf"),
        ([("name.x", "=", 1)], "builtins.ValueError", "Invalid field"),
        ([("name", "almost", "x")], "builtins.ValueError", "Invalid operator"),
        (["|", ("name", "=", "x")], "builtins.ValueError", "operand is missing"),
        ([("name", "=")], "builtins.ValueError", "Invalid leaf"),
        ([("sequence_number", ">", "many")], "psycopg2.errors.InvalidTextRepresentation", "invalid input syntax"),
    ],
)
def test_nonsense_is_refused_as_odoo_refuses_it(domain: list[Any], name: str, text: str) -> None:
    with pytest.raises(OdooError, match=text) as caught:
        search(stored_at_52_140490(), "account.move", domain)
    assert caught.value.name == name


def test_a_field_that_cannot_be_searched_matches_every_row() -> None:
    db = stored_at_52_140490()
    field = "reconciled_bill_ids"
    db.tables["account.payment"].put({"id": 1})
    assert search(db, "account.payment", [(field, "!=", False)]) == [1]


def test_paths_over_one2many_and_generic_references() -> None:
    db = _database()
    db.tables["purchase.order"].put({"id": 1})
    db.tables["purchase.order"].put({"id": 2})
    db.tables["purchase.order.line"].put({"id": 1, "order_id": 1, "qty_received": 3.0})
    db.tables["mail.message"].put({"id": 5, "model": "purchase.order", "res_id": 2})
    db.tables["mail.tracking.value"].put({"id": 9, "mail_message_id": 5})
    assert search(db, "purchase.order", [("order_line.qty_received", ">", 0)]) == [1]
    assert search(db, "purchase.order", [("order_line", "=", False)]) == [2]
    assert search(db, "mail.tracking.value", [("mail_message_id.model", "=", "purchase.order")]) == [9]
    assert search(db, "purchase.order", [("message_ids", "!=", False)]) == [2]


def test_indexes_give_what_a_scan_gives() -> None:
    db = _database()
    for number in range(1, 9):
        line = {"id": number, "order_id": number % 3 or None, "write_date": f"2026-11-22 03:00:0{number}.000001"}
        db.tables["purchase.order.line"].put(line)
    for domain in (
        [("order_id", "in", [1, 7])],
        [("order_id", "=", 2), ("id", ">", 2)],
        [("order_id", "in", [])],
        [("order_id", "in", [1, False])],
        [("order_id", "=", False)],
        [("write_date", ">", "2026-11-22 03:00:08.000001")],
        [("write_date", ">=", "2026-11-22 03:00:08.000001")],
        [("create_date", ">", "2026-11-22")],
    ):
        scanned = search(
            db, "purchase.order.line", ["|", (0, "=", 1), "&", (1, "=", 1), *["&"] * (len(domain) - 1), *domain]
        )
        assert search(db, "purchase.order.line", domain, order="id") == sorted(scanned), domain
    db.tables["purchase.order.line"].drop(4)
    assert search(db, "purchase.order.line", [("order_id", "in", [1])]) == [1, 7]


def test_archived_records_hide_unless_asked_for() -> None:
    db = _database()
    db.tables["res.partner.bank"].put({"id": 1, "active": True, "sequence": 1})
    db.tables["res.partner.bank"].put({"id": 2, "active": False, "sequence": 1})
    assert search(db, "res.partner.bank", []) == [1]
    assert search(db, "res.partner.bank", [("active", "=", False)]) == [2]
    assert search(db, "res.partner.bank", ["|", ("active", "=", True), ("active", "=", False)]) == [1, 2]
    assert search(db, "res.partner.bank", [], active_test=False) == [1, 2]


def test_order_by_write_date_uses_the_hidden_microseconds() -> None:
    """Within one second ids are not monotone: a cursor (second, id) would skip rows."""
    db = _database()
    db.tables["account.move"].put({"id": 70, "write_date": "2026-11-22 03:18:40.027361"})
    db.tables["account.move"].put({"id": 35, "write_date": "2026-11-22 03:18:40.986026"})
    assert search(db, "account.move", [], order="write_date,id") == [70, 35]
    assert search(db, "account.move", [], order="write_date desc, id") == [35, 70]
    assert search(db, "account.move", [], order="id", limit=1, offset=1) == [70]
    assert search(db, "account.move", [], order="id desc") == [70, 35]
    assert search(db, "account.move", [("id", ">", 35)], order="id desc", limit=1) == [70]
    assert search(db, "account.move", [], order="id DESC", limit=1, offset=1) == [35]
    for order in ("nothing", "id; drop table"):
        with pytest.raises(OdooError):
            search(db, "account.move", [], order=order)


# Property: the same rows in SQLite, the domain as SQL by Odoo's rules, SQLite's three-valued logic as judge.

_TEXTS = ["", "a", "A", "ab", "b%", "a_b", "x y"]
_STAMPS = [
    "2026-11-22 03:19:52.140490",
    "2026-11-22 03:19:52.000000",
    "2026-11-22 23:59:59.500000",
    "2026-11-23 00:00:00.000000",
]
_LITERALS = ["2026-11-22 03:19:52", "2026-11-22 03:19:52.140490", "2026-11-22", "2026-11-23", "2026-11-23 00:00:00"]
_DAYS = ["2026-11-21", "2026-11-22", "2026-11-23"]
_TEXT_FIELDS = ("name", "ref", "partner_id.vat")


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "name": draw(st.sampled_from([None, *_TEXTS])),
            "ref": draw(st.sampled_from([None, *_TEXTS])),
            "amount_total": draw(st.sampled_from([0.0, 1.5, 2.0])),
            "sequence_number": draw(st.integers(0, 3)),
            "invoice_date": draw(st.sampled_from([None, *_DAYS])),
            "write_date": draw(st.sampled_from([None, *_STAMPS])),
            "partner_id": draw(st.sampled_from([None, 1, 2, 3])),
            "posted_before": draw(st.booleans()),
        }
        for number in range(1, draw(st.integers(1, 6)) + 1)
    ]


def _leaf() -> st.SearchStrategy[tuple[Any, ...]]:
    texts = st.sampled_from(_TEXTS)
    text = st.sampled_from(_TEXT_FIELDS)
    some = st.lists(st.sampled_from([*_TEXTS, False]), max_size=3)
    compare = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        st.tuples(text, compare, texts),
        st.tuples(text, st.sampled_from(["=", "!="]), st.just(False)),
        st.tuples(text, st.sampled_from(["in", "not in"]), some),
        st.tuples(text, st.sampled_from(["like", "not like", "ilike", "not ilike", "=like", "=ilike"]), texts),
        st.tuples(st.just("amount_total"), compare, st.sampled_from([0, 1.5, 2])),
        st.tuples(
            st.just("sequence_number"), st.sampled_from(["in", "not in"]), st.lists(st.integers(0, 3), max_size=3)
        ),
        st.tuples(st.sampled_from(["id", "sequence_number"]), compare, st.integers(0, 5)),
        st.tuples(st.just("id"), st.just("in"), st.lists(st.integers(0, 7), max_size=4)),
        st.tuples(st.just("write_date"), compare, st.sampled_from(_LITERALS)),
        st.tuples(st.just("invoice_date"), compare, st.sampled_from(_DAYS)),
        st.tuples(st.sampled_from(["write_date", "invoice_date"]), st.sampled_from(["=", "!="]), st.just(False)),
        st.tuples(st.just("partner_id"), st.sampled_from(["=", "!="]), st.sampled_from([1, 2, False])),
        st.tuples(
            st.just("partner_id"),
            st.sampled_from(["in", "not in"]),
            st.lists(st.sampled_from([1, 2, False]), max_size=3),
        ),
        st.tuples(st.just("posted_before"), st.sampled_from(["=", "!="]), st.booleans()),
        st.sampled_from([(1, "=", 1), (0, "=", 1)]),
    )


def _domain() -> st.SearchStrategy[list[Any]]:
    """Prefix notation, with the implicit & between neighbours as callers write it."""
    tree = st.recursive(
        _leaf().map(lambda leaf: [leaf]),
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["&", "|"]), inner, inner).map(lambda t: [t[0], *t[1], *t[2]]),
            inner.map(lambda t: ["!", *t]),
        ),
        max_leaves=6,
    )
    return st.lists(tree, max_size=3).map(lambda parts: [term for part in parts for term in part])


_NEGATED = {
    "=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in",
    "like": "not like", "not like": "like", "ilike": "not ilike", "not ilike": "ilike",
}  # fmt: skip


def _sql(domain: list[Any]) -> tuple[str, list[Any]]:
    terms = list(domain)
    parameters: list[Any] = []

    def expression(negate: bool) -> str:
        term = terms.pop(0)
        if term == "!":
            return expression(not negate)
        if term in ("&", "|"):
            joint = "AND" if (term == "&") is not negate else "OR"
            left = expression(negate)
            return f"({left} {joint} {expression(negate)})"
        name, operator, value = term
        if name in (0, 1):
            return "1" if (name == 1) is not negate else "0"
        if negate and operator not in _NEGATED:
            return f"(NOT {leaf(name, operator, value)})"
        return leaf(name, _NEGATED[operator] if negate else operator, value)

    def leaf(name: str, operator: str, value: Any) -> str:
        if "." in name:
            return f"(partner_id IN (SELECT id FROM partner WHERE {leaf(name.split('.')[1], operator, value)}))"
        if name == "posted_before":
            return f"({name} = {int(bool(value) is (operator == '='))})"
        if operator in ("in", "not in"):
            values = [v for v in value if v is not False]
            null = len(values) != len(value)
            if not value:
                return "0" if operator == "in" else "1"
            parameters.extend(values)
            listed = f"{name} {operator.upper()} ({','.join('?' * len(values))})"
            if operator == "in":
                return f"({listed} OR {name} IS NULL)" if null else f"({listed})"
            return f"({listed} AND {name} IS NOT NULL)" if null else f"({listed} OR {name} IS NULL)"
        if value is False:
            return f"({name} IS {'NOT ' if operator == '!=' else ''}NULL)"
        if "like" in operator:
            wild = not operator.startswith("=")
            text = f"%{value}%" if wild else value
            parameters.append(text.lower() if "ilike" in operator else text)
            column = f"LOWER({name})" if "ilike" in operator else name
            negative = operator.startswith("not")
            pattern = f"{column} {'NOT ' if negative else ''}LIKE ? ESCAPE '\\'"
            return f"({pattern} OR {name} IS NULL)" if (wild and not value) or negative else f"({pattern})"
        if name == "write_date":
            if len(value) == 10:
                value += " 23:59:59.999999" if operator in (">", "<=") else " 00:00:00"
            value = value if "." in value else value + ".000000"
        parameters.append(value)
        plain = f"{name} {operator} ?"
        return f"({plain} OR {name} IS NULL)" if operator == "!=" and value else f"({plain})"

    parts = []
    while terms:
        parts.append(expression(False))
    return " AND ".join(parts) or "1", parameters


@settings(max_examples=250, deadline=None)
@given(_rows(), _domain())
def test_domains_mean_what_sql_makes_of_them(rows: list[dict[str, Any]], domain: list[Any]) -> None:
    partners = [(1, "a"), (2, None), (3, "ab")]
    db = _database()
    for record_id, vat in partners:
        db.tables["res.partner"].put({"id": record_id, "vat": vat, "active": record_id != 3})
    for row in rows:
        db.tables["account.move"].put(row)
    with sqlite3.connect(":memory:") as sql:
        sql.execute("PRAGMA case_sensitive_like = ON")
        sql.execute("CREATE TABLE partner (id INTEGER, vat TEXT)")
        sql.executemany("INSERT INTO partner VALUES (?, ?)", partners)
        columns = list(rows[0])
        sql.execute(f"CREATE TABLE move ({', '.join(columns)})")
        sql.executemany(f"INSERT INTO move VALUES ({','.join('?' * len(columns))})", [list(r.values()) for r in rows])
        where, parameters = _sql(domain)
        expected = [r[0] for r in sql.execute(f"SELECT id FROM move WHERE {where} ORDER BY id", parameters)]
    sql.close()
    assert search(db, "account.move", domain, order="id") == expected


def test_messages_of_records_are_found_by_their_index_and_no_others() -> None:
    db = _database()
    for message, (model, record) in enumerate([("a.b", 1), ("account.move", 1), ("account.move", 2), (None, 1)], 1):
        db.tables["mail.message"].put({"id": message, "model": model, "res_id": record})
    wanted = [("model", "=", "account.move"), ("res_id", "in", [1, 3])]
    assert search(db, "mail.message", wanted, order="id") == [2]
    assert search(db, "mail.message", wanted[::-1], order="id") == [2]
    assert search(db, "mail.message", ["|", *wanted], order="id") == [1, 2, 3, 4]
    assert search(db, "mail.message", [*wanted, ("id", ">", 2)], order="id") == []
