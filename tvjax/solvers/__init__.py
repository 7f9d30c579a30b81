"""The ROF problem: one algorithm a file, behind one contract."""

from tvjax.solvers.derivative import Accuracy as Accuracy
from tvjax.solvers.solve import Solution as Solution, solve as solve
