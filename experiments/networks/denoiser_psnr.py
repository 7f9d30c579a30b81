"""What does each denoiser make of photographs with white noise?

    python -m experiments.networks.denoiser_psnr [--quick]

Peak signal-to-noise ratios at sigma 15, 25 and 50 of 255, the noise neither clipped nor
rounded, of the photographs that scikit-image ships and no denoiser here has learned
from, and of Set12, if TVJAX_DATA names a folder with images/Set12. TV is told sigma and
chooses its strength by its risk; the network is told nothing.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax
import numpy as np
import skimage
from jaxtyping import Array, Float
from matplotlib import pyplot as plt

import tvjax
from experiments.common.measure import (
    DATA,
    interleave,
    output_folder,
    parser,
    Record,
    Report,
)
from tvjax.denoisers import load_network, Wavelet
from tvjax.metrics import psnr

PHOTOGRAPHS = ("camera", "coins", "moon", "brick", "grass", "page", "text")
SIGMAS = (15, 25, 50)
SIDE = 1024  # of the image that is timed

Image: TypeAlias = Float[np.ndarray, "height width"]
Member: TypeAlias = Callable[[Image, float], Array | Image]


def members() -> dict[str, Member]:
    """Functions of the noisy image and of sigma, which they need not heed."""
    network = eqx.filter_jit(load_network())
    return {
        "noisy": lambda y, sigma: y,
        "TV": lambda y, sigma: tvjax.denoise(y, noise=tvjax.Gaussian(sigma)).image,
        "wavelet": eqx.filter_jit(lambda y, sigma: Wavelet(sigma)(y)),
        "network": lambda y, sigma: network(y),
    }


def photographs(*, quick: bool) -> dict[str, dict[str, Image]]:
    """Test images from 0 to 255, by where they come from."""
    if quick:
        return {"scikit-image": {"camera": skimage.data.camera()[200:264, 200:264]}}
    groups = {
        "scikit-image": {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS},
        "Set12": {
            file.stem: skimage.io.imread(file)
            for file in sorted((DATA / "images" / "Set12").glob("*.png"))
        },
    }
    return {group: images for group, images in groups.items() if images}


def compare(images: dict[str, Image], denoisers: dict[str, Member]) -> list[Record]:
    """One record an image and a level, the same draw of the noise for all."""
    records = []
    for number, (name, truth) in enumerate(images.items()):
        for sigma in SIGMAS:
            rng = np.random.default_rng((number, sigma))
            y = (truth + rng.normal(0, sigma, truth.shape)).astype(np.float32)
            ratios = {
                f"{member}, dB": float(psnr(denoise(y, sigma), truth, peak=255))
                for member, denoise in denoisers.items()
            }
            records.append({"image": name, "sigma": sigma} | ratios)
            print(".", end="", flush=True)
    print()
    return records


def average(records: list[Record]) -> list[Record]:
    """The mean over the images, in dB, as is customary."""
    keys = [key for key in records[0] if key.endswith("dB")]
    return [
        {"sigma": sigma, "images": len(chosen)}
        | {key: float(np.mean([record[key] for record in chosen])) for key in keys}
        for sigma in SIGMAS
        if (chosen := [record for record in records if record["sigma"] == sigma])
    ]


def clock(denoisers: dict[str, Member], *, quick: bool) -> list[Record]:
    """How long a large image takes."""
    side = 64 if quick else SIDE
    y, x = np.mgrid[:side, :side] / side
    rng = np.random.default_rng(0)
    scene = 255 * (np.hypot(y - 0.5, x - 0.5) < 0.3) + 50 * x
    noisy = (scene + rng.normal(0, 25, scene.shape)).astype(np.float32)
    tasks = {
        name: lambda denoise=denoise: jax.block_until_ready(denoise(noisy, 25))
        for name, denoise in denoisers.items()
        if name != "noisy"
    }
    timings = interleave(tasks, 2 if quick else 5)
    return [
        {
            "denoiser": name,
            "ms a megapixel": 1e9 * timing.median / noisy.size,
            "least": 1e9 * timing.minimum / noisy.size,
        }
        for name, timing in timings.items()
    ]


def draw(truth: Image, denoisers: dict[str, Member], file: Path) -> None:
    """One photograph at the middle level, and what everyone made of it."""
    sigma = SIGMAS[1]
    rng = np.random.default_rng((0, sigma))
    y = (truth + rng.normal(0, sigma, truth.shape)).astype(np.float32)
    panels = {"truth": truth}
    panels |= {name: denoise(y, sigma) for name, denoise in denoisers.items()}
    window = np.s_[60:260, 150:350] if min(truth.shape) > 400 else np.s_[:, :]
    figure, axes = plt.subplots(1, len(panels), figsize=(3 * len(panels), 3.2))
    for ax, (name, image) in zip(axes, panels.items(), strict=True):
        ax.imshow(np.asarray(image)[window], cmap="gray", vmin=0, vmax=255)
        ratio = "" if name == "truth" else f", {psnr(image, truth, peak=255):.2f} dB"
        ax.set_title(f"{name}{ratio}")
        ax.axis("off")
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Compare, clock, and keep the tables and the figure."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    folder = output_folder(options, __file__)
    weights = resources.files("tvjax.denoisers") / "network.safetensors"
    report = Report(
        "Denoisers on photographs",
        tvjax=tvjax.__version__,
        jax=jax.__version__,
        quick=options.quick,
        weights=f"{len(weights.read_bytes()) / 1e6:.2f} MB",
    )
    denoisers = members()
    groups = photographs(quick=options.quick)
    for group, images in groups.items():
        records = compare(images, denoisers)
        report.add(f"Mean of {group}", average(records))
        report.add(f"Every image of {group}", records)
    report.add("Time", clock(denoisers, quick=options.quick))
    report.save(folder, "denoiser_psnr")
    camera = groups["scikit-image"]["camera"].astype(np.float32)
    draw(camera, denoisers, folder / "denoiser_psnr.png")


if __name__ == "__main__":
    main()
