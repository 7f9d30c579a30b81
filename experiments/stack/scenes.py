"""What stacks of known truth are there, and how far is an estimate from it?

Stacks are (energy, height, width), scaled such that the greatest value of the truth is
255. The measured spectra and images are read from the folder that TVJAX_DATA names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import skimage
from jaxtyping import ArrayLike, Bool, Float

import tvjax
from experiments.common.measure import DATA, Record
from tvjax.metrics import correlation
from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack, XanesStack
from tvjax.stack import StackResult
from tvjax.xanes import chemical_map, edge_energy, fit_references, normalize

PEAK = 255
STATES = 5
# Where there is less than this share of the thickest, there is no spectrum to judge.
THINNEST = 0.1
# Nickel of rising valence, and the factor to eV of the energies in each file.
MEASURED = (
    ("fxi_ni_reference/ref_NiO.txt", 1000),
    ("fxi_ni_reference/ref_LiNiO2.txt", 1000),
    ("ssrl_nca/NCA_xanes.csv", 1),
)

Stack = Float[np.ndarray, "energy height width"]
Tables = dict[str, list[Record]]  # by their headings


class Setup(NamedTuple):
    """How large everything is."""

    shape: tuple[int, int]
    num_energies: int
    sigmas: tuple[float, ...]  # of tables
    curve_sigmas: tuple[float, ...]  # of figures
    ranks: tuple[int, ...]  # that are compared
    shares: tuple[float, ...]  # of the energies
    amplitudes: tuple[float, ...]  # of jitter, in pixels
    small: tuple[int, int]  # shape where many draws are made
    few: int  # energies there
    draws: int
    states: tuple[int, ...]  # the ranks by construction of these
    large: tuple[int, int, int]  # what is timed
    streamed: tuple[int, int, int]  # and what is read in blocks
    measured: bool  # also data from TVJAX_DATA, where there
    quick: bool  # with total variation in BM3D's place
    slow: bool  # with BM4D, which takes minutes
    folder: Path  # for figures that are no tables


FULL = Setup(
    shape=(128, 128),
    num_energies=200,
    sigmas=(10, 60, 150),
    curve_sigmas=(10, 30, 60, 100, 150),
    ranks=tuple(range(1, 9)),
    shares=(0.05, 0.1, 0.2, 0.4, 0.7, 1),
    amplitudes=(2, 4, 6),
    small=(32, 32),
    few=40,
    draws=100,
    states=(3, 4, 5),
    large=(969, 379, 520),
    streamed=(969, 1193, 1193),
    measured=True,
    quick=False,
    slow=False,
    folder=Path(),
)
QUICK = Setup(
    shape=(32, 32),
    num_energies=24,
    sigmas=(60,),
    curve_sigmas=(60,),
    ranks=(1,),
    shares=(1,),
    amplitudes=(2,),
    small=(32, 32),
    few=24,
    draws=1,
    states=(2,),
    large=(24, 32, 32),
    streamed=(24, 40, 40),
    measured=False,
    quick=True,
    slow=False,
    folder=Path(),
)


class Quality(NamedTuple):
    """How good an estimate is."""

    fpsnr: float  # dB, mean over the frames
    spsnr: float  # dB, mean over the pixels that are not too thin
    correlation: float  # of the map of valences with the truth


def scenes(setup: Setup) -> Iterator[tuple[str, XanesStack]]:
    """All that can be made here."""
    yield from simulated_scenes(setup.shape, setup.num_energies).items()
    if setup.measured and has_measured():
        yield from measured_scenes(setup.shape).items()


def first_scene(setup: Setup) -> XanesStack:
    """The simulated particle, a state a grain."""
    return simulated_scenes(setup.shape, setup.num_energies)["simulated, regions"]


def simulated_scenes(
    shape: tuple[int, int], num_energies: int
) -> dict[str, XanesStack]:
    """The shipped simulator's particle, its states by grain and at random."""
    return {
        f"simulated, {arrangement}": scale_to_bytes(
            xanes_stack(
                shape, energies=nickel_energies(num_energies), arrangement=arrangement
            )
        )
        for arrangement in ("regions", "random")
    }


def measured_scenes(shape: tuple[int, int]) -> dict[str, XanesStack]:
    """A photograph for the thickness, measured spectra of nickel for the states."""
    energies, spectra = measured_spectra()
    photograph = skimage.io.imread(DATA / "images" / "Set12" / "01.png") / 255
    thickness = skimage.transform.resize(photograph, shape, anti_aliasing=True)
    return {
        f"measured, {arrangement}": scale_to_bytes(
            xanes_stack(
                thickness=thickness,
                energies=energies,
                spectra=spectra,
                arrangement=arrangement,
            )
        )
        for arrangement in ("regions", "random")
    }


def has_measured() -> bool:
    """Whether the files for `measured_scenes` are there."""
    return (DATA / "xanes_spectra").is_dir() and (DATA / "images" / "Set12").is_dir()


def measured_spectra() -> tuple[
    Float[np.ndarray, " energy"], Float[np.ndarray, "state energy"]
]:
    """Energies of a real scan, and five spectra there, of rising valence.

    NiO, LiNiO2 and NCA as measured; the two between them are the mean of their
    neighbors, whose edges are first moved to the middle between both.
    """
    spectra = []
    for file, unit in MEASURED:
        values = np.loadtxt(DATA / "xanes_spectra" / file).T
        spectra.append((values[0] * unit, values[1]))
    lowest = max(energies[0] for energies, _ in spectra)
    highest = min(energies[-1] for energies, _ in spectra)
    scan = DATA / "xanes_spectra" / "fxi_ni_reference" / "Ni_eng_list.txt"
    scan = 1000 * np.loadtxt(scan)
    scan = scan[(lowest <= scan) & (scan <= highest)]
    flat, edges = [], []
    for energies, values in spectra:
        used = (lowest <= energies) & (energies <= highest)
        energies = energies[used]
        normalized = normalize(values[used], energies, edge=8343).spectra
        flat.append((energies, np.asarray(normalized)))
        edges.append(float(edge_energy(normalized, energies).energy))

    def at(state: int, offset: float) -> np.ndarray:
        return np.interp(scan - offset, *flat[state])

    states = [at(0, 0)]
    for state in (1, 2):
        half = (edges[state] - edges[state - 1]) / 2
        states += [(at(state - 1, half) + at(state, -half)) / 2, at(state, 0)]
    return scan, np.stack(states)


def judge(x: Stack, scene: XanesStack) -> Quality:
    """Compare an estimate with the truth."""
    square = (np.asarray(x, np.float64) - scene.truth) ** 2
    return Quality(
        fpsnr=float(np.mean(decibel(square.mean(axis=(1, 2))))),
        spsnr=float(np.mean(decibel(square[:, thick(scene)].mean(axis=0)))),
        correlation=map_correlation(x, scene),
    )


def thick(scene: XanesStack) -> Bool[np.ndarray, "height width"]:
    """Where there is enough to have a spectrum."""
    return scene.thickness > THINNEST * scene.thickness.max()


def decibel(error: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio of mean squared errors."""
    return 10 * np.log10(PEAK**2 / np.asarray(error))


def whitened_error(result: StackResult, truth: Stack) -> float:
    """Mean squared error over the variance of the noise, which a risk estimates."""
    return float(np.mean(((result.image - truth) / result.sigma[:, None, None]) ** 2))


def mean_square(x: Stack, scene: XanesStack) -> float:
    """Mean squared error."""
    return float(np.mean((x.astype(np.float64) - scene.truth) ** 2))


def map_correlation(
    x: Stack,
    scene: XanesStack,
    *,
    chosen: np.ndarray | slice = slice(None),
    mask: Bool[np.ndarray, "height width"] | None = None,
) -> float:
    """Correlation of the fitted map of valences with the true one.

    Args:
        x: The estimate, at the energies `chosen`.
        scene: Its references, and the truth.
        chosen: Indices of the energies.
        mask: Where the map is compared, besides all that is not too thin.
    """
    compared = thick(scene) if mask is None else thick(scene) & np.asarray(mask)
    found = valence_map(x, scene, chosen)
    return float(correlation(found, scene.valence, compared))


def valence_map(
    x: Stack, scene: XanesStack, chosen: np.ndarray | slice = slice(None)
) -> Float[np.ndarray, "height width"]:
    """The mean valence in each pixel, of a fit of the true references.

    A pixel whose fit has no valence, since all its coefficients are zero, has the mean
    of the states: all estimates are judged by the same pixels.
    """
    fit = fit_references(x, scene.absorption[:, chosen], sigma=1.0)
    found = chemical_map(fit, scene.valences)
    return np.where(found.mask, found.valence, scene.valences.mean())


def versions() -> dict[str, str]:
    """What the numbers were measured with."""
    return {
        "tvjax": tvjax.__version__,
        "jax": jax.__version__,
        "scikit_image": skimage.__version__,
    }
