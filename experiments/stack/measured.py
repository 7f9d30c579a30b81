"""How good is an estimate where nobody knows the truth, but there are more data?

Both compare with data that the estimate has not seen. Their own noise adds the same to
every error, so that the order of two errors is that of the errors against the truth,
but not their ratio.
"""

import h5py
import hdf5plugin  # noqa: F401, reads the compressed files
import numpy as np
from jaxtyping import Float
from scipy.ndimage import center_of_mass, gaussian_filter

import tvjax
from experiments.common.measure import DATA, Record
from experiments.stack.rivals import decompose, median
from experiments.stack.scenes import Setup, Stack, Tables
from tvjax.stack import denoise_stack
from tvjax.xanes import optical_density

GRID = np.geomspace(1 / 4, 16, 25)  # of the chosen strength, which is in it
MOST_COMPONENTS = 12
# Pixels, of 1024: the side of the square in the middle of the light, and the size of
# what is taken for the beam's wandering from one exposure to another.
LIT, DRIFT = 512, 32


def measured(setup: Setup) -> Tables:
    """Measured stacks and images, whose truth is not known, but other data of them."""
    tables = {}
    if (DATA / "stxm_fe_als").is_dir() and setup.measured:
        tables["Measured: every second energy from the others"] = predicted_frames()
    if (DATA / "txm_nca_ssrl_ni").is_dir() and setup.measured:
        tables["Measured: one exposure against others"] = repeated_exposures()
    return tables


def predicted_frames() -> list[Record]:
    """Half of the energies, denoised, predict the other half, both ways.

    A frame is predicted by a line between its two neighbors in energy. The iron stack
    of the ALS, in optical density.
    """
    with h5py.File(DATA / "stxm_fe_als" / "71214078_aligned.h5") as file:
        counts, light = file["stack"][()], file["i0"][:, 1]
        energies = file["energy_eV"][()]
    density = np.asarray(optical_density(counts, light).density, np.float32)
    errors: dict[str, list[float]] = {}
    for first in (0, 1):
        known, wanted = slice(first, None, 2), slice(first + 1, -1, 2)
        y = density[known]
        for name, x in halves_denoised(y).items():
            guess = interpolate(energies[wanted], energies[known], x)
            error = np.mean((guess - density[wanted]) ** 2)
            errors.setdefault(name, []).append(float(error))
    rows = {name: float(np.mean(found)) ** 0.5 for name, found in errors.items()}
    return [
        {
            "method": name,
            "rms error, optical density": row,
            "over raw": row / rows["raw"],
        }
        for name, row in rows.items()
    ]


def halves_denoised(y: Stack) -> dict[str, Stack]:
    """The estimates to be compared."""
    components = decompose(y, MOST_COMPONENTS)
    svd = {f"SVD, rank {k}": components.stack(k) for k in range(1, MOST_COMPONENTS + 1)}
    result = denoise_stack(y)
    return {"raw": y, "3-D median": median(y), "tvjax": result.image, **svd}


def interpolate(
    wanted: Float[np.ndarray, " wanted"],
    energies: Float[np.ndarray, " energy"],
    x: Stack,
) -> Stack:
    """The frames at energies between those of a stack, each on a line."""
    after = np.searchsorted(energies, wanted)
    low, high = energies[after - 1], energies[after]
    share = ((wanted - low) / (high - low))[:, None, None].astype(x.dtype)
    return (1 - share) * x[after - 1] + share * x[after]


def repeated_exposures() -> list[Record]:
    """One exposure denoised, against the two others, at the alpha chosen and on a grid.

    The cathode at SSRL, where there is light. Each exposure is over flats of its own:
    common ones would have their noise on both sides.
    """
    with h5py.File(DATA / "txm_nca_ssrl_ni" / "nca_ssrl_08324.0_eV.h5") as file:
        sample = file["sample"][()].astype(np.float64)
        flats = file["reference"][()].astype(np.float64)
    middle = [round(c) for c in center_of_mass(flats.mean(axis=0))]
    lit = tuple(slice(c - LIT // 2, c + LIT // 2) for c in middle)
    rows = []
    for index in range(len(sample)):
        images = normalized(np.roll(sample, -index, axis=0), flats)
        y, *others = (image[lit] for image in images)
        others = [other * gaussian_filter(y / other, DRIFT) for other in others]
        truth = np.mean(others, axis=0)
        noise = np.mean((others[0] - others[1]) ** 2) / 4
        chosen = tvjax.denoise(y)
        errors = {
            alpha: float(np.mean((tvjax.denoise(y, alpha=alpha).image - truth) ** 2))
            for alpha in float(chosen.alpha) * GRID
        }
        best = min(errors, key=errors.get)
        error = float(np.mean((chosen.image - truth) ** 2))
        rows.append(
            {
                "exposure": index,
                "alpha": float(chosen.alpha),
                "best alpha": float(best),
                "rms error, raw": float(np.mean((y - truth) ** 2)) ** 0.5,
                "rms error": error**0.5,
                "MSE over best": error / errors[best],
                "less the others' noise": float(
                    (error - noise) / (errors[best] - noise)
                ),
            }
        )
    return rows


def normalized(
    sample: Float[np.ndarray, "3 height width"],
    flats: Float[np.ndarray, "5 height width"],
) -> list[Float[np.ndarray, "height width"]]:
    """Each exposure over flats of its own."""
    groups = flats[:2], flats[2:3], flats[3:]
    images = [s / f.mean(axis=0) for s, f in zip(sample, groups, strict=True)]
    return [image.astype(np.float32) for image in images]
