"""What is in a file, told in the shell?"""

from importlib.metadata import version

import typer

from tvjax.cli.options import Dataset, Frames, Inputs, Mask
from tvjax.cli.running import keep_compiled, sentences
from tvjax.settings import Settings


def info(
    inputs: Inputs,
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
) -> None:
    """Tell what is in a file, how noisy it is, and what tvjax runs on."""
    with sentences():
        import jax

        from tvjax.pipeline import inspect_series

        keep_compiled()
        facts = inspect_series(
            inputs, Settings(mask=mask, frames=frames, dataset=dataset)
        )
        facts["tvjax"] = version("tvjax")
        facts["jax"] = f"{version('jax')} on {jax.devices()[0]}"
        width = max(map(len, facts))
        for name, fact in facts.items():
            text = f"{fact:.5g}" if isinstance(fact, float) else fact
            typer.echo(f"{name.replace('_', ' '):{width}}  {text}")
