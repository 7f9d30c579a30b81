"""Convolutional networks: their layers, their shape and their files."""
