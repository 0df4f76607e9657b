"""Two-way and three-way matching: an order, its receipts and its bills, line by line.

Owns: what is billed against what was ordered and received, in quantity and price, units and currencies converted, and
what of it had not come when a bill was paid, or when its grace ended.
Does not own: how an order's documents meet, or when a grace ends (``streams.agents.orders``).

``chain`` says what is known of an order's documents; ``quantities``, ``prices`` and ``extras`` judge it.
"""
