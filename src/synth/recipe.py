"""A recipe: everything that decides the bytes of a data set, checked before any work is done."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from src.synth.images import ImageMaker
from src.synth.philox import check_seed
from src.synth.sections import RecipeError, plain, section
from src.synth.spectrogram import Spectrogram
from src.synth.synthesizers import Synthesizer, build_synthesizer
from src.vimh.names import dataset_name as vimh_dataset_name
from src.vimh.writer import OutputFormat, recipe_hash

Scale = Literal["sample", "dataset"]
MAX_SIDE = 65_535  # a record has two bytes for each
MIN_SAMPLES = 2  # one to train on, one to test on
JOIN = "join"  # generate.part: put the parts together


@dataclass(frozen=True)
class ImageSection:
    """Size of the image before channels are derived."""

    height: int
    width: int
    channels: int = 1


@dataclass(frozen=True)
class DatasetSection:
    """Name in the data set's name (None: the synthesiser's type) and number of random samples."""

    name: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Part:
    """One of the pieces that several processes make of a data set, `generate.part: 3/16`.

    Attributes:
        number: which, from 1.
        count: of how many.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The part that a text names.

        Raises:
            RecipeError: if it names none.

        Example:
            >>> Part.parse("3/16")
            Part(number=3, count=16)
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        part = cls(int(found[1]), int(found[2])) if found else None
        if part is None or not 1 <= part.number <= part.count:
            raise RecipeError(
                f"generate.part must be null, a part such as 3/16 (1/16 is the first, 16/16 the "
                f"last) or {JOIN}, found {text!r}"
            )
        return part

    def positions(self, num_samples: int) -> range:
        """Its share of the data set's positions 0…`num_samples` − 1.

        Example:
            >>> [Part(number, 3).positions(10) for number in (1, 2, 3)]
            [range(0, 3), range(3, 6), range(6, 10)]
        """
        start, stop = (n * num_samples // self.count for n in (self.number - 1, self.number))
        return range(start, stop)

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}"


@dataclass(frozen=True)
class GenerateSection:
    """Where and how: of these only `scale` changes what is written."""

    output_dir: str = "data-vimh"
    chunk_size: int = 4096
    scale: Scale = "sample"
    part: str | None = None
    wav: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class NoiseSection:
    """White noise, uniformly `snr_min_db`…`snr_max_db` below the sound's peak level."""

    snr_min_db: float
    snr_max_db: float


@dataclass(frozen=True)
class Recipe:
    """What `configs/recipe/*.yaml` says, as checked values; see docs/avix_dataset.md.

    Build it with :meth:`from_mapping`, which refuses unknown and missing keys.
    """

    sample_rate: int
    duration: float
    image: ImageSection
    synth: dict[str, Any]
    stft: dict[str, Any]
    mel: dict[str, Any] = field(default_factory=dict)
    dataset: DatasetSection = DatasetSection()
    generate: GenerateSection = GenerateSection()
    noise: NoiseSection | None = None
    seed: int = 42
    avix: bool = False
    shuffle: bool = False
    temporal_envelope: bool = False
    spectral_envelope: bool = False
    normalize: bool = False
    output_format: OutputFormat = "binary"
    pre_emphasis_coefficient: float = 0.0
    overwrite: bool = False

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Recipe":
        """Check a plain or OmegaConf mapping.

        Raises:
            VIMHError: naming the key, what was expected and what was found.
        """
        recipe = section(cls, plain(mapping), "")
        recipe._check()
        return recipe

    def _check(self) -> None:
        check_seed(self.seed)
        for key, value in (
            ("sample_rate", self.sample_rate),
            ("duration", self.duration),
            ("generate.chunk_size", self.generate.chunk_size),
            ("generate.threads", 1 if self.generate.threads is None else self.generate.threads),
        ):
            if value <= 0:
                raise RecipeError(f"{key} must be positive, found {value}")
        for side in fields(self.image):
            # Before anything is made for each of them.
            if not 1 <= (value := getattr(self.image, side.name)) <= MAX_SIDE:
                raise RecipeError(f"image.{side.name} must be 1 to {MAX_SIDE}, found {value}")
        if self.normalize and not (self.temporal_envelope or self.spectral_envelope):
            raise RecipeError(
                "normalize divides the envelopes out of the image, so at least one of them "
                "must be kept: set temporal_envelope=true or spectral_envelope=true as well"
            )
        if self.generate.part not in (None, JOIN):
            Part.parse(self.generate.part)
        if self.generate.wav < 0:
            raise RecipeError(f"generate.wav must not be negative, got {self.generate.wav}")
        if self.noise is not None and self.noise.snr_min_db > self.noise.snr_max_db:
            raise RecipeError(
                f"noise.snr_min_db {self.noise.snr_min_db:g} is above noise.snr_max_db "
                f"{self.noise.snr_max_db:g}"
            )
        size = self.dataset.size
        # The grid has a size of its own, but a senseless one is a mistake there too.
        if (size is None and not self.avix) or (size is not None and size < MIN_SAMPLES):
            raise RecipeError(
                f"dataset.size must be at least {MIN_SAMPLES}, found {size} "
                "(or set avix=true for the complete grid)"
            )
        if self.dataset.name == "":
            raise RecipeError("dataset.name must be null or a name, found ''")

    def build_synthesizer(self) -> Synthesizer:
        """The synthesiser that `synth` describes."""
        return build_synthesizer(
            self.synth, sample_rate_hz=self.sample_rate, duration_s=self.duration
        )

    def build_image_maker(self) -> ImageMaker:
        """Audio to bytes; a data-set-wide range is not known yet."""
        return ImageMaker(
            spectrogram=Spectrogram.from_config(
                self.stft,
                self.mel,
                sample_rate_hz=self.sample_rate,
                height=self.image.height,
                width=self.image.width,
                pre_emphasis_coefficient=self.pre_emphasis_coefficient,
            ),
            base_channels=self.image.channels,
            temporal_envelope=self.temporal_envelope,
            spectral_envelope=self.spectral_envelope,
            normalize=self.normalize,
        )

    def num_samples(self, synthesizer: Synthesizer) -> int:
        """Samples of the data set: the grid's, or `dataset.size`."""
        if not self.avix:
            assert self.dataset.size is not None
            return self.dataset.size
        count = 1
        for parameter in synthesizer.parameters.heads.values():
            count *= len(parameter.grid())
        return count

    def dataset_name(self) -> str:
        """The data set's name (vimh.md, "Names")."""
        synthesizer, image_maker = self.build_synthesizer(), self.build_image_maker()
        channels, height, width = image_maker.image_shape
        return vimh_dataset_name(
            height=height,
            width=width,
            channels=channels,
            sample_rate=self.sample_rate,
            duration_s=self.duration,
            size=self.num_samples(synthesizer),
            synth=self.dataset.name or synthesizer.synth_type,
            num_parameters=len(synthesizer.parameters.heads),
            avix=self.avix,
            temporal_envelope=self.temporal_envelope,
            spectral_envelope=self.spectral_envelope,
            normalize=self.normalize,
            dataset_scale=self.generate.scale == "dataset",
            shuffled=self.shuffle,
        )

    def identity(self) -> dict[str, Any]:
        """What decides the samples: no paths, formats, chunk sizes or descriptions."""
        synthesizer = self.build_synthesizer()
        spectrogram_config, mel_config = self.build_image_maker().spectrogram.to_json()
        options = {k: v for k, v in self.synth.items() if k not in ("_target_", "parameters")}
        return {
            "seed": self.seed,
            "avix": self.avix,
            "shuffle": self.shuffle,
            "temporal_envelope": self.temporal_envelope,
            "spectral_envelope": self.spectral_envelope,
            "normalize": self.normalize,
            "scale": self.generate.scale,
            "sample_rate": self.sample_rate,
            "duration": self.duration,
            "pre_emphasis_coefficient": self.pre_emphasis_coefficient,
            "image": vars(self.image),
            "name": self.dataset.name or synthesizer.synth_type,
            "size": self.num_samples(synthesizer),
            "noise": None if self.noise is None else vars(self.noise),
            "synth_type": synthesizer.synth_type,
            "synth_options": options,
            "parameters": [
                [name, p.min, p.max, p.step, p.kind, list(p.class_names)]
                for name, p in synthesizer.parameters.items()
            ],
            "stft": spectrogram_config,
            "mel": mel_config if spectrogram_config["type"] == "mel" else None,
        }

    def digest(self) -> str:
        """SHA-256 of :meth:`identity`: equal for recipes that make the same samples."""
        return recipe_hash(self.identity())

    def to_json(self) -> dict[str, Any]:
        """The whole recipe as plain values, which :meth:`from_mapping` takes back.

        Without `generate`'s `output_dir`, `chunk_size`, `part`, `threads` and `wav` and without
        `overwrite`: the same data set has the same JSON wherever and however it was made.
        """
        values = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        values["generate"] = {"scale": self.generate.scale}
        del values["overwrite"]
        return values
