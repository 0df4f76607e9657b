"""Finwatch watches the finance operations of an Odoo ERP as a stream.

Owns: the named core: `domain` (pure rules), `runtime` (edges every process shares), `sim` (a simulated Odoo),
`local` (the embedded stack) and `cli` (one file a command).
Does not own: producers, schemas, streams, sinks and dashboards, which are packages of their own.
"""

__version__ = "0.1.0"
