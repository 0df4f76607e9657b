"""Duties that must be apart, and misuse: who did what on one chain of documents, and when.

Owns: which acts count as which duty, conflicts between them, decisions that came too late, changes of bank accounts
before payments, splitting under limits, repeated overrides. Does not own: an approval by whoever made the document,
which is an exception of that document (``finwatch.domain.exceptions``).

Who did something comes from the source's log of changes and from who created a record, never from who wrote last.
"""
