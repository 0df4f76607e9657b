"""What runs beside the embedded store, in its process: the sink writes straight into the engine, without HTTP."""

from finwatch.local.store import Store
from finwatch.local.store_process import ServiceContext
from finwatch.runtime.config import load_settings

EMBEDDED_ROWS = 10_000


class _ClickHouseSink:
    """The ClickHouse sink on the engine of this process; the tables are made or brought up to date first."""

    def prepare(self, store: Store) -> None:
        """Make the tables, or bring them up to date."""
        from sinks.clickhouse.migrations import migrate

        client = store.client()
        try:
            migrate(client, load_settings().clickhouse.database)
        finally:
            client.close()

    def __call__(self, context: ServiceContext) -> None:
        """Sink until told to stop."""
        from sinks.clickhouse import run

        settings = load_settings()
        # Smaller batches than beside a server: the whole stack is to fit into a gigabyte.
        sink = settings.sink.model_copy(update={"max_rows": min(settings.sink.max_rows, EMBEDDED_ROWS)})
        settings = settings.model_copy(update={"sink": sink})
        run(settings, context.stop, client=lambda: context.store.client(settings.clickhouse.database))


clickhouse_sink = _ClickHouseSink()
CLICKHOUSE_SINK = "finwatch.local.services:clickhouse_sink"
