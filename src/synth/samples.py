"""The samples of a recipe by their number: parameters, sound, image. Sample i needs no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8

from src.synth.philox import permutation, uniforms, white_noise
from src.synth.recipe import NoiseSection, Recipe
from src.vimh.parameters import Parameter


@dataclass(frozen=True)
class Samples:
    """Some samples of a data set: images, quantised labels (heads only) and scale factors."""

    images: UInt8[np.ndarray, "B C H W"]
    labels: UInt8[np.ndarray, "B P"]
    scale_factors: Float32[np.ndarray, "B 2"]

    def __len__(self) -> int:
        return len(self.labels)


# Numbers in the transforms of the images that are made at a time: so many that the calls themselves
# do not count beside the work, so few that a thread needs some 30 MB.
_BLOCK_NUMBERS = 2**21


class SampleMaker:
    """Makes the samples of a recipe, any of them, in any order, with the same bits.

    A data set's *positions* 0…N−1 are its records in order; `indices` takes them to sample
    numbers, which are what seeds, the grid and everything else go by.

    Attributes:
        recipe: what the samples are made from.
        synthesizer: parameters to sound.
        image_maker: sound to image.
        num_samples: how many there are.
        block_size: how many images are worked on at a time.
        batch_size: how many sounds are, at least `block_size`.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.synthesizer = recipe.build_synthesizer()
        self.image_maker = recipe.build_image_maker()
        self.image_maker.spectrogram.check_length(self.synthesizer.num_samples)
        self.num_samples = recipe.num_samples(self.synthesizer)
        spectrogram = self.image_maker.spectrogram
        self.block_size = max(1, _BLOCK_NUMBERS // (spectrogram.width * spectrogram.n_fft))
        self.batch_size = max(self.block_size, self.synthesizer.batch_size)
        self._order = permutation(recipe.seed, self.num_samples) if recipe.shuffle else None

    def set_scale_range(self, low_db: float, high_db: float) -> None:
        """Scale every image from one range (`scale: dataset`)."""
        self.image_maker = replace(self.image_maker, scale_range_db=(low_db, high_db))

    def indices(self, positions: range) -> Integer[np.ndarray, "B"]:
        """Sample numbers of consecutive positions."""
        if self._order is None:
            return np.arange(positions.start, positions.stop, dtype=np.int64)
        return self._order[positions.start : positions.stop].astype(np.int64)

    def empty(self, count: int) -> Samples:
        """Room for so many samples."""
        return Samples(
            np.empty((count, *self.image_maker.image_shape), np.uint8),
            np.empty((count, len(self.synthesizer.parameters.heads)), np.uint8),
            np.empty((count, 2), np.float32),
        )

    def values(self, indices: Integer[np.ndarray, "B"]) -> dict[str, Float64[np.ndarray, "B"]]:
        """Every parameter's value for each sample, in its unit."""
        parameters = self.synthesizer.parameters
        draw = self._grid_values if self.recipe.avix else self._random_values
        values = draw(indices, list(parameters.heads.values()))
        fixed = {name: np.full(len(indices), p.min) for name, p in parameters.fixed.items()}
        return {name: fixed[name] if name in fixed else values[name] for name in parameters}

    def audio(self, indices: Integer[np.ndarray, "B"]) -> Float32[np.ndarray, "B T"]:
        """The whole sounds."""
        return self._audio(indices, self.values(indices), None)

    def range_db(self, indices: Integer[np.ndarray, "B"]) -> tuple[float, float]:
        """The lowest and the highest dB in the samples' spectrograms."""
        spectrogram = self.image_maker.spectrogram
        low_db, high_db = np.inf, -np.inf
        for _, audio in self._heard(indices, self.values(indices)):
            db = spectrogram(audio)
            low_db, high_db = min(low_db, float(db.min())), max(high_db, float(db.max()))
            del audio, db
        return low_db, high_db

    def __call__(self, indices: Integer[np.ndarray, "B"]) -> Samples:
        """Images, labels and scale factors."""
        values = self.values(indices)
        samples = self.empty(len(indices))
        for column, (name, parameter) in enumerate(self.synthesizer.parameters.heads.items()):
            samples.labels[:, column] = parameter.quantise(values[name])
        for place, audio in self._heard(indices, values):
            samples.images[place], samples.scale_factors[place] = self.image_maker(audio)
            del audio  # as in _heard
        return samples

    def _heard(
        self, indices: Integer[np.ndarray, "B"], values: dict[str, Float64[np.ndarray, "B"]]
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "N T"]]]:
        """As much of the sounds as their images need, block by block with its place."""
        wanted = self.image_maker.spectrogram.num_samples
        for start in range(0, len(indices), self.batch_size):
            batch = slice(start, start + self.batch_size)
            some = {name: column[batch] for name, column in values.items()}
            audio = self._audio(indices[batch], some, wanted)
            for first in range(0, len(audio), self.block_size):
                block = audio[first : first + self.block_size]
                yield slice(start + first, start + first + len(block)), block
            del audio, block  # before the next are made: their memory is used again

    def _random_values(
        self, indices: Integer[np.ndarray, "B"], heads: Sequence[Parameter]
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        u = uniforms(self.recipe.seed, indices, len(heads))
        return {
            p.name: p.dequantise(np.floor(u[:, i] * p.num_classes))
            if p.is_categorical
            else p.denormalise(u[:, i])
            for i, p in enumerate(heads)
        }

    def _grid_values(
        self, indices: Integer[np.ndarray, "B"], heads: Sequence[Parameter]
    ) -> dict[str, Float64[np.ndarray, "B"]]:
        """Every combination once, the last parameter fastest."""
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
            return self.synthesizer.render(values, wanted)
        # The noise is set by the peak of the whole sound, whatever part of it is wanted.
        audio = self.synthesizer.render(values)
        peaks = np.abs(audio).max(axis=1).astype(np.float64)
        audio = audio[:, :wanted]
        for row, (index, peak) in enumerate(zip(indices.tolist(), peaks, strict=True)):
            audio[row] += self._noise(self.recipe.noise, index, peak, audio.shape[1])
        return audio

    def _noise(
        self, section: NoiseSection, index: int, peak: float, num_samples: int
    ) -> Float32[np.ndarray, "T"]:
        """Gaussian white noise whose RMS is the drawn number of dB below `peak`."""
        u, noise = white_noise(self.recipe.seed, index, num_samples)
        below_peak_db = section.snr_min_db + u * (section.snr_max_db - section.snr_min_db)
        noise *= np.float32(peak * 10.0 ** (-below_peak_db / 20.0))
        return noise
