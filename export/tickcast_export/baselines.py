"""Simple forecasters that a model must beat to be worth its trouble: ridge regression and boosted trees.

Behind the way of a tick: part of `tickcast evaluate`. Both are fitted to earlier ticks, on `evaluation_features`; what
they can be set to is chosen on the newest of those, as a careful analyst would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from tickcast_export.dataset import Indices, evenly
from tickcast_export.evaluation_features import WindowFeatures
from tickcast_export.evaluation_folds import Fold

Array = NDArray[np.float64]
Features = NDArray[np.float32]
Targets = Callable[[Indices], Array]  # ends [n] -> changes [n, horizons], price units

# Windows, evenly spaced over the earlier ticks, that each is fitted to at most. Ridge has some hundred numbers to find;
# trees take seconds per horizon.
RIDGE_WINDOWS_MAX = 400_000
TREE_WINDOWS_MAX = 120_000
PENALTY_WINDOWS_MAX = 100_000  # that its penalty is chosen by
VALIDATION_WINDOWS_MAX = 100_000
# Forecast at once.
CHUNK_WINDOWS = 65_536

PENALTIES = (1e2, 1e3, 1e4, 1e5)  # of standardised features
CLIP = 6.0  # standard deviations: a line should not follow one huge order
TREES_MAX = 300
PATIENCE = 10  # trees without a smaller validation error
LEAVES_MAX = 31
LEAF_WINDOWS_MIN = 100
LEARNING_RATE = 0.1


class Baseline(Protocol):
    """Fitted, for all horizons."""

    def forecast(self, features: Features) -> Array:
        """Changes [n, horizons], in units of `WindowFeatures.unit`."""


@dataclass(frozen=True)
class Material:
    """What baselines are fitted to: features, targets in each symbol's own unit, and how much a window counts."""

    features: Features  # [n, features]
    targets: Array  # [n, horizons]
    # [n]: units squared, so that errors count in price units, as they are scored; None: all alike, which fits faster
    weights: Array | None

    @classmethod
    def of(cls, features: WindowFeatures, targets: Targets, ends: Indices, most: int) -> "Material":
        """At most so many of the windows that end with `ends`, evenly spaced."""
        some = evenly(ends, most)
        unit = features.unit(some)
        weights = np.square(unit) / np.square(unit).mean() if np.ptp(unit) > 0 else None
        return cls(features.of(some), targets(some) / unit[:, None], weights)

    def fewer(self, most: int) -> "Material":
        """At most so many of these, evenly spaced."""
        some = evenly(np.arange(len(self.features)), most)
        weights = None if self.weights is None else self.weights[some]
        return Material(self.features[some], self.targets[some], weights)


class RidgeBaseline:
    """Linear in standardised features."""

    def __init__(self, train: Material, validation: Material, earlier: Material) -> None:
        """The penalty of each horizon is chosen on `validation`, then all is fitted to `earlier`."""
        self._mean = train.features.mean(axis=0, dtype=np.float64)
        self._scale = np.maximum(train.features.std(axis=0, dtype=np.float64), 1e-9)
        train = train.fewer(PENALTY_WINDOWS_MAX)
        inputs = self._standardised(train.features), self._standardised(validation.features)
        errors = []
        for penalty in PENALTIES:
            fitted = _ridge(penalty, inputs[0], train)
            missed = np.square(fitted.predict(inputs[1]) - validation.targets)
            errors.append(np.average(missed, axis=0, weights=validation.weights))
        self.penalties = [PENALTIES[at] for at in np.argmin(errors, axis=0).tolist()]
        inputs_earlier = self._standardised(earlier.features)
        fits = {penalty: _ridge(penalty, inputs_earlier, earlier) for penalty in set(self.penalties)}
        chosen = [fits[penalty] for penalty in self.penalties]
        self._weights = np.stack([fitted.coef_[at] for at, fitted in enumerate(chosen)], axis=1)
        self._bias = np.array([fitted.intercept_[at] for at, fitted in enumerate(chosen)])

    def forecast(self, features: Features) -> Array:
        """See `Baseline`."""
        forecast: Array = self._standardised(features) @ self._weights + self._bias
        return forecast

    def _standardised(self, features: Features) -> Array:
        standardised: Array = np.clip((features - self._mean) / self._scale, -CLIP, CLIP)
        return standardised


class TreesBaseline:
    """Gradient boosting, for each horizon by itself; as many trees as `validation` is served by."""

    def __init__(self, train: Material, validation: Material, plain: int, seed: int, step: Callable[[], None]) -> None:
        """Of the features, the first `plain` are used: trees make their own powers and products."""
        self._plain = plain
        self._trees = []
        for at in range(train.targets.shape[1]):
            trees = HistGradientBoostingRegressor(
                learning_rate=LEARNING_RATE,
                max_iter=TREES_MAX,
                max_leaf_nodes=LEAVES_MAX,
                min_samples_leaf=LEAF_WINDOWS_MIN,
                early_stopping=True,
                n_iter_no_change=PATIENCE,
                scoring="loss",
                random_state=seed,
            )
            trees.fit(
                train.features[:, :plain],
                train.targets[:, at],
                sample_weight=train.weights,
                X_val=validation.features[:, :plain],
                y_val=validation.targets[:, at],
                sample_weight_val=validation.weights,
            )
            self._trees.append(trees)
            step()

    def forecast(self, features: Features) -> Array:
        """See `Baseline`."""
        return np.stack([trees.predict(features[:, : self._plain]) for trees in self._trees], axis=1)


def fitted(
    features: WindowFeatures, targets: Targets, fold: Fold, seed: int, step: Callable[[], None]
) -> dict[str, Baseline]:
    """Both baselines, fitted to what lies before the fold's test day; `step` is called after each horizon's trees."""
    validation = Material.of(features, targets, fold.validation, VALIDATION_WINDOWS_MAX)
    train = Material.of(features, targets, fold.train, RIDGE_WINDOWS_MAX)
    earlier = Material.of(features, targets, fold.earlier, RIDGE_WINDOWS_MAX)
    ridge = RidgeBaseline(train, validation, earlier)
    trees = TreesBaseline(train.fewer(TREE_WINDOWS_MAX), validation, features.plain, seed, step)
    return {"ridge": ridge, "trees": trees}


def forecasts(
    baselines: dict[str, Baseline], features: WindowFeatures, ends: Indices, horizons: Sequence[int]
) -> dict[str, Array]:
    """Of each, the forecasts [n, horizons] for the windows that end with `ends`, in price units."""
    made = {name: np.empty((len(ends), len(horizons))) for name in baselines}
    for start in range(0, len(ends), CHUNK_WINDOWS):
        some = ends[start : start + CHUNK_WINDOWS]
        given, unit = features.of(some), features.unit(some)[:, None]
        for name, baseline in baselines.items():
            made[name][start : start + len(some)] = baseline.forecast(given) * unit
    return made


def _ridge(penalty: float, inputs: Array, material: Material) -> Ridge:
    return Ridge(alpha=penalty, solver="cholesky").fit(inputs, material.targets, sample_weight=material.weights)
