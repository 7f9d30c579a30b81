"""Unbiased estimates of the error against a truth that nobody knows."""

from tvjax.risk.mixture_coefficients import mixture_coefficients as mixture_coefficients
from tvjax.risk.splitting import held_out_error as held_out_error, split as split
from tvjax.risk.stein import (
    pure as pure,
    sugar as sugar,
    sure as sure,
    with_error as with_error,
)
