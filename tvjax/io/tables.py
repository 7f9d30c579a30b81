"""Columns of numbers in a text file: energies, an I₀, or spectra."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tvjax.io.errors import FileError, reading
from tvjax.io.limits import MOST_TEXT

# Energies without a unit are in keV where none is above this number: those of soft
# X-rays in eV lie above it, those of hard X-rays in keV below.
KILO = 50.0

_COMMENTS = ("#", ";", "%", "//")
_COLUMN = re.compile(r"#\s*Column\.(\d+):\s*(\S+)(?:\s+(\S+))?", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s,;]+")
_ENERGY = re.compile(r"(photon|mono|incident)?[ _]*energ(y|ies)|^e$", re.IGNORECASE)
# The names that XDI and its relatives have for absorption.
_ABSORPTION = re.compile(r"(norm|flat|mu|xmu)(trans|fluor)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Columns of numbers, and what they are called.

    Attributes:
        path: The file.
        values: The numbers.
        names: Names of the columns, `""` where the file is silent.
        unit: Unit of the first column, `""` where the file is silent.
    """

    path: Path
    values: Float[np.ndarray, "row column"]
    names: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class Spectrum:
    """A spectrum from a file.

    Attributes:
        name: What was measured.
        energies: In eV, ascending.
        values: Absorption in any unit.
        raw: Whether they were computed from counts, so that background and edge step
            are those of a sample.
    """

    name: str
    energies: Float[np.ndarray, " energy"]
    values: Float[np.ndarray, " energy"]
    raw: bool = False


def read_table(path: Path) -> Table:
    """Read XDI, CSV or any columns of numbers.

    Lines before, between and after the numbers may be comments; names are taken from
    the `Column.1:` lines of XDI, or from a line of names above the numbers.

    Raises:
        FileError: There is no table in it.
    """
    with reading(path):
        if path.stat().st_size > MOST_TEXT:
            raise FileError(
                f"{path} is too large for a table: name a file of energies and values."
            )
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows: list[list[float]] = []
    names: tuple[str, ...] = ()
    columns: dict[int, tuple[str, str]] = {}
    for line in map(str.strip, lines):
        if found := _COLUMN.match(line):
            columns[int(found[1])] = (found[2], found[3] or "")
        elif line and not line.startswith(_COMMENTS):
            numbers = _numbers(line)
            if numbers:
                rows.append(numbers)
            elif not rows:
                names = _names(line)
    if not rows or len({len(row) for row in rows}) > 1:
        raise FileError(
            f"{path} is no table of numbers with the same columns in every row: "
            "write energy and values, one energy a line."
        )
    values = np.array(rows)
    if columns:
        names = tuple(columns.get(n + 1, ("", ""))[0] for n in range(values.shape[1]))
    if len(names) != values.shape[1]:
        names = ("",) * values.shape[1]
    unit = columns.get(1, ("", ""))[1] or _unit("".join(names[:1]))
    return Table(path, values, names, unit)


def read_spectra(path: Path) -> list[Spectrum]:
    """Return the spectra in a table: one a column, by the energies of the first.

    Of a raw XDI scan the absorption is computed, ln(i0/itrans) or ifluor/i0.

    Raises:
        FileError: There is no spectrum, or its energies are not in order.
    """
    table = read_table(path)
    energies = in_ev(table.values[:, 0], table.unit)
    order = np.argsort(energies, kind="stable")
    energies = energies[order]
    if len(energies) < 2 or table.values.shape[1] < 2:
        raise FileError(f"{path} is no spectrum: it needs two columns, energy and μ.")
    if np.any(np.diff(energies) == 0):
        repeated = energies[:-1][np.diff(energies) == 0][0]
        raise FileError(
            f"{path} has the energy {repeated:g} eV twice: average the repeats first."
        )
    raw = _measured(table)
    found = _columns(table) if raw is None else {path.stem: raw}
    if not all(np.all(np.isfinite(values)) for values in found.values()):
        raise FileError(f"{path} has values that are no numbers: remove those rows.")
    return [
        Spectrum(name, energies, values[order], raw is not None)
        for name, values in found.items()
    ]


def in_ev(
    energies: Float[np.ndarray, " energy"], unit: str
) -> Float[np.ndarray, " energy"]:
    """Return energies in eV; without a known `unit`, their size decides."""
    energies = np.asarray(energies, float)
    unit = unit.strip().lower()
    kilo = unit == "kev" or (unit != "ev" and np.max(energies, initial=0) < KILO)
    return 1000 * energies if kilo else energies


def is_energy(name: str) -> bool:
    """Return whether a column or dataset of this name holds energies."""
    return bool(_ENERGY.search(name))


def _unit(name: str) -> str:
    """Return the unit that a name ends with, as `energy_keV` does."""
    found = re.search(r"(k?ev)\W*$", name, re.IGNORECASE)
    return found[1] if found else ""


def _numbers(line: str) -> list[float]:
    try:
        return [float(word) for word in _SEPARATORS.split(line.strip(",;"))]
    except ValueError:
        return []


def _names(line: str) -> tuple[str, ...]:
    separator = r"\s*[,;\t]\s*" if re.search(r"[,;\t]", line) else r"\s+"
    return tuple(re.split(separator, line))


def _measured(table: Table) -> Float[np.ndarray, " energy"] | None:
    """Return the absorption of a scan that has nothing but counts."""
    names = [name.lower() for name in table.names]
    column = dict(zip(names, table.values.T, strict=True))
    if "i0" not in column or any(map(_ABSORPTION.match, names)):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        if "itrans" in column:
            return np.log(column["i0"] / column["itrans"])
        return column["ifluor"] / column["i0"] if "ifluor" in column else None


def _columns(table: Table) -> dict[str, Float[np.ndarray, " energy"]]:
    """Return the columns that are spectra, by name."""
    stem = table.path.stem
    spectra = list(zip(table.names, table.values.T, strict=True))[1:]
    for name, values in spectra:
        if _ABSORPTION.match(name):
            return {stem: values}
    if len(spectra) == 1:
        return {stem: spectra[0][1]}
    return {
        name or f"{stem} {number}": values
        for number, (name, values) in enumerate(spectra, 1)
    }
