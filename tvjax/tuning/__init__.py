"""Gradient descent on a risk, and the strength that it chooses."""

from tvjax.tuning.descent import (
    Loss as Loss,
    path as path,
    secant as secant,
    SecantState as SecantState,
    tune as tune,
    Tuned as Tuned,
)
