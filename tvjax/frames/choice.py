"""The strength of frames, chosen from them: its curve, and what to warn of."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.frames.result import Curve
from tvjax.noise import Noise
from tvjax.operators import Norm
from tvjax.tuning.dealing import Dealer, noise_of_frame, RepeatedFrames, SplitFrames
from tvjax.tuning.draws import choose_by_draws, ChosenStrength, risks_by_draws
from tvjax.tuning.weights import Weights

# A strength that is known no better than to this share of itself deserves a warning.
UNSURE = 0.5
# A curve for a picture is drawn for so many splits of the data.
CURVES = 3


def dealers_of(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    *,
    per_frame: bool = False,
    repeats: bool = False,
) -> list[Dealer]:
    """What deals the frames out: one for all, or one for each.

    Args:
        frames: Noisy data.
        noise: Noise model of all frames.
        mask: True where a pixel is valid.
        per_frame: Whether each frame gets a strength of its own.
        repeats: Whether the frames judge each other.
    """
    if repeats:
        return [RepeatedFrames(frames, noise, mask)]
    if not per_frame:
        return [SplitFrames(frames, noise, mask)]
    return [
        SplitFrames(
            frames[i][None],
            noise_of_frame(noise, i, frames.shape),
            None if mask is None else mask[i][None],
        )
        for i in range(len(frames))
    ]


def choose_strengths(
    dealers: Sequence[Dealer],
    *,
    weights: Weights,
    norm: Norm,
    curve_points: int,
    key: PRNGKeyArray,
) -> tuple[list[ChosenStrength], Curve]:
    """The strength of least risk by each dealer, and the risk around it.

    Args:
        dealers: What deals the frames out.
        weights: What the risk counts.
        norm: "isotropic" or "anisotropic".
        curve_points: Number of strengths at which the risk of a single dealer is
            computed for a picture; 0 for those that the descent visited.
        key: Key of the random splits.
    """
    choices = [
        choose_by_draws(dealer, weights=weights, norm=norm, key=key)
        for dealer in dealers
    ]
    if not curve_points or len(choices) > 1:
        return choices, _visited(choices)
    alphas = choices[0].alpha * np.geomspace(0.25, 4, curve_points)
    keys = jax.random.split(key, CURVES if dealers[0].random else 1)
    splits = [
        risks_by_draws(alphas, dealers[0], weights=weights, norm=norm, key=one)
        for one in keys
    ]
    return choices, Curve(alphas, np.mean(splits, axis=0), np.stack(splits))


def warnings_of(choices: Sequence[ChosenStrength]) -> Iterator[str]:
    """Yield a sentence for each thing about a choice that deserves a second look."""
    ended = [choice for choice in choices if choice.at_bound]
    if any(choice.alpha > 1.01 * choice.visited.min() for choice in ended):
        yield (
            "alpha ended at the end of its range: the risk has no minimum within; "
            "check the noise model and the mask"
        )
    elif ended:
        yield (
            "alpha ended at the least of its range, and the image comes back nearly as "
            "it was: its pixels differ by far more than their noise, as those of a "
            "camera's fixed pattern do, in a dark frame for one; subtract the dark, or "
            "check the noise model and the mask"
        )
    # of a strength at an end, that is all there is to say
    within = [choice for choice in choices if not choice.at_bound]
    stopped = sum(not choice.converged for choice in within)
    if stopped:
        yield (
            "the descent on the risk did not settle"
            + (f" in {stopped} of {len(choices)} frames" if len(choices) > 1 else "")
            + ": the strength is only roughly known; give more frames, or alpha"
        )
    unsure = [choice.error for choice in within if choice.error > UNSURE]
    if unsure:
        known = f"to {max(unsure):.0%}" if np.isfinite(max(unsure)) else "hardly"
        yield (
            f"alpha is {known} known, because the splits of the data disagree or the "
            "risk is flat: give more frames, or look at other strengths"
        )


def _visited(choices: Sequence[ChosenStrength]) -> Curve:
    """The risks that the descent computed, in ascending order of strength."""
    longest = max(len(choice.visited) for choice in choices)
    rows = []
    for choice in choices:
        order = np.argsort(choice.visited)
        room = np.full(longest - len(order), np.nan)
        rows.append([[*z[order], *room] for z in (choice.visited, choice.risks)])
    alphas, risks = np.moveaxis(np.asarray(rows), 1, 0)
    return Curve(alphas, risks) if len(choices) > 1 else Curve(alphas[0], risks[0])
