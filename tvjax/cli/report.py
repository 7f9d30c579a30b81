"""How does an outcome become a folder with a report?"""

from collections.abc import Callable
from pathlib import Path


def check_report(folder: Path, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it."""
    from tvjax.io import FileError
    from tvjax.report import PAGES

    if not overwrite and any((folder / name).exists() for name in PAGES):
        raise FileError(f"{folder} holds a report: choose another or pass --overwrite.")


def report_scan(
    folder: Path,
    outcome: object,
    overwrite: bool,
    truth: object = None,
    errors: Callable[[object], object] | None = None,
) -> Path:
    """Write the report of a scan; `errors` are the true ones at given strengths."""
    import numpy as np

    from tvjax.report import write_report

    example, curve = outcome.example, outcome.choice.curve
    if curve is not None and np.ndim(curve.alphas) == 1:
        curve = {
            "alphas": curve.alphas,
            "risks": curve.risks,
            "chosen": float(outcome.choice.alpha),
            "oracle": None if errors is None else errors(curve.alphas),
        }
    else:
        curve = None
    return write_report(
        folder,
        example.before,
        example.after,
        variance=np.asarray(outcome.choice.noise.variance(np.float32(example.after))),
        mask=example.mask,
        summary=outcome.asdict() | {"example frame": example.index},
        curve=curve,
        truth=truth,
        overwrite=overwrite,
    )


def report_symmetry(folder: Path, found: object, overwrite: bool) -> Path:
    """Write the report of patterns that were denoised by their symmetry."""
    import numpy as np

    from tvjax.report import write_symmetry_report

    outcome, agreement = found.outcome, found.choice.agreement
    example, noise = outcome.example, outcome.choice.noise
    rings = None
    if agreement is not None:
        seen = agreement.freedom > 0
        radius, chi_squared, freedom, scatter, blend = (
            values[seen]
            for values in (
                agreement.radius,
                agreement.chi_squared,
                agreement.freedom,
                agreement.scatter,
                agreement.blend,
            )
        )
        rings = {
            "radius": radius,
            "ratio": chi_squared / freedom,
            "scatter": scatter / freedom,
            "blend": blend,
        }
    return write_symmetry_report(
        folder,
        example.before,
        example.after,
        variance=np.asarray(noise.variance(np.float32(example.after))),
        mask=example.mask,
        summary=found.asdict() | {"example frame": example.index},
        agreement=rings,
        profile=None if found.profile is None else found.profile._asdict(),
        overwrite=overwrite,
    )


def report_stack(
    folder: Path,
    outcome: object,
    overwrite: bool,
    scene: object = None,
    errors: object = None,
) -> Path:
    """Write the report of a stack, next to the truth where it is known."""
    import numpy as np

    from tvjax.report import write_stack_report

    evidence, components = outcome.evidence, outcome.components
    energies = outcome.energies
    index = evidence.frame
    at = "" if energies is None else f" at {energies[index]:.2f} eV"
    after, before = outcome.chemistry, outcome.chemistry_before
    maps = None if after is None else {"before": before.leading, "after": after.leading}
    spectra = {
        "before": evidence.spectra_before,
        "after": evidence.spectra_after,
        "pixels": evidence.pixels,
    }
    summary = outcome.asdict()
    if scene is not None:
        spectra["truth"] = [scene.truth[:, y, x] for y, x in evidence.pixels]
        maps["truth"] = np.where(scene.mask, scene.valence, np.nan)
        for name in ("before", "after"):
            error = maps[name] - maps["truth"]
            summary[f"true map rmse {name}"] = np.sqrt(np.nanmean(error**2))
        summary["true gain, dB"] = errors.gain(components.rank)
    return write_stack_report(
        folder,
        evidence.before,
        evidence.after,
        sigma=float(components.sigma[index]),
        mask=outcome.mask,
        summary=summary,
        components={
            "rank": components.rank,
            "chosen": outcome.chosen,
            "risks": components.risks,
            "singular_values": components.singular_values,
            "verdict": components.verdict(),
            "spectra": components.spectra,
            "images": components.images,
            "denoised": components.denoised,
        },
        spectra=spectra,
        energies=energies,
        frame=f"Frame {index}{at}",
        maps=maps,
        map_label="" if after is None else after.title,
        shifts=None if outcome.jitter is None else outcome.jitter._asdict(),
        truth=None if scene is None else scene.truth[index],
        oracle=None if errors is None else errors.by_rank,
        unit=outcome.unit or "value",
        overwrite=overwrite,
    )
