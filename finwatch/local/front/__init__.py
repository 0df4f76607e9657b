"""ClickHouse's HTTP protocol in front of the embedded engine, as much of it as clients in use here need.

Owns: requests and answers of the protocol, users, sessions, compression of bodies, what SQL may not do.
Does not own: the engine's directory and configuration (`finwatch.local.store`), tables, any rule of the business.

Spoken: GET and POST on `/`, the SQL in `query` or in the body; settings, `param_*`, `database`, `default_format`,
`query_id`, `session_id` in the address; users by `X-ClickHouse-User`/`-Key`, Basic or address; bodies and answers in
lz4, zstd, gzip and deflate; `X-ClickHouse-Summary`, `-Format`, `-Query-Id`, `-Timezone`, `-Exception-Code`;
`/ping`, `/replicas_status`, `/health`. clickhouse-connect's HTTP client, curl, @clickhouse/client and Grafana's
Altinity plugin (JSON) work unchanged.

Not spoken, and refused in words: external data, `compress=1`/`decompress=1` (the native block framing of JDBC),
roles. `client_protocol_version` is ignored, which clients of the Native format notice and accept (clickhouse-go 2
does not). Answers are built in memory before they are sent, so the size of a result is limited
(`max_result_bytes`), and an error is always an HTTP status, never the end of a half-sent answer.
"""
