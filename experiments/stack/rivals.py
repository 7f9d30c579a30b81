"""What is a stack denoised with elsewhere, and how are the rivals set up?

Most work on the plain decomposition Y = Σ_k W_k v_kᵀ: W_k are coefficient images, v_k
orthonormal spectra. What a rival is told besides the data stands next to its name. The
best rank depends on what is asked for: the mean over frames of their PSNR is mostly
about those before the edge, which one component can tell, while it takes more for a
map. So oracles come in both kinds.
"""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import median_filter
from skimage.restoration import (
    denoise_nl_means,
    denoise_tv_chambolle,
    denoise_wavelet,
)

from experiments.stack.scenes import decibel, Setup, Stack
from tvjax.stack import denoise_stack

Image = Float[np.ndarray, "height width"]
PlugIn = Callable[[Image, float], Image]

OPTIONAL = ("bm3d", "bm4d")
MOST_COMPONENTS = 20  # that a rank is chosen from
# Step of the probe that tells a divergence, in units of the noise.
STEP = 0.1


class Components(NamedTuple):
    """The leading part of a stack's decomposition, in double precision."""

    vectors: Float[np.ndarray, "energy value"]
    images: Float[np.ndarray, "value height width"]

    def stack(self, rank: int) -> Stack:
        """Σ_{k ≤ rank} W_k v_kᵀ."""
        x = np.tensordot(self.vectors[:, :rank], self.images[:rank], 1)
        return x.astype(np.float32)


class Ranks(NamedTuple):
    """How good an estimate is from one component, the first entry, to all."""

    errors: Float[np.ndarray, " rank"]  # mean squared
    fpsnr: Float[np.ndarray, " rank"]  # dB


class Estimate(NamedTuple):
    """What a rival made of a stack."""

    name: str
    told: str  # besides the data
    image: Stack
    rank: int | None
    seconds: float


def missing() -> list[str]:
    """The peers that are not installed."""
    return [name for name in OPTIONAL if find_spec(name) is None]


def recipe_denoiser(setup: Setup) -> str:
    """The image denoiser of the paper's recipe."""
    return "TV" if setup.quick or not find_spec("bm3d") else "BM3D"


def estimates(y: Stack, truth: Stack, sigma: float, setup: Setup) -> Iterator[Estimate]:
    """Every rival in turn, and tvjax last.

    Args:
        y: Noisy data.
        truth: For the oracles.
        sigma: Standard deviation of the noise, for those that are told.
        setup: Whether to take the slow ones, too.
    """
    yield Estimate("noisy", "", y, None, 0.0)
    start = time.perf_counter()
    yield Estimate("3-D median", "", median(y), None, time.perf_counter() - start)
    if setup.slow and find_spec("bm4d"):
        start = time.perf_counter()
        x = bm4d(y, sigma)
        yield Estimate("BM4D", "σ", x, None, time.perf_counter() - start)

    start = time.perf_counter()
    raw = decompose(y)
    spent = time.perf_counter() - start
    yield from _oracles("SVD", "", raw, truth, spent)

    name = recipe_denoiser(setup)
    start = time.perf_counter()
    clean = denoise_components(raw, PLUG_INS[name], sigma)
    spent += time.perf_counter() - start
    yield from _oracles(f"SVD + {name}", "σ, ", clean, truth, spent)

    start = time.perf_counter()
    risks = fixed_basis_risks(y, raw, clean, PLUG_INS[name], sigma)
    spent += time.perf_counter() - start
    rank = 1 + int(np.argmin(risks))
    yield Estimate(f"paper's recipe, {name}", "σ", clean.stack(rank), rank, spent)

    start = time.perf_counter()
    result = denoise_stack(y)
    spent = time.perf_counter() - start
    yield Estimate("tvjax", "", result.image, result.rank, spent)


def _oracles(
    name: str, told: str, components: Components, truth: Stack, seconds: float
) -> Iterator[Estimate]:
    """The best that can be made of components by leaving out the last ones."""
    ranks = by_rank(components, truth)
    for measure, scores in (("MSE", -ranks.errors), ("FPSNR", ranks.fpsnr)):
        rank = 1 + int(np.argmax(scores))
        x = components.stack(rank)
        yield Estimate(name, f"{told}rank of best {measure}", x, rank, seconds)


def median(y: Stack) -> Stack:
    """The median of 3 x 3 x 3 values."""
    return median_filter(y, size=3)


def bm3d(image: Image, sigma: float) -> Image:
    """BM3D with its own settings."""
    from bm3d import bm3d

    return bm3d(image, sigma)


def bm4d(y: Stack, sigma: float) -> Stack:
    """BM4D with its own settings."""
    from bm4d import bm4d

    return bm4d(y, sigma).astype(np.float32)


def tv(image: Image, sigma: float) -> Image:
    """scikit-image's total variation, as strong as the noise."""
    return denoise_tv_chambolle(image, sigma)


def wavelet(image: Image, sigma: float) -> Image:
    """scikit-image's wavelets, soft thresholds of each band, averaged over shifts."""
    return denoise_wavelet(image, sigma, mode="soft", method="BayesShrink")


def nl_means(image: Image, sigma: float) -> Image:
    """scikit-image's non-local means."""
    return denoise_nl_means(image, patch_size=5, h=0.8 * sigma, sigma=sigma)


PLUG_INS: dict[str, PlugIn] = {"TV": tv, "non-local means": nl_means}
if find_spec("pywt"):
    PLUG_INS["wavelet"] = wavelet
if find_spec("bm3d"):
    PLUG_INS["BM3D"] = bm3d


def decompose(y: Stack, most: int = MOST_COMPONENTS) -> Components:
    """The leading components, from the eigenvectors of the Gram matrix in float64."""
    rows = y.reshape(len(y), -1)
    gram = np.zeros((len(y), len(y)))
    for block in np.array_split(rows, max(1, rows.shape[1] // 4096), axis=1):
        block = block.astype(np.float64)
        gram += block @ block.T
    _, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, ::-1][:, : min(most, len(y))]
    images = vectors.T.astype(y.dtype) @ rows
    return Components(vectors, images.reshape(-1, *y.shape[1:]).astype(np.float64))


def denoise_components(raw: Components, plug_in: PlugIn, sigma: float) -> Components:
    """Each coefficient image by one denoiser, which is told the noise."""
    return Components(raw.vectors, np.stack([plug_in(w, sigma) for w in raw.images]))


def by_rank(x: Components, truth: Stack) -> Ranks:
    """The errors at each rank."""
    errors, fpsnr = [], []
    difference = -truth.astype(np.float64)
    for image, vector in zip(x.images, x.vectors.T, strict=True):
        difference += vector[:, None, None] * image
        square = np.mean(difference**2, axis=(1, 2))
        errors.append(square.mean())
        fpsnr.append(decibel(square).mean())
    return Ranks(np.asarray(errors), np.asarray(fpsnr))


def fixed_basis_risks(
    y: Stack, raw: Components, clean: Components, plug_in: PlugIn, sigma: float
) -> Float[np.ndarray, " rank"]:
    """The paper's risk at each rank, by which it chooses.

        ‖X_K − Y‖² = ‖Y‖² + Σ_{k ≤ K} (‖D_k‖² − 2⟨D_k, W_k⟩)
        MN risk_K = ‖X_K − Y‖² − MN σ² + 2σ² Σ_{k ≤ K} div D_k

    The basis counts as known: its own dependence on the noise is missing. The
    divergences are those along one random direction.
    """
    rng = np.random.default_rng(0)
    divergences = []
    for before, after in zip(raw.images, clean.images, strict=True):
        signs = rng.choice([-1.0, 1.0], before.shape)
        change = plug_in(before + STEP * sigma * signs, sigma) - after
        divergences.append(np.sum(signs * change) / (STEP * sigma))
    steps = np.sum(clean.images**2 - 2 * clean.images * raw.images, axis=(1, 2))
    steps += 2 * sigma**2 * np.asarray(divergences)
    power = np.sum(y.astype(np.float64) ** 2)
    return (power + np.cumsum(steps)) / y.size - sigma**2
