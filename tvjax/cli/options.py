"""The arguments that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

# The noise models that can be named.
NOISES = "auto, poisson[:GAIN], gaussian[:SIGMA] or mixed:GAIN,SIGMA[,OFFSET]"


class Dtype(StrEnum):
    """Types of denoised frames."""

    uint32 = "uint32"
    int32 = "int32"
    float32 = "float32"


class Weighting(StrEnum):
    """What errors a strength is chosen by."""

    auto = "auto"
    uniform = "uniform"
    variance = "variance"


class FloatType(StrEnum):
    """Types of a denoised stack."""

    float32 = "float32"
    float64 = "float64"


Inputs = Annotated[
    list[str],
    typer.Argument(
        help="HDF5 masters, image files, folders, or @LIST of names; `*` and `#` stand "
        "for names and digits.",
        show_default=False,
    ),
]
FrameOutput = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="HDF5 (.h5, .nxs), .cbf or .tif, or a FOLDER/."
    ),
]
StackOutput = Annotated[
    str, typer.Option("--output", "-o", help="HDF5 (.h5, .nxs) or .tif, or a FOLDER/.")
]
Noise = Annotated[str, typer.Option(help=f"{NOISES}.")]
NoiseByEnergy = Annotated[
    str, typer.Option(help=f"{NOISES}; auto measures it at each energy.")
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Images in an HDF5 file that holds several stacks."),
]
Frames = Annotated[
    str | None,
    typer.Option(
        metavar="A:B", help="Frames A to B, counted from 0 and without B, as in Python."
    ),
]
Mask = Annotated[
    str | None, typer.Option(help="File of bad pixels: zero is valid, all else is not.")
]
ReportFolder = Annotated[
    Path | None, typer.Option(help="Folder for pictures and a report.")
]
FrameType = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype", help="Type of the output; integers stay integers by default."
    ),
]
StackType = Annotated[
    FloatType | None, typer.Option("--dtype", help="Type of the output.")
]
Scale = Annotated[
    int | None,
    typer.Option(help="Stored value of one count, 16 by default for integers."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an existing output.")
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on where a run to this output was interrupted."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Denoise what tvjax has denoised before.")
]
Axes = Annotated[
    str | None,
    typer.Option(metavar="EYX", help="Order of energy, row and column, where unknown."),
]
Energies = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|START:STOP:N|none", help="Energies, where not in the input."
    ),
]
Flat = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:PATH]",
        help="Counts without the sample, or an I0: gives optical density.",
    ),
]
Dark = Annotated[
    str | None,
    typer.Option(metavar="FILE[:PATH]", help="Counts without light."),
]
Memory = Annotated[
    str, typer.Option(metavar="SIZE", help="What parts of the stack may take.")
]
