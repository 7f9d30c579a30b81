"""What is in a file, told in the shell?"""

from importlib.metadata import version

import typer

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
from tvjax.cli.running import keep_compiled, sentences
from tvjax.settings import parse_memory, StackSettings


def info(
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
        import jax

        from tvjax.pipeline import inspect_files

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
        facts = inspect_files(inputs, settings, frames=frames)
        facts["tvjax"] = version("tvjax")
        facts["jax"] = f"{version('jax')} on {jax.devices()[0]}"
        width = max(map(len, facts))
        for name, fact in facts.items():
            text = f"{fact:.5g}" if isinstance(fact, float) else fact
            typer.echo(f"{name.replace('_', ' '):{width}}  {text}")
