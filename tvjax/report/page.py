"""A report as one folder to read, to show and to parse."""

import html
import json
import math
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tvjax import plot
from tvjax.io.errors import cannot_write, FileError, printable
from tvjax.io.staging import Claim, unfinished_name
from tvjax.plot.style import Figure

# In this order they get their final names: who finds the last finds all.
PAGES = ("report.md", "report.html", "report.json")

# The style sheet of the page.
STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222;
       font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { font-weight: 600; line-height: 1.2; margin: 2.2rem 0 0.6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { border-top: 1px solid #ddd; padding: 0.2rem 1.5rem 0.2rem 0; }
figure { margin: 0; }
img { max-width: 100%; }
figcaption, .caution { color: #555; }
"""


class ReservedFolder(NamedTuple):
    """A folder that one run alone writes its report to, from its start on."""

    folder: Path
    claim: Claim


class Section(NamedTuple):
    """A picture with what to see in it."""

    title: str
    file: str
    caption: str
    png: bytes


def section(title: str, file: str, caption: str, figure: Figure) -> Section:
    """Return a section with a figure drawn.

    Args:
        title: Heading of the section.
        file: Name of the picture.
        caption: What to see in it.
        figure: The picture.
    """
    png = BytesIO()
    plot.save(figure, png)
    return Section(title, file, caption, png.getvalue())


@contextmanager
def reserve_folder(folder: str | Path, overwrite: bool) -> Iterator[ReservedFolder]:
    """Keep a folder for a report that is written later, by this run alone.

    Args:
        folder: Where a report is to be written.
        overwrite: Whether an earlier report may be replaced.

    Raises:
        FileExistsError: It holds a report and `overwrite` is False.
        FileError: It cannot be written, or another run writes it.
    """
    folder = Path(folder).resolve()
    check_folder(folder, overwrite)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file: name a folder for the report.")
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"{folder} may not be written: name another folder.")
    with Claim(folder) as claim:
        yield ReservedFolder(folder, claim)


def check_folder(
    folder: str | Path | ReservedFolder, overwrite: bool
) -> Path | ReservedFolder:
    """Return the whole path of the folder, or what was reserved.

    Args:
        folder: Where a report is to be written.
        overwrite: Whether an earlier report may be replaced.

    Returns:
        Its absolute path; a reserved folder as it is.

    Raises:
        FileExistsError: If it holds a report and `overwrite` is False.
    """
    if isinstance(folder, ReservedFolder):
        return folder  # it was checked before the run
    folder = Path(folder).resolve()
    present = [name for name in PAGES if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(f"{folder / present[0]} exists already.")
    return folder


def write_pages(
    folder: Path | ReservedFolder,
    sections: Sequence[Section],
    *,
    title: str,
    caution: str,
    table: Mapping[str, Any],
    numbers: Mapping[str, Any],
) -> Path:
    """Write pictures, `report.md`, `report.html` and `report.json` into a folder.

    The HTML file holds its pictures and can be sent alone. Files get their final names
    only when all are complete; pictures of an earlier report go.

    Args:
        folder: Where to write; made if missing. Other files in it are left alone.
        sections: The pictures, in order.
        title: Heading of the report.
        caution: What a reader must not overlook.
        table: Values of which those that are short go into the table.
        numbers: Values that all go into the JSON file.

    Returns:
        Path of `report.html`.
    """
    rows = list(_rows(table))
    contents = {each.file: each.png for each in sections}
    contents["report.md"] = _markdown(title, rows, sections, caution).encode()
    contents["report.html"] = _html(title, rows, sections, caution).encode()
    pictures = {"pictures": [each.file for each in sections]}
    contents["report.json"] = json.dumps(
        _plain({**numbers, **pictures}), indent=2
    ).encode()
    if isinstance(folder, ReservedFolder):
        _write(*folder, contents)
        return folder.folder / "report.html"
    with Claim(folder) as claim:
        _write(folder, claim, contents)
    return folder / "report.html"


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of what is short enough for a table."""
    for name, value in values.items():
        value = _plain(value)
        name = name.replace("_", " ")
        match value:
            case dict():
                yield from _rows(value, f"{prefix}{name}, ")
            case list() if len(value) > 4:
                pass
            case _:
                yield prefix + name, _text(value)


def _text(value: Any) -> str:
    """A value as a reader wants it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list():
            return ", ".join(_text(item) for item in value)
    return str(value)


def _plain(value: Any) -> Any:
    """A value as JSON knows it; numbers that are not finite become null."""
    match value:
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
    array = np.asarray(value)
    return str(value) if array.dtype == object else _plain(array.tolist())


def _markdown(
    title: str,
    rows: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    caution: str,
) -> str:
    """The report as Markdown, its pictures beside it."""
    lines = [f"# {title}", "", "| quantity | value |", "| --- | --- |"]
    lines += [f"| {_literal(name)} | {_literal(text)} |" for name, text in rows]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [f"![{section.title}]({section.file})", "", section.caption]
    return "\n".join([*lines, "", "## Caution", "", caution, ""])


def _literal(text: str) -> str:
    """A text that means nothing in Markdown but itself, for a cell of a table."""
    text = printable(" ".join(text.splitlines()))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$!])", r"\\\1", text)
    # within a word an underscore means nothing
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)
    # else a viewer makes a link of it
    return re.sub(
        r"://|\bwww\.|@", lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", text
    )


def _html(
    title: str,
    rows: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    caution: str,
) -> str:
    """The report as a page that holds its pictures."""
    title = html.escape(title)
    table = "\n".join(
        f"<tr><td>{html.escape(printable(name))}</td><td>{html.escape(printable(text))}</td></tr>"
        for name, text in rows
    )
    pictures = "\n".join(
        f"<h2>{section.title}</h2>\n<figure><img alt='{section.title}' "
        f"src='data:image/png;base64,{b64encode(section.png).decode()}'>"
        f"<figcaption>{section.caption}</figcaption></figure>"
        for section in sections
    )
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<table>\n{table}\n</table>\n{pictures}\n"
        f"<h2>Caution</h2>\n<p class='caution'>{caution}</p>\n</body>\n</html>\n"
    )


def _write(folder: Path, claim: Claim, contents: Mapping[str, bytes]) -> None:
    """Write beside the folder first, then move."""
    staged = unfinished_name(folder, claim.token)
    try:
        staged.mkdir()
        for name, content in contents.items():
            (staged / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in set(_pictures(folder)) - set(contents):
            (folder / name).unlink(missing_ok=True)
        for name in contents:
            os.replace(staged / name, folder / name)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _pictures(folder: Path) -> list[str]:
    """The pictures of an earlier report, as it names them."""
    try:
        pictures = json.loads((folder / "report.json").read_bytes())["pictures"]
        return [str(name) for name in pictures]
    except (OSError, ValueError, KeyError, TypeError):
        return []
