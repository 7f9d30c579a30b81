"""Experiments, a room for each part of the package."""
