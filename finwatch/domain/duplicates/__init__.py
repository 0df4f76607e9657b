"""Duplicate bills: how they are made comparable, where candidates meet, what speaks for and against a pair, and why.

- ``references``, ``similarity``: how references, names, amounts and dates stand to one another.
- ``blocks``: exact and normalised references within a company and vendor. This is what the relations stage runs.
- ``evidence``, ``candidates``: all layers (mistyped, missing reference, vendor aliases, splits, across companies and
  types, after a credit note), scored. Judged by ``benchmarks/duplicates``; no stage runs them yet: no fact carries
  a vendor's tax number, account and name, or a bill's net amount and order.

Does not own: where blocks are kept.
"""
