"""Decoding in batches gives what fastavro gives record by record, whatever stands beside a record."""

import datetime as dt
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas import decode as module
from schemas.catalogue import Schema, parse
from schemas.codec import Bad, DecodeError, Decoder, ProjectionError, Skipped, describe
from schemas.encode import compile_record
from schemas.registry import EmbeddedRegistry, RegistryUnavailable
from schemas.varint import zigzag
from tests.unit.schemas.strategies import (
    ODD,
    RARE,
    REGISTRY,
    SCHEMAS,
    TREES,
    body,
    build,
    header,
    struct_of,
    values,
)  # fmt: skip

LOOSE = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
STRUCTS = {name: struct_of(node) for name, node in TREES.items()}
BY_NAME = {schema.full_name: schema for schema in SCHEMAS}
MIXED = ["finwatch.Heartbeat", "finwatch.Transition", "finwatch.Kpi", "finwatch.Odd", "finwatch.Rare"]


@pytest.fixture(autouse=True)
def _no_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two already go through polars here."""
    monkeypatch.setattr(module, "SMALL_GROUP", 2)


def stock(schema: Schema, value: bytes) -> Any:
    """What fastavro says of one body, by itself: the record as a Struct, or Bad."""
    stream = io.BytesIO(value)
    try:
        record = fastavro.schemaless_reader(stream, fastavro.parse_schema(dict(schema.definition)), None)
        if stream.tell() != len(value):
            return Bad
        return build(STRUCTS[schema.full_name], record)
    except Exception:
        return Bad


def same(found: Any, expected: Any) -> bool:
    if expected is Bad:
        return isinstance(found, Bad) and found.reason == "malformed_avro"
    return type(found) is type(expected) and repr(found) == repr(expected)  # repr: damage may make a float NaN


@st.composite
def mixtures(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Bodies of several schemas: whole, cut, extended, two in one, a cut one with the rest of another."""
    out: list[tuple[str, bytes]] = []
    pools: dict[str, list[bytes]] = {}
    for name in draw(st.lists(st.sampled_from(MIXED), min_size=1, max_size=3, unique=True)):
        records = draw(st.lists(values(TREES[name]), min_size=1, max_size=4))
        pools[name] = [body(BY_NAME[name], record) for record in records]
    for _ in range(draw(st.integers(2, 12))):
        name = draw(st.sampled_from(sorted(pools)))
        one, other = draw(st.sampled_from(pools[name])), draw(st.sampled_from(pools[name]))
        cut = draw(st.integers(0, len(one)))
        bad = draw(
            st.sampled_from([one, one, one, one[:cut], one + other[:cut], one + b"\x00", one[cut:], one[:cut] + other])
        )
        out.append((name, bad))
    return out


@given(mixture=mixtures())
@example(  # the first body is a good one's beginning with another one's end, in which a boolean is 2
    mixture=[
        ("finwatch.Odd", bytes.fromhex("020200000002000000000200009aab0100000000000000")),
        ("finwatch.Heartbeat", bytes.fromhex("008080bfb3a7c0ae030000")),
    ]
)
@settings(LOOSE, max_examples=150)
def test_any_mixture_decodes_as_fastavro_one_by_one(mixture: list[tuple[str, bytes]]) -> None:
    values_ = [header(REGISTRY, BY_NAME[name]) + raw for name, raw in mixture]
    found = Decoder(REGISTRY).decode(values_, STRUCTS)
    assert len(found) == len(mixture)
    for (name, raw), entry in zip(mixture, found, strict=True):
        expected = stock(BY_NAME[name], raw)
        if not same(entry, expected):
            # Cutting and joining can make bytes that no writer writes: a boolean of 2, a branch the union lacks.
            # There the two readers may judge apart; the next test holds the batch to the single record even so.
            record = expected if isinstance(entry, Bad) else entry
            assert record is not Bad, (name, raw, entry)
            assert compile_record(TREES[name], STRUCTS[name], b"")(record) != raw, (name, raw, entry, expected)


@given(mixture=mixtures(), seed=st.randoms(use_true_random=False))
@settings(LOOSE, max_examples=150)
def test_damage_decodes_alike_alone_and_in_company(mixture: list[tuple[str, bytes]], seed: Any) -> None:
    damaged = []
    for name, raw in mixture:
        spoilt = bytearray(raw)
        for _ in range(seed.randrange(3)):
            if spoilt:
                spoilt[seed.randrange(len(spoilt))] = seed.choice([0, 1, 2, 3, 4, 127, 128, 255, seed.randrange(256)])
        damaged.append(header(REGISTRY, BY_NAME[name]) + bytes(spoilt))
    decoder = Decoder(REGISTRY)
    together = decoder.decode(damaged, STRUCTS)
    alone = [decoder.decode([value], STRUCTS)[0] for value in damaged]
    for one, other in zip(together, alone, strict=True):
        assert repr(one) == repr(other)  # repr: a damaged float may be NaN


@pytest.mark.parametrize("name", ["finwatch.Odd", "finwatch.Bill", "finwatch.Rare"])
@given(data=st.data())
@settings(LOOSE, max_examples=30)
def test_every_cut_of_a_record_is_malformed_and_harms_no_neighbour(name: str, data: st.DataObject) -> None:
    good = body(BY_NAME[name], data.draw(values(TREES[name])))
    other = body(BY_NAME[name], data.draw(values(TREES[name])))
    cut = data.draw(st.integers(0, max(0, len(good) - 1)))
    head = header(REGISTRY, BY_NAME[name])
    found = Decoder(REGISTRY).decode(
        [head + other, head + good[:cut], head + good[cut:] + other, head + other], STRUCTS
    )
    assert same(found[0], stock(BY_NAME[name], other)) and same(found[3], stock(BY_NAME[name], other))
    assert same(found[1], stock(BY_NAME[name], good[:cut]))


TINY = parse("""{"type": "record", "name": "finwatch.Tiny", "fields": [{"name": "k", "type": "bytes"}]}""")


SHORT_LENGTHS = st.lists(st.sampled_from([0, 2, 4, 20, 22, 24, 26, 44]), max_size=4).map(bytes)


class Tiny(msgspec.Struct):
    k: bytes


def tiny(bodies: list[bytes]) -> list[Any]:
    registry = EmbeddedRegistry((TINY,))
    head = header(registry, TINY)
    return Decoder(registry).decode([head + raw for raw in bodies], {"finwatch.Tiny": Tiny})


def test_a_cut_body_cannot_borrow_from_the_next_one() -> None:
    # The first body ends after a length of 10: just what stands between two bodies in a container. The second begins
    # with a byte too many, where the reader would then look for that mark. Read as one stream they are two records.
    found = tiny([b"\x14", b"\x00" + b"\x02z"])
    assert all(isinstance(entry, Bad) for entry in found)


@given(bodies=st.lists(SHORT_LENGTHS, min_size=2, max_size=6))
@settings(LOOSE, max_examples=400)
def test_lengths_that_reach_past_their_body(bodies: list[bytes]) -> None:
    expected = [Tiny(raw[1:]) if raw and raw[0] % 2 == 0 and raw[0] // 2 == len(raw) - 1 else None for raw in bodies]
    found = tiny(bodies)
    assert [entry if isinstance(entry, Tiny) else None for entry in found] == expected


@pytest.mark.parametrize(
    ("what", "raw"),
    [
        ("a boolean of 2", {"b": b"\x02"}),
        ("an int of 2**40", {"i": zigzag(2**40)}),
        ("a decimal of too many digits", {"d": zigzag(5) + (10**9).to_bytes(5, "big")}),
        ("a decimal of 17 bytes", {"d": zigzag(17) + b"\x01" * 17}),
        ("a timestamp after 9999", {"t": zigzag(1) + zigzag(2**62)}),
        ("a date before 1", {"e": zigzag(-10_000_000)}),
        ("text that is not UTF-8", {"a": zigzag(0) + b"\x04\xff\xfe"}),
    ],
)
@pytest.mark.parametrize("company", [0, 3])
def test_values_out_of_range_are_malformed(what: str, raw: dict[str, bytes], company: int) -> None:
    parts = {
        "a": b"\x02", "b": b"\x01", "c": b"\x00", "i": b"\x02", "j": b"\x02", "f": b"\0\0\0\0", "d": b"\x02\x05",
        "t": b"\x00", "e": b"\x00", "x": b"abc", "l": b"\x00", "r": b"\x02k\x00", "n": b"\x00",
    }  # fmt: skip
    good = header(REGISTRY, ODD) + b"".join(parts.values())
    bad = header(REGISTRY, ODD) + b"".join((parts | raw).values())
    found = Decoder(REGISTRY).decode([good] * company + [bad], STRUCTS)
    assert isinstance(found[-1], Bad), what
    assert not any(isinstance(entry, Bad) for entry in found[:-1])
    frames, refused = Decoder(REGISTRY).decode_frame([good] * company + [bad])
    assert list(refused) == [company]
    assert sum(frame.data.height for frame in frames) == company


def test_what_is_no_record_says_why_and_keeps_its_place() -> None:
    schema = BY_NAME["finwatch.Heartbeat"]
    good = header(REGISTRY, schema) + body(schema, {"source": "s", "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
                                                    "timeline": "wall", "final": False})  # fmt: skip
    relation = header(REGISTRY, BY_NAME["finwatch.Relation"]) + b"anything"
    found = Decoder(REGISTRY, max_bytes=100).decode(
        [good, None, b"", b"\x01\x00\x00\x00\x01x", b"\x00\x00", b"\x00\xff\xff\xff\xff", b"\x00\x00\x00\x00\x07z",
         relation, good + b"x" * 200, good[:-1], good],
        {"finwatch.Heartbeat": STRUCTS["finwatch.Heartbeat"]},
    )  # fmt: skip
    assert found[0] == found[10] and isinstance(found[0], STRUCTS["finwatch.Heartbeat"])
    assert [entry.reason if isinstance(entry, Bad) else entry for entry in found[1:10]] == [
        "not_confluent_format", "not_confluent_format", "not_confluent_format", "not_confluent_format",
        "unknown_schema", "unknown_schema", Skipped("finwatch.Relation"), "too_large", "malformed_avro",
    ]  # fmt: skip


class Down:
    """A registry that cannot be reached."""

    def schema(self, schema_id: int) -> Schema:
        raise RegistryUnavailable("down")

    schema_id = register = versions = schema  # type: ignore[assignment]


def test_an_outage_of_the_registry_is_no_bad_record() -> None:
    with pytest.raises(RegistryUnavailable):
        Decoder(Down()).decode([b"\x00\x00\x00\x00\x01abc"], {})  # type: ignore[arg-type]


class Forms(msgspec.Struct):
    occurred_at: int
    observed_at: dt.datetime
    amount: float | None
    changes: tuple[dict[str, Any], ...]


class Unscaled(msgspec.Struct, kw_only=True):
    amount: int | None
    source_write_date: int | None
    new_column: str = "later"


def transition(**changed: Any) -> bytes:
    moment = dt.datetime(2026, 3, 29, 1, 30, 0, 5, tzinfo=dt.UTC)
    text = dict.fromkeys(
        ("event_id", "document_key", "source", "entity", "record_id", "op", "mode", "timeline", "correlation_id",
         "activity", "label"), "x")  # fmt: skip
    record = {**text, "occurred_at": moment, "observed_at": moment, "snapshot": False, **changed}
    schema = BY_NAME["finwatch.Transition"]
    return header(REGISTRY, schema) + body(schema, record)


@pytest.mark.parametrize("count", [1, 5])
def test_annotations_choose_the_form(count: int) -> None:
    value = transition(amount=Decimal("12.345678"), changes=[{"field": "state", "old": None, "new": '"posted"'}])
    found = Decoder(REGISTRY).decode([value] * count, {"finwatch.Transition": Forms})[-1]
    assert found == Forms(
        1_774_747_800_000_005,
        dt.datetime(2026, 3, 29, 1, 30, 0, 5, tzinfo=dt.UTC),
        12.345678,
        ({"field": "state", "old": None, "new": '"posted"'},),
    )
    assert found.observed_at.tzinfo is dt.UTC
    unscaled = Decoder(REGISTRY).decode([value, transition()] * count, {"finwatch.Transition": Unscaled})
    assert unscaled[-2:] == [
        Unscaled(amount=12_345_678, source_write_date=None),
        Unscaled(amount=None, source_write_date=None),
    ]


class NotNullable(msgspec.Struct):
    actor: str


class WrongType(msgspec.Struct):
    occurred_at: str


class Missing(msgspec.Struct):
    nothing: str


@pytest.mark.parametrize(
    ("struct", "message"),
    [
        (NotNullable, r"NotNullable.actor: .*str \| None"),
        (WrongType, "epoch microseconds"),
        (Missing, "no such column"),
    ],
)
def test_a_projection_that_does_not_fit_is_refused(struct: type[msgspec.Struct], message: str) -> None:
    with pytest.raises(ProjectionError, match=message):
        Decoder(REGISTRY).decode([transition()], {"finwatch.Transition": struct})


def test_a_column_the_writer_did_not_know_gets_the_newest_default() -> None:
    old = parse(
        """{"type": "record", "name": "Transition", "namespace": "finwatch",
        "fields": [{"name": "source", "type": "string"}]}"""
    )
    registry = EmbeddedRegistry((old, BY_NAME["finwatch.Transition"]))

    class Wanted(msgspec.Struct):
        source: str
        changes: list[dict[str, Any]]
        actor: str | None

    value = header(registry, old) + b"\x02s"
    assert Decoder(registry).decode([value] * 3, {"finwatch.Transition": Wanted}) == [Wanted("s", [], None)] * 3


@given(records=st.lists(values(TREES["finwatch.Bill"]), min_size=1, max_size=5), cut=st.integers(1, 5))
@settings(LOOSE, max_examples=40)
def test_frames_hold_the_good_records_in_the_schemas_types(records: Sequence[dict[str, Any]], cut: int) -> None:
    schema = BY_NAME["finwatch.Bill"]
    whole = [header(REGISTRY, schema) + body(schema, record) for record in records]
    spoilt = [*whole, whole[0][:-cut] if len(whole[0]) > 5 + cut else whole[0][:5], b"\x07", *whole]
    frames, bad = Decoder(REGISTRY).decode_frame(spoilt)
    assert sorted(bad) == [len(whole), len(whole) + 1]
    (frame,) = frames
    assert frame.indices == [*range(len(whole)), *range(len(whole) + 2, 2 * len(whole) + 2)]
    assert frame.data["occurred_at"].dtype == pl.Datetime("us", "UTC")
    assert frame.data["amount_total"].dtype == pl.Decimal(28, 6)
    assert frame.data["snapshot"].dtype == pl.Boolean
    again = frame.data.to_dicts()
    for row, record in zip(again, [*records, *records], strict=True):
        assert row == record


@given(value=st.binary(max_size=60))
@example(value=b"\x00" + b"\x80" * 30)
def test_any_bytes_are_an_entry_and_never_an_exception(value: bytes) -> None:
    for given_value in (value, header(REGISTRY, ODD) + value, header(REGISTRY, RARE) + value):
        (found,) = Decoder(REGISTRY).decode([given_value], STRUCTS)
        assert isinstance(found, (Bad, STRUCTS["finwatch.Odd"], STRUCTS["finwatch.Rare"]))
        try:
            describe(given_value, REGISTRY)
        except DecodeError as error:
            assert error.reason in ("not_confluent_format", "unknown_schema", "malformed_avro")


def test_describe_is_plain() -> None:
    import json

    found = describe(transition(amount=Decimal("1E+3"), actor="é\x00"), REGISTRY)
    assert json.loads(json.dumps(found)) == found
    assert found["$schema"] == "finwatch.Transition"
    assert found["amount"] == "1000.000000"
    assert found["occurred_at"] == "2026-03-29T01:30:00.000005Z"
