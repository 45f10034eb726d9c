"""Importing a folder with its labels: in chunks, on every core, into a VIMH directory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64

from src.recordings.files import Folder, Kind, contents_digest, kind_of
from src.recordings.groups import GIVEN, SPLIT_KEY, divide_groups
from src.recordings.labels import Labels, read_labels
from src.recordings.pattern import Pattern
from src.recordings.problems import Problems
from src.recordings.reading import Block, ImageReader, Reader, SoundReader
from src.recordings.settings import ImportSettings
from src.recordings.table import FILE, Table, read_table
from src.schema.plain import plain_values
from src.synth.levels import LEVELS_KEY, Levels
from src.synth.parallel import Advance, in_order, progress_bar, reuse_freed_blocks
from src.vimh.errors import VIMHError
from src.vimh.metadata import METADATA_FILE, Metadata
from src.vimh.plain import file_digest, shown
from src.vimh.records import DatasetWriter

SOURCE = "recordings"
LEFT_OUT_KEY, TWICE_KEY = "left_out", "same_in_train_and_test"  # metadata
_TEST_SHARE = 0.1
Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True)
class ImportReport:
    """The data set of an import.

    Attributes:
        dataset_dir: where it is.
        made: False: it was there already, of the same files, labels and settings.
        metadata: what it says of itself.
    """

    dataset_dir: Path
    made: bool
    metadata: Metadata


@dataclass(frozen=True)
class _Plan:
    """What is imported: known before any sound is read.

    Attributes:
        folder: its files.
        kind: sounds or images.
        table: the labels as texts.
        files: of each sample.
        labels: of each sample.
        sides: the samples of train and of test.
        problems: what was left out so far.
    """

    folder: Folder
    kind: Kind
    table: Table
    files: list[str]
    labels: Labels
    sides: tuple[Int64[np.ndarray, "N"], Int64[np.ndarray, "M"]]
    problems: Problems


def import_recordings(settings: ImportSettings, *, progress: bool = True) -> ImportReport:
    """Import a folder, unless that has been done already.

    The bytes depend on the files, the labels and the settings alone, not on the folder's place or
    the number of threads. Memory grows by the labels and some 60 bytes a file, not by the sounds.

    Args:
        settings: what is imported, and how.
        progress: whether to show a progress bar.

    Raises:
        VIMHError: for what cannot be used: each file and row is named; and where the data set is
            there already, of something else.
        ConfigError: for settings that do not fit the labels.
    """
    directory = settings.dataset_dir
    if (directory / METADATA_FILE).is_file() and not settings.overwrite:
        check_same(directory, settings)
        return ImportReport(directory, False, Metadata.load(directory))
    with progress_bar(progress) as advance:
        _write(_plan(settings), settings, directory, advance)
    return ImportReport(directory, True, Metadata.load(directory))


def check_same(directory: Path, settings: ImportSettings) -> None:
    """Refuse a data set that was made of other files, labels or settings.

    Where nothing is newer than the data set, names and sizes are compared; else the contents too.
    Where the folder is gone, the settings alone are.

    Raises:
        VIMHError: naming the first difference.
    """
    advice = "set overwrite=true to import again, or another name=..."
    recipe = Metadata.load(directory).recipe or {}
    if recipe.get("source") != SOURCE:
        raise VIMHError(f"{directory} is there already, and is no import of recordings; {advice}")
    if not settings.source_folder.is_dir():
        return
    found, expected = recipe.get("settings"), plain_values(settings.identity())
    known = found if isinstance(found, Mapping) else {}
    for key, value in expected.items():
        if known.get(key) != value:
            raise VIMHError(
                f"{directory} is there already, imported with other settings ({key}: found "
                f"{shown(known.get(key))}, expected {shown(value)}); {advice}"
            )
    folder, kind = Folder.of(settings.source_folder), recipe.get("kind")
    labels = None if settings.labels is None else Path(settings.labels)
    if kind not in ("sounds", "images") or not folder.of_kind(kind):
        what = "the folder"
    elif labels is not None and recipe.get("labels_sha256") != _digest_of(labels):
        what = f"the labels in {labels}"
    elif recipe.get("names_sha256") != folder.names_digest(kind):
        what = f"the files in {folder.path}"
    elif folder.newest(kind) > (directory / METADATA_FILE).stat().st_mtime and recipe.get(
        "contents_sha256"
    ) != contents_digest(_digests(folder, kind, {}, settings.threads)):
        what = f"what is in the files in {folder.path}"
    else:
        return
    raise VIMHError(f"{directory} is there already, and {what} changed since; {advice}")


def _digest_of(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None


def _digests(
    folder: Folder, kind: Kind, known: Mapping[str, bytes], threads: int | None
) -> dict[str, bytes]:
    """Return the digest of every file of a kind."""
    others = [name for name in folder.of_kind(kind) if name not in known]
    own = in_order(lambda name: bytes.fromhex(file_digest(folder.path / name)), others, threads)
    return {**known, **dict(own)}


def _plan(settings: ImportSettings) -> _Plan:
    folder = Folder.of(settings.source_folder)
    problems = Problems(settings.skip_broken)
    if settings.pattern is not None:
        table, kind = _named(folder, Pattern(settings.pattern), problems)
    else:
        assert settings.labels is not None
        table = read_table(Path(settings.labels))
        kind = _kind(folder, table)
    files, kept = _found(folder, kind, table, problems)
    labels = read_labels(table, kept, settings, problems)
    chosen = [files[row] for row in labels.kept.tolist()]
    return _Plan(folder, kind, table, chosen, labels, _sides(labels, settings.seed), problems)


def _named(folder: Folder, pattern: Pattern, problems: Problems) -> tuple[Table, Kind]:
    """Read the labels off the files' names, of the kind that the pattern or most files have."""
    said = kind_of(pattern.text)
    sounds, images = folder.of_kind("sounds"), folder.of_kind("images")
    kind: Kind = said or ("sounds" if len(sounds) >= len(images) else "images")
    table, others = pattern.table(sounds if kind == "sounds" else images)
    for name in others:
        problems.add(shown(name), f"its name is not of the form {pattern.text}")
    if not table.columns[FILE]:
        problems.check()
        raise VIMHError(f"{folder.path}: no file's name is of the form {pattern.text}")
    return table, kind


def _kind(folder: Folder, table: Table) -> Kind:
    """Return what the table names: the kind of its first file that is there."""
    for given in table.columns[FILE]:
        if (name := folder.find(given)) is not None and (kind := kind_of(name)) is not None:
            return kind
    raise VIMHError(
        f"{table.source}: none of its files is in {folder.path}, the first is "
        f"{shown(table.columns[FILE][0])}, and the folder has {shown(next(iter(folder.sizes)))}; "
        "expected names from the folder on"
    )


def _found(
    folder: Folder, kind: Kind, table: Table, problems: Problems
) -> tuple[list[str], list[int]]:
    """Return each row's file, and the rows whose file is there and theirs alone."""
    files: list[str] = []
    kept: list[int] = []
    row_of: dict[str, int] = {}
    for row, given in enumerate(table.columns[FILE]):
        name = folder.find(given) if given else None
        files.append(name or given)
        if name is None:
            problems.add(table.where(row), f"there is no such file in {folder.path}")
        elif kind_of(name) != kind:
            problems.add(table.where(row), f"is none of the {kind} that the other rows name")
        elif name in row_of:
            problems.add(table.where(row), f"is the file of row {_number(table, row_of[name])} too")
        else:
            row_of[name] = row
            kept.append(row)
    named = {*files}
    if table.rows:
        for name in folder.of_kind(kind):
            if name not in named:
                problems.add(shown(name), f"has no row in {table.source}")
    return files, kept


def _number(table: Table, row: int) -> int:
    return table.rows[row] if table.rows else row


def _sides(labels: Labels, seed: int) -> tuple[Int64[np.ndarray, "N"], Int64[np.ndarray, "M"]]:
    """Divide the samples: as the table says, or a seeded 90 % and 10 % of whole groups."""
    count = len(labels.kept)
    if labels.in_test is not None:
        train, test = np.flatnonzero(~labels.in_test), np.flatnonzero(labels.in_test)
        if len(train) == 0:
            raise VIMHError("the column `split` says test in every row; expected some of train")
        return train, test
    groups = np.arange(count) if labels.groups is None else labels.groups
    if len(np.unique(groups)) < 2:
        what = "sample" if labels.groups is None else "group"
        raise VIMHError(f"there is 1 {what}; expected at least 2, to train and to test on")
    if labels.groups is None:
        order = np.random.Generator(np.random.Philox(key=seed)).permutation(count)
        num_test = max(1, round(_TEST_SHARE * count))
        return np.sort(order[num_test:]), np.sort(order[:num_test])
    train, test = divide_groups(groups, (1 - _TEST_SHARE, _TEST_SHARE), seed)
    return train, test


def _write(plan: _Plan, settings: ImportSettings, directory: Path, advance: Advance) -> None:
    reader: Reader
    make = SoundReader if plan.kind == "sounds" else ImageReader
    reader = make(plan.folder.path, plan.files, settings)
    reuse_freed_blocks()
    labels, heads = plan.labels, plan.labels.parameters.heads
    quantised = np.stack(
        [p.quantise(labels.values[:, k]) for k, p in enumerate(heads.values())], axis=1
    )
    digests: dict[str, bytes] = {}
    keys: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    exact, groups = not settings.bytes_only, labels.groups
    levels: Levels | None = None
    writer = DatasetWriter(
        directory,
        _metadata(plan, settings, reader),
        overwrite=settings.overwrite,
        values=exact,
        groups=groups is not None,
    )
    with writer:
        for split, done, samples, block in _blocks(plan, reader, settings.threads):
            digests.update(zip((plan.files[i] for i in samples), block.digests, strict=True))
            for place, reason in block.broken.items():
                plan.problems.add(_where(plan, int(samples[place])), reason)
            rows = samples[block.places]
            if not plan.problems.count or settings.skip_broken:
                writer.write(
                    split,
                    block.images,
                    quantised[rows],
                    block.scale_factors,
                    values=labels.values[rows] if exact else None,
                    groups=None if groups is None else groups[rows],
                )
                if split == "train":
                    levels = block.levels | levels if block.levels else levels
            keys[split].append(block.keys)
            advance("importing", done, len(plan.files))
        plan.problems.check()
        writer.describe(_found_while_reading(plan, digests, keys, settings))
        writer.describe({} if levels is None else {LEVELS_KEY: levels.to_json()})


def _blocks(
    plan: _Plan, reader: Reader, threads: int | None
) -> Iterator[tuple[Split, int, Int64[np.ndarray, "n"], Block]]:
    """Yield the samples in blocks: their split, how many are done with them, and their images."""
    done = 0
    for split, samples in zip(SPLITS, plan.sides, strict=True):
        size = reader.block_size
        parts = [samples[start : start + size] for start in range(0, len(samples), size)]

        def read(part: Int64[np.ndarray, "n"]) -> Block:
            return reader.read([plan.files[i] for i in part.tolist()])

        for part, block in in_order(read, parts, threads):
            done += len(part)
            yield split, done, part, block


def _where(plan: _Plan, sample: int) -> str:
    """Name a sample in a message: its row, or its file."""
    row = int(plan.labels.kept[sample])
    return plan.table.where(row)


def _metadata(plan: _Plan, settings: ImportSettings, reader: Reader) -> dict[str, object]:
    channels, height, width = reader.image_shape
    space = plan.labels.parameters
    return {
        "dataset_name": settings.dataset_dir.name,
        "height": height,
        "width": width,
        "channels": channels,
        "parameter_names": list(space.heads.names),
        "parameter_mappings": space.heads.to_json(),
        "fixed_parameters": {
            name: {"value": p.min, **p.to_json()} for name, p in space.fixed.items()
        },
        **reader.metadata(),
        "seed": settings.seed,
        **({SPLIT_KEY: GIVEN} if plan.labels.in_test is not None else {}),
    }


def _found_while_reading(
    plan: _Plan,
    digests: Mapping[str, bytes],
    keys: Mapping[str, list[np.ndarray]],
    settings: ImportSettings,
) -> dict[str, object]:
    """Return what the metadata say of the files, once all of them are read."""
    train, test = (np.concatenate([np.zeros(0, np.uint64), *keys[split]]) for split in SPLITS)
    if len(train) == 0:
        raise VIMHError(
            f"no sample is left to train on: {plan.problems.count} problems, the first: "
            f"{plan.problems.found[0]}"
        )
    labels = None if settings.labels is None else Path(settings.labels)
    recipe = {
        "source": SOURCE,
        "kind": plan.kind,
        "settings": settings.identity(),
        "labels_sha256": None if labels is None else _digest_of(labels),
        "names_sha256": plan.folder.names_digest(plan.kind),
        "contents_sha256": contents_digest(
            _digests(plan.folder, plan.kind, digests, settings.threads)
        ),
    }
    return {
        "recipe": recipe,
        TWICE_KEY: int(np.isin(test, train).sum()),
        LEFT_OUT_KEY: plan.problems.to_json(),
    }
