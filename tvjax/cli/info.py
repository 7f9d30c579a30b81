"""The command `info`: what is in a file."""

from typing import Any

import typer

from tvjax import io, pipeline
from tvjax.cli.options import (
    Axes,
    Dark,
    Dataset,
    Energies,
    Flat,
    Frames,
    Inputs,
    Mask,
    Memory,
)
from tvjax.cli.running import FAILED, keep_compiled, sentences, tell, version_of
from tvjax.io.errors import failure, FileError
from tvjax.settings import parse_memory, StackSettings


def info_command(
    inputs: Inputs,
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    axes: Axes = None,
    energies: Energies = None,
    flat: Flat = None,
    dark: Dark = None,
    memory: Memory = "2GB",
) -> None:
    """Tell what is in a scan or a stack, how noisy it is, and what comes next."""
    with sentences():
        settings = StackSettings(
            mask=mask,
            axes=axes,
            energies=energies,
            dataset=dataset,
            flat=flat,
            dark=dark,
            memory=parse_memory(memory),
        )
        keep_compiled()
        if not io.names_several(inputs):
            _show(pipeline.inspect_files(inputs, settings, frames=frames))
            return
        found = io.find_inputs(inputs)
        failed = [sentence for _, sentence in found.refused]
        for each in found.found:
            tell(f"{each.label}:")
            try:
                _show(pipeline.inspect_files(each.names, settings, frames=frames))
            except (FileError, ValueError, MemoryError) as error:
                failed.append(failure(error))
            typer.echo()
        for sentence in found.left_out:
            tell(f"left out: {sentence}")
        for sentence in failed:
            tell(f"tvjax: {sentence}", err=True)
        if failed:
            raise typer.Exit(FAILED)


def _show(facts: dict[str, Any]) -> None:
    """Print facts, a line each."""
    import jax

    facts["tvjax"] = version_of("tvjax")
    facts["jax"] = f"{version_of('jax')} on {jax.devices()[0]}"
    lines = [(name, fact) for name, fact in facts.items() if name != "warnings"]
    lines += [("WARNING", text) for text in facts.get("warnings", ())]
    width = max(len(name) for name, _ in lines)
    for name, fact in lines:
        text = f"{fact:.5g}" if isinstance(fact, float) else fact
        tell(f"{name.replace('_', ' '):{width}}  {text}")
