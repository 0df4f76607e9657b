"""Confluent wire format (0x00, four bytes of schema id, Avro body): what producers, streams and sinks import."""

import base64
import datetime as dt
import io
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fastavro

from schemas.catalogue import Schema
from schemas.columns import Malformed, ProjectionError
from schemas.decode import MAX_BYTES, Bad, Decoded, Decoder, Frame, Reason, Skipped
from schemas.encode import EncodeError, Encoder
from schemas.registry import Registry, UnknownSchema

__all__ = [
    "MAX_BYTES",
    "Bad",
    "DecodeError",
    "Decoded",
    "Decoder",
    "EncodeError",
    "Encoder",
    "Frame",
    "Malformed",
    "ProjectionError",
    "Reason",
    "Skipped",
    "describe",
]


class DecodeError(Exception):
    """A single value cannot be decoded; `reason` as in Bad."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def describe(value: bytes, registry: Registry) -> dict[str, Any]:
    """A whole record as plain JSON-able values, through fastavro, with `$schema` and `$schema_id` in front.

    Decimals are strings, timestamps ISO 8601 in UTC, bytes base64. Raises DecodeError; RegistryUnavailable.
    """
    if len(value) < 5 or value[0]:
        raise DecodeError("not_confluent_format", "no five-byte header that begins with 0")
    schema_id = int.from_bytes(value[1:5], "big", signed=True)
    try:
        if schema_id < 0:
            raise UnknownSchema("negative id")
        schema = registry.schema(schema_id)
    except UnknownSchema:
        raise DecodeError("unknown_schema", f"schema id {schema_id}") from None
    stream = io.BytesIO(value[5:])
    try:
        record = fastavro.schemaless_reader(stream, _parsed(schema), None)
    except Exception as error:  # fastavro raises whatever its parts raise on bytes that are no record
        raise DecodeError("malformed_avro", f"not a {schema.full_name} ({type(error).__name__})") from None
    if stream.tell() != len(value) - 5:
        raise DecodeError("malformed_avro", f"{len(value) - 5 - stream.tell()} bytes left over after the record")
    return {"$schema": schema.full_name, "$schema_id": schema_id, **_plain(record)}


@lru_cache(256)
def _parsed(schema: Schema) -> Any:
    return fastavro.parse_schema(dict(schema.definition))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return value
