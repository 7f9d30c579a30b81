"""What must integration programs be told of images whose values are scaled?"""

from tvjax.io.encoding import Encoding, TOP

PROGRAMS = ("xds", "dials", "crystfel")

SUFFIXES = {"xds": ".XDS.INP", "dials": ".dials.phil", "crystfel": ".crystfel.geom"}


def fragment(program: str, encoding: Encoding) -> str:
    """Return the lines to add to the input of `program`, one of `PROGRAMS`."""
    gain = encoding.scale
    overload = TOP
    if encoding.saturation is not None:
        overload = encoding.limit(encoding.saturation)
    if program == "xds":
        return f"GAIN= {gain}\nOVERLOAD= {overload:.0f}\n"
    if program == "crystfel":
        return f"adu_per_photon = {gain}\nflag_morethan = {TOP}\n"
    # The default background model assumes the scatter of counts, which is gone.
    return (
        f"geometry.detector.panel.gain = {gain}\n"
        "integration.background.algorithm = simple\n"
    )
