"""Reports of the outcomes of runs over files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from pathlib import Path

import numpy as np
from jax import numpy as jnp
from jaxtyping import ArrayLike, Float, Real

from tvjax import plot
from tvjax.io import FileError
from tvjax.noise import Noise
from tvjax.pipeline.demo import StackErrors
from tvjax.pipeline.frames_outcome import Example, FramesOutcome
from tvjax.pipeline.stack_outcome import StackOutcome
from tvjax.pipeline.symmetry import SymmetryOutcome
from tvjax.report.frames import write_report
from tvjax.report.page import check_folder, reserve_folder, ReservedFolder
from tvjax.report.stack import write_stack_report
from tvjax.report.symmetry import profile_of, write_symmetry_report
from tvjax.simulate import XanesStack
from tvjax.symmetry import Agreement


def refuse_report(folder: Path, *, overwrite: bool) -> None:
    """Refuse before the work a report that could not be written after it.

    Args:
        folder: Where a report is to be written.
        overwrite: Whether an earlier report may be replaced.

    Raises:
        FileError: The folder holds a report, which may not be replaced.
    """
    try:
        check_folder(folder, overwrite)
    except FileExistsError:
        raise _holds_report(folder) from None


@contextmanager
def reserve_report(folder: Path, *, overwrite: bool) -> Iterator[ReservedFolder]:
    """Keep a folder for the report of a run that has not begun.

    Args:
        folder: Where the report is to be written.
        overwrite: Whether an earlier report may be replaced.

    Raises:
        FileError: The folder cannot be written, holds a report, which may not be
            replaced, or another run writes to it.
    """
    with ExitStack() as held:
        try:
            reserved = held.enter_context(reserve_folder(folder, overwrite))
        except FileExistsError:
            raise _holds_report(folder) from None
        yield reserved


def _holds_report(folder: Path) -> FileError:
    return FileError(f"{folder} holds a report: choose another or pass --overwrite.")


def report_frames(
    folder: Path | ReservedFolder,
    outcome: FramesOutcome,
    *,
    overwrite: bool = False,
    truth: Real[ArrayLike, "height width"] | None = None,
    errors: Callable[[Float[np.ndarray, " alpha"]], Float[np.ndarray, " alpha"]]
    | None = None,
) -> Path:
    """Write the report of a scan, next to the truth where it is known.

    Args:
        folder: Where to write.
        outcome: What became of the scan.
        overwrite: Whether to replace an earlier report.
        truth: The example frame without noise.
        errors: Gives the true mean square errors at some strengths.

    Returns:
        Path of `report.html`.
    """
    example, found = outcome.example, outcome.choice.curve
    curve = None
    if found is not None and np.ndim(found.alphas) == 1:
        curve = plot.RiskCurve(
            alphas=found.alphas,
            risks=found.risks,
            chosen=float(outcome.choice.alpha),
            splits=found.splits,
            chosen_error=(
                None
                if outcome.choice.alpha_error is None
                else float(outcome.choice.alpha_error)
            ),
            oracle=None if errors is None else errors(found.alphas),
        )
    return write_report(
        folder,
        example.before,
        example.after,
        variance=_variance(example, outcome.noise),
        mask=example.mask,
        summary=outcome.asdict() | {"example frame": example.frame},
        curve=curve,
        truth=truth,
        overwrite=overwrite,
    )


def report_symmetry(
    folder: Path | ReservedFolder, outcome: SymmetryOutcome, *, overwrite: bool = False
) -> Path:
    """Write the report of patterns that were denoised by their symmetry.

    Args:
        folder: Where to write.
        outcome: What became of the patterns.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.
    """
    centre, agreement = outcome.choice
    example = outcome.denoised.example
    variance = _variance(example, outcome.denoised.noise)
    profile = None
    if centre is not None:
        profile = profile_of(
            example.before, example.after, variance, example.mask, centre[:2]
        )
    return write_symmetry_report(
        folder,
        example.before,
        example.after,
        variance=variance,
        mask=example.mask,
        summary=outcome.asdict() | {"example frame": example.frame},
        agreement=None if agreement is None else _by_ring(agreement),
        profile=profile,
        overwrite=overwrite,
    )


def report_stack(
    folder: Path | ReservedFolder,
    outcome: StackOutcome,
    *,
    overwrite: bool = False,
    scene: XanesStack | None = None,
    errors: StackErrors | None = None,
) -> Path:
    """Write the report of a stack, next to the truth where it is known.

    Args:
        folder: Where to write.
        outcome: What became of the stack.
        overwrite: Whether to replace an earlier report.
        scene: The truth.
        errors: True errors of the stack at each rank.

    Returns:
        Path of `report.html`.
    """
    evidence, components = outcome.evidence, outcome.components
    energies, index = outcome.energies, evidence.frame
    at = "" if energies is None else f" at {energies[index]:.2f} eV"
    spectra = plot.PixelSpectra(
        evidence.pixels, evidence.spectra_before, evidence.spectra_after
    )
    summary, maps, label = outcome.asdict(), None, ""
    after, before = outcome.chemistry, outcome.chemistry_before
    if after is not None and before is not None:
        maps = {"before": before.leading, "after": after.leading}
        label = after.title
    if scene is not None:
        truth = np.stack([scene.truth[:, y, x] for y, x in evidence.pixels])
        spectra = spectra._replace(truth=truth)
        if maps is not None:
            valence = np.where(scene.mask, scene.valence, np.nan)
            for name, image in maps.items():
                error = np.sqrt(np.nanmean((image - valence) ** 2))
                summary[f"true map rmse {name}"] = float(error)
            maps["truth"] = valence
    if errors is not None:
        summary["true gain, dB"] = errors.gain(components.rank)
    return write_stack_report(
        folder,
        evidence.before,
        evidence.after,
        sigma=float(components.sigma[index]),
        mask=outcome.mask,
        summary=summary,
        components=components,
        spectra=spectra,
        chosen=outcome.chosen,
        energies=energies,
        frame=f"Frame {index}{at}",
        maps=maps,
        map_label=label,
        shifts=outcome.jitter,
        truth=None if scene is None else scene.truth[index],
        oracle=None if errors is None else errors.by_rank,
        unit=outcome.unit or "value",
        overwrite=overwrite,
    )


def _variance(example: Example, noise: Noise) -> Float[np.ndarray, "height width"]:
    """The variance of the noise in an example, by its denoised image."""
    return np.asarray(noise.variance(jnp.asarray(example.after, jnp.float32)))


def _by_ring(agreement: Agreement) -> plot.RingAgreement:
    """How the orbits agree in the rings in which there are any."""
    seen = agreement.freedom > 0
    freedom = agreement.freedom[seen]
    return plot.RingAgreement(
        radius=agreement.radius[seen],
        ratio=agreement.chi_squared[seen] / freedom,
        scatter=agreement.scatter[seen] / freedom,
        share=agreement.ring_share[seen],
    )
