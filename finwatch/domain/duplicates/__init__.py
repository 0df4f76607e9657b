"""Duplicate bills: how they are made comparable, where they meet, what speaks for and against a pair, and why.

- ``references``, ``similarity``, ``slips``: how references, names, amounts and dates stand to one another.
- ``evidence``, ``splits``: what two bills, or a bill and its parts, look like, scored, with reasons in words.
- ``blocks``: the keys under which bills meet, and who decides on a pair.
- ``book``: what is known of the bills under a key, and what is to be said of them.
- ``reports``: how that is worded.

Does not own: where rows are kept, and how facts get from one stage to the next (``streams.agents.duplicates``).
"""
