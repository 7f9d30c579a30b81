"""The commands `symmetry`, `predict` and `train`: patterns and their symmetry."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tvjax import io, pipeline, report as reports
from tvjax.cli.many import denoise_inputs
from tvjax.cli.options import (
    Dataset,
    Force,
    FrameOutput,
    Frames,
    FrameType,
    Inputs,
    Mask,
    Noise,
    Overwrite,
    ReportFolder,
    Resume,
    Scale,
)
from tvjax.cli.running import (
    keep_compiled,
    progress_bar,
    report_folder,
    sentences,
    tell,
    tell_unfinished,
)
from tvjax.settings import SymmetrySettings, TrainingSettings


class Method(StrEnum):
    """Ways to use a symmetry."""

    orbit = "orbit"
    network = "network"


class Device(StrEnum):
    """Devices to train on."""

    cpu = "cpu"
    gpu = "gpu"
    tpu = "tpu"


Group = Annotated[
    str,
    typer.Option(
        metavar="auto|NAME",
        help="friedel, mirror-x, mirror-y, 2mm, 3, 3m, 4, 4mm, 6, 6mm or azimuthal.",
    ),
]
Centre = Annotated[
    str,
    typer.Option(metavar="auto|file|Y,X", help="Beam centre in pixels from 0."),
]
Average = Annotated[
    bool,
    typer.Option("--average", help="Show the network eight orientations: slower."),
]


def symmetry_command(
    inputs: Inputs,
    output: FrameOutput,
    group: Group = "auto",
    centre: Centre = "auto",
    method: Annotated[
        Method, typer.Option(help="TV of the mean over the orbits, or a network.")
    ] = Method.orbit,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the network, from `tvjax train`.")
    ] = None,
    average: Average = False,
    noise: Noise = "auto",
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    report: ReportFolder = None,
    dtype: FrameType = None,
    scale: Scale = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Find the symmetry, write nothing.")
    ] = False,
) -> None:
    """Denoise scattering patterns by their own symmetry, if the data have one."""
    with sentences():
        settings = SymmetrySettings(
            group=group,
            centre=centre,
            method=method.value,
            weights=None if weights is None else str(weights),
            average=average,
            noise=noise,
            mask=mask,
            frames=frames,
            dataset=dataset,
            dtype=dtype,
            scale=scale,
            overwrite=overwrite,
            resume=resume,
            force=force,
        )
        keep_compiled()

        def denoise(
            names: list[str], output: Path, report: Path | None, waiting: str
        ) -> Any:
            """Denoise the patterns of one input."""
            if not resume:
                tell_unfinished(io.unfinished_run(output))
            with report_folder(report, overwrite=overwrite) as reserved:
                with progress_bar(waiting) as progress:
                    outcome = pipeline.denoise_symmetric_files(
                        names, output, settings, progress=progress, dry_run=dry_run
                    )
                if reserved is not None:
                    reports.report_symmetry(reserved, outcome, overwrite=overwrite)
            return outcome

        denoise_inputs(
            inputs, output, settings, report, denoise, "finding the symmetry"
        )


def predict_command(
    inputs: Inputs,
    output: FrameOutput,
    weights: Annotated[Path, typer.Option(help="From `tvjax train`.")],
    group: Group = "auto",
    centre: Centre = "auto",
    average: Average = False,
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    report: ReportFolder = None,
    dtype: FrameType = None,
    scale: Scale = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Denoise scattering patterns with a network from `tvjax train`."""
    symmetry_command(
        inputs,
        output,
        group=group,
        centre=centre,
        method=Method.network,
        weights=weights,
        average=average,
        mask=mask,
        frames=frames,
        dataset=dataset,
        report=report,
        dtype=dtype,
        scale=scale,
        overwrite=overwrite,
        resume=resume,
        force=force,
    )


def train_command(
    inputs: Inputs,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights (.safetensors).")
    ],
    group: Group = "auto",
    centre: Centre = "auto",
    num_steps: Annotated[
        int, typer.Option("--steps", help="At most; it stops when nothing improves.")
    ] = 2000,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 8,
    start: Annotated[
        Path | None, typer.Option(help="Weights to train further.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn at random.")] = 0,
    device: Annotated[
        Device | None, typer.Option(help="By default what JAX prefers.")
    ] = None,
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train a network on noisy patterns, which have nothing but their symmetry."""
    with sentences():
        settings = TrainingSettings(
            group=group,
            centre=centre,
            num_steps=num_steps,
            batch=batch,
            start=None if start is None else str(start),
            seed=seed,
            device=None if device is None else device.value,
            mask=mask,
            frames=frames,
            dataset=dataset,
            overwrite=overwrite,
            resume=resume,
            force=force,
        )
        if not resume:
            tell_unfinished(pipeline.unfinished_training(output))
        keep_compiled()
        with progress_bar("finding the symmetry", "steps") as progress:
            outcome = pipeline.train_on_files(
                inputs, output, settings, progress=progress
            )
        tell(outcome.report())
