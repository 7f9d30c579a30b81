"""What the network for counts is compared with: networks of the same size.

The published scheme (Zhou et al. 2024, 10.1107/S1600576724002899) as its authors run
it: each frame is divided by its own greatest count; the left half, turned by 180°, is
to predict the right one and the other way round; only pixels where both have counts
enter the squared error; the output is cut off at zero. A half is denoised from the
other half alone. The rate of learning falls like ours, which it does not with them.

The supervised network is ours, on the same sums over orbits, but learns from the truth.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Float

from tvjax.learning import CountNetwork
from tvjax.learning.loss import loss
from tvjax.learning.pairs import sum_orbits, Summed, TrainingPair
from tvjax.networks.unet import BLOCKS, UNet, WIDTHS
from tvjax.symmetry import find_group

PUBLISHED_RATE, SUPERVISED_RATE = 1e-3, 2e-3
WARMUP = 0.05


class Published(eqx.Module):
    """A half to the other half."""

    unet: UNet

    def __call__(
        self, half: Float[Array, "height width"]
    ) -> Float[Array, "height width"]:
        """Cut off at zero, as published."""
        height, width = half.shape
        outside = [(0, -n % self.unet.multiple) for n in half.shape]
        output = self.unet(jnp.pad(half, outside)[..., None])[..., 0]
        return jax.nn.relu(output[:height, :width])


def train_published(
    frames: Float[np.ndarray, "frame height width"],
    *,
    num_steps: int,
    batch: int,
    side: int,
    seed: int,
    widths=WIDTHS,
    blocks=BLOCKS,
) -> Published:
    """Learn one half from the other; the beam centre is the middle of the frame."""
    halves = np.stack([_halves(frame / frame.max()) for frame in frames])
    network = Published(UNet(1, 1, widths, blocks, key=jax.random.key(seed)))
    # Above zero to begin with: what is cut off everywhere never learns.
    network = eqx.tree_at(lambda n: n.unet.tail.offset, network, replace_fn=_lifted)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        crops = []
        for frame in rng.integers(len(halves), size=batch):
            pair = halves[frame][:: rng.choice([-1, 1])]
            top, left = (rng.integers(max(n - side, 0) + 1) for n in pair.shape[1:])
            crop = pair[:, top : top + side, left : left + side]
            flips = tuple(axis for axis in (1, 2) if rng.uniform() < 0.5)
            crops.append(np.flip(crop, flips))
        inputs, targets = np.stack(crops, axis=1).astype(np.float32)
        return inputs, targets

    def squares(network: Published, batch: tuple[Array, Array]) -> Array:
        inputs, targets = batch
        kept = inputs * targets > 0  # the published mask: no zero counts
        error = jnp.where(kept, (jax.vmap(network)(inputs) - targets) ** 2, 0)
        return jnp.sum(error) / jnp.maximum(jnp.sum(kept), 1)

    return _descend(network, squares, draw, num_steps, PUBLISHED_RATE, seed)


def predict_published(
    network: Published, frame: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """Each half from the other."""
    greatest = max(frame.max(), 1)
    turned, right = _halves(frame / greatest).astype(np.float32)
    ahead, back = np.asarray(
        eqx.filter_jit(eqx.filter_vmap(network))(jnp.stack([turned, right]))
    )
    return greatest * np.concatenate([np.rot90(back, 2), ahead], axis=1)


def train_supervised(
    frames: Float[np.ndarray, "frame height width"],
    truths: Float[np.ndarray, "frame height width"],
    mask: np.ndarray,
    centre: tuple[float, float],
    *,
    num_steps: int,
    batch: int,
    side: int,
    seed: int,
    widths=WIDTHS,
    blocks=BLOCKS,
) -> CountNetwork:
    """Learn the truth from the sums over orbits of the two-fold rotation."""
    summed = [
        sum_orbits(
            jnp.asarray(frame, jnp.float32),
            find_group("friedel"),
            centre,
            jnp.asarray(mask),
        )
        for frame in frames
    ]
    known = np.broadcast_to(mask, truths.shape).astype(np.float32)

    def draw(rng: np.random.Generator) -> TrainingPair:
        crops = []
        for frame in rng.integers(len(frames), size=batch):
            top, left = (rng.integers(n - side + 1) for n in mask.shape)
            window = np.s_[top : top + side, left : left + side]
            turns = rng.integers(4)
            target = (known * truths)[frame].astype(np.float32), known[frame]
            crops.append(
                [
                    np.rot90(np.asarray(image)[window], turns)
                    for image in (*summed[frame], *target)
                ]
            )
        a, n_a, b, n_b = (
            jnp.asarray(np.stack(images)) for images in zip(*crops, strict=True)
        )
        return TrainingPair(Summed(a, n_a), Summed(b, n_b))

    network = CountNetwork(widths, blocks, key=jax.random.key(seed))
    return _descend(network, loss, draw, num_steps, SUPERVISED_RATE, seed)


def _descend(
    network: Any,
    loss: Callable[[Any, Any], Array],
    draw: Callable[[np.random.Generator], Any],
    num_steps: int,
    rate: float,
    seed: int,
) -> Any:
    """Adam with a warm-up and a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, max(1, int(WARMUP * num_steps)), num_steps
    )
    solver = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    @eqx.filter_jit
    def advance(network: Any, moments: Any, batch: Any) -> tuple[Any, Any]:
        slope = eqx.filter_grad(loss)(network, batch)
        change, moments = solver.update(slope, moments)
        return eqx.apply_updates(network, change), moments

    moments = solver.init(network)
    for step in range(num_steps):
        rng = np.random.default_rng((seed, step))
        network, moments = advance(network, moments, draw(rng))
    return network


def _halves(
    frame: Float[np.ndarray, "height width"],
) -> Float[np.ndarray, "2 height width"]:
    """The left one turned, and the right one."""
    left, right = np.split(frame, 2, axis=1)
    return np.stack([np.rot90(left, 2), right])


def _lifted(offset: Array) -> Array:
    return offset + 0.1
