"""An option whose value may be left out."""

from typing import Any

from typer.core import TyperCommand

# The option that has this, and the seconds that it means alone.
WATCH, PATIENCE = "--watch", 60


class WatchCommand(TyperCommand):
    """A command of which `--watch` stands alone, or with a number behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what the user typed."""
        return TyperCommand.parse_args(self, ctx, with_patience(args))


def with_patience(words: list[str]) -> list[str]:
    """Return the words of a command, with a number behind a `--watch` that has none."""
    filled: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        filled.append(word)
        if word == WATCH and not _is_number(following):
            filled.append(str(PATIENCE))
    return filled


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
