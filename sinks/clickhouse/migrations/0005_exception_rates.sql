-- Exception rates window by window: provisional, final, corrected.

CREATE TABLE IF NOT EXISTS {database}.rate_states
(
    rate_id         String COMMENT 'Identity of the part.',
    version         UInt64 COMMENT 'Grows with each change.',
    source          LowCardinality(String) COMMENT 'Source.',
    entity          LowCardinality(String) COMMENT 'Kind of document.',
    type            LowCardinality(String) COMMENT 'Type of exception, from the closed list.',
    window_start    DateTime64(6, 'UTC') COMMENT 'Beginning of the window, UTC.',
    window_end      DateTime64(6, 'UTC') COMMENT 'Its end, UTC; the instant itself is outside.',
    status          LowCardinality(String) COMMENT 'provisional, or final once the settling time is over.',
    corrections     UInt64 COMMENT 'Changes since it was final.',
    numerator       UInt64 COMMENT 'Documents of the window\'s cohort that had an exception of the type at any time.',
    denominator     UInt64 COMMENT 'Documents that entered in the window.',
    part            LowCardinality(String) COMMENT 'Input topic and partition that it counts.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    updated_at      DateTime64(6, 'UTC') COMMENT 'Event time it rests on, UTC.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY rate_id
COMMENT 'Latest version of each part of an exception rate. Read the view exception_rates.';

CREATE TABLE IF NOT EXISTS {database}.rate_log
(
    rate_id         String COMMENT 'Identity of the part.',
    version         UInt64 COMMENT 'Grows with each change.',
    source          LowCardinality(String) COMMENT 'Source.',
    entity          LowCardinality(String) COMMENT 'Kind of document.',
    type            LowCardinality(String) COMMENT 'Type of exception, from the closed list.',
    window_start    DateTime64(6, 'UTC') COMMENT 'Beginning of the window, UTC.',
    window_end      DateTime64(6, 'UTC') COMMENT 'Its end, UTC; the instant itself is outside.',
    status          LowCardinality(String) COMMENT 'provisional, or final once the settling time is over.',
    corrections     UInt64 COMMENT 'Changes since it was final.',
    numerator       UInt64 COMMENT 'Documents of the window\'s cohort that had an exception of the type at any time.',
    denominator     UInt64 COMMENT 'Documents that entered in the window.',
    part            LowCardinality(String) COMMENT 'Input topic and partition that it counts.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    updated_at      DateTime64(6, 'UTC') COMMENT 'Event time it rests on, UTC.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
ENGINE = ReplacingMergeTree
ORDER BY (rate_id, version)
COMMENT 'Every version of every part of an exception rate, corrections included.';

CREATE OR REPLACE VIEW {database}.exception_rates
(
    source       LowCardinality(String) COMMENT 'Source.',
    entity       LowCardinality(String) COMMENT 'Kind of document.',
    type         LowCardinality(String) COMMENT 'Type of exception, from the closed list.',
    window_start DateTime64(6, 'UTC') COMMENT 'Beginning of the window, UTC.',
    window_end   DateTime64(6, 'UTC') COMMENT 'Its end, UTC; the instant itself is outside.',
    status       LowCardinality(String) COMMENT 'provisional while a part of it is, then final.',
    numerator    UInt64 COMMENT 'Documents of the window\'s cohort that had an exception of the type at any time.',
    denominator  UInt64 COMMENT 'Documents that entered in the window.',
    rate         Nullable(Float64) COMMENT 'numerator / denominator.',
    low          Nullable(Float64) COMMENT 'Lower end of Wilson\'s 95 % interval: small numbers have a wide one.',
    high         Nullable(Float64) COMMENT 'Upper end of Wilson\'s 95 % interval.',
    corrections  UInt64 COMMENT 'Changes of its parts since they were final.',
    parts        UInt64 COMMENT 'Number of parts merged.'
)
AS
WITH 1.96 AS z
SELECT
    source, entity, type, window_start, window_end,
    if(countIf(part.status = 'provisional') > 0, 'provisional', 'final') AS status,
    sum(part.numerator) AS numerator,
    sum(part.denominator) AS denominator,
    numerator / nullIf(denominator, 0) AS rate,
    greatest(0, (rate + z * z / (2 * denominator) - z * sqrt(rate * (1 - rate) / denominator + z * z / (4 * denominator * denominator))) / (1 + z * z / denominator)) AS low,
    least(1, (rate + z * z / (2 * denominator) + z * sqrt(rate * (1 - rate) / denominator + z * z / (4 * denominator * denominator))) / (1 + z * z / denominator)) AS high,
    sum(part.corrections) AS corrections,
    count() AS parts
FROM {database}.rate_states AS part FINAL
GROUP BY source, entity, type, window_start, window_end
COMMENT 'Exception rates by the day on which documents entered, with numerator, denominator and Wilson\'s interval.';
