"""From a level to half-widths: what a bundle knows of its errors, as a curve, and how that goes on beyond.

Stage `encode` of the way of a tick. A level is written as its strain, -log(1 - level): 0 is an empty band, 2.3 one of
90 %, 4.6 one of 99 %. One more of it lets a 2.7th through. Errors of exponential tails have half-widths in proportion
to it; and unlike a factor on one width it knows where no errors lie: most ticks leave the mid where it was, so that
half-widths between those of no move and those of one tick all mean the same.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tickcast.manifest import Bands

# Beyond what the export has seen half-widths go on like exponentials of the strain: by 28 % for each unit above, where
# tails are heavy, by 2.7 below. The limits are a factor of thousands away; from either a few hundred ticks lead back.
SLOPE_ABOVE = 0.25
SLOPE_BELOW = 1.0
STRAIN_LIMITS = (-6.0, 36.0)
# Strains are multiples of it: nothing near what a half-width shows.
STRAIN_STEP = 2.0**-27
# Errors come in lumps where the mid moves by whole ticks, and quantiles fall on lumps. A half-width is a thousandth
# more, so that such an error is within it whichever graph made the forecast.
MARGIN = 1e-3
# A half-width of nothing has no logarithm: a billionth of the target's standard deviation is nothing.
HALF_WIDTH_MIN = 1e-9

Strains = NDArray[np.float64]  # [n, horizons]
HalfWidths = NDArray[np.float64]  # [n, horizons], in the unit of the forecast


class BandTable:
    """One bundle's."""

    def __init__(self, bands: Bands, target_scale: float) -> None:
        knots = -np.log1p(-np.array(bands.levels))
        logs = np.log(np.maximum(np.array(bands.half_widths), HALF_WIDTH_MIN * target_scale)) + MARGIN
        low, high = STRAIN_LIMITS
        below = logs[:1] + SLOPE_BELOW * min(low - knots[0], 0.0)
        above = logs[-1:] + SLOPE_ABOVE * max(high - knots[-1], 0.0)
        self._knots = np.concatenate([[low], knots, [high]])
        self._logs = np.concatenate([below, logs, above])
        self._rises = np.diff(self._logs, axis=0) / np.diff(self._knots)[:, None]
        self._columns = np.arange(logs.shape[1])
        # The strain that bands begin with; see `bands_levels.ALLOWED_STEP`.
        self.start = round(-math.log1p(-bands.level) / STRAIN_STEP) * STRAIN_STEP

    def half_widths(self, strains: Strains) -> HalfWidths:
        """Of bands with these strains, each within `STRAIN_LIMITS`."""
        at = np.searchsorted(self._knots[1:-1], strains)
        logs = self._logs[at, self._columns] + self._rises[at, self._columns] * (strains - self._knots[at])
        made: HalfWidths = np.exp(logs)
        return made
