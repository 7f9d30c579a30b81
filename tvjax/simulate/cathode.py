"""A battery cathode at each energy of a scan over the Ni K edge.

The axes of a stack are (energy, height, width). Energies are in eV, the truth is
optical density, shifts are (row, column) in pixels.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Num, Real

from tvjax.simulate.nickel import EDGE, nickel_energies, nickel_spectra, valences_of
from tvjax.simulate.particle import check_shape, part_into_grains, particle

Arrangement: TypeAlias = Literal["regions", "random", "gradient"]


class XanesStack(NamedTuple):
    """A scan over an absorption edge of which everything is known.

    truth(E) = thickness · Σₛ fractionₛ · absorptionₛ(E)
    """

    truth: Float32[np.ndarray, "energy height width"]  # optical density
    energies: Float[np.ndarray, " energy"]  # eV
    spectra: Float[np.ndarray, "state energy"]  # normalized: 0 before, about 1 after
    absorption: Float[np.ndarray, "state energy"]  # optical density at thickness 1
    valences: Float[np.ndarray, " state"]
    fractions: Float32[np.ndarray, "state height width"]  # sum to 1 in every pixel
    thickness: Float32[np.ndarray, "height width"]  # 1 where a particle is thickest

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """True where there is any material: elsewhere there is no spectrum to find."""
        return self.thickness > 0

    @property
    def states(self) -> Int[np.ndarray, "height width"]:
        """The state that dominates each pixel."""
        return np.argmax(self.fractions, axis=0)

    @property
    def valence(self) -> Float[np.ndarray, "height width"]:
        """The mean valence of each pixel, also where the thickness is zero."""
        return np.tensordot(self.valences, self.fractions, 1)


def xanes_stack(
    shape: tuple[int, int] | None = None,
    *,
    thickness: Num[np.ndarray, "height width"]
    | Bool[np.ndarray, "height width"]
    | None = None,
    energies: Real[np.ndarray, " energy"] | Sequence[float] | None = None,
    spectra: Float[np.ndarray, "state energy"] | None = None,
    num_states: int | None = None,
    arrangement: Arrangement = "regions",
    density: float = 1.0,
    background: float = 0.5,
    seed: int = 0,
) -> XanesStack:
    """Return a scan with known truth, of a simulated particle or a given image.

    A state of normalized spectrum μ absorbs, at thickness 1,

        density · (μ(E) + background · (1 − 3 (E − E₀) / E₀)),

    where the line is the tangent at the edge E₀ to a background that falls as E⁻³.

    Args:
        shape: Height and width; by default that of `thickness`, or else (128, 128).
        thickness: An image of values of order 1 in place of `particle(shape, seed)`.
        energies: In eV, ascending; `nickel_energies()` by default.
        spectra: Normalized, one a state, at the `energies`, which must be given too,
            and taken for valences spread evenly from 2 to 4; those of
            `nickel_spectra` by default.
        num_states: Number of states; by default that of `spectra`, or else 5.
        arrangement: "regions" gives each grain one state, "random" each pixel, as in
            simulations of TXM-XANES movies; "gradient" goes from the last state in the
            core to the first at the surface, mixing two next to each other, with a
            valence that falls as the share of material enclosed rises.
        density: Optical density of the edge step at thickness 1.
        background: Optical density below the edge over that of the step.
        seed: Seed of particle and states.

    Raises:
        ValueError: For arguments out of range, or that do not fit each other.
    """
    if energies is None and spectra is not None:
        raise ValueError("`spectra` needs the `energies` that it was sampled at.")
    if not (density > 0 and background >= 0):
        raise ValueError(
            "`density` must be positive and `background` not negative, "
            f"got {density} and {background}."
        )
    energies = nickel_energies() if energies is None else _energies(energies)
    spectra = _spectra(spectra, energies, num_states)
    thickness = _thickness(thickness, shape, seed)
    fractions = _fractions(arrangement, len(spectra), thickness, seed)
    line = background * (1 - 3 * (energies - EDGE) / EDGE)
    absorption = density * (spectra + line)
    amounts = (fractions * thickness).reshape(len(spectra), -1)
    truth = absorption.T.astype(np.float32) @ amounts
    return XanesStack(
        truth=truth.reshape(-1, *thickness.shape),
        energies=energies,
        spectra=spectra,
        absorption=absorption,
        valences=valences_of(len(spectra)),
        fractions=fractions,
        thickness=thickness,
    )


def scale_to_bytes(stack: XanesStack) -> XanesStack:
    """Return the stack in the unit of 8-bit images: its greatest value is 255.

    Only the unit changes, nothing is rounded. In this unit noise levels from 10 to 150
    are given for movies, whose peak signal-to-noise ratio is 20 log₁₀(255 / σ) dB.

    Args:
        stack: A stack in optical density.
    """
    scale = 255 / float(stack.truth.max())
    return stack._replace(
        truth=stack.truth * np.float32(scale), absorption=stack.absorption * scale
    )


def add_gaussian(
    stack: XanesStack, sigma: float, seed: int = 0
) -> Float32[np.ndarray, "energy height width"]:
    """Return the truth with white noise of deviation `sigma`, in the truth's unit.

    Nothing is cut off: values may be negative. For a level on the scale from 0 to 255,
    give the stack of `scale_to_bytes`.

    Args:
        stack: The truth.
        sigma: Standard deviation of the noise, in the unit of the truth.
        seed: Seed of the noise.

    Raises:
        ValueError: For a negative deviation.
    """
    if not sigma >= 0:
        raise ValueError(f"`sigma` must not be negative, got {sigma}.")
    rng = np.random.default_rng((seed, 4))
    noise = rng.standard_normal(stack.truth.shape, dtype=np.float32)
    return stack.truth + np.float32(sigma) * noise


def draw_shifts(
    num_shifts: int,
    rms: float,
    seed: int = 0,
    *,
    kind: Literal["white", "walk"] = "white",
) -> Float[np.ndarray, "energy 2"]:
    """Return shifts (row, column) of mean zero and deviation `rms` along each axis.

    Mean and deviation are exact, not only expected.

    Args:
        num_shifts: Number of shifts, one for each energy, at least 2.
        rms: Root mean square in pixels, along each axis.
        seed: Seed of the shifts.
        kind: "white" draws each shift by itself, "walk" adds them up.

    Raises:
        ValueError: For arguments out of range.
    """
    if num_shifts < 2 or not rms >= 0:
        raise ValueError(
            "`num_shifts` must be at least 2 and `rms` not negative, "
            f"got {num_shifts} and {rms}."
        )
    if kind not in ("white", "walk"):
        raise ValueError(f'`kind` must be "white" or "walk", got {kind!r}.')
    shifts = np.random.default_rng((seed, 6)).standard_normal((num_shifts, 2))
    if kind == "walk":
        shifts = np.cumsum(shifts, axis=0)
    shifts -= shifts.mean(axis=0)
    return rms * shifts / shifts.std(axis=0)


def jitter(
    stack: XanesStack, shifts: Real[np.ndarray, "energy 2"] | Sequence[Sequence[float]]
) -> XanesStack:
    """Return the stack whose frame i shows the scene moved: truthᵢ(r − shiftᵢ).

    Whole pixels are moved exactly, fractions by the Fourier transform. That is exact
    for a band-limited scene, as a particle's thickness nearly is, and rings by some
    percent at sharp edges, as between pixels of random states. Into view comes the
    scene mirrored at the border, which for a particle is empty; nothing comes back at
    the other side. Thickness and fractions stay those of the scene at rest.

    Args:
        stack: The scene at rest.
        shifts: (row, column) in pixels for each energy, positive down and to the
            right, less than the frame's length.

    Raises:
        ValueError: For another number of shifts, or shifts beyond the frame.
    """
    moves = np.asarray(shifts, float)
    energies, *shape = stack.truth.shape
    if moves.shape != (energies, 2):
        raise ValueError(
            f"`shifts` must hold (row, column) for each of the {energies} energies, "
            f"got shape {moves.shape}."
        )
    if not np.all(np.abs(moves) <= np.asarray(shape) - 1):
        raise ValueError(
            f"`shifts` must be finite and less than the frame of {tuple(shape)} "
            f"pixels, got up to {np.abs(moves).max()}."
        )
    truth = np.empty_like(stack.truth)
    for n, (down, right) in enumerate(moves):
        truth[n] = _move(_move(stack.truth[n], down, 0), right, 1)
    return stack._replace(truth=truth)


def _fractions(
    arrangement: Arrangement,
    num_states: int,
    thickness: Float32[np.ndarray, "height width"],
    seed: int,
) -> Float32[np.ndarray, "state height width"]:
    """The share of each state in each pixel."""
    states = np.arange(num_states)[:, None, None]
    rng = np.random.default_rng((seed, 7))
    if arrangement == "random":
        position = rng.integers(num_states, size=thickness.shape)
    elif arrangement == "regions":
        grains, _, _ = part_into_grains(thickness.shape, seed)
        position = rng.permutation(np.arange(grains.max() + 1) % num_states)[grains]
    elif arrangement == "gradient":
        position = (num_states - 1) * (1 - _enclosed(thickness))
    else:
        raise ValueError(
            '`arrangement` must be "regions", "random" or "gradient", '
            f"got {arrangement!r}."
        )
    return np.maximum(1 - np.abs(position - states), 0).astype(np.float32)


def _enclosed(
    thickness: Float32[np.ndarray, "height width"],
) -> Float[np.ndarray, "height width"]:
    """The share of the material that lies nearer to the centre than each pixel.

    A gradient along the distance itself would leave next to nothing to the first
    state, whose shell is where a sphere is thinnest.
    """
    y, x = np.indices(thickness.shape)
    down, right = (np.average(c, weights=thickness) for c in (y, x))
    # rounded, so that pixels at the same distance lie in the same shell
    distance = np.round(np.hypot(y - down, x - right), 6)
    _, shell = np.unique(distance, return_inverse=True)
    amount = np.bincount(shell.ravel(), weights=thickness.ravel())
    nearer = np.cumsum(amount) - amount / 2
    return (nearer / amount.sum())[shell].reshape(thickness.shape)


def _move(
    image: Float[np.ndarray, "height width"], shift: float, axis: int
) -> Float[np.ndarray, "height width"]:
    """Shift along one axis an image that is mirrored at its borders."""
    whole = round(shift)
    fraction = shift - whole
    period = np.concatenate([image, np.flip(image, axis)], axis)
    size = period.shape[axis]
    if fraction != 0:
        phase = np.exp(-2j * np.pi * fraction * np.fft.rfftfreq(size))
        phase = np.expand_dims(phase, 1 - axis)
        period = np.fft.irfft(phase * np.fft.rfft(period, axis=axis), size, axis)
    places = (np.arange(size // 2) - whole) % size
    return np.take(period, places, axis)


def _energies(
    energies: Real[np.ndarray, "..."] | Sequence[float],
) -> Float[np.ndarray, " energy"]:
    """The given energies, checked."""
    grid = np.asarray(energies, float)
    if grid.ndim != 1 or not grid.size or not np.all(np.diff(grid) > 0):
        shown = np.array2string(grid, threshold=6, edgeitems=2)
        raise ValueError(
            f"`energies` must be one ascending list, got {shown}; sort it."
        )
    return grid


def _spectra(
    spectra: Float[np.ndarray, "..."] | None,
    energies: Float[np.ndarray, " energy"],
    num_states: int | None,
) -> Float[np.ndarray, "state energy"]:
    """The given spectra, checked, or those of nickel."""
    if spectra is None:
        return nickel_spectra(energies, 5 if num_states is None else num_states)
    spectra = np.asarray(spectra, float)
    if spectra.ndim != 2 or spectra.shape[1] != len(energies):
        raise ValueError(
            f"`spectra` must have the shape (state, {len(energies)}) to fit "
            f"`energies`, got {spectra.shape}."
        )
    if num_states not in (None, len(spectra)):
        raise ValueError(
            f"`num_states` must be left out or be the {len(spectra)} of `spectra`, "
            f"got {num_states}."
        )
    return spectra


def _thickness(
    thickness: Num[np.ndarray, "..."] | Bool[np.ndarray, "..."] | None,
    shape: tuple[int, int] | None,
    seed: int,
) -> Float32[np.ndarray, "height width"]:
    """The given image, checked, or a particle."""
    if thickness is None:
        return particle((128, 128) if shape is None else shape, seed)
    thickness = np.asarray(thickness, np.float32)
    if shape is not None and tuple(shape) != thickness.shape:
        raise ValueError(
            "`shape` must be left out or be that of `thickness`, "
            f"{thickness.shape}, got {tuple(shape)}."
        )
    check_shape(thickness.shape)
    if not (
        np.all(thickness >= 0) and np.isfinite(thickness.sum()) and thickness.any()
    ):
        raise ValueError(
            "`thickness` must be finite, not negative, and positive somewhere, "
            f"got values from {thickness.min()} to {thickness.max()}."
        )
    return thickness
