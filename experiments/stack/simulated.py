"""How do tvjax and its rivals do on stacks of known truth: the paper's experiments.

Each is a function of how large everything is, and returns tables by their headings.
"""

import time
from collections.abc import Iterator

import numpy as np

from experiments.common.measure import Record
from experiments.stack.rivals import (
    by_rank,
    decompose,
    denoise_components,
    estimates,
    fixed_basis_risks,
    missing,
    PLUG_INS,
    recipe_denoiser,
)
from experiments.stack.scenes import (
    first_scene,
    judge,
    map_correlation,
    scenes,
    Setup,
    Stack,
    STATES,
    Tables,
    whitened_error,
)
from tvjax import io
from tvjax.pipeline.alignment import at_rest, Mask
from tvjax.registration import align, register, Registration
from tvjax.simulate import add_gaussian, draw_shifts, jitter, XanesStack
from tvjax.stack import Components, denoise_stack, fit_components
from tvjax.xanes import choose_energies


def table1(setup: Setup) -> Tables:
    """Every rival at every noise, on every scene."""
    records = []
    for name, scene in scenes(setup):
        for sigma in setup.sigmas:
            y = add_gaussian(scene, sigma)
            for estimate in estimates(y, scene.truth, sigma, setup):
                quality = judge(estimate.image, scene)
                records.append(
                    {
                        "scene": name,
                        "sigma": sigma,
                        "method": estimate.name,
                        "told": estimate.told or "nothing",
                        "rank": estimate.rank or "",
                        "FPSNR": quality.fpsnr,
                        "SPSNR": quality.spsnr,
                        "correlation": quality.correlation,
                        "seconds": estimate.seconds,
                    }
                )
            records += [
                {**dict.fromkeys(records[0], ""), **row}
                for row in absent(name, sigma, setup)
            ]
    return {"Table 1": records, "Table 1, tvjax less its rivals": margins(records)}


def absent(scene: str, sigma: float, setup: Setup) -> list[Record]:
    """A row for each rival that did not run, which says why."""
    why = dict.fromkeys(missing(), "absent: not installed")
    if not setup.slow:
        why.setdefault("bm4d", "absent: only with --slow")
    return [
        {"scene": scene, "sigma": sigma, "method": name.upper(), "told": reason}
        for name, reason in why.items()
    ]


def margins(records: list[Record]) -> list[Record]:
    """By how much tvjax is better than each rival, in dB and in correlation."""
    rows = []
    ran = [row for row in records if row["FPSNR"] != ""]
    for ours in (row for row in ran if row["method"] == "tvjax"):
        for row in ran:
            same = all(row[key] == ours[key] for key in ("scene", "sigma"))
            if same and row is not ours:
                rows.append(
                    {
                        **{key: row[key] for key in ("scene", "sigma", "method")},
                        "told": row["told"],
                        "FPSNR": ours["FPSNR"] - row["FPSNR"],
                        "SPSNR": ours["SPSNR"] - row["SPSNR"],
                        "correlation": ours["correlation"] - row["correlation"],
                    }
                )
    return rows


def figure3(setup: Setup) -> Tables:
    """Error and risk against the rank: the paper's, and of the whole pipeline."""
    scene, records = first_scene(setup), []
    name = recipe_denoiser(setup)
    for sigma in setup.sigmas:
        y = add_gaussian(scene, sigma)
        raw = decompose(y, max(setup.ranks))
        clean = denoise_components(raw, PLUG_INS[name], sigma)
        errors = by_rank(clean, scene.truth).errors / sigma**2
        risks = fixed_basis_risks(y, raw, clean, PLUG_INS[name], sigma) / sigma**2
        chosen = denoise_stack(y).rank
        for rank in setup.ranks:
            result = denoise_stack(y, rank=rank)
            records.append(
                {
                    "sigma": sigma,
                    "rank": rank,
                    "SVD": by_rank(raw, scene.truth).errors[rank - 1] / sigma**2,
                    f"recipe ({name})": errors[rank - 1],
                    "its fixed-basis risk": risks[rank - 1],
                    "tvjax": whitened_error(result, scene.truth),
                    "its risk": result.relative_risk,
                    "chosen by tvjax": "x" if rank == chosen else "",
                    "chosen by the recipe": "x" if rank == 1 + risks.argmin() else "",
                }
            )
    return {"Figure 3": records}


def figure5(setup: Setup) -> Tables:
    """Image denoisers in the paper's place for one, each at its best rank."""
    scene, records = first_scene(setup), []
    plug_ins = {"TV": PLUG_INS["TV"]} if setup.quick else PLUG_INS
    for sigma in setup.curve_sigmas:
        y = add_gaussian(scene, sigma)
        raw = decompose(y, max(setup.ranks))
        for name, plug_in in plug_ins.items():
            start = time.perf_counter()
            clean = denoise_components(raw, plug_in, sigma)
            spent = time.perf_counter() - start
            rank = 1 + int(np.argmin(by_rank(clean, scene.truth).errors))
            x = clean.stack(rank)
            records.append(plug_in_record(name, "σ, rank", sigma, x, scene, spent))
        start = time.perf_counter()
        x = denoise_stack(y).image
        spent = time.perf_counter() - start
        records.append(plug_in_record("tvjax", "nothing", sigma, x, scene, spent))
    return {"Figure 5": records}


def plug_in_record(
    name: str, told: str, sigma: float, x: Stack, scene: XanesStack, spent: float
) -> Record:
    """A row of Figure 5."""
    quality = judge(x, scene)
    return {
        "sigma": sigma,
        "denoiser": name,
        "told": told,
        "FPSNR": quality.fpsnr,
        "SPSNR": quality.spsnr,
        "correlation": quality.correlation,
        "seconds": spent,
    }


def figure6(setup: Setup) -> Tables:
    """How few energies suffice for a map."""
    scene, records = first_scene(setup), []
    total = len(scene.energies)
    rng = np.random.default_rng(0)
    for share in setup.shares:
        num = max(round(share * total), STATES + 1)
        design = choose_energies(scene.absorption, scene.energies, num)
        ways = {"random": np.sort(rng.choice(total, num, replace=False))}
        if num < total:
            ways["choose_energies"] = design.indices
        for sigma in setup.sigmas:
            y = add_gaussian(scene, sigma)
            for way, chosen in ways.items():
                raw = decompose(y[chosen])
                ranks = by_rank(raw, scene.truth[chosen])
                images = {
                    "noisy": y[chosen],
                    "SVD": raw.stack(1 + int(np.argmin(ranks.errors))),
                    "tvjax": denoise_stack(y[chosen]).image,
                }
                found = {
                    name: map_correlation(x, scene, chosen=chosen)
                    for name, x in images.items()
                }
                records.append(
                    {
                        "sigma": sigma,
                        "share, %": 100 * share,
                        "energies": num,
                        "chosen": way,
                        **found,
                    }
                )
    return {"Figure 6": records}


def table2(setup: Setup) -> Tables:
    """A scene that moves from energy to energy, at the middle one of the noises."""
    scene, records = first_scene(setup), []
    sigma = setup.sigmas[len(setup.sigmas) // 2]
    for amplitude in setup.amplitudes:
        shifts = draw_shifts(len(scene.energies), amplitude / 3**0.5)
        moving = jitter(scene, shifts)
        y = add_gaussian(moving, sigma)
        for name, x, found in stilled(y, moving.truth, sigma, setup):
            distance = np.asarray(found.shifts) - shifts
            records.append(
                {
                    "sigma": sigma,
                    "jitter, px": amplitude,
                    "method": name,
                    "correlation": map_correlation(x, scene, mask=found.mask),
                    "shifts off by, px": float(
                        np.sqrt(np.mean(np.sum(distance**2, axis=1)))
                    ),
                    "frames not found": int(np.sum(found.confidence == 0)),
                    "pixels in common, %": 100 * float(np.mean(found.mask)),
                }
            )
    return {"Table 2": records}


def stilled(
    y: Stack, truth: Stack, sigma: float, setup: Setup
) -> Iterator[tuple[str, Stack, Registration]]:
    """Every way to denoise and register, in one order or in the other."""
    for estimate in estimates(y, truth, sigma, setup):
        found = register(estimate.image)
        told = f" ({estimate.told})" if estimate.told else ""
        title = f"{estimate.name}{told}, then register"
        yield title, align(estimate.image, found).stack, found
    # the last one is tvjax: its shifts serve the raw frames as well
    again = {
        "register, then tvjax": register(y),
        "tvjax, register, raw frames moved, tvjax again": found,
    }
    for title, shifts in again.items():
        moved = np.asarray(align(y, shifts).stack)
        mask = np.asarray(shifts.mask)
        yield title, denoise_stack(moved, mask=mask).image, shifts
    yield "tvjax stack --register", *brought_to_rest(y)


def brought_to_rest(y: Stack) -> tuple[Stack, Registration]:
    """What the command does with a stack that moves."""

    def denoise(stack: io.Stack, mask: Mask, rank: int | None) -> Components:
        return fit_components(stack[:], mask=mask, rank=rank)

    _, common, components, shifts = at_rest(
        io.stack_of(y, np.arange(1.0, len(y) + 1)),
        np.ones(y.shape[1:], bool),
        denoise,
        rank=None,
        whole_pixels=False,
    )
    found = Registration(shifts.shifts, shifts.confidence, common)
    return components.frames(0, len(y)), found
