"""Generating in parts: several processes or array jobs each make one, and a last one joins them.

`generate.part=3/16` makes the third of sixteen parts of a recipe's data set: the records of
consecutive positions, in a directory of its own under `<data set>.parts`, which appears when it
is whole. `generate.part=join` puts all of them together. Every sample depends on nothing but the
recipe and its number, so the data set has the bytes of one that was made in one run.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from src.schema.arguments import section
from src.schema.bounds import Whole
from src.synth.generate import (
    GenerationReport,
    check_same_recipe,
    chunks,
    generate_dataset,
    measure_range,
    metadata_json,
    recipe_differences,
    report_on,
    speed,
    train_samples,
    write_wavs,
)
from src.synth.lost import lost_report
from src.synth.parallel import Advance, progress_bar, reuse_freed_blocks
from src.synth.part import JOIN, Part, PartText
from src.synth.recipe import Recipe
from src.synth.samples import SampleMaker
from src.vimh.atomic import AtomicDirectory
from src.vimh.errors import VIMHError
from src.vimh.layout import RecordLayout
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.plain import file_digest, read_json, shown
from src.vimh.records import DatasetWriter
from src.vimh.writer import HashedFile

PART_FILE = "part.json"
RECORDS_FILE = "records"
_NAMED = 10  # so many missing parts are named


@dataclass(frozen=True)
class _PartInfo:
    """The content of `part.json`, which describes the file of records beside it."""

    part: PartText  # such as "3/16"
    num_bytes: Whole
    sha256: str
    recipe_hash: str
    recipe: dict[str, object]
    low_db: float | None  # the range of the whole data set, for `scale: dataset`
    high_db: float | None
    bytes_only: bool = True  # no exact values; older parts do not say it
    lost_samples: dict[str, object] | None = None  # whose sounds an engine did not make


@dataclass(frozen=True)
class PartReport:
    """The content and the place of a part, and how long making it took."""

    part: Part
    directory: Path
    made: bool  # False: it was there already
    num_samples: int
    seconds: float

    def __str__(self) -> str:
        if not self.made:
            text = f"left alone, {self.part} is there already from the same recipe"
        else:
            text = f"wrote {self.part}: {self.num_samples} samples\n"
            text += speed(self.num_samples, self.seconds)
        advice = f"when all {self.part.count} are there: the same command, generate.part={JOIN}"
        return f"{text}\nin {self.directory}\n{advice}"


def generate(
    recipe: Mapping[str, object], *, root: str | Path = ".", progress: bool = True
) -> GenerationReport | PartReport:
    """Make a recipe's data set, or what its `generate.part` says of it.

    Args:
        recipe: the keys of docs/avix_dataset.md, plain or OmegaConf.
        root: what a relative `generate.output_dir` starts from.
        progress: whether to show a progress bar.

    Raises:
        VIMHError: for a recipe that makes no data set, where another data set has the name, and
            for parts that make no whole.
    """
    checked = Recipe.from_mapping(recipe)
    if checked.generate.part is None:
        return generate_dataset(recipe, root=root, progress=progress)
    part = checked.generate.part
    checked = checked.completed()
    directory = checked.directory(root)
    maker = SampleMaker(checked)
    if part == JOIN:
        return join_parts(maker, directory, progress)
    return make_part(maker, directory, Part.parse(part), progress)


def parts_directory(dataset_dir: Path) -> Path:
    """Return the directory that holds a data set's parts until they are joined."""
    return dataset_dir.with_name(f"{dataset_dir.name}.parts")


def make_part(
    maker: SampleMaker, dataset_dir: Path, part: Part, progress: bool = True
) -> GenerationReport | PartReport:
    """Make a part, unless it or the whole data set is there already.

    Raises:
        VIMHError: where another recipe's part or data set is in the way.
    """
    recipe = maker.recipe
    if (dataset_dir / METADATA_FILE).is_file() and not recipe.overwrite:
        check_same_recipe(dataset_dir, recipe)
        return report_on(dataset_dir, recipe, made=False, seconds=0.0)
    digits = len(str(part.count))
    directory = parts_directory(dataset_dir) / f"{part.number:0{digits}d}-of-{part.count}"
    positions = part.positions(maker.num_samples)
    made = recipe.overwrite or not (directory / PART_FILE).is_file()
    started = time.perf_counter()
    if made:
        with progress_bar(progress) as advance:
            _write_part(SampleMaker(recipe.audited()), directory, part, advance)
    else:
        _check_part(directory, _read_part(directory), recipe)
    return PartReport(part, directory, made, len(positions), time.perf_counter() - started)


def join_parts(maker: SampleMaker, dataset_dir: Path, progress: bool = True) -> GenerationReport:
    """Put all parts together, in constant memory; they are removed when the data set is there.

    Raises:
        VIMHError: where a part is missing, damaged, or from another recipe; nothing is changed.
    """
    recipe = maker.recipe
    made = recipe.overwrite or not (dataset_dir / METADATA_FILE).is_file()
    started = time.perf_counter()
    if made:
        found = _all_parts(maker, parts_directory(dataset_dir))
        reuse_freed_blocks()
        maker = SampleMaker(recipe.audited())
        with progress_bar(progress) as advance:
            _join(maker, dataset_dir, found, advance)
    else:
        check_same_recipe(dataset_dir, recipe)
    _remove_parts(parts_directory(dataset_dir), recipe)
    report = report_on(dataset_dir, recipe, made=made, seconds=time.perf_counter() - started)
    return replace(report, wav_files=write_wavs(maker, dataset_dir, recipe.generate.wav))


def _write_part(maker: SampleMaker, directory: Path, part: Part, advance: Advance) -> None:
    recipe, positions = maker.recipe, part.positions(maker.num_samples)
    reuse_freed_blocks()
    if recipe.generate.scale == "dataset":
        known = _known_range(directory.parent, recipe)
        maker.set_scale_range(*(known or measure_range(maker, advance)))
    layout, dtype, what = _part_layout(maker), _part_dtype(maker), f"generating {part}"
    advance(what, 0, len(positions))
    atomic = AtomicDirectory(directory, replace=recipe.overwrite)
    try:
        records = HashedFile(atomic.path / RECORDS_FILE)
        with contextlib.closing(records):
            for done, samples in chunks(maker, positions):
                rows = np.empty(len(samples.images), dtype)
                rows["record"] = layout.assemble(*samples.stored)
                if not recipe.generate.bytes_only:
                    rows["values"] = samples.values
                records.write(rows.view(np.uint8).data)
                advance(what, done - positions.start, len(positions))
            records.sync()
        low_db, high_db = maker.image_maker.scale_range_db or (None, None)
        lost = maker.lost.report()
        info = _PartInfo(
            part=f"{part.number}/{part.count}",
            num_bytes=len(positions) * dtype.itemsize,
            sha256=records.digest.hexdigest(),
            recipe_hash=recipe.digest(),
            recipe=recipe.to_json(),
            low_db=low_db,
            high_db=high_db,
            bytes_only=recipe.generate.bytes_only,
            lost_samples=asdict(lost) if lost.count else None,
        )
        written = HashedFile(atomic.path / PART_FILE)
        with contextlib.closing(written):
            written.write(json.dumps(vars(info), indent=2).encode() + b"\n")
            written.sync()
        atomic.commit()
    except BaseException:
        atomic.discard()
        with contextlib.suppress(OSError):  # other parts are there
            directory.parent.rmdir()
        raise


def _known_range(parts_dir: Path, recipe: Recipe) -> tuple[float, float] | None:
    """Return the range of the whole data set, where a part of the same recipe has measured it."""
    for directory in _directories(parts_dir):
        info = _read_part(directory)
        if info.recipe_hash == recipe.digest() and info.low_db is not None:
            assert info.high_db is not None
            return info.low_db, info.high_db
    return None


def _directories(parts_dir: Path) -> Iterator[Path]:
    return (path.parent for path in sorted(parts_dir.glob(f"*/{PART_FILE}")) if path.is_file())


def _all_parts(maker: SampleMaker, parts_dir: Path) -> list[tuple[Path, Part, _PartInfo]]:
    """Return all parts in order, checked but for their checksums, if they make a whole."""
    infos = [(directory, _read_part(directory)) for directory in _directories(parts_dir)]
    if not infos:
        raise VIMHError(
            f"{parts_dir}: there are no parts to join; make them with generate.part=1/N to N/N"
        )
    for directory, info in infos:
        _check_part(directory, info, maker.recipe)
    found = {Part.parse(info.part): (directory, info) for directory, info in infos}
    counts = sorted({part.count for part in found})
    if len(counts) > 1:
        raise VIMHError(
            f"{parts_dir} holds parts of {' and of '.join(map(str, counts))}; remove those that "
            "are not to be joined"
        )
    if counts[0] > maker.num_samples:
        raise VIMHError(
            f"{parts_dir} holds a part of {shown(counts[0])}, but the data set has only "
            f"{maker.num_samples} samples; remove {infos[0][0]}"
        )
    wanted = [Part(number, counts[0]) for number in range(1, counts[0] + 1)]
    if missing := [str(part.number) for part in wanted if part not in found]:
        named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        raise VIMHError(
            f"{parts_dir}: {len(missing)} of {counts[0]} parts are missing: {named}; make them "
            f"with generate.part={missing[0]}/{counts[0]} and so on"
        )
    if len({(info.low_db, info.high_db) for _, info in infos}) > 1:
        raise VIMHError(
            f"{parts_dir}: the parts were scaled over different ranges, so they were made on "
            "machines that do not calculate alike; make all of them on one kind of machine"
        )
    record_size = _part_dtype(maker).itemsize
    for part in wanted:
        directory, info = found[part]
        expected = len(part.positions(maker.num_samples)) * record_size
        if info.num_bytes != expected:
            raise VIMHError(
                f"{directory}: {part} has {expected} bytes of records, {PART_FILE} says "
                f"{info.num_bytes}; make it again with overwrite=true"
            )
    return [(found[part][0], part, found[part][1]) for part in wanted]


def _check_part(directory: Path, info: _PartInfo, recipe: Recipe) -> None:
    """Refuse a part of another recipe, and one that is not whole."""
    advice = f"make part {info.part} again with overwrite=true"
    if info.recipe_hash != recipe.digest():
        differences = recipe_differences(info.recipe, recipe, directory)
        raise VIMHError(f"{directory} is from another recipe ({differences}); {advice}")
    if info.bytes_only != recipe.generate.bytes_only:
        raise VIMHError(
            f"{directory} was made with generate.bytes_only={str(info.bytes_only).lower()}; "
            f"say so for all parts and to join them, or {advice}"
        )
    records = directory / RECORDS_FILE
    num_bytes = records.stat().st_size if records.is_file() else 0
    if num_bytes != info.num_bytes:
        raise VIMHError(f"{records}: expected {info.num_bytes} bytes, found {num_bytes}; {advice}")


def _join(
    maker: SampleMaker,
    dataset_dir: Path,
    parts: Sequence[tuple[Path, Part, _PartInfo]],
    advance: Advance,
) -> None:
    recipe, total = maker.recipe, maker.num_samples
    first = parts[0][2]
    if first.low_db is not None and first.high_db is not None:
        maker.set_scale_range(first.low_db, first.high_db)
    num_train, position = train_samples(total), 0
    advance("joining", 0, total)
    with DatasetWriter(
        dataset_dir,
        metadata_json(maker),
        output_format=recipe.output_format,
        overwrite=recipe.overwrite,
        values=not recipe.generate.bytes_only,
    ) as writer:
        for directory, part, info in parts:
            maker.lost.add(lost_report(vars(info), directory))
            assert position == part.positions(total).start
            for records in _read_rows(maker, directory, info):
                for_train = max(0, num_train - position)
                writer.write("train", **_fields(records[:for_train]))
                writer.write("test", **_fields(records[for_train:]))
                position += len(records)
                advance("joining", position, total)
        writer.describe(maker.lost.report().to_json())
    assert position == total


def _remove_parts(parts_dir: Path, recipe: Recipe) -> None:
    """Remove the recipe's parts, and the directory if nothing else is in it."""
    for directory in _directories(parts_dir):
        if _read_part(directory).recipe_hash == recipe.digest():
            # In this order a kill leaves what the next join still knows for a part.
            (directory / RECORDS_FILE).unlink(missing_ok=True)
            shutil.rmtree(directory)
    with contextlib.suppress(OSError):
        parts_dir.rmdir()


def _read_part(directory: Path) -> _PartInfo:
    """Read what a part's directory says of itself."""
    path = directory / PART_FILE
    try:
        return section(_PartInfo, read_json(path))
    except ValueError as error:
        raise VIMHError(
            f"{path} does not say which part it is of ({error}); remove {directory} and make that "
            "part again"
        ) from error


def _read_rows(maker: SampleMaker, directory: Path, info: _PartInfo) -> Iterator[np.ndarray]:
    """Yield a part's samples in chunks, if they are those that were written."""
    dtype, path = _part_dtype(maker), directory / RECORDS_FILE
    found = file_digest(path)
    if found != info.sha256:
        raise VIMHError(
            f"{path}: expected SHA-256 {info.sha256}, found {found}; make part {info.part} again "
            "with overwrite=true"
        )
    with path.open("rb") as file:
        while len(rows := np.fromfile(file, dtype, maker.recipe.generate.chunk_size)):
            yield rows


def _fields(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the writer takes of each sample."""
    records = rows["record"]
    values = {"values": rows["values"]} if "values" in (rows.dtype.names or ()) else {}
    return {
        "images": records["pixels"],
        "labels": records["parameters"][:, :, 1],
        "scale_factors": records["scale_factors"],
        **values,
    }


def _part_dtype(maker: SampleMaker) -> np.dtype:
    """Return a sample in a part: its record, and its exact values unless bytes are enough."""
    layout = _part_layout(maker)
    values = [] if maker.recipe.generate.bytes_only else [("values", "<f4", (len(layout.ids),))]
    return np.dtype([("record", layout.dtype), *values])


def _part_layout(maker: SampleMaker) -> RecordLayout:
    """Return the layout of the data set's records."""
    metadata = Metadata.from_json(metadata_json(maker), "metadata of a part")
    return RecordLayout(metadata.image_shape, metadata.parameter_ids, has_scale_factors=True)
