from .frames import (
    before_after as before_after,
    residual as residual,
    risk_curve as risk_curve,
    RiskCurve as RiskCurve,
    spot_surface as spot_surface,
)
from .stack import (
    eigenimages as eigenimages,
    frame_shifts as frame_shifts,
    maps as maps,
    PixelSpectra as PixelSpectra,
    rank_risk as rank_risk,
    scree as scree,
    spectra as spectra,
    stack_frame as stack_frame,
)
from .style import (
    save as save,
)
from .symmetry import (
    orbit_agreement as orbit_agreement,
    ring_profile as ring_profile,
    RingAgreement as RingAgreement,
    RingProfile as RingProfile,
)

__all__ = [
    "before_after",
    "eigenimages",
    "frame_shifts",
    "maps",
    "orbit_agreement",
    "PixelSpectra",
    "rank_risk",
    "residual",
    "ring_profile",
    "RingAgreement",
    "RingProfile",
    "risk_curve",
    "RiskCurve",
    "save",
    "scree",
    "spectra",
    "spot_surface",
    "stack_frame",
]
