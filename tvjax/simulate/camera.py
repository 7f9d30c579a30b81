"""Counts of a camera, with a sample and without."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Real

from tvjax.simulate.cathode import XanesStack


class Counts(NamedTuple):
    """What the camera reads, dark counts included."""

    sample: Int32[np.ndarray, "energy height width"]
    flat: Float32[np.ndarray, "energy height width"]  # mean of the flat exposures


def illumination(
    energies: Float[np.ndarray, " energy"], shape: tuple[int, int]
) -> Float32[np.ndarray, "energy height width"]:
    """Return the light on the camera without a sample, of mean 1.

    The condenser's light fades toward the corners and has stripes; the beam weakens
    over the scan, wavers, and dips at one energy where the monochromator has a glitch.

    Args:
        energies: In eV, ascending.
        shape: Height and width in pixels.
    """
    y, x = (np.linspace(-1, 1, n) for n in shape)
    pattern = np.exp(-0.3 * (y[:, None] ** 2 + x**2))
    pattern *= 1 + 0.08 * np.sin(12 * x + 5 * y[:, None])
    scan = (energies - energies[0]) / max(np.ptp(energies), 1)
    beam = 1 - 0.12 * scan + 0.03 * np.cos(9 * scan)
    beam -= 0.1 * np.exp(-(((scan - 0.7) / 0.02) ** 2))
    light = (beam / beam.mean())[:, None, None] * (pattern / pattern.mean())
    return light.astype(np.float32)


def count(
    stack: XanesStack,
    *,
    photons: float,
    flat: Real[np.ndarray, "*energy height width"] | None = None,
    dark: float = 0.0,
    read_noise: float = 0.0,
    num_flats: int = 10,
    seed: int = 0,
) -> Counts:
    """Return raw counts with the sample, and without it.

        sample ~ Poisson(I e^(−truth)) + dark + N(0, read_noise²), rounded,
        flat   ~ the mean of `num_flats` such exposures at truth 0, not rounded,

    so that −ln((sample − dark) / (flat − dark)) is the truth with noise, and with a
    bias of about e^truth / 2I where counts are few. Nothing is cut off at zero.

    Args:
        stack: The truth in optical density.
        photons: Mean of I over pixels and energies, in counts.
        flat: Shape of I for all energies or for each, in any unit; `illumination` by
            default.
        dark: Counts of the camera without light.
        read_noise: Standard deviation of the camera's reading, in counts.
        num_flats: Number of exposures that `flat` is the mean of.
        seed: Seed of all noise.

    Raises:
        ValueError: For a number out of range, or a flat that fits no frame.
    """
    _check_camera(photons, dark, read_noise, num_flats)
    light = photons * _light(flat, stack)
    rng = np.random.default_rng((seed, 5))
    sample = np.empty(stack.truth.shape, np.int32)
    empty = np.empty(stack.truth.shape, np.float32)
    # frame by frame, since the draws come in 64 bits
    for n, truth in enumerate(stack.truth):
        drawn = rng.poisson(light[n] * np.exp(-truth))
        sample[n] = np.rint(drawn + _reading(rng, truth.shape, dark, read_noise))
        drawn = rng.poisson(num_flats * light[n]) / num_flats
        spread = read_noise / math.sqrt(num_flats)
        empty[n] = drawn + _reading(rng, truth.shape, dark, spread)
    return Counts(sample, empty)


def _light(
    flat: Real[np.ndarray, "*energy height width"] | None, stack: XanesStack
) -> Float[np.ndarray, "energy height width"]:
    """Relative intensity without the sample, of mean 1, for each energy."""
    if flat is None:
        return illumination(stack.energies, stack.truth.shape[1:])
    flat = np.asarray(flat, float)
    if flat.shape not in (stack.truth.shape, stack.truth.shape[1:]):
        raise ValueError(
            f"`flat` must have the shape of a frame or of the stack, "
            f"{stack.truth.shape}, got {flat.shape}."
        )
    if not (np.all(flat >= 0) and np.isfinite(flat.mean()) and flat.mean() > 0):
        raise ValueError(
            "`flat` must be finite, not negative, and positive somewhere, "
            f"got values from {flat.min()} to {flat.max()}."
        )
    return np.broadcast_to(flat / flat.mean(), stack.truth.shape)


def _reading(
    rng: np.random.Generator, shape: tuple[int, ...], dark: float, spread: float
) -> Float[np.ndarray, "height width"] | float:
    """What a camera adds to the photons."""
    return dark + (spread * rng.standard_normal(shape) if spread > 0 else 0)


def _check_camera(
    photons: float, dark: float, read_noise: float, num_flats: int
) -> None:
    if not 0 < photons <= 1e8:  # beyond, counts do not fit into 32 bits
        raise ValueError(f"`photons` must be positive and at most 1e8, got {photons}.")
    if not (dark >= 0 and read_noise >= 0):
        raise ValueError(
            "`dark` and `read_noise` must not be negative, "
            f"got {dark} and {read_noise}."
        )
    if num_flats < 1:
        raise ValueError(f"`num_flats` must be at least 1, got {num_flats}.")
