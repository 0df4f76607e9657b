#!/bin/bash
# Entry point of the ClickHouse container: give the server its two users, then start it as the image does.
#
# Passwords come from secret files and reach the server as hashes only. `finwatch` owns the database `finwatch`;
# `reader` (Grafana, analysts) reads it within limits.
set -euo pipefail

hash_of() {
  local value
  value=$(cat "/run/secrets/$1")
  [ -n "$value" ] || { echo "secret $1 is empty" >&2; exit 1; }
  printf '%s' "$value" | sha256sum | cut -d ' ' -f 1
}

writer=$(hash_of clickhouse_password)
reader=$(hash_of clickhouse_reader_password)
cat >/etc/clickhouse-server/users.d/finwatch.xml <<EOF
<clickhouse>
  <profiles>
    <reader>
      <readonly>2</readonly>
      <max_execution_time>60</max_execution_time>
      <max_memory_usage>2000000000</max_memory_usage>
      <max_result_rows>1000000</max_result_rows>
    </reader>
  </profiles>
  <users>
    <default remove="remove"/>
    <finwatch>
      <password_sha256_hex>$writer</password_sha256_hex>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT ALL ON finwatch.*</query>
        <query>GRANT SELECT ON system.*</query>
        <query>GRANT KILL QUERY ON *.*</query>
      </grants>
    </finwatch>
    <reader>
      <password_sha256_hex>$reader</password_sha256_hex>
      <networks><ip>::/0</ip></networks>
      <profile>reader</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SELECT ON finwatch.*</query>
      </grants>
    </reader>
  </users>
</clickhouse>
EOF
exec /entrypoint.sh "$@"
