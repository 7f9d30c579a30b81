"""X-ray images without their noise, and without a knob to turn."""

from tvjax.denoisers import SUM as SUM, TV as TV
from tvjax.frames import denoise as denoise, Result as Result
from tvjax.noise import (
    Gaussian as Gaussian,
    Poisson as Poisson,
    PoissonGaussian as PoissonGaussian,
)
from tvjax.risk import pure as pure, sugar as sugar, sure as sure
from tvjax.solvers import Solution as Solution, solve as solve
from tvjax.stack import denoise_stack as denoise_stack
from tvjax.symmetry import (
    denoise_symmetric as denoise_symmetric,
    Symmetrized as Symmetrized,
)
from tvjax.tuning import path as path, tune as tune

__version__ = "0.1.0"
