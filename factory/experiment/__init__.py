"""Experiments: a file that describes a whole table, and what computes it cell by cell."""
