"""The mapping of a log: a YAML file that says which attribute is what and which activity means what.

See producers/eventlog/mappings/travel_declarations.yaml for an example with every line explained.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from finwatch.runtime.topics import ENTITIES
from producers.eventlog.errors import MappingError

FOLDER = Path(__file__).parent / "mappings"
MAX_BYTES = 1024 * 1024
Activity = Literal[
    "created",
    "submitted",
    "approved",
    "final_approved",
    "rejected",
    "withdrawn",
    "saved",
    "posted",
    "reset",
    "cancelled",
    "payment_requested",
    "paid",
    "received",
    "ordered",
    "changed",
]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Part):
    """Names of the log's attributes: the event's, or with `case:` in front its trace's; for CSV the header's names."""

    record_id: Name = "case:concept:name"
    activity: Name = "concept:name"
    timestamp: Name = "time:timestamp"
    event_id: Name | None = None
    actor: Name | None = None
    role: Name | None = None
    responsible: Name | None = None
    amount: Name | None = None
    currency: Name | None = None
    company_id: Name | None = None

    def used(self) -> list[str]:
        """Names that a CSV header must hold."""
        names = (getattr(self, field) for field in type(self).model_fields)
        return [name for name in names if name is not None]


class Meaning(_Part):
    """What one activity of the log means."""

    activity: Activity
    step: Code | None = None
    role: Code | None = None
    decision: Literal["approved", "rejected"] | None = None
    entity: str | None = None

    @field_validator("entity")
    @classmethod
    def _known_entity(cls, value: str | None) -> str | None:
        return value if value is None else _entity(value)

    @model_validator(mode="after")
    def _decision_fits(self) -> Self:
        fitting = {"approved": "approved", "final_approved": "approved", "rejected": "rejected"}
        if self.decision is not None and fitting.get(self.activity) != self.decision:
            raise ValueError(f"decision {self.decision} does not go with activity {self.activity}")
        return self


class CsvFormat(_Part):
    """How a CSV file is written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    encoding: str = "utf-8"
    timestamp_format: str | None = None
    decimal_comma: bool = False

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError("Python knows no such encoding") from None
        return value


class Mapping(_Part):
    """A whole mapping. Raises nothing: `load_mapping` made it from a checked file."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    entity: str
    time_zone: str | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    company_id: Name | None = None
    columns: Columns = Columns()
    csv: CsvFormat = CsvFormat()
    anonymous_actors: tuple[str, ...] = ()
    other_activities: Literal["refuse", "skip", "changed"] = "refuse"
    activities: Annotated[dict[str, Meaning], Field(min_length=1)]

    @field_validator("entity")
    @classmethod
    def _known_entity(cls, value: str) -> str:
        return _entity(value)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("no such time zone; write it as Europe/Amsterdam") from None
        return value


def _entity(value: str) -> str:
    if value not in ENTITIES:
        raise ValueError(f"no such entity; there are {', '.join(ENTITIES)}")
    return value


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice, which YAML would drop in silence, and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)


def load_mapping(path: Path) -> Mapping:
    """A mapping from its file, or a shipped one by its name. Raises MappingError with lines and what to do."""
    if not path.exists() and path.suffix == "" and (FOLDER / f"{path.name}.yaml").is_file():
        path = FOLDER / f"{path.name}.yaml"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise MappingError(f"{path}: larger than {MAX_BYTES} bytes")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        shipped = ", ".join(packaged_mappings())
        raise MappingError(f"{path}: {error.strerror}; shipped mappings: {shipped}") from None
    except UnicodeDecodeError:
        raise MappingError(f"{path}: not UTF-8 text") from None
    return parse_mapping(text, str(path))


def packaged_mappings() -> list[str]:
    """Names of the shipped mappings, which `load_mapping` takes in place of a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def parse_mapping(text: str, name: str) -> Mapping:
    """A mapping from its text. Raises MappingError."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        places = dict(_places(node, ()))
        twice = list(_repeated(node, ()))
        if twice:
            raise MappingError(
                "\n".join(f"{name}, line {line}: {_dotted(key)} stands there twice" for key, line in twice)
            )
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise MappingError(f"{name}, line {line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise MappingError(f"{name}: not YAML ({type(error).__name__})") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(content, dict):
        raise MappingError(f"{name}: empty, or not a list of `key: value` lines")
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise MappingError("\n".join(_problem(problem, places, name) for problem in problems)) from None


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
