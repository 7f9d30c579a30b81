"""Data of which the truth is known: for the demo, for tests and for experiments."""

from .crystal import Crystal as Crystal
from .detector import Detector as Detector
from .diffraction import diffraction_image as diffraction_image, Scan as Scan
