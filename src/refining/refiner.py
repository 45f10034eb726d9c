"""A synthesiser fitted to a sound: from a network's values to those that give the sound again."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from src.refining.comparisons import Comparison, Spectra, Waveform, best_gains
from src.refining.fitting import Fitter, Found, Prior
from src.refining.space import Classes, Space
from src.synth.synthesizers import Synthesizer
from src.vimh.errors import VIMHError

Method = Literal["auto", "least_squares", "cma"]

CONVERGED = 0.25  # the largest residual of a sound that counts as found
SPREAD = 0.05  # of a network whose errors nobody measured, in normalised values
RENDERS = 20_000

# The stages: low-passes from here to an eighth of Nyquist, with so many periods of the first.
_FIRST_HZ, _PERIODS, _NYQUIST_SHARE = 100.0, 3.0, 0.125
_WIDER, _LONGER = 1.6, 1.15
_LATE = (0.15, 0.5)  # shares of the sound, the first still low-passed
_GIVEN_UP = (0.5, 0.5, 0.35)  # the residuals at which the first stages, and all others, end a start
_PRIOR = 0.02  # a distance of one spread counts as this share of the sound in the early stages
_COARSE, _FINE = (14, 1e-4), (20, 1e-10)  # most steps and tolerance
_RANKED = (1, 4, 16, 64)  # draws of which the best is a start
_WIDENING = 1.08  # of the draws, from one start to the next
_EXACT = 3e-7  # a residual that is rounding


@dataclass(frozen=True)
class Refined:
    """What became of one sound.

    Attributes:
        values: by parameter, in its unit; the start's where the search did not converge.
        start: the values it began with; empty where there were none.
        best: the best values found, whether it converged or not.
        residual: of `best`: the norm of the difference over the norm of the sound, of what was
            compared.
        residual_db: that in decibels.
        renders: sounds that were rendered, short ones too.
        seconds: time it took.
        converged: whether `values` give the sound again.
        compared: "waveform" or "spectra".
    """

    values: dict[str, float]
    start: dict[str, float]
    best: dict[str, float]
    residual: float
    residual_db: float
    renders: int
    seconds: float
    converged: bool
    compared: str


class Refiner:
    """Fits a synthesiser's parameters to sounds.

    Args:
        synthesizer: what renders; in this thread alone.
        spread: by head the RMS error of the network that gives the starts, in normalised values;
            of a head that is missing 0.05.
        seed: of the draws; the same sound gives the same values.
        method: "least_squares"; "cma", an evolution strategy without derivatives (package `cma`);
            or "auto", which takes least squares.
        max_renders: after so many sounds no new start is tried.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        spread: Mapping[str, float],
        *,
        seed: int = 42,
        method: Method = "auto",
        max_renders: int = RENDERS,
    ) -> None:
        self.synthesizer = synthesizer
        self.spread = spread
        self.seed = seed
        self.method = method
        self.max_renders = max_renders

    def __call__(self, audio: Float[np.ndarray, "T"], start: Mapping[str, float] | None) -> Refined:
        """Refine the values of one sound.

        Args:
            audio: the sound, at the synthesiser's rate and of its length.
            start: the network's values by parameter, in its unit; None: starts are drawn anywhere.

        Raises:
            VIMHError: if the sound has another length, is silent or not finite, or a value is
                missing.
        """
        began = time.perf_counter()
        target = np.asarray(audio, np.float64)
        self._check(target)
        space = Space(self.synthesizer, start)
        fitter = Fitter(self.synthesizer, space)
        search = _Search(fitter, target, self._spread(space), self.max_renders, self.seed)
        found, compared = search.by_waveform(), "waveform"
        if found.residual > CONVERGED and space.start is not None:
            spectral = search.by_spectra()
            if spectral.residual <= CONVERGED:
                found, compared = spectral, "spectra"
        best = space.values(found.point, found.classes, found.gain)
        converged = found.residual <= CONVERGED
        own = dict(start) if start is not None else best
        return Refined(
            values=best if converged else {name: own[name] for name in best},
            start=dict(start or {}),
            best=best,
            residual=found.residual,
            residual_db=20.0 * float(np.log10(max(found.residual, 1e-300))),
            renders=fitter.renders,
            seconds=time.perf_counter() - began,
            converged=converged,
            compared=compared,
        )

    def _spread(self, space: Space) -> Float64[np.ndarray, "P"]:
        return np.array([self.spread.get(p.name, SPREAD) for p in space.searched])

    def _check(self, target: Float64[np.ndarray, "T"]) -> None:
        if len(target) != self.synthesizer.num_samples:
            raise VIMHError(
                f"refining compares sounds of {self.synthesizer.num_samples} samples, found "
                f"{len(target)}: cut or pad the sound to the length of the data set's"
            )
        if not np.isfinite(target).all() or not target.any():
            raise VIMHError("refining needs a sound that is finite and not silent")


class _Search:
    """The search for one sound."""

    def __init__(
        self,
        fitter: Fitter,
        target: Float64[np.ndarray, "T"],
        spread: Float64[np.ndarray, "P"],
        max_renders: int,
        seed: int,
    ) -> None:
        self.fitter, self.target, self.spread = fitter, target, spread
        self.max_renders = max_renders
        self.random = np.random.default_rng(seed)
        self.space = fitter.space
        self.rate_hz = fitter.synthesizer.sample_rate_hz

    def by_waveform(self) -> Found:
        """Try one start after another until a sound comes out that is the target's."""
        stages = self._stages()
        best: Found | None = None
        for point, classes, scale in self._starts(stages[0]):
            found = self._climb(stages, point, classes, scale)
            if best is None or found.residual < best.residual:
                best = found
            if best.residual <= CONVERGED or self.fitter.renders >= self.max_renders:
                break
        assert best is not None
        return best

    def _stages(self) -> list[Waveform]:
        length, nyquist_hz = len(self.target), self.rate_hz / 2.0
        smoothing_hz, samples = _FIRST_HZ, _PERIODS * self.rate_hz / _FIRST_HZ
        sizes: list[tuple[float, float | None]] = []
        while smoothing_hz < _NYQUIST_SHARE * nyquist_hz:
            sizes.append((samples, smoothing_hz))
            smoothing_hz, samples = smoothing_hz * _WIDER, samples * _LONGER
        sizes += [(max(samples, _LATE[0] * length), _NYQUIST_SHARE * nyquist_hz)]
        sizes += [(max(samples, _LATE[1] * length), None)]
        stages = [Waveform(self.target, self.rate_hz, min(length, round(n)), hz) for n, hz in sizes]
        return [*stages, Waveform(self.target, self.rate_hz, length, is_faded=False)]

    def _starts(
        self, first: Comparison
    ) -> Iterator[tuple[Float64[np.ndarray, "P"], Classes, float]]:
        """Yield points to begin at, their classes, and how far the draws are widened."""
        start, choices = self.space.start, self.space.choices
        if start is not None:
            yield start, choices[0], 1.0
        number = 1
        while True:
            scale, count = _WIDENING**number, _RANKED[number % len(_RANKED)]
            yield *self._best_draw(first, scale, count), scale
            number += 1

    def _best_draw(
        self, first: Comparison, scale: float, count: int
    ) -> tuple[Float64[np.ndarray, "P"], Classes]:
        """Draw points, and return the one whose beginning is nearest."""
        shape = (count, len(self.spread))
        anywhere = self.random.random(shape)
        normal = self.random.standard_normal(shape)
        points = anywhere
        if self.space.start is not None:
            sigma = scale * self.spread
            points = np.where(sigma < 0.5, self.space.start + sigma * normal, anywhere)
        choices = self.space.choices
        classes = choices[0]
        if len(choices) > 1 and self.random.random() < 0.5:
            classes = choices[self.random.integers(len(choices))]
        if count == 1:
            return points[0], classes
        return points[int(self.fitter.residuals(first, points, classes).argmin())], classes

    def _climb(
        self,
        stages: list[Waveform],
        point: Float64[np.ndarray, "P"],
        classes: Classes,
        scale: float,
    ) -> Found:
        """Go through the stages until one is left too far away."""
        centre = point if self.space.start is None else self.space.start
        early = Prior(centre, _PRIOR / (scale * self.spread))
        free = Prior(centre, np.zeros(len(self.spread)))
        for rung, stage in enumerate(stages[:-1]):
            is_late = stage.below_hz is None
            most, tolerance = _FINE if is_late else _COARSE
            found = self.fitter.descend(
                stage, point, classes, free if is_late else early, most=most, tolerance=tolerance
            )
            point = found.point
            if found.residual > _GIVEN_UP[min(rung, len(_GIVEN_UP) - 1)]:
                return self._judged(found)
        judged = self._judged(found)
        if judged.residual <= _EXACT:
            return judged
        prior = Prior(centre, self._noise_share(found.residual) / self.spread)
        most, tolerance = _FINE
        return self._judged(
            self.fitter.descend(stages[-1], point, classes, prior, most=most, tolerance=tolerance)
        )

    def _noise_share(self, residual: float) -> float:
        """Return what a spread counts as where the residual is white noise."""
        return residual / float(np.sqrt(len(self.target)))

    def _judged(self, found: Found) -> Found:
        """Return the same point with the residual of the whole waveform, neither filtered."""
        sound = self.fitter.sounds(found.point[None], found.classes, len(self.target))
        gain = best_gains(sound, self.target, self.space.gains)
        difference = gain[:, None] * sound - self.target
        residual = float(np.linalg.norm(difference) / np.linalg.norm(self.target))
        return Found(found.point, found.classes, float(gain[0]), residual)

    def by_spectra(self) -> Found:
        """Go downhill from the start on the spectra."""
        start = self.space.start
        assert start is not None
        prior = Prior(start, _PRIOR / self.spread)
        comparison = Spectra(self.target, self.rate_hz)
        most, tolerance = _COARSE
        return self.fitter.descend(
            comparison, start, self.space.choices[0], prior, most=most, tolerance=tolerance
        )
