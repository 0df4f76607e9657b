"""The process that owns the store of an embedded directory: `python -m finwatch.local.store_process DIR`.

It opens the engine, answers HTTP on loopback, runs services (the sinks, say) as threads beside it, and writes its
address to DIR/run/store.json once it answers. SIGTERM or Ctrl-C: 1. services are told to stop and waited for, 2. the
front finishes what it runs, 3. the engine is closed.
"""

import argparse
import asyncio
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finwatch.local.child import follow_parent
from finwatch.local.files import DirectoryInUse, endpoint_file, write_json
from finwatch.local.front.access import load_users
from finwatch.local.front.app import Front, serve
from finwatch.local.store import MEMORY_BYTES, Store
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.logging import configure_logging, get_logger

_log = get_logger("store")
SERVICE_SECONDS = 20.0
"""Seconds a service has to stop."""


@dataclass(frozen=True)
class ServiceContext:
    """What a service gets: the store it shares the process with, and the event that tells it to stop."""

    store: Store
    stop: threading.Event


Service = Callable[[ServiceContext], None]
"""Runs in a thread until `context.stop` is set. Returning earlier or raising ends the process.

A service with an attribute `prepare`, a function of the store, has it called before the store's address is known."""


def run(
    directory: Path,
    *,
    services: Sequence[tuple[str, Service]] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    memory: int = MEMORY_BYTES,
    stop: threading.Event | None = None,
) -> ExitCode:
    """Own the store of `directory` until told to stop (a signal, or `stop` when run in a thread).

    Raises DirectoryInUse, PermissionError (password files), OSError (the port is taken).
    """
    stop = stop or threading.Event()
    directory.mkdir(parents=True, exist_ok=True)
    users = load_users(directory)
    with Store(directory, memory=memory) as store:
        return asyncio.run(_serve(store, Front(store.engine, users), services, host, port, stop))


async def _serve(
    store: Store, front: Front, services: Sequence[tuple[str, Service]], host: str, port: int, stop: threading.Event
) -> ExitCode:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    failures: list[str] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    threading.Thread(
        target=lambda: (stop.wait(), loop.call_soon_threadsafe(ended.set)), name="stop", daemon=True
    ).start()
    runner, bound = await serve(front, host, port)
    context = ServiceContext(store, stop)
    # What a service needs in the store (its tables) is there before anyone is told where the store is.
    for _, service in services:
        prepare = getattr(service, "prepare", None)
        if prepare is not None:
            await asyncio.to_thread(prepare, store)
    threads = [_start(name, service, context, failures) for name, service in services]
    address = endpoint_file(store.directory)
    shown = f"[{host}]" if ":" in host else host
    write_json(address, {"pid": os.getpid(), "url": f"http://{shown}:{bound}"})
    _log.info("the store answers", url=f"http://{shown}:{bound}", services=[name for name, _ in services])
    try:
        await ended.wait()
    finally:
        # 1. Services first: they may still be writing.
        for thread in threads:
            await asyncio.to_thread(thread.join, SERVICE_SECONDS)
            if thread.is_alive():
                failures.append(thread.name)
                _log.error("a service does not stop", service=thread.name, seconds=SERVICE_SECONDS)
        # 2. The front finishes what it runs. 3. The caller closes the engine.
        address.unlink(missing_ok=True)
        await runner.cleanup()
        await asyncio.to_thread(front.close)
    return ExitCode.SOFTWARE if failures else ExitCode.OK


def _start(name: str, service: Service, context: ServiceContext, failures: list[str]) -> threading.Thread:
    def body() -> None:
        try:
            service(context)
        except BaseException:
            failures.append(name)
            _log.exception("a service failed", service=name)
        else:
            if not context.stop.is_set():
                failures.append(name)
                _log.error("a service ended before it was told to", service=name)
        context.stop.set()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


def load_service(reference: str) -> tuple[str, Service]:
    """A service by `module:function`. Raises ValueError with what is wrong."""
    module, _, name = reference.partition(":")
    try:
        service = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"service {reference!r} cannot be loaded: {error}") from None
    if not callable(service):
        raise ValueError(f"service {reference!r} is not a function")
    return reference, service


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the store process; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m finwatch.local.store_process", description=__doc__)
    parser.add_argument("directory", type=Path, help="the embedded directory")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback unless told otherwise)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--service", action="append", default=[], metavar="MODULE:FUNCTION", help="run beside it")
    given = parser.parse_args(arguments)
    configure_logging()
    follow_parent()
    try:
        services = [load_service(reference) for reference in given.service]
        return run(given.directory, services=services, host=given.host, port=given.port)
    except DirectoryInUse as error:
        return _refuse(str(error), ExitCode.UNAVAILABLE)
    except PermissionError as error:
        return _refuse(str(error), ExitCode.DENIED)
    except ValueError as error:
        return _refuse(str(error), ExitCode.USAGE)
    except OSError as error:
        return _refuse(f"cannot listen on {given.host}:{given.port}: {error.strerror}", ExitCode.UNAVAILABLE)


def _refuse(message: str, code: ExitCode) -> ExitCode:
    print(message, file=sys.stderr)  # noqa: T201 the answer of a command
    return code


if __name__ == "__main__":
    sys.exit(main())
