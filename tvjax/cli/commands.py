"""The commands of `tvjax`, and how they are started."""

import signal
from typing import Annotated

import typer

from tvjax.cli.demo import demo_command
from tvjax.cli.frames import denoise_command
from tvjax.cli.info import info_command
from tvjax.cli.optional_value import WatchCommand
from tvjax.cli.running import version_of
from tvjax.cli.stack import stack_command
from tvjax.cli.symmetry import predict_command, symmetry_command, train_command

app = typer.Typer(
    help="Remove the noise from X-ray images, with every strength chosen by the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("denoise", cls=WatchCommand)(denoise_command)
app.command("stack")(stack_command)
app.command("symmetry")(symmetry_command)
app.command("train")(train_command)
app.command("predict")(predict_command)
app.command("info")(info_command)
app.command("demo")(demo_command)


@app.callback(invoke_without_command=True)
def _version(
    show: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True)
    ] = False,
) -> None:
    if show:
        typer.echo(version_of("tvjax"))
        raise typer.Exit


def main() -> None:
    """Run the command."""
    # A batch system ends a job by this signal: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
