from . import (
    arguments as arguments,
    denoisers as denoisers,
    diagnostics as diagnostics,
    filters as filters,
    frames as frames,
    io as io,
    learning as learning,
    metrics as metrics,
    networks as networks,
    noise as noise,
    operators as operators,
    pipeline as pipeline,
    plot as plot,
    readable as readable,
    registration as registration,
    report as report,
    result as result,
    risk as risk,
    settings as settings,
    simulate as simulate,
    solvers as solvers,
    stack as stack,
    symmetry as symmetry,
    tuning as tuning,
    xanes as xanes,
)
from .denoisers import (
    SUM as SUM,
    TV as TV,
)
from .frames import (
    denoise as denoise,
    Result as Result,
)
from .noise import (
    Correlated as Correlated,
    diagnose_noise as diagnose_noise,
    Gaussian as Gaussian,
    NoiseReport as NoiseReport,
    Poisson as Poisson,
    PoissonGaussian as PoissonGaussian,
)
from .risk import (
    pure as pure,
    sugar as sugar,
    sure as sure,
)
from .solvers import (
    Solution as Solution,
    solve as solve,
)
from .stack import (
    denoise_stack as denoise_stack,
    StackResult as StackResult,
)
from .symmetry import (
    denoise_symmetric as denoise_symmetric,
    SymmetricResult as SymmetricResult,
    Symmetrized as Symmetrized,
)
from .tuning import (
    risk_path as risk_path,
    tune as tune,
)

__all__ = [
    "arguments",
    "Correlated",
    "denoise",
    "denoise_stack",
    "denoise_symmetric",
    "denoisers",
    "diagnose_noise",
    "diagnostics",
    "filters",
    "frames",
    "Gaussian",
    "io",
    "learning",
    "metrics",
    "networks",
    "noise",
    "NoiseReport",
    "operators",
    "pipeline",
    "plot",
    "Poisson",
    "PoissonGaussian",
    "pure",
    "readable",
    "registration",
    "report",
    "Result",
    "result",
    "risk",
    "risk_path",
    "settings",
    "simulate",
    "Solution",
    "solve",
    "solvers",
    "stack",
    "StackResult",
    "sugar",
    "SUM",
    "sure",
    "SymmetricResult",
    "Symmetrized",
    "symmetry",
    "tune",
    "tuning",
    "TV",
    "xanes",
]

__version__: str
