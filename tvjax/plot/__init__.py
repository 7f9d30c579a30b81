"""What did denoising do? The pictures that answer."""

from tvjax.plot.frames import (
    before_after as before_after,
    residual as residual,
    risk_curve as risk_curve,
    spot_surface as spot_surface,
)
from tvjax.plot.stack import (
    eigenimages as eigenimages,
    frames as frames,
    jitter as jitter,
    maps as maps,
    rank_risk as rank_risk,
    scree as scree,
    spectra as spectra,
)
from tvjax.plot.style import save as save
from tvjax.plot.symmetry import (
    orbit_agreement as orbit_agreement,
    radial_profile as radial_profile,
)
