"""Contents given by field name to Confluent-framed values: what `schemas.encode` does for Structs.

For producers whose records come out of rows, a Struct of seventy columns would be made only to be read once. The bytes
are the same, and so is what is refused. Moments, dates and amounts of neighbouring records are largely the same
objects or equal ones: their encoded values are kept.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from schemas.catalogue import SchemaError
from schemas.encode import _FEW, _LENGTHS, EncodeError, _array, _not_null, _Texts, _value, encode_column, factors
from schemas.registry import Registry, newest
from schemas.tree import Column, Node, tree

_KEPT = 16_384
# Text columns with few values in what a producer writes, beside those of schemas.encode.
# fmt: off
_FEWER = frozenset((
    "mode", "source_database", "source_model", "activity", "field", "label", "move_type", "payment_state",
    "journal_id", "account_id", "unit", "unit_id", "actor", "created_by", "written_by", "responsible",
))
# fmt: on


FEW_TEXTS = _FEW | _FEWER
"""Text columns with few values: worth a look-up of the whole encoded value."""


class _Kept(dict[Any, bytes]):
    """Encoded values of one type of column, behind the branch of the union. Only exact types are kept: 1 == True."""

    def __init__(self, kind: type, encode: Callable[[Any], bytes], branch: bytes) -> None:
        super().__init__()
        self._kind, self._encode, self._branch = kind, encode, branch

    def __missing__(self, value: Any) -> bytes:
        encoded = self._branch + self._encode(value)
        if value.__class__ is self._kind:
            if len(self) >= _KEPT:
                self.clear()
            self[value] = encoded
        return encoded


class _KeptDecimals(dict[Any, bytes]):
    """As `_Kept`, for decimals: most of a bill's amounts are its own, so that the first encoding is what counts.

    What is no decimal, or does not fit, raises; who called tells what it is.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        branch = b"\x02" if node.nullable else b""
        self._bound = 10**node.precision
        self._factors = factors(node.scale)
        self._lead = [branch + _LENGTHS[size] for size in range((self._bound.bit_length() >> 3) + 2)]

    def __missing__(self, value: Decimal) -> bytes:
        numerator, denominator = value.as_integer_ratio()
        unscaled = numerator * self._factors[denominator]
        if not -self._bound < unscaled < self._bound:
            raise OverflowError
        size = unscaled.bit_length() + 8 >> 3
        encoded = self._lead[size] + unscaled.to_bytes(size, "big", signed=True)
        if len(self) >= _KEPT:
            self.clear()
        self[value] = encoded
        return encoded


class _KeptBranch(dict[Any, bytes]):
    """As `_Kept`, for columns that may be null, over the values of those that may not."""

    def __init__(self, plain: "_Kept") -> None:
        super().__init__()
        self._plain = plain

    def __missing__(self, value: Any) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        encoded = self[value] = b"\x02" + self._plain[value]
        return encoded


@lru_cache(256)
def _kept(node: Node) -> dict[Any, bytes]:
    """The encoded values of all columns of one type: a bill's total is its residual, and the sum of its lines.

    Asked for values of the one class in `_KINDS` only.
    """
    if node.kind == "decimal":
        return _KeptDecimals(node)
    if node.nullable:
        plain = _kept(dataclasses.replace(node, nullable=False))
        assert isinstance(plain, _Kept)
        return _KeptBranch(plain)
    return _Kept(_KINDS[node.kind], _not_null(node, Any, ""), b"")


_KINDS: dict[str, type] = {"timestamp": dt.datetime, "date": dt.date, "decimal": Decimal}


def _look(column: Column) -> str:
    """Code that takes a column's value out of the contents `r`, whose `get` is `g`."""
    if not column.has_default:
        return f"r[{column.name!r}]"
    return f"g({column.name!r})" if column.default is None else f"g({column.name!r},x_{column.name})"


def _expression(column: Column, scope: dict[str, Any], index: int, where: str) -> list[str]:
    """Code of one column, as elements of the joined tuple. What it cannot take raises; see `compile_contents`."""
    node, look = column.type, _look(column)
    if column.default is not None:
        scope[f"x_{column.name}"] = column.default
    plain = not node.nullable
    if node.nullable and node.null_branch != 0:
        scope[f"e{index}"] = _value(node, Any, where)
        return [f"e{index}({look})"]
    null = f"Z if (v:={look}) is None else "
    if node.kind == "string":
        if column.name in FEW_TEXTS:
            scope[f"t{index}"] = _Texts(node.nullable)
            return [f"t{index}[{look}]"]
        return [f"L[len(a:={look}.encode())]", "a"] if plain else [f"({null}N[len(a:=v.encode())]+a)"]
    if node.kind == "boolean":
        scope["B"] = _not_null(node, Any, where)
        two = "T if v is True else F if v is False else B(v)"
        return [f"(T if (v:={look}) is True else F if v is False else B(v))"] if plain else [f"({null}X+({two}))"]
    if node.kind in _KINDS:
        kind = _KINDS[node.kind]
        scope[f"k{index}"] = _kept(node)
        scope[f"y{index}"] = kind
        scope[f"e{index}"] = _value(node, Any, where)
        known = f"k{index}[v] if v.__class__ is y{index} else e{index}(v)"
        return [f"(k{index}[v] if (v:={look}).__class__ is y{index} else e{index}(v))" if plain else f"({null}{known})"]
    if node.kind == "array" and node.item is not None and node.item.kind == "record" and not node.item.nullable:
        scope[f"e{index}"] = _array(compile_contents(node.item, b""))
    elif node.kind == "record":
        scope[f"e{index}"] = compile_contents(node, b"")
    else:
        scope[f"e{index}"] = _not_null(node, Any, where)
    return [f"e{index}({look})" if plain else f"({null}X+e{index}(v))"]


def compile_contents(node: Node, prefix: bytes) -> Callable[[Mapping[str, Any]], bytes]:
    """The encoder of mappings for a record, `prefix` before each body.

    Columns that a mapping lacks get the schema's default. The encoder raises EncodeError, for a name that is no column
    too.
    """
    name = node.name
    columns = frozenset(column.name for column in node.columns)
    scope: dict[str, Any] = {
        "L": _LENGTHS,
        "N": [b"\x02" + length for length in _LENGTHS],
        "Z": b"\x00",
        "X": b"\x02",
        "T": b"\x01",
        "F": b"\x00",
        "prefix": prefix,
        "join": b"".join,
    }
    elements = ["prefix"] if prefix else []
    slow: list[tuple[Column, Callable[[Any], bytes]]] = []
    for index, column in enumerate(node.columns):
        where = f"{name}.{column.name}"
        if not column.name.isidentifier():
            raise SchemaError(f"{where} is no name of a column")
        elements += _expression(column, scope, index, where)
        slow.append((column, _value(column.type, Any, where)))
    fast = eval(f"lambda r, g: join(({','.join(elements)},))", scope)  # noqa: S307  (made of column names of a checked schema)

    def careful(contents: Any) -> bytes:
        """Values longer than the tables, and the error message of a value that does not fit."""
        if not isinstance(contents, Mapping):
            raise EncodeError(f"{name}: expected a mapping, got {type(contents).__name__}")
        parts = [prefix]
        for column, encode in slow:
            if column.name not in contents and not column.has_default:
                raise EncodeError(f"{name}.{column.name} is missing")
            value = contents.get(column.name, column.default)
            parts.append(encode_column(f"{name}.{column.name}", encode, value))
        return b"".join(parts)

    def encode_contents(contents: Mapping[str, Any]) -> bytes:
        try:
            unknown = contents.keys() - columns if not contents.keys() <= columns else ()
            if not unknown:
                return fast(contents, contents.get)  # type: ignore[no-any-return]
        except Exception:  # told apart below, column by column; the contents are unchanged
            return careful(contents)
        raise EncodeError(f"{name} has no column {', '.join(sorted(map(str, unknown)))}")

    return encode_contents


class ContentsEncoder:
    """Encodes mappings with the newest committed schemas. Thread-safe after the first record of each kind.

    Raises SchemaNotRegistered (a RegistryError) or RegistryUnavailable at the first record of a kind, EncodeError.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._encoders: dict[str, Callable[[Mapping[str, Any]], bytes]] = {}
        self._prefixes: dict[str, bytes] = {}

    def __call__(self, full_name: str, contents: Mapping[str, Any]) -> bytes:
        """One value: 0x00, the schema id as four bytes, the body. Columns that are not given get their default."""
        encode = self._encoders.get(full_name)
        if encode is None:
            encode = self._encoders[full_name] = compile_contents(tree(newest(full_name)), self.prefix(full_name))
        return encode(contents)

    def prefix(self, full_name: str) -> bytes:
        """What stands before the body of each value of a record."""
        found = self._prefixes.get(full_name)
        if found is None:
            number = self._registry.schema_id(newest(full_name))
            found = self._prefixes[full_name] = b"\x00" + number.to_bytes(4, "big")
        return found
