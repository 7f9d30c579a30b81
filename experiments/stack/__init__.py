"""Experiments on energy stacks, beside the published recipe and other rivals."""
