#!/usr/bin/env python
"""Import sounds or images of your own, with their labels, as a VIMH data set.

usage: python import_vimh.py FOLDER --labels TABLE [key=value ...]
       python import_vimh.py FOLDER --pattern "{instrument}_{pitch:d}_{velocity:d}.wav" [...]

FOLDER holds sounds (WAV, FLAC, AIFF, Ogg, MP3 and what else libsndfile reads, .npy, .npz) or
images (PNG, JPEG, TIFF, WebP); its subfolders are looked into. TABLE is CSV, TSV or JSON lines with
a column `file`, the path from FOLDER on, and a column for each parameter. Columns of numbers are
continuous parameters, columns of words categorical ones. The columns `split` (train or test) and
`group` are no parameters: what shares a group is never on both sides of a split. Without `split`, a
tenth tests.

Flags; each is another spelling of a key:
  --labels TABLE        labels=TABLE
  --pattern PATTERN     pattern=PATTERN    labels in the files' names: {name} is a text, {name:d} a
                                           whole number, {name:f} a number, {_} is skipped
  --skip-broken         skip_broken=true   leave out what cannot be used, and list it
  --bytes-only          bytes_only=true    no exact values: version 2.1 of the format
  --overwrite           overwrite=true     replace a data set of the same name
  --help, -h                               this text

key=value, with the defaults:
  front_end=mel_64      sounds to images: mel_64, mel_128, stft_64, ... (configs/front_end);
                        image.height, stft.n_window, stft.hop_length, mel.freq_min, ... change it
  sample_rate=16000     Hz; others are resampled
  duration=null         s; shorter sounds are padded, longer ones cut; null: the median, at most 4
  start=onset           from 10 ms before the first sample within 40 dB of the peak; file: from the
                        first sample
  channels=mix          mix, left, right, or stereo: an image channel each
  array_key, rate_key   of .npz files: the sound and its sample rate
  image_size=null       HxW, to which images are resized; null: they have to agree
  color=null            grey or rgb; null: the images have to agree
  columns=null          [a,b]: only these columns are parameters
  group_by=null         the column that says what stays together; null: group
  parameters.NAME.KEY   what the values do not say: min, max, step (a tolerance, in units, or a
                        ratio minus one with spacing=log), unit, spacing=linear|log,
                        kind=continuous|categorical, description, step_kind=tolerance|jnd
  name=null             of the data set, which is output_dir/vimh-NAME; null: the folder's
  output_dir=data-vimh  from the project's root
  seed=42               of the split
  threads=null          null: one for each core

Examples:
  python import_vimh.py my_sounds --labels my_sounds/labels.csv
  python import_vimh.py drums --labels hits.tsv group_by=kit parameters.velocity.step=4
  python import_vimh.py photos --labels photos.jsonl image_size=64x64 --skip-broken
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
FLAGS = {"--skip-broken": "skip_broken", "--bytes-only": "bytes_only", "--overwrite": "overwrite"}
OPTIONS = {"--labels": "labels", "--pattern": "pattern"}
# Their values are texts as they are typed, whatever is in them.
TEXTS = ("folder", "labels", "pattern", "output_dir", "group_by", "array_key", "rate_key")
KEY_VALUE = re.compile(r"(?P<key>[a-z_]+(\.[^=]+)?)=(?P<value>.*)", re.DOTALL)
NAMED = 10


class UsageError(Exception):
    """The command line says something that does not exist."""


def settings_of(arguments: list[str]) -> dict[str, Any]:
    """The settings of a command line, nested and not checked yet.

    Example:
        >>> settings_of(["my sounds", "--labels", "a.csv", "parameters.velocity.step=4"])
        {'folder': 'my sounds', 'labels': 'a.csv', 'parameters': {'velocity': {'step': 4}}}
    """
    settings: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        option, given, value = argument.partition("=")
        if argument in FLAGS:
            settings[FLAGS[argument]] = True
        elif option in OPTIONS:
            value = value if given else next(rest, "")
            if not value:
                raise UsageError(f"{option} needs a value")
            settings[OPTIONS[option]] = value
        elif (said := KEY_VALUE.fullmatch(argument)) and not os.path.lexists(argument):
            _put(settings, said["key"], said["value"])
        elif argument.startswith("-") and not os.path.lexists(argument):
            raise UsageError(f"unknown argument {argument!r}")
        elif "folder" in settings:
            raise UsageError(f"a second folder, {argument!r}")
        else:
            settings["folder"] = argument
    return settings


def _put(settings: dict[str, Any], key: str, text: str) -> None:
    """Set a key of a section: the first part, the last one, and a name with dots between them."""
    from src.utils.words import Unreadable, parsed

    first, _, others = key.partition(".")
    name, _, last = others.rpartition(".")
    parts = [part for part in (first, name, last) if part]
    value = None if text == "null" else text if key in TEXTS else parsed(text)
    plain = value is None or isinstance(value, str | bool | int | float | list | dict)
    if isinstance(value, Unreadable) or not plain:
        value = text
    here = settings
    for part in parts[:-1]:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise UsageError(f"{key}: {part} has a value already")
    here[parts[-1]] = value


def show(report: Any) -> None:
    """Print what was imported, what was left out, and how to go on."""
    from src.evaluation.presentation.dataset_picture import dataset_table
    from src.recordings.importing import LEFT_OUT_KEY, TWICE_KEY
    from src.utils.rich_utils import plain_console
    from src.vimh.records import open_dataset

    console, metadata = plain_console(), report.metadata
    for table in dataset_table(open_dataset(report.dataset_dir), report.dataset_dir):
        console.print(table)
    left_out = metadata.raw[LEFT_OUT_KEY]
    if left_out["count"]:
        for line in left_out["first"][:NAMED]:
            console.print(f"left out: {line}", soft_wrap=True)
        print(f"{left_out['count']} left out in all; the data set's metadata lists up to 100")
    if metadata.raw[TWICE_KEY]:
        print(
            f"{metadata.raw[TWICE_KEY]} test samples are in train too, sample for sample; a column "
            "`group` would keep them together"
        )
    if not report.made:
        print("It was there already, of the same files, labels and settings.")
    print(f"Train with: {training_command(report)}")


def training_command(report: Any) -> str:
    """The command to type next."""
    from src.utils.words import quoted, shell_word, shown_path

    directory = os.path.abspath(report.dataset_dir)
    is_at_root = Path.cwd() == ROOT
    where = shown_path(directory) if is_at_root else directory
    where = shell_word(f"data.data_dir={quoted(where)}")
    # Pictures have no level that could come beside the image.
    no_level = " data.auxiliary_features=null" if report.metadata.sample_rate is None else ""
    return f"python src/train.py experiment=recordings_cnn {where}{no_level}"


def run(arguments: list[str]) -> None:
    """Import what a command line says."""
    from src.recordings.importing import import_recordings
    from src.recordings.settings import ImportSettings
    from src.schema.arguments import section
    from src.utils.errors import ConfigError
    from src.utils.terminal import take_any_text
    from src.vimh.disk import in_words
    from src.vimh.errors import VIMHError

    take_any_text()
    try:
        given = settings_of(arguments)
        given.setdefault("output_dir", str(ROOT / "data-vimh"))
        settings = section(ImportSettings, given)
        show(import_recordings(settings))
    except (UsageError, ConfigError) as error:
        stop(EXIT_USAGE, f"{error}; --help lists the flags and keys")
    except (VIMHError, OSError) as error:
        stop(EXIT_FAILED, in_words(error))


def stop(code: int, message: str) -> None:
    """End with one sentence."""
    print(f"import_vimh.py: {message}", file=sys.stderr)
    sys.exit(code)


def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    if not arguments or {"--help", "-h"} & set(arguments):
        print(__doc__.strip())
        return
    try:
        run(arguments)
    except KeyboardInterrupt:
        stop(
            EXIT_INTERRUPTED,
            "interrupted; no partial data set is left, and no existing one was changed",
        )


if __name__ == "__main__":
    main()
