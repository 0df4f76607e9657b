"""The generated encoders write fastavro's bytes and refuse what does not fit."""

import datetime as dt
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.catalogue import Schema, SchemaError
from schemas.codec import EncodeError, Encoder, describe
from schemas.encode import compile_record
from tests.unit.schemas.strategies import REGISTRY, SCHEMAS, TREES, body, build, struct_of, values

STRUCTS = {name: struct_of(node) for name, node in TREES.items()}
ENCODERS = {name: compile_record(node, STRUCTS[name], b"") for name, node in TREES.items()}
LOOSE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


class Beat(msgspec.Struct):
    source: str
    at: Any
    timeline: str
    final: Any


def beat(**changed: Any) -> Beat:
    return msgspec.structs.replace(Beat("odoo", 0, "wall", False), **changed)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.full_name)
@given(data=st.data())
@settings(LOOSE, max_examples=25)
def test_bytes_are_fastavros(schema: Schema, data: st.DataObject) -> None:
    record = data.draw(values(TREES[schema.full_name]))
    struct = build(STRUCTS[schema.full_name], record)
    assert ENCODERS[schema.full_name](struct) == body(schema, record)


@given(record=values(TREES["finwatch.Transition"]), only=st.sets(st.sampled_from(["actor", "changes", "amount"])))
@settings(LOOSE, max_examples=30)
def test_columns_without_a_field_get_the_schemas_default(record: dict[str, Any], only: set[str]) -> None:
    node = TREES["finwatch.Transition"]
    names = [column.name for column in node.columns if not column.has_default or column.name in only]
    narrow = struct_of(node, names)
    kept = {name: record[name] for name in names}
    schema = next(schema for schema in SCHEMAS if schema.full_name == "finwatch.Transition")
    assert compile_record(node, narrow, b"")(build(narrow, kept)) == body(schema, kept)


@given(micros=st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_epoch_microseconds_and_datetimes_are_alike(micros: int) -> None:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    encoder = Encoder(REGISTRY)
    assert encoder.encode(beat(at=micros), "finwatch.Heartbeat") == encoder.encode(
        beat(at=moment), "finwatch.Heartbeat"
    )


def test_the_wire_format_is_confluents() -> None:
    value = Encoder(REGISTRY).encode(beat(), "finwatch.Heartbeat")
    schema = next(schema for schema in SCHEMAS if schema.full_name == "finwatch.Heartbeat")
    assert value[:1] == b"\x00"
    assert int.from_bytes(value[1:5], "big") == REGISTRY.schema_id(schema)
    assert describe(value, REGISTRY)["source"] == "odoo"
    assert Encoder(REGISTRY).encode_many([beat(), beat()], "finwatch.Heartbeat") == [value, value]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": None}, "source: null"),
        ({"source": 3}, "source: expected str, got int"),
        ({"source": b"odoo"}, "source: expected str, got bytes"),
        ({"source": "\ud800"}, "source: text that cannot be written"),
        ({"at": dt.datetime(2026, 1, 1)}, "at: a naive datetime"),  # noqa: DTZ001
        ({"at": 1.5}, "at: expected a datetime"),
        ({"at": True}, "at: expected a datetime"),
        ({"at": 2**60}, "at: a timestamp outside"),
        ({"final": 1}, "final: expected bool"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_column(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(EncodeError, match=f"^finwatch.Heartbeat.{message}"):
        Encoder(REGISTRY).encode(beat(**changed), "finwatch.Heartbeat")


class Amount(msgspec.Struct):
    k: Any


def amount(value: Any) -> bytes:
    node = TREES["finwatch.Odd"].columns[6].type
    holder = type(TREES["finwatch.Odd"])("record", name="Holder", columns=(
        type(TREES["finwatch.Odd"].columns[0])("k", node, False, None, ""),))  # fmt: skip
    return compile_record(holder, Amount, b"")(Amount(value))


@pytest.mark.parametrize("value", ["0.001", "10000000", "-10000000", "NaN", "Infinity", "1E+9"])
def test_a_decimal_that_does_not_fit_exactly_is_refused(value: str) -> None:
    with pytest.raises(EncodeError) as refused:
        amount(Decimal(value))
    assert value not in str(refused.value)


@pytest.mark.parametrize("value", [1.5, 1, "1.5", True])
def test_money_is_decimal(value: object) -> None:
    with pytest.raises(EncodeError, match="expected Decimal"):
        amount(value)


def test_decimals_do_not_depend_on_the_callers_context() -> None:
    with localcontext() as context:
        context.prec = 2
        assert amount(Decimal("1234567.89")) == amount(Decimal("1234567.8900")) == b"\x08\x07\x5b\xcd\x15"


class Extra(msgspec.Struct):
    source: str
    at: int
    timeline: str
    final: bool
    surprise: str = ""


class Narrow(msgspec.Struct):
    source: str


@pytest.mark.parametrize(
    ("struct", "message"), [(Extra, "no column surprise"), (Narrow, "Heartbeat.at has no default")]
)
def test_a_struct_that_does_not_fit_is_refused_before_the_first_record(
    struct: type[msgspec.Struct], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        Encoder(REGISTRY).encoder(struct, "finwatch.Heartbeat")


def test_an_unknown_record_is_named() -> None:
    with pytest.raises(SchemaError, match=r"finwatch\.Nothing"):
        Encoder(REGISTRY).encode(beat(), "finwatch.Nothing")
