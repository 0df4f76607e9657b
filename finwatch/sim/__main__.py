"""`python -m finwatch.sim`: the simulated Odoo alone, until Ctrl-C.

With `--data DIR` it serves rows captured from a real server; without, the generated company, whose clock runs
`--speed` times as fast as the wall clock.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from finwatch.sim import Company, SimulatedOdoo, captured

_TICK = 0.2


def main(arguments: Sequence[str] | None = None, stop: threading.Event | None = None) -> int:
    """Serve until `stop` is set (default: SIGINT or SIGTERM). Exit codes: 0 stopped, 1 cannot serve, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m finwatch.sim", description="A simulated Odoo on /jsonrpc, and as 19 on /json/2."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8069)
    parser.add_argument("--version", choices=("17", "18", "19"), default="18", help="version of Odoo to speak as")
    parser.add_argument("--data", type=Path, help="folder with odoo17/ and odoo18/: serve captured rows")
    parser.add_argument("--seed", type=int, default=7, help="seed of the generated company")
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--start", type=datetime.fromisoformat, help="first day of the company (ISO date, UTC)")
    parser.add_argument(
        "--speed", type=float, default=3600.0, help="simulated seconds for each second of the wall clock"
    )
    options = parser.parse_args(arguments)
    company: Company | None = None
    try:
        if options.data:
            db = captured(f"odoo{options.version}", options.data)
        else:
            start = (options.start or datetime(2026, 10, 5)).replace(tzinfo=UTC)  # noqa: DTZ001 - made aware here
            company = Company(options.seed, start, options.weeks, f"{options.version}.0", scale=options.scale)
            company.advance(company.start)
            db = company.db
        server = SimulatedOdoo(db, options.port, options.host).start()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"simulated Odoo: {error}\n")
        return 1
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    sys.stdout.write(f"simulated Odoo {db.version} at {server.url}, database {db.name}, login svc_cdc / svc_cdc\n")
    sys.stdout.flush()
    begun = time.monotonic()
    try:
        while not stop.wait(_TICK):
            if company is not None:
                company.advance(company.start + timedelta(seconds=(time.monotonic() - begun) * options.speed))
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
