"""Measurements of whole parts on real servers; each prints machine, commit and parameters."""
