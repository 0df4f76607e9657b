"""Contents by field name give the bytes that fastavro gives, and are refused as strictly as Structs are."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import current
from schemas.encode import EncodeError
from schemas.encode_contents import ContentsEncoder
from schemas.registry import EmbeddedRegistry, newest
from schemas.tree import Node, tree

MOMENTS = st.integers(0, 7 * 10**15).map(
    lambda micros: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(0, 0, micros)
)
AMOUNTS = st.integers(-(10**20), 10**20).map(lambda number: Decimal(number).scaleb(-6))
TEXTS = st.one_of(st.text(max_size=20), st.just("é" * 5000))


def _values(node: Node) -> st.SearchStrategy[Any]:
    plain: st.SearchStrategy[Any]
    if node.kind == "array":
        assert node.item is not None
        plain = st.lists(_values(node.item), max_size=3)
    elif node.kind == "record":
        plain = _records(node)
    else:
        plain = {
            "string": TEXTS,
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-(2**63), 2**63 - 1),
            "double": st.floats(allow_nan=False),
            "date": st.dates(),
            "timestamp": MOMENTS,
            "decimal": AMOUNTS,
            "bytes": st.binary(max_size=9),
        }[node.kind]
    return st.none() | plain if node.nullable else plain


def _records(node: Node) -> st.SearchStrategy[dict[str, Any]]:
    required = {column.name: _values(column.type) for column in node.columns if not column.has_default}
    optional = {column.name: _values(column.type) for column in node.columns if column.has_default}
    return st.fixed_dictionaries(required, optional=optional)


@pytest.mark.parametrize("full_name", ["finwatch.Bill", "finwatch.Transition", "finwatch.Heartbeat", "finwatch.Vendor"])
def test_the_bytes_are_fastavros(full_name: str) -> None:
    node, schema = tree(newest(full_name)), newest(full_name)
    parsed = fastavro.parse_schema(dict(schema.definition))
    encode = ContentsEncoder(EmbeddedRegistry())

    @settings(max_examples=60, deadline=None)
    @given(_records(node))
    def holds(contents: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, contents)
        assert encode(full_name, contents)[5:] == buffer.getvalue()
        assert encode(full_name, contents)[5:] == buffer.getvalue()  # the kept values too

    holds()


def heartbeat(**given: Any) -> dict[str, Any]:
    at = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    return {"source": "odoo", "at": at, "timeline": "wall", "final": False} | given


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (heartbeat(colour="red"), "no column colour"),
        (heartbeat(at=dt.datetime(2026, 11, 22)), "naive"),  # noqa: DTZ001
        (heartbeat(at=None), "null"),
        (heartbeat(final=1), "bool"),
        (heartbeat(source=7), "source"),
        ({"source": "odoo"}, "missing"),
        ([], "mapping"),
    ],
)
def test_what_does_not_fit_is_refused(contents: Any, reason: str) -> None:
    encode = ContentsEncoder(EmbeddedRegistry())
    encode("finwatch.Heartbeat", heartbeat(final=True))  # so that values are kept
    with pytest.raises(EncodeError, match=reason):
        encode("finwatch.Heartbeat", contents)


def test_an_amount_that_equals_a_kept_one_is_still_no_amount() -> None:
    encode = ContentsEncoder(EmbeddedRegistry())
    transition = {
        column.name: {"string": "x", "boolean": False, "array": []}.get(
            column.type.kind, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        )
        for column in tree(newest("finwatch.Transition")).columns
        if not column.has_default
    }
    encode("finwatch.Transition", transition | {"amount": Decimal(1)})
    for wrong in (1.0, True):
        with pytest.raises(EncodeError, match="amount"):
            encode("finwatch.Transition", transition | {"amount": wrong})


def test_every_committed_record_compiles() -> None:
    encode = ContentsEncoder(EmbeddedRegistry())
    for full_name in current():
        with pytest.raises(EncodeError):
            encode(full_name, {"no such column": 1})
