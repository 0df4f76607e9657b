"""The logic of the two stages, over the shell's contract (``streams.stage``).

Owns: which rows a stage keeps, which rules of ``finwatch.domain`` an event is put before, what is emitted where.
Does not own: the rules themselves, or how rows become durable and outputs are delivered.

A later detector is one more file here and one more entry in ``registry``: nothing that stands is touched.
"""
