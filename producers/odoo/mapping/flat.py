"""Mapping functions compiled once into flat ones.

A mapping is written as what it is: a dict of `number(row, "amount_total")`, `ref(row, "partner_id")`. Of a bill with
three lines that is a hundred calls, and most of what mapping costs. `flat` compiles such a function a second time with
those calls written out in place, for values as Odoo sends them. Whatever is not as expected raises there, and the
function as written decides: it reads the odd value, or says what is wrong with it.
"""

import ast
import copy
import inspect
import textwrap
import types
from collections.abc import Callable
from functools import wraps
from math import copysign
from typing import Any, ParamSpec, TypeVar

from producers.odoo import values

P = ParamSpec("P")
R = TypeVar("R")

_IDS: values.Known[int, str] = values.Known(str)
_SHARED: dict[str, Any] = {
    "_ids": _IDS,
    "_zero": values.ZERO,
    "_minus": values.MINUS_ZERO,
    "_sign": copysign,
    "_days": values.DAYS,
    "_moments": values.MOMENTS,
    "_decimals": values.DECIMALS,
}
_V = "(_v := {row}.get({field}))"
# What each function of producers.odoo.values does for the values that Odoo sends, else the call itself.
_WRITTEN_OUT: dict[str, str] = {
    "text": f"((_v or None) if {_V}.__class__ is str else None if _v is False else {{call}})",
    "ref": (
        f"(_ids[_v[0]] if {_V}.__class__ is list and _v and _v[0].__class__ is int else None if _v is False else "
        "{call})"
    ),
    "ref_name": f"((_v[1] or None) if {_V}.__class__ is list and len(_v) > 1 and _v[1].__class__ is str else None)",
    "number": (
        "(((_decimals[_v] or {call}) if _v else (_zero if _sign(1.0, _v) > 0 else _minus)) "
        f"if {_V}.__class__ is float else {{call}})"
    ),
    "day": f"(_days[_v] if {_V}.__class__ is str else None if _v is False else {{call}})",
    "moment": f"(_moments[_v] if {_V}.__class__ is str else None if _v is False else {{call}})",
    "flag": f"(_v if {_V} is True or _v is False else {{call}})",
}


class _WriteOut(ast.NodeTransformer):
    """Calls of the functions above with a name and a field, written out."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known
        self.written_out = 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace one call."""
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _WRITTEN_OUT or self._known.get(name) is not getattr(values, name) or len(node.args) != 2:
            return node
        row, field = node.args
        if node.keywords or not isinstance(row, ast.Name) or not isinstance(field, ast.Constant):
            return node
        self.written_out += 1
        code = _WRITTEN_OUT[name].format(row=row.id, field=repr(field.value), call=ast.unparse(node))
        return ast.copy_location(ast.parse(code, mode="eval").body, node)


def flatten(function: Callable[P, R]) -> Callable[P, R] | None:
    """The flat function; None where there is no source, or nothing to write out."""
    if not isinstance(function, types.FunctionType) or function.__closure__:
        return None
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return None
    definition = parsed.body[0]
    assert isinstance(definition, ast.FunctionDef)
    arguments = [argument.arg for argument in definition.args.args]
    stored = {
        node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if stored & set(arguments):
        return None  # the function as written could not be given what this one was
    definition.decorator_list = []
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None  # their names need not be known where this is compiled
    writer = _WriteOut(function.__globals__)
    writer.visit(definition)
    if not writer.written_out:
        return None
    # In the function itself: a wrapper would cost as much as the calls of a line that are written out.
    given = [ast.Name(name, ast.Load()) for name in arguments]
    as_written = ast.Return(ast.Call(ast.Name("_as_written", ast.Load()), [*given], []))
    # Whatever it is: the function as written tells what is wrong, or takes the value.
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [as_written])
    definition.body = [ast.Try(definition.body, [handler], [], [])]
    shared = {**_SHARED, "_as_written": function}
    for name in shared:  # as locals: found faster than globals, and nothing is put into the module
        definition.args.kwonlyargs.append(ast.arg(name))
        definition.args.kw_defaults.append(ast.Constant(None))
    ast.fix_missing_locations(parsed)
    scope: dict[str, Any] = {}
    exec(compile(parsed, f"<flat {function.__module__}.{function.__name__}>", "exec"), scope)  # noqa: S102  (own source)
    code = scope[function.__name__].__code__
    made = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
    made.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **shared}
    return made


def flatten_expression(value: ast.expr, arguments: str, known: dict[str, Any]) -> Callable[..., Any]:
    """A function of these arguments that evaluates an expression of a mapping function, written out as there.

    `known`: what the names in it mean. It raises for what is not as expected; nothing stands behind it.
    """
    writer = _WriteOut(known)
    body = writer.visit(copy.deepcopy(value))
    shared = _SHARED if writer.written_out else {}
    more = "".join(f", {name}" for name in shared)
    parsed = ast.parse(f"lambda {arguments}{', *' + more if more else ''}: 0", mode="eval")
    assert isinstance(parsed.body, ast.Lambda)
    parsed.body.body = body
    ast.fix_missing_locations(parsed)
    evaluated = eval(compile(parsed, "<flat expression>", "eval"), known)  # noqa: S307  (own source)
    evaluated.__kwdefaults__ = dict(shared)
    made: Callable[..., Any] = evaluated
    return made


def flat(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the flat function, and behind it the one as written for whatever that cannot take."""
    made = flatten(function)
    return function if made is None else wraps(function)(made)
