"""The command `info`: what is in a file."""

from tvjax import pipeline
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
from tvjax.cli.running import keep_compiled, say, sentences, version_of
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
        import jax

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
        facts = pipeline.inspect_files(inputs, settings, frames=frames)
        facts["tvjax"] = version_of("tvjax")
        facts["jax"] = f"{version_of('jax')} on {jax.devices()[0]}"
        lines = [(name, fact) for name, fact in facts.items() if name != "warnings"]
        lines += [("WARNING", text) for text in facts.get("warnings", ())]
        width = max(len(name) for name, _ in lines)
        for name, fact in lines:
            text = f"{fact:.5g}" if isinstance(fact, float) else fact
            say(f"{name.replace('_', ' '):{width}}  {text}")
