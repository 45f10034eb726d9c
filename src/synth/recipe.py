"""A recipe: everything that decides the bytes of a data set, checked before any work is done."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from annotated_types import Interval, Predicate, doc

from src.schema.arguments import section
from src.schema.bounds import FolderPath, Whole
from src.schema.plain import plain_values
from src.synth.draws import check_draws
from src.synth.engines.control import Control
from src.synth.errors import RecipeError, class_errors, parameter_errors, recipe_errors
from src.synth.images import ImageMaker
from src.synth.part import JOIN, Part, PartText
from src.synth.settings import (
    Decibels,
    MelSection,
    PreEmphasis,
    SampleRate,
    build_front_end,
    checked_stft,
    with_preset,
)
from src.synth.synthesizers import Synthesizer, build_synthesizer, synthesizer_class
from src.utils.trust import PROGRAM_KEYS
from src.vimh.errors import VIMHError
from src.vimh.fields import LEAST_SOUND, MOST_SOUND
from src.vimh.names import DatasetName
from src.vimh.value_files import check_precision
from src.vimh.writer import OutputFormat, recipe_hash

Scale = Literal["sample", "dataset"]
MAX_SIDE = 65_535  # a record has two bytes for each
MIN_SAMPLES = 2  # one to train on, one to test on
MAX_SAMPLES = 2**32 - 1  # what a permutation in 4 bytes a sample takes
MAX_IMAGE_BYTES = 2**27
MAX_SOUND_SAMPLES = 2**24  # a recipe from elsewhere does not decide how much memory is taken
Side = Annotated[Whole, Interval(ge=1, le=MAX_SIDE)]
SetName = Annotated[
    str,
    Predicate(re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch),
    doc("a text of 1 to 64 letters, digits, _ and -"),
]


@dataclass(frozen=True)
class ImageSection:
    """Size of the image before channels are derived."""

    height: Side
    width: Side
    channels: Side = 1


@dataclass(frozen=True)
class DatasetSection:
    """Name in the data set's name (None: the synthesiser's type) and number of random samples."""

    name: SetName | None = None
    size: Annotated[Whole, Interval(ge=MIN_SAMPLES, le=MAX_SAMPLES)] | None = None


@dataclass(frozen=True)
class GenerateSection:
    """Where and how a data set is written; only `scale` changes its samples.

    `bytes_only` leaves out the exact values beside the records.
    """

    output_dir: FolderPath = "data-vimh"
    chunk_size: Annotated[Whole, Interval(ge=1, le=1_000_000)] = 4096
    scale: Scale = "sample"
    part: PartText | Literal["join"] | None = None
    wav: Annotated[Whole, Interval(ge=0, le=MAX_SAMPLES)] = 0
    threads: Annotated[Whole, Interval(ge=1, le=1024)] | None = None
    bytes_only: bool = False


@dataclass(frozen=True)
class NoiseSection:
    """White noise, uniformly `snr_min_db`…`snr_max_db` below the sound's peak level."""

    snr_min_db: Decibels
    snr_max_db: Decibels


class _Sound(TypedDict):
    """What a synthesiser gets beside its own config."""

    sample_rate_hz: int
    duration_s: float


@dataclass(frozen=True)
class Recipe:
    """What `configs/recipe/*.yaml` says, as checked values; see docs/avix_dataset.md.

    Build it with :meth:`from_mapping`, which refuses unknown and missing keys, and puts what the
    key `front_end` names, times and `auto` into numbers.
    """

    sample_rate: SampleRate
    duration: Annotated[float, Interval(ge=LEAST_SOUND, le=MOST_SOUND)]
    image: ImageSection
    synth: dict[str, object]
    stft: dict[str, object]
    mel: MelSection = field(default_factory=MelSection)
    dataset: DatasetSection = DatasetSection()
    generate: GenerateSection = GenerateSection()
    noise: NoiseSection | None = None
    seed: Annotated[Whole, Interval(ge=0, le=2**63 - 1)] = 42
    avix: bool = False
    shuffle: bool = False
    temporal_envelope: bool = False
    spectral_envelope: bool = False
    normalize: bool = False
    output_format: OutputFormat = "binary"
    pre_emphasis_coefficient: PreEmphasis = 0.0
    overwrite: bool = False

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> "Recipe":
        """Check a plain or OmegaConf mapping.

        Raises:
            RecipeError: naming the key, what was found and what is expected.
        """
        with recipe_errors():
            recipe = section(cls, with_preset(plain_values(mapping)))
            stft = checked_stft(
                recipe.stft,
                sample_rate_hz=recipe.sample_rate,
                width=recipe.image.width,
                duration_s=recipe.duration,
            )
            recipe = replace(recipe, stft=stft)
        recipe._check()
        return recipe

    def _check(self) -> None:
        if self.duration * self.sample_rate > MAX_SOUND_SAMPLES:
            raise RecipeError(
                f"duration is {self.duration:g}; expected at most "
                f"{MAX_SOUND_SAMPLES / self.sample_rate:g} with a sample_rate of "
                f"{self.sample_rate}, or a sound has more than {MAX_SOUND_SAMPLES} samples"
            )
        if self.normalize and not (self.temporal_envelope or self.spectral_envelope):
            raise RecipeError(
                "normalize is True; expected false, or set temporal_envelope=true or "
                "spectral_envelope=true as well: it divides the envelopes out of the image, so at "
                "least one of them must be kept"
            )
        if self.noise is not None and self.noise.snr_min_db > self.noise.snr_max_db:
            raise RecipeError(
                f"noise.snr_min_db is {self.noise.snr_min_db:g}; expected at most "
                f"noise.snr_max_db, {self.noise.snr_max_db:g}"
            )
        if self.dataset.size is None and not self.avix:
            raise RecipeError(
                f"dataset.size is null; expected a whole number of at least {MIN_SAMPLES} "
                "(or set avix=true for the complete grid)"
            )

    def check_generating(self) -> None:
        """Refuse a recipe that is well-formed, but that no data set can be made from.

        Raises:
            RecipeError: naming the key, what was found and what is expected.
        """
        with class_errors("synth"):
            self.synthesizer.check_generating()
            check_draws(self.synthesizer)
        if self.avix and self.synthesizer.draw_names:
            raise RecipeError(
                f"avix is True; expected false: {self.synthesizer.synth_type} draws other "
                "quantities than it reports, so there is no grid of its parameters; say "
                "dataset.size"
            )
        samples = self.num_samples
        channels, height, width = self.image_maker.image_shape
        part = None if self.generate.part in (None, JOIN) else Part.parse(self.generate.part)
        for is_wrong, key, value, why in (
            (samples > MAX_SAMPLES, "avix", True, f"the grid has {samples} samples, too many"),
            (
                channels > MAX_SIDE or channels * height * width > MAX_IMAGE_BYTES,
                "image.channels",
                self.image.channels,
                f"an image of {height}x{width}x{channels} is too large: it has at most {MAX_SIDE} "
                f"channels, with the envelopes', and {MAX_IMAGE_BYTES} bytes",
            ),
            (
                self.generate.wav > samples,
                "generate.wav",
                self.generate.wav,
                f"expected at most as many sounds as the data set has {samples} samples",
            ),
            (
                part is not None and part.count > samples,
                "generate.part",
                self.generate.part,
                f"the data set has {samples} samples, so no more parts than that",
            ),
        ):
            if is_wrong:
                raise RecipeError(f"{key} is {value}; {why}")
        self._check_precision()
        try:
            self.image_maker.front_end.check_length(self.synthesizer.num_samples)
        except VIMHError as error:
            raise RecipeError(
                f"duration is {self.duration:g}, too short at a sample_rate of "
                f"{self.sample_rate}: {error}"
            ) from error

    def _check_precision(self) -> None:
        """Refuse parameters whose values neither float32 nor a byte holds as the recipe has it."""
        heads = self.synthesizer.parameters.heads
        if self.generate.bytes_only:
            for name, parameter in heads.items():
                with parameter_errors(name):
                    parameter.check_storable()
            return
        try:
            check_precision(heads)
        except VIMHError as error:
            raise RecipeError(f"synth.parameters: {error} (generate.bytes_only=true)") from error

    def completed(self) -> "Recipe":
        """Return the recipe with what the synthesiser's engine says; for the user's own alone.

        Raises:
            VIMHError: if the engine does not start, or lacks what the recipe names.
        """
        return replace(self, synth=self._class().completed(self.synth, **self._sound()))

    def audited(self) -> "Recipe":
        """Return the recipe with what comes of trying its sounds, before a data set is made.

        Raises:
            VIMHError: if a sound depends on more than its parameters.
        """
        return replace(self, synth={**self.synth, **self.synthesizer.audited()})

    def engine_controls(self) -> list[Control] | None:
        """Return all controls of the synthesiser's engine; None: its parameters are all it has."""
        return self._class().engine_controls(self.synth, **self._sound())

    def _class(self) -> type[Synthesizer]:
        return synthesizer_class(self.synth)

    def _sound(self) -> "_Sound":
        return {"sample_rate_hz": self.sample_rate, "duration_s": self.duration}

    def build_synthesizer(self) -> Synthesizer:
        """Build the synthesiser that `synth` describes: one to render with."""
        return build_synthesizer(self.synth, **self._sound())

    @cached_property
    def synthesizer(self) -> Synthesizer:
        """The synthesiser that describes the parameters; it renders nothing."""
        return self.build_synthesizer()

    @cached_property
    def image_maker(self) -> ImageMaker:
        """Audio to bytes; a data-set-wide range is not known yet."""
        return ImageMaker(
            front_end=build_front_end(
                self.stft,
                vars(self.mel),
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

    @property
    def num_samples(self) -> int:
        """Samples of the data set: the grid's, or `dataset.size`."""
        if not self.avix:
            assert self.dataset.size is not None
            return self.dataset.size
        return math.prod(len(p.grid()) for p in self.synthesizer.parameters.heads.values())

    @property
    def _set_name(self) -> str:
        """What the data set's name says of its sounds."""
        return self.dataset.name or self.synthesizer.set_name

    def dataset_name(self) -> str:
        """Return the data set's name (vimh.md, "Names")."""
        channels, height, width = self.image_maker.image_shape
        name = DatasetName(
            height=height,
            width=width,
            channels=channels,
            sample_rate=self.sample_rate,
            duration_s=self.duration,
            size=self.num_samples,
            synth=self._set_name,
            num_parameters=len(self.synthesizer.parameters.heads),
            avix=self.avix,
            temporal_envelope=self.temporal_envelope,
            spectral_envelope=self.spectral_envelope,
            normalize=self.normalize,
            dataset_scale=self.generate.scale == "dataset",
            shuffled=self.shuffle,
        )
        return str(name)

    def directory(self, root: str | Path) -> Path:
        """Return the data set's directory; `generate.output_dir` is taken from `root`."""
        return Path(root) / self.generate.output_dir / self.dataset_name()

    def identity(self) -> dict[str, object]:
        """Return what decides the samples: no paths, formats, chunk sizes or descriptions."""
        synthesizer = self.synthesizer
        stft, mel = self.image_maker.front_end.to_json()
        own = {"_target_", "parameters", "draws", *synthesizer.beside_identity}
        options = {k: v for k, v in self.synth.items() if k not in own}
        draws = [[name, p.min, p.max, p.spacing] for name, p in synthesizer.draws.items()]
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
            "name": self._set_name,
            "size": self.num_samples,
            "noise": None if self.noise is None else vars(self.noise),
            "synth_type": synthesizer.synth_type,
            "synth_options": options,
            "parameters": [
                [
                    *(name, p.min, p.max, p.step, p.kind, list(p.class_names)),
                    *([p.spacing] if p.is_log else []),  # recipes without one keep their digest
                ]
                for name, p in synthesizer.parameters.items()
            ],
            "stft": stft,
            "mel": mel or None,
            **({"draws": draws} if draws else {}),
        }

    def digest(self) -> str:
        """SHA-256 of :meth:`identity`: equal for recipes that make the same samples."""
        return recipe_hash(self.identity())

    def to_json(self) -> dict[str, object]:
        """Return the whole recipe as plain values, which :meth:`from_mapping` takes back.

        Of `generate` only `scale`, of a program's path only its name, and without `overwrite`: the
        same samples have the same JSON wherever and however they were made.
        """
        values = asdict(self)
        values["generate"] = {"scale": self.generate.scale}
        values["dataset"]["name"] = self._set_name
        programs = {k: Path(str(v)).name for k, v in self.synth.items() if v and k in PROGRAM_KEYS}
        values["synth"] |= programs
        del values["overwrite"]
        return values
