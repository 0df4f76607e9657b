"""Batches of Kafka values to Structs or frames.

The values of one schema are framed as one Avro object container and read column by column by polars: 10 to 20 times as
fast as record by record. Bodies lie end to end in a container, so a cut or overlong body would shift its neighbours.
What prevents it: the container's schema has one more column, a secret 64-bit number that stands after every body.

1. The reader starts record i where sentinel i-1 ended.
2. It must find the sentinel where it ends record i, and a sentinel stands only where a body ends (its encoding is the
   longest a varint can have, so no shorter or shifted reading equals it; meeting it inside a body by chance has a
   probability of 2**-63 a byte).
3. Records and sentinels are as many, each record consumes one more sentinel: so record i ended exactly at the end of
   body i. All sentinels right: every record was decoded from its own body and nothing else.

Anything else (a wrong sentinel, any error) sends the group through fastavro one by one, which decides alone.

Whatever an Avro writer writes is decoded as stock fastavro decodes it, and cut or overlong bodies are refused. Bytes
that no writer writes are judged alike alone and in a batch, not always as stock fastavro would: a boolean that is
neither 0 nor 1, an int beyond 32 bits and a decimal beyond its precision are refused; a branch number that a nullable
type lacks counts as its second branch, because polars reads it so.
"""

import io
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import fastavro
import msgspec
import polars as pl

from schemas.catalogue import Schema, SchemaError, current
from schemas.columns import Malformed, Physical, RecordReader, dict_reader, lenient, record_reader, typed
from schemas.registry import Registry, UnknownSchema
from schemas.tree import tree
from schemas.varint import zigzag

Reason = Literal["not_confluent_format", "unknown_schema", "malformed_avro", "too_large"]
MAX_BYTES = 1_048_576
SMALL_GROUP = 8  # below this, one by one is faster than setting up a container
_SENTINEL = "sentinel__"
_SYNC = b"finwatch-batch--"
_HEADER = 5


class Skipped(msgspec.Struct, frozen=True):
    """A record that no projection wants; its body was not looked at."""

    full_name: str


class Bad(msgspec.Struct, frozen=True):
    """A value that cannot be decoded. `detail` says what is wrong and never repeats a value."""

    reason: Reason
    detail: str


Decoded: TypeAlias = msgspec.Struct
"""A projection's Struct, Skipped or Bad."""


@dataclass(frozen=True)
class Frame:
    """The good values of one schema id as columns: row i is values[indices[i]]."""

    full_name: str
    schema_id: int
    indices: list[int]
    data: pl.DataFrame


class _Bodies:
    """Decodes bodies of one schema: all columns (`struct` None), or those of a Struct."""

    def __init__(self, schema: Schema, struct: type[msgspec.Struct] | None, sentinel: int) -> None:
        self.schema = schema
        self.node = tree(schema)
        if struct is None:
            self.reader: RecordReader = dict_reader(self.node, schema.full_name)
        else:
            self.reader = record_reader(self.node, struct, _newest_columns(schema.full_name))
        self._write_schema = fastavro.parse_schema(Physical(False, struct is None).record(self.node, self.reader))
        self._read_schema = lenient(self._write_schema)
        self._sentinel = sentinel
        self._mark = zigzag(sentinel)
        self._columns = [*self.reader.names, _SENTINEL]
        self._head = self._container_head(struct is None)

    def _container_head(self, for_frame: bool) -> bytes | None:
        physical = Physical(True, for_frame)
        batch = physical.record(self.node, self.reader)
        if not physical.possible:
            return None  # maps and wide unions: polars cannot read them, fastavro reads them one by one
        batch["fields"].append({"name": _SENTINEL, "type": "long"})
        text = json.dumps(batch).encode()
        meta = zigzag(2) + zigzag(11) + b"avro.schema" + zigzag(len(text)) + text
        return b"Obj\x01" + meta + zigzag(10) + b"avro.codec" + zigzag(4) + b"null" + b"\x00" + _SYNC

    def frame(self, bodies: Sequence[bytes]) -> pl.DataFrame | None:
        """The wanted columns of all bodies, or None when any of them is not exactly one record."""
        if self._head is None:
            return None
        mark = self._mark
        block = mark.join(bodies)
        size = zigzag(len(block) + len(mark))
        container = b"".join((self._head, zigzag(len(bodies)), size, block, mark, _SYNC))
        try:
            frame = pl.read_avro(io.BytesIO(container), columns=self._columns)
        except (Exception, pl.exceptions.PanicException):  # whatever it is, fastavro decides record by record
            return None
        if frame.height != len(bodies) or not (frame.drop_in_place(_SENTINEL) == self._sentinel).all():
            return None
        return frame

    def raw(self, body: bytes) -> dict[str, Any]:
        """Physical values of one body through fastavro. Raises Malformed."""
        stream = io.BytesIO(body)
        try:
            found: Any = fastavro.schemaless_reader(stream, self._read_schema, None)
        except EOFError:
            raise Malformed("the record ends early") from None
        except UnicodeDecodeError:
            raise Malformed("text is not UTF-8") from None
        except Exception as error:  # fastavro raises whatever its parts raise on bytes that are no record
            raise Malformed(f"not a {self.schema.full_name} ({type(error).__name__})") from None
        if stream.tell() != len(body):
            raise Malformed(f"{len(body) - stream.tell()} bytes left over after the record")
        return dict(found)

    def one(self, body: bytes) -> Any:
        """The record of one body. Raises Malformed."""
        return self.reader.one(self.raw(body))

    def many(self, bodies: Sequence[bytes]) -> list[Any]:
        """One record or Bad a body."""
        frame = self.frame(bodies) if len(bodies) >= SMALL_GROUP else None
        if frame is not None:
            try:
                return self.reader.frame(frame)
            except Malformed:
                frame = None  # a value out of its range: found again below, in its own record
        out: list[Any] = []
        for body in bodies:
            try:
                out.append(self.one(body))
            except Malformed as error:
                out.append(Bad("malformed_avro", str(error)))
        return out

    def whole(self, indices: list[int], bodies: list[bytes], bad: list[Any]) -> tuple[list[int], pl.DataFrame] | None:
        """The good bodies as a frame in the schema's types, the others into `bad`. Raises SchemaError."""
        frame = self.frame(bodies)
        if frame is not None:
            try:
                self.reader.check_frame(frame)
                return indices, typed(frame, self.node)
            except Malformed:
                frame = None
        good: list[int] = []
        again: list[bytes] = []
        for index, body in zip(indices, bodies, strict=True):
            try:
                raw = self.raw(body)
                self.reader.one(raw)
            except Malformed as error:
                bad[index] = Bad("malformed_avro", str(error))
                continue
            good.append(index)
            # Written again: the same record in its plainest spelling, which the column reader surely takes.
            stream = io.BytesIO()
            fastavro.schemaless_writer(stream, self._write_schema, raw)
            again.append(stream.getvalue())
        if not good:
            return None
        frame = self.frame(again)
        if frame is None:
            raise SchemaError(f"{self.schema.full_name} cannot be read as columns")
        return good, typed(frame, self.node)


def _newest_columns(full_name: str) -> dict[str, Any]:
    newest = current().get(full_name)
    return {} if newest is None else {column.name: column for column in tree(newest).columns}


class Decoder:
    """Decodes Confluent-framed values. Not thread-safe: one a consumer.

    Raises RegistryUnavailable and RegistryError: an outage is never a bad record. Raises ProjectionError when a
    projection does not fit a schema.
    """

    def __init__(self, registry: Registry, *, max_bytes: int = MAX_BYTES) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        # Zigzag of a number near the least one sets bit 63: the sentinel always takes ten bytes, a varint's most.
        self._sentinel = -(1 << 63) + secrets.randbits(61)
        self._schemas: dict[bytes, Schema] = {}
        self._readers: dict[tuple[bytes, type[msgspec.Struct] | None], _Bodies] = {}

    def decode(self, values: Sequence[bytes | None], projections: Mapping[str, type[msgspec.Struct]]) -> list[Decoded]:
        """One entry a value, in order: the projection's Struct, Skipped or Bad.

        `projections` maps a record's full name to a Struct whose field names are the schema's; only these columns are
        decoded and checked. The annotation chooses the form: a timestamp is `int` (epoch microseconds) or `datetime`
        (aware, UTC), a date `int` (days since 1970) or `date`, a decimal `Decimal`, `float` or `int` (unscaled), an
        array `list[...]` or `tuple[..., ...]`, a nested record a Struct or `dict`; a nullable column needs `| None`.
        A column that the writer did not know yet gets the Struct's default, else the newest schema's.
        """
        out: list[Any] = [None] * len(values)
        for head, (indices, bodies) in self._groups(values, out).items():
            schema = self._schema(head, indices, out)
            if schema is None:
                continue
            wanted = projections.get(schema.full_name)
            if wanted is None:
                skipped = Skipped(schema.full_name)
                for index in indices:
                    out[index] = skipped
                continue
            decoded = self._reader(head, schema, wanted).many(bodies)
            if len(indices) == len(values):
                return decoded
            for index, record in zip(indices, decoded, strict=True):
                out[index] = record
        return out

    def decode_frame(self, values: Sequence[bytes | None]) -> tuple[list[Frame], dict[int, Bad]]:
        """All columns of the good values, one frame a schema id, and the bad values by their index.

        Types: Datetime("us", "UTC"), Date, Decimal(precision, scale), Boolean, String, Binary, List and Struct.
        Raises SchemaError for a schema with maps or unions of several types, which have no columns.
        """
        bad: list[Any] = [None] * len(values)
        frames: list[Frame] = []
        for head, (indices, bodies) in self._groups(values, bad).items():
            schema = self._schema(head, indices, bad)
            if schema is None:
                continue
            found = self._reader(head, schema, None).whole(indices, bodies, bad)
            if found is not None:
                frames.append(Frame(schema.full_name, int.from_bytes(head[1:], "big"), *found))
        return frames, {index: entry for index, entry in enumerate(bad) if entry is not None}

    def _groups(self, values: Sequence[bytes | None], out: list[Any]) -> dict[bytes, tuple[list[int], list[bytes]]]:
        """Indices and bodies by their five header bytes; values that have no such header become Bad in `out`."""
        groups: dict[bytes, tuple[list[int], list[bytes]]] = {}
        most, known = self._max_bytes, groups.get
        for index, value in enumerate(values):
            if value is not None and _HEADER <= len(value) <= most and value[0] == 0:
                head = value[:_HEADER]
                group = known(head)
                if group is None:
                    group = groups[head] = ([], [])
                group[0].append(index)
                group[1].append(value[_HEADER:])
            elif value is None or len(value) < _HEADER or value[0]:
                out[index] = Bad("not_confluent_format", _format_problem(value))
            else:
                out[index] = Bad("too_large", f"{len(value)} bytes, the limit is {most}")
        return groups

    def _schema(self, head: bytes, indices: list[int], out: list[Any]) -> Schema | None:
        schema = self._schemas.get(head)
        if schema is None:
            schema_id = int.from_bytes(head[1:], "big", signed=True)
            try:
                if schema_id < 0:
                    raise UnknownSchema("negative id")
                schema = self._registry.schema(schema_id)
            except UnknownSchema:
                for index in indices:
                    out[index] = Bad("unknown_schema", f"schema id {schema_id}")
                return None
            self._schemas[head] = schema
        return schema

    def _reader(self, head: bytes, schema: Schema, struct: type[msgspec.Struct] | None) -> _Bodies:
        reader = self._readers.get((head, struct))
        if reader is None:
            reader = self._readers[head, struct] = _Bodies(schema, struct, self._sentinel)
        return reader


def _format_problem(value: bytes | None) -> str:
    if value is None:
        return "no value (a tombstone)"
    if len(value) < _HEADER:
        return f"{len(value)} bytes, too short for a header"
    return "the first byte is not 0"
