"""Webhook ingress: signed events of other systems into the entity topics, Odoo's unsigned ones as hints to poll.

Owns: the HTTP server, who may send (signatures, tokens, replay, rates, sizes), the mapping of payloads to events by
configuration, and the rule that a sender hears 202 only after the broker acknowledged.
Does not own: what the events mean (finwatch.domain), what a hint leads to (producers.odoo), TLS (a proxy in front).

Bodies, headers and secrets are never logged.
"""

from producers.webhook.errors import HooksError
from producers.webhook.hooks import Hooks, load_hooks, parse_hooks
from producers.webhook.run import run

__all__ = ["Hooks", "HooksError", "load_hooks", "parse_hooks", "run"]
