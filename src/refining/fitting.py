"""How a synthesiser's sounds are brought near to a target: by SciPy's least squares, or by cma."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import least_squares

from src.refining.comparisons import Comparison
from src.refining.space import Classes, Space
from src.synth.errors import LostSounds
from src.synth.synthesizers import Synthesizer

# A step of the difference quotients changes the sound by this share of it: of sounds that have the
# digits of float64, and of others.
_EXACT_CHANGE, _ROUNDED_CHANGE = 1e-6, 3e-3
_LEAST_STEP, _LARGEST_STEP = 1e-9, 0.02  # of a normalised value


@dataclass(frozen=True)
class Found:
    """A point of the search, and how far its sound is from the target.

    Attributes:
        point: the coordinates.
        classes: of categorical parameters.
        gain: the factor on what is rendered.
        residual: the norm of the difference over that of the target, as it was compared.
    """

    point: Float64[np.ndarray, "P"]
    classes: Classes
    gain: float
    residual: float


@dataclass(frozen=True)
class Prior:
    """What holds a search near a point: a Gaussian.

    Attributes:
        centre: its mean.
        weight: the share of the target's norm that a distance of 1 counts as, by coordinate.
    """

    centre: Float64[np.ndarray, "P"]
    weight: Float64[np.ndarray, "P"]


class Fitter:
    """Renders points, compares them, and goes downhill.

    Args:
        synthesizer: what renders.
        space: the coordinates.

    Attributes:
        renders: sounds that were rendered, short ones too.
    """

    def __init__(self, synthesizer: Synthesizer, space: Space) -> None:
        self.synthesizer = synthesizer
        self.space = space
        self.renders = 0
        self._steps = np.full(len(space.searched), 1e-3)

    def sounds(
        self,
        points: Float64[np.ndarray, "B P"],
        classes: Classes,
        num_samples: int,
        below_hz: float | None = None,
    ) -> Float64[np.ndarray, "B T"]:
        """Render points, the level at its maximum; a sound that an engine lost is silence."""
        self.renders += len(points)
        columns = self.space.columns(points, classes)
        try:
            return self.synthesizer.render_float64(columns, num_samples, below_hz)
        except LostSounds as lost:
            return np.nan_to_num(lost.audio.astype(np.float64))

    def differences(
        self, comparison: Comparison, points: Float64[np.ndarray, "B P"], classes: Classes
    ) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B"]]:
        """Compare the sounds of some points with the target; see :class:`Comparison`."""
        sounds = self.sounds(points, classes, comparison.num_samples, comparison.below_hz)
        return comparison(sounds, self.space.gains)

    def residuals(
        self, comparison: Comparison, points: Float64[np.ndarray, "B P"], classes: Classes
    ) -> Float64[np.ndarray, "B"]:
        """Return how far the sounds of some points are from the target."""
        return np.asarray(np.linalg.norm(self.differences(comparison, points, classes)[0], axis=1))

    def descend(
        self,
        comparison: Comparison,
        point: Float64[np.ndarray, "P"],
        classes: Classes,
        prior: Prior,
        *,
        most: int,
        tolerance: float,
    ) -> Found:
        """Go downhill by Levenberg and Marquardt's method, from a point to the nearest minimum.

        Args:
            comparison: what is made small.
            point: where to begin.
            classes: of categorical parameters, which stay.
            prior: what else is made small.
            most: the most steps.
            tolerance: relative, of the sum of squares and of a step.
        """

        def rows(x: Float64[np.ndarray, "P"]) -> Float64[np.ndarray, "M"]:
            own, _ = self.differences(comparison, x[None], classes)
            return np.concatenate([own[0], prior.weight * (x - prior.centre)])

        def slopes(x: Float64[np.ndarray, "P"]) -> Float64[np.ndarray, "M P"]:
            own = self._slopes(comparison, x, classes)
            return np.concatenate([own.T, np.diag(prior.weight)])

        fit = least_squares(
            *(rows, point, slopes), method="lm", max_nfev=most,
            ftol=tolerance, xtol=tolerance, gtol=tolerance,
        )  # fmt: skip
        return self.found(comparison, fit.x, classes)

    def evolve(
        self,
        comparison: Comparison,
        point: Float64[np.ndarray, "P"],
        classes: Classes,
        prior: Prior,
        *,
        spread: Float64[np.ndarray, "P"],
        max_renders: int,
        random: np.random.Generator,
    ) -> Found:
        """Search without derivatives, by an evolution strategy (Hansen's CMA-ES, package `cma`).

        Args:
            comparison: what is made small.
            point: where to begin.
            classes: of categorical parameters, which stay.
            prior: what else is made small.
            spread: how far from there, by coordinate.
            max_renders: after so many it stops.
            random: of the draws.

        Returns:
            The mean of the last draws, which chance moves less than the best of them.
        """
        import cma

        options = {
            "CMA_stds": spread,
            "maxfevals": max_renders,
            "randn": lambda *shape: random.standard_normal(shape),
            "seed": np.nan,  # it would seed NumPy's global numbers
            "tolfun": 1e-12,
            "verbose": -9,
        }
        strategy = cma.CMAEvolutionStrategy(point, 1.0, options)
        while not strategy.stop():
            draws = np.array(strategy.ask())
            away = np.square((draws - prior.centre) * prior.weight).sum(axis=1)
            costs = self.residuals(comparison, draws, classes) ** 2 + away
            strategy.tell(list(draws), costs.tolist())
        return self.found(comparison, np.asarray(strategy.result.xfavorite), classes)

    def found(
        self, comparison: Comparison, point: Float64[np.ndarray, "P"], classes: Classes
    ) -> Found:
        """Return a point with its residual."""
        own, gains = self.differences(comparison, point[None], classes)
        return Found(point, classes, float(gains[0]), float(np.linalg.norm(own)))

    def _slopes(
        self, comparison: Comparison, x: Float64[np.ndarray, "P"], classes: Classes
    ) -> Float64[np.ndarray, "P N"]:
        """Return the difference quotients of all coordinates, from one batch of sounds.

        Sounds of full precision have one-sided quotients of tiny steps. Others, whose roundings
        would show, have central ones. Each step is as long as changes the sound by a set share.
        """
        is_exact = self.synthesizer.is_exact
        steps = np.diag(self._steps)
        others = x[None] if is_exact else x - steps
        own, _ = self.differences(comparison, np.concatenate([x + steps, others]), classes)
        ahead, behind = own[: len(x)], own[len(x) :]
        slopes = (ahead - behind) / (self._steps * (1.0 if is_exact else 2.0))[:, None]
        wanted = _EXACT_CHANGE if is_exact else _ROUNDED_CHANGE
        norms = np.linalg.norm(slopes, axis=1)
        self._steps = (wanted / np.maximum(norms, 1e-9)).clip(_LEAST_STEP, _LARGEST_STEP)
        return slopes
