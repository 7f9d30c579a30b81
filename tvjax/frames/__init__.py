"""Images and frames denoised by total variation, the strength chosen by the data."""

from tvjax.frames.denoise import denoise as denoise
from tvjax.frames.result import Curve as Curve, Result as Result
from tvjax.tuning.weights import Weights as Weights
