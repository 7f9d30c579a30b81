"""SUM and its rivals, on stacks of known truth and on measured ones.

    python -m experiments.stack.tables [--quick] [--parts table1 rank ...] [--slow]

Repeats the tables and figures of Li et al. 2021 (Subspace Modeling for Fast and
High-sensitivity X-ray Chemical Imaging), each a part, and adds three: how often the
chosen rank is the best (rank), how well the risk tells the error (risk), and measured
data (measured). Of the parts that are left out, the tables of an earlier run in the
same folder are kept.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib import pyplot as plt

from experiments.common.measure import DATA, output_folder, parser, Record, Report
from experiments.stack.choices import rank, risk
from experiments.stack.maps import figure8
from experiments.stack.measured import measured
from experiments.stack.scenes import (
    FULL,
    has_measured,
    QUICK,
    Setup,
    Tables,
    versions,
)
from experiments.stack.simulated import figure3, figure5, figure6, table1, table2
from experiments.stack.timing import streamed, table3

STEM = "tables"
MEASURES = """FPSNR and SPSNR are in dB with a peak of 255: means over the frames, and
over the spectra of pixels with at least a tenth of the greatest thickness. The
correlation is that of the fitted map of valences with the true one, over the same
pixels. `told` is what a method knows besides the data: σ, the noise, or a rank, the
best in one measure."""
NOTES = {
    "Table 1, tvjax less its rivals": "Positive where tvjax is better.",
    "Figure 3": "Mean squared errors and risks over the variance of the noise.",
    "Table 2": "Jitter is uniform from minus to plus that many pixels, in x and in y.",
    "Rank": "Small stacks, the noise such that the last component may vanish in it.",
    "Risk": "Over the variance of the noise; tvjax with each rank given. Where the "
    "noise is known, what its power in a draw differs by is taken off the risk.",
}
PARTS: dict[str, Callable[[Setup], Tables]] = {
    "table1": table1,
    "figure3": figure3,
    "figure5": figure5,
    "figure6": figure6,
    "figure8": figure8,
    "table2": table2,
    "table3": table3,
    "streamed": streamed,
    "rank": rank,
    "risk": risk,
    "measured": measured,
}


def draw(tables: Tables, file: Path) -> None:
    """What is best seen in a figure, of the tables that there are."""
    plots: list[tuple[str, Callable[[plt.Axes], None]]] = []
    records = tables.get("Figure 3", [])
    for sigma in dict.fromkeys(row["sigma"] for row in records):
        rows = [row for row in records if row["sigma"] == sigma]
        plots.append((f"error against rank, σ = {sigma:g}", partial(draw_ranks, rows)))
    for heading, function in (
        ("Figure 5", draw_plug_ins),
        ("Figure 6", draw_shares),
        ("Table 2", draw_jitter),
        ("Risk", draw_risks),
        ("Measured: every second energy from the others", draw_measured),
    ):
        if tables.get(heading):
            plots.append((heading, partial(function, tables[heading])))
    if not plots:
        return
    columns = min(3, len(plots))
    lines = -(-len(plots) // columns)
    size = (5 * columns, 4 * lines)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(plots) :]:
        ax.remove()
    for ax, (title, function) in zip(axes.flat, plots, strict=False):
        ax.set_title(title)
        function(ax)
        ax.legend(fontsize=7)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_ranks(rows: list[Record], ax: plt.Axes) -> None:
    """Errors are lines, risks are points."""
    ranks = [row["rank"] for row in rows]
    names = list(rows[0])[2:7]
    for name, style in zip(names, ("C7-", "C1-", "C1o", "C0-", "C0o"), strict=True):
        ax.plot(ranks, [row[name] for row in rows], style, markersize=4, label=name)
    ax.set(xlabel="rank", ylabel="mean squared error / σ²", yscale="log")


def draw_plug_ins(rows: list[Record], ax: plt.Axes) -> None:
    """Figure 5: the error by rank, for each denoiser of the components."""
    for name in dict.fromkeys(row["denoiser"] for row in rows):
        ours = [row for row in rows if row["denoiser"] == name]
        levels = [row["sigma"] for row in ours]
        told = "" if ours[0]["told"] == "nothing" else f" ({ours[0]['told']} told)"
        ax.plot(levels, [row["FPSNR"] for row in ours], "o-", label=name + told)
    ax.set(xlabel="σ of 255", ylabel="FPSNR, dB")


def draw_shares(rows: list[Record], ax: plt.Axes) -> None:
    """Figure 6, for each level of noise."""
    sigmas = list(dict.fromkeys(row["sigma"] for row in rows))
    for color, sigma in enumerate(sigmas):
        for way, mark in (("random", "o-"), ("choose_energies", "s--")):
            ours = [
                row for row in rows if (row["sigma"], row["chosen"]) == (sigma, way)
            ]
            shares = [row["share, %"] for row in ours]
            label = f"tvjax, σ = {sigma:g}, {way}"
            found = [row["tvjax"] for row in ours]
            ax.plot(shares, found, mark, color=f"C{color}", markersize=4, label=label)
            if way == "random":
                found = [row["noisy"] for row in ours]
                ax.plot(shares, found, ":", color=f"C{color}", label="noisy, random")
    ax.set(xlabel="share of the energies, %", ylabel="correlation of the map")


def draw_jitter(rows: list[Record], ax: plt.Axes) -> None:
    """Figure 8 or the like: the error by jitter, at the highest level of noise."""
    sigma = rows[-1]["sigma"]
    rows = [row for row in rows if row["sigma"] == sigma]
    for name in dict.fromkeys(row["method"] for row in rows):
        ours = [row for row in rows if row["method"] == name]
        far = [row["jitter, px"] for row in ours]
        style = "o-" if "tvjax" in name else "x:"
        ax.plot(far, [row["correlation"] for row in ours], style, label=name)
    ax.set(xlabel=f"jitter, px, at σ = {sigma:g}", ylabel="correlation of the map")


def draw_risks(rows: list[Record], ax: plt.Axes) -> None:
    """The estimated risk beside the error, for each level of noise."""
    for sigma in dict.fromkeys(row["sigma"] for row in rows):
        known = [row for row in rows if row["noise"] == "known"]
        ours = [row for row in known if row["sigma"] == sigma]
        ranks = [row["rank"] for row in ours]
        bars = [row["standard error, %"] for row in ours]
        off = [row["off by, %"] for row in ours]
        ax.errorbar(ranks, off, bars, fmt="o-", capsize=3, label=f"σ = {sigma:g}")
    for level in (-5, 5):
        ax.axhline(level, linewidth=0.8, linestyle=":", color="gray")
    ax.set(xlabel="rank", ylabel="mean risk / mean error − 1, %, noise known")


def draw_measured(rows: list[Record], ax: plt.Axes) -> None:
    """What is left of the noise of a measured stack, by rank."""
    svd = [row["over raw"] for row in rows if row["method"].startswith("SVD")]
    ax.plot(range(1, len(svd) + 1), svd, "C7o-", label="SVD")
    for name, color in (("raw", "k"), ("3-D median", "C2"), ("tvjax", "C0")):
        (row,) = [row for row in rows if row["method"] == name]
        ax.axhline(row["over raw"], color=color, label=name)
    ax.set(xlabel="rank of the SVD", ylabel="rms error / raw", ylim=(None, 1.5))


def earlier(folder: Path) -> tuple[Tables, dict[str, str]]:
    """The tables of earlier runs in this folder, and the date of each."""
    file = folder / f"{STEM}.json"
    if not file.exists():
        return {}, {}
    saved = json.loads(file.read_text())
    return saved["tables"], saved["dates"]


def main() -> None:
    """Run the parts, and keep the tables and the figure."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default all"
    )
    options.add_argument("--slow", action="store_true", help="with BM4D")
    options = options.parse_args()
    folder = output_folder(options, __file__)
    folder.mkdir(parents=True, exist_ok=True)
    setup = QUICK if options.quick else FULL
    setup = setup._replace(slow=options.slow, folder=folder)
    kept, dates = earlier(folder)
    done: Tables = {}
    notes: list[str] = []
    if not has_measured():
        notes.append(f"no xanes_spectra and images/Set12 in {DATA}: left out.")
    for name, part in PARTS.items():
        if name in options.parts:
            start = time.monotonic()
            done |= part(setup)
            notes.append(f"{name} took {time.monotonic() - start:.0f} s.")
            print(notes[-1], flush=True)
            # a part takes long: what is done is kept, whatever becomes of the next
            save(folder, done, kept, dates, notes, options.quick)


def save(
    folder: Path,
    done: Tables,
    kept: Tables,
    dates: dict[str, str],
    notes: list[str],
    quick: bool,
) -> None:
    """Write the tables and the figure, with those of an earlier run for the rest."""
    report = Report("SUM and its rivals", **versions(), quick=quick)
    report.facts["dates"] = {
        heading: report.facts["date"] if heading in done else dates[heading]
        for heading in done | kept
    }
    for text in (MEASURES, *notes):
        report.say(text)
    for heading, records in done.items():
        report.add(heading, records, NOTES.get(heading, ""))
    for heading, records in kept.items():
        if heading not in done:
            note = f"{NOTES.get(heading, '')} Kept, as of {dates[heading]}."
            report.add(heading, records, note)
    report.save(folder, STEM)
    draw(report.tables, folder / f"{STEM}.png")


if __name__ == "__main__":
    main()
