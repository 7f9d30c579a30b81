"""The command `tvjax`."""

from tvjax.cli.commands import app as app, main as main
