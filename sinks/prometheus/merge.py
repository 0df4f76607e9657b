"""Parts of KPIs and how they make a figure. Pure: no broker, no clock.

A part is what one input partition contributes to one KPI under one set of labels. Of two versions of a part the one
that contains more of its input counts (`position`), then the later one: so a partition that moves to another worker
neither drops nor doubles anything, and what a zombie still says is not heard.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from finwatch.domain.records import Kpi

PartKey = tuple[str, str, str, int]
"""KPI, labels as JSON, input topic, input partition."""


@dataclass(slots=True)
class Part:
    """Newest version of a part. All three figures None: withdrawn (kept, so that an older version stays out)."""

    position: int
    at: int
    value: float | None
    numerator: float | None
    denominator: float | None

    @property
    def withdrawn(self) -> bool:
        """True when the part contributes nothing any more."""
        return self.value is None and self.numerator is None and self.denominator is None


@dataclass(frozen=True)
class Figure:
    """A merged KPI: `value` is None when it has none (a rate over nothing)."""

    kpi: str
    labels: Mapping[str, str]
    value: float | None
    parts: int


class Parts:
    """All parts that were heard of, and when each input partition last said anything."""

    def __init__(self, largest: frozenset[str] = frozenset()) -> None:
        """`largest`: KPIs of which the largest part is the figure, where all others add up."""
        self._largest = largest
        self._parts: dict[PartKey, Part] = {}
        self._by_kafka_key: dict[bytes, PartKey] = {}
        self._heard: dict[tuple[str, int], int] = {}
        self._labels: dict[str, Mapping[str, str]] = {}

    def __len__(self) -> int:
        return sum(not part.withdrawn for part in self._parts.values())

    def apply(self, kafka_key: bytes, kpi: Kpi, heard_at: int) -> bool:
        """Take a version of a part in; False when a newer one is held. `heard_at`: epoch microseconds.

        Raises ValueError when its labels are not a JSON object of texts or nulls.
        """
        self._read_labels(kpi.labels)
        key = (kpi.kpi, kpi.labels, kpi.topic, kpi.partition)
        place = (kpi.topic, kpi.partition)
        self._heard[place] = max(heard_at, self._heard.get(place, 0))
        held = self._parts.get(key)
        if held is not None and (kpi.position, kpi.at) < (held.position, held.at):
            return False
        self._parts[key] = Part(kpi.position, kpi.at, kpi.value, kpi.numerator, kpi.denominator)
        self._by_kafka_key[kafka_key] = key
        return True

    def forget(self, kafka_key: bytes) -> bool:
        """A tombstone: the part under this Kafka key is gone; False when there was none."""
        key = self._by_kafka_key.pop(kafka_key, None)
        return key is not None and self._parts.pop(key, None) is not None

    def figures(self) -> Iterator[Figure]:
        """Every KPI by its labels: the sum of its parts; a rate is the sum of numerators over that of denominators."""
        groups: dict[tuple[str, str], list[Part]] = {}
        for (kpi, labels, _, _), part in self._parts.items():
            if not part.withdrawn:
                groups.setdefault((kpi, labels), []).append(part)
        for (kpi, labels), parts in groups.items():
            yield Figure(kpi, self._read_labels(labels), _figure(parts, kpi in self._largest), len(parts))

    def ages(self, now: int) -> dict[tuple[str, int], float]:
        """Seconds since each input partition said anything, by (topic, partition). `now`: epoch microseconds."""
        return {place: max(0.0, (now - heard) / 1e6) for place, heard in self._heard.items()}

    def stale(self, now: int, after: float) -> dict[str, bool]:
        """For each KPI: whether a partition it has a part from has been silent for more than `after` seconds."""
        silent = {place for place, age in self.ages(now).items() if age > after}
        found: dict[str, bool] = {}
        for (kpi, _, topic, partition), part in self._parts.items():
            if not part.withdrawn:
                found[kpi] = found.get(kpi, False) or (topic, partition) in silent
        return found

    def _read_labels(self, labels: str) -> Mapping[str, str]:
        known = self._labels.get(labels)
        if known is None:
            read = json.loads(labels)
            if not isinstance(read, dict) or not all(
                value is None or isinstance(value, str) for value in read.values()
            ):
                raise ValueError("labels must be a JSON object of texts")
            known = self._labels[labels] = {name: value or "" for name, value in read.items()}
        return known


def _figure(parts: list[Part], largest: bool) -> float | None:
    if any(part.denominator is not None for part in parts):
        below = sum(part.denominator or 0.0 for part in parts)
        return sum(part.numerator or 0.0 for part in parts) / below if below else None
    values = [part.value for part in parts if part.value is not None]
    if not values:
        return None
    return max(values) if largest else sum(values)
