"""Experiments on total variation: time, the choice of alpha, memory, a GPU."""
