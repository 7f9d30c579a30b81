"""What is the optical density of what a camera counted, frame by frame?"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import Light, Stack

UNIT = "optical density"


def density_of(stack: Stack, flat: Light, dark: Light | None = None) -> Stack:
    """The optical density of counts, NaN where there is none."""
    from tvjax.xanes import optical_density  # loads jax

    num_rows = stack.shape[1]

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy y x"]:
        sample = stack.cut(frames, rows)
        found = optical_density(
            np.where(stack.series.marks.valid(sample), sample, 0).astype(np.float32),
            np.broadcast_to(flat.cut(frames, rows), sample.shape),
            dark=np.broadcast_to(
                0 if dark is None else dark.cut(frames, rows), sample.shape
            ),
            mask=stack.series.marks.valid(sample),
        )
        return np.where(found.mask, found.density, np.nan).astype(np.float32)

    def read(start: int, stop: int) -> Iterator[tuple[np.ndarray, str]]:
        headers = stack.series.read(start, stop)
        for index, (_, header) in zip(range(start, stop), headers, strict=True):
            yield cut(slice(index, index + 1), slice(0, num_rows))[0], header

    series = dataclasses.replace(
        stack.series,
        dtype=np.dtype(np.float32),
        read=read,
        marks=stack.series.marks._replace(negative=False),
        files=(*stack.series.files, *flat.files, *(dark.files if dark else ())),
    )
    return dataclasses.replace(stack, series=series, cut=cut, unit=UNIT)


def density_levels(
    counts: Stack,
    mask: Bool[np.ndarray, "y x"],
    noise: object,
    flat: Light,
    dark: Light | None = None,
) -> Float[np.ndarray, " energy"]:
    """The noise of the optical density at each energy, from that of the counts."""
    from tvjax.xanes import optical_density  # loads jax

    levels = []
    rows = slice(0, counts.shape[1])
    for index in range(counts.shape[0]):
        frames = slice(index, index + 1)
        sample = counts[frames, rows]
        empty, offset = (
            np.broadcast_to(
                0.0 if light is None else light.cut(frames, rows), sample.shape
            ).astype(np.float32)
            for light in (flat, dark)
        )
        found = optical_density(
            sample,
            empty,
            dark=offset,
            sample_variance=noise.variance(sample),
            flat_variance=noise.variance(empty) / flat.num_exposures,
            mask=mask,
        )
        variance = np.asarray(found.variance)[0][mask]
        levels.append(np.sqrt(max(float(np.mean(variance)), np.finfo(float).tiny)))
    return np.array(levels, np.float32)
