"""Data of which the truth is known: for the demo, for tests and for experiments."""

from tvjax.simulate.crystal import Crystal as Crystal
from tvjax.simulate.detector import Detector as Detector
from tvjax.simulate.diffraction import (
    diffraction_image as diffraction_image,
    Scan as Scan,
)
