"""Settings of a command: from the environment, or from the embedded directory it was pointed at."""

import os
from pathlib import Path

from pydantic import SecretStr

from finwatch.local.files import read_json
from finwatch.local.front.access import password_file
from finwatch.local.stack import running_stack
from finwatch.runtime.config import PREFIX, ConfigError, Settings, embedded_directory, load_settings


def settings_for(embedded: Path | None) -> Settings:
    """Settings of a command that was given `--embedded` (or FINWATCH_EMBEDDED), or neither.

    A stack that runs on the directory is used; where none runs, the store is opened in this process and there is no
    broker. A process that the stack itself started has everything in its environment. Raises ConfigError.
    """
    directory = embedded_directory(embedded)
    if directory is None or os.environ.get(PREFIX + "INCARNATION"):
        return load_settings()
    directory = directory.resolve()
    settings = load_settings(embedded=directory)
    running = running_stack(directory)
    if running is None:
        if not (directory / "store").is_dir():
            raise ConfigError(
                f"no embedded stack is in {directory}; `finwatch demo` or `finwatch import --embedded DIR` makes one"
            )
        known = read_json(directory / "settings.json") or {}
        return settings.model_copy(
            update={
                "kafka": settings.kafka.model_copy(update={"partitions": int(known.get("partitions", 4))}),
                "clickhouse": settings.clickhouse.model_copy(update={"path": directory / "store"}),
            }
        )
    password = password_file(directory, "default").read_text(encoding="utf-8").strip()
    return settings.model_copy(
        update={
            "incarnation": str(running["incarnation"]),
            "kafka": settings.kafka.model_copy(
                update={"bootstrap": str(running["bootstrap"]), "partitions": int(running["partitions"])}
            ),
            "registry": settings.registry.model_copy(update={"url": ""}),
            "clickhouse": settings.clickhouse.model_copy(
                update={"url": str(running["clickhouse_url"]), "user": "default", "password": SecretStr(password)}
            ),
        }
    )
