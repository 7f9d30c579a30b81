"""The lines of input that tell integration programs of images with scaled values."""

from tvjax.io.encoding import Encoding, TOP

PROGRAMS = ("xds", "dials", "crystfel")

SUFFIXES = {"xds": ".XDS.INP", "dials": ".dials.phil", "crystfel": ".crystfel.geom"}


def integration_input(program: str, encoding: Encoding) -> str:
    """Return the lines to add to the input of `program`, one of `PROGRAMS`."""
    gain = encoding.scale
    overload = float(TOP)
    if encoding.saturation is not None:
        overload = float(encoding.limit(encoding.saturation))
    if program == "xds":
        return f"GAIN= {gain}\nOVERLOAD= {overload:.0f}\n"
    if program == "crystfel":
        return f"adu_per_photon = {gain}\nflag_morethan = {TOP}\n"
    # The default background model of DIALS assumes the scatter of counts, which
    # denoised images no longer have.
    return (
        f"geometry.detector.panel.gain = {gain}\n"
        "integration.background.algorithm = simple\n"
    )
