-- Reviews: a tier's, an approver's, each a step of the document it is about.

ALTER TABLE {database}.step_states
    ADD COLUMN IF NOT EXISTS review Nullable(String) COMMENT 'The review it stands for, as kind:id in the source; null for the document\'s own approval.' AFTER ages_at;

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
    review           Nullable(String) COMMENT 'The review it stands for, as kind:id in the source; null for the document\'s own approval.',
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
    policy_version, evidence, retracted, updated_at, route, amount_band, ages_at, review,
    topic, partition, offset, incarnation, kafka_timestamp,
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
    document_type LowCardinality(Nullable(String)) COMMENT 'Type within its kind: in_invoice, outbound, a request\'s category ...; null where the kind has none.',
    company_id    LowCardinality(Nullable(String)) COMMENT 'Company.',
    step          LowCardinality(String) COMMENT 'Name of the step.',
    role          LowCardinality(Nullable(String)) COMMENT 'Role that has to decide now.',
    person        Nullable(String) COMMENT 'Person who has to decide now.',
    asked_first   Nullable(String) COMMENT 'Person who was asked first.',
    route         LowCardinality(Nullable(String)) COMMENT 'Why the person is responsible: source, matrix, delegation, absence, fallback; null when nobody is named.',
    amount        Nullable(Decimal(28, 6)) COMMENT 'Amount of the document.',
    currency      LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    amount_band   LowCardinality(Nullable(String)) COMMENT 'Band of the amount, as the policy cuts them; null without an amount or bands.',
    review        Nullable(String) COMMENT 'The review it stands for, as kind:id in the source; null for the document\'s own approval.',
    started_at    DateTime64(6, 'UTC') COMMENT 'When the wait began, UTC.',
    seen_at       DateTime64(6, 'UTC') COMMENT 'The last moment its source told of, UTC: ages hold for it.',
    wall_seconds  Float64 COMMENT 'Age by the wall clock.',
    band          LowCardinality(String) COMMENT 'Age in business days of the company\'s calendar: 0-1, 1-3, 3-5, 5-10, >10.'
)
AS
SELECT
    s.step_id AS step_id, s.document_key AS document_key, s.source AS source, s.entity AS entity,
    coalesce(d.move_type, d.payment_type, d.category) AS document_type, s.company_id AS company_id, s.step AS step, s.role AS role,
    s.person AS person, s.asked_first AS asked_first, s.route AS route, s.amount AS amount, s.currency AS currency,
    s.amount_band AS amount_band, s.review AS review, s.started_at AS started_at, seen.at AS seen_at,
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
LEFT JOIN
(
    SELECT
        document_key, move_type, payment_type,
        if(entity = 'approval_request', nullIf(JSONExtractString(payload, 'category'), ''), NULL) AS category
    FROM {database}.document_states FINAL
) AS d ON d.document_key = s.document_key
COMMENT 'Approval steps that wait now, one row each, with whom they wait for and how old they are: group by what you ask.';

ALTER TABLE {database}.event_log
    ADD COLUMN IF NOT EXISTS review Nullable(String) COMMENT 'What is decided apart from the document\'s own approval, as kind:id in the source. Null unless the record is a transition.' AFTER currency;

CREATE OR REPLACE VIEW {database}.events
(
    record            LowCardinality(String) COMMENT 'Avro full name of the record: the entity\'s state, or finwatch.Transition.',
    event_id          String COMMENT 'Identity of the event: 32 hex characters of a SHA-256 over source, entity, record and content. A repeat has the same id.',
    document_key      String COMMENT 'Identity of the document: source:entity:record_id. Never its printed number, which Odoo reuses.',
    source            LowCardinality(String) COMMENT 'Name of the system the event comes from, without a colon; one database is one source.',
    entity            LowCardinality(String) COMMENT 'Kind of document: bill, invoice, entry, purchase_order, receipt, payment, expense_report, vendor, bank_account, bank_line ...',
    record_id         String COMMENT 'Identity of the record within its source and entity.',
    company_id        LowCardinality(Nullable(String)) COMMENT 'Company the document belongs to, as the source numbers it.',
    op                LowCardinality(String) COMMENT 'What happened: c created, u updated, d deleted, r read by a snapshot.',
    mode              LowCardinality(String) COMMENT 'How it was found: snapshot, window, late, sweep, deleted, tracking, webhook, log.',
    timeline          LowCardinality(String) COMMENT 'Which time governs deadlines of this source: wall (live, the wall clock) or log (only the log\'s own time).',
    occurred_at       DateTime64(6, 'UTC') COMMENT 'When it happened in the source, UTC.',
    observed_at       DateTime64(6, 'UTC') COMMENT 'When it was captured, UTC; equals occurred_at for imported logs.',
    actor             Nullable(String) COMMENT 'Person who did it, as an id in the source; null when unknown.',
    correlation_id    String COMMENT 'Follows a transaction from end to end; the document key where the source gives nothing better.',
    source_database   LowCardinality(Nullable(String)) COMMENT 'Database of the source.',
    source_model      LowCardinality(Nullable(String)) COMMENT 'Model or log the record comes from.',
    source_write_date Nullable(DateTime64(6, 'UTC')) COMMENT 'Last-write time stamp in the source, UTC, with microseconds where known.',
    snapshot          Bool COMMENT 'True when the event was read by a snapshot, not while streaming.',
    transaction_hint  Nullable(String) COMMENT 'Groups events that the source wrote in one transaction, where that can be told.',
    changes           String COMMENT 'Fields that changed, as a JSON array of {field, old, new}.',
    activity          LowCardinality(Nullable(String)) COMMENT 'Canonical code: created, submitted, approved, final_approved, rejected, withdrawn, saved, posted, reset, cancelled, payment_requested, paid, received, ordered, changed. Null unless the record is a transition.',
    label             Nullable(String) COMMENT 'The source\'s own words for it. Null unless the record is a transition.',
    field             Nullable(String) COMMENT 'Field that changed, where the source tracks fields. Null unless the record is a transition.',
    old_value         Nullable(String) COMMENT 'Key before (not the label). Null unless the record is a transition.',
    new_value         Nullable(String) COMMENT 'Key after. Null unless the record is a transition.',
    step              LowCardinality(Nullable(String)) COMMENT 'Approval step it belongs to. Null unless the record is a transition.',
    role              LowCardinality(Nullable(String)) COMMENT 'Role in which the actor decided. Null unless the record is a transition.',
    decision          LowCardinality(Nullable(String)) COMMENT 'approved, rejected, or null when it is no decision. Null unless the record is a transition.',
    responsible       Nullable(String) COMMENT 'Person who is asked next, where the source says. Null unless the record is a transition.',
    amount            Nullable(Decimal(28, 6)) COMMENT 'Amount of the document, where the source says. Null unless the record is a transition.',
    currency          LowCardinality(Nullable(String)) COMMENT 'Its currency, ISO 4217. Null unless the record is a transition.',
    review            Nullable(String) COMMENT 'What is decided apart from the document\'s own approval, as kind:id in the source. Null unless the record is a transition.',
    topic             LowCardinality(String) COMMENT 'Kafka topic.',
    partition         UInt16 COMMENT 'Kafka partition.',
    offset            UInt64 COMMENT 'Kafka offset.',
    incarnation       LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp   DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at       DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    record, event_id, document_key, source, entity, record_id, company_id, op, mode, timeline, occurred_at,
    observed_at, actor, correlation_id, source_database, source_model, source_write_date, snapshot,
    transaction_hint, changes, activity, label, field, old_value, new_value, step, role, decision, responsible,
    amount, currency, review, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.event_log FINAL
COMMENT 'Every event, once, with the Kafka coordinates at which it was first stored.';
