"""The Faust app: one worker process that runs one stage or several.

``faust -A streams.app worker`` runs the stages of FINWATCH_STREAM_STAGES; ``run`` is what `finwatch stream` calls.
Faust gives the process its agents and channels; its own Kafka transport, tables and web server stay off
(docs/adr/0001).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import faust
from faust.app import BootStrategy
from msgspec import Struct

from finwatch.domain.records import AVRO_NAMES
from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.config import ConfigError, Settings, load_settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.history import History
from finwatch.runtime.logging import configure_logging, get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.retry import GaveUp
from finwatch.runtime.topics import KPI, state_topic
from schemas.codec import Decoder, Encoder
from schemas.registry import Registry, RegistryError, open_registry
from streams.deadletters import DeadLetter
from streams.outlet import Gate
from streams.partition import Encode
from streams.readiness import Broker, wait_until
from streams.shell import CHANNEL_BATCHES, OUTPUTS, Shell, end_process
from streams.stage import Stage

RECORDS: Mapping[type[Struct], str] = {**AVRO_NAMES, DeadLetter: "finwatch.DeadLetter"}
"""Avro full names of what stages and the shell emit."""


class NoKafkaBoot(BootStrategy):
    """Starts agents and sensors only: librdkafka is the one Kafka client, and health has a server of its own."""

    enable_kafka = False
    enable_web = False


class App(faust.App):
    """A Faust app that never talks to Kafka itself."""

    BootStrategy = NoKafkaBoot


class Worker:
    """The stages of one process with their Faust app, metrics and health.

    ``records``: Avro full names of further output records. ``history`` and ``gate`` belong to the embedded stack.
    Raises ConfigError for settings that cannot work.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        settings: Settings,
        *,
        records: Mapping[type[Struct], str] | None = None,
        outputs: Sequence[str] = (*OUTPUTS, KPI),
        history: History | None = None,
        gate: Gate | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        registry: Registry | None = None,
        fatal: Callable[[str, ExitCode], None] = end_process,
    ) -> None:
        if settings.embedded is not None and history is None:
            raise ConfigError(
                "the embedded broker forgets, so a worker on it needs the store's log: use finwatch stream --embedded"
            )
        self.settings = settings
        self.stages = tuple(stages)
        self.metrics = metrics or Metrics()
        self._clock = clock or SystemClock()
        self._registry = registry or open_registry(settings.registry)
        self._encoder = Encoder(self._registry)
        self._records = {**RECORDS, **(records or {})}
        self._outputs = tuple(outputs)
        self._history = history
        self._fatal = fatal
        self._stop = threading.Event()
        self._health: HealthServer | None = None
        self._log = get_logger("stream")
        logging.getLogger(__name__).setLevel(logging.WARNING)  # Faust names its lines about the app after this module
        self.app = App(
            "finwatch-streams",
            broker="kafka://not-used:1",  # Faust wants one; NoKafkaBoot keeps it from being asked
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            datadir=tempfile.gettempdir(),
            autodiscover=False,
        )
        self.shells: list[Shell] = []
        encode = self._encode()
        for stage in self.stages:
            channel = self.app.channel(maxsize=CHANNEL_BATCHES)
            shell = Shell(
                stage,
                settings,
                self.metrics,
                channel,
                decoder=Decoder(self._registry),
                encode=encode,
                clock=self._clock,
                history=history,
                gate=gate,
                fatal=fatal,
            )
            self.app.agent(channel, name=f"finwatch.{stage.name}")(shell.agent)
            self.shells.append(shell)
        self.app.task(self._start)
        self.app.on_before_shutdown.connect(self._closing, weak=False)

    def _encode(self) -> Encode:
        made: dict[type[Struct], Callable[[Any], bytes]] = {}
        encoder, names = self._encoder.encoder, self._records

        def encode(record: Struct) -> bytes:
            kind = record.__class__
            write = made.get(kind)
            if write is None:
                write = made[kind] = encoder(kind, names[kind])
            return write(record)

        return encode

    def health(self) -> Health:
        """Health of all stages; a worker that waits for a dependency is not healthy."""
        found = {shell.stage.name: shell.health() for shell in self.shells}
        return Health(
            all(healthy for healthy, _ in found.values()), {name: details for name, (_, details) in found.items()}
        )

    async def _start(self) -> None:
        try:
            http = self.settings.http
            self._health = HealthServer(self.metrics.registry, self.health, http.host, http.port).start()
            self._log.info("metrics and health", address=self._health.address)
            self.app.flow_control.resume()  # Faust's consumer would; without it a channel never delivers
            await asyncio.to_thread(self._wait)
            for shell in self.shells:
                await shell.start()
            self._log.info("started", stages=[stage.name for stage in self.stages])
        except GaveUp:
            return  # told to stop while waiting
        except ConfigError as error:
            self._fatal(str(error), ExitCode.CONFIG)
        except RegistryError as error:
            self._fatal(str(error), ExitCode.FAILED)
        except OSError as error:
            self._fatal(f"metrics cannot be served: {error.strerror}", ExitCode.CONFIG)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._log.error("start failed", exc_info=error)
            self._fatal(f"start failed: {type(error).__name__}", ExitCode.SOFTWARE)

    def _wait(self) -> None:
        broker = Broker(self.settings.kafka)

        def ready() -> None:
            for stage in self.stages:
                broker.check(stage.topics, (state_topic(stage.name), *self._outputs))
            for kind, name in self._records.items():
                self._encoder.encoder(kind, name)

        try:
            wait_until(ready, self._stop, self._clock)
        finally:
            broker.close()

    async def _closing(self, *_: Any, **__: Any) -> None:
        self._stop.set()
        await asyncio.gather(*(shell.stop() for shell in self.shells))
        if self._health is not None:
            await asyncio.to_thread(self._health.stop)

    async def main(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread, or on Windows
                loop.add_signal_handler(number, done.set)
        self.app.loop = loop
        self.app.finalize()
        await self.app.start()
        await done.wait()
        self._log.info("stopping")
        await self.app.stop()
        return int(ExitCode.OK)


def stages_of(names: Sequence[str], settings: Settings) -> list[Stage]:
    """Return the stages of these names with their policies. Raises ConfigError for an unknown name or a bad policy."""
    from finwatch.runtime.policies import PolicyFileError, load_policies
    from streams.agents.registry import stages

    try:
        known = stages(load_policies([settings.policy] if settings.policy is not None else []))
    except PolicyFileError as error:
        raise ConfigError(str(error)) from None
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(
            f"no stage is named {', '.join(unknown) or '(nothing)'}; there are {', '.join(sorted(known))}"
        )
    return [known[name] for name in names]


def run(
    stage_names: Sequence[str], settings: Settings, *, history: History | None = None, gate: Gate | None = None
) -> int:
    """Run a worker of these stages until it is told to stop; return its exit code.

    ``history`` and ``gate`` are needed on the embedded broker: the store's log to rebuild state from, and the
    back-pressure. Raises ConfigError. Does not return from a failure: the process ends with a code that says which.
    """
    worker = Worker(stages_of(stage_names, settings), settings, history=history, gate=gate)
    return asyncio.run(worker.main())


def __getattr__(name: str) -> Any:
    """Make ``app`` when Faust's command line asks for it, not when `run` is imported."""
    if name != "app":
        raise AttributeError(name)
    settings = load_settings()
    configure_logging(settings.loglevel, settings.logformat)
    names = [part.strip() for part in settings.stream.stages.split(",") if part.strip()]
    worker = Worker(stages_of(names, settings), settings)
    globals()["app"] = worker.app
    return worker.app
