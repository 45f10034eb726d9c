#!/usr/bin/env python
"""Look at a VIMH data set: metadata, a histogram for each parameter, images with their parameters.

usage: python display_vimh.py [DATASET] [--save OUT.png] [--check] [--play]

DATASET is a data set's directory, or its name under data-vimh/; without one, the newest there.
The picture opens in a window; without a display, the same is printed as a table.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
DATA_FOLDER = ROOT / "data-vimh"
EXIT_FAILED = 1
PLAYED = 3  # sounds


def find_dataset(given: str | None, folder: Path = DATA_FOLDER) -> Path:
    """The directory that is meant: a path, a name in the folder, or the newest there.

    Raises:
        VIMHError: if there is none.
    """
    from src.vimh.errors import VIMHError
    from src.vimh.metadata import METADATA_FILE

    if given is not None:
        return Path(given) if Path(given).exists() else folder / given
    found = list(folder.glob(f"*/{METADATA_FILE}"))
    if not found:
        raise VIMHError(f"there is no data set in {folder}; python generate_vimh.py makes one")
    return max(found, key=lambda path: path.stat().st_mtime).parent


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def pyplot_with_windows() -> Any:
    """Matplotlib's pyplot, where it can open a window.

    Raises:
        VIMHError: if it can not: no screen answers, or no toolkit for windows is installed.
    """
    import matplotlib.pyplot as plt
    from matplotlib.backends import BackendFilter, backend_registry

    from src.vimh.errors import VIMHError

    reason = "it has found no screen, or no toolkit such as Qt or Tk"
    try:
        plt.switch_backend(plt.get_backend())
    except ImportError as error:
        reason = str(error)
    else:
        if plt.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
            return plt
    raise VIMHError(
        f"matplotlib can open no window: {reason}. Write the picture with --save OUT.png; "
        "without DISPLAY and WAYLAND_DISPLAY the same is printed as a table"
    )


def checked(directory: Path) -> Any:
    """Check all of a data set and say what was checked."""
    from src.vimh.records import check_dataset

    dataset = check_dataset(directory)
    files = [path.name for path in (dataset.train.path, dataset.test.path)]
    count = len(dataset.train) + len(dataset.test)
    hashed = sorted(dataset.metadata.checksums)
    print(
        f"checked {directory}: metadata; the header, the labels and the scale factors of all "
        f"{count} samples in {' and '.join(files)}; "
        + (
            "that every exact value is that of its byte; "
            if dataset.train.values is not None
            else ""
        )
        + (f"SHA-256 of {', '.join(hashed)}" if hashed else "no checksums, the metadata has none")
        + ". No errors found."
    )
    return dataset


def play(dataset: Any) -> None:
    """Resynthesise the first sounds and play them.

    Raises:
        VIMHError: if the data set holds no sounds, or nothing here plays them.
    """
    import numpy as np
    import soundfile

    from src.evaluation.prediction.player import find_player, play_file
    from src.evaluation.presentation.dataset_picture import label_lines
    from src.synth.resynthesis import resynthesise, synthesizer_of
    from src.vimh.errors import VIMHError

    metadata = dataset.metadata
    synthesizer = synthesizer_of(metadata)
    if synthesizer is None:
        raise VIMHError(f"{metadata.dataset_name} was not synthesised, so there is nothing to play")
    find_player()
    rows = dataset.train.values_at(np.arange(min(PLAYED, len(dataset.train))))
    values = dict(zip(metadata.parameters, rows.T, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        for number, sound in enumerate(resynthesise(synthesizer, values)):
            print(f"playing train {number}: {', '.join(label_lines(metadata, rows[number]))}")
            path = Path(folder) / f"{number}.wav"
            soundfile.write(path, sound, synthesizer.sample_rate_hz)
            play_file(path)


def show(dataset: Any, directory: Path, save: Path | None) -> None:
    """Save the picture, open it, or print the table."""
    from src.evaluation.presentation.dataset_picture import dataset_figure, dataset_table
    from src.utils.rich_utils import plain_console, print_table
    from src.vimh.errors import VIMHError

    if save is not None:
        figure = dataset_figure(dataset)
        kinds = figure.canvas.get_supported_filetypes()
        if save.suffix.removeprefix(".") not in kinds:
            raise VIMHError(f"--save {save}: the name has to end in one of .{', .'.join(kinds)}")
        figure.savefig(save, dpi=100)
        print(f"wrote {save}")
    elif has_display():
        plt = pyplot_with_windows()
        dataset_figure(dataset, plt.figure())
        plt.show()
    else:
        for table in dataset_table(dataset, directory):
            print_table(plain_console(), table)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    from src.utils.terminal import take_any_text
    from src.vimh.disk import in_words
    from src.vimh.errors import VIMHError
    from src.vimh.records import open_dataset

    take_any_text()
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("dataset", nargs="?", help="directory or name (default: the newest)")
    parser.add_argument("--save", type=Path, help="write the picture instead (.png, .svg, .pdf)")
    parser.add_argument("--check", action="store_true", help="verify all of the data set first")
    parser.add_argument("--play", action="store_true", help=f"play the first {PLAYED} sounds")
    given = parser.parse_args(arguments)
    try:
        directory = find_dataset(given.dataset)
        dataset = checked(directory) if given.check else open_dataset(directory)
        if not given.check or given.save is not None:
            show(dataset, directory, given.save)
        if given.play:
            play(dataset)
    except (VIMHError, OSError) as error:
        sys.exit(f"display_vimh.py: {in_words(error)}")


if __name__ == "__main__":
    main()
