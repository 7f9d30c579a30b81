"""What do the frames and the maps of the rivals look like?"""

import numpy as np
from matplotlib import pyplot as plt

from experiments.stack.rivals import estimates
from experiments.stack.scenes import (
    first_scene,
    judge,
    Setup,
    Tables,
    thick,
    valence_map,
)
from tvjax.simulate import add_gaussian


def figure8(setup: Setup) -> Tables:
    """Draw one frame and the map of each method, at the middle one of the noises.

    The frame is that of the white line. Pixels that are too thin are left out of maps.
    """
    scene = first_scene(setup)
    sigma = setup.sigmas[len(setup.sigmas) // 2]
    frame = int(np.argmax(scene.truth.mean(axis=(1, 2))))
    y = add_gaussian(scene, sigma)
    shown = [("truth", scene.truth[frame], scene.valence)]
    for estimate in estimates(y, scene.truth, sigma, setup):
        if "FPSNR" not in estimate.told:
            quality = judge(estimate.image, scene)
            told = f" (told {estimate.told})" if estimate.told else ""
            title = f"{estimate.name}{told}\n{quality.fpsnr:.2f} dB, "
            title += f"map {quality.correlation:.3f}"
            valence = valence_map(estimate.image, scene)
            shown.append((title, estimate.image[frame], valence))
    figure, axes = plt.subplots(
        2, len(shown), figsize=(2.6 * len(shown), 5.6), layout="constrained"
    )
    visible = thick(scene)
    for (title, image, valence), (top, bottom) in zip(shown, axes.T, strict=True):
        top.imshow(image, cmap="gray", vmin=0, vmax=scene.truth[frame].max())
        top.set_title(title, fontsize=8)
        picture = bottom.imshow(
            np.where(visible, valence, np.nan), cmap="viridis", vmin=2, vmax=4
        )
    for ax in axes.flat:
        ax.set_axis_off()
    figure.colorbar(picture, ax=axes[1].tolist(), label="valence", shrink=0.8)
    figure.savefig(setup.folder / "maps.png", dpi=130)
    plt.close(figure)
    return {}
