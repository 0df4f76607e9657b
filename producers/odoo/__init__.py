"""Change-data capture from Odoo over its public RPC API.

Owns: reading Odoo (transport), what of it becomes which record (mapping, tracking), what was seen and published
before (seen, state), and the order of reading, publishing and remembering (capture).
Does not own: the schemas and their encoding (schemas), the Kafka client (finwatch.runtime.publisher), what the events
mean for controls (finwatch.domain, streams).

Nothing in here writes to Odoo.
"""

from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.run import run

__all__ = ["Capture", "CaptureSettings", "run"]
