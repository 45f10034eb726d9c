"""A synthesiser fitted to a sound: from a network's values to those that give the sound again."""

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from src.refining.comparisons import Comparison, Loud, Spectra, Waveform
from src.refining.fitting import Fitter, Found, Prior
from src.refining.space import Classes, Space
from src.synth.synthesizers import Synthesizer
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

Method = Literal["auto", "least_squares", "cma"]

CONVERGED = 0.25  # the largest residual of a waveform that counts as found
CONVERGED_SPECTRA = 0.125  # and of spectra, which are nearer to one another
SPREAD = 0.05  # of a network whose errors nobody measured, in normalised values
RENDERS = 20_000

# The stages: low-passes from a first frequency to an eighth of Nyquist, of a sound as long as so
# many periods of the first, each wider and longer than the one before. Starts take turns.
_LADDERS = ((100.0, 3.0), (200.0, 3.0), (60.0, 3.0), (100.0, 6.0))
_NYQUIST_SHARE = 0.125
_WIDER, _LONGER = 1.6, 1.15
_LATE = (0.15, 0.5)  # shares of the sound, the first still low-passed
_GIVEN_UP = (0.5, 0.5, 0.35)  # the residuals at which the first stages, and all others, end a start
_PRIOR = 0.02  # a distance of one spread counts as this share of the sound in the early stages
_COARSE, _FINE = (14, 1e-4), (20, 1e-10)  # most steps and tolerance
_RANKED = (1, 4, 16, 64)  # draws of which the best is a start
_WIDENING = 1.08  # of the draws, from one start to the next
_SILENCE = 1e-8  # of the sound's energy: a stage that hears no more is left out
_ANYWHERE = 0.3  # the spread of a search from nowhere
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
        method: "least_squares", on the waveform, and where that finds nothing on the spectra;
            "cma", on the spectra by an evolution strategy without derivatives (package `cma`); or
            "auto": cma where two sounds of the same values differ, else least squares.
        max_renders: after so many sounds no new start is tried.

    Raises:
        ConfigError: if the package cma is needed and not installed.
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
        if method == "auto":
            self.method = "cma" if synthesizer.varies else "least_squares"
        if self.method == "cma" and importlib.util.find_spec("cma") is None:
            because = "" if method == "cma" else f": the sounds of {synthesizer.synth_type} vary"
            raise ConfigError(
                f"refining without derivatives needs the package cma{because}; pip install -e "
                "'.[refine]'"
            )
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
        if not space.searched:
            found, compared = search.by_classes(), "waveform"
        elif self.method == "cma":
            found, compared = search.by_spectra("cma"), "spectra"
        else:
            found, compared = search.by_waveform(), "waveform"
            if found.residual > CONVERGED and start is not None:
                spectral = search.by_spectra("least_squares")
                if spectral.residual <= CONVERGED_SPECTRA:
                    found, compared = spectral, "spectra"
        bound = CONVERGED if compared == "waveform" else CONVERGED_SPECTRA
        best = space.values(found.point, found.classes, found.gain)
        converged = found.residual <= bound
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
        self.loud = Loud(target)

    def by_waveform(self) -> Found:
        """Try one start after another until a sound comes out that is the target's."""
        ladders = self._ladders()
        best, highest = None, (-1, 0.0)
        for number in count():
            stages = ladders[number % len(ladders)]
            found, left = self._climb(stages, *self._start(number, stages[0]))
            if left == 0:
                return found
            if (-left, -found.residual) > highest or best is None:
                best, highest = found, (-left, -found.residual)
            if self.fitter.renders >= self.max_renders:
                return self.fitter.found(self.loud, best.point, best.classes)
        raise AssertionError("count() has no end")

    def _ladders(self) -> list[list[Waveform]]:
        """Return the stages that starts go through, in several ways; the last ones are the same."""
        length, widest_hz = len(self.target), _NYQUIST_SHARE * self.rate_hz / 2.0
        heard = np.square(self.target).cumsum()
        least = 2.0 * np.searchsorted(heard, _SILENCE * heard[-1])
        late_samples = [max(share * length, least) for share in _LATE]
        late = [
            self._stage(late_samples[0], widest_hz),
            self._stage(late_samples[1], None),
            Waveform(self.target, self.rate_hz, length, is_faded=False),
        ]
        ladders = []
        for smoothing_hz, periods in _LADDERS:
            samples = periods * self.rate_hz / smoothing_hz
            early = []
            while smoothing_hz < widest_hz and samples < late_samples[0]:
                if samples > least:
                    early.append(self._stage(samples, smoothing_hz))
                smoothing_hz, samples = smoothing_hz * _WIDER, samples * _LONGER
            ladders.append([*early, *late])
        return ladders

    def _stage(self, samples: float, smoothing_hz: float | None) -> Waveform:
        num_samples = min(len(self.target), round(samples))
        return Waveform(self.target, self.rate_hz, num_samples, smoothing_hz)

    def _start(
        self, number: int, first: Comparison
    ) -> tuple[Float64[np.ndarray, "P"], Classes, float]:
        """Return a point to begin at, its classes, and how far the draws are widened."""
        start = self.space.start
        if start is not None and number < len(_LADDERS):
            return start, self.space.choices[0], 1.0
        scale, draws = _WIDENING**number, _RANKED[number // len(_LADDERS) % len(_RANKED)]
        return *self._best_draw(first, scale, draws), scale

    def _best_draw(
        self, first: Comparison, scale: float, draws: int
    ) -> tuple[Float64[np.ndarray, "P"], Classes]:
        """Draw points, and return the one whose beginning is nearest."""
        shape = (draws, len(self.spread))
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
        if draws == 1:
            return points[0], classes
        return points[int(self.fitter.residuals(first, points, classes).argmin())], classes

    def _climb(
        self,
        stages: list[Waveform],
        point: Float64[np.ndarray, "P"],
        classes: Classes,
        scale: float,
    ) -> tuple[Found, int]:
        """Go through the stages until one is left too far away, with so many before the end."""
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
            if is_late:
                found = self.fitter.found(self.loud, point, classes)
            if found.residual > _GIVEN_UP[min(rung, len(_GIVEN_UP) - 1)]:
                return found, len(stages) - rung
        if found.residual > _EXACT:
            # What a spread counts as where the residual is white noise.
            share = found.residual / np.sqrt(len(self.target))
            prior = Prior(centre, share / self.spread)
            most, tolerance = _FINE
            last = self.fitter.descend(
                stages[-1], point, classes, prior, most=most, tolerance=tolerance
            )
            last = self.fitter.found(self.loud, last.point, classes)
            if last.residual <= 1.05 * found.residual:  # the prior may cost a little
                found = last
        return found, int(found.residual > CONVERGED)

    def by_classes(self) -> Found:
        """Return the nearest of all combinations of classes, where nothing else varies."""
        point = np.empty(0)
        tried = [self.fitter.found(self.loud, point, own) for own in self.space.choices]
        return min(tried, key=lambda own: own.residual)

    def by_spectra(self, method: Method) -> Found:
        """Search on the spectra, from the start, or from the middle of all ranges.

        Of the combinations of classes that one is taken whose sound is nearest at the start.
        """
        comparison = Spectra(self.target, self.rate_hz)
        begin, spread, weight = self.space.start, self.spread, _PRIOR / self.spread
        if begin is None:
            spread = np.full(len(spread), _ANYWHERE)
            begin, weight = np.full(len(spread), 0.5), np.zeros(len(spread))
        tried = [self.fitter.found(comparison, begin, own) for own in self.space.choices]
        first = min(tried, key=lambda own: own.residual)
        prior, most = Prior(begin, weight), max(0, self.max_renders - self.fitter.renders)
        if method == "cma":
            found = self.fitter.evolve(
                *(comparison, begin, first.classes, prior),
                spread=spread, max_renders=most, random=self.random,
            )  # fmt: skip
        else:
            most, tolerance = _COARSE
            found = self.fitter.descend(
                comparison, begin, first.classes, prior, most=most, tolerance=tolerance
            )
        return min(first, found, key=lambda own: own.residual)
