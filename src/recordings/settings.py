"""The settings of an import, one dataclass for the command line and for a config's `source`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval, Len, Predicate, doc

from src.recordings.pattern import Pattern
from src.schema.arguments import section
from src.schema.bounds import FolderPath, Real, Seed, Text, Whole
from src.synth.errors import recipe_errors
from src.synth.front_end import FrontEnd
from src.synth.recipe import SetName
from src.synth.settings import SampleRate, build_front_end, front_end_preset, with_preset
from src.utils.errors import ConfigError
from src.vimh.fields import LEAST_SOUND

DEFAULT_PRESET = "mel_64"
MAX_SECONDS = 600
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")

ImageSize = Annotated[
    str, Predicate(_SIZE.fullmatch), doc("height x width in pixels, such as 64x64")
]
Columns = Annotated[list[Text], Len(1, 255)]


@dataclass(frozen=True)
class ImageSection:
    """Rows and columns of an image."""

    height: Annotated[Whole, Interval(ge=1, le=4096)]
    width: Annotated[Whole, Interval(ge=1, le=4096)]


@dataclass(frozen=True)
class ParameterOverride:
    """What the user says of a column; what is left out follows from its values."""

    min: Real | None = None
    max: Real | None = None
    step: Annotated[Real, Interval(gt=0)] | None = None
    step_kind: Literal["tolerance", "jnd"] = "tolerance"
    unit: str = ""
    spacing: Literal["linear", "log"] = "linear"
    kind: Literal["continuous", "categorical"] | None = None
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """What is imported, and how; docs/own_sounds.md explains every key.

    Attributes:
        folder: of the sounds or images; its subfolders are looked into.
        labels: a table: CSV, TSV or JSON lines.
        pattern: of the files' names, in place of a table.
        columns: those that are parameters; None: all but `file`, `split` and the groups.
        group_by: the column that says what belongs together; None: `group`, where there is one.
        parameters: what the user says of parameters, by name.
        front_end: sounds to images: a preset of configs/front_end.
        image: keys over the preset's: `height`, `width`.
        stft: the same: `n_window`, `hop_length`, `floor_db_rel`, ...
        mel: the same: `freq_min`, `freq_max_ratio`.
        sample_rate: of the sounds in Hz, to which they are resampled; that of .npy files too.
        duration: in s; shorter sounds are padded, longer ones cut. None: the median length, at
            most 4.
        start: "onset": 10 ms before the first sample within 40 dB of the peak; "file": the first.
        channels: "mix", "left", "right", or "stereo", an image channel each.
        array_key: of .npz files, the sound; None: the only array.
        rate_key: of .npz files, the sample rate; None: `sample_rate`.
        image_size: to which images are resized; None: they have to agree.
        color: of images, "grey" or "rgb"; None: they have to agree.
        name: of the data set; None: that of the folder, and of the preset.
        output_dir: the folder that the data set's directory is made in.
        skip_broken: leave out what cannot be used, and list it in the data set.
        bytes_only: write no exact values: version 2.1.
        seed: of the split into 90 % train and 10 % test, where no column says it.
        threads: how many work; None: one for each core. Changes no byte.
        overwrite: replace a data set of the same name that was made of something else.
    """

    folder: FolderPath | None = None
    labels: FolderPath | None = None
    pattern: Text | None = None
    columns: Columns | None = None
    group_by: Text | None = None
    parameters: dict[str, dict[str, object]] = field(default_factory=dict)
    front_end: Text = DEFAULT_PRESET
    image: dict[str, object] = field(default_factory=dict)
    stft: dict[str, object] = field(default_factory=dict)
    mel: dict[str, object] = field(default_factory=dict)
    sample_rate: SampleRate = 16000
    duration: Annotated[Real, Interval(ge=LEAST_SOUND, le=MAX_SECONDS)] | None = None
    start: Literal["onset", "file"] = "onset"
    channels: Literal["mix", "left", "right", "stereo"] = "mix"
    array_key: Text | None = None
    rate_key: Text | None = None
    image_size: ImageSize | None = None
    color: Literal["grey", "rgb"] | None = None
    name: SetName | None = None
    output_dir: FolderPath = "data-vimh"
    skip_broken: bool = False
    bytes_only: bool = False
    seed: Seed = 42
    threads: Annotated[Whole, Interval(ge=1, le=1024)] | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.pattern is not None:
            if self.labels is not None:
                raise ConfigError(
                    "labels and pattern are both given; expected one: the labels are in a table, "
                    "or in the files' names"
                )
            Pattern(self.pattern)
        _ = self.overrides
        front_end_preset(self.front_end)

    @cached_property
    def overrides(self) -> dict[str, ParameterOverride]:
        """The checked :attr:`parameters`."""
        return {
            name: section(ParameterOverride, said, f"parameters.{name}")
            for name, said in self.parameters.items()
        }

    def override(self, name: str) -> ParameterOverride:
        """Return what the user says of a parameter."""
        return self.overrides.get(name, ParameterOverride())

    @property
    def source_folder(self) -> Path:
        """The folder of the sounds or images.

        Raises:
            ConfigError: there is none, or nothing says their labels.
        """
        if self.folder is None:
            raise ConfigError(
                "folder is null; expected the folder of the sounds or images, or data.data_dir=... "
                "with a data set that is imported already"
            )
        if self.labels is None and self.pattern is None:
            raise ConfigError(
                "labels and pattern are null; expected labels=TABLE, a CSV, TSV or JSON lines file "
                "with a column `file`, or a pattern of the files' names such as "
                "{instrument}_{pitch:d}_{velocity:d}.wav"
            )
        return Path(self.folder)

    @property
    def dataset_dir(self) -> Path:
        """Where the data set is made, by the settings alone."""
        if self.name is not None:
            return Path(self.output_dir) / f"vimh-{self.name}"
        own = re.sub(r"[^A-Za-z0-9_-]+", "_", self.source_folder.absolute().name).strip("_")
        preset = "" if self.front_end == DEFAULT_PRESET else f"_{self.front_end}"
        return Path(self.output_dir) / f"vimh-{own[:48] or 'recordings'}{preset}"

    @property
    def resize(self) -> tuple[int, int] | None:
        """Height and width of :attr:`image_size`."""
        found = _SIZE.fullmatch(self.image_size or "")
        return None if found is None else (int(found[1]), int(found[2]))

    def build_front_end(self, duration_s: float) -> FrontEnd:
        """Build what turns sounds of a length in s into images.

        Raises:
            RecipeError: for a key that is wrong, or settings that make no image.
        """
        own = {key: dict(getattr(self, key)) for key in ("image", "stft", "mel")}
        with recipe_errors():
            parts = with_preset({"front_end": self.front_end, **own})
            image = section(ImageSection, parts["image"], "image")
        stft, mel = parts["stft"], parts["mel"]
        assert isinstance(stft, Mapping)
        assert isinstance(mel, Mapping)
        return build_front_end(
            stft,
            mel,
            sample_rate_hz=self.sample_rate,
            height=image.height,
            width=image.width,
            duration_s=duration_s,
        )

    def identity(self) -> dict[str, object]:
        """Return what decides the samples, as plain values: no places, no names."""
        others = ("folder", "labels", "name", "output_dir", "threads", "overwrite")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
