"""Gradient descent on a risk, and the strength that it chooses."""

from tvjax.tuning.descent import (
    Loss as Loss,
    risk_path as risk_path,
    secant as secant,
    SecantState as SecantState,
    tune as tune,
    Tuned as Tuned,
)
