"""The overview: what waits, what deviates, what is double, what is late, and how fresh all of this is.

Figures that are counted as time passes come from Prometheus (KPIs, merged from the partitions' parts); lists, history
and amounts come from ClickHouse. Both speak of the sources chosen at the top.
"""

from __future__ import annotations

import json

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units

from dashboards.links import OVERVIEW_UID, RUNBOOKS
from dashboards.panels import (
    CLICKHOUSE,
    ORANGE,
    RED,
    YELLOW,
    Panel,
    Prom,
    Sql,
    bars,
    lines,
    number,
    rows,
)
from dashboards.promql import kpi

OF = 'source=~"$source"'

AT_A_GLANCE: tuple[Panel, ...] = (
    number(
        "Approvals waiting",
        Prom(f"""sum({kpi("approvals_open", OF)})""", now=True),
        "Approval steps that wait for a decision now.",
        empty="0",
    ),
    number(
        "… over 5 business days",
        Prom(f"""sum({kpi("approvals_open", OF, 'band=~"5-10|>10"')})""", now=True),
        "Of these, steps that have waited for five business days or longer, in the company's calendar.",
        steps=((YELLOW, 1), (RED, 10)),
        empty="0",
    ),
    number(
        "Exceptions per open document",
        Prom(f"""sum({kpi("exceptions_open", OF)}) / sum({kpi("documents_open", OF)})""", now=True),
        "Open exceptions for each open document; a document with exceptions of two types counts twice. "
        "Best quarter of companies: under 15 %; median 25 to 40 %.",
        unit=units.PercentUnit,
        steps=((YELLOW, 0.15), (RED, 0.4)),
        decimals=1,
    ),
    number(
        "Exceptions open",
        Prom(f"""sum({kpi("exceptions_open", OF)})""", now=True),
        "Exceptions that nobody has resolved.",
        empty="0",
    ),
    number(
        "Possible duplicates",
        Prom(f"""sum({kpi("findings_open", OF, 'detector="duplicates"')})""", now=True),
        "Open findings of the duplicate detectors: pairs or groups of bills that look like one.",
        steps=((ORANGE, 1),),
        empty="0",
    ),
    number(
        "Service levels broken",
        Prom(f"""sum({kpi("clocks_open", OF, 'status="breached"')})""", now=True),
        "Clocks past their due time whose document still waits.",
        steps=((RED, 1),),
        empty="0",
    ),
    number(
        "Behind the source",
        Prom("max(finwatch:stream_lag_seconds:max)", now=True),
        "Age of the last event applied while the streams are behind; 0 when they have caught up.",
        unit=units.Seconds,
        steps=((YELLOW, 30), (RED, 300)),
    ),
    number(
        "Dead letters, 24 h",
        Prom("sum(increase(finwatch_stream_dead_total[24h]))", now=True),
        "Records that could not be processed in the last 24 hours and were set aside with their bytes.",
        steps=((ORANGE, 1),),
        empty="0",
        decimals=0,
    ),
)

_AGES: dict[str, str] = {"p50": units.Seconds, "p95": units.Seconds, "oldest": units.Seconds}


def _ages(title: str, dimension: str, description: str) -> Panel:
    """Ages of what waits now, one row a value of the dimension: how many, how long, and in which band they lie."""
    return rows(
        title,
        Sql(
            f"""
            SELECT
                value AS {dimension}, steps AS waiting, p50_seconds AS p50, p95_seconds AS p95,
                oldest_seconds AS oldest, days_0_1 AS "0-1", days_1_3 AS "1-3", days_3_5 AS "3-5", days_5_10 AS "5-10",
                days_over_10 AS ">10", source
            FROM approval_ageing_by
            WHERE dimension = '{dimension}' AND @chosen
            ORDER BY oldest DESC, waiting DESC, value
            LIMIT 200
            """  # noqa: S608 - names of our own
        ),
        f"{description} Median, 95 of 100 and the longest by the wall clock; the bands are business days.",
        units=_AGES,
    )


APPROVALS: tuple[Panel, ...] = (
    bars(
        "Waiting, by age in business days",
        Prom(f"""sum by (band) ({kpi("approvals_open", OF)})""", "{{band}}", now=True),
        "Approval steps that wait now, by the business days they have waited.",
    ),
    bars(
        "Waiting, by role",
        Prom(f"""sort_desc(sum by (role) ({kpi("approvals_open", OF)}))""", "{{role}}", now=True),
        "On whose desk the waiting steps lie.",
    ),
    bars(
        "Longest wait, by role",
        Prom(f"""sort_desc(max by (role) ({kpi("approvals_oldest_seconds", OF)}))""", "{{role}}", now=True),
        "Wall-clock age of the step that has waited longest with each role.",
        unit=units.Seconds,
        steps=((YELLOW, 5 * 86400), (RED, 14 * 86400)),
    ),
    lines(
        "Waiting over time, by age in business days",
        Prom(f"""sum by (band) ({kpi("approvals_open", OF)})""", "{{band}}"),
        "A growing upper band is a desk that does not keep up.",
        stacked=True,
    ),
    lines(
        "Time to decide, business hours",
        Sql(
            """
            SELECT
                toStartOfDay(decided_at) AS time,
                quantile(0.5)(business_seconds) / 3600 AS median,
                quantile(0.95)(business_seconds) / 3600 AS "95 of 100"
            FROM steps
            WHERE NOT retracted AND decision IN ('approved', 'rejected') AND isNotNull(business_seconds)
              AND $__timeFilter(decided_at) AND @chosen
            GROUP BY time
            ORDER BY time
            """,
            over_time=True,
        ),
        "From the request to the decision, by the day of the decision, in hours of the company's calendar.",
        unit=units.Hours,
    ),
    rows(
        "Longest waiting",
        Sql(
            """
            SELECT
                document_key AS document, step, role, person AS waits_for, asked_first, route AS because,
                started_at AS since, wall_seconds AS waited, band AS business_days
            FROM approval_ageing
            WHERE @chosen
            ORDER BY wall_seconds DESC, document_key
            LIMIT 50
            """
        ),
        "The steps that have waited longest, at the last moment their source told of: whom they wait for now and why, "
        "and who was asked first. People are ids.",
        units={"waited": units.Seconds},
    ),
    _ages("Ages, by person", "person", "Approval steps that wait now, by who has to decide now."),
    _ages("Ages, by role", "role", "Approval steps that wait now, by the role that has to decide."),
    _ages("Ages, by company", "company", "Approval steps that wait now, by company."),
    _ages("Ages, by kind of document", "document_type", "Approval steps that wait now, by the kind of document."),
    _ages("Ages, by amount", "amount_band", "Approval steps that wait now, by the policy's bands of the amount."),
    rows(
        "Newest decisions",
        Sql(
            """
            SELECT
                decided_at, decision, document_key AS document, step, asked_first, person AS responsible, decided_by,
                business_seconds AS took
            FROM steps
            WHERE decision IN ('approved', 'rejected') AND $__timeFilter(decided_at) AND @chosen
            ORDER BY decided_at DESC, document_key
            LIMIT 50
            """
        ),
        "Who was asked first, who was responsible at the end, and who decided; in business time.",
        units={"took": units.Seconds},
    ),
    rows(
        "Decisions, by role",
        Sql(
            """
            SELECT
                role, entity, countIf(decision = 'approved') AS approved, countIf(decision = 'rejected') AS rejected,
                rejected / nullIf(approved + rejected, 0) AS rejection_rate
            FROM steps
            WHERE NOT retracted AND $__timeFilter(decided_at) AND @chosen
            GROUP BY role, entity
            HAVING approved + rejected > 0
            ORDER BY approved + rejected DESC
            LIMIT 50
            """
        ),
        "Who approves and who rejects, in the time chosen at the top.",
        units={"rejection_rate": units.PercentUnit},
    ),
)

EXCEPTIONS: tuple[Panel, ...] = (
    bars(
        "Open, by type",
        Prom(f"""sort_desc(sum by (type) ({kpi("exceptions_open", OF)}))""", "{{type}}", now=True),
        "Open exceptions of each type of the closed list.",
        width=6,
    ),
    bars(
        "Open, by severity",
        Prom(f"""sum by (severity) ({kpi("exceptions_open", OF)})""", "{{severity}}", now=True),
        "How bad they are, as the policy says.",
        width=6,
    ),
    bars(
        "Past their service level, by type",
        Prom(f"""sort_desc(sum by (type) ({kpi("exceptions_overdue", OF)}) > 0)""", "{{type}}", now=True),
        "Open exceptions that were to be resolved by now.",
        width=6,
    ),
    bars(
        "Highest rates of the last 30 days",
        Prom(
            f"""topk(12, {kpi("exception_rate_cohort", OF, 'window="30d"')})""",
            "{{entity}}: {{type}}",
            now=True,
        ),
        "Documents that entered in the last 30 days and ever had the exception, of all that entered.",
        unit=units.PercentUnit,
        steps=((YELLOW, 0.15), (RED, 0.4)),
        width=6,
    ),
    lines(
        "Exceptions per open document, by kind of document",
        Prom(f"max by (entity) (finwatch:exceptions_per_open_document:ratio{{{OF}}})", "{{entity}}"),
        "Open exceptions for each open document of the kind, in the company where it is highest.",
        unit=units.PercentUnit,
    ),
    lines(
        "Opened a day, by type",
        Sql(
            """
            SELECT toStartOfDay(opened_at) AS time, type, count() AS opened
            FROM exceptions
            WHERE status != 'retracted' AND $__timeFilter(opened_at) AND @chosen
            GROUP BY time, type
            ORDER BY time, type
            """,
            over_time=True,
        ),
        "When deviations came up; retracted ones are left out.",
        stacked=True,
    ),
    rows(
        "How old the backlog is, in business days",
        Sql(
            """
            SELECT
                type, owner_role AS owner, band, count() AS exceptions, countIf(late) AS past_service_level,
                min(opened_at) AS oldest
            FROM exception_ageing
            WHERE @chosen
            GROUP BY type, owner, band
            ORDER BY past_service_level DESC, exceptions DESC
            LIMIT 100
            """
        ),
        "Open exceptions by type, owner and age, as of the last moment that each source told of.",
        width=24,
    ),
    rows(
        "Newest open exceptions",
        Sql(
            """
            SELECT opened_at, severity, type, entity, document_key AS document, owner_role AS owner, next_action
            FROM exceptions
            WHERE status = 'open' AND @chosen
            ORDER BY opened_at DESC
            LIMIT 100
            """
        ),
        "What to do next, and whose it is.",
        width=24,
    ),
)

DUPLICATES: tuple[Panel, ...] = (
    bars(
        "Open, by rule",
        Prom(f"""sum by (rule) ({kpi("findings_open", OF, 'detector="duplicates"')})""", "{{rule}}", now=True),
        "Which rule found them: how the reference is written, the amount and date, another vendor record, a split.",
        width=6,
    ),
    rows(
        "Amount at risk",
        Sql(
            """
            SELECT
                ifNull(company_id, '') AS company, coalesce(company_currency, currency, '?') AS in_currency,
                count() AS findings,
                sum(if(company_currency IS NULL OR company_currency = currency, amount_at_risk, company_amount))
                    AS at_risk
            FROM findings
            WHERE detector = 'duplicates' AND status IN ('open', 'updated') AND @chosen
            GROUP BY company, in_currency
            ORDER BY at_risk DESC
            """
        ),
        "What would be paid twice, in each company's own currency; where that is not known, in the documents'.",
        width=6,
    ),
    lines(
        "Found a day",
        Sql(
            """
            SELECT toStartOfDay(opened_at) AS time, rule, count() AS found
            FROM findings
            WHERE detector = 'duplicates' AND status != 'retracted' AND $__timeFilter(opened_at) AND @chosen
            GROUP BY time, rule
            ORDER BY time, rule
            """,
            over_time=True,
        ),
        "By the day the second document came.",
        width=8,
        stacked=True,
    ),
    number(
        "Bills left uncompared",
        Prom(f"""sum({kpi("duplicate_block_dropped", OF)}) or vector(0)""", now=True),
        "So often a full block of candidates let a bill go: policy key `duplicates.block_cap`.",
        empty="0",
        width=4,
    ),
    rows(
        "Possible duplicates",
        Sql(
            """
            SELECT
                opened_at, severity, rule, arrayStringConcat(document_keys, ', ') AS documents, amount_at_risk,
                currency, arrayStringConcat(reasons, ' ') AS why, next_action, finding_id
            FROM findings
            WHERE detector = 'duplicates' AND status IN ('open', 'updated') AND @chosen
            ORDER BY opened_at DESC
            LIMIT 100
            """
        ),
        "The later document first. `finwatch findings` shows them in a terminal.",
        width=24,
    ),
)

CLOCKS: tuple[Panel, ...] = (
    bars(
        "Running now, by status",
        Prom(f"""sum by (status) ({kpi("clocks_open", OF)})""", "{{status}}", now=True),
        "Service-level clocks that have not stopped.",
    ),
    bars(
        "Broken now, by policy",
        Prom(f"""sort_desc(sum by (policy) ({kpi("clocks_open", OF, 'status="breached"')}))""", "{{policy}}", now=True),
        "Clocks past their due time whose document still waits.",
        steps=((RED, 1),),
    ),
    bars(
        "Breach rate, by policy",
        Prom(f"""sort_desc(max by (policy) ({kpi("clock_breach_rate", OF)}))""", "{{policy}}", now=True),
        "Of the clocks that stopped, those that had breached; cancelled ones apart.",
        unit=units.PercentUnit,
        steps=((YELLOW, 0.05), (RED, 0.2)),
    ),
    lines(
        "Breaches a day, by policy",
        Sql(
            """
            SELECT toStartOfDay(breached_at) AS time, policy, count() AS breaches
            FROM clocks
            WHERE status = 'breached' AND $__timeFilter(breached_at) AND @chosen
            GROUP BY time, policy
            ORDER BY time, policy
            """,
            over_time=True,
        ),
        "By the day of the due time.",
        stacked=True,
    ),
    rows(
        "Due next",
        Sql(
            """
            SELECT
                policy, document_key AS document, entity, started_at, due_at, level,
                dateDiff('second', seen.last, assumeNotNull(due_at)) AS left
            FROM clocks
            INNER JOIN @last ON seen.source = clocks.source
            WHERE status = 'running' AND isNotNull(due_at) AND @chosen(clocks)
            ORDER BY due_at
            LIMIT 50
            """
        ),
        "What will break first if nothing happens. `left` is counted from the last event of the source.",
        units={"left": units.Seconds},
    ),
)

POLICIES: tuple[Panel, ...] = (
    rows(
        "Policies, and what stands by each",
        Sql(
            """
            SELECT
                policy_version, published_at, effective_at, author, reason, arrayStringConcat(changes, '; ') AS changes,
                steps, clocks, exceptions, findings, last_used_at
            FROM policy_uses
            ORDER BY coalesce(published_at, last_used_at) DESC, policy_version
            LIMIT 50
            """
        ),
        "Each policy that was published, with what it changed and why, and how much stands as it judged it. One "
        "without a date came with the workers. Changes are also drawn into the panels over time.",
        width=24,
    ),
)

PIPELINE: tuple[Panel, ...] = (
    lines(
        "Behind, streams and store",
        Prom(
            """label_replace(finwatch:stream_lag_seconds:max, "part", "$1", "stage", "(.*)")
            or label_replace(max(finwatch_sink_lag_seconds), "part", "store", "", "")""",
            "{{part}}",
        ),
        "Age of the last record processed while behind; 0 when caught up.",
        unit=units.Seconds,
        width=8,
    ),
    lines(
        "Applied",
        Prom("finwatch:stream_applied:rate5m", "{{stage}}"),
        "Events applied to state, a second.",
        unit=units.EventsPerSecond,
        width=8,
    ),
    lines(
        "Age of the last checkpoint",
        Prom("max by (stage) (finwatch_stream_checkpoint_age_seconds)", "{{stage}}"),
        "After a crash, events since the last checkpoint are applied again.",
        unit=units.Seconds,
        width=8,
    ),
    lines(
        "Dead letters",
        Prom("sum by (stage, reason) (increase(finwatch_stream_dead_total[$__rate_interval]))", "{{stage}} {{reason}}"),
        "Records set aside, by reason.",
        width=8,
        stacked=True,
    ),
    lines(
        "Rows written to the store",
        Prom("sum by (table) (rate(finwatch_sink_rows_total[$__rate_interval]))", "{{table}}"),
        "Rows the store has confirmed, a second.",
        unit=units.RecordsPerSecond,
        width=8,
        stacked=True,
    ),
    lines(
        "Processes",
        Prom('sum by (service) (up{job="finwatch"})', "{{service}}"),
        "Copies of each process that answer.",
        width=8,
    ),
    rows(
        "Freshness by source",
        Sql(
            """
            SELECT
                source, entity, events, last_occurred_at, last_ingested_at, capture_seconds, publish_seconds,
                store_seconds, finished
            FROM captures
            WHERE @chosen
            ORDER BY source, entity
            """
        ),
        "The last event of each kind, hop by hop: from the source to its capture, to the broker, to the store.",
        width=16,
        units={
            "capture_seconds": units.Seconds,
            "publish_seconds": units.Seconds,
            "store_seconds": units.Seconds,
        },
    ),
    rows(
        "Newest dead letters",
        Sql(
            """
            SELECT timestamp, stage, topic, partition, offset, reason, value_size
            FROM dead_letters
            WHERE $__timeFilter(timestamp)
            ORDER BY timestamp DESC
            LIMIT 50
            """
        ),
        "Where they were read and why they were refused; never their content.",
        width=8,
        units={"value_size": units.BytesIEC},
    ),
)

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("At a glance", AT_A_GLANCE),
    ("Approval ageing", APPROVALS),
    ("Exceptions", EXCEPTIONS),
    ("Duplicates", DUPLICATES),
    ("Service-level clocks", CLOCKS),
    ("Policies", POLICIES),
    ("Pipeline freshness", PIPELINE),
)


def _variables() -> list[build.DatasourceVariable | build.QueryVariable | build.ConstantVariable]:
    return [
        build.ConstantVariable("runbooks").description("Where the runbooks are read.").value(RUNBOOKS),
        build.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"),
        build.DatasourceVariable("clickhouse").label("ClickHouse").type("grafana-clickhouse-datasource"),
        build.QueryVariable("source")
        .label("Source")
        .description("The systems whose documents are shown.")
        .datasource(CLICKHOUSE)
        .query("SELECT DISTINCT source FROM captures ORDER BY source")
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text=["All"], value=["$__all"])),
    ]


def _link(title: str, url: str) -> build.DashboardLink:
    return (
        build.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .icon("doc")
        .tooltip("What to do when it is red")
        .url(url)
        .target_blank(True)
    )


def dashboard() -> model.Dashboard:
    """The overview as Grafana's model, panels placed and numbered."""
    made = (
        build.Dashboard("Finwatch overview")
        .uid(OVERVIEW_UID)
        .description("Approvals, exceptions, duplicates, service levels, and how fresh these figures are.")
        .tags(["finwatch"])
        .timezone("utc")
        .refresh("30s")
        .time("now-30d", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .variables([*_variables()])
        .links([_link("Runbooks", "${runbooks}/"), _link("Behind or stale", "${runbooks}/figures-stale.md")])
    )
    for title, panels in ROWS:
        made = made.with_row(build.Row(title))
        for described in panels:
            made = made.with_panel(described)
    result = made.build()
    for place, panel in enumerate(result.panels or [], start=1):
        panel.id_val = place
    return result


POLICY_CHANGES = """
    SELECT moment AS time, concat('Policy ', label) AS title,
           arrayStringConcat(arrayConcat([ifNull(reason, '')], changes), '\\n') AS text, policy AS tags
    FROM (SELECT *, greatest(effective_at, published_at) AS moment FROM policy_changes)
    WHERE $__timeFilter(moment)
    ORDER BY time
"""
"""Each change of a policy, drawn into every panel over time: beside the figures it changes."""


def as_json() -> str:
    """Content of grafana/finwatch-overview.json."""
    made = json.loads(json.dumps(dashboard(), cls=JSONEncoder))
    # The kit's annotations know no query of a data source's own: it is put in as Grafana keeps it.
    target = json.loads(json.dumps(Sql(POLICY_CHANGES).target().build(), cls=JSONEncoder))
    made["annotations"] = {
        "list": [
            {
                "name": "Policy changes",
                "datasource": target["datasource"],
                "enable": True,
                "iconColor": "blue",
                "target": target,
            }
        ]
    }
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
