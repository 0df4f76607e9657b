"""The demonstration: a generated company runs at high speed through the real path, on a simulated clock.

The company's Odoo answers JSON-RPC on loopback, the capture reads it through odoorpc as it would a real one, and what
follows is the product itself. Only time is simulated: the capture's timeline is `log`, so deadlines follow it.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from finwatch.local.embedded import producer_gate
from finwatch.local.files import read_json, write_json
from finwatch.local.truth import Truth
from finwatch.runtime.clock import ManualClock
from finwatch.runtime.config import ConfigError, OdooSettings, Settings
from finwatch.runtime.policies import load_policies
from finwatch.runtime.publisher import KafkaPublisher
from finwatch.runtime.topics import ENTITY_TOPICS
from finwatch.sim import Company, Label, SimulatedOdoo

SOURCE = "demo"
START = datetime(2026, 10, 5, tzinfo=UTC)
BUSY_STEP, QUIET_STEP = timedelta(hours=1), timedelta(hours=6)
# The company is looked at once a step, so what is seen may be a step old. Deadlines wait for half the lateness at each
# event (streams.timeline); a shorter one would let a deadline fire before the decision that met it is seen.
LATENESS = 2 * BUSY_STEP.total_seconds()
# Deletions and commits that no window sees show so long after they happened at the latest.
SWEEP = timedelta(hours=12)
_KEY = b"an invented company has no accounts to hide"
_MARK = "demo.json"


@dataclass(frozen=True)
class Scenario:
    """What the company is made from; kept in the directory, so that opening it again goes on with the same one."""

    seed: int = 7
    weeks: int = 4
    version: str = "18.0"


def settle(directory: Path, wanted: Scenario) -> None:
    """Note the scenario in `directory`. Raises ConfigError when that holds another one, or data of another kind."""
    mark = directory / _MARK
    known = read_json(mark)
    if known is None:
        if (directory / "store").exists():
            raise ConfigError(f"{directory} holds data that no demo made; give the demo a directory of its own")
        directory.mkdir(parents=True, exist_ok=True)
        write_json(mark, vars(wanted))
    elif Scenario(**known) != wanted:
        raise ConfigError(
            f"{directory} holds a demo of seed {known['seed']}, {known['weeks']} weeks, Odoo {known['version']}; "
            "use the same, or another directory"
        )


def made_by_demo(directory: Path) -> bool:
    """Whether `directory` is a demo's own, which a new demo may replace."""
    return (directory / _MARK).is_file()


def access(odoo: SimulatedOdoo) -> OdooSettings:
    """How the capture's account gets into a simulated Odoo of any version."""
    account = odoo.db.user("svc_cdc")
    if account is None:
        raise ConfigError("the simulated Odoo has no account svc_cdc")
    return OdooSettings(
        url=odoo.url,
        database=odoo.db.name,
        user=account.login,
        password=SecretStr(account.password),
        api_key=SecretStr(account.api_key),
    )  # type: ignore[call-arg]


class Demonstration:
    """Runs the company and its capture in a thread of its own.

    `moment` is the simulated time reached, `share` how much of the weeks has passed, `published` the events so far,
    `failure` what ended it early.
    """

    def __init__(self, settings: Settings, scenario: Scenario, stop: threading.Event) -> None:
        self.scenario = scenario
        self.company = Company(seed=scenario.seed, start=START, weeks=scenario.weeks, version=scenario.version)
        self.moment = self.company.start
        self.finished = threading.Event()
        self.failure: Exception | None = None
        self.published = 0
        self._settings = settings
        self._stop = stop
        self._thread = threading.Thread(target=self._body, name="demonstration", daemon=True)

    @property
    def share(self) -> float:
        """Part of the weeks that has passed, 0 to 1."""
        return (self.moment - self.company.start) / (self.company.end - self.company.start)

    @property
    def labels(self) -> list[Label]:
        """The anomalies that were made on purpose, so far; no detector sees them."""
        return self.company.labels

    def truth(self) -> Truth:
        """The labels so far, to be held against what was found under the policy in force."""
        given = self._settings.policy
        policy = load_policies([given] if given is not None else []).of(SOURCE)
        return Truth(self.labels, self.company.db, policy, SOURCE, START, self.moment, LATENESS)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end; raises what ended it early."""
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _body(self) -> None:
        try:
            self._run()
        except Exception as error:
            self.failure = error
        finally:
            self.finished.set()

    def _run(self) -> None:
        # Heavy imports here: the console shows before they are done.
        from producers.odoo import Capture, CaptureSettings
        from producers.odoo.connect import open_transport
        from producers.odoo.records import RecordEncoder
        from schemas.registry import open_registry

        company, settings = self.company, self._settings
        clock = ManualClock(company.start)
        company.advance(company.start)
        gate = producer_gate(settings)
        publisher = KafkaPublisher(
            settings.kafka.client_config({"log_level": 0}), gate=gate, gated=frozenset(ENTITY_TOPICS), stop=self._stop
        )
        with SimulatedOdoo(company.db) as odoo:
            capture = Capture(
                open_transport(access(odoo)),
                publisher,
                clock,
                CaptureSettings(
                    source=SOURCE,
                    database=company.db.name,
                    account_key=_KEY,
                    timeline="log",
                    partitions=settings.kafka.partitions,
                    sweep_interval=SWEEP.total_seconds(),
                ),
                encode=RecordEncoder(open_registry(settings.registry)),
            )
            capture.connect()
            capture.snapshot()
            while self.moment < company.end and not self._stop.is_set():
                self.moment = min(company.end, self.moment + self._step())
                company.advance(self.moment)
                clock.set(self.moment)
                capture.poll()
                self.published = capture.published
            if not self._stop.is_set():
                capture.sweep()
                self.published = capture.published
        publisher.close()
        gate.close()

    def _step(self) -> timedelta:
        """An hour of a working day, six at night and on weekends."""
        quiet = self.moment.weekday() >= 5 or not 5 <= self.moment.hour < 18
        return QUIET_STEP if quiet else BUSY_STEP
