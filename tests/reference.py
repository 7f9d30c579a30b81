"""Slow, independent answers in NumPy and float64, to compare the library with."""

import numpy as np


def difference_matrix(shape, mask=None):
    """∇ as a dense matrix, (ndim, pixels, pixels), built edge by edge."""
    mask = np.ones(shape, bool) if mask is None else np.asarray(mask)
    index = np.arange(mask.size).reshape(shape)
    matrix = np.zeros((len(shape), mask.size, mask.size))
    for pixel in np.ndindex(*shape):
        for axis in range(len(shape)):
            successor = tuple(i + (k == axis) for k, i in enumerate(pixel))
            inside = successor[axis] < shape[axis]
            if inside and mask[pixel] and mask[successor]:
                row = index[pixel]
                matrix[axis, row, index[pixel]] = -1
                matrix[axis, row, index[successor]] = 1
    return matrix


def pixel_norm(p, norm="isotropic"):
    """Length of the vector in each pixel."""
    return np.abs(p).sum(0) if norm == "anisotropic" else np.sqrt((p**2).sum(0))


def total_variation(u, mask=None, norm="isotropic", alpha=1.0):
    """Σ α_i |∇u|_i."""
    u = np.where(True if mask is None else mask, u, 0.0)
    matrix = difference_matrix(u.shape, mask)
    return np.sum(np.ravel(alpha) * pixel_norm(matrix @ u.ravel(), norm))


def objective(u, y, alpha, mask=None, norm="isotropic"):
    """½‖u − y‖² + Σ α_i |∇u|_i over the valid pixels."""
    valid = np.ones(u.shape, bool) if mask is None else mask
    distance = np.sum((u - y)[valid] ** 2) / 2
    return distance + total_variation(u, mask, norm, alpha)


def rof(y, alpha, *, mask=None, norm="isotropic", channels=False, num_steps=3000):
    """The minimizer of the ROF objective by the alternating direction method.

    Another algorithm than any of the library's, with a dense inverse inside: it splits
    d = ∇u and minimizes over u and over d exactly. For a few hundred pixels it has
    converged to 1e-8 of the data's spread, most often to rounding. With `channels`, the
    leading axis counts images whose gradients have a common length.
    """
    y = np.asarray(y, np.float64)
    each = y if channels else y[None]
    num_channels, *shape = each.shape
    data = np.where(True if mask is None else mask, each, 0.0).reshape(num_channels, -1)
    alpha = np.broadcast_to(np.asarray(alpha, np.float64), shape).ravel()
    penalty = 2 * alpha.mean() / (np.std(data) + 1e-12) + 0.1
    matrix = difference_matrix(shape, mask)
    flat = matrix.reshape(-1, alpha.size)
    inverse = np.linalg.inv(np.eye(alpha.size) + penalty * flat.T @ flat)
    d = np.zeros((num_channels, len(shape), alpha.size))
    b = np.zeros_like(d)
    together = (0,) if norm == "anisotropic" else (0, 1)
    for _ in range(num_steps):
        pull = (d - b).reshape(num_channels, -1) @ flat
        u = (data + penalty * pull) @ inverse
        steps = (u @ flat.T).reshape(d.shape) + b
        length = np.sqrt(np.sum(steps**2, axis=together, keepdims=True))
        d = steps * np.maximum(1 - alpha / penalty / np.maximum(length, 1e-300), 0)
        b = steps - d
    u = u.reshape(y.shape)
    return u if mask is None else np.where(mask, u, y)


def flat_regions(u, mask=None, tol=1e-6):
    """Number of connected sets of valid pixels of one value."""
    valid = np.ones(u.shape, bool) if mask is None else np.asarray(mask)
    unseen = valid.copy()
    count = 0
    for start in np.argwhere(valid):
        if not unseen[tuple(start)]:
            continue
        count += 1
        unseen[tuple(start)] = False
        border = [tuple(start)]
        while border:
            pixel = border.pop()
            for axis in range(u.ndim):
                for side in (-1, 1):
                    near = tuple(i + side * (k == axis) for k, i in enumerate(pixel))
                    if not 0 <= near[axis] < u.shape[axis] or not unseen[near]:
                        continue
                    if abs(u[near] - u[pixel]) < tol:
                        unseen[near] = False
                        border.append(near)
    return count


def central_difference(function, at, direction, width):
    """The derivative of `function` along a direction."""
    ahead, behind = function(at + width * direction), function(at - width * direction)
    return (ahead - behind) / (2 * width)


def scene(height, width):
    """Flat regions, a disk, a ramp and stripes, between 0 and 1."""
    y, x = np.mgrid[:height, :width]
    image = np.where(x < width * 0.45, 0.25, 0.6) + 0.25 * y / height
    disk = (y - height * 0.35) ** 2 + (x - width * 0.4) ** 2 < (height * 0.22) ** 2
    image = np.where(disk, 0.95, image)
    stripes = (y > height * 0.7) & (x > width * 0.55)
    return np.where(stripes, 0.5 + 0.3 * np.sin(x * 0.9), image)
