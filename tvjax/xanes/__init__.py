"""Spectra in the pixels of an energy stack, and the chemistry that they show.

    counts → optical_density → normalize → edge_energy, white_line
                                         → fit_references → chemical_map

Stacks have the axes (energy, *pixels), with any number of pixel axes. Energies are in
eV, ascend, need not be uniform, and are read while tracing: a function under `jit`
takes them as constants, not as arguments. Invalid pixels come back as zeros with a
False in `mask`, never as NaN.
"""

from tvjax.xanes.density import Density as Density, optical_density as optical_density
from tvjax.xanes.energies import (
    choose_energies as choose_energies,
    Design as Design,
    expected_errors as expected_errors,
)
from tvjax.xanes.references import (
    chemical_map as chemical_map,
    ChemicalMap as ChemicalMap,
    Fit as Fit,
    fit_references as fit_references,
    MOST_REFERENCES as MOST_REFERENCES,
)
from tvjax.xanes.spectra import (
    Edge as Edge,
    edge_energy as edge_energy,
    normalize as normalize,
    Normalized as Normalized,
    white_line as white_line,
    WhiteLine as WhiteLine,
    Window as Window,
)
