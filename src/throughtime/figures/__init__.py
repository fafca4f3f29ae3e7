"""Tables -> matplotlib figures, drawn without pyplot and so without a global state.

Every gradient is drawn as its log10 on a linear axis, because 1e-400 is a number here and not a
float. What is no number is not drawn as one: a curve ends at a marker where the gradient is exactly
zero, curves that leave the frame are counted, and a point that is not `ok` is hatched.
"""

from throughtime.figures.by_lag import gradient_by_lag
from throughtime.figures.exponents import exponent_by_scale, spectra
from throughtime.figures.heatmap import phase_diagram, ratio_heatmap
from throughtime.figures.league import mitigation_by_scale, stable_bands
from throughtime.figures.panels import save
from throughtime.figures.paths import gradient_paths
from throughtime.figures.remedies import remedies
from throughtime.figures.training import horizon_by_update, loss_by_update, success_by_length

__all__ = [
    "exponent_by_scale",
    "gradient_by_lag",
    "gradient_paths",
    "horizon_by_update",
    "loss_by_update",
    "mitigation_by_scale",
    "phase_diagram",
    "ratio_heatmap",
    "remedies",
    "save",
    "spectra",
    "stable_bands",
    "success_by_length",
]
