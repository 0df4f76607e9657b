-- The name that Odoo's code knows a group by.

CREATE OR REPLACE VIEW {database}.groups
(
    document_key String COMMENT 'Identity of the document: source:entity:record_id. Never its printed number, which Odoo reuses.',
    source LowCardinality(String) COMMENT 'Name of the system the event comes from, without a colon; one database is one source.',
    record_id String COMMENT 'Identity of the record within its source and entity.',
    company_id LowCardinality(Nullable(String)) COMMENT 'Company the document belongs to, as the source numbers it.',
    deleted Bool COMMENT 'True when the source deleted the record.',
    name Nullable(String) COMMENT 'Name.',
    full_name Nullable(String) COMMENT 'Name with its application.',
    category_id Nullable(String) COMMENT 'Application or privilege it belongs to.',
    implied_ids Array(String) COMMENT 'Groups that come with it.',
    shared Nullable(Bool) COMMENT 'True when made for sharing data with some users.',
    created_by Nullable(String) COMMENT 'Person who created it.',
    created_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was created, UTC.',
    written_by Nullable(String) COMMENT 'Person of the last write.',
    custom String COMMENT 'Fields that the configuration adds. As a JSON array of {name, value}.',
    technical_name Nullable(String) COMMENT 'Name that Odoo\'s code knows it by, as base.group_system; null for a group made by hand, and where it may not be read.',
    event_id String COMMENT 'Identity of the event: 32 hex characters of a SHA-256 over source, entity, record and content. A repeat has the same id.',
    op LowCardinality(String) COMMENT 'What happened: c created, u updated, d deleted, r read by a snapshot.',
    mode LowCardinality(String) COMMENT 'How it was found: snapshot, window, late, sweep, deleted, tracking, webhook, log.',
    occurred_at DateTime64(6, 'UTC') COMMENT 'When it happened in the source, UTC.',
    observed_at DateTime64(6, 'UTC') COMMENT 'When it was captured, UTC; equals occurred_at for imported logs.',
    source_write_date Nullable(DateTime64(6, 'UTC')) COMMENT 'Last-write time stamp in the source, UTC, with microseconds where known.',
    ingested_at DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    document_key,
    source,
    record_id,
    company_id,
    deleted,
    JSONExtract(payload, 'name', 'Nullable(String)') AS name,
    JSONExtract(payload, 'full_name', 'Nullable(String)') AS full_name,
    JSONExtract(payload, 'category_id', 'Nullable(String)') AS category_id,
    JSONExtract(payload, 'implied_ids', 'Array(String)') AS implied_ids,
    JSONExtract(payload, 'shared', 'Nullable(Bool)') AS shared,
    JSONExtract(payload, 'created_by', 'Nullable(String)') AS created_by,
    parseDateTime64BestEffortOrNull(JSONExtractString(payload, 'created_at'), 6, 'UTC') AS created_at,
    JSONExtract(payload, 'written_by', 'Nullable(String)') AS written_by,
    JSONExtractRaw(payload, 'custom') AS custom,
    JSONExtract(payload, 'technical_name', 'Nullable(String)') AS technical_name,
    event_id,
    op,
    mode,
    occurred_at,
    observed_at,
    source_write_date,
    ingested_at
FROM (SELECT * FROM {database}.document_states FINAL WHERE entity = 'group')
COMMENT 'Latest state, deleted ones included (deleted = true). A group of rights (res.groups): its state after the event. Its members stand at the users.';
