"""Duplicate bills: how references are made comparable, how candidates meet in blocks, what makes a pair, and why.

Owns: exact and normalised references within a company and vendor. Does not own: where blocks are kept, and the looser
comparisons (by amount, by alias, by split), which are rules of their own.
"""
