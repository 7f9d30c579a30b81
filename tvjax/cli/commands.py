"""Which commands are there, and how are they started?"""

import signal
from importlib.metadata import version
from typing import Annotated

import typer

from tvjax.cli.demo import demo
from tvjax.cli.frames import denoise
from tvjax.cli.info import info
from tvjax.cli.stack import stack
from tvjax.cli.symmetry import predict, symmetry, train

app = typer.Typer(
    help="Remove the noise from X-ray images, with every strength chosen by the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (denoise, stack, symmetry, train, predict, info, demo):
    app.command()(command)


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
