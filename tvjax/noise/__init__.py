"""How noisy the data is: noise models, and how they are recognised and estimated."""

from tvjax.noise.correlated import Correlated as Correlated
from tvjax.noise.diagnosis import (
    diagnose_noise as diagnose_noise,
    estimate_noise as estimate_noise,
    NoiseReport as NoiseReport,
)
from tvjax.noise.models import (
    describe_noise as describe_noise,
    Gaussian as Gaussian,
    Noise as Noise,
    noise_in_words as noise_in_words,
    Poisson as Poisson,
    PoissonGaussian as PoissonGaussian,
)
from tvjax.noise.protocol import AbstractNoise as AbstractNoise
from tvjax.noise.repeats import diagnose_repeats as diagnose_repeats
