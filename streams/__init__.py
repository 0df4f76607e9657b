"""Stream processing: a generic shell that runs stages exactly once over their state, and the stages' agents.

Owns: the Faust app and its workers, the inlet (librdkafka to Faust channel), row state and its checkpoints,
source times and timers, dead letters of the stages, the agents that bind the domain to topics (``streams.agents``).

Does not own: the rules (``finwatch.domain``), the wire format (``schemas``), what is published into the input topics
(``producers``) and what is read from the output topics (``sinks``). It never imports producers or sinks.
"""
