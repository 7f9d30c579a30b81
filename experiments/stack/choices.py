"""Is the chosen rank the best, and does the risk tell the error? Over many draws."""

import jax
import numpy as np

from experiments.stack.scenes import (
    decibel,
    mean_square,
    Setup,
    Tables,
    whitened_error,
)
from tvjax.noise import Gaussian
from tvjax.simulate import (
    add_gaussian,
    nickel_energies,
    scale_to_bytes,
    xanes_stack,
    XanesStack,
)
from tvjax.stack import denoise_stack


def borderline(setup: Setup, draw: int) -> tuple[XanesStack, float]:
    """A small stack, and a noise about which its last component vanishes.

    That noise has its greatest singular value at σ (√m + √n); the last of the truth
    lies at half of it to four times it.
    """
    states = setup.states[draw % len(setup.states)]
    scene = scale_to_bytes(
        xanes_stack(
            setup.small,
            energies=nickel_energies(setup.few),
            num_states=states,
            seed=draw,
        )
    )
    flat = scene.truth.reshape(setup.few, -1).astype(np.float64)
    last = np.linalg.svd(flat, compute_uv=False)[states - 1]
    margin = 2 ** np.random.default_rng((draw, 8)).uniform(-1, 2)
    return scene, last / (margin * sum(n**0.5 for n in flat.shape))


def rank(setup: Setup) -> Tables:
    """How often the chosen rank is the best, and what it costs where it is not."""
    records = []
    for draw in range(setup.draws):
        scene, sigma = borderline(setup, draw)
        y = add_gaussian(scene, sigma, seed=draw)
        chosen = denoise_stack(y)
        tried = range(1, max(chosen.rank, max(setup.states)) + 2)
        errors = [mean_square(denoise_stack(y, rank=k).image, scene) for k in tried]
        reached = mean_square(chosen.image, scene)
        records.append(
            {
                "draw": draw,
                "states": len(scene.spectra),
                "sigma": sigma,
                "best rank": 1 + int(np.argmin(errors)),
                "chosen rank": chosen.rank,
                "lost, dB": float(decibel(min(errors)) - decibel(reached)),
            }
        )
        print(".", end="", flush=True)
    print()
    groups = {str(n): [n] for n in setup.states} | {"all": setup.states}
    summary = []
    for group, states in groups.items():
        rows = [row for row in records if row["states"] in states]
        lost = [row["lost, dB"] for row in rows]
        same = [row["best rank"] == row["chosen rank"] for row in rows]
        if rows:
            summary.append(
                {
                    "states": group,
                    "draws": len(rows),
                    "best rank chosen, %": 100 * float(np.mean(same)),
                    "or at most 0.1 dB lost, %": 100
                    * float(np.mean(np.asarray(same) | (np.asarray(lost) < 0.1))),
                    "lost in the mean, dB": float(np.mean(lost)),
                    "lost at worst, dB": float(np.max(lost)),
                }
            )
    return {"Rank": summary, "Rank, every draw": records}


def risk(setup: Setup) -> Tables:
    """The risk of the whole pipeline next to the error, over draws of the noise."""
    scene = xanes_stack(setup.small, energies=nickel_energies(setup.few))
    scene = scale_to_bytes(scene)
    num_draws, records = max(2, setup.draws // 4), []
    for sigma in setup.sigmas:
        for noise in (Gaussian(sigma), None):
            for k in setup.ranks:
                risks, errors = [], []
                for draw in range(num_draws):
                    y = add_gaussian(scene, sigma, seed=draw)
                    # probes of its own: the default ones are the same in all draws
                    key = jax.random.key(draw)
                    result = denoise_stack(y, noise=noise, rank=k, key=key)
                    # what the draw's own power adds, of mean zero, hides all else
                    power = np.mean((y - scene.truth) ** 2) / sigma**2 - 1
                    surplus = 0.0 if noise is None else float(power)
                    risks.append(result.relative_risk - surplus)
                    errors.append(whitened_error(result, scene.truth))
                off = np.subtract(risks, errors) / np.mean(errors)
                records.append(
                    {
                        "sigma": sigma,
                        "noise": "estimated" if noise is None else "known",
                        "rank": k,
                        "error": float(np.mean(errors)),
                        "risk": float(np.mean(risks)),
                        "off by, %": 100 * float(np.mean(off)),
                        "standard error, %": 100 * float(np.std(off) / num_draws**0.5),
                        "one draw off by, %": 100 * float(np.std(off)),
                    }
                )
    return {"Risk": records}
