"""Simulated data for the demo, and what denoising did to their truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt32

from tvjax.frames import denoise
from tvjax.io import save_stack, stack_of
from tvjax.io.invalid_values import InvalidValues
from tvjax.io.series import Metadata, Series
from tvjax.io.staging import replace_file
from tvjax.simulate import count, Counts, nickel_energies, Scan, xanes_stack, XanesStack
from tvjax.stack import Components
from tvjax.xanes import optical_density

# No pixel counts as darker than this share of the median: the shadow of the beam stop
# does not outweigh the field, as in the risk.
SHADOW = 0.5

# Time of one frame in s, as in the scan that the default `Scan` follows.
EXPOSURE = 0.25

# Mean counts of a pixel of the stack without the sample: as noisy as stacks are whose
# chemistry is hard to see.
PHOTONS = 250


def cathode(num_energies: int = 117) -> XanesStack:
    """Return a cathode particle, its nickel 4+ in the core and 2+ at the surface."""
    return xanes_stack(
        (128, 128),
        energies=nickel_energies(num_energies),
        num_states=3,
        arrangement="gradient",
    )


def save_cathode(
    folder: Path, scene: XanesStack, *, overwrite: bool = False
) -> tuple[Path, Path, str]:
    """Write counts with and without the sample, and the references.

    Returns:
        The stack, the flats, and the references with their valences.
    """
    counts = _exposed(scene)
    stack, flat = folder / "stack.h5", folder / "flat.h5"
    save_stack(stack, stack_of(counts.sample, scene.energies), overwrite=overwrite)
    save_stack(flat, stack_of(counts.flat, scene.energies), overwrite=overwrite)
    references = folder / "references.csv"
    names = (f"Ni {valence:.0f}+" for valence in scene.valences)
    lines = [",".join(("energy_eV", *names))]
    lines += [
        ",".join(f"{value:.6f}" for value in row)
        for row in np.column_stack([scene.energies, scene.spectra.T])
    ]
    replace_file(references, ("\n".join(lines) + "\n").encode())
    valences = ",".join(f"{valence:g}" for valence in scene.valences)
    return stack, flat, f"{references}={valences}"


class StackErrors(NamedTuple):
    """True mean square errors of a stack, over the variance of its noise."""

    before: float
    by_rank: Float[np.ndarray, " rank"]

    def gain(self, rank: int) -> float:
        """Return by how much the error is less at a rank, in dB."""
        return float(10 * np.log10(self.before / self.by_rank[rank - 1]))


def stack_errors(
    scene: XanesStack, components: Components, mask: Bool[np.ndarray, "height width"]
) -> StackErrors:
    """Return the true error of what `save_cathode` wrote, and of it denoised.

    mean ((Σ_k≤r denoised_k spectrum_k − truth) / σ)² at each rank r, with the noise σ
    of each energy that the components were found with.

    Args:
        scene: The truth.
        components: What the stack is made of.
        mask: True where a pixel is valid at all energies.

    Returns:
        The errors before denoising and at each rank.
    """
    counts = _exposed(scene)
    noisy = np.asarray(optical_density(counts.sample, counts.flat).density)
    sigma = np.asarray(components.sigma)[:, None]
    truth = scene.truth[:, mask] / sigma
    error, by_rank = truth.copy(), []
    for spectrum, image in zip(components.spectra, components.denoised, strict=True):
        error -= spectrum[:, None] / sigma * image[mask]
        by_rank.append(np.mean(error**2))
    before = float(np.mean((noisy[:, mask] / sigma - truth) ** 2))
    return StackErrors(before, np.array(by_rank))


def true_errors(
    scan: Scan, frame: int, alphas: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Return the true mean square error of a denoised frame at each strength.

    Weighed like the risk of counts, by one over the variance of each pixel. Stray
    events are left out: no denoiser is to guess them.
    """
    counts, truth = scan.counts(frame), scan.expected(frame)
    fair = scan.mask & ~scan.zingers(frame)
    images = (denoise(counts, alpha=a, mask=scan.mask, tol=1e-3).image for a in alphas)
    weights = 1 / np.maximum(truth[fair], SHADOW * np.median(truth[fair]))
    return np.array(
        [np.average((image - truth)[fair] ** 2, weights=weights) for image in images]
    )


def scan_series(scan: Scan) -> Series:
    """Return a simulated scan as a series that draws each frame when it is read."""

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[UInt32[np.ndarray, "height width"], str]]:
        return ((scan.counts(frame), "") for frame in range(start, stop))

    detector = scan.detector
    rows, columns = detector.shape
    metadata = Metadata(
        detector="EIGER 1M, simulated",
        wavelength=scan.wavelength,
        distance=detector.distance / 1000,
        exposure=EXPOSURE,
        pixel_size=(detector.pixel_size / 1000, detector.pixel_size / 1000),
        # Where the beam arrives with the arm at zero: `two_theta` does the rest.
        beam_centre=((rows - 1) / 2, (columns - 1) / 2),
        two_theta=detector.swing,
        start_angle=scan.omega_start,
        angle_increment=scan.omega_step,
        sensor_material="Si",
        saturation=detector.saturation,
    )
    return Series(
        num_frames=scan.num_frames,
        shape=detector.shape,
        dtype=np.dtype(np.uint32),
        read=read,
        mask=scan.mask,
        invalid_values=InvalidValues.of_type(np.dtype(np.uint32)),
        metadata=metadata,
        kind="simulated scan",
    )


def _exposed(scene: XanesStack) -> Counts:
    """Return the counts of a scene, the same in every call."""
    # files do not tell of how many exposures a flat is the mean
    return count(scene, photons=PHOTONS, num_flats=1)
