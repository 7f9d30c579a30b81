"""Which references and maps go with a stack?"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import (
    FileError,
    Provenance,
    read_spectra,
    SeriesWriter,
    Spectrum,
    Stack,
    write_maps,
)
from tvjax.settings import SettingsError, StackSettings
from tvjax.xanes.mapping import (
    Chemistry,
    find_edge,
    map_phases,
    normalized,
    References,
    Rows,
)


def read_references(settings: StackSettings, stack: Stack) -> References | None:
    """Return the references at the energies of the stack.

    Raises:
        FileError: One cannot be read, or does not cover the energies.
    """
    if not settings.references:
        return None
    names, spectra, valences = [], [], []
    low, high = np.min(stack.energies), np.max(stack.energies)
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
            spectra.append(np.interp(stack.energies, spectrum.energies, values))
        valences += known or [None] * len(found)
    every = None if None in valences else tuple(valences)
    return References(tuple(names), np.array(spectra), every)


def _normalized(name: str, spectrum: Spectrum) -> Float[np.ndarray, " energy"]:
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


def map_stack(
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    components: object,
    references: References | None,
    settings: StackSettings,
    compare: bool,
) -> tuple[Chemistry | None, Chemistry | None, tuple[str, ...]]:
    """Return the maps after and before denoising, and why one was not possible.

    Raises:
        ValueError: A map was asked for, and there is neither an edge nor a reference.
    """
    if settings.map is None and (not compare or stack.energies is None):
        return None, None, ()
    means = np.mean(components.denoised, axis=(1, 2), where=mask)
    edge, notes = None, ()
    try:
        edge = find_edge(components.spectra.T @ means, stack.energies)
    except ValueError as error:
        if references is None and settings.map is not None:
            raise
        notes = (f"No map of the edge energy: in the mean spectrum {error}",)
    if edge is None and references is None:
        return None, None, notes

    noise = float(np.sqrt(np.mean(components.sigma**2)))

    def chart(rows: Rows, sigma: float) -> Chemistry:
        return map_phases(
            rows,
            stack.energies,
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
    per_direction = min(max(components.risk, 0) * stack.shape[0] / components.rank, 1)
    chemistry = chart(after, noise * np.sqrt(per_direction))
    return chemistry, chart(before, noise) if compare else None, notes


def attach_map(
    writer: SeriesWriter,
    stack: Stack,
    settings: StackSettings,
    chemistry: Chemistry | None,
    record: Provenance,
) -> None:
    """Let the maps appear with the output, where they were asked for."""
    if settings.map is None:
        return
    results = dict(record.results)
    if chemistry.edge is not None:
        results["edge"] = chemistry.edge
    units = {"edge_energy": "eV", "step": stack.unit, "residual": stack.unit}
    writer.attach(
        Path(settings.map),
        lambda file: write_maps(
            file,
            chemistry.maps(),
            units=units,
            names=chemistry.names,
            provenance=dataclasses.replace(record, results=results),
        ),
    )
