"""A scan over an edge, and the library's functions with results on the host."""

import jax
import numpy as np

from tvjax import xanes

EDGE = 8333.0
# As a scan: coarse before, fine over the edge, coarse behind.
ENERGIES = np.r_[
    np.arange(8200, 8320, 8), np.arange(8320, 8370, 1.0), np.arange(8372, 8600, 12)
]
PRE, POST = (-133.0, -13.0), (39.0, 260.0)
PIXELS = (3, 4)


def on_host(function):
    """The results as NumPy arrays, so that only what is tested is compiled."""
    return lambda *args, **options: jax.device_get(function(*args, **options))


chemical_map, edge_energy, fit_references, normalize, optical_density, white_line = map(
    on_host,
    (
        xanes.chemical_map,
        xanes.edge_energy,
        xanes.fit_references,
        xanes.normalize,
        xanes.optical_density,
        xanes.white_line,
    ),
)


def exact(dtype, scale=1.0):
    """A tolerance of some hundred roundings of numbers of the size `scale`."""
    return {"rtol": 0, "atol": 300 * np.finfo(dtype).eps * scale}


def ramp(energies, start=8325.0, end=8345.0):
    return np.clip((energies - start) / (end - start), 0, 1)


def references(num=3):
    """Edges with a white line each, shifted by 2 eV from one to the next."""
    centre = EDGE + 2 * np.arange(num)[:, None]
    rise = np.arctan(ENERGIES - centre) / np.pi + 0.5
    return rise + 0.7 * np.exp(-(((ENERGIES - centre - 5) / 3) ** 2))


def noisy(seed, shape, sigma):
    return sigma * np.random.default_rng(seed).normal(size=shape)


def slope(function, x, index, step=1e-6):
    """The derivative in one sample by a central difference."""
    change = np.zeros(x.shape)
    change[index] = step
    return (function(x + change) - function(x - change)) / (2 * step)
