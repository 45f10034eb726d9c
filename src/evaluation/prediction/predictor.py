"""A loaded model and what it needs around it: sounds or stored images in, parameter values out."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from src.evaluation.prediction.doubt import Doubt, Doubting
from src.evaluation.prediction.rendition import Rendition, rendition
from src.evaluation.prediction.sounds import SOUNDS, levels_of, sound_files, windows
from src.evaluation.scoring.refiners import make_refiner, refined_values
from src.models.intervals import CONFIDENCE, outputs_and_features
from src.models.multihead_module import MultiheadLitModule
from src.recordings.images import SUFFIXES as PICTURES
from src.recordings.images import read_image
from src.recordings.sounds import STARTS, Listening, read_sound
from src.refining.refiner import Refined, Refiner
from src.synth.images import ImageMaker, level_range
from src.synth.levels import Levels, floor_shares
from src.synth.resynthesis import synthesizer_of
from src.synth.synthesizers import Synthesizer
from src.utils.errors import ConfigError
from src.utils.pylogger import RankedLogger
from src.vimh.errors import VIMHError
from src.vimh.layout import NO_SCALE_FACTORS
from src.vimh.metadata import Metadata
from src.vimh.parameters import Parameter
from src.vimh.records import OpenedDataset

log = RankedLogger(__name__, rank_zero_only=True)

LEVEL_MARGIN_DB = 1.0  # beyond the levels that were heard before a sound is said to lie outside
MOST_AT_FLOOR = 0.5  # of an image, before it is said that the floor hides it
WINDOWS = ("first", "all")

Shares = dict[str, float] | list[float]


def shares_of(parameter: Parameter, probabilities: list[float]) -> Shares:
    """Return the classes' probabilities by name, or those of steps in their order.

    Example:
        >>> wave = Parameter("wave", 0, 1, kind="categorical", class_names=("saw", "square"))
        >>> shares_of(wave, [0.75, 0.25])
        {'saw': 0.75, 'square': 0.25}
    """
    if not parameter.is_categorical:
        return probabilities
    found = dict.fromkeys(parameter.class_names, 0.0)
    for name, share in zip(parameter.class_names, probabilities, strict=True):
        found[name] += share  # anybody's data set may have two classes of one name
    return found


class Read(NamedTuple):
    """What an image says: values in their units and probabilities, by parameter."""

    values: dict[str, float]
    probabilities: dict[str, Shares]
    doubt: Doubt | None  # None: the model is not calibrated


@dataclass(frozen=True)
class Prediction:
    """The values that a model predicts from one image."""

    source: str  # the file, or the record of a data set
    image: UInt8[np.ndarray, "C H W"]  # the bytes the network saw
    values: dict[str, float]  # by parameter, in its unit
    start_s: float | None = None  # where in the file the window begins, s; None for a record
    true: dict[str, float] | None = None  # the values of a record's labels; None for a file
    notes: tuple[str, ...] = ()  # how the sound was changed before, a sentence each
    # The window; None for a record
    audio: Float32[np.ndarray, "*S T"] | None = field(default=None, repr=False)
    # By parameter that is learnt as classes, of each: by the class's name, or of steps in their
    # order
    probabilities: Mapping[str, Shares] = field(default_factory=dict)
    # Of the bytes 0 and 255; None where they are not known
    level_range_db: tuple[float, float] | None = None
    resynthesis: Rendition | None = field(default=None, repr=False)  # of `values`
    refined: Refined | None = None  # None: not refined
    # Of the refined values, where they converged
    refined_sound: Rendition | None = field(default=None, repr=False)
    doubt: Doubt | None = None  # intervals and the like; None: the model is not calibrated

    def to_json(self) -> dict[str, object]:
        """One line of `predictions.jsonl`."""
        line: dict[str, object] = {"input": self.source}
        if self.start_s is not None:
            line["start_s"] = self.start_s
        line["values"] = self.values
        line |= {} if self.doubt is None else self.doubt.to_json()
        if self.probabilities:
            line["probabilities"] = self.probabilities
        if self.true is not None:
            line["true"] = self.true
        if self.resynthesis is not None and self.resynthesis.distances:
            line["distances"] = self.resynthesis.distances
        if self.refined is not None:
            refined = asdict(self.refined)
            if self.refined_sound is not None:
                refined["distances"] = self.refined_sound.distances
            line["refined"] = refined
        return {**line, "notes": list(self.notes)} if self.notes else line


class Predictor:
    """A loaded model and what it needs around it.

    Args:
        model: from :func:`src.checkpoint.load_model`; used on the CPU.
        metadata: of the data set that it was trained on, as the checkpoint carries it.
        batch_size: images in a forward pass. 1: a sound gets the same bits alone and in company.
        start: "onset": windows begin where a sound does; "file": the first one begins with the
            file's first sample, and the others follow; None: as the recordings of the data set
            were read, and "onset" where its sounds were synthesised.
        window: "first": of a sound longer than those of the data set its first window alone; "all":
            window after window; None: "first" where a sound of the data set has one onset, as
            synthesised ones have and recordings that were read from their onset on.
        confidence: of the intervals, where the model is calibrated.
        renders: whether sounds will be asked for; False: its engine or program may be missing.

    Raises:
        ConfigError: if an argument is not one of these.
    """

    def __init__(
        self,
        model: MultiheadLitModule,
        metadata: Metadata,
        batch_size: int = 1,
        start: str | None = None,
        window: str | None = None,
        confidence: float = CONFIDENCE,
        renders: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it has to be 1 or more.")
        if start not in (*STARTS, None):
            raise ConfigError(f"start is {start!r}; it has to be {' or '.join(STARTS)}.")
        if window not in (*WINDOWS, None):
            raise ConfigError(f"window is {window!r}; it has to be {' or '.join(WINDOWS)}.")
        self.model = model.cpu().eval()
        self.metadata = metadata
        known, self.doubting = self.model.calibration, None
        if known is not None:
            self.doubting = Doubting(self.model, known, confidence)
        self.batch_size, self.renders = batch_size, renders
        listening = Listening.of(metadata) or Listening(start="onset")
        self.listening = listening if start is None else replace(listening, start=start)
        self.window = window or ("first" if listening.start == "onset" else "all")

    @cached_property
    def image_maker(self) -> ImageMaker:
        """Audio to bytes, by the code and settings that made the training images."""
        return ImageMaker.from_metadata(self.metadata)

    @property
    def reads_pictures(self) -> bool:
        """Whether the images are of no sounds."""
        return self.metadata.sample_rate is None

    def files_in(self, folder: Path) -> list[Path]:
        """Return the files of a folder that the model reads, by name.

        Raises:
            VIMHError: if there are none.
        """
        return sound_files(folder, PICTURES if self.reads_pictures else SOUNDS)

    @cached_property
    def synthesizer(self) -> Synthesizer | None:
        """What renders predicted values; None where the data set was not synthesised."""
        return synthesizer_of(self.metadata)

    @cached_property
    def training_levels(self) -> Levels | None:
        """The levels of the training sounds, said or of some rendered; None: they are not known."""
        said = Levels.in_metadata(self.metadata.raw, f"data set {self.metadata.dataset_name}")
        try:
            if said is not None or self.synthesizer is None:
                return said
            return levels_of(self.synthesizer, self.image_maker)
        except VIMHError as error:
            if self.renders:
                raise
            log.warning("levels are not compared with those of the training sounds: %s", error)
            return None

    def predict_file(self, path: Path) -> list[Prediction]:
        """Predict a sound file, a prediction a window; or a picture, where the model reads those.

        Raises:
            VIMHError: if there is nothing in it to predict from.
        """
        if self.reads_pictures:
            return [self._predict_picture(path)]
        front_end = self.image_maker.front_end
        quietest = 10.0 ** (front_end.floor_db / 20.0)
        rate_hz = front_end.sample_rate_hz
        how = self.listening
        sound = read_sound(path, rate_hz, how, quietest)
        length = front_end.heard_samples(self.metadata.duration or 0.0)
        try:
            cut = windows(
                sound.audio, length, rate_hz, quietest, how.start, how.lead_s, self.window
            )
        except VIMHError as error:
            raise VIMHError(f"{path}: {error}") from error
        images, scale_factors = self.image_maker(cut.audio)
        levels = self._level_notes(cut.audio, scale_factors)
        notes = (*sound.notes, *cut.notes, *levels, *self._floor_notes(images, scale_factors))
        return [
            Prediction(
                str(path), images[k], row.values, sound.start_s + cut.start_s[k],
                notes=notes, audio=cut.audio[k], probabilities=row.probabilities,
                level_range_db=level_range(scale_factors[k]), doubt=row.doubt,
            )
            for k, row in enumerate(self.predict_images(images, scale_factors))
        ]  # fmt: skip

    def _predict_picture(self, path: Path) -> Prediction:
        """Predict a picture, resized where it has another size than the data set's."""
        channels, height, width = self.metadata.image_shape
        if channels not in (1, 3):
            raise VIMHError(f"{path}: a picture has 1 or 3 channels, the model reads {channels}")
        image = read_image(path, None, "grey" if channels == 1 else "rgb")
        notes: tuple[str, ...] = ()
        if image.shape[1:] != (height, width):
            notes = (f"resized from {image.shape[1]}x{image.shape[2]} to {height}x{width}",)
            image = read_image(path, (height, width), "grey" if channels == 1 else "rgb")
        scale_factors = np.array([NO_SCALE_FACTORS], dtype=np.float32)
        (read,) = self.predict_images(image[None], scale_factors)
        return Prediction(
            str(path), image, read.values, notes=notes, probabilities=read.probabilities,
            doubt=read.doubt,
        )  # fmt: skip

    def _level_notes(
        self, audio: Float32[np.ndarray, "N *S T"], scale_factors: Float32[np.ndarray, "N 2"]
    ) -> list[str]:
        """Return a note on windows that are louder or quieter than all training sounds."""
        if self.training_levels is None:
            return []
        low, high = self.training_levels.lowest_db, self.training_levels.highest_db
        # An image that is scaled by itself has its level as its upper end.
        levels = scale_factors[:, 1]
        if self.image_maker.scale_range_db is not None:
            levels = self.image_maker.front_end(audio).max(axis=(1, 2))
        outside = (levels < low - LEVEL_MARGIN_DB) | (levels > high + LEVEL_MARGIN_DB)
        if not outside.any():
            return []
        found = levels[outside]
        shown = f"{found.min():.1f} dB"
        if len(found) > 1:
            shown = f"{found.min():.1f} to {found.max():.1f} dB"
        what = "its level" if len(levels) == 1 else f"the level of {len(found)} windows"
        return [f"{what}, {shown}, is outside of the training range, {low:.1f} to {high:.1f} dB"]

    def _floor_notes(
        self, images: UInt8[np.ndarray, "N C H W"], scale_factors: Float32[np.ndarray, "N 2"]
    ) -> list[str]:
        """Return a note on windows most of whose image is the floor, more than training sounds'."""
        shares = floor_shares(images, 1 + self.image_maker.stereo)
        usual = self.training_levels.floor_share if self.training_levels else 0.0
        hidden = shares > max(MOST_AT_FLOOR, usual)
        if not hidden.any():
            return []
        what = f"{shares[hidden].max():.0%} of its image lie"
        if len(shares) > 1:
            what = f"in {hidden.sum()} of {len(shares)} windows, {what}"
        known = f"; of the training sounds' at most {usual:.0%}" if self.training_levels else ""
        floor_db = scale_factors[hidden, 0].max()
        return [f"{what} at the floor, {floor_db:.1f} dB{known}"]

    def predict_dataset(
        self, dataset: OpenedDataset, split: str, limit: int | None
    ) -> Iterator[Prediction]:
        """Predict the first records of a data set's train or test file, all without a limit.

        Raises:
            ConfigError: if its images are not what the model reads, or its scale factors not the
                dB that the model's auxiliary features need.
        """
        self._check_images(dataset.metadata)
        records = dataset.train if split == "train" else dataset.test
        count = len(records) if limit is None else min(limit, len(records))
        for start in range(0, count, 256):
            indices = np.arange(start, min(start + 256, count))
            images, _, scale_factors = records.gather(indices)
            features = self.model.required_preparation.auxiliary
            features.check_levels(scale_factors, str(records.path))
            true = records.values_at(indices)
            for k, row in enumerate(self.predict_images(images, scale_factors)):
                own = dict(zip(dataset.metadata.parameters, true[k].tolist(), strict=True))
                yield Prediction(
                    f"{split}[{indices[k]}]", images[k], row.values,
                    true=own, probabilities=row.probabilities,
                    level_range_db=level_range(scale_factors[k]), doubt=row.doubt,
                )  # fmt: skip

    def _check_images(self, found: Metadata) -> None:
        """Refuse a data set whose pixels mean something else."""
        for key in ("image_shape", "channel_labels", "sample_rate", "spectrogram_config"):
            ours, theirs = getattr(self.metadata, key), getattr(found, key)
            if ours != theirs:
                raise ConfigError(
                    f"The model reads images with {key} {ours}, but the data set "
                    f"{found.dataset_name} has {theirs}: name another data set."
                )

    def predict_images(
        self, images: UInt8[np.ndarray, "B C H W"], scale_factors: Float32[np.ndarray, "B 2"]
    ) -> list[Read]:
        """Predict the values of each stored image; scale factors are spec_min and spec_max, dB."""
        preparation, parameters = self.model.required_preparation, self.model.parameters_by_head
        rows: list[Read] = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                part = slice(start, start + self.batch_size)
                prepared, auxiliary = preparation(
                    torch.from_numpy(images[part]), torch.from_numpy(scale_factors[part])
                )
                outputs, features = outputs_and_features(self.model, prepared, auxiliary)
                doubts: list[Doubt | None] = [None] * len(prepared)
                if self.doubting is not None:
                    doubts = [*self.doubting(outputs, prepared, features, auxiliary)]
                columns = {name: own.tolist() for name, own in self.model.decode(outputs).items()}
                shares = {
                    name: [shares_of(parameters[name], row) for row in own.tolist()]
                    for name, own in self.model.probabilities(outputs).items()
                    if parameters[name].is_categorical or parameters[name].has_jnd
                }
                for k in range(len(prepared)):
                    values = {name: column[k] for name, column in columns.items()}
                    own_shares = {name: own[k] for name, own in shares.items()}
                    rows.append(Read(values, own_shares, doubts[k]))
        return rows

    def resynthesise(self, values: Mapping[str, float]) -> Float32[np.ndarray, "T"]:
        """Return the sound of predicted values, of the data set's length.

        Raises:
            VIMHError: if the data set was not synthesised.
        """
        return self.rendition(values).sound

    def rendition(
        self, values: Mapping[str, float], heard: Float32[np.ndarray, "T"] | None = None
    ) -> Rendition:
        """Return the sound of predicted values, with its distances to the one that was heard.

        Raises:
            VIMHError: if the data set was not synthesised.
        """
        if self.synthesizer is None:
            raise VIMHError(f"{self.metadata.dataset_name} was not synthesised: no resynthesis")
        return rendition(self.synthesizer, values, heard)

    def with_sounds(self, prediction: Prediction) -> Prediction:
        """Return a prediction with what its values sound like, and its refined ones."""
        sound = self.rendition(prediction.values, prediction.audio)
        if prediction.refined is None or not prediction.refined.converged:
            return replace(prediction, resynthesis=sound)
        refined = self.rendition(prediction.refined.values, prediction.audio)
        return replace(prediction, resynthesis=sound, refined_sound=refined)

    def make_refiner(self, refine: bool | str) -> Refiner:
        """Return what fits the model's synthesiser to sounds.

        Args:
            refine: true, or the name of a method.

        Raises:
            ConfigError: if the data set was not synthesised.
        """
        return make_refiner(self.synthesizer, self.metadata, self.model.calibration, refine)

    def refine(self, prediction: Prediction, refiner: Refiner) -> Prediction:
        """Return a prediction with its values refined on the sound; a note says why not.

        Raises:
            VIMHError: if there is no sound, as for a record of a data set.
        """
        if prediction.audio is None:
            raise VIMHError(
                f"{prediction.source} is an image without its sound, which refining needs: name "
                "sound files, or refine a split with python src/eval.py refine=true"
            )
        sound = prediction.audio[: refiner.synthesizer.num_samples]
        found = refined_values(refiner, sound, prediction.values)
        if found is None:
            why = "not refined: a predicted value is no number"
            return replace(prediction, notes=(*prediction.notes, why))
        return replace(prediction, refined=found)
