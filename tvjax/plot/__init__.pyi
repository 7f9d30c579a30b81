from .frames import (
    before_after as before_after,
    residual as residual,
    risk_curve as risk_curve,
    spot_surface as spot_surface,
)
from .stack import (
    eigenimages as eigenimages,
    frames as frames,
    jitter as jitter,
    maps as maps,
    rank_risk as rank_risk,
    scree as scree,
    spectra as spectra,
)
from .style import (
    save as save,
)
from .symmetry import (
    orbit_agreement as orbit_agreement,
    radial_profile as radial_profile,
)

__all__ = [
    "before_after",
    "eigenimages",
    "frames",
    "jitter",
    "maps",
    "orbit_agreement",
    "radial_profile",
    "rank_risk",
    "residual",
    "risk_curve",
    "save",
    "scree",
    "spectra",
    "spot_surface",
]
