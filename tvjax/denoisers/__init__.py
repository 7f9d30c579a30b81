"""Denoisers, one method a file; any callable image -> image is one."""

from tvjax.denoisers.mixture import Mixture as Mixture
from tvjax.denoisers.network import (
    load_network as load_network,
    Network as Network,
    save_network as save_network,
)
from tvjax.denoisers.protocol import (
    AbstractDenoiser as AbstractDenoiser,
    AbstractMaskedDenoiser as AbstractMaskedDenoiser,
    Resumable as Resumable,
)
from tvjax.denoisers.subspace import SUM as SUM
from tvjax.denoisers.tv import TV as TV
from tvjax.denoisers.wavelet import Wavelet as Wavelet, wavelet_risk as wavelet_risk
