-- Who waits for whom, and for how long, at the last moment that each source told of.

ALTER TABLE {database}.step_states
    ADD COLUMN IF NOT EXISTS ages_at Array(DateTime64(6, 'UTC')) COMMENT 'While it waits: when it will have waited 1, 3, 5 and 10 business days, UTC.' AFTER amount_band;

CREATE OR REPLACE VIEW {database}.steps
(
    step_id          String COMMENT 'Identity.',
    version          UInt64 COMMENT 'Grows with each change of this step.',
    document_key     String COMMENT 'Document.',
    source           LowCardinality(String) COMMENT 'Source.',
    entity           LowCardinality(String) COMMENT 'Kind of document.',
    record_id        String COMMENT 'Record.',
    company_id       LowCardinality(Nullable(String)) COMMENT 'Company.',
    step             LowCardinality(String) COMMENT 'Name of the step.',
    role             LowCardinality(Nullable(String)) COMMENT 'Role that decides or decided.',
    person           Nullable(String) COMMENT 'Person responsible now.',
    asked_first      Nullable(String) COMMENT 'Person who was asked first.',
    started_at       DateTime64(6, 'UTC') COMMENT 'When the wait began, UTC.',
    decided_at       Nullable(DateTime64(6, 'UTC')) COMMENT 'When it ended, UTC.',
    decided_by       Nullable(String) COMMENT 'Person who decided.',
    decision         LowCardinality(Nullable(String)) COMMENT 'approved, rejected, withdrawn, cancelled; null while it waits.',
    wall_seconds     Nullable(Float64) COMMENT 'Wall-clock length; null while it waits.',
    business_seconds Nullable(Float64) COMMENT 'Length in the calendar\'s business time; null while it waits.',
    calendar         LowCardinality(Nullable(String)) COMMENT 'Calendar of business_seconds.',
    amount           Nullable(Decimal(28, 6)) COMMENT 'Amount of the document.',
    currency         LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    policy_version   LowCardinality(String) COMMENT 'Version of the policy it was made under.',
    evidence         Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
    retracted        Bool COMMENT 'True when a later event showed that this step never was.',
    updated_at       DateTime64(6, 'UTC') COMMENT 'Latest event time it rests on, UTC.',
    route            LowCardinality(Nullable(String)) COMMENT 'Why the person is responsible: source, matrix, delegation, absence, fallback; null when nobody is named.',
    amount_band      LowCardinality(Nullable(String)) COMMENT 'Band of the amount, as the policy cuts them; null without an amount or bands.',
    ages_at          Array(DateTime64(6, 'UTC')) COMMENT 'While it waits: when it will have waited 1, 3, 5 and 10 business days, UTC.',
    topic            LowCardinality(String) COMMENT 'Kafka topic.',
    partition        UInt16 COMMENT 'Kafka partition.',
    offset           UInt64 COMMENT 'Kafka offset.',
    incarnation      LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp  DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at      DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    step_id, version, document_key, source, entity, record_id, company_id, step, role, person, asked_first,
    started_at, decided_at, decided_by, decision, wall_seconds, business_seconds, calendar, amount, currency,
    policy_version, evidence, retracted, updated_at, route, amount_band, ages_at, topic, partition, offset, incarnation, kafka_timestamp,
    ingested_at
FROM {database}.step_states FINAL
WHERE NOT retracted
COMMENT 'Approval steps, latest version; retracted ones are left out.';

CREATE OR REPLACE VIEW {database}.approval_ageing
(
    step_id       String COMMENT 'Identity of the step.',
    document_key  String COMMENT 'Document.',
    source        LowCardinality(String) COMMENT 'Source.',
    entity        LowCardinality(String) COMMENT 'Kind of document.',
    document_type LowCardinality(Nullable(String)) COMMENT 'Type within its kind: in_invoice, in_refund, outbound ...; null where the kind has none.',
    company_id    LowCardinality(Nullable(String)) COMMENT 'Company.',
    step          LowCardinality(String) COMMENT 'Name of the step.',
    role          LowCardinality(Nullable(String)) COMMENT 'Role that has to decide now.',
    person        Nullable(String) COMMENT 'Person who has to decide now.',
    asked_first   Nullable(String) COMMENT 'Person who was asked first.',
    route         LowCardinality(Nullable(String)) COMMENT 'Why the person is responsible: source, matrix, delegation, absence, fallback; null when nobody is named.',
    amount        Nullable(Decimal(28, 6)) COMMENT 'Amount of the document.',
    currency      LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    amount_band   LowCardinality(Nullable(String)) COMMENT 'Band of the amount, as the policy cuts them; null without an amount or bands.',
    started_at    DateTime64(6, 'UTC') COMMENT 'When the wait began, UTC.',
    seen_at       DateTime64(6, 'UTC') COMMENT 'The last moment its source told of, UTC: ages hold for it.',
    wall_seconds  Float64 COMMENT 'Age by the wall clock.',
    band          LowCardinality(String) COMMENT 'Age in business days of the company\'s calendar: 0-1, 1-3, 3-5, 5-10, >10.'
)
AS
SELECT
    s.step_id AS step_id, s.document_key AS document_key, s.source AS source, s.entity AS entity,
    coalesce(d.move_type, d.payment_type) AS document_type, s.company_id AS company_id, s.step AS step, s.role AS role,
    s.person AS person, s.asked_first AS asked_first, s.route AS route, s.amount AS amount, s.currency AS currency,
    s.amount_band AS amount_band, s.started_at AS started_at, seen.at AS seen_at,
    greatest(0, dateDiff('microsecond', s.started_at, seen.at) / 1000000) AS wall_seconds,
    ['0-1', '1-3', '3-5', '5-10', '>10'][1 + arrayCount(age -> age <= seen.at, s.ages_at)] AS band
FROM (SELECT * FROM {database}.step_states FINAL WHERE NOT retracted AND decided_at IS NULL) AS s
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
) AS seen ON seen.source = s.source
LEFT JOIN (SELECT document_key, move_type, payment_type FROM {database}.document_states FINAL) AS d ON d.document_key = s.document_key
COMMENT 'Approval steps that wait now, one row each, with whom they wait for and how old they are: group by what you ask.';
