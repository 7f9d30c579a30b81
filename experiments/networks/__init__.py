"""Experiments that train the shipped networks and compare the denoisers."""
