"""Maps of the phases in an energy stack, and of the energy of the edge.

In each pixel, with the references r and a line in energy for all else that absorbs,

    y(E) = Σᵣ aᵣ r(E) + b + c E,   a ≥ 0,   fraction_r = aᵣ / Σ a,

which is the fit of `tvjax.xanes.fit_references` with the best line taken out of the
spectra and of the references alike. Nothing is divided by the edge step, which is small
where a white line is high, as at L edges. The energy of the edge is that of `normalize`
and `edge_energy`. All of it is done in blocks of rows: the stack may be larger than the
memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Shaped

from tvjax.xanes.references import chemical_map, fit_references
from tvjax.xanes.spectra import edge_energy, normalize

# Normalizing and fitting hold about so many copies of a block at a time.
COPIES = 12
# A pixel has a phase if its amount exceeds zero by this many standard errors.
SIGNIFICANCE = 3.0
# The maps, the one to look at first at the front.
MAPS = (
    *("valence", "fractions", "edge_energy", "phase", "confidence"),
    *("amount", "residual", "step"),
)

Rows = Callable[[slice], Float[np.ndarray, "energy height width"]]


@dataclass(frozen=True, eq=False)
class References:
    """What may be in a pixel.

    Attributes:
        names: Names of the phases.
        spectra: Their spectra at the energies of the stack, all for the same amount of
            material.
        valences: Valences of the phases; None where not all are known.
    """

    names: tuple[str, ...]
    spectra: Float[np.ndarray, "reference energy"]
    valences: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Chemistry:
    """Maps of one stack, NaN where invalid, None where they were not possible.

    Attributes:
        edge: Energy in eV about which spectra were normalized.
        step: Height of the edge, in the unit of the stack.
        edge_energy: Energy in eV at which the normalized spectrum is a half.
        names: Names of the references.
        amount: Sum of the coefficients of the references.
        fractions: Share of each reference; they sum to one.
        phase: Index of the greatest share, −1 where invalid.
        confidence: How surely this phase leads, ½ to 1, as `chemical_map` has it.
        valence: Mean of the references' valences.
        residual: Root mean square of what the fit leaves, in the unit of the stack.
    """

    edge: float | None = None
    step: Float[np.ndarray, "height width"] | None = None
    edge_energy: Float[np.ndarray, "height width"] | None = None
    names: tuple[str, ...] = ()
    amount: Float[np.ndarray, "height width"] | None = None
    fractions: Float[np.ndarray, "reference height width"] | None = None
    phase: Int[np.ndarray, "height width"] | None = None
    confidence: Float[np.ndarray, "height width"] | None = None
    valence: Float[np.ndarray, "height width"] | None = None
    residual: Float[np.ndarray, "height width"] | None = None

    @property
    def leading(self) -> Float[np.ndarray, "height width"]:
        """The map to look at first: valence, else the first share, else the edge.

        Raises:
            ValueError: There is none of them.
        """
        if self.valence is not None:
            return self.valence
        if self.fractions is not None:
            return self.fractions[0]
        if self.edge_energy is None:
            raise ValueError("there is no map: neither an edge nor references.")
        return self.edge_energy

    @property
    def title(self) -> str:
        """What `leading` shows."""
        if self.valence is not None:
            return "mean valence"
        if self.fractions is not None:
            return f"share of {self.names[0]}"
        return "edge energy (eV)"

    def maps(self) -> dict[str, np.ndarray]:
        """Return the maps that there are, the one to look at first at the front."""
        found = {name: getattr(self, name) for name in MAPS}
        return {name: values for name, values in found.items() if values is not None}


def map_phases(
    rows: Rows,
    energies: Float[np.ndarray, " energy"],
    mask: Bool[np.ndarray, "height width"],
    *,
    edge: float | None,
    references: References | None = None,
    noise: float = 0.0,
    sigma: float = 0.0,
    memory: int = 2**30,
) -> Chemistry:
    """Map edge and phases of a stack of optical densities.

    Args:
        rows: Returns the spectra in a slice of the rows.
        energies: In eV, ascending or descending.
        mask: True where a pixel is valid.
        edge: Energy in eV to normalize about, see `find_edge`; None for no such map.
        references: What to fit; None for no such map.
        noise: Standard deviation of the noise of the measured values. A pixel whose
            amount such noise could explain has no phase, before denoising and after.
        sigma: Least standard deviation of the values given. The residual alone would
            show too little noise in a denoised spectrum, in which what was removed is
            missing.
        memory: Bytes that a block of rows may take.

    Raises:
        ValueError: The energies leave no room on either side of the edge, or the
            references are mixtures of each other.
    """
    order = np.argsort(energies)
    energies = energies[order]
    height, width = mask.shape
    size = max(1, min(height, memory // (COPIES * 4 * len(energies) * width)))
    maps: dict[str, np.ndarray] = {}
    for start in range(0, height, size):
        # the last block begins earlier, as another shape would be compiled anew
        first = min(start, height - size)
        part = slice(first, first + size)
        spectra, valid = rows(part)[order], mask[part]
        found: dict[str, np.ndarray] = {}
        if edge is not None:
            found |= _edge_maps(spectra, valid, energies, edge)
        if references is not None:
            found |= _phase_maps(
                spectra, valid, energies, references, order, noise, sigma
            )
        for name, values in found.items():
            whole = (*values.shape[:-2], height, width)
            maps.setdefault(name, np.empty(whole, values.dtype))[..., part, :] = values
    return Chemistry(edge=edge, names=references.names if references else (), **maps)


def find_edge(
    spectrum: Float[np.ndarray, " energy"], energies: Float[np.ndarray, " energy"]
) -> float:
    """Return the energy in eV at which a spectrum rises through half its step.

    The steepest rise is the first guess, about which the spectrum is normalized.

    Args:
        spectrum: Optical density, for instance the mean of a stack.
        energies: In eV, ascending or descending.

    Raises:
        ValueError: There is no step, or there are too few energies on a side of it.
    """
    order = np.argsort(energies)
    spectrum, energies = spectrum[order], energies[order]
    if len(energies) < 6:
        raise ValueError(
            f"{len(energies)} energies are too few to find an edge in: "
            "measure six or more, on both sides of it."
        )
    # the lines before and after the edge take two energies each
    steepest = 2 + int(np.argmax(np.gradient(spectrum, energies)[2:-3]))
    guess = float(energies[steepest])
    flat = normalize(spectrum, energies, edge=guess)
    found = edge_energy(flat.spectra, energies, mask=flat.mask)
    if not bool(found.mask):
        raise ValueError(
            f"there is no step at the steepest rise, {guess:.6g} eV: maps need optical "
            "density, so pass --flat where the input is counts, and where a white line "
            "hides the step, --references."
        )
    return float(found.energy)


def normalized(
    spectrum: Float[np.ndarray, " energy"], energies: Float[np.ndarray, " energy"]
) -> Float[np.ndarray, " energy"]:
    """Return a spectrum that steps from 0 to 1 at its own edge.

    Raises:
        ValueError: It has no edge.
    """
    edge = find_edge(spectrum, energies)
    return np.asarray(normalize(spectrum, energies, edge=edge).spectra)


def _edge_maps(
    spectra: Float[np.ndarray, "energy height width"],
    mask: Bool[np.ndarray, "height width"],
    energies: Float[np.ndarray, " energy"],
    edge: float,
) -> dict[str, np.ndarray]:
    """Height and energy of the edge."""
    found = normalize(spectra, energies, edge=edge, mask=mask)
    rise = edge_energy(found.spectra, energies, mask=found.mask)
    return {
        "step": _where(found.mask, found.step),
        "edge_energy": _where(rise.mask, rise.energy),
    }


def _phase_maps(
    spectra: Float[np.ndarray, "energy height width"],
    mask: Bool[np.ndarray, "height width"],
    energies: Float[np.ndarray, " energy"],
    references: References,
    order: Int[np.ndarray, " energy"],
    noise: float,
    sigma: float,
) -> dict[str, np.ndarray]:
    """Amount, fractions and residual, and with several references their phases."""
    fit = fit_references(
        _without_line(spectra, energies),
        _without_line(references.spectra[:, order].T, energies).T,
        mask=mask,
    )
    least = np.maximum(np.asarray(fit.sigma), np.float32(sigma))
    fit = fit._replace(sigma=jnp.asarray(least))
    coefficients = np.asarray(fit.coefficients)
    amount = np.sum(coefficients, axis=0)
    spread = np.sqrt(np.sum(np.asarray(fit.covariance)))
    error = np.maximum(least, noise) * spread
    valid = np.asarray(fit.mask) & (amount > SIGNIFICANCE * error)
    maps = {
        "amount": _where(mask, amount),
        "fractions": _where(valid, coefficients / np.where(valid, amount, 1)),
        "residual": _where(mask, fit.residual),
    }
    if len(references.names) > 1:
        phases = chemical_map(fit, references.valences)
        maps["phase"] = np.where(valid, np.asarray(phases.phase), -1)
        maps["confidence"] = _where(valid, phases.confidence)
        if phases.valence is not None:
            maps["valence"] = _where(valid, phases.valence)
    return maps


def _without_line(
    spectra: Float[np.ndarray, " energy *pixels"],
    energies: Float[np.ndarray, " energy"],
) -> Float[np.ndarray, " energy *pixels"]:
    """The spectra less the line through all energies that fits best."""
    offset = (energies - energies.mean()) / np.ptp(energies)
    line = np.stack([np.ones_like(offset), offset])
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    flat = np.asarray(spectra, np.float32).reshape(len(energies), -1)
    line = line.astype(np.float32)
    return (flat - line.T @ (line @ flat)).reshape(spectra.shape)


def _where(
    valid: Bool[ArrayLike, "height width"], values: Shaped[ArrayLike, "..."]
) -> Float[np.ndarray, "..."]:
    """The values in single precision, NaN where invalid."""
    return np.where(np.asarray(valid), np.asarray(values), np.nan).astype(np.float32)
