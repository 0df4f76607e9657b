"""Where the stream's results go: ClickHouse for analysts, Prometheus for alerts.

Owns: reading the finance topics to the end of the pipeline, exactly once in effect.
Does not own: any rule of the business, and nothing is produced to Kafka here.
"""
