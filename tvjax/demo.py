"""What does tvjax do to a scan of which the truth is known?"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt32

from tvjax.io.marks import Marks
from tvjax.io.series import Metadata, Series
from tvjax.simulate import Scan

EXPOSURE = 0.25
"""Time of one frame in s, as in the scan that the default `Scan` follows."""


def true_errors(
    scan: Scan, frame: int, alphas: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """Return the true mean square error of a denoised frame at each strength.

    Stray events are left out: no denoiser is to guess them.
    """
    from tvjax.automatic import denoise  # loads jax

    counts, truth = scan.counts(frame), scan.expected(frame)
    fair = scan.mask & ~scan.zingers(frame)
    images = (denoise(counts, alpha=a, mask=scan.mask, tol=1e-3).image for a in alphas)
    return np.array([np.mean((image - truth)[fair] ** 2) for image in images])


def scan_series(scan: Scan) -> Series:
    """Return a simulated scan as a series that draws each frame when it is read."""

    def read(start: int, stop: int) -> Iterator[tuple[UInt32[np.ndarray, "y x"], str]]:
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
        beam_center=((rows - 1) / 2, (columns - 1) / 2),
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
        marks=Marks(negative=False),
        metadata=metadata,
        kind="simulated scan",
    )
