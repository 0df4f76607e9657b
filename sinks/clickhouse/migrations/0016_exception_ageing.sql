-- Exceptions have a service level, and an age in business days: the backlog and how old it is, at the last moment that
-- each source told of.

ALTER TABLE {database}.exception_states
    ADD COLUMN IF NOT EXISTS due_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it is to be resolved by its type\'s service level, UTC.' AFTER updated_at,
    ADD COLUMN IF NOT EXISTS ages_at Array(DateTime64(6, 'UTC')) COMMENT 'While it is open: when it will have been for 1, 3, 5 and 10 business days, UTC.' AFTER due_at;

CREATE OR REPLACE VIEW {database}.exceptions
(
    exception_id    String COMMENT 'Identity.',
    version         UInt64 COMMENT 'Grows with each change.',
    document_key    String COMMENT 'Document.',
    source          LowCardinality(String) COMMENT 'Source.',
    entity          LowCardinality(String) COMMENT 'Kind of document.',
    record_id       String COMMENT 'Record.',
    company_id      LowCardinality(Nullable(String)) COMMENT 'Company.',
    type            LowCardinality(String) COMMENT 'Type, from the closed list.',
    severity        LowCardinality(String) COMMENT 'info, low, medium, high, critical.',
    status          LowCardinality(String) COMMENT 'open, resolved, retracted.',
    opened_at       DateTime64(6, 'UTC') COMMENT 'When it opened, UTC.',
    resolved_at     Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was resolved, UTC.',
    owner_role      LowCardinality(String) COMMENT 'Role that owns it.',
    next_action     String COMMENT 'What to do next.',
    amount          Nullable(Decimal(28, 6)) COMMENT 'Amount of the document; of what shows when documents are put side by side, the amount at risk.',
    currency        LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    reasons         Array(String) COMMENT 'Reasons in plain words.',
    evidence        Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
    updated_at      DateTime64(6, 'UTC') COMMENT 'Latest event time it rests on, UTC.',
    due_at          Nullable(DateTime64(6, 'UTC')) COMMENT 'When it is to be resolved by its type\'s service level, UTC.',
    ages_at         Array(DateTime64(6, 'UTC')) COMMENT 'While it is open: when it will have been for 1, 3, 5 and 10 business days, UTC.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    exception_id, version, document_key, source, entity, record_id, company_id, type, severity, status,
    opened_at, resolved_at, owner_role, next_action, amount, currency, policy_version, reasons, evidence,
    updated_at, due_at, ages_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.exception_states FINAL
COMMENT 'Exceptions, latest version.';

CREATE OR REPLACE VIEW {database}.exception_ageing
(
    exception_id  String COMMENT 'Identity of the exception.',
    document_key  String COMMENT 'Document.',
    source        LowCardinality(String) COMMENT 'Source.',
    entity        LowCardinality(String) COMMENT 'Kind of document.',
    company_id    LowCardinality(Nullable(String)) COMMENT 'Company.',
    type          LowCardinality(String) COMMENT 'Type, from the closed list.',
    severity      LowCardinality(String) COMMENT 'info, low, medium, high, critical.',
    owner_role    LowCardinality(String) COMMENT 'Role that owns it.',
    next_action   String COMMENT 'What to do next.',
    amount        Nullable(Decimal(28, 6)) COMMENT 'Amount of the document; of what shows when documents are put side by side, the amount at risk.',
    currency      LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    opened_at     DateTime64(6, 'UTC') COMMENT 'When it opened, UTC.',
    due_at        Nullable(DateTime64(6, 'UTC')) COMMENT 'When it is to be resolved by its type\'s service level, UTC.',
    seen_at       DateTime64(6, 'UTC') COMMENT 'The last moment its source told of, UTC: ages hold for it.',
    wall_seconds  Float64 COMMENT 'Age by the wall clock.',
    band          LowCardinality(String) COMMENT 'Age in business days of the company\'s calendar: 0-1, 1-3, 3-5, 5-10, >10.',
    late          Bool COMMENT 'Whether its service level has passed.'
)
AS
SELECT
    x.exception_id AS exception_id, x.document_key AS document_key, x.source AS source, x.entity AS entity,
    x.company_id AS company_id, x.type AS type, x.severity AS severity, x.owner_role AS owner_role,
    x.next_action AS next_action, x.amount AS amount, x.currency AS currency, x.opened_at AS opened_at,
    x.due_at AS due_at, seen.at AS seen_at,
    greatest(0, dateDiff('microsecond', x.opened_at, seen.at) / 1000000) AS wall_seconds,
    ['0-1', '1-3', '3-5', '5-10', '>10'][1 + arrayCount(age -> age <= seen.at, x.ages_at)] AS band,
    coalesce(x.due_at <= seen.at, false) AS late
FROM (SELECT * FROM {database}.exception_states FINAL WHERE status = 'open') AS x
INNER JOIN
(
    SELECT source, max(at) AS at
    FROM
    (
        SELECT source, max(observed_at) AS at FROM {database}.event_log GROUP BY source
        UNION ALL
        SELECT source, max(at) AS at FROM {database}.heartbeats GROUP BY source
    )
    GROUP BY source
) AS seen ON seen.source = x.source
COMMENT 'Exceptions that are open now, one row each, with whose they are, how old they are and whether they are late: group by what you ask.';

-- Numerators and denominators of one rate come from several parts: a numerator that came first waits for its denominator.
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
HAVING denominator > 0
COMMENT 'Exception rates by the day on which documents entered, with numerator, denominator and Wilson\'s interval.';
