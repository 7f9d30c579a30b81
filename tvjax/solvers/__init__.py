"""Solvers of the ROF problem: one algorithm a file, behind one contract."""

from tvjax.solvers.derivative import (
    Accuracy as Accuracy,
    DEFAULT_ACCURACY as DEFAULT_ACCURACY,
)
from tvjax.solvers.solve import (
    blank_memory as blank_memory,
    Memory as Memory,
    resume as resume,
    Solution as Solution,
    solve as solve,
)
