"""Spectra of nickel by its valence, and the energies at which they are measured.

No data are tabulated here: the spectra have the shapes of measured ones, and are known
exactly. Energies are in eV.
"""

import numpy as np
from jaxtyping import Float

# Threshold of Ni 2+ in eV. With the flank of the white line on it, NiO is at half
# height at 8340.0 eV, as measured, and steepest some 2 eV above.
EDGE = 8340.3
# Valences of the first and of the last state.
VALENCES = (2.0, 4.0)
# Shells of neighbors, oxygen and then the next metal ions: the amplitude, the radius in
# Å less the share of the phase shift, and the contraction in Å a unit of valence.
SHELLS = ((0.6, 1.68, 0.10), (0.3, 2.55, 0.06))


def nickel_energies(num_energies: int = 117) -> Float[np.ndarray, " energy"]:
    """Return energies in eV from 8180 to 8562, dense at the Ni K edge.

    As many lie between two energies as the integral of 1 + 24 / (1 + (ΔE / 12 eV)²)
    says, ΔE being the distance from 8344.5 eV: with 117, the steps grow from 0.4 eV at
    the edge to 11 eV at the ends.

    Args:
        num_energies: Number of energies, at least 2.

    Raises:
        ValueError: For fewer than two.
    """
    if num_energies < 2:
        raise ValueError(f"`num_energies` must be at least 2, got {num_energies}.")
    fine = np.linspace(8180, 8562, 20_000)
    passed = fine + 24 * 12 * np.arctan((fine - 8344.5) / 12)
    return np.interp(np.linspace(passed[0], passed[-1], num_energies), passed, fine)


def nickel_spectra(
    energies: Float[np.ndarray, " energy"], num_states: int = 5
) -> Float[np.ndarray, "state energy"]:
    """Return normalized Ni K-edge spectra of valences spread evenly from 2+ to 4+.

    μ(E) = (½ + arctan(ε / Γ) / π) (1 + χ(k)) + h exp(−(ε − ε_w)² / 2w²)

    ε = E − E₀ counts from the threshold E₀, which rises by 1.75 eV a unit of valence.
    The step has the half width Γ = 1.4 eV of core hole and monochromator; the Gaussian
    is the white line, lower and broader at high valence; χ(k) adds the damped sines of
    two shells of neighbors, of k = √(0.2625 ε) in 1/Å, which contract with valence.
    Half heights and white lines are those of NiO (2+) and LiNiO₂ (3+) as measured, to
    0.2 eV; the 1s→3d peak is left out. The
    spectra of n states are of rank n, but nearly of less, as real ones are.

    Args:
        energies: In eV.
        num_states: Number of valences; one alone is 2+.

    Raises:
        ValueError: For no state at all.
    """
    if num_states < 1:
        raise ValueError(f"`num_states` must be at least 1, got {num_states}.")
    oxidation = valences_of(num_states)[:, None] - VALENCES[0]
    beyond = np.asarray(energies, float) - (EDGE + 1.75 * oxidation)
    step = 0.5 + np.arctan(beyond / 1.4) / np.pi
    height, width = 0.85 - 0.06 * oxidation, 3.0 + 0.15 * oxidation
    line = np.exp(-(((beyond - 7.0 - 0.15 * oxidation) / width) ** 2) / 2)
    return step * (1 + _oscillation(beyond, oxidation)) + height * line


def valences_of(num_states: int) -> Float[np.ndarray, " state"]:
    """Valences of the states, evenly spread."""
    return np.linspace(*VALENCES, num_states)


def _oscillation(
    beyond: Float[np.ndarray, "state energy"], oxidation: Float[np.ndarray, "state 1"]
) -> Float[np.ndarray, "state energy"]:
    """χ of the shells, which sets in gradually within some ten eV of the edge."""
    k = np.sqrt(0.2625 * np.maximum(beyond, 0))  # 1/Å
    onset = 1 - np.exp(-((k / 2.2) ** 4))
    damping = np.exp(-k / 6 - 0.012 * k**2) / np.maximum(k, 0.5)
    sines = np.zeros(k.shape)
    for amplitude, radius, contraction in SHELLS:
        sines += amplitude * np.sin(2 * (radius - contraction * oxidation) * k + 0.8)
    return onset * damping * sines
