"""What does the command `tvjax` say and do?"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tvjax.settings import parse_memory, Settings, SettingsError, StackSettings

# What reads, computes and draws is imported inside the commands, lest `--help` wait.

app = typer.Typer(
    help="Remove the noise from X-ray images, with every strength chosen by the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class Dtype(StrEnum):
    uint32 = "uint32"
    int32 = "int32"
    float32 = "float32"


class FloatType(StrEnum):
    float32 = "float32"
    float64 = "float64"


Inputs = Annotated[
    list[str],
    typer.Argument(
        help="An HDF5 master, or image files; `*` and `#` stand for names and digits.",
        show_default=False,
    ),
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
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an existing output.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Denoise what tvjax has denoised before.")
]


@app.command(name="denoise")
def denoise_command(
    inputs: Inputs,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="HDF5 (.h5, .nxs), .cbf or .tif."),
    ],
    alpha: Annotated[
        str,
        typer.Option(metavar="auto|NUMBER", help="Strength in the unit of the data."),
    ] = "auto",
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="A strength for each frame.")
    ] = False,
    noise: Annotated[
        str,
        typer.Option(
            help="auto, poisson[:GAIN], gaussian[:SIGMA] or mixed:GAIN,SIGMA[,OFFSET]."
        ),
    ] = "auto",
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    report: ReportFolder = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Type of the output; integers stay integers by default."),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(help="Stored value of one count, 16 by default for integers."),
    ] = None,
    emit: Annotated[
        str,
        typer.Option(
            metavar="xds,dials,crystfel",
            help="Write the lines that these programs need for the scale.",
        ),
    ] = "",
    overwrite: Overwrite = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Choose noise and strength, write nothing."),
    ] = False,
) -> None:
    """Denoise files into files of the same layout."""
    with _sentences():
        from tvjax.pipeline import denoise_series

        settings = Settings(
            alpha=_parse_alpha(alpha),
            per_frame=per_frame,
            noise=noise,
            mask=mask,
            frames=frames,
            dataset=dataset,
            dtype=dtype,
            scale=scale,
            overwrite=overwrite,
            force=force,
            emit=_parse_emit(emit),
        )
        if report is not None:
            _check_report(report, overwrite)
        _keep_compiled()
        with _progress("choosing the strength") as progress:
            outcome = denoise_series(
                inputs, output, settings, progress=progress, dry_run=dry_run
            )
        typer.echo(outcome.report())
        if report is not None:
            typer.echo(f"report     {_write_report(report, outcome, overwrite)}")


@app.command(name="stack")
def stack_command(
    inputs: Inputs,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="HDF5 (.h5, .nxs) or .tif.")
    ],
    rank: Annotated[
        str, typer.Option(metavar="auto|K", help="Number of components.")
    ] = "auto",
    noise: Annotated[
        str,
        typer.Option(
            help="auto, poisson[:GAIN], gaussian[:SIGMA] or mixed:GAIN,SIGMA[,OFFSET]; "
            "auto measures it at each energy."
        ),
    ] = "auto",
    mask: Mask = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="EYX", help="Order of energy, row and column, where unknown."
        ),
    ] = None,
    energies: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|START:STOP:N|none", help="Energies, where not in the input."
        ),
    ] = None,
    dataset: Dataset = None,
    flat: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:PATH]",
            help="Counts without the sample, or an I0: gives optical density.",
        ),
    ] = None,
    dark: Annotated[
        str | None,
        typer.Option(metavar="FILE[:PATH]", help="Counts without light."),
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Undo the jitter between frames.")
    ] = False,
    whole_pixels: Annotated[
        bool, typer.Option("--whole-pixels", help="Register by whole pixels.")
    ] = False,
    references: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[=VALENCE]",
            help="Spectra to fit for the map; may be repeated.",
        ),
    ] = None,
    map_file: Annotated[
        str | None, typer.Option("--map", help="HDF5 file for the maps.")
    ] = None,
    report: ReportFolder = None,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What parts of the stack may take.")
    ] = "2GB",
    dtype: Annotated[FloatType | None, typer.Option(help="Type of the output.")] = None,
    overwrite: Overwrite = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Choose rank and strengths, write nothing."),
    ] = False,
) -> None:
    """Denoise an energy stack in its own subspace, and map its phases."""
    with _sentences():
        from tvjax.pipeline import denoise_stack_file

        settings = StackSettings(
            rank=_parse_rank(rank),
            noise=noise,
            mask=mask,
            axes=axes,
            energies=energies,
            dataset=dataset,
            flat=flat,
            dark=dark,
            register=register,
            whole_pixels=whole_pixels,
            references=tuple(references or ()),
            map=map_file,
            memory=parse_memory(memory),
            dtype=dtype,
            overwrite=overwrite,
            force=force,
        )
        if report is not None:
            _check_report(report, overwrite)
        _keep_compiled()
        with _progress("reading", "steps") as progress:
            outcome = denoise_stack_file(
                inputs,
                output,
                settings,
                compare=report is not None,
                progress=progress,
                dry_run=dry_run,
            )
        typer.echo(outcome.report())
        if report is not None:
            typer.echo(f"report     {_write_stack_report(report, outcome, overwrite)}")


@app.command()
def info(
    inputs: Inputs,
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
) -> None:
    """Tell what is in a file, how noisy it is, and what tvjax runs on."""
    with _sentences():
        import jax

        from tvjax.pipeline import inspect_series

        _keep_compiled()
        facts = inspect_series(
            inputs, Settings(mask=mask, frames=frames, dataset=dataset)
        )
        facts["tvjax"] = version("tvjax")
        facts["jax"] = f"{version('jax')} on {jax.devices()[0]}"
        width = max(map(len, facts))
        for name, fact in facts.items():
            text = f"{fact:.5g}" if isinstance(fact, float) else fact
            typer.echo(f"{name.replace('_', ' '):{width}}  {text}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(
        "tvjax_demo"
    ),
    num_frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            min=2,
            help="Frames of the scan, 20 by default, or energies, 117.",
            show_default=False,
        ),
    ] = None,
    stack: Annotated[
        bool, typer.Option("--stack", help="An energy stack in place of a scan.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo.")
    ] = False,
) -> None:
    """Simulate a scan or a stack, denoise it, and show what that did to the truth."""
    with _sentences():
        _check_report(folder / "report", overwrite)
        _keep_compiled()
        if stack:
            _demo_stack(folder, num_frames or 117, overwrite)
        else:
            _demo_scan(folder, num_frames or 20, overwrite)


def _demo_scan(folder: Path, num_frames: int, overwrite: bool) -> None:
    from tvjax.demo import scan_series, true_errors
    from tvjax.io import save_series
    from tvjax.pipeline import denoise_series
    from tvjax.simulate import Scan

    scan = Scan(num_frames=num_frames)
    raw, clean = (folder / name / "scan_master.h5" for name in ("raw", "clean"))
    with _progress("simulating") as progress:
        save_series(raw, scan_series(scan), overwrite=overwrite, progress=progress)
    with _progress("choosing the strength") as progress:
        outcome = denoise_series(
            raw, clean, Settings(overwrite=overwrite), progress=progress
        )
    typer.echo(outcome.report())
    index = outcome.example.index
    page = _write_report(
        folder / "report",
        outcome,
        overwrite,
        scan.expected(index),
        lambda alphas: true_errors(scan, index, alphas),
    )
    typer.echo(f"report     {page}")


def _demo_stack(folder: Path, num_energies: int, overwrite: bool) -> None:
    from tvjax.demo import cathode, save_cathode
    from tvjax.pipeline import denoise_stack_file

    scene = cathode(num_energies)
    raw, flat, references = save_cathode(folder / "raw", scene, overwrite=overwrite)
    settings = StackSettings(
        flat=str(flat),
        references=(references,),
        map=str(folder / "clean" / "map.h5"),
        overwrite=overwrite,
    )
    with _progress("reading", "steps") as progress:
        outcome = denoise_stack_file(
            raw,
            folder / "clean" / "stack.h5",
            settings,
            compare=True,
            progress=progress,
        )
    typer.echo(outcome.report())
    page = _write_stack_report(folder / "report", outcome, overwrite, scene)
    typer.echo(f"report     {page}")


@app.callback(invoke_without_command=True)
def _version(
    show: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True)
    ] = False,
) -> None:
    if show:
        typer.echo(version("tvjax"))
        raise typer.Exit


def main() -> None:
    """Run the command."""
    # A batch system ends a job by this signal: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _parse_alpha(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"`alpha` must be auto or a number, got {text}.") from None


def _parse_rank(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingsError(
            f"`rank` must be auto or a whole number, got {text}."
        ) from None


def _parse_emit(text: str) -> tuple[str, ...]:
    from tvjax.io.fragments import PROGRAMS

    programs = tuple(name for name in text.split(",") if name)
    if unknown := set(programs) - set(PROGRAMS):
        raise SettingsError(
            f"`emit` must name some of {', '.join(PROGRAMS)}, "
            f"got {', '.join(sorted(unknown))}."
        )
    return programs


def _check_report(folder: Path, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it."""
    from tvjax.io import FileError
    from tvjax.report import PAGES

    if not overwrite and any((folder / name).exists() for name in PAGES):
        raise FileError(f"{folder} holds a report: choose another or pass --overwrite.")


def _write_report(
    folder: Path,
    outcome: object,
    overwrite: bool,
    truth: object = None,
    errors: Callable[[object], object] | None = None,
) -> Path:
    import numpy as np

    from tvjax.report import write_report

    example, curve = outcome.example, outcome.choice.curve
    if curve is not None and np.ndim(curve.alphas) == 1:
        curve = {
            "alphas": curve.alphas,
            "risks": curve.risks,
            "chosen": float(outcome.choice.alpha),
            "oracle": None if errors is None else errors(curve.alphas),
        }
    else:
        curve = None
    return write_report(
        folder,
        example.before,
        example.after,
        variance=np.asarray(outcome.choice.noise.variance(np.float32(example.after))),
        mask=example.mask,
        summary=outcome.asdict() | {"example frame": example.index},
        curve=curve,
        truth=truth,
        overwrite=overwrite,
    )


def _write_stack_report(
    folder: Path, outcome: object, overwrite: bool, scene: object = None
) -> Path:
    import numpy as np

    from tvjax.report import write_stack_report

    evidence, components = outcome.evidence, outcome.components
    energies = outcome.energies
    index = evidence.frame
    at = "" if energies is None else f" at {energies[index]:.2f} eV"
    after, before = outcome.chemistry, outcome.chemistry_before
    maps = None if after is None else {"before": before.leading, "after": after.leading}
    spectra = {
        "before": evidence.spectra_before,
        "after": evidence.spectra_after,
        "pixels": evidence.pixels,
    }
    summary = outcome.asdict()
    if scene is not None:
        spectra["truth"] = [scene.truth[:, y, x] for y, x in evidence.pixels]
        maps["truth"] = np.where(scene.mask, scene.valence, np.nan)
        for name in ("before", "after"):
            error = maps[name] - maps["truth"]
            summary[f"true map rmse {name}"] = np.sqrt(np.nanmean(error**2))
    return write_stack_report(
        folder,
        evidence.before,
        evidence.after,
        sigma=float(components.sigma[index]),
        mask=outcome.mask,
        summary=summary,
        components={
            "rank": components.rank,
            "chosen": outcome.chosen,
            "risks": components.risks,
            "singular_values": components.singular_values,
            "verdict": components.verdict(),
            "spectra": components.spectra,
            "images": components.images,
            "denoised": components.denoised,
        },
        spectra=spectra,
        energies=energies,
        frame=f"Frame {index}{at}",
        maps=maps,
        map_label="" if after is None else after.title,
        shifts=None if outcome.jitter is None else outcome.jitter._asdict(),
        truth=None if scene is None else scene.truth[index],
        unit=outcome.unit or "value",
        overwrite=overwrite,
    )


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn every error that a user can meet into one sentence and an exit code."""
    from tvjax.io import FileError

    try:
        yield
    except SettingsError as error:
        code, sentence = MISUSED, str(error)
    except (FileError, ValueError) as error:
        code, sentence = FAILED, str(error)
    except KeyboardInterrupt:
        code, sentence = INTERRUPTED, "Interrupted: nothing was written."
    else:
        return
    typer.echo(f"tvjax: {sentence}", err=True)
    raise typer.Exit(code)


@contextmanager
def _progress(
    waiting: str, unit: str = "frames"
) -> Iterator[Callable[[int, int], None]]:
    """Show rate and remaining time on a terminal, and nothing in a pipe."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(waiting, total=None, rate="")

        def show(done: int, total: int) -> None:
            rate = f"{bar.tasks[0].speed or 0:.2f}/s"
            text = f"{done}/{total} {unit}"
            bar.update(task, completed=done, total=total, rate=rate, description=text)

        yield show


def _keep_compiled() -> None:
    """Let the next run find what this one compiles, where a cache can be written."""
    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tvjax"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(cache, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
