"""Dashboards, recording and alert rules, alert routing: declared in Python, generated into committed files.

Owns what finance leaders and operators see and are told, and the pages alerts link to.
Does not own any figure: KPIs are declared in `finwatch.domain.kpis`, process metrics in `finwatch.runtime.metrics`,
views in the ClickHouse sink's migrations; this package only asks for them.
"""
