"""Denoisers that do next to nothing, fast, and what they work on."""

from typing import NamedTuple

import numpy as np

from tvjax.io import save_series, save_stack, series_of, stack_of
from tvjax.noise import Gaussian
from tvjax.stack import Components

MASKED = np.uint32(2**32 - 1)


class Halved(NamedTuple):
    """What files need to know of denoised frames."""

    image: np.ndarray
    alpha: np.ndarray
    relative_gap: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray
    curve: None = None
    warnings: tuple[str, ...] = ()
    alpha_error: np.ndarray | None = None
    protection: float | None = None


class Halve:
    """A stand-in for `tvjax.denoise`, which keeps what it was asked."""

    def __init__(self, *, converged=True, factor=0.5, at_bound=False, protection=None):
        self.calls = []
        self.protection = protection
        self.converged = converged
        self.at_bound = at_bound
        self.factor = factor

    def __call__(
        self,
        y,
        *,
        noise,
        alpha,
        mask,
        per_frame,
        weights=None,
        repeats=False,
        protect=True,
        curve_points=0,
    ):
        asked = {"noise": noise, "alpha": alpha, "mask": mask}
        options = {"weights": weights, "repeats": repeats, "protect": protect}
        self.calls.append({"y": y} | options | asked)
        alpha = 0.25 if alpha is None else alpha
        return Halved(
            y * np.float32(self.factor),
            np.full(len(y) if per_frame else (), alpha),
            np.full(len(y), 1e-5),
            np.full(len(y), self.converged),
            np.array(self.at_bound),
            warnings=("alpha ended at the end of its range",) * self.at_bound,
            protection=self.protection,
        )


def components_of(
    data, mask, rank, *, tried=None, sigma=None, noise=None
) -> Components:
    """The leading singular vectors of a stack, of which some are kept."""
    u, d, v = np.linalg.svd(data.reshape(len(data), -1), full_matrices=False)
    tried = min(rank + 1, len(data)) if tried is None else tried
    images = (d[:, None] * v)[:tried].reshape(tried, *mask.shape)
    used = np.arange(tried) < rank
    denoised = np.where(used[:, None, None], images, 0)
    if sigma is None:
        residual = data - np.tensordot(u[:, :tried], denoised, 1)
        sigma = np.full(len(data), np.sqrt(np.mean(residual**2)) or 1.0)
    sigma = np.asarray(sigma, np.float32)
    scale = d[rank:].std() if len(d) > rank else 1.0
    relative = np.geomspace(1, rank / len(data), tried)
    return Components(
        noise=Gaussian(sigma[:, None, None]) if noise is None else noise,
        rank=rank,
        sigma=sigma,
        risk=np.asarray(rank / len(data) * np.mean(sigma**2)),
        relative_risk=rank / len(data),
        relative_risks=relative,
        alphas=np.zeros(tried),
        coefficients=np.where(used[:, None], np.ones((tried, 2)) / 2, 0),
        singular_values=d / (scale or 1.0),
        spectra=u[:, :tried].T,
        images=images,
        denoised=denoised,
        mask=None,
    )


class Truncate:
    """A stand-in for `fit_components` that keeps singular vectors, and its calls."""

    def __init__(self, rank=3):
        self.calls = []
        self.rank = rank

    def __call__(self, y, *, rank, mask, progress, **options):
        data = y[: y.shape[0], : y.shape[1]] * mask
        self.calls.append(options | {"mask": mask, "data": data})
        progress(len(data), len(data))
        return components_of(data, mask, rank or self.rank, noise=options["noise"])


def save_frames(path, frames):
    save_series(path, series_of(frames))
    return path


def noisy(truth, sigma=0.02):
    noise = np.random.default_rng(0).normal(size=truth.shape)
    return (truth + sigma * noise).astype(np.float32)


def write_density(path, scene, data=None):
    data = noisy(scene.truth) if data is None else data
    save_stack(path, stack_of(data, scene.energies, unit="optical density"))
    return path


def write_references(path, scene, energies=None):
    energies = scene.energies if energies is None else energies
    np.savetxt(path, np.column_stack([energies, scene.spectra.T]))
    return f"{path}=2,3,4"
