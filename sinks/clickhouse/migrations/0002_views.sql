-- What analysts read. Every view is exact at any moment: repeats and old versions are resolved at query time.

CREATE OR REPLACE VIEW {database}.events
(
    record            LowCardinality(String) COMMENT 'Avro full name of the record: the entity\'s state, or finwatch.Transition.',
    event_id          String COMMENT 'Identity of the event: 32 hex characters of a SHA-256 over source, entity, record and content. A repeat has the same id.',
    document_key      String COMMENT 'Identity of the document: source:entity:record_id. Never its printed number, which Odoo reuses.',
    source            LowCardinality(String) COMMENT 'Name of the system the event comes from, without a colon; one database is one source.',
    entity            LowCardinality(String) COMMENT 'Kind of document: bill, invoice, entry, purchase_order, receipt, payment, expense_report, vendor, bank_account, bank_line.',
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
    amount, currency, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.event_log FINAL
COMMENT 'Every event, once, with the Kafka coordinates at which it was first stored.';

CREATE OR REPLACE VIEW {database}.documents
(
    document_key          String COMMENT 'Identity of the document: source:entity:record_id. Never its printed number, which Odoo reuses.',
    source                LowCardinality(String) COMMENT 'Name of the system the event comes from, without a colon; one database is one source.',
    entity                LowCardinality(String) COMMENT 'Kind of document: bill, invoice, entry, purchase_order, receipt, payment, expense_report, vendor, bank_account, bank_line.',
    record_id             String COMMENT 'Identity of the record within its source and entity.',
    company_id            LowCardinality(Nullable(String)) COMMENT 'Company the document belongs to, as the source numbers it.',
    deleted               Bool COMMENT 'True when the source deleted the record.',
    transitions_only      Bool COMMENT 'True when no state of the document was ever seen, only its transitions (imported logs).',
    activity              LowCardinality(Nullable(String)) COMMENT 'Last activity of a document known by its transitions only, else null.',
    name                  Nullable(String) COMMENT 'Printed number; not an identity.',
    move_type             LowCardinality(Nullable(String)) COMMENT 'Odoo\'s type: in_invoice, in_refund, in_receipt, out_invoice, out_refund, out_receipt, entry.',
    state                 LowCardinality(Nullable(String)) COMMENT 'draft, posted or cancel.',
    payment_state         LowCardinality(Nullable(String)) COMMENT 'not_paid, in_payment, paid, partial, reversed, blocked, invoicing_legacy.',
    payment_type          LowCardinality(Nullable(String)) COMMENT 'inbound or outbound.',
    partner_type          LowCardinality(Nullable(String)) COMMENT 'customer or supplier.',
    reference             Nullable(String) COMMENT 'The partner\'s own reference (Odoo\'s ref).',
    partner_reference     Nullable(String) COMMENT 'The vendor\'s reference.',
    payment_reference     Nullable(String) COMMENT 'Structured payment reference.',
    label                 Nullable(String) COMMENT 'Label of the transaction.',
    memo                  Nullable(String) COMMENT 'Memo.',
    partner_id            Nullable(String) COMMENT 'Partner on the document.',
    commercial_partner_id Nullable(String) COMMENT 'Commercial entity of the partner: what duplicates are compared by.',
    partner_name          Nullable(String) COMMENT 'Partner\'s name as printed.',
    parent_id             Nullable(String) COMMENT 'Parent partner.',
    vat                   Nullable(String) COMMENT 'Tax number.',
    country               LowCardinality(Nullable(String)) COMMENT 'Country.',
    is_company            Nullable(Bool) COMMENT 'True for a company.',
    supplier_rank         Nullable(Int64) COMMENT 'Odoo\'s supplier rank (raw SQL: may lag).',
    customer_rank         Nullable(Int64) COMMENT 'Odoo\'s customer rank.',
    payment_term_id       Nullable(String) COMMENT 'Vendor payment terms.',
    invoice_date          Nullable(Date32) COMMENT 'Date on the document.',
    due_date              Nullable(Date32) COMMENT 'Date payment is due.',
    accounting_date       Nullable(Date32) COMMENT 'Date of the entry.',
    date                  Nullable(Date32) COMMENT 'Date.',
    ordered_at            Nullable(DateTime64(6, 'UTC')) COMMENT 'Order date, UTC.',
    approved_at           Nullable(DateTime64(6, 'UTC')) COMMENT 'Confirmation date, UTC; says when, not who.',
    planned_at            Nullable(DateTime64(6, 'UTC')) COMMENT 'Planned receipt, UTC.',
    scheduled_at          Nullable(DateTime64(6, 'UTC')) COMMENT 'Scheduled, UTC.',
    done_at               Nullable(DateTime64(6, 'UTC')) COMMENT 'Done, UTC.',
    currency              LowCardinality(Nullable(String)) COMMENT 'Currency of the amounts, ISO 4217.',
    amount                Nullable(Decimal(28, 6)) COMMENT 'Amount.',
    amount_untaxed        Nullable(Decimal(28, 6)) COMMENT 'Net amount.',
    amount_tax            Nullable(Decimal(28, 6)) COMMENT 'Tax.',
    amount_total          Nullable(Decimal(28, 6)) COMMENT 'Gross amount.',
    amount_residual       Nullable(Decimal(28, 6)) COMMENT 'Still to be paid.',
    amount_total_company  Nullable(Decimal(28, 6)) COMMENT 'Gross amount in the company\'s currency, signed as Odoo signs it.',
    invoice_status        LowCardinality(Nullable(String)) COMMENT 'no, to invoice, invoiced.',
    receipt_status        LowCardinality(Nullable(String)) COMMENT 'pending, partial, full; null when nothing is to be received.',
    journal_id            Nullable(String) COMMENT 'Journal.',
    entry_id              Nullable(String) COMMENT 'Journal entry; null when it was deleted.',
    statement_id          Nullable(String) COMMENT 'Statement.',
    method                Nullable(String) COMMENT 'Payment method.',
    origin                Nullable(String) COMMENT 'Source document text, for example the order\'s number.',
    purchase_order_key    Nullable(String) COMMENT 'document_key of the order, where known.',
    reversed_key          Nullable(String) COMMENT 'document_key of the document this one reverses.',
    buyer                 Nullable(String) COMMENT 'Buyer (user_id); not the approver.',
    responsible           Nullable(String) COMMENT 'Person responsible (Odoo\'s invoice_user_id).',
    employee_id           Nullable(String) COMMENT 'Employee.',
    department_id         Nullable(String) COMMENT 'Department.',
    bank_id               Nullable(String) COMMENT 'Bank.',
    bank_account_id       Nullable(String) COMMENT 'Bank account of the partner to be paid to.',
    account_hash          Nullable(String) COMMENT 'Keyed hash (HMAC-SHA-256, hex) of the sanitised account number.',
    account_last4         Nullable(String) COMMENT 'Last four characters of the number.',
    trusted               Nullable(Bool) COMMENT 'True when outgoing payments to it are allowed.',
    active                Nullable(Bool) COMMENT 'False when archived.',
    reconciled            Nullable(Bool) COMMENT 'True when reconciled.',
    posted_before         Nullable(Bool) COMMENT 'True once it was posted at any time.',
    checked               Nullable(Bool) COMMENT 'True once reviewed.',
    created_by            Nullable(String) COMMENT 'Person who created it (immutable).',
    created_at            Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was created, UTC.',
    written_by            Nullable(String) COMMENT 'Person of the last write; not proof of who decided.',
    bill_keys             Array(String) COMMENT 'document_keys of the documents it settles.',
    payload               String COMMENT 'The whole body, lines included, as a JSON object: amounts as text, times in ISO 8601.',
    event_id              String COMMENT 'Identity of the event: 32 hex characters of a SHA-256 over source, entity, record and content. A repeat has the same id.',
    op                    LowCardinality(String) COMMENT 'What happened: c created, u updated, d deleted, r read by a snapshot.',
    mode                  LowCardinality(String) COMMENT 'How it was found: snapshot, window, late, sweep, deleted, tracking, webhook, log.',
    occurred_at           DateTime64(6, 'UTC') COMMENT 'When it happened in the source, UTC.',
    observed_at           DateTime64(6, 'UTC') COMMENT 'When it was captured, UTC; equals occurred_at for imported logs.',
    actor                 Nullable(String) COMMENT 'Person who did it, as an id in the source; null when unknown.',
    source_write_date     Nullable(DateTime64(6, 'UTC')) COMMENT 'Last-write time stamp in the source, UTC, with microseconds where known.',
    topic                 LowCardinality(String) COMMENT 'Kafka topic.',
    partition             UInt16 COMMENT 'Kafka partition.',
    offset                UInt64 COMMENT 'Kafka offset.',
    incarnation           LowCardinality(String) COMMENT 'Life of the log the offset belongs to; see incarnations.',
    kafka_timestamp       DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at           DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC; one value for a batch.'
)
AS
SELECT
    document_key, source, entity, record_id, company_id, deleted, transitions_only, activity, name, move_type,
    state, payment_state, payment_type, partner_type, reference, partner_reference, payment_reference, label,
    memo, partner_id, commercial_partner_id, partner_name, parent_id, vat, country, is_company, supplier_rank,
    customer_rank, payment_term_id, invoice_date, due_date, accounting_date, date, ordered_at, approved_at,
    planned_at, scheduled_at, done_at, currency, amount, amount_untaxed, amount_tax, amount_total,
    amount_residual, amount_total_company, invoice_status, receipt_status, journal_id, entry_id, statement_id,
    method, origin, purchase_order_key, reversed_key, buyer, responsible, employee_id, department_id, bank_id,
    bank_account_id, account_hash, account_last4, trusted, active, reconciled, posted_before, checked,
    created_by, created_at, written_by, bill_keys, payload, event_id, op, mode, occurred_at, observed_at, actor,
    source_write_date, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.document_states FINAL
COMMENT 'Latest state of every document, deleted ones included (deleted = true).';

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
    policy_version, evidence, retracted, updated_at, topic, partition, offset, incarnation, kafka_timestamp,
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
    wall_seconds, business_seconds, level, evidence, updated_at, topic, partition, offset, incarnation,
    kafka_timestamp, ingested_at
FROM {database}.clock_states FINAL
COMMENT 'Service-level clocks, latest version.';

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
    amount          Nullable(Decimal(28, 6)) COMMENT 'Amount of the document.',
    currency        LowCardinality(Nullable(String)) COMMENT 'Its currency.',
    policy_version  LowCardinality(String) COMMENT 'Version of the policy.',
    reasons         Array(String) COMMENT 'Reasons in plain words.',
    evidence        Array(String) COMMENT 'Ids of the events it rests on, oldest first.',
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
    exception_id, version, document_key, source, entity, record_id, company_id, type, severity, status,
    opened_at, resolved_at, owner_role, next_action, amount, currency, policy_version, reasons, evidence,
    updated_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.exception_states FINAL
COMMENT 'Exceptions, latest version.';

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
    finding_id, version, status, detector, rule, severity, document_keys, source, entity, company_id, title,
    reasons, evidence, amount_at_risk, currency, score, owner, next_action, policy_version, level, due_at,
    opened_at, updated_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.finding_states FINAL
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
    finding_id, version, status, detector, rule, severity, document_keys, source, entity, company_id, title,
    reasons, evidence, amount_at_risk, currency, score, owner, next_action, policy_version, level, due_at,
    opened_at, updated_at, topic, partition, offset, incarnation, kafka_timestamp, ingested_at
FROM {database}.finding_log FINAL
COMMENT 'Every version of every finding, corrections included.';

CREATE OR REPLACE VIEW {database}.kpis
(
    kpi            LowCardinality(String) COMMENT 'Name in the catalogue.',
    labels         String COMMENT 'Labels as JSON with sorted keys.',
    label          Map(String, String) COMMENT 'The labels by name.',
    value          Nullable(Float64) COMMENT 'The figure: the sum of its parts; for a rate the sum of numerators over the sum of denominators; for an oldest age the largest part.',
    numerator      Nullable(Float64) COMMENT 'Numerator of a rate.',
    denominator    Nullable(Float64) COMMENT 'Denominator of a rate.',
    parts          UInt64 COMMENT 'Number of parts merged.',
    oldest_part_at DateTime64(6, 'UTC') COMMENT 'Source time of the oldest part, UTC.',
    at             DateTime64(6, 'UTC') COMMENT 'Source time of the newest part, UTC.'
)
AS
SELECT
    kpi,
    labels,
    JSONExtract(labels, 'Map(String, String)') AS label,
    if(isNotNull(sum(part.denominator)), sum(part.numerator) / nullIf(sum(part.denominator), 0),
        if(kpi IN ('approvals_oldest_seconds'), max(part.value), sum(part.value))) AS value,
    sum(part.numerator) AS numerator,
    sum(part.denominator) AS denominator,
    count() AS parts,
    min(part.at) AS oldest_part_at,
    max(part.at) AS at
FROM {database}.kpi_parts AS part FINAL
WHERE NOT deleted AND seq = (SELECT max(seq) FROM {database}.kpi_parts)
GROUP BY kpi, labels
COMMENT 'Measured figures now, merged from the parts of the partitions.';

CREATE OR REPLACE VIEW {database}.dead_letters
(
    stage        LowCardinality(String) COMMENT 'Who refused it.',
    topic        LowCardinality(String) COMMENT 'Topic it was on.',
    partition    UInt16 COMMENT 'Partition.',
    offset       UInt64 COMMENT 'Offset.',
    key          Nullable(String) COMMENT 'Its key.',
    value        Nullable(String) COMMENT 'Its value, untouched; cut at the limit when larger.',
    value_size   UInt64 COMMENT 'Size of the value in bytes.',
    value_sha256 String COMMENT 'SHA-256 of the whole value, hex.',
    truncated    Bool COMMENT 'True when the value was cut.',
    reason       LowCardinality(String) COMMENT 'not_confluent_format, unknown_schema, malformed_avro, too_large, invalid_event, unexpected_record.',
    detail       String COMMENT 'What is wrong, without values.',
    timestamp    DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the record, UTC.',
    ingested_at  DateTime64(6, 'UTC') COMMENT 'When the sink stored it, UTC.'
)
AS
SELECT
    stage, topic, partition, offset, key, value, value_size, value_sha256, truncated, reason, detail, timestamp,
    ingested_at
FROM {database}.dead_letter_log FINAL
COMMENT 'Records that could not be processed, by the stage that refused them, with reason and untouched bytes.';

CREATE OR REPLACE VIEW {database}.captures
(
    source            LowCardinality(String) COMMENT 'Source.',
    entity            LowCardinality(String) COMMENT 'Kind of document.',
    events            UInt64 COMMENT 'Events stored.',
    first_occurred_at DateTime64(6, 'UTC') COMMENT 'Time of the earliest event in the source, UTC.',
    last_occurred_at  DateTime64(6, 'UTC') COMMENT 'Time of the latest event in the source, UTC.',
    last_observed_at  DateTime64(6, 'UTC') COMMENT 'When the last event was captured, UTC.',
    last_kafka_at     DateTime64(6, 'UTC') COMMENT 'Kafka time stamp of the last event, UTC.',
    last_ingested_at  DateTime64(6, 'UTC') COMMENT 'When the last event was stored, UTC.',
    capture_seconds   Float64 COMMENT 'Last event: from the source to its capture.',
    publish_seconds   Float64 COMMENT 'Last event: from its capture to the broker.',
    store_seconds     Float64 COMMENT 'Last event: from the broker to the store.',
    heartbeat_at      Nullable(DateTime64(6, 'UTC')) COMMENT 'Source time of the last heartbeat, UTC; the slowest partition counts.',
    finished          Bool COMMENT 'True when an imported log has ended on every partition that had a heartbeat.'
)
AS
SELECT
    event.source AS source,
    event.entity AS entity,
    event.events AS events,
    event.first_occurred_at AS first_occurred_at,
    event.last_occurred_at AS last_occurred_at,
    event.last_observed_at AS last_observed_at,
    event.last_kafka_at AS last_kafka_at,
    event.last_ingested_at AS last_ingested_at,
    event.capture_seconds AS capture_seconds,
    event.publish_seconds AS publish_seconds,
    event.store_seconds AS store_seconds,
    beat.heartbeat_at AS heartbeat_at,
    ifNull(beat.finished, false) AS finished
FROM
(
    SELECT
        log.source AS source,
        log.entity AS entity,
        count() AS events,
        min(log.occurred_at) AS first_occurred_at,
        max(log.occurred_at) AS last_occurred_at,
        max(log.observed_at) AS last_observed_at,
        max(log.kafka_timestamp) AS last_kafka_at,
        max(log.ingested_at) AS last_ingested_at,
        argMax(toUnixTimestamp64Micro(log.observed_at) - toUnixTimestamp64Micro(log.occurred_at), (log.ingested_at, log.kafka_timestamp)) / 1e6 AS capture_seconds,
        argMax(toUnixTimestamp64Micro(log.kafka_timestamp) - toUnixTimestamp64Micro(log.observed_at), (log.ingested_at, log.kafka_timestamp)) / 1e6 AS publish_seconds,
        argMax(toUnixTimestamp64Micro(log.ingested_at) - toUnixTimestamp64Micro(log.kafka_timestamp), (log.ingested_at, log.kafka_timestamp)) / 1e6 AS store_seconds
    FROM {database}.event_log AS log FINAL
    GROUP BY log.source, log.entity
) AS event
LEFT JOIN
(
    SELECT
        mark.source AS source,
        splitByChar('.', mark.topic)[2] AS entity,
        toNullable(min(mark.at)) AS heartbeat_at,
        toNullable(min(mark.final)) AS finished
    FROM {database}.heartbeats AS mark FINAL
    GROUP BY mark.source, entity
) AS beat ON beat.source = event.source AND beat.entity = event.entity
COMMENT 'How fresh the store is, hop by hop, for each source and kind of document.';
