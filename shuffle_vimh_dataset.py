#!/usr/bin/env python
"""Rewrite a VIMH data set in shuffled order.

usage: python shuffle_vimh_dataset.py --input DATASET --output DIRECTORY [--seed 42] [--overwrite]

All samples are shuffled together: the first train_samples of them become the new train file, the
others the new test file, so samples change sides; with groups, or a split that its labels gave,
each file is shuffled by itself. Everything else is kept, also metadata that this project does not
know; the data set's name gets the suffix _shuffled. A data set that has pickles gets them again.
With the generator's own sets, `generate_vimh.py --shuffle` does the same at once.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

SUFFIX = "_shuffled"
CHUNK_BYTES = 16 * 2**20
EXIT_FAILED = 1


def shuffle_dataset(source: Path, target: Path, *, seed: int = 42, overwrite: bool = False) -> int:
    """Write the samples of `source` to `target` in the order that `seed` gives.

    Memory does not grow with the data set, but for 4 bytes a sample.

    Returns:
        The number of samples.

    Raises:
        VIMHError: if `source` is no good data set, or `target` is there already.
    """
    import numpy as np

    from src.synth.philox import check_seed, permutation
    from src.vimh.errors import VIMHError
    from src.vimh.records import DatasetWriter, open_dataset

    check_seed(seed)
    dataset = open_dataset(source)
    if source.resolve() == target.resolve():
        raise VIMHError(f"--input and --output are the same directory, {source}")
    files = (dataset.train, dataset.test)
    num_train, total = len(dataset.train), len(dataset.train) + len(dataset.test)
    if "groups" in dataset.metadata.row_kinds or dataset.metadata.raw.get("split") == "given":
        own = permutation(seed, num_train), permutation(seed, total - num_train) + num_train
        order = np.concatenate(own)  # no group gets to both sides
    else:
        order = permutation(seed, total)
    chunk = max(1, CHUNK_BYTES // int(np.prod(dataset.metadata.image_shape)))
    writer = DatasetWriter(
        target,
        shuffled_json(dataset.metadata.raw, source.resolve().name, seed),
        output_format=output_format(source),
        overwrite=overwrite,
        values="values" in dataset.metadata.row_kinds,
        groups="groups" in dataset.metadata.row_kinds,
    )
    with writer:
        for split, first, last in (("train", 0, num_train), ("test", num_train, total)):
            for start in range(first, last, chunk):
                here = order[start : min(start + chunk, last)].astype(np.int64)
                writer.write(split, **_gather(files, num_train, here))
    return total


def _gather(files: Any, num_train: int, indices: Any) -> dict[str, Any]:
    """Samples by their number in train and test together, in the order of `indices`."""
    import numpy as np

    in_train = indices < num_train
    parts = [_part(files[0], indices[in_train]), _part(files[1], indices[~in_train] - num_train)]
    arrays = {}
    for name, from_train in parts[0].items():
        arrays[name] = np.empty((len(indices), *from_train.shape[1:]), from_train.dtype)
        arrays[name][in_train], arrays[name][~in_train] = from_train, parts[1][name]
    return arrays


def _part(records: Any, indices: Any) -> dict[str, Any]:
    """Samples of one file by what the writer calls their arrays."""
    names = ("images", "labels", "scale_factors")
    return dict(zip(names, records.gather(indices), strict=True)) | records.rows_at(indices)


def shuffled_json(metadata: dict[str, object], directory_name: str, seed: int) -> dict[str, object]:
    """The metadata of the shuffled data set: a new name, and where it comes from."""
    name = metadata.get("dataset_name") or directory_name
    shuffled = name if name.endswith(SUFFIX) else name + SUFFIX
    # The recipe stays as it was made; its hash goes, because it makes another order.
    kept = {key: value for key, value in metadata.items() if key != "recipe_hash"}
    return {
        **kept,
        "dataset_name": shuffled,
        "recipe_hash": None,
        "shuffled_from": {"dataset_name": name, "seed": seed},
    }


def output_format(source: Path) -> Any:
    """What the data set's files are, whatever its metadata says."""
    binary, pickled = (source / "train").is_file(), (source / "train_batch").is_file()
    return "both" if binary and pickled else "pickle" if pickled else "binary"


def main() -> None:
    """The command line."""
    from src.utils.terminal import take_any_text
    from src.vimh.disk import in_words
    from src.vimh.errors import VIMHError

    take_any_text()
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("--input", type=Path, required=True, help="directory of the data set")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--seed", type=int, default=42, help="of the order (default: 42)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set in --output")
    arguments = parser.parse_args()
    try:
        total = shuffle_dataset(
            arguments.input, arguments.output, seed=arguments.seed, overwrite=arguments.overwrite
        )
    except (VIMHError, OSError) as error:
        print(f"shuffle_vimh_dataset.py: {in_words(error)}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    print(f"wrote {total} samples in shuffled order to {arguments.output}")


if __name__ == "__main__":
    main()
