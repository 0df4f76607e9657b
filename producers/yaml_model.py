"""A YAML file checked against a pydantic model; what is wrong is said with file, line and dotted key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

MAX_BYTES = 1024 * 1024
ModelT = TypeVar("ModelT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice, which YAML would drop in silence, and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)


def read_text(path: Path, failure: type[Exception]) -> str:
    """Text of a file of at most 1 MB. Raises `failure`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise failure(f"{path}: larger than {MAX_BYTES} bytes")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise failure(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise failure(f"{path}: not UTF-8 text") from None


def parse_model(model: type[ModelT], text: str, name: str, failure: type[Exception]) -> ModelT:
    """An instance from the text of the file `name`. Raises `failure` with one line a problem."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        places = dict(_places(node, ()))
        twice = list(_repeated(node, ()))
        if twice:
            raise failure("\n".join(f"{name}, line {line}: {_dotted(key)} stands there twice" for key, line in twice))
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise failure(f"{name}, line {line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise failure(f"{name}: not YAML ({type(error).__name__})") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(content, dict):
        raise failure(f"{name}: empty, or not a list of `key: value` lines")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise failure("\n".join(_problem(problem, places, name) for problem in problems)) from None


def _problem(problem: Any, places: dict[tuple[object, ...], int], name: str) -> str:
    key = tuple(part for part in problem["loc"] if part != "[key]")
    at = key
    while at not in places and at:
        at = at[:-1]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "no such key; check its spelling"
    elif problem["type"] == "missing":
        message = "is missing; add it"
    return f"{name}, line {places.get(at, 1)}: {_dotted(key)}: {message}"


def _dotted(key: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in key) or "the file"


def _places(node: Any, at: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            yield here, key.start_mark.line + 1
            yield from _places(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, index), value.start_mark.line + 1
            yield from _places(value, (*at, index))


def _repeated(node: Any, at: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[object] = set()
        for key, value in node.value:
            here = (*at, key.value)
            if here in seen:
                yield here, key.start_mark.line + 1
            seen.add(here)
            yield from _repeated(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, (*at, index))
