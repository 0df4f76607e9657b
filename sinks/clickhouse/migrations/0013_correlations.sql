-- From any document to the beginning of its transaction.

CREATE OR REPLACE VIEW {database}.correlations
(
    document_key String COMMENT 'Document.',
    source LowCardinality(String) COMMENT 'Source.',
    entity LowCardinality(String) COMMENT 'Kind of document.',
    comes_from String COMMENT 'Document that its last event names; itself where it names none.',
    correlation_id String COMMENT 'Beginning of its transaction, over at most three links: of a payment the order of the bill that it pays.'
)
AS
WITH links AS
(
    -- A deletion may have forgotten what was deleted.
    SELECT
        document_key,
        any(source) AS source,
        any(entity) AS entity,
        argMax(correlation_id, (op != 'd', observed_at)) AS up
    FROM {database}.event_log
    GROUP BY document_key
)
SELECT
    a.document_key AS document_key,
    a.source AS source,
    a.entity AS entity,
    a.up AS comes_from,
    multiIf(c.up != '', c.up, b.up != '', b.up, a.up) AS correlation_id
FROM links AS a
LEFT JOIN links AS b ON b.document_key = a.up
LEFT JOIN links AS c ON c.document_key = b.up
COMMENT 'The transaction of each document: order, receipts, bills and payments have one correlation_id.';
