-- Records of models that a configuration adds, with more columns; and the fields that it adds, one row each.

CREATE OR REPLACE VIEW {database}.custom_records
(
    document_key String COMMENT 'Identity of the document: source:entity:record_id. Never its printed number, which Odoo reuses.',
    source LowCardinality(String) COMMENT 'Name of the system the event comes from, without a colon; one database is one source.',
    record_id String COMMENT 'Identity of the record within its source and entity.',
    company_id LowCardinality(Nullable(String)) COMMENT 'Company the document belongs to, as the source numbers it.',
    deleted Bool COMMENT 'True when the source deleted the record.',
    model Nullable(String) COMMENT 'Its model.',
    name Nullable(String) COMMENT 'Display name, where the configuration asks for it.',
    created_by Nullable(String) COMMENT 'Person who created it.',
    created_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was created, UTC.',
    written_by Nullable(String) COMMENT 'Person of the last write.',
    custom String COMMENT 'Fields that the configuration adds. As a JSON array of {name, value}.',
    kind Nullable(String) COMMENT 'What the configuration calls a record of this model: loan, say.',
    state Nullable(String) COMMENT 'State, as the source names it.',
    partner_id Nullable(String) COMMENT 'Partner it concerns.',
    responsible Nullable(String) COMMENT 'Person who is responsible.',
    date Nullable(Date32) COMMENT 'The date that the configuration takes for the record\'s own.',
    currency Nullable(String) COMMENT 'Currency of the amount.',
    amount Nullable(Decimal(28, 6)) COMMENT 'Amount, in its currency.',
    parent_key Nullable(String) COMMENT 'Document that it belongs to.',
    lines String COMMENT 'Lines: records of the models that the configuration names as children. As a JSON array of {line_id, model, custom}.',
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
    JSONExtract(payload, 'model', 'Nullable(String)') AS model,
    JSONExtract(payload, 'name', 'Nullable(String)') AS name,
    JSONExtract(payload, 'created_by', 'Nullable(String)') AS created_by,
    parseDateTime64BestEffortOrNull(JSONExtractString(payload, 'created_at'), 6, 'UTC') AS created_at,
    JSONExtract(payload, 'written_by', 'Nullable(String)') AS written_by,
    JSONExtractRaw(payload, 'custom') AS custom,
    JSONExtract(payload, 'kind', 'Nullable(String)') AS kind,
    JSONExtract(payload, 'state', 'Nullable(String)') AS state,
    JSONExtract(payload, 'partner_id', 'Nullable(String)') AS partner_id,
    JSONExtract(payload, 'responsible', 'Nullable(String)') AS responsible,
    toDate32OrNull(JSONExtractString(payload, 'date')) AS date,
    JSONExtract(payload, 'currency', 'Nullable(String)') AS currency,
    CAST(toDecimal128OrNull(JSONExtractString(payload, 'amount'), 6), 'Nullable(Decimal(28, 6))') AS amount,
    JSONExtract(payload, 'parent_key', 'Nullable(String)') AS parent_key,
    JSONExtractRaw(payload, 'lines') AS lines,
    event_id,
    op,
    mode,
    occurred_at,
    observed_at,
    source_write_date,
    ingested_at
FROM (SELECT * FROM {database}.document_states FINAL WHERE entity = 'custom_record')
COMMENT 'Latest state, deleted ones included (deleted = true). A record of a model that the configuration adds: its state after the event. record_id is model/id.';

CREATE OR REPLACE VIEW {database}.custom_fields
(
    document_key String COMMENT 'Identity of the document: source:entity:record_id.',
    source LowCardinality(String) COMMENT 'Name of the system the document comes from.',
    entity LowCardinality(String) COMMENT 'Kind of document, as in the name of its topic.',
    record_id String COMMENT 'Identity of the record within its source and entity.',
    company_id LowCardinality(Nullable(String)) COMMENT 'Company the document belongs to, as the source numbers it.',
    deleted Bool COMMENT 'True when the source deleted the document.',
    name String COMMENT 'Name, as the configuration gives it; of a line lines[<line_id>].<name>.',
    value Nullable(String) COMMENT 'Value as text; null when empty.'
)
AS
SELECT
    document_key,
    source,
    entity,
    record_id,
    company_id,
    deleted,
    tupleElement(field, 'name') AS name,
    tupleElement(field, 'value') AS value
FROM
(
    SELECT
        document_key,
        source,
        entity,
        record_id,
        company_id,
        deleted,
        JSONExtract(payload, 'custom', 'Array(Tuple(name String, value Nullable(String)))') AS fields
    FROM {database}.document_states FINAL
    WHERE position(payload, '"custom":[{') > 0
)
ARRAY JOIN fields AS field
COMMENT 'Fields that the configuration adds, of the latest state of each document, one row a field.';
