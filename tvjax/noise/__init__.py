"""How noisy the data is: noise models, and how they are estimated."""

from tvjax.noise.models import (
    AbstractNoise as AbstractNoise,
    describe_noise as describe_noise,
    estimate_noise as estimate_noise,
    Gaussian as Gaussian,
    Noise as Noise,
    Poisson as Poisson,
    PoissonGaussian as PoissonGaussian,
)
