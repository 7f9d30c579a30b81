"""Which images does the network learn from? All free to use, none of the test images.

Photographs come with scikit-image (CC0 or in the public domain) and with PyWavelets
(public domain); everything else is drawn here. `camera`, `coins`, `moon`, `brick`,
`grass`, `page` and `text` are left out, since experiments test on them, and so is
whatever has a licence of its own.
"""

from collections.abc import Iterator

import numpy as np
import pywt.data
import skimage
from jaxtyping import Float, Float32
from skimage.transform import rescale

from tvjax.simulate import xanes_stack

Image = Float32[np.ndarray, "height width"]

PHOTOGRAPHS = (
    *("astronaut", "chelsea", "coffee", "rocket", "clock", "gravel", "cell"),
    *("hubble_deep_field", "immunohistochemistry", "microaneurysms", "logo"),
)
SCALES = (1.0, 0.75, 0.5)
# A photograph counts more than a drawing: it has what nobody thought of drawing.
SHARES = {"photograph": 0.45, "leaves": 0.2, "particle": 0.25, "spots": 0.1}
NUM_DRAWN = 48
SIDE = 192


def all_images(seed: int, *, quick: bool = False) -> dict[str, list[Image]]:
    """Images of contrast about one, by kind; `SHARES` says how often each is seen.

    Args:
        seed: Seed of all that is drawn.
        quick: Few and small ones.
    """
    num, side = (2, 64) if quick else (NUM_DRAWN, SIDE)
    seeds = np.random.SeedSequence(seed).generate_state(3 * num).reshape(3, num)
    shape = (side, side)
    return {
        "photograph": list(photographs(PHOTOGRAPHS[:1] if quick else PHOTOGRAPHS)),
        "leaves": [dead_leaves(shape, s) for s in seeds[0]],
        "particle": [coefficient_image(shape, s) for s in seeds[1]],
        "spots": [spots(shape, s) for s in seeds[2]],
    }


def photographs(names: tuple[str, ...]) -> Iterator[Image]:
    """Gray photographs from 0 to 1, each at several scales."""
    images = [getattr(skimage.data, name)() for name in names] + [pywt.data.ascent()]
    for image in images:
        whole = skimage.util.img_as_float32(image)
        if whole.ndim == 3:
            whole = skimage.color.rgb2gray(whole[..., :3])
        for scale in SCALES:
            small = rescale(whole, scale, anti_aliasing=True)
            if min(small.shape) >= 96:
                yield small.astype(np.float32)


def dead_leaves(shape: tuple[int, int], seed: int) -> Image:
    """Shaded and textured disks and polygons that hide each other, from 0 to 1.

    The radii r have a density like r⁻³, so that the picture looks alike at all scales,
    as the world does (Lee, Mumford, Huang 2001, 10.1023/A:1011109015675). Drawn at
    twice the size, and averaged.
    """
    rng = np.random.default_rng(seed)
    height, width = (2 * n for n in shape)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.full((height, width), 0.5, np.float32)
    empty = np.ones((height, width), bool)
    texture = _texture((height, width), rng)
    least, greatest = np.exp(rng.uniform(*np.log([4, 40]))), max(height, width) / 3
    # From front to back, until next to nothing is left to hide.
    remaining = empty.size
    while remaining > 0.002 * empty.size:
        radius = rng.uniform(greatest**-2, least**-2) ** -0.5
        centre = [rng.uniform(-radius, n + radius) for n in (height, width)]
        window = tuple(
            slice(max(int(c - radius), 0), int(c + radius) + 2) for c in centre
        )
        down = (y[window] - centre[0]) / radius
        right = (x[window] - centre[1]) / radius
        inside = _leaf(down, right, rng) & empty[window]
        tilt = rng.normal(0, 0.12, 2) * rng.integers(2)
        rough = rng.choice([0.0, 0.03, 0.1]) * texture[window]
        value = rng.random() + tilt[0] * down + tilt[1] * right + rough
        image[window][inside] = value[inside]
        empty[window][inside] = False
        remaining -= np.count_nonzero(inside)
    return image.reshape(shape[0], 2, shape[1], 2).mean((1, 3))


def _leaf(
    down: Float[np.ndarray, "height width"],
    right: Float[np.ndarray, "height width"],
    rng: np.random.Generator,
) -> np.ndarray:
    """True inside a disk, or a polygon of three to six sides around the centre."""
    inside = down**2 + right**2 < 1
    sides = rng.choice([0, 0, 3, 4, 4, 5, 6])
    turn = rng.uniform(0, 2 * np.pi)
    for angle in turn + np.linspace(0, 2 * np.pi, sides, endpoint=False):
        distance = rng.uniform(0.3, 0.8)
        inside &= np.cos(angle) * down + np.sin(angle) * right < distance
    return inside


def _texture(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random waves of deviation one whose power falls with frequency."""
    frequency = np.hypot(
        np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    )
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    spectrum *= (frequency + 0.01) ** -rng.uniform(0.3, 1.5)
    spectrum[0, 0] = 0
    waves = np.fft.irfft2(spectrum, shape)
    return (waves / waves.std()).astype(np.float32)


def coefficient_image(shape: tuple[int, int], seed: int) -> Image:
    """What the subspace of a spectral stack makes of a particle: states of any sign."""
    rng = np.random.default_rng(seed)
    arrangement = rng.choice(["regions", "gradient", "random"], p=[0.55, 0.35, 0.1])
    stack = xanes_stack(
        shape, energies=np.asarray([8300.0, 8400.0]), num_states=5,
        arrangement=str(arrangement), seed=int(seed),
    )  # fmt: skip
    amounts = rng.normal(size=5) + rng.normal() * rng.integers(2)
    image = stack.thickness * np.tensordot(amounts, stack.fractions, 1)
    return (image / np.ptp(image)).astype(np.float32)


def spots(shape: tuple[int, int], seed: int) -> Image:
    """Narrow spots of very unlike height on a smooth ground."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(n, dtype=np.float32) for n in shape)
    down, right = rng.normal(0, 2.0, 2)
    image = 0.1 * np.cos(down * y[:, None] / shape[0] + right * x / shape[1])
    for _ in range(shape[0] * shape[1] // 300):
        height, width = 10 ** rng.uniform(-1.5, 0.5), rng.uniform(0.7, 2.5)
        rows = np.exp(-(((y - rng.uniform(0, shape[0])) / width) ** 2) / 2)
        columns = np.exp(-(((x - rng.uniform(0, shape[1])) / width) ** 2) / 2)
        image += height * rows[:, None] * columns
    return image.astype(np.float32)


def draw_crops(
    images: dict[str, list[Image]], num: int, side: int, rng: np.random.Generator
) -> Float32[np.ndarray, "num {side} {side}"]:
    """Squares cut out anywhere, turned and mirrored, by the shares of their kinds."""
    kinds = rng.choice(list(SHARES), num, p=list(SHARES.values()))
    crops = np.empty((num, side, side), np.float32)
    for crop, kind in zip(crops, kinds, strict=True):
        # A large image has more to show than a small one, though not in proportion.
        sizes = np.asarray([image.size**0.5 for image in images[kind]])
        image = images[kind][rng.choice(len(sizes), p=sizes / sizes.sum())]
        top, left = (rng.integers(n - side + 1) for n in image.shape)
        piece = image[top : top + side, left : left + side]
        piece = np.rot90(piece, rng.integers(4))
        crop[:] = piece[::-1] if rng.integers(2) else piece
    return crops
