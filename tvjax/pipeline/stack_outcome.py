"""The outcome of denoising an energy stack."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import Stack
from tvjax.noise import describe_noise, Noise
from tvjax.pipeline.outcome import AbstractOutcome
from tvjax.stack import Components
from tvjax.xanes.mapping import Chemistry

# A report shows the pixels whose mean value is nearest to these shares of that of a
# bright pixel: a bright, a middle and a faint one.
SHOWN = 0.9, 0.5, 0.2


class Evidence(NamedTuple):
    """A part of the stack before and after, for a report."""

    frame: int
    before: Float[np.ndarray, "height width"]
    after: Float[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    pixels: tuple[tuple[int, int], ...]  # row and column
    spectra_before: Float[np.ndarray, "pixel energy"]
    spectra_after: Float[np.ndarray, "pixel energy"]


class Residuals(NamedTuple):
    """What was removed from each frame, in the pixels that are valid."""

    deviations: Float[np.ndarray, " energy"]  # over that of the noise
    correlations: Float[np.ndarray, " energy"]  # of neighbors

    @property
    def deviation(self) -> float:
        """The deviation over all frames."""
        return float(np.sqrt(np.mean(self.deviations**2)))

    @property
    def correlation(self) -> float:
        """The mean correlation of neighbors over all frames."""
        return float(np.mean(self.correlations))


class Shifts(NamedTuple):
    """How the frames had moved."""

    shifts: Float[np.ndarray, "energy 2"]  # (row, column) in pixels
    confidence: Float[np.ndarray, " energy"]  # 0 where not found

    @property
    def rms(self) -> Float[np.ndarray, "2"]:
        """Root mean square over the frames, along rows and columns."""
        return np.sqrt(np.mean(self.shifts**2, axis=0))

    @property
    def not_found(self) -> int:
        """Number of frames whose shift was not found."""
        return int(np.count_nonzero(self.confidence == 0))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StackOutcome(AbstractOutcome):
    """What became of a stack.

    Attributes:
        shape: Number of energies, height and width.
        energies: Energies in eV, None where unknown.
        unit: Unit of what was denoised, where known.
        noise: Noise model of the input that was named; None where the noise was
            estimated at each energy.
        components: What the stack is made of.
        chosen: Whether the rank was chosen from the data.
        mask: True where a pixel is valid at all energies.
        evidence: A part of it before and after.
        residuals: What was removed; None if nothing was written.
        jitter: How the frames had moved, if that was asked for.
        chemistry: Maps of the denoised stack, where there are any.
        chemistry_before: The same maps of the stack before.
        map: The file with the maps, if one was written.
        resumed: What was taken from an earlier run, in words; None where that was not
            asked for.
    """

    shape: tuple[int, int, int]
    energies: Float[np.ndarray, " energy"] | None
    unit: str
    noise: Noise | None
    components: Components
    chosen: bool
    mask: Bool[np.ndarray, "height width"]
    evidence: Evidence
    residuals: Residuals | None
    jitter: Shifts | None
    chemistry: Chemistry | None
    chemistry_before: Chemistry | None
    map: Path | None
    resumed: str | None = None

    def facts(self) -> dict[str, str]:
        """Input, noise, components, shifts, map and residual, a sentence each."""
        components = self.components
        counts = Counter(components.verdict())
        parts = (f"{counts[word]} {word}" for word in ("kept", "shrunk", "dropped"))
        unit = f" {self.unit}" if self.unit else ""
        low, high = np.min(components.sigma), np.max(components.sigma)
        how = "chosen" if self.chosen else "given"
        model, risk = noise_values(self.noise)["model"], components.relative_risk
        facts = {
            "input": f"{self.source}{self._range()}",
            "noise": f"{model}, sigma {low:.4g} to {high:.4g}{unit}",
            "rank": f"{components.rank} of {self.shape[0]}, {how}",
            "components": ", ".join(parts),
            "risk": f"{risk:.3g} of the noise's variance{_decibels(risk)}",
        }
        if self.jitter is not None:
            y, x = self.jitter.rms
            facts["shifts"] = (
                f"rms {y:.2f} in y, {x:.2f} in x (pixels), "
                f"{self.jitter.not_found} frames not found"
            )
        if self.chemistry is not None:
            valid = _mapped(self.chemistry)["valid"]
            facts["map"] = (
                f"{self.map or 'not written'}, {self.chemistry.title} in "
                f"{valid:.1%} of the pixels"
            )
        if self.residuals is not None:
            facts["residual"] = (
                f"{self.residuals.deviation:.3f} of the noise, neighbors "
                f"correlate by {self.residuals.correlation:.3f}"
            )
        if self.resumed is not None:
            facts["resumed"] = self.resumed
        facts["time"] = f"{self.seconds:.1f} s"
        facts["output"] = str(self.output)
        return facts

    def numbers(self) -> dict[str, Any]:
        """Noise, components, residuals, shifts and what the maps come down to."""
        found = self.components.diagnosis
        values: dict[str, Any] = {
            "unit": self.unit or "that of the input",
            "noise": noise_values(self.noise),
            "diagnosis": None if found is None else found.asdict(),
            "valid_pixels": float(np.mean(self.mask)),
            **component_values(self.components),
            "rank_chosen": self.chosen,
            "verdict": dict(Counter(self.components.verdict())),
        }
        if self.residuals is not None:
            values["stack_residual_deviation"] = self.residuals.deviation
            values["stack_residual_correlation"] = self.residuals.correlation
        if self.energies is not None:
            values["energies"] = self.energies.tolist()
        if self.jitter is not None:
            values["shift_rms"] = self.jitter.rms.tolist()
            values["shifts"] = self.jitter.shifts.tolist()
            values["frames_not_found"] = self.jitter.not_found
        if self.chemistry is not None:
            values["map"] = _mapped(self.chemistry)
        if self.chemistry_before is not None:
            values["map_before"] = _mapped(self.chemistry_before)
        return values

    def _range(self) -> str:
        if self.energies is None:
            return ""
        return f", {self.energies[0]:.7g} to {self.energies[-1]:.7g} eV"


def evidence_of(
    stack: Stack, mask: Bool[np.ndarray, "height width"], components: Components
) -> Evidence:
    """The frame of most contrast, and the spectra of bright and faint pixels."""
    spread = np.cov(components.denoised[:, mask]).reshape(
        2 * (len(components.denoised),)
    )
    contrast = np.einsum("ke,kl,le->e", components.spectra, spread, components.spectra)
    index = int(np.argmax(contrast))
    means = np.tensordot(components.spectra.mean(1), components.denoised, 1)
    bright = np.percentile(means[mask], 99)
    distances = (np.where(mask, abs(means - part * bright), np.inf) for part in SHOWN)
    pixels = tuple(
        divmod(int(np.argmin(distance)), mask.shape[1]) for distance in distances
    )
    rows = [stack[0 : stack.shape[0], y : y + 1][:, 0, x] for y, x in pixels]
    return Evidence(
        frame=index,
        before=stack[index : index + 1][0],
        after=components.frames(index, index + 1)[0],
        mask=mask,
        pixels=pixels,
        spectra_before=np.stack(rows),
        spectra_after=np.stack(
            [components.spectra.T @ components.denoised[:, y, x] for y, x in pixels]
        ),
    )


def noise_values(noise: Noise | None) -> dict[str, Any]:
    """The noise of a stack in types that JSON knows."""
    if noise is None:
        return {"model": "estimated at each energy"}
    return describe_noise(noise)


def component_values(components: Components) -> dict[str, Any]:
    """What is to be known about components, in types that JSON knows."""
    return {
        "rank": components.rank,
        "relative_risk": components.relative_risk,
        "relative_risks": components.relative_risks.tolist(),
        "sigma": components.sigma.tolist(),
        "alphas": components.alphas.tolist(),
        "coefficients": components.coefficients.tolist(),
        "singular_values": components.singular_values.tolist(),
        "verdicts": components.verdict(),
    }


def _mapped(chemistry: Chemistry) -> dict[str, Any]:
    """The numbers that a map comes down to."""
    facts: dict[str, Any] = {
        "edge": chemistry.edge,
        "valid": float(np.mean(np.isfinite(chemistry.leading))),
    }
    for name in ("edge_energy", "valence", "confidence", "residual"):
        values = getattr(chemistry, name)
        if values is not None and np.isfinite(values).any():
            facts[f"median_{name}"] = float(np.nanmedian(values))
    if chemistry.fractions is not None:
        valid = np.isfinite(chemistry.fractions[0])
        facts["mean_shares"] = {
            name: float(np.mean(share[valid])) if valid.any() else None
            for name, share in zip(chemistry.names, chemistry.fractions, strict=True)
        }
    return facts


def _decibels(risk: float) -> str:
    """How far the risk is below that of the data."""
    return f", {-10 * np.log10(risk):.1f} dB below the data's" if risk > 0 else ""
