-- Changes of policies; who was made responsible for a step and why; clocks that another policy moved.

CREATE TABLE IF NOT EXISTS {database}.policy_log
(
    change_id       String COMMENT 'Identity of the change.',
    policy          LowCardinality(String) COMMENT 'Name of the policy.',
    version         String COMMENT 'Its version, as its authors number it.',
    label           String COMMENT 'Name, version and the first digits of content_hash: the policy_version of what is made under it.',
    content_hash    String COMMENT 'SHA-256 of content, hex.',
    effective_at    DateTime64(6, 'UTC') COMMENT 'From when on it is in force, in the time of the events it judges, UTC.',
    published_at    DateTime64(6, 'UTC') COMMENT 'When it was published, UTC.',
    previous        Nullable(String) COMMENT 'Label of the policy it follows; null for the first of its name.',
    author          Nullable(String) COMMENT 'Who published it, as given to the command.',
    reason          Nullable(String) COMMENT 'Why, as given to the command.',
    changes         Array(String) COMMENT 'What differs from the one before, in words.',
    content         String COMMENT 'The whole policy as JSON with sorted keys.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
ENGINE = ReplacingMergeTree(ingested_at)
ORDER BY change_id
COMMENT 'Policies that were published. Read the view policy_changes.';

CREATE OR REPLACE VIEW {database}.policy_changes
(
    change_id       String COMMENT 'Identity of the change.',
    policy          LowCardinality(String) COMMENT 'Name of the policy.',
    version         String COMMENT 'Its version, as its authors number it.',
    label           String COMMENT 'Name, version and the first digits of content_hash: the policy_version of what is made under it.',
    content_hash    String COMMENT 'SHA-256 of content, hex.',
    effective_at    DateTime64(6, 'UTC') COMMENT 'From when on it is in force, in the time of the events it judges, UTC.',
    published_at    DateTime64(6, 'UTC') COMMENT 'When it was published, UTC.',
    previous        Nullable(String) COMMENT 'Label of the policy it follows; null for the first of its name.',
    author          Nullable(String) COMMENT 'Who published it, as given to the command.',
    reason          Nullable(String) COMMENT 'Why, as given to the command.',
    changes         Array(String) COMMENT 'What differs from the one before, in words.',
    content         String COMMENT 'The whole policy as JSON with sorted keys.',
    topic           LowCardinality(String) COMMENT 'Kafka topic.',
    partition       UInt16 COMMENT 'Kafka partition.',
    offset          UInt64 COMMENT 'Kafka offset.',
    incarnation     LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at     DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    change_id, policy, version, label, content_hash, effective_at, published_at, previous, author, reason, changes,
    content, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.policy_log FINAL
COMMENT 'Policies that were published, each once; dashboards show them beside the figures they change.';

ALTER TABLE {database}.step_states
    ADD COLUMN IF NOT EXISTS route LowCardinality(Nullable(String)) COMMENT 'Why the person is responsible: source, matrix, delegation, absence, fallback; null when nobody is named.' AFTER updated_at,
    ADD COLUMN IF NOT EXISTS amount_band LowCardinality(Nullable(String)) COMMENT 'Band of the amount, as the policy cuts them; null without an amount or bands.' AFTER route;

ALTER TABLE {database}.clock_states
    ADD COLUMN IF NOT EXISTS replanned_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When another policy or calendar moved it, in this run of the clock, UTC; null when none did.' AFTER updated_at;

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
    policy_version, evidence, retracted, updated_at, route, amount_band, topic, partition, offset, incarnation, kafka_timestamp,
    ingested_at
FROM {database}.step_states FINAL
WHERE NOT retracted
COMMENT 'Approval steps, latest version; retracted ones are left out.';

CREATE OR REPLACE VIEW {database}.clocks
(
    clock_id         String COMMENT 'Identity.',
    version          UInt64 COMMENT 'Grows with each change of this clock.',
    document_key     String COMMENT 'Document.',
    source           LowCardinality(String) COMMENT 'Source.',
    entity           LowCardinality(String) COMMENT 'Kind of document.',
    record_id        String COMMENT 'Record.',
    company_id       LowCardinality(Nullable(String)) COMMENT 'Company.',
    policy           LowCardinality(String) COMMENT 'Service level.',
    policy_version   LowCardinality(String) COMMENT 'Version of the policy.',
    started_at       DateTime64(6, 'UTC') COMMENT 'Start, UTC.',
    due_at           Nullable(DateTime64(6, 'UTC')) COMMENT 'When it breaches, UTC; null while paused.',
    stopped_at       Nullable(DateTime64(6, 'UTC')) COMMENT 'Stop, UTC.',
    breached_at      Nullable(DateTime64(6, 'UTC')) COMMENT 'When it breached, UTC: its due time.',
    status           LowCardinality(String) COMMENT 'running, paused, met, breached (late, running or stopped), cancelled.',
    target_seconds   Float64 COMMENT 'Target.',
    target_kind      LowCardinality(String) COMMENT 'business or wall.',
    calendar         LowCardinality(Nullable(String)) COMMENT 'Calendar of business time.',
    paused_seconds   Float64 COMMENT 'Time paused, in the target\'s kind.',
    wall_seconds     Nullable(Float64) COMMENT 'Start to stop by the wall clock; null while it runs.',
    business_seconds Nullable(Float64) COMMENT 'Start to stop in business time; null while it runs.',
    level            LowCardinality(Nullable(String)) COMMENT 'Last level fired: warning_75, warning_90, breach.',
    evidence         Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
    updated_at       DateTime64(6, 'UTC') COMMENT 'Latest event time it rests on, UTC.',
    replanned_at     Nullable(DateTime64(6, 'UTC')) COMMENT 'When another policy or calendar moved it, in this run of the clock, UTC; null when none did.',
    topic            LowCardinality(String) COMMENT 'Kafka topic.',
    partition        UInt16 COMMENT 'Kafka partition.',
    offset           UInt64 COMMENT 'Kafka offset.',
    incarnation      LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp  DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at      DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    clock_id, version, document_key, source, entity, record_id, company_id, policy, policy_version, started_at,
    due_at, stopped_at, breached_at, status, target_seconds, target_kind, calendar, paused_seconds,
    wall_seconds, business_seconds, level, evidence, updated_at, replanned_at, topic, partition, offset, incarnation,
    kafka_timestamp, ingested_at
FROM {database}.clock_states FINAL
COMMENT 'Service-level clocks, latest version.';
