"""Generating a data set: samples in chunks, on every core, into a VIMH directory."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from src.schema.specs import TARGET
from src.synth.errors import RecipeError, recipe_errors
from src.synth.images import SCALE_RANGE_KEY
from src.synth.lost import LostReport, lost_report
from src.synth.parallel import Advance, in_order, progress_bar, reuse_freed_blocks
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker, Samples
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.records import DatasetWriter

_BLOCKS_PER_TASK = 2
_WAV_BATCH = 16
RECIPE_HASH_KEY = "recipe_hash"
Split = Literal["train", "test"]


@dataclass(frozen=True)
class GenerationReport:
    """The data set that was made, where, and how fast.

    Attributes:
        dataset_dir: the data set's directory.
        made: False: it was there already, from the same recipe, and was left alone.
        train_samples: records in `train`.
        test_samples: records in `test`.
        image_shape: (C, H, W).
        num_bytes: size of all its files.
        seconds: time that making it took.
        wav_files: the WAV files written, if any were asked for.
        note: what its values are, where that is not what the recipe asks for, or not all the same.
        lost: the samples whose sounds an engine did not make.
    """

    dataset_dir: Path
    made: bool
    train_samples: int
    test_samples: int
    image_shape: tuple[int, int, int]
    num_bytes: int
    seconds: float
    wav_files: tuple[Path, ...] = ()
    note: str = ""
    lost: LostReport = field(default_factory=LostReport)

    def __str__(self) -> str:
        channels, height, width = self.image_shape
        total = self.train_samples + self.test_samples
        what = (
            f"{total} samples ({self.train_samples} train, {self.test_samples} test) "
            f"of {height}x{width}x{channels}, {self.num_bytes / 1e6:.1f} MB"
        )
        if self.made:
            text = f"wrote {what}\n{speed(total, self.seconds)}\nto {self.dataset_dir}"
        else:
            text = f"left alone, it is there already from the same recipe: {what}\n"
            text += f"in {self.dataset_dir}"
        text += f"\n{self.note}" if self.note else ""
        text += f"\n{self.lost}" if self.lost.count else ""
        if self.wav_files:
            text += f"\nand {len(self.wav_files)} WAV files in {self.wav_files[0].parent}"
        return text


def speed(samples: int, seconds: float) -> str:
    """Return how long making so many samples took, and how many that is a second."""
    return f"in {seconds:.2f} s ({samples / seconds:,.0f} samples a second)"


def dataset_name(recipe: Mapping[str, object]) -> str:
    """Return the name of a recipe's data set.

    Raises:
        VIMHError: if the recipe makes no data set.
    """
    checked = Recipe.from_mapping(recipe).completed()
    checked.check_generating()
    return checked.dataset_name()


def whole(recipe: Mapping[str, object]) -> Recipe:
    """Return the checked and completed recipe of a data set that is made in one piece.

    Raises:
        RecipeError: if it makes no data set, or a part of one.
    """
    checked = Recipe.from_mapping(recipe)
    if checked.generate.part is not None:
        raise RecipeError(
            f"generate.part is {checked.generate.part!r}; expected null: only generate_vimh.py "
            "makes parts, and here the whole data set is needed"
        )
    checked = checked.completed()
    checked.check_generating()
    return checked


def generate_dataset(
    recipe: Mapping[str, object],
    *,
    root: str | Path = ".",
    progress: bool = True,
    overwrite: bool | None = None,
) -> GenerationReport:
    """Make a recipe's data set, unless it is there already; in parts: `src.synth.parts`.

    The bytes depend on nothing but the recipe: not on `generate.chunk_size`, not on
    `generate.threads`. Memory does not grow with the number of samples, but for 4 bytes a sample
    where they are shuffled.

    Args:
        recipe: the keys of docs/avix_dataset.md, plain or OmegaConf.
        root: what a relative `generate.output_dir` starts from.
        progress: whether to show a progress bar.
        overwrite: replace a data set of the same name from another recipe; None: the recipe's.

    Raises:
        VIMHError: for a recipe that makes no data set, and where another data set has the name.
    """
    checked = whole(recipe)
    directory = checked.directory(root)
    replacing = checked.overwrite if overwrite is None else overwrite
    maker = SampleMaker(checked)
    if (directory / METADATA_FILE).is_file() and not replacing:
        check_same_recipe(directory, checked)
        report = report_on(directory, checked, made=False, seconds=0.0)
    else:
        started = time.perf_counter()
        maker = SampleMaker(checked.audited())
        with progress_bar(progress) as advance:
            _make(maker, directory, replacing, advance)
        report = report_on(directory, checked, made=True, seconds=time.perf_counter() - started)
    return replace(report, wav_files=write_wavs(maker, directory, checked.generate.wav))


def train_samples(num_samples: int) -> int:
    """Records of the train file: the first 80 %, rounded down."""
    return num_samples * 4 // 5


def check_same_recipe(directory: Path, recipe: Recipe) -> None:
    """Refuse a data set that is there already from another recipe."""
    metadata = Metadata.load(directory)
    advice = "set overwrite=true to replace it, or another dataset.name or generate.output_dir"
    found, expected = metadata.raw.get(RECIPE_HASH_KEY), recipe.digest()
    if found is None:
        raise VIMHError(
            f"{directory} is there already, and {METADATA_FILE} does not say from which recipe; "
            + advice
        )
    # A hash of more than what decides the samples says nothing; what differs does.
    if found != expected:
        differences = recipe_differences(metadata.recipe or {}, recipe, directory)
        if differences:
            raise VIMHError(
                f"{directory} is there already, from another recipe ({differences}); {advice}"
            )
    has, wants = metadata.raw.get("output_format"), recipe.output_format
    if has not in (wants, "both"):
        raise VIMHError(
            f"{directory} is there already with output_format {has!r}, asked for {wants!r}; "
            "set overwrite=true to make it again"
        )


def recipe_differences(found: Mapping[str, object], recipe: Recipe, where: Path) -> str:
    """The keys in which two recipes differ, found (in `where`) and expected; empty: in none."""
    # A recipe in a file is not built, and so not imported, unless the user's own names the same.
    for key, own in (("synth", recipe.synth), ("stft", recipe.stft)):
        theirs = found.get(key)
        target = theirs.get(TARGET) if isinstance(theirs, Mapping) else None
        if target != own.get(TARGET):
            return f"{key}.{TARGET}: found {target}, expected {own.get(TARGET)}"
    with recipe_errors(f"{where}: recipe."):
        was = Recipe.from_mapping(found).identity()
    ours = recipe.identity()
    keys = [key for key in ours if was.get(key) != ours[key]]
    return "; ".join(f"{key}: found {was.get(key)}, expected {ours[key]}" for key in keys)


def _make(maker: SampleMaker, directory: Path, overwrite: bool, advance: Advance) -> None:
    recipe, total = maker.recipe, maker.num_samples
    reuse_freed_blocks()
    if recipe.generate.scale == "dataset":
        maker.set_scale_range(*measure_range(maker, advance))
    num_train = train_samples(total)
    advance("generating", 0, total)
    with DatasetWriter(
        directory,
        metadata_json(maker),
        output_format=recipe.output_format,
        overwrite=overwrite,
        values=not recipe.generate.bytes_only,
    ) as writer:
        for done, samples in chunks(maker, range(num_train), range(num_train, total)):
            split: Split = "train" if done <= num_train else "test"
            values = None if recipe.generate.bytes_only else samples.values
            writer.write(split, *samples.stored, values)
            advance("generating", done, total)
        writer.describe(maker.lost.report().to_json())


def measure_range(maker: SampleMaker, advance: Advance) -> tuple[float, float]:
    """Measure the lowest and the highest dB of the whole data set, in a pass of its own."""
    low_db, high_db = np.inf, -np.inf
    advance("measuring the range", 0, maker.num_samples)
    for span, (low, high) in in_order(
        lambda span: maker.range_db(maker.indices(span)),
        _spans(maker, range(maker.num_samples)),
        maker.recipe.generate.threads,
    ):
        low_db, high_db = min(low_db, low), max(high_db, high)
        advance("measuring the range", span.stop, maker.num_samples)
    return low_db, high_db


def _spans(maker: SampleMaker, *parts: range) -> Iterator[range]:
    """Return the positions in pieces, one for each task; none has positions of two parts."""
    wanted = max(maker.block_size * _BLOCKS_PER_TASK, maker.batch_size)
    size = min(maker.recipe.generate.chunk_size, wanted)
    return (part[first : first + size] for part in parts for first in range(0, len(part), size))


def chunks(maker: SampleMaker, *parts: range) -> Iterator[tuple[int, Samples]]:
    """The samples of these positions in chunks, each with its last position + 1.

    While one chunk is written, the threads are at work on the next, also of the next part.
    """
    for span, samples in in_order(
        lambda span: maker(maker.indices(span)),
        _spans(maker, *parts),
        maker.recipe.generate.threads,
    ):
        yield span.stop, samples


def metadata_json(maker: SampleMaker) -> dict[str, object]:
    """What the metadata of vimh.md says about sounds and recipe; the writer adds the rest."""
    recipe, synthesizer, image_maker = maker.recipe, maker.synthesizer, maker.image_maker
    spectrogram_config, mel_config = image_maker.front_end.to_json()
    channels, height, width = image_maker.image_shape
    heads, fixed = synthesizer.parameters.heads, synthesizer.parameters.fixed
    shared_range = image_maker.scale_range_db
    return {
        "dataset_name": recipe.dataset_name(),
        "height": height,
        "width": width,
        "channels": channels,
        "channel_labels": list(image_maker.channel_labels),
        "parameter_names": list(heads.names),
        "sample_rate": recipe.sample_rate,
        "duration": recipe.duration,
        "synth_type": synthesizer.synth_type,
        "parameter_mappings": heads.to_json(),
        "fixed_parameters": {
            name: {"value": parameter.min, **parameter.to_json()}
            for name, parameter in fixed.items()
        },
        "pre_emphasis_coefficient": recipe.pre_emphasis_coefficient,
        "spectrogram_config": spectrogram_config,
        "mel_config": {**vars(recipe.mel), **mel_config},
        "seed": recipe.seed,
        **({} if shared_range is None else {SCALE_RANGE_KEY: list(shared_range)}),
        "recipe": recipe.to_json(),
        RECIPE_HASH_KEY: recipe.digest(),
    }


def report_on(directory: Path, recipe: Recipe, *, made: bool, seconds: float) -> GenerationReport:
    """Report on a recipe's data set by its metadata, with the time that making it took."""
    metadata = Metadata.load(directory)
    assert metadata.train_samples is not None
    assert metadata.test_samples is not None
    return GenerationReport(
        dataset_dir=directory,
        made=made,
        train_samples=metadata.train_samples,
        test_samples=metadata.test_samples,
        image_shape=metadata.image_shape,
        num_bytes=sum(path.stat().st_size for path in directory.iterdir() if path.is_file()),
        seconds=seconds,
        note=_note(metadata, recipe.generate.bytes_only),
        lost=lost_report(metadata.raw, directory),
    )


def _note(metadata: Metadata, bytes_only: bool) -> str:
    """Return a sentence on values that are not as asked for, or not the same in all files."""
    exact = "values" in metadata.row_kinds
    if exact and bytes_only:
        return "it has exact values as well; overwrite=true makes it again with bytes alone"
    if not exact and not bytes_only:
        return "it has no exact values, only bytes; overwrite=true makes it again with both"
    if exact and metadata.raw.get("output_format") != "binary":
        return "the pickles hold each value to a byte; train_values and test_values hold it exactly"
    return ""


def write_wavs(maker: SampleMaker, directory: Path, count: int) -> tuple[Path, ...]:
    """Write the sounds of the first `count` records, named after them, in 32-bit float."""
    num_train = train_samples(maker.num_samples)
    paths: list[Path] = []
    for start in range(0, count, _WAV_BATCH):
        stop = min(start + _WAV_BATCH, count)
        sounds = maker.audio(maker.indices(range(start, stop)))
        for position, sound in zip(range(start, stop), sounds, strict=True):
            in_train = position < num_train
            record = f"train_{position:06d}" if in_train else f"test_{position - num_train:06d}"
            path = directory / "wav" / f"{record}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, sound, maker.recipe.sample_rate, subtype="FLOAT")
            paths.append(path)
    return tuple(paths)
