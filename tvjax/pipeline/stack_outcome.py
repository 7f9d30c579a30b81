"""What became of an energy stack that was denoised?"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import Stack
from tvjax.xanes.mapping import Chemistry

SHOWN = 0.9, 0.5, 0.2
"""Mean values, over that of a bright pixel, of the pixels that a report shows."""


class Evidence(NamedTuple):
    """A part of the stack before and after, for a report."""

    frame: int
    before: Float[np.ndarray, "height width"]
    after: Float[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    pixels: tuple[tuple[int, int], ...]
    spectra_before: Float[np.ndarray, "pixel energy"]
    spectra_after: Float[np.ndarray, "pixel energy"]


class Residuals(NamedTuple):
    """What was removed from each frame, in the pixels that are valid."""

    deviations: Float[np.ndarray, " energy"]  # over that of the noise
    correlations: Float[np.ndarray, " energy"]  # of neighbors

    @property
    def deviation(self) -> float:
        """That of all frames."""
        return float(np.sqrt(np.mean(self.deviations**2)))

    @property
    def correlation(self) -> float:
        """That of all frames."""
        return float(np.mean(self.correlations))


class Shifts(NamedTuple):
    """How the frames had moved."""

    shifts: Float[np.ndarray, "energy 2"]  # (y, x) in pixels
    confidence: Float[np.ndarray, " energy"]  # 0 where not found


@dataclass(frozen=True, kw_only=True)
class StackOutcome:
    """What became of a stack.

    Attributes:
        output: The file that was asked for.
        source: What the input was, in words.
        shape: Energies, rows and columns.
        energies: In eV, None where unknown.
        unit: Of what was denoised, where known.
        noise: The noise model as plain values.
        components: What the stack is made of; see `tvjax.stack.Components`.
        chosen: Whether the rank was chosen from the data.
        mask: True where a pixel is valid at all energies.
        evidence: A part of it before and after.
        residuals: What was removed; None if nothing was written.
        jitter: How the frames had moved, if that was asked for.
        chemistry: Maps of the denoised stack, where there are any.
        chemistry_before: The same of the stack before.
        map: The file with the maps, if one was written.
        warnings: What deserves a second look, one sentence each.
        seconds: Time from start to end.
    """

    output: Path
    source: str
    shape: tuple[int, int, int]
    energies: Float[np.ndarray, " energy"] | None
    unit: str
    noise: Mapping[str, object]
    components: object
    chosen: bool
    mask: Bool[np.ndarray, "height width"]
    evidence: Evidence
    residuals: Residuals | None
    jitter: Shifts | None
    chemistry: Chemistry | None
    chemistry_before: Chemistry | None
    map: Path | None
    warnings: tuple[str, ...]
    seconds: float

    def asdict(self) -> dict[str, object]:
        """Return the outcome as plain values."""
        components, verdict = self.components, self.components.verdict()
        values: dict[str, object] = {
            "output": str(self.output),
            "input": self.source,
            "unit": self.unit or "that of the input",
            "noise": dict(self.noise),
            "valid_pixels": float(np.mean(self.mask)),
            **component_values(components),
            "rank_chosen": self.chosen,
            "verdict": dict(Counter(verdict)),
        }
        if self.residuals is not None:
            values["stack_residual_deviation"] = self.residuals.deviation
            values["stack_residual_correlation"] = self.residuals.correlation
        if self.energies is not None:
            values["energies"] = self.energies.tolist()
        if self.jitter is not None:
            values["shift_rms"] = self._shift_rms()
            values["shifts"] = self.jitter.shifts.tolist()
            values["frames_not_found"] = self._not_found()
        if self.chemistry is not None:
            values["map"] = _mapped(self.chemistry)
        if self.chemistry_before is not None:
            values["map_before"] = _mapped(self.chemistry_before)
        return values | {"warnings": list(self.warnings), "seconds": self.seconds}

    def report(self) -> str:
        """Return the outcome as a few lines of text."""
        components = self.components
        counts = Counter(components.verdict())
        parts = (f"{counts[word]} {word}" for word in ("kept", "shrunk", "dropped"))
        unit = f" {self.unit}" if self.unit else ""
        low, high = np.min(components.sigma), np.max(components.sigma)
        how = "chosen" if self.chosen else "given"
        lines = [
            f"input      {self.source}{self._range()}",
            f"noise      {self.noise['kind']}, sigma {low:.4g} to {high:.4g}{unit}",
            f"rank       {components.rank} of {self.shape[0]}, {how}",
            f"components {', '.join(parts)}",
            f"risk       {components.risk:.3g} of the noise's variance"
            f"{_decibels(components.risk)}",
        ]
        if self.jitter is not None:
            y, x = self._shift_rms()
            lines.append(
                f"shifts     rms {y:.2f} in y, {x:.2f} in x (pixels), "
                f"{self._not_found()} frames not found"
            )
        if self.chemistry is not None:
            facts = _mapped(self.chemistry)
            lines.append(
                f"map        {self.map or 'not written'}, {self.chemistry.title} in "
                f"{facts['valid']:.1%} of the pixels"
            )
        if self.residuals is not None:
            lines.append(
                f"residual   {self.residuals.deviation:.3f} of the noise, neighbors "
                f"correlate by {self.residuals.correlation:.3f}"
            )
        lines += [
            f"time       {self.seconds:.1f} s",
            f"output     {self.output}",
            *(f"warning    {text}" for text in self.warnings),
        ]
        return "\n".join(lines)

    def _range(self) -> str:
        if self.energies is None:
            return ""
        return f", {self.energies[0]:.7g} to {self.energies[-1]:.7g} eV"

    def _shift_rms(self) -> list[float]:
        return np.sqrt(np.mean(self.jitter.shifts**2, axis=0)).tolist()

    def _not_found(self) -> int:
        return int(np.count_nonzero(self.jitter.confidence == 0))


def evidence_of(
    stack: Stack, mask: Bool[np.ndarray, "height width"], components: object
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
        tuple(map(int, np.unravel_index(np.argmin(distance), mask.shape)))
        for distance in distances
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


def component_values(components: object) -> dict[str, object]:
    """Return what is to be known about components, as plain values."""
    return {
        "rank": int(components.rank),
        "risk": float(components.risk),
        "risks": np.asarray(components.risks).tolist(),
        "sigma": np.asarray(components.sigma).tolist(),
        "alphas": np.asarray(components.alphas).tolist(),
        "weights": np.asarray(components.weights).tolist(),
        "singular_values": np.asarray(components.singular_values).tolist(),
        "verdicts": components.verdict(),
    }


def _mapped(chemistry: Chemistry) -> dict[str, object]:
    """Return the numbers that a map comes down to."""
    facts: dict[str, object] = {
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
    return f", {-10 * np.log10(risk):.1f} dB below the data's" if risk > 0 else ""
