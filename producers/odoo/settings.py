"""What one capture does, as it is told."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from producers.odoo.mapping import SHIPPED
from producers.odoo.mapping.registry import Mappings


@dataclass(frozen=True)
class CaptureSettings:
    """What one capture does.

    `source` names the database in document keys. `timeline`: `wall` for a live Odoo; `log` where a simulated clock
    governs, whose time is then the source's too. `account_key`: 16 bytes or more, kept for good: another key gives
    other hashes. `mappings`: the models and their fields; `models`: a part of them, empty for all. `languages`:
    empty to ask the server. `sweep_interval`: seconds between the beginnings of two rounds of the sweep, 0 for
    none; `sweep_rows`: how many rows a poll spends on it; `sweep_recent`: see producers.odoo.sweep;
    `sweep_deletions`: share of a slice that may be missing before deletions are withheld. `poll_budget`: seconds of
    one poll, 0 for as many as it takes. `contents`: bytes of last contents held for `before`; 0 for none;
    `warm_rows`: how many documents are read for them after a start, 0 for none.
    """

    source: str
    database: str
    account_key: bytes = field(repr=False)
    overlap: timedelta = timedelta(seconds=180)
    page_size: int = 1000
    poll_interval: float = 5.0
    timeline: Literal["wall", "log"] = "wall"
    partitions: int = 12
    heartbeat_interval: float = 2.0
    settle_interval: float = 1.0
    models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    read_ahead: bool = True
    sweep_interval: float = 600.0
    sweep_rows: int = 5000
    sweep_recent: timedelta = timedelta(hours=1)
    sweep_deletions: float = 0.1
    contents: int = 32 * 2**20
    warm_rows: int = 20_000
    poll_budget: float = 0.0
    mappings: Mappings = SHIPPED

    def __post_init__(self) -> None:
        if not self.source or ":" in self.source or "/" in self.source:
            raise ValueError("the source's name must be given and hold no colon and no slash")
        if self.overlap < timedelta(0) or self.page_size < 1 or self.partitions < 1:
            raise ValueError("overlap, page size and partitions must be positive")
        if self.sweep_interval < 0 or self.sweep_rows < 1 or not 0 <= self.sweep_deletions <= 1:
            raise ValueError("the sweep's interval and rows must be positive, its share of deletions within 0 and 1")
        if self.poll_budget < 0:
            raise ValueError("the time budget of a poll must be positive, or 0 for none")
        if self.contents < 0 or self.warm_rows < 0:
            raise ValueError("contents held and rows read for them must be positive, or 0 for none")
        unknown = set(self.models) - self.mappings.by_model.keys()
        if unknown:
            raise ValueError(f"no mapping for {', '.join(sorted(unknown))}")
