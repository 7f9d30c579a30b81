"""What does a battery cathode look like at each energy of a scan over the Ni K edge?

The axes of a stack are (energy, height, width). Energies are in eV, the truth is
optical density, shifts are in pixels (y, x). Nothing here is tabulated data: spectra
and particles have the shapes of measured ones, and are known exactly.
"""

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, Real

Arrangement: TypeAlias = Literal["regions", "random", "gradient"]

EDGE = 8340.3
"""Threshold of Ni 2+ in eV.

With the white line's flank on it, NiO is at half height at 8340.0 eV as measured, and
steepest some 2 eV above.
"""

# The valences of the first and of the last state.
VALENCES = (2.0, 4.0)
# Amplitude, radius in Å less the phase shift's share, and contraction in Å a unit of
# valence: oxygen, then the next metal ions.
SHELLS = ((0.6, 1.68, 0.10), (0.3, 2.55, 0.06))
# Share of the frame's shorter side that a particle's radius takes.
RADIUS = 0.36
# Standard deviation in pixels of the microscope's resolution.
RESOLUTION = 1.0


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
        """True where there is something: elsewhere no spectrum can be told."""
        return self.thickness > 0

    @property
    def states(self) -> Int[np.ndarray, "height width"]:
        """The state that dominates each pixel."""
        return np.argmax(self.fractions, axis=0)

    @property
    def valence(self) -> Float[np.ndarray, "height width"]:
        """The mean valence of each pixel, also where the thickness is zero."""
        return np.tensordot(self.valences, self.fractions, 1)


class Counts(NamedTuple):
    """What the camera reads, dark counts included."""

    sample: Int32[np.ndarray, "energy height width"]
    flat: Float32[np.ndarray, "energy height width"]  # mean of the flat exposures


def nickel_energies(num_energies: int = 117) -> Float[np.ndarray, " energy"]:
    """Return energies in eV from 8180 to 8562, dense at the Ni K edge.

    As many lie between two energies as the integral of 1 + 24 / (1 + (ΔE / 12 eV)²)
    says, ΔE being the distance from 8344.5 eV: with 117, the steps grow from 0.4 eV at
    the edge to 11 eV at the ends.
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
    """
    if num_states < 1:
        raise ValueError(f"`num_states` must be at least 1, got {num_states}.")
    oxidation = _valences(num_states)[:, None] - VALENCES[0]
    beyond = np.asarray(energies, float) - (EDGE + 1.75 * oxidation)
    step = 0.5 + np.arctan(beyond / 1.4) / np.pi
    height, width = 0.85 - 0.06 * oxidation, 3.0 + 0.15 * oxidation
    line = np.exp(-(((beyond - 7.0 - 0.15 * oxidation) / width) ** 2) / 2)
    return step * (1 + _oscillation(beyond, oxidation)) + height * line


def particle(
    shape: tuple[int, int], seed: int = 0
) -> Float32[np.ndarray, "height width"]:
    """Return the thickness of one secondary particle, 1 at most and zero around it.

    A sphere with a slightly uneven outline, of some forty Voronoi grains of unlike
    density, some of whose boundaries are cracked, and with pores, all seen at a
    resolution of one pixel (standard deviation).

    Args:
        shape: Height and width in pixels, at least 16 each.
        seed: Seed of outline, grains and pores.
    """
    _check_shape(shape)
    y, x = _coordinates(shape)
    solid = np.maximum(1 - (np.hypot(y, x) / _outline(y, x, seed)) ** 2, 0)
    thickness = np.sqrt(solid) * _texture(shape, seed) * _pores(y, x, seed)
    thickness = _blur(thickness, RESOLUTION)
    return (thickness / thickness.max()).astype(np.float32)


def xanes_stack(
    shape: tuple[int, int] | None = None,
    *,
    thickness: Real[np.ndarray, "height width"] | None = None,
    energies: Float[np.ndarray, " energy"] | None = None,
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

    the line being the tangent at the edge E₀ to what falls as E⁻³ without an edge.

    Args:
        shape: Height and width; that of `thickness`, or else (128, 128), by default.
        thickness: An image of values of order 1 in place of `particle(shape, seed)`.
        energies: In eV, ascending; `nickel_energies()` by default.
        spectra: Normalized, one a state, at the `energies`, which must be given too,
            and taken for valences spread evenly from 2 to 4; those of
            `nickel_spectra` by default.
        num_states: Number of states; that of `spectra`, or else 5, by default.
        arrangement: `"regions"` gives each grain one state, `"random"` each pixel, as
            in simulations of TXM-XANES movies; `"gradient"` goes from the last state
            in the core to the first at the surface, mixing two next to each other,
            with a valence that falls as the share of material enclosed rises.
        density: Optical density of the edge step at thickness 1.
        background: Optical density below the edge over that of the step.
        seed: Seed of particle and states.
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
        valences=_valences(len(spectra)),
        fractions=fractions,
        thickness=thickness,
    )


def scale_to_bytes(stack: XanesStack) -> XanesStack:
    """Return the stack in the unit of 8-bit images: its greatest value is 255.

    Only the unit changes, nothing is rounded. In this unit noise levels from 10 to 150
    are given for movies, whose peak signal-to-noise ratio is 20 log₁₀(255 / σ) dB.
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
    """
    if not sigma >= 0:
        raise ValueError(f"`sigma` must not be negative, got {sigma}.")
    rng = np.random.default_rng((seed, 4))
    noise = rng.standard_normal(stack.truth.shape, dtype=np.float32)
    return stack.truth + np.float32(sigma) * noise


def illumination(
    energies: Float[np.ndarray, " energy"], shape: tuple[int, int]
) -> Float32[np.ndarray, "energy height width"]:
    """Return what falls on the camera without a sample, of mean 1.

    The condenser's light fades toward the corners and has stripes; the beam weakens
    over the scan, wavers, and dips at one energy where the monochromator has a glitch.
    """
    y, x = (np.linspace(-1, 1, n) for n in shape)
    pattern = np.exp(-0.3 * (y[:, None] ** 2 + x**2))
    pattern *= 1 + 0.08 * np.sin(12 * x + 5 * y[:, None])
    scan = (energies - energies[0]) / max(np.ptp(energies), 1)
    beam = 1 - 0.12 * scan + 0.03 * np.cos(9 * scan)
    beam -= 0.1 * np.exp(-(((scan - 0.7) / 0.02) ** 2))
    light = (beam / beam.mean())[:, None, None] * (pattern / pattern.mean())
    return light.astype(np.float32)


def count(
    stack: XanesStack,
    *,
    photons: float,
    flat: Real[np.ndarray, "*energy height width"] | None = None,
    dark: float = 0.0,
    read_noise: float = 0.0,
    num_flats: int = 10,
    seed: int = 0,
) -> Counts:
    """Return raw counts with the sample, and without it.

        sample ~ Poisson(I e^(−truth)) + dark + N(0, read_noise²), rounded,
        flat   ~ the mean of `num_flats` such exposures at truth 0, not rounded,

    so that −ln((sample − dark) / (flat − dark)) is the truth but for noise, and but
    for a bias of about e^truth / 2I where counts are few. Nothing is cut off at zero.

    Args:
        stack: The truth in optical density.
        photons: Mean of I over pixels and energies, in counts.
        flat: Shape of I for all energies or for each, in any unit; `illumination` by
            default.
        dark: Counts of the camera without light.
        read_noise: Standard deviation of the camera's reading, in counts.
        num_flats: Exposures that `flat` is the mean of.
        seed: Seed of all noise.
    """
    _check_camera(photons, dark, read_noise, num_flats)
    light = photons * _light(flat, stack)
    rng = np.random.default_rng((seed, 5))
    sample = np.empty(stack.truth.shape, np.int32)
    empty = np.empty(stack.truth.shape, np.float32)
    # Frame by frame, since the draws come in 64 bits.
    for n, truth in enumerate(stack.truth):
        drawn = rng.poisson(light[n] * np.exp(-truth))
        sample[n] = np.rint(drawn + _reading(rng, truth.shape, dark, read_noise))
        drawn = rng.poisson(num_flats * light[n]) / num_flats
        spread = read_noise / math.sqrt(num_flats)
        empty[n] = drawn + _reading(rng, truth.shape, dark, spread)
    return Counts(sample, empty)


def draw_shifts(
    num_shifts: int,
    rms: float,
    seed: int = 0,
    *,
    kind: Literal["white", "walk"] = "white",
) -> Float[np.ndarray, "energy 2"]:
    """Return shifts in pixels (y, x) of mean zero and deviation `rms` in y and in x.

    Mean and deviation are exact, not only expected.

    Args:
        num_shifts: One for each energy, at least 2.
        rms: Root mean square in pixels, along each axis.
        seed: Seed of the shifts.
        kind: `"white"` draws each frame's by itself, `"walk"` adds them up.
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


def jitter(stack: XanesStack, shifts: Real[np.ndarray, "energy 2"]) -> XanesStack:
    """Return the stack whose frame i shows the scene moved: truthᵢ(r − shiftᵢ).

    Whole pixels are moved exactly, fractions by the Fourier transform, which is exact
    for what is band-limited, as a particle's thickness nearly is, and rings by some
    percent at sharp edges, as between pixels of random states. What comes into view is
    the scene mirrored at the border, which for a particle is nothing; nothing comes
    back at the other side. Thickness and fractions stay those of the scene at rest.

    Args:
        stack: The scene at rest.
        shifts: (y, x) in pixels for each energy, positive down and to the right, less
            than the frame's length.
    """
    shifts = np.asarray(shifts, float)
    energies, *shape = stack.truth.shape
    if shifts.shape != (energies, 2):
        raise ValueError(
            f"`shifts` must hold (y, x) for each of the {energies} energies, "
            f"got shape {shifts.shape}."
        )
    if not np.all(np.abs(shifts) <= np.asarray(shape) - 1):
        raise ValueError(
            f"`shifts` must be finite and less than the frame of {tuple(shape)} "
            f"pixels, got up to {np.abs(shifts).max()}."
        )
    truth = np.empty_like(stack.truth)
    for n, (down, right) in enumerate(shifts):
        truth[n] = _move(_move(stack.truth[n], down, 0), right, 1)
    return stack._replace(truth=truth)


def _valences(num_states):
    return np.linspace(*VALENCES, num_states)


def _oscillation(beyond, oxidation):
    """χ of the shells, which sets in gradually within some ten eV of the edge."""
    k = np.sqrt(0.2625 * np.maximum(beyond, 0))  # 1/Å
    onset = 1 - np.exp(-((k / 2.2) ** 4))
    damping = np.exp(-k / 6 - 0.012 * k**2) / np.maximum(k, 0.5)
    sines = sum(
        amplitude * np.sin(2 * (radius - contraction * oxidation) * k + 0.8)
        for amplitude, radius, contraction in SHELLS
    )
    return onset * damping * sines


def _coordinates(shape):
    """Distances from the frame's center, in radii of its particle."""
    radius = RADIUS * min(shape)
    y, x = ((np.arange(n) - (n - 1) / 2) / radius for n in shape)
    return y[:, None], x[None, :]


def _outline(y, x, seed):
    """Radius of the outline in each pixel's direction."""
    # The second number keeps apart what one seed draws for different purposes.
    rng = np.random.default_rng((seed, 0))
    angle = np.arctan2(y, x)
    radius = np.ones(angle.shape)
    for order in range(2, 6):
        phase = rng.uniform(0, 2 * np.pi)
        radius += 0.06 / order * np.cos(order * angle + phase)
    return radius


def _grains(shape, seed):
    """Each pixel's nearest and second nearest grain, its way to their boundary."""
    rng = np.random.default_rng((seed, 1))
    y, x = _coordinates(shape)
    sides = np.asarray([np.ptp(y), np.ptp(x)])
    number = round(40 / np.pi * sides.prod())
    centers = rng.uniform(-0.5, 0.5, (number, 2)) * sides
    near, far = np.full((2, *shape), np.inf)
    first, second = np.zeros((2, *shape), int)
    for grain, (down, right) in enumerate(centers):
        distance = np.hypot(y - down, x - right)
        nearest, nearer = distance < near, distance < far
        second = np.where(nearest, first, np.where(nearer, grain, second))
        far = np.where(nearest, near, np.where(nearer, distance, far))
        first, near = np.where(nearest, grain, first), np.minimum(distance, near)
    return first, second, (far - near) / 2


def _texture(shape, seed):
    """The density of the grains, less at boundaries, least in those that cracked."""
    first, second, way = _grains(shape, seed)
    number = max(first.max(), second.max()) + 1
    rng = np.random.default_rng((seed, 2))
    density = rng.uniform(0.8, 1.0, number)
    cracked = np.triu(rng.uniform(size=(number, number)) < 0.15)
    depth = np.where((cracked | cracked.T)[first, second], 0.7, 0.12)
    return density[first] * (1 - depth * np.exp(-((way / 0.025) ** 2)))


def _pores(y, x, seed):
    """What holes of various sizes leave of the thickness."""
    rng = np.random.default_rng((seed, 3))
    share = np.ones(np.broadcast_shapes(y.shape, x.shape))
    for _ in range(8):
        down, right = rng.uniform(-0.7, 0.7, 2)
        size, depth = rng.uniform(0.02, 0.07), rng.uniform(0.3, 0.8)
        distance = np.hypot(y - down, x - right)
        share *= 1 - depth * np.exp(-((distance / size) ** 4))
    return share


def _blur(image, width):
    """Convolution with a Gaussian, cut off where it has fallen below 1e-3."""
    reach = math.ceil(4 * width)
    kernel = np.exp(-((np.arange(-reach, reach + 1) / width) ** 2) / 2)
    kernel /= kernel.sum()
    for _ in range(2):
        wide = np.pad(image, ((reach, reach), (0, 0)))
        rows = len(image)
        image = sum(k * wide[n : n + rows] for n, k in enumerate(kernel)).T
    return image


def _fractions(arrangement, num_states, thickness, seed):
    """The share of each state in each pixel."""
    states = np.arange(num_states)[:, None, None]
    rng = np.random.default_rng((seed, 7))
    if arrangement == "random":
        position = rng.integers(num_states, size=thickness.shape)
    elif arrangement == "regions":
        grains, _, _ = _grains(thickness.shape, seed)
        position = rng.permutation(np.arange(grains.max() + 1) % num_states)[grains]
    elif arrangement == "gradient":
        position = (num_states - 1) * (1 - _enclosed(thickness))
    else:
        raise ValueError(
            '`arrangement` must be "regions", "random" or "gradient", '
            f"got {arrangement!r}."
        )
    return np.maximum(1 - np.abs(position - states), 0).astype(np.float32)


def _enclosed(thickness):
    """The share of all there is that lies nearer to the center than each pixel.

    A gradient along the distance itself would leave next to nothing to the first
    state, whose shell is where a sphere is thinnest.
    """
    y, x = np.indices(thickness.shape)
    down, right = (np.average(c, weights=thickness) for c in (y, x))
    # Rounded, so that pixels at the same distance lie in the same shell.
    distance = np.round(np.hypot(y - down, x - right), 6)
    _, shell = np.unique(distance, return_inverse=True)
    amount = np.bincount(shell.ravel(), weights=thickness.ravel())
    nearer = np.cumsum(amount) - amount / 2
    return (nearer / amount.sum())[shell].reshape(thickness.shape)


def _move(image, shift, axis):
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


def _light(flat, stack):
    """Relative intensity without the sample, of mean 1, for each energy."""
    if flat is None:
        return illumination(stack.energies, stack.truth.shape[1:])
    flat = np.asarray(flat, float)
    if flat.shape not in (stack.truth.shape, stack.truth.shape[1:]):
        raise ValueError(
            f"`flat` must have the shape of a frame or of the stack, "
            f"{stack.truth.shape}, got {flat.shape}."
        )
    if not (np.all(flat >= 0) and np.isfinite(flat.mean()) and flat.mean() > 0):
        raise ValueError(
            "`flat` must be finite, not negative, and positive somewhere, "
            f"got values from {flat.min()} to {flat.max()}."
        )
    return np.broadcast_to(flat / flat.mean(), stack.truth.shape)


def _reading(rng, shape, dark, spread):
    """What a camera adds to the photons."""
    return dark + (spread * rng.standard_normal(shape) if spread > 0 else 0)


def _energies(energies):
    energies = np.asarray(energies, float)
    if energies.ndim != 1 or not energies.size or not np.all(np.diff(energies) > 0):
        shown = np.array2string(energies, threshold=6, edgeitems=2)
        raise ValueError(
            f"`energies` must be one ascending list, got {shown}; sort it."
        )
    return energies


def _spectra(spectra, energies, num_states):
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


def _thickness(thickness, shape, seed):
    """The given image, checked, or a particle."""
    if thickness is None:
        return particle((128, 128) if shape is None else shape, seed)
    thickness = np.asarray(thickness, np.float32)
    if shape is not None and tuple(shape) != thickness.shape:
        raise ValueError(
            "`shape` must be left out or be that of `thickness`, "
            f"{thickness.shape}, got {tuple(shape)}."
        )
    _check_shape(thickness.shape)
    if not (
        np.all(thickness >= 0) and np.isfinite(thickness.sum()) and thickness.any()
    ):
        raise ValueError(
            "`thickness` must be finite, not negative, and positive somewhere, "
            f"got values from {thickness.min()} to {thickness.max()}."
        )
    return thickness


def _check_shape(shape):
    if len(shape) != 2 or min(shape) < 16:
        raise ValueError(
            "`shape` must be a height and a width of at least 16 pixels, "
            f"got {tuple(shape)}."
        )


def _check_camera(photons, dark, read_noise, num_flats):
    if not 0 < photons <= 1e8:  # beyond, counts do not fit into 32 bits
        raise ValueError(f"`photons` must be positive and at most 1e8, got {photons}.")
    if not (dark >= 0 and read_noise >= 0):
        raise ValueError(
            "`dark` and `read_noise` must not be negative, "
            f"got {dark} and {read_noise}."
        )
    if num_flats < 1:
        raise ValueError(f"`num_flats` must be at least 1, got {num_flats}.")
