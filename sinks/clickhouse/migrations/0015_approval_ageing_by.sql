-- How old what waits now is, by whom and what it waits for; which policies there were, and what was judged by each.

CREATE OR REPLACE VIEW {database}.approval_ageing_by
(
    source         LowCardinality(String) COMMENT 'Source.',
    dimension      LowCardinality(String) COMMENT 'What is counted by: all, person, role, company, document_type, amount_band, step.',
    value          String COMMENT 'Its value: a person or company by id, a role or step by name, a kind of document with its type, a band of the policy with the currency; for all: all.',
    steps          UInt64 COMMENT 'Steps that wait now.',
    p50_seconds    Float64 COMMENT 'Half of them have waited so long or less, by the wall clock.',
    p95_seconds    Float64 COMMENT '95 of 100 have waited so long or less, by the wall clock.',
    oldest_seconds Float64 COMMENT 'The longest wait, by the wall clock.',
    days_0_1       UInt64 COMMENT 'Of them, in their first business day.',
    days_1_3       UInt64 COMMENT 'Of them, waiting for 1 business day or longer, less than 3.',
    days_3_5       UInt64 COMMENT 'Of them, waiting for 3 business days or longer, less than 5.',
    days_5_10      UInt64 COMMENT 'Of them, waiting for 5 business days or longer, less than 10.',
    days_over_10   UInt64 COMMENT 'Of them, waiting for 10 business days or longer.',
    p50_band       LowCardinality(String) COMMENT 'Band of the median age in business days.',
    p95_band       LowCardinality(String) COMMENT 'Band of the 95 of 100 in business days.',
    oldest_band    LowCardinality(String) COMMENT 'Band of the highest age in business days.'
)
AS
SELECT
    source, by.1 AS dimension, by.2 AS value, count() AS steps,
    quantileExactLow(0.5)(wall_seconds) AS p50_seconds, quantileExactLow(0.95)(wall_seconds) AS p95_seconds,
    max(wall_seconds) AS oldest_seconds,
    countIf(place = 1) AS days_0_1, countIf(place = 2) AS days_1_3, countIf(place = 3) AS days_3_5,
    countIf(place = 4) AS days_5_10, countIf(place = 5) AS days_over_10,
    bands[quantileExactLow(0.5)(place)] AS p50_band, bands[quantileExactLow(0.95)(place)] AS p95_band,
    bands[max(place)] AS oldest_band
FROM
(
    SELECT
        source, wall_seconds, ['0-1', '1-3', '3-5', '5-10', '>10'] AS bands, indexOf(bands, band) AS place,
        [
            ('all', 'all'),
            ('person', ifNull(person, 'nobody named')),
            ('role', ifNull(toString(role), 'no role')),
            ('company', ifNull(toString(company_id), 'no company')),
            ('document_type', if(document_type IS NULL, toString(entity), concat(entity, ' ', assumeNotNull(document_type)))),
            ('amount_band', if(amount_band IS NULL, 'no amount', concat(assumeNotNull(amount_band), ' ', ifNull(currency, '?')))),
            ('step', toString(step))
        ] AS ways
    FROM {database}.approval_ageing
)
ARRAY JOIN ways AS by
GROUP BY source, bands, dimension, value
COMMENT 'Ages of the approval steps that wait now, by person, role, company, kind of document, amount band and step. People and companies are the source\'s ids.';

CREATE OR REPLACE VIEW {database}.policy_uses
(
    policy_version LowCardinality(String) COMMENT 'Name, version and the first digits of the content\'s hash.',
    published_at   Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was published, UTC; null for one that the workers began with.',
    effective_at   Nullable(DateTime64(6, 'UTC')) COMMENT 'From when on it is in force, in the time of the events it judges, UTC; null as above.',
    author         Nullable(String) COMMENT 'Who published it, as given to the command.',
    reason         Nullable(String) COMMENT 'Why, as given to the command.',
    changes        Array(String) COMMENT 'What differs from the one before, in words.',
    steps          UInt64 COMMENT 'Approval steps that stand as it judged them.',
    clocks         UInt64 COMMENT 'Service-level clocks that stand as it judged them.',
    exceptions     UInt64 COMMENT 'Exceptions that stand as it judged them; retracted ones are left out.',
    findings       UInt64 COMMENT 'Findings that stand as it judged them; retracted ones are left out.',
    last_used_at   Nullable(DateTime64(6, 'UTC')) COMMENT 'Latest event time of any of these, UTC; null when there are none.'
)
AS
SELECT
    policy_version,
    maxOrNull(published) AS published_at, maxOrNull(effective) AS effective_at,
    argMaxOrNull(by_whom, published) AS author, argMaxOrNull(why, published) AS reason, argMax(what, published) AS changes,
    countIf(kind = 'step') AS steps, countIf(kind = 'clock') AS clocks, countIf(kind = 'exception') AS exceptions,
    countIf(kind = 'finding') AS findings,
    maxOrNull(used) AS last_used_at
FROM
(
    SELECT toString(policy_version) AS policy_version, 'step' AS kind, toNullable(updated_at) AS used,
        CAST(NULL, 'Nullable(DateTime64(6, \'UTC\'))') AS published, CAST(NULL, 'Nullable(DateTime64(6, \'UTC\'))') AS effective,
        CAST(NULL, 'Nullable(String)') AS by_whom, CAST(NULL, 'Nullable(String)') AS why, CAST([], 'Array(String)') AS what
    FROM {database}.steps
    UNION ALL
    SELECT toString(policy_version), 'clock', toNullable(updated_at), NULL, NULL, NULL, NULL, [] FROM {database}.clocks
    UNION ALL
    SELECT toString(policy_version), 'exception', toNullable(updated_at), NULL, NULL, NULL, NULL, []
    FROM {database}.exceptions WHERE status != 'retracted'
    UNION ALL
    SELECT toString(policy_version), 'finding', toNullable(updated_at), NULL, NULL, NULL, NULL, []
    FROM {database}.findings WHERE status != 'retracted'
    UNION ALL
    SELECT toString(label), 'change', NULL, toNullable(published_at), toNullable(effective_at), author, reason, changes
    FROM {database}.policy_changes
)
GROUP BY policy_version
COMMENT 'Policies that were published or that something was judged by, with what stands as each judged it.';
