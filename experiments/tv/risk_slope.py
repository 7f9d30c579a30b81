"""Does the slope of a risk point to the best strength, wherever the descent may be?

    python -m experiments.tv.risk_slope [--quick]

The sign of the slope in log alpha, at 32 strengths from a quarter to four times the
best one, those within 5 % of the best left out: there it may be lost in the noise. For
`tvjax.sure` (whose slope is that of `tvjax.sugar`) and for `tvjax.risk.split`, which
`tvjax.denoise` descends on, with a single random probe or split each. The best strength
is that of the true error, from which the least risk of one noisy image may lie apart
where the error is flat; with one change of sign a descent ends there from anywhere.
"""

from pathlib import Path

import jax
import numpy as np
import skimage
from jax import lax, numpy as jnp
from jaxtyping import Array, Float
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

import tvjax
from experiments.common.measure import output_folder, parser, Record, Report
from experiments.tv.alpha_oracle import Case, gaussian_case, least_error, poisson_case
from tvjax.noise import Noise
from tvjax.risk.splitting import FRACTION
from tvjax.risk.stein import Risk

SPAN = np.geomspace(1 / 4, 4, 32)
NEAR = 0.05  # of the best strength: not judged

RISKS = {
    "sure": (tvjax.sure, 1.0),
    # a strength that is best for a share of the exposure is best for all when scaled
    "split": (tvjax.risk.split, FRACTION**-0.5),
}


def all_cases() -> list[Case]:
    """Photographs under white noise, and diffraction images of photons."""
    photographs = {name: getattr(skimage.data, name)() for name in ("camera", "coins")}
    white = [
        gaussian_case(name, image[:512, :512].astype(float), sigma, sigma)
        for name, image in photographs.items()
        for sigma in (5, 15, 25, 50)
    ]
    photons = [
        poisson_case(512, background, seed)
        for seed, background in enumerate((0.05, 0.3, 1, 3, 10, 30))
    ]
    return white + photons


def quick_cases() -> list[Case]:
    """One small case of each group."""
    crop = skimage.data.camera()[200:264, 200:264].astype(float)
    return [gaussian_case("crop", crop, 25, 0), poisson_case(64, 3, 1, num_spots=3)]


def slopes(
    case: Case, risk: str, alphas: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    """D risk/d log alpha at each strength."""
    y, (estimate, factor) = jnp.asarray(case.y, jnp.float32), RISKS[risk]
    logs = jnp.log(jnp.asarray(factor * alphas, jnp.float32))
    return np.asarray(_slopes(logs, y, case.noise, jax.random.key(0), estimate))


@jax.jit(static_argnames="estimate")
def _slopes(logs: Array, y: Array, noise: Noise, key: Array, estimate: Risk) -> Array:
    def risk(log_alpha: Array) -> Array:
        return estimate(tvjax.TV(jnp.exp(log_alpha)), y, noise, key=key)

    return lax.map(jax.grad(risk), logs)


def judge(case: Case) -> list[Record]:
    """How often each risk's slope points away from the best strength."""
    start = 0.8 * float(jnp.sqrt(jnp.mean(case.noise.variance(jnp.asarray(case.y)))))
    _, best = least_error(case, {"known": start})
    alphas = best * SPAN
    far = np.abs(np.log(SPAN)) > np.log1p(NEAR)
    records = []
    for risk in RISKS:
        found = slopes(case, risk, alphas)
        wrong = far & (np.sign(found) != np.sign(np.log(SPAN)))
        farthest = np.max(np.abs(np.log(SPAN[wrong])), initial=0)
        records.append(
            {
                "group": case.group,
                "image": case.name,
                "level": case.level,
                "risk": risk,
                "best alpha": best,
                "strengths": int(far.sum()),
                "wrong signs": int(wrong.sum()),
                "farthest wrong, times the best": float(np.exp(farthest)),
                "changes of sign": int(np.sum(np.diff(np.sign(found)) != 0)),
                "slopes": found.tolist(),
            }
        )
    return records


def draw(records: list[Record], file: Path) -> None:
    """The slopes, each over its greatest, against the strength over the best."""
    figure, axes = plt.subplots(1, len(RISKS), figsize=(9, 4), sharey=True)
    for ax, risk in zip(axes, RISKS, strict=True):
        for row in (row for row in records if row["risk"] == risk):
            scaled = np.asarray(row["slopes"]) / np.abs(row["slopes"]).max()
            label = f"{row['image']}, {row['level']:g}"
            ax.semilogx(SPAN, scaled, linewidth=1, label=label)
        ax.axhline(0, linewidth=0.8, color="gray")
        ax.axvspan(1 / (1 + NEAR), 1 + NEAR, color="gray", alpha=0.3, linewidth=0)
        ax.set(title=risk, xlabel="alpha / best alpha")
        ax.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("slope in log alpha / greatest")
    axes[-1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Judge all cases, and keep the table and the figure."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    folder = output_folder(options, __file__)
    report = Report(
        "The sign of the slope of a risk",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=options.quick,
    )
    cases = quick_cases() if options.quick else all_cases()
    records = [record for case in cases for record in judge(case)]
    shown = [
        {key: value for key, value in row.items() if key != "slopes"} for row in records
    ]
    report.add("Every image", shown, f"strengths {SPAN[0]:g} to {SPAN[-1]:g} times")
    report.save(folder, "risk_slope")
    draw(records, folder / "risk_slope.png")


if __name__ == "__main__":
    main()
