"""The optical density of what a camera counted, frame by frame, and its noise."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, Num

from tvjax.io import Flats, Stack
from tvjax.io.invalid_values import InvalidValues
from tvjax.noise import Noise
from tvjax.xanes import optical_density

# The name of the unit in files.
UNIT = "optical density"

# Below this share of the mean variance no pixel is trusted more: counts of zero
# variance, as under a Gaussian of none, would weigh without bound.
LEAST = 1e-3


def density_of(stack: Stack, flat: Flats, dark: Flats | None = None) -> Stack:
    """The optical density of counts, NaN where there is none.

    Args:
        stack: Counts with the sample.
        flat: Counts without the sample.
        dark: Counts without light.

    Returns:
        A stack that computes the density of what is read of it.
    """
    everything = slice(0, stack.shape[1])

    def density(
        sample: Num[np.ndarray, "energy height width"], frames: slice, rows: slice
    ) -> Float[np.ndarray, "energy height width"]:
        valid = stack.series.invalid_values.valid(sample)
        empty, offset = _lights(sample.shape, frames, rows, flat, dark)
        counts = np.where(valid, sample, 0).astype(np.float32)
        # the mean of repeats has less noise, and its logarithm less bias
        repeats = flat.num_exposures
        found = optical_density(
            counts, empty, dark=offset, flat_variance=empty / repeats, mask=valid
        )
        return np.where(found.mask, found.density, np.nan).astype(np.float32)

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy height width"]:
        return density(stack.cut(frames, rows), frames, rows)

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Float[np.ndarray, "height width"], str]]:
        for index, (frame, header) in enumerate(stack.series.read(start, stop), start):
            part = slice(index, index + 1)
            yield density(frame[None], part, everything)[0], header

    series = dataclasses.replace(
        stack.series,
        dtype=np.dtype(np.float32),
        read=read,
        invalid_values=InvalidValues(),
        files=(*stack.series.files, *flat.files, *(dark.files if dark else ())),
    )
    return dataclasses.replace(stack, series=series, cut=cut, unit=UNIT)


class DensityNoise(NamedTuple):
    """Noise of an optical density: a level at each energy times one in each pixel.

    Which pixels absorb, and where the flat is dim, hardly changes with the energy: one
    image holds what would be as large as the stack.
    """

    levels: Float[np.ndarray, " energy"]  # optical density
    pixels: Float[np.ndarray, "height width"]  # root of the mean square 1 where valid


def density_noise(
    counts: Stack,
    mask: Bool[np.ndarray, "height width"],
    noise: Noise,
    flat: Flats,
    dark: Flats | None = None,
) -> DensityNoise:
    """The noise of the optical density that follows from that of the counts.

    var(t, r) ≈ levels_t² pixels_r²,   pixels_r² = mean over t of var(t, r)/levels_t²

    Args:
        counts: Counts with the sample.
        mask: True where a pixel is valid at all energies.
        noise: Noise model of the counts.
        flat: Counts without the sample.
        dark: Counts without light.

    Returns:
        The levels and the pixels.
    """
    levels, pixels = [], np.zeros(mask.shape)
    rows = slice(0, counts.shape[1])
    for index in range(counts.shape[0]):
        frames = slice(index, index + 1)
        sample = counts[frames, rows]
        empty, offset = _lights(sample.shape, frames, rows, flat, dark)
        found = optical_density(
            sample,
            empty,
            dark=offset,
            sample_variance=noise.variance(jnp.asarray(sample)),
            flat_variance=noise.variance(jnp.asarray(empty)) / flat.num_exposures,
            mask=mask,
        )
        variance = np.asarray(found.variance, float)[0]
        mean = max(float(np.mean(variance[mask])), float(np.finfo(float).tiny))
        levels.append(np.sqrt(mean))
        pixels += variance / mean
    pixels = np.where(mask, pixels / len(levels), 1)
    pixels = np.sqrt(np.maximum(pixels, LEAST))
    return DensityNoise(np.array(levels, np.float32), pixels.astype(np.float32))


def _lights(
    shape: tuple[int, ...], frames: slice, rows: slice, *lights: Flats | None
) -> Iterator[Float[np.ndarray, "energy height width"]]:
    """Flats and darks for a part of the stack; zero where there are none."""
    for light in lights:
        values = 0.0 if light is None else light.cut(frames, rows)
        yield np.broadcast_to(values, shape).astype(np.float32)
