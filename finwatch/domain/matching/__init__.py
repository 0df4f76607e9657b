"""Two-way and three-way matching: an order, its receipts and its bills, line by line.

Owns: what is billed against what was ordered, received and kept, in quantity and price, units and currencies
converted, what of it had not come when a bill was paid, or when its grace ended, and what went back and is not
credited.
Does not own: how an order's documents meet, or when a grace ends (``streams.agents.orders``).

``chain`` says what is known of an order's documents; ``quantities``, ``prices``, ``returns``,
``parties``, ``taxes`` and ``extras`` judge it.
"""
