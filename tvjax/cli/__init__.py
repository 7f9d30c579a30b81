"""What does the command `tvjax` say and do?"""

from tvjax.cli.commands import app as app, main as main
