"""The embedded stack: everything finwatch needs, in one directory, with nothing but Python.

Owns: the in-memory broker (librdkafka's mock cluster), the back-pressure its small memory asks for, the store
process (the ClickHouse engine of chdb behind an HTTP front), the supervisor that starts and stops them, and the
reader that gives a directory opened again its history back.
Does not own: what flows through them (producers, streams, sinks), the tables of the store (sinks/clickhouse), the
topic list (`finwatch.runtime.topics`).

What stands in an embedded directory DIR:

| path | what |
|---|---|
| `lock` | flock of the one stack that has DIR open; names its process |
| `stack.json` | end points, processes and incarnation of the open stack (mode 0600); gone when the stack is closed |
| `settings.json` | what may not change in DIR's life: the number of partitions |
| `store/` | data of the ClickHouse engine |
| `store.lock` | flock of the one process that has `store/` open |
| `secrets/` | passwords of the store's users `default` and `reader` (mode 0600) |
| `run/` | files of the running processes: engine configuration, end points, temporary files; swept at each start |
| `logs/` | output of the child processes, rotated by size |
"""
