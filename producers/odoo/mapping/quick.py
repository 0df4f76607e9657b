"""From a row to the bytes of its event and of its content at once, without the values in between.

A mapping says what a body holds in one dict display of `number(row, "amount_total")`, `ref(row, "partner_id")` and the
like. `quick` compiles such a function a second time: for each column what the schema's encoder and the content's
encoder would make of its value, looked up by what the server sent. Amounts become no Decimal, times no datetime and
the body no dict. Whatever is not as Odoo sends it raises `Odd`, and the function as written decides, by way of the
encoders themselves; the bytes are the same, which the tests hold for rows of real servers and for odd ones.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import copysign
from typing import Any, NamedTuple

from finwatch.runtime.topics import entity_record
from producers.odoo import accounts, values
from producers.odoo.contents import NOT_CONTENT
from producers.odoo.contents import encode_value as _content
from producers.odoo.mapping.flat import flatten_expression
from producers.odoo.values import Row
from schemas.encode import LENGTHS, value_encoder
from schemas.encode_contents import FEW_TEXTS
from schemas.registry import newest
from schemas.tree import Node, tree

_KEPT = 16_384
KEPT = ("created_at", "created_by", "written_by", "responsible", "expense_report_key", "reversed_key")
"""Columns whose values are given beside the bytes, for the events' headers."""
_OF_LINES = "purchase_order_key"


class Odd(Exception):
    """A value that Odoo does not send: the function as written tells what it is."""


class Quick(NamedTuple):
    """A body: its Avro columns in the schema's order; its content, without the company; values by column."""

    avro: bytes
    content: bytes
    kept: dict[str, Any]


def odd() -> Any:
    """Raises Odd."""
    raise Odd


def _mp_lengths() -> list[bytes]:
    short = [bytes((0xA0 | length,)) for length in range(32)]
    short += [bytes((0xD9, length)) for length in range(32, 256)]
    return short + [b"\xda" + length.to_bytes(2, "big") for length in range(256, len(LENGTHS))]


_NULL = (b"\x00", b"\xc0", None)
_TRUE, _FALSE = (b"\x02\x01", b"\xc3", True), (b"\x02\x00", b"\xc2", False)
_EMPTY: tuple[bytes, bytes, list[Any]] = (b"\x00", b"\x90", [])
_TEXT = [b"\x02" + length for length in LENGTHS]
_MP_TEXT = _mp_lengths()
_INTS = {int}


class _Pairs(dict[Any, tuple[bytes, bytes, Any]]):
    """What the server sent -> (Avro, content, value), made by the encoders themselves; for exact types only."""

    def __init__(self, node: Node, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self._encode, self._read = value_encoder(node), read

    def __missing__(self, given: Any) -> tuple[bytes, bytes, Any]:
        value = self._read(given)
        made = (self._encode(value), _content(value), value)
        if len(self) >= _KEPT:
            self.clear()
        self[given] = made
        return made


class _Amounts(dict[float, tuple[bytes, bytes, None]]):
    """Floats other than zero; most come once, so that the first time counts.

    `count` micro-units give the float back, so they are the decimal that its shortest text is: between 2**32 in
    size and 0.0001 no two counts give one float, and the text has no exponent.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._lead = [b"\x02" + LENGTHS[size] for size in range(14)]
        self._encode = value_encoder(node)

    def __missing__(self, given: float) -> tuple[bytes, bytes, None]:
        count = round(given * 1e6)
        if count / 1_000_000 != given or not 100 <= abs(count) < 4_000_000_000_000_000:
            raise Odd
        length = count.bit_length() + 8 >> 3
        text = repr(given).encode()
        made = (
            self._lead[length] + count.to_bytes(length, "big", signed=True),
            _MP_TEXT[len(text)] + text,
            None,
        )
        if len(self) >= _KEPT:
            self.clear()
        self[given] = made
        return made


def _exactly(kind: type, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(given: Any) -> Any:
        if given.__class__ is not kind:
            raise Odd
        return read(given)

    return checked


@lru_cache(64)
def _table(kind: str, node: Node) -> Any:
    if kind in ("text", "ref_name"):
        return _Pairs(node, _exactly(str, lambda given: given or None))
    if kind == "masked":
        return _Pairs(node, _exactly(str, accounts.mask_ibans))
    if kind == "ref":
        return _Pairs(node, _exactly(int, str))
    if kind == "day":
        return _Pairs(node, _exactly(str, values.DAYS.__getitem__))
    if kind == "moment":
        return _Pairs(node, _exactly(str, values.MOMENTS.__getitem__))
    return _Amounts(node)


# Which kinds of columns can be written straight from what was sent, by the schema's type.
_FITS = {
    "text": "string", "masked": "string", "ref": "string", "ref_name": "string", "number": "decimal", "day": "date",
    "moment": "timestamp", "flag": "boolean",
}  # fmt: skip
_NONE = "_null if _v is False or _v is None else _odd()"
_FOUND = {
    "ref": f"{{t}}[_v[0]] if _v.__class__ is list and _v and _v[0].__class__ is int else {_NONE}",
    "ref_name": "{t}[_v[1]] if _v.__class__ is list and len(_v) > 1 and _v[1].__class__ is str else _null",
    "number": ("({t}[_v] if _v else _zero if _sign(1.0, _v) > 0 else _minus) if _v.__class__ is float else " + _NONE),
    "day": f"{{t}}[_v] if _v.__class__ is str else {_NONE}",
    "moment": f"{{t}}[_v] if _v.__class__ is str else {_NONE}",
    "flag": "_true if _v is True else _false if _v is False else _null if _v is None else _odd()",
    "text": f"{{t}}[_v] if _v.__class__ is str else {_NONE}",
}


class _Item(NamedTuple):
    """One column: its value's expression, and the module in which its names are known."""

    name: str
    value: ast.expr
    known: dict[str, Any]


def _written(function: Callable[..., Any]) -> types.FunctionType:
    found = inspect.unwrap(function)
    if not isinstance(found, types.FunctionType):
        raise TypeError("a mapping function is wanted")
    return found


def _items(function: Callable[..., Any]) -> Iterator[_Item]:
    """The columns of a function that returns one dict display. Raises TypeError for another one."""
    written = _written(function)
    definition = ast.parse(textwrap.dedent(inspect.getsource(written))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    *before, last = definition.body
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Dict) or len(before) > 1:
        raise TypeError(f"{written.__name__} does not return one dict display")
    for key, value in zip(last.value.keys, last.value.values, strict=True):
        if key is not None:
            yield _Item(ast.literal_eval(key), value, written.__globals__)
            continue
        # `**line(row)`: the columns of another function, which is called with names of its own parameters.
        if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
            raise TypeError(f"{written.__name__} takes in columns in an unknown way")
        inner = written.__globals__[value.func.id]
        if [ast.unparse(one) for one in value.args] != list(inspect.signature(inner).parameters) or value.keywords:
            raise TypeError(f"{value.func.id} is called with other names than its own")
        yield from _items(inner)


def _leaf(item: _Item) -> tuple[str, str] | None:
    """(kind, field) of a value that is read as it stands; None for any other expression."""
    value, masked = item.value, False
    if _calls(value, item.known) is accounts.mask_ibans:
        assert isinstance(value, ast.Call)
        value, masked = value.args[0], True
    called = _calls(value, item.known)
    kind = getattr(called, "__name__", "")
    if kind not in _FITS or called is not getattr(values, kind, None) or (masked and kind != "text"):
        return None
    assert isinstance(value, ast.Call)
    row, field = value.args
    if not isinstance(row, ast.Name) or row.id != "row" or not isinstance(field, ast.Constant):
        return None
    return "masked" if masked else kind, str(field.value)


def _calls(value: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and not value.keywords:
        return known.get(value.func.id)
    return None


class _Writer:
    """Writes the statements of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {
            "_null": _NULL, "_true": _TRUE, "_false": _FALSE, "_empty": _EMPTY, "_odd": odd, "_sign": copysign,
            "_N": _TEXT, "_M": _MP_TEXT, "_L": LENGTHS, "_c": _content,
            "_join": b"".join, "_arrays": _mp_array,
        }  # fmt: skip

    def known(self, name: str, value: Any) -> str:
        self.scope[name] = value
        return name

    def add(self, *lines: str) -> None:
        self.lines += lines

    def function(self, arguments: str) -> Callable[..., Any]:
        code = "\n ".join([f"def made({arguments}):", *self.lines])
        scope = dict(self.scope)
        exec(compile(code, "<quick>", "exec"), scope)  # noqa: S102  (own source)
        made: Callable[..., Any] = scope["made"]
        return made


def _column(writer: _Writer, number: int, item: _Item, node: Node, arguments: str) -> None:
    """Statements that set `a<number>`, `m<number>` and `x<number>`: Avro, content and value of a column."""
    to, leaf = f"a{number}, m{number}, x{number}", _leaf(item)
    fits = node.nullable and node.null_branch == 0 and (leaf is None or node.kind == _FITS[leaf[0]])
    if leaf is not None and fits and (node.kind != "timestamp" or node.micros == 1):
        kind, field = leaf
        writer.add(f"_v = _get({field!r})")
        if kind == "masked" or (kind == "text" and item.name not in FEW_TEXTS):
            begin = "if"
            if kind == "masked":  # labels of lines come again, and looking for account numbers takes long
                table, begin = writer.known(f"_t{number}", _table(kind, node)), "elif"
                writer.add(f"if _v.__class__ is str and len(_v) > 14: {to} = {table}[_v]")
            writer.add(
                f"{begin} _v.__class__ is str and _v:",
                f" _r = _v.encode(); a{number} = _N[len(_r)] + _r; m{number} = _M[len(_r)] + _r; x{number} = _v",
                "else:",
                f" {to} = _null if _v is False or _v is None or _v == '' else _odd()",
            )
            return
        code = _FOUND[kind]
        if kind == "number":
            of_zero = value_encoder(node)
            for name, zero in (("_zero", values.ZERO), ("_minus", values.MINUS_ZERO)):
                writer.known(f"{name}{number}", (of_zero(zero), _content(zero), zero))
            code = code.replace("_zero", f"_zero{number}").replace("_minus", f"_minus{number}")
        table = "" if kind == "flag" else writer.known(f"_t{number}", _table(kind, node))
        writer.add(f"{to} = {code.format(t=table)}")
        return
    listed = _list_of(item, node, writer, number, arguments)
    if listed:
        return
    evaluate = writer.known(f"_f{number}", flatten_expression(item.value, arguments, item.known))
    encode = writer.known(f"_e{number}", value_encoder(node))
    if node.kind == "array" and not node.nullable and _calls(item.value, item.known) is values.refs:
        field = ast.literal_eval(item.value.args[1])  # type: ignore[attr-defined]
        writer.add(
            f"if (_v := _get({field!r})).__class__ is list and not _v: {to} = _empty",
            f"else: x{number} = _v = {evaluate}({arguments}); a{number} = {encode}(_v); m{number} = _c(_v)",
        )
        return
    writer.add(f"x{number} = _v = {evaluate}({arguments})")
    if fits and node.kind == "string":
        writer.add(
            "if _v.__class__ is str:",
            f" _r = _v.encode(); a{number} = _N[len(_r)] + _r; m{number} = _M[len(_r)] + _r",
            f"elif _v is None: a{number} = _null[0]; m{number} = _null[1]",
            f"else: a{number} = {encode}(_v); m{number} = _c(_v)",
        )
    elif node.kind == "string" and not node.nullable:
        writer.add(
            "if _v.__class__ is not str: _odd()",
            f"_r = _v.encode(); a{number} = _L[len(_r)] + _r; m{number} = _M[len(_r)] + _r",
        )
    else:
        writer.add(f"a{number} = {encode}(_v); m{number} = _c(_v)")


def _list_of(item: _Item, node: Node, writer: _Writer, number: int, arguments: str) -> bool:
    """As `_column`, for a list of lines: `[line(one, source) for one in ... if ...]`."""
    value = item.value
    if not isinstance(value, ast.ListComp) or len(value.generators) != 1 or node.kind != "array" or node.nullable:
        return False
    target, inner = value.generators[0].target, _calls(value.elt, item.known)
    if inner is None or node.item is None or node.item.kind != "record" or not isinstance(target, ast.Name):
        return False
    assert isinstance(value.elt, ast.Call)
    called = [ast.unparse(one) for one in value.elt.args]
    of_line = ", ".join(inspect.signature(inner).parameters)
    if called[0] != target.id or ", ".join(["row", *called[1:]]) != of_line:
        return False
    rows = ast.ListComp(ast.Name(target.id, ast.Load()), value.generators)
    found = writer.known(f"_f{number}", flatten_expression(rows, arguments, item.known))
    each = writer.known(f"_i{number}", _compiled(inner, node.item, of_line))
    rest = "".join(f", {one}" for one in called[1:])
    writer.add(
        f"_v = [{each}(_one{rest}) for _one in {found}({arguments})]",
        f"x{number} = [{{{_OF_LINES!r}: _one[2]}} for _one in _v if _one[2]]",
        "if not _v: " + f"a{number}, m{number}, _r = _empty",
        "else:",
        f" a{number} = _join((_L[len(_v)], *[_one[0] for _one in _v], b'\\x00'))",
        f" m{number} = _join((_arrays(len(_v)), *[_one[1] for _one in _v]))",
    )
    return True


def _mp_array(length: int) -> bytes:
    return bytes((0x90 | length,)) if length < 16 else b"\xdc" + length.to_bytes(2, "big")


def _mp_map(length: int) -> bytes:
    return bytes((0x80 | length,)) if length < 16 else b"\xde" + length.to_bytes(2, "big")


def _compiled(function: Callable[..., Any], node: Node, arguments: str) -> Callable[..., tuple[bytes, bytes, Any]]:
    """(Avro, content, values of the columns that are kept) of what a function makes of a row."""
    items = list(_items(function))
    columns = {column.name: column for column in node.columns}
    numbers = {item.name: number for number, item in enumerate(items)}
    if len(numbers) != len(items) or not numbers.keys() <= columns.keys():
        raise TypeError("a column is written twice, or the schema has none of its name")
    writer = _Writer()
    writer.add("_get = row.get")
    for item in items:
        _column(writer, numbers[item.name], item, columns[item.name].type, arguments)
    avro = []
    for name, column in columns.items():
        if name in numbers:
            avro.append(f"a{numbers[name]}")
        elif column.has_default:
            avro.append(repr(value_encoder(column.type)(column.default)))
        else:
            raise TypeError(f"{name} is missing")
    said = [item for item in items if item.name != NOT_CONTENT]
    content, lead = [], _mp_map(len(said))
    for item in said:
        content += [repr(lead + _content(item.name)), f"m{numbers[item.name]}"]
        lead = b""
    if _OF_LINES in numbers:
        kept = f"x{numbers[_OF_LINES]}"
    else:
        kept = ", ".join(f"{name!r}: x{numbers[name]}" for name in (*KEPT, "lines") if name in numbers)
        kept = f"{{{kept}}}"
    writer.add(f"return _join(({', '.join(avro)},)), _join(({', '.join(content)},)), {kept}")
    return writer.function(arguments)


def body_node(entity: str) -> Node:
    """The columns of an entity's record behind the event's header, as a record."""
    node = tree(newest(entity_record(entity)))
    names = [column.name for column in node.columns]
    return Node("record", name=node.name, columns=node.columns[names.index("changes") + 1 :])


def quick(entity: str, function: Callable[..., Any]) -> Callable[..., Quick]:
    """The function (row, lines, source) -> Quick of a mapping function (row, lines, source) -> body of an entity.

    What it makes raises, Odd among others, for what the function as written has to decide. Raises TypeError for a
    function that does not consist of one dict display of the schema's columns.
    """
    made = _compiled(function, body_node(entity), "row, lines, source")
    return lambda row, lines, source: Quick(*made(row, lines, source))


def company(row: Row) -> tuple[bytes, bytes, str | None]:
    """(Avro, content, id) of the company of a row. Raises Odd."""
    value = row.get("company_id")
    if value.__class__ is list and value and value[0].__class__ is int:
        found: tuple[bytes, bytes, str | None] = _companies[value[0]]
        return found
    return _NULL if value is False or value is None else odd()


_companies = _table("ref", Node("string", nullable=True))
