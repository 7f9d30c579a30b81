"""Scenes that are moved by known shifts."""

from functools import cache

import numpy as np

SHAPE = (128, 128)
# One shape and one search for most tests, so that little is compiled.
SHIFTS = np.asarray([(0.0, 0.0), (3.37, -7.81), (-11.5, 0.5), (0.21, 9.66)])


def band_limited(shift, seed=0, shape=SHAPE, cutoff=0.25):
    """White noise below `cutoff` cycles a pixel, of deviation 1, moved exactly.

    It is periodic over twice the frame: what enters at one side did not leave at the
    other.
    """
    size = [2 * n for n in shape]
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=size))
    ky, kx = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None]
    spectrum *= np.exp(-((np.hypot(ky, kx) / cutoff) ** 8))
    scene = np.fft.ifft2(spectrum).real
    spectrum *= np.exp(-2j * np.pi * (ky * shift[0] + kx * shift[1]))
    moved = np.fft.ifft2(spectrum).real / scene.std()
    return moved[: shape[0], : shape[1]].astype(np.float32)


def discs(shift, brightness, seed=1, shape=SHAPE):
    """Grains with edges 2 pixels wide, moved exactly; some beyond the frame."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-30, np.asarray(shape) + 30, (len(brightness), 2))
    radii = rng.uniform(3, 8, len(brightness))
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for (row, column), radius, value in zip(centres, radii, brightness, strict=True):
        distance = np.hypot(y - row - shift[0], x - column - shift[1])
        image += value / (1 + np.exp(np.minimum((distance - radius) / 0.7, 40)))
    return image.astype(np.float32)


def edge_stack(jitter):
    """Grains of which half darken, some below zero, across an edge; and the jitter.

    Noise of 0.1 for grains of about 0.5.
    """
    stack, shifts = simulated_edge(jitter)
    return stack.copy(), shifts


@cache
def simulated_edge(jitter, sigma=0.1, seed=2, count=40, shape=(96, 96)):
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.2, 0.6, 60)
    change = np.where(np.arange(60) % 2, 1, -1) * rng.uniform(0.3, 0.9, 60)
    share = 1 / (1 + np.exp(-np.linspace(-1, 1, count) / 0.15))
    shifts = jitter * rng.normal(size=(count, 2)) / np.sqrt(2)
    stack = [
        discs(shift, before + change * part, seed, shape)
        for shift, part in zip(shifts, share, strict=True)
    ]
    noise = sigma * rng.normal(size=(count, *shape))
    return (np.stack(stack) + noise).astype(np.float32), shifts


def rms(found, shifts):
    """Root mean square distance, whatever the origin."""
    off = np.asarray(found) - shifts
    return np.sqrt(np.mean(np.sum((off - off.mean(0)) ** 2, 1)))


def masked(image):
    """A gap and dead pixels that stay where they are, filled with junk."""
    mask = np.random.default_rng(3).random(SHAPE) > 0.01
    mask[60:72] = mask[:, 30:34] = False
    return np.where(mask, image, 50).astype(np.float32), mask
