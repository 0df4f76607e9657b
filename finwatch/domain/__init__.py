"""The rules of finance control, pure: ``(state, event, now) -> (state, outputs)``.

Owns: what an event, a document, a step, a clock, an exception, a finding and a KPI are; business calendars; policies;
the detectors' rules. Does not own: where events come from, how they are encoded, where state is kept, what time it is.
Imports nothing of the rest of finwatch and does no I/O. Times are integer microseconds since 1970-01-01 UTC; dates are
integer days since 1970-01-01; money is ``Decimal`` with its currency beside it.
"""
