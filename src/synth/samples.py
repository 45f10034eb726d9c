"""The samples of a recipe by their number: parameters, sound, image. Sample i needs no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8

from src.synth.draws import derived
from src.synth.errors import LostSounds
from src.synth.lost import LostSamples
from src.synth.philox import permutation, uniforms, white_noise
from src.synth.recipe import NoiseSection, Recipe
from src.synth.rendering import Renderer, check_finite, refuse_sound
from src.synth.waves import fill_lanes
from src.vimh.parameters import Parameter, ParameterSpace


@dataclass(frozen=True)
class Samples:
    """Some samples of a data set: images, bytes and values in units (heads only), dB ranges."""

    images: UInt8[np.ndarray, "B C H W"]
    labels: UInt8[np.ndarray, "B P"]
    scale_factors: Float32[np.ndarray, "B 2"]
    values: Float64[np.ndarray, "B P"]

    @property
    def stored(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the records hold: images, bytes, dB ranges."""
        return self.images, self.labels, self.scale_factors


# Numbers in the transforms of the images that are made at a time: so many that the calls themselves
# do not count beside the work, so few that a thread needs some 30 MB.
_BLOCK_NUMBERS = 2**21
# And in the sounds of a batch, where a synthesiser wants many: 256 MB a thread.
_SOUND_NUMBERS = 2**26


def drawn(parameter: Parameter, u: Float64[np.ndarray, "B"]) -> Float64[np.ndarray, "B"]:
    """Return the values of uniform numbers in [0, 1): anywhere in the range, or a class each.

    Where the spacing is log they are log-uniform.
    """
    if parameter.is_categorical:
        return parameter.dequantise(np.floor(u * parameter.num_classes))
    return parameter.denormalise(u).clip(parameter.min, parameter.max)


class SampleMaker:
    """Makes the samples of a recipe, any of them, in any order, with the same bits.

    A data set's *positions* 0…N−1 are its records in order; `indices` takes them to sample
    numbers, which are what seeds, the grid and everything else go by.

    Any number of threads may use it: each renders by a synthesiser of its own.

    Attributes:
        recipe: what the samples are made from.
        synthesizer: what describes the parameters; it renders nothing here.
        image_maker: sound to image.
        num_samples: how many there are.
        block_size: how many images are worked on at a time.
        batch_size: how many sounds are, at least `block_size`.
        lost: the samples whose sounds an engine did not make, and what stands in their place.

    Raises:
        VIMHError: for parameters that sounds would not follow, and for a sound that is too short
            for the image.
    """

    def __init__(self, recipe: Recipe) -> None:
        recipe.check_generating()
        self.recipe = recipe
        self.synthesizer = recipe.synthesizer
        self._render = Renderer(recipe.build_synthesizer)
        self.image_maker = recipe.image_maker
        self.num_samples = recipe.num_samples
        self.block_size = max(1, _BLOCK_NUMBERS // self.image_maker.front_end.block_numbers)
        most = _SOUND_NUMBERS // self.synthesizer.num_samples
        self.batch_size = max(self.block_size, min(self.synthesizer.batch_size, most))
        self.lost = LostSamples(is_grid=recipe.avix)
        self._order = permutation(recipe.seed, self.num_samples) if recipe.shuffle else None

    def set_scale_range(self, low_db: float, high_db: float) -> None:
        """Scale every image from one range (`scale: dataset`)."""
        self.image_maker = replace(self.image_maker, scale_range_db=(low_db, high_db))

    def indices(self, positions: range) -> Integer[np.ndarray, "B"]:
        """Sample numbers of consecutive positions."""
        if self._order is None:
            return np.arange(positions.start, positions.stop, dtype=np.int64)
        return self._order[positions.start : positions.stop].astype(np.int64)

    def values(self, indices: Integer[np.ndarray, "B"]) -> dict[str, Float64[np.ndarray, "B"]]:
        """Return every parameter's value for each sample, in its unit."""
        synthesizer = self.synthesizer
        if synthesizer.draw_names:
            return derived(synthesizer, self._chosen(indices, synthesizer.draws))
        return self._chosen(indices, synthesizer.parameters)

    def _chosen(
        self, indices: Integer[np.ndarray, "B"], space: ParameterSpace
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        """Return numbers of a space for each sample: those drawn, or those of the grid."""
        choose = self._grid_values if self.recipe.avix else self._random_values
        values = choose(indices, list(space.heads.values()))
        fixed = {name: np.full(len(indices), p.min) for name, p in space.fixed.items()}
        return {name: fixed[name] if name in fixed else values[name] for name in space}

    def audio(self, indices: Integer[np.ndarray, "B"]) -> Float32[np.ndarray, "B T"]:
        """Return the whole sounds.

        Raises:
            VIMHError: for one that is not finite.
        """
        numbers, values = self._current(indices)
        audio = self._sounds(numbers, values, None)
        check_finite(self.synthesizer, audio, values)
        return audio

    def range_db(self, indices: Integer[np.ndarray, "B"]) -> tuple[float, float]:
        """Return the lowest and the highest dB in the samples' spectrograms.

        Raises:
            VIMHError: for a sound whose spectrogram is not finite.
        """
        front_end = self.image_maker.front_end
        numbers, values = self._current(indices)
        low_db, high_db = np.inf, -np.inf
        for place, audio in self._heard(numbers, values):
            with np.errstate(invalid="ignore", over="ignore"):
                db = front_end(audio)
            ends = np.stack([db.min(axis=(1, 2)), db.max(axis=(1, 2))], axis=1)
            self._check_levels(audio, ends, values, place)
            low_db, high_db = min(low_db, float(ends.min())), max(high_db, float(ends.max()))
            del audio, db
        return low_db, high_db

    def __call__(self, indices: Integer[np.ndarray, "B"]) -> Samples:
        """Images, labels, scale factors and values.

        Raises:
            VIMHError: for a sound whose image is not finite.
        """
        numbers, values = self._current(indices)
        heads = self.synthesizer.parameters.heads
        images = np.empty((len(indices), *self.image_maker.image_shape), np.uint8)
        scale_factors = np.empty((len(indices), 2), np.float32)
        for place, audio in self._heard(numbers, values):
            with np.errstate(invalid="ignore", over="ignore"):  # a sentence says it in a moment
                images[place], scale_factors[place] = self.image_maker(audio)
            self._check_levels(audio, scale_factors[place], values, place)
            del audio  # as in _heard
        return Samples(
            images,
            np.stack([p.quantise(values[name]) for name, p in heads.items()], axis=1),
            scale_factors,
            np.stack([values[name] for name in heads], axis=1),
        )

    def _current(
        self, indices: Integer[np.ndarray, "B"]
    ) -> tuple[Integer[np.ndarray, "B"], dict[str, Float64[np.ndarray, "B"]]]:
        """Return what is made of these samples: their numbers, or what stands in, and the values.

        Both are written over where a sound is lost.
        """
        numbers = self.lost.current(indices)
        return numbers, self.values(numbers)

    def _check_levels(
        self,
        audio: Float32[np.ndarray, "N T"],
        ends_db: Float32[np.ndarray, "N 2"],
        values: dict[str, Float64[np.ndarray, "B"]],
        place: slice,
    ) -> None:
        """Refuse a sound that is not finite: then the ends of its range are not, either.

        (They are few. Looking at all of the sound would take a tenth of the time.)
        """
        finite = np.isfinite(ends_db).all(axis=1)
        if not finite.all():
            some = {name: column[place] for name, column in values.items()}
            refuse_sound(self.synthesizer, audio, some, ~finite)

    def _heard(
        self, numbers: Integer[np.ndarray, "B"], values: dict[str, Float64[np.ndarray, "B"]]
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "N T"]]]:
        """Yield the part of the sounds that their images need, by blocks, each with its place."""
        wanted = self.image_maker.front_end.num_samples
        for start in range(0, len(numbers), self.batch_size):
            batch = slice(start, start + self.batch_size)
            some = {name: column[batch] for name, column in values.items()}
            audio = self._sounds(numbers[batch], some, wanted)
            for first in range(0, len(audio), self.block_size):
                block = audio[first : first + self.block_size]
                yield slice(start + first, start + first + len(block)), block
            del audio, block  # before the next are made: their memory is used again

    def _sounds(
        self,
        numbers: Integer[np.ndarray, "B"],
        values: dict[str, Float64[np.ndarray, "B"]],
        wanted: int | None,
    ) -> Float32[np.ndarray, "B T"]:
        """Return the sounds; in the place of those that are lost, others.

        Args:
            numbers: of the samples; what stands in for one is written over its own.
            values: theirs, in the same way.
            wanted: samples of each sound; None: all.

        Raises:
            VIMHError: as :meth:`LostSamples.replace`.
        """
        try:
            return self._audio(numbers, values, wanted)
        except LostSounds as lost:
            audio = np.array(lost.audio)
            rows = np.array(sorted(lost.reasons))
            others = self.lost.replace(numbers[rows], values, lost.reasons)
        drawn_again = self.values(others)
        audio[rows] = self._sounds(others, drawn_again, wanted)
        numbers[rows] = others
        for name, column in values.items():
            column[rows] = drawn_again[name]
        return audio

    def _random_values(
        self, indices: Integer[np.ndarray, "B"], heads: Sequence[Parameter]
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        u = uniforms(self.recipe.seed, indices, len(heads))
        filled = fill_lanes({p.name: u[:, i] for i, p in enumerate(heads)})  # of a log, an exp
        return {p.name: drawn(p, filled[p.name])[: len(indices)] for p in heads}

    def _grid_values(
        self, indices: Integer[np.ndarray, "B"], heads: Sequence[Parameter]
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        """Return every combination once, the last parameter fastest."""
        values, rest = {}, indices
        for parameter in reversed(heads):
            grid = parameter.grid()
            rest, place = np.divmod(rest, len(grid))
            values[parameter.name] = grid[place]
        return values

    def _audio(
        self,
        indices: Integer[np.ndarray, "B"],
        values: dict[str, Float64[np.ndarray, "B"]],
        wanted: int | None,
    ) -> Float32[np.ndarray, "B T"]:
        if self.recipe.noise is None:
            return self._render(values, wanted)
        # The noise is set by the peak of the whole sound, whatever part of it is wanted.
        audio = self._render(values)
        peaks = np.abs(audio).max(axis=1).astype(np.float64)
        # Not in place: the array may be one that the synthesiser keeps.
        noisy = np.empty_like(audio[:, :wanted])
        for row, (index, peak) in enumerate(zip(indices.tolist(), peaks, strict=True)):
            noise = self._noise(self.recipe.noise, index, peak, noisy.shape[1])
            np.add(audio[row, :wanted], noise, out=noisy[row])
        return noisy

    def _noise(
        self, section: NoiseSection, index: int, peak: float, num_samples: int
    ) -> Float32[np.ndarray, "T"]:
        """Gaussian white noise whose RMS is the drawn number of dB below `peak`."""
        u, noise = white_noise(self.recipe.seed, index, num_samples)
        below_peak_db = section.snr_min_db + u * (section.snr_max_db - section.snr_min_db)
        noise *= np.float32(peak * 10.0 ** (-below_peak_db / 20.0))
        return noise
