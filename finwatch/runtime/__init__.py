"""The edges that every finwatch process shares.

Owns: configuration, clock, logging, the metric catalogue, health endpoints, the topic list, retry and exit codes.
Does not own: any rule of the business (`finwatch.domain`) and any data flow (`producers`, `streams`, `sinks`).
"""
