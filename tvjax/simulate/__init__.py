"""Simulated data of which the truth is known."""

from tvjax.simulate.camera import (
    count as count,
    Counts as Counts,
    illumination as illumination,
)
from tvjax.simulate.cathode import (
    add_gaussian as add_gaussian,
    draw_shifts as draw_shifts,
    jitter as jitter,
    scale_to_bytes as scale_to_bytes,
    xanes_stack as xanes_stack,
    XanesStack as XanesStack,
)
from tvjax.simulate.crystal import Crystal as Crystal
from tvjax.simulate.detector import Detector as Detector
from tvjax.simulate.diffraction import (
    diffraction_image as diffraction_image,
    Scan as Scan,
)
from tvjax.simulate.nickel import (
    nickel_energies as nickel_energies,
    nickel_spectra as nickel_spectra,
)
from tvjax.simulate.particle import particle as particle
from tvjax.simulate.scattering import (
    add_spot as add_spot,
    Kind as Kind,
    Pattern as Pattern,
    scattering_pattern as scattering_pattern,
)
