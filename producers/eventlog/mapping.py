"""The mapping of a log: a YAML file that says which attribute is what and which activity means what.

See producers/eventlog/mappings/travel_declarations.yaml for an example with every line explained.
"""

import codecs
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from finwatch.domain.policy import Activity
from finwatch.runtime.topics import WATCHED_ENTITIES
from producers.eventlog.errors import MappingError
from producers.yaml_model import parse_model, read_text

FOLDER = Path(__file__).parent / "mappings"
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
    if value not in WATCHED_ENTITIES:
        raise ValueError(f"no such entity; there are {', '.join(WATCHED_ENTITIES)}")
    return value


def load_mapping(path: Path) -> Mapping:
    """A mapping from its file, or a shipped one by its name. Raises MappingError with lines and what to do."""
    if not path.exists() and path.suffix == "" and (FOLDER / f"{path.name}.yaml").is_file():
        path = FOLDER / f"{path.name}.yaml"
    if not path.exists():
        raise MappingError(f"{path}: no such file; shipped mappings: {', '.join(packaged_mappings())}")
    return parse_mapping(read_text(path, MappingError), str(path))


def packaged_mappings() -> list[str]:
    """Names of the shipped mappings, which `load_mapping` takes in place of a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def parse_mapping(text: str, name: str) -> Mapping:
    """A mapping from its text. Raises MappingError."""
    return parse_model(Mapping, text, name, MappingError)
