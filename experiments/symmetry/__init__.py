"""Experiments on patterns that have a symmetry."""
