"""What runs beside the embedded store, in its process: the sink writes straight into the engine, without HTTP."""

from finwatch.local.store_process import ServiceContext
from finwatch.runtime.config import load_settings


def clickhouse_sink(context: ServiceContext) -> None:
    """The ClickHouse sink on the engine of this process; the tables are made or brought up to date first."""
    from sinks.clickhouse import run
    from sinks.clickhouse.migrations import migrate

    settings = load_settings()
    database = settings.clickhouse.database
    client = context.store.client()
    try:
        migrate(client, database)
    finally:
        client.close()
    run(settings, context.stop, client=lambda: context.store.client(database))


CLICKHOUSE_SINK = "finwatch.local.services:clickhouse_sink"
