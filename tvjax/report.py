"""What was done to an image, in one folder to read, to show and to parse?"""

import html
import json
import math
import os
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Real

from tvjax import plot
from tvjax.diagnostics import autocorrelation, standardized_residual, weakest_spot
from tvjax.metrics import mse

# In this order they get their final names: who finds the last finds all.
FILES = (
    "before_after.png",
    "risk.png",
    "spot.png",
    "residual.png",
    "report.md",
    "report.html",
    "report.json",
)

CAUTION = (
    "Denoising correlates neighboring pixels, so the scatter of the background no "
    "longer measures the noise: an I/σ(I) taken from it is too high. Keep the raw data "
    "beside the denoised, and judge by intensities."
)

STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222;
       font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { font-weight: 600; line-height: 1.2; margin: 2.2rem 0 0.6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { border-top: 1px solid #ddd; padding: 0.2rem 1.5rem 0.2rem 0; }
figure { margin: 0; }
img { max-width: 100%; }
figcaption, .caution { color: #555; }
"""


class Section(NamedTuple):
    """A picture with what to see in it."""

    title: str
    file: str
    caption: str
    png: bytes


def write_report(
    folder: str | Path,
    before: Real[ArrayLike, "y x"],
    after: Real[ArrayLike, "y x"],
    *,
    variance: Real[ArrayLike, "y x"],
    mask: Bool[ArrayLike, "y x"],
    summary: Mapping[str, object],
    curve: Mapping[str, object] | None = None,
    truth: Real[ArrayLike, "y x"] | None = None,
    title: str = "Denoising report",
    unit: str = "counts",
    overwrite: bool = False,
) -> Path:
    """Write pictures, `report.md`, `report.html` and `report.json` into a folder.

    The HTML file holds its pictures and can be sent alone. Files get their final names
    only when all are complete.

    Args:
        folder: Where to write; made if missing. Other files in it are left alone.
        before: Noisy image.
        after: Denoised image.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.
        summary: Whatever is to be known about the run: numbers, texts, arrays, nested
            mappings. All of it goes into the JSON file, what is short into the table.
        curve: The arguments of `plot.risk_curve` but for the unit; none if the strength
            was not chosen from a risk.
        truth: Image without noise, where it is known.
        title: Heading of the report.
        unit: Unit of the images.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
        ValueError: If no pixel is valid or the images differ in shape.
    """
    folder = Path(folder).resolve()
    present = [name for name in FILES if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(f"{folder / present[0]} exists already.")
    shapes = {np.shape(image) for image in (before, after, variance, mask)}
    if len(shapes) > 1:
        raise ValueError(f"The images must have one shape, got {sorted(shapes)}.")
    if not np.any(mask):
        raise ValueError("`mask` must be True somewhere, got no valid pixel.")

    spot = weakest_spot(before, mask)
    measured = _measure(before, after, variance, mask, spot, truth)
    sections = _draw(before, after, variance, mask, spot, curve, truth, unit)
    numbers = {"summary": summary, "measured": measured, "curve": curve}
    rows = list(_rows({**summary, **measured}))
    contents = {section.file: section.png for section in sections}
    contents["report.md"] = _markdown(title, rows, sections).encode()
    contents["report.html"] = _html(title, rows, sections).encode()
    contents["report.json"] = json.dumps(_plain(numbers), indent=2).encode()
    _write(folder, contents)
    return folder / "report.html"


def _measure(before, after, variance, mask, spot, truth):
    """The numbers that follow from the images alone."""
    total_before, total_after = (
        np.sum(image, where=mask, dtype=float) for image in (before, after)
    )
    z = standardized_residual(before, after, variance, mask)
    neighbors = autocorrelation(z, 1)
    measured = {
        "valid_share": np.mean(mask),
        "total_before": total_before,
        "total_after": total_after,
        "total_change": total_after / total_before - 1 if total_before else math.nan,
        "residual_mean": np.nanmean(z),
        "residual_deviation": np.nanstd(z),
        "residual_neighbor_correlation": (neighbors[1, 2] + neighbors[2, 1]) / 2,
        "faintest_spot": spot,
    }
    if truth is not None:
        measured["true_mse_before"] = mse(before, truth, mask)
        measured["true_mse_after"] = mse(after, truth, mask)
    return measured


def _draw(before, after, variance, mask, spot, curve, truth, unit):
    """The pictures that these data allow, each as a section."""
    caption = "One color scale for both; gray pixels are not valid."
    if spot is not None:
        caption += (
            " Below, the faintest spot that stands clear of the noise, chosen in the "
            f"noisy image: row {spot[0]}, column {spot[1]}."
        )
    sections = [
        _section(
            "Before and after",
            "before_after.png",
            caption,
            plot.before_after(before, after, mask, spot=spot, unit=unit),
        )
    ]
    if curve is not None:
        sections.append(
            _section(
                "How the strength was chosen",
                "risk.png",
                "The mean square error, estimated from the noisy data alone, and the "
                "strength that was used.",
                plot.risk_curve(**curve, unit=unit),
            )
        )
    if spot is not None:
        sections.append(
            _section(
                "The faintest spot",
                "spot.png",
                "The same spot as surfaces over one vertical axis. Total variation "
                "lowers a peak the more, the fainter and the narrower it is.",
                plot.spot_surface(
                    before, after, mask, spot=spot, truth=truth, unit=unit
                ),
            )
        )
    sections.append(
        _section(
            "What was removed",
            "residual.png",
            "The residual over the noise's standard deviation. Noise alone has no "
            "pattern, deviation 1 and no correlation; rings or spots in it are signal "
            "that was lost. Where counts are few its distribution is skewed and in "
            "steps, whatever the denoiser.",
            plot.residual(before, after, variance, mask),
        )
    )
    return sections


def _section(title, file, caption, figure):
    png = BytesIO()
    plot.save(figure, png)
    return Section(title, file, caption, png.getvalue())


def _rows(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of what is short enough for a table."""
    for name, value in values.items():
        value = _plain(value)
        name = name.replace("_", " ")
        match value:
            case dict():
                yield from _rows(value, f"{prefix}{name}, ")
            case list() if len(value) > 4:
                pass
            case _:
                yield prefix + name, _text(value)


def _text(value):
    """A value as a reader wants it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list():
            return ", ".join(_text(item) for item in value)
    return str(value)


def _plain(value):
    """A value as JSON knows it; numbers that are not finite become null."""
    match value:
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
    array = np.asarray(value)
    return str(value) if array.dtype == object else _plain(array.tolist())


def _markdown(title, rows, sections):
    cell = str.maketrans({"|": r"\|", "\n": " "})
    lines = [f"# {title}", "", "| quantity | value |", "| --- | --- |"]
    lines += [
        f"| {name.translate(cell)} | {text.translate(cell)} |" for name, text in rows
    ]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [f"![{section.title}]({section.file})", "", section.caption]
    return "\n".join([*lines, "", "## Caution", "", CAUTION, ""])


def _html(title, rows, sections):
    title = html.escape(title)
    table = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>"
        for name, text in rows
    )
    pictures = "\n".join(
        f"<h2>{section.title}</h2>\n<figure><img alt='{section.title}' "
        f"src='data:image/png;base64,{b64encode(section.png).decode()}'>"
        f"<figcaption>{section.caption}</figcaption></figure>"
        for section in sections
    )
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<table>\n{table}\n</table>\n{pictures}\n"
        f"<h2>Caution</h2>\n<p class='caution'>{CAUTION}</p>\n</body>\n</html>\n"
    )


def _write(folder, contents):
    """Write beside the folder first, then move."""
    staged = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)  # left by an interrupted run
    staged.mkdir(parents=True)
    try:
        for name, content in contents.items():
            (staged / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in FILES:
            if name in contents:
                os.replace(staged / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)  # of an earlier report
    finally:
        shutil.rmtree(staged, ignore_errors=True)
