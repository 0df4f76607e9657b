-- What findings put at risk in the company's currency, beside the document's: amounts of one company can be added.

ALTER TABLE {database}.finding_states
    ADD COLUMN IF NOT EXISTS company_amount Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the company\'s currency, at the rate the source booked the document with.' AFTER currency;

ALTER TABLE {database}.finding_log
    ADD COLUMN IF NOT EXISTS company_amount Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the company\'s currency, at the rate the source booked the document with.' AFTER currency;

CREATE OR REPLACE VIEW {database}.findings
(
    finding_id      String COMMENT 'Identity.',
    version         UInt64 COMMENT 'Grows with each change.',
    status          LowCardinality(String) COMMENT 'open, updated, resolved, retracted.',
    detector        LowCardinality(String) COMMENT 'Detector.',
    rule            LowCardinality(String) COMMENT 'Rule within the detector.',
    severity        LowCardinality(String) COMMENT 'info, low, medium, high, critical.',
    document_keys   Array(String) COMMENT 'Documents it is about, the later one first.',
    source          LowCardinality(String) COMMENT 'Source.',
    entity          LowCardinality(String) COMMENT 'Kind of document.',
    company_id      LowCardinality(Nullable(String)) COMMENT 'Company.',
    title           String COMMENT 'One line in plain words.',
    reasons         Array(String) COMMENT 'Reasons in plain words.',
    evidence        Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
    amount_at_risk  Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the document\'s currency.',
    currency        LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    company_amount  Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the company\'s currency, at the rate the source booked the document with.',
    company_currency LowCardinality(Nullable(String)) COMMENT 'The company\'s currency, as the source\'s record of the company says; null when it was never seen.',
    score           Nullable(Float64) COMMENT 'Confidence, 0 to 1; orders a list, decides nothing.',
    owner           LowCardinality(String) COMMENT 'Role that owns it.',
    next_action     String COMMENT 'What to do next.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    level           LowCardinality(Nullable(String)) COMMENT 'Level of a deadline.',
    due_at          Nullable(DateTime64(6, 'UTC')) COMMENT 'Deadline it is about, UTC.',
    opened_at       DateTime64(6, 'UTC') COMMENT 'Event time at which it became true, UTC.',
    updated_at      DateTime64(6, 'UTC') COMMENT 'Latest event time it rests on, UTC.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    finding_id, version, status, detector, rule, severity, document_keys, f.source AS source, f.entity AS entity,
    f.company_id AS company_id, title,
    reasons, evidence, amount_at_risk, f.currency AS currency, company_amount,
    c.currency AS company_currency, score, owner, next_action, policy_version, level, due_at,
    opened_at, updated_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.finding_states AS f FINAL
LEFT JOIN (SELECT source, record_id, currency FROM {database}.companies) AS c
    ON c.source = f.source AND c.record_id = ifNull(f.company_id, '')
COMMENT 'Findings, latest version.';

CREATE OR REPLACE VIEW {database}.finding_versions
(
    finding_id      String COMMENT 'Identity.',
    version         UInt64 COMMENT 'Grows with each change.',
    status          LowCardinality(String) COMMENT 'open, updated, resolved, retracted.',
    detector        LowCardinality(String) COMMENT 'Detector.',
    rule            LowCardinality(String) COMMENT 'Rule within the detector.',
    severity        LowCardinality(String) COMMENT 'info, low, medium, high, critical.',
    document_keys   Array(String) COMMENT 'Documents it is about, the later one first.',
    source          LowCardinality(String) COMMENT 'Source.',
    entity          LowCardinality(String) COMMENT 'Kind of document.',
    company_id      LowCardinality(Nullable(String)) COMMENT 'Company.',
    title           String COMMENT 'One line in plain words.',
    reasons         Array(String) COMMENT 'Reasons in plain words.',
    evidence        Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
    amount_at_risk  Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the document\'s currency.',
    currency        LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    company_amount  Nullable(Decimal(28, 6)) COMMENT 'Amount at risk in the company\'s currency, at the rate the source booked the document with.',
    company_currency LowCardinality(Nullable(String)) COMMENT 'The company\'s currency, as the source\'s record of the company says; null when it was never seen.',
    score           Nullable(Float64) COMMENT 'Confidence, 0 to 1; orders a list, decides nothing.',
    owner           LowCardinality(String) COMMENT 'Role that owns it.',
    next_action     String COMMENT 'What to do next.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    level           LowCardinality(Nullable(String)) COMMENT 'Level of a deadline.',
    due_at          Nullable(DateTime64(6, 'UTC')) COMMENT 'Deadline it is about, UTC.',
    opened_at       DateTime64(6, 'UTC') COMMENT 'Event time at which it became true, UTC.',
    updated_at      DateTime64(6, 'UTC') COMMENT 'Latest event time it rests on, UTC.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    finding_id, version, status, detector, rule, severity, document_keys, f.source AS source, f.entity AS entity,
    f.company_id AS company_id, title,
    reasons, evidence, amount_at_risk, f.currency AS currency, company_amount,
    c.currency AS company_currency, score, owner, next_action, policy_version, level, due_at,
    opened_at, updated_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.finding_log AS f FINAL
LEFT JOIN (SELECT source, record_id, currency FROM {database}.companies) AS c
    ON c.source = f.source AND c.record_id = ifNull(f.company_id, '')
COMMENT 'Every version of every finding, corrections included.';
