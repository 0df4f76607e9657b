"""The process `finwatch webhook`: settings in, a running ingress out."""

import asyncio
import threading
from collections.abc import Callable

from aiohttp import web

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.config import ConfigError, Settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.retry import GaveUp, retrying
from producers.webhook.connections import Listener
from producers.webhook.delivery import Deliveries
from producers.webhook.events import TRANSITION, TransitionRecord
from producers.webhook.hooks import Hooks, load_hooks
from producers.webhook.server import Encode, Ingress
from schemas.codec import Encoder
from schemas.registry import Registry, RegistryUnavailable, SchemaNotRegistered, open_registry

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WAIT = 0.1
_FIRST_WAIT = 2.0


class AddressTaken(Exception):
    """The address cannot be listened on."""

    exit_code = ExitCode.CONFIG
    what_to_do = "change FINWATCH_WEBHOOK_HOST or FINWATCH_WEBHOOK_PORT, or stop what listens there"


def hooks_of(settings: Settings) -> Hooks:
    """The hooks that the settings name. Raises ConfigError, HooksError."""
    if settings.webhook.hooks is None:
        raise ConfigError("FINWATCH_WEBHOOK_HOOKS is not set; it names the file of hooks (docs/webhooks.md)")
    if settings.embedded is not None:
        raise ConfigError(
            "finwatch webhook needs a real broker: the embedded one forgets what it acknowledged. Unset "
            "FINWATCH_EMBEDDED and set FINWATCH_KAFKA_BOOTSTRAP"
        )
    return load_hooks(settings.webhook.hooks)


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
    listening: Callable[[str, int], None] | None = None,
) -> None:
    """Serve until `stop` is set, then answer what was accepted. `listening(host, port)` is told once it listens.

    Raises ConfigError, HooksError, AddressTaken; OSError when the port of `/metrics` is taken. Broker and registry may
    be away at any time: senders are told 503.
    """
    hooks = hooks_of(settings)
    registry = open_registry(settings.registry)
    asyncio.run(_serve(settings, hooks, registry, stop, metrics or Metrics(), clock or SystemClock(), listening))


async def _serve(
    settings: Settings,
    hooks: Hooks,
    registry: Registry,
    stop: threading.Event,
    metrics: Metrics,
    clock: Clock,
    listening: Callable[[str, int], None] | None,
) -> None:
    of_webhook, log = settings.webhook, get_logger("webhook")
    deliveries = Deliveries(
        settings.kafka.client_config({"log_level": 0}), seconds=of_webhook.ack_seconds, most=of_webhook.pending
    )
    ingress = Ingress(hooks, deliveries, clock, metrics, read_seconds=of_webhook.read_seconds)
    deliveries.on_failure = metrics.counter("webhook_undelivered").inc

    def health() -> Health:
        ready = ingress.encode is not None
        return Health(ready and deliveries.last_failure is None, {"registry": ready, "broker": deliveries.last_failure})

    listener = Listener(ingress, connections=of_webhook.connections, idle_seconds=of_webhook.idle_seconds)
    runner = web.ServerRunner(listener, shutdown_timeout=2 * of_webhook.ack_seconds + of_webhook.read_seconds + 1)
    await runner.setup()
    server: HealthServer | None = None
    fetching = threading.Event()
    encoder = asyncio.create_task(asyncio.to_thread(_encoder, registry, fetching, clock))
    try:
        # Mostly the registry answers at once; then nobody is told 503 for want of it.
        await asyncio.wait((encoder,), timeout=_FIRST_WAIT)
        if encoder.done():
            ingress.encode = encoder.result()
        try:
            await web.TCPSite(runner, of_webhook.host, of_webhook.port, backlog=512).start()
        except OSError as error:
            raise AddressTaken(f"{of_webhook.host}:{of_webhook.port}: {error.strerror}") from None
        server = HealthServer(metrics.registry, health, settings.http.host, settings.http.port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", address=f"{host}:{port}", hooks=len(hooks.hooks), metrics=server.address)
        if of_webhook.host not in LOOPBACK:
            log.warning("listening beyond loopback without TLS; put a proxy with TLS in front", host=of_webhook.host)
        if listening is not None:
            listening(str(host), int(port))
        while not stop.is_set():
            if ingress.encode is None and encoder.done():
                ingress.encode = encoder.result()
            await asyncio.sleep(_WAIT)
    finally:
        # 1. no new connections or requests  2. what was accepted is answered  3. nothing is left on its way
        fetching.set()
        await runner.cleanup()
        await deliveries.close()
        if server is not None:
            server.stop()
        await asyncio.wait((encoder,))
        if not encoder.cancelled():
            encoder.exception()
        log.info("stopped")


def _encoder(registry: Registry, stop: threading.Event, clock: Clock) -> Encode | None:
    """The encoder of events, once the registry knows the schema; None when stopped before."""
    log = get_logger("webhook")
    said: list[str] = []

    def failed(error: Exception, _wait: float) -> None:
        if type(error).__name__ not in said[-1:]:
            said.append(type(error).__name__)
            log.warning("waiting for the registry", reason=str(error))

    try:
        return retrying(
            lambda: Encoder(registry).encoder(TransitionRecord, TRANSITION),
            (RegistryUnavailable, SchemaNotRegistered),
            stop=stop,
            on_failure=failed,
            clock=clock,
        )
    except GaveUp:
        return None
