"""The references of a stack and the maps that are made of it."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import (
    FileError,
    prove_maps,
    Provenance,
    read_spectra,
    SeriesWriter,
    Spectrum,
    Stack,
    write_maps,
)
from tvjax.settings import SettingsError, StackSettings
from tvjax.stack import Components
from tvjax.xanes.mapping import (
    Chemistry,
    find_edge,
    map_phases,
    normalized,
    References,
    Rows,
)


def read_references(settings: StackSettings, stack: Stack) -> References | None:
    """Return the references at the energies of the stack; None where none is named.

    Raises:
        FileError: One cannot be read, or does not cover the energies.
        SettingsError: The valences of one are no numbers, or of another number.
    """
    energies = stack.energies
    if energies is None or not settings.references:
        return None
    names: list[str] = []
    spectra: list[Float[np.ndarray, " energy"]] = []
    valences: list[float | None] = []
    low, high = np.min(energies), np.max(energies)
    for text in settings.references:
        name, known = _split_valences(text)
        found = read_spectra(Path(name))
        if known is not None and len(known) != len(found):
            raise SettingsError(
                f"`references` must name a valence for each of the {len(found)} "
                f"spectra in {name}, got {len(known)}."
            )
        for spectrum in found:
            first, last = spectrum.energies[[0, -1]]
            if first > low or last < high:
                raise FileError(
                    f"{name} covers {first:.6g} to {last:.6g} eV, the stack "
                    f"{low:.6g} to {high:.6g} eV: name a reference that covers it, or "
                    "leave the outer energies out of the stack."
                )
            values = spectrum.values
            if spectrum.raw:
                values = _normalized(name, spectrum)
            names.append(spectrum.name)
            spectra.append(np.interp(energies, spectrum.energies, values))
        valences += known or [None] * len(found)
    known = tuple(valence for valence in valences if valence is not None)
    complete = len(known) == len(names)
    return References(tuple(names), np.array(spectra), known if complete else None)


def _normalized(name: str, spectrum: Spectrum) -> Float[np.ndarray, " energy"]:
    """Return a raw scan that steps from 0 to 1 at its own edge."""
    try:
        return normalized(spectrum.values, spectrum.energies)
    except ValueError as error:
        raise FileError(
            f"{name} is a raw scan that cannot be normalized: {error}"
        ) from error


def _split_valences(text: str) -> tuple[str, list[float] | None]:
    """Return file and valences that `FILE[=VALENCE[,VALENCE]]` means."""
    name, equals, valences = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, None
    try:
        return name, [float(valence) for valence in valences.split(",")]
    except ValueError:
        raise SettingsError(
            f"`references` are files, each with =VALENCE where known, got {text}."
        ) from None


class StackMaps(NamedTuple):
    """The maps of a stack, as far as they were possible."""

    after: Chemistry | None = None  # of the denoised stack
    before: Chemistry | None = None  # of the stack as it came
    notes: tuple[str, ...] = ()  # why one was not possible


def map_stack(
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    components: Components,
    references: References | None,
    settings: StackSettings,
    *,
    compare: bool,
) -> StackMaps:
    """Return the maps after and before denoising, and why one was not possible.

    Args:
        stack: The stack as it came, at rest.
        mask: True where a pixel is valid at all energies.
        components: What the stack is made of, denoised.
        references: What may be in a pixel, at the energies of the stack.
        settings: Map and memory are used.
        compare: Whether to map the stack before denoising too, and to try a map where
            none is asked for.

    Returns:
        The maps, none where they are neither asked for nor possible.

    Raises:
        ValueError: A map was asked for, and there is neither an edge nor a reference.
    """
    energies = stack.energies
    if energies is None or (settings.map is None and not compare):
        return StackMaps()
    means = np.mean(components.denoised, axis=(1, 2), where=mask)
    edge, notes = None, ()
    try:
        edge = find_edge(components.spectra.T @ means, energies)
    except ValueError as error:
        if references is None and settings.map is not None:
            raise
        notes = (f"No map of the edge energy: in the mean spectrum {error}",)
    if edge is None and references is None:
        return StackMaps(notes=notes)

    noise = float(np.sqrt(np.mean(components.sigma**2)))

    def chart(rows: Rows, sigma: float) -> Chemistry:
        return map_phases(
            rows,
            energies,
            mask,
            edge=edge,
            references=references,
            noise=noise,
            sigma=sigma,
            memory=settings.memory,
        )

    def after(rows: slice) -> Float[np.ndarray, "energy height width"]:
        return np.tensordot(components.spectra.T, components.denoised[:, rows], 1)

    def before(rows: slice) -> Float[np.ndarray, "energy height width"]:
        return stack[0 : stack.shape[0], rows]

    # What is left of the noise lies in as many directions as there are components, and
    # in none of them is it more than it was.
    left = max(components.relative_risk, 0)
    per_direction = min(left * stack.shape[0] / components.rank, 1)
    denoised = chart(after, noise * per_direction**0.5)
    return StackMaps(denoised, chart(before, noise) if compare else None, notes)


def attach_map(
    writer: SeriesWriter,
    stack: Stack,
    file: Path,
    chemistry: Chemistry,
    record: Provenance,
) -> None:
    """Let the maps appear in a file of their own together with the output."""
    results = dict(record.results)
    if chemistry.edge is not None:
        results["edge"] = chemistry.edge
    units = {"edge_energy": "eV", "step": stack.unit, "residual": stack.unit}
    writer.attach(
        file,
        lambda opened: write_maps(
            opened,
            chemistry.maps(),
            units=units,
            names=chemistry.names,
            provenance=dataclasses.replace(record, results=results),
        ),
        lambda shown: prove_maps(file, shown, chemistry.maps()),
    )
