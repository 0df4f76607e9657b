"""The judge of the duplicate detector: labelled bills, the rules that others use, and one table of figures.

Owns: what bills, duplicates and near misses look like, and how a detector is measured. It knows nothing of the
detector's thresholds: ``bills`` and ``errors`` import nothing of finwatch.
"""
