"""Two-way and three-way matching: an order, its receipts and its bills, line by line.

Owns: what is billed against what was ordered and received, in quantity and price, units and currencies converted.
Does not own: how an order's documents meet (``streams.agents.orders``), or waiting for a receipt: that is an exception
of the order, with a grace, which needs no more than the order's own counters (``finwatch.domain.exceptions``).

``chain`` says what is known of an order's documents; ``quantities``, ``prices`` and ``extras`` judge it.
"""
