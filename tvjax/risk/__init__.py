"""Unbiased estimates of the error against a truth that nobody knows."""

from tvjax.risk.mixture_weights import let_weights as let_weights
from tvjax.risk.splitting import held_out_error as held_out_error, split as split
from tvjax.risk.stein import (
    pure as pure,
    resumed_sugar as resumed_sugar,
    sugar as sugar,
    sure as sure,
    with_error as with_error,
)
