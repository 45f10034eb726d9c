"""Make a model of the zoo of a finished run: ``make zoo-model FOLDER=run NAME=name``.

usage: python scripts/make_zoo_model.py RUN NAME [ROOT]

RUN is the folder of a run, whose data set is still there. Its best model goes to zoo/NAME.*: as
safetensors, as ONNX of sounds, their checksums, and a card. Large tensors of the network are
rounded to half precision, which both files store; the rounded model is calibrated and measured
anew, so that all figures are of the files. docs/zoo.md gets a line. ROOT is another checkout to
write to.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import rootutils
from omegaconf import OmegaConf
from torch import Tensor

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.build import CHECKPOINT_DATA_KEYS, Built, fit_data_to_model  # noqa: E402
from src.calibrating import calibrate  # noqa: E402
from src.checkpoint import Checkpoint, load_model, read_checkpoint, write_safetensors  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.evaluation.export.functions import ImageModel  # noqa: E402
from src.evaluation.export.model_files import (  # noqa: E402
    TOLERANCE,
    description,
    write_checksums,
    write_programs,
)
from src.evaluation.export.programs import OPSET  # noqa: E402
from src.evaluation.presentation.model_card import Making, card_lines, summary_row  # noqa: E402
from src.evaluation.scoring.coverage import coverages_of  # noqa: E402
from src.evaluation.scoring.evaluation import evaluate_split  # noqa: E402
from src.evaluation.scoring.runs import OVERRIDES, PLACES, Run, read_run  # noqa: E402
from src.models.intervals import adopt  # noqa: E402
from src.synth.images import ImageMaker  # noqa: E402
from src.synth.levels import LEVELS_KEY, Levels, floor_shares  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402
from src.utils.words import shell_word  # noqa: E402
from src.vimh.errors import VIMHError  # noqa: E402
from src.vimh.metadata import Metadata  # noqa: E402

MAX_BYTES = 1_000_000  # of a file
LEAST_NUMBERS = 256  # of a tensor that is rounded to half precision
COMPARED = 1024  # training sounds that others are compared with; half of what a training keeps
RESAMPLES, SEED = 2000, 42  # of the bootstrap
ROW = "| [`zoo:"  # the beginning of a line of the table


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round the network's large tensors to half precision; biases and statistics stay."""
    return {
        name: tensor.half()
        if name.startswith("net.")
        and tensor.is_floating_point()
        and tensor.numel() >= LEAST_NUMBERS
        else tensor
        for name, tensor in state.items()
    }


def with_levels(metadata: Metadata, datamodule: VIMHDataModule) -> Metadata:
    """Note the levels of the training sounds, so that comparing with them needs no synthesiser."""
    if ImageMaker.from_metadata(metadata).scale_range_db is not None:  # the images say none
        return metadata
    found: Levels | None = None
    for raw in datamodule.raw_batches("train"):
        own = Levels.of(raw.scale_factors[:, 1].numpy(), floor_shares(raw.images.numpy()))
        found = own | found
    assert found is not None, "no training samples"
    return Metadata.from_json({**metadata.to_json(), LEVELS_KEY: found.to_json()})


def best_of(run: Run) -> Path:
    """Return a run's best checkpoint, also where the run was moved.

    Raises:
        ConfigError: If it has none.
    """
    said = run.result.get("checkpoint")
    path = run.folder / "checkpoints" / Path(str(said)).name
    if said is None or not path.is_file():
        raise ConfigError(f"{run.folder}: expected a run that ended with a checkpoint; found none")
    return path


def command_of(run: Run) -> str:
    """Return the training's command without what says where it lay."""
    words = [str(word) for word in OmegaConf.load(run.folder / OVERRIDES)]
    kept = [word for word in words if re.split(r"[.=]", word.lstrip("+~"))[0] not in PLACES]
    return " ".join(["python src/train.py", *map(shell_word, kept)])


def trained_minutes(run: Run) -> float:
    """Return the minutes between the first and the last figure of the training.

    Raises:
        ConfigError: If TensorBoard's files are not there.
    """
    from tensorboard.backend.event_processing import event_accumulator as events

    read = events.EventAccumulator(str(run.folder), {events.SCALARS: 0}).Reload()
    tags = [tag for tag in read.Tags()[events.SCALARS] if tag.startswith("train/")]
    times = [event.wall_time for tag in tags for event in read.Scalars(tag)]
    if not times:
        raise ConfigError(f"{run.folder}: expected TensorBoard's files of the training; found none")
    return (max(times) - min(times)) / 60.0


def needs_of(metadata: Metadata) -> str:
    """Say what rendering the values needs beside this project."""
    synth = (metadata.recipe or {}).get("synth")
    assert isinstance(synth, Mapping)
    engine, dsp = synth.get("engine"), synth.get("dsp")
    if not isinstance(engine, Mapping):
        return ""
    program = f", and `examples/faust/{Path(str(dsp)).name}`, which is trusted" if dsp else ""
    return (
        f'resynthesis and `refine` need `pip install -e ".[{engine["name"]}]"`{program}; '
        "without, `sounds=0` predicts the values"
    )


def making_of(run: Run, built: Built, files: Mapping[str, int]) -> Making:
    """Gather what the card says of the training."""
    result, net = run.result, built.model.net
    ended, versions = result.get("ended"), result.get("versions")
    assert isinstance(ended, Mapping)
    assert isinstance(versions, Mapping)
    weights = sum(weight.numel() for weight in net.parameters())
    losses = {type(head.loss).__name__ for head in built.model.heads.values()}
    seed, commit = result.get("seed"), result.get("commit")
    return Making(
        command=command_of(run),
        network=f"{type(net).__name__}, {weights:,} weights, the large tensors in half precision; "
        f"{', '.join(sorted(losses))}",
        trained=f"{ended['epochs']} epochs in {trained_minutes(run):.0f} minutes, seed {seed}, "
        f"commit `{commit}`, " + ", ".join(f"{name} {own}" for name, own in versions.items()),
        splits=dict(built.datamodule.splits.sizes),
        needs=needs_of(built.datamodule.metadata),
        files=files,
    )


def write_files(checkpoint: Checkpoint, model_name: str, folder: Path) -> dict[str, int]:
    """Write a calibrated model in both forms, and their checksums; return the sizes.

    Raises:
        ConfigError: If one is too large, or the ONNX file computes something else.
    """
    model = load_model(checkpoint)
    about = description(checkpoint.metadata, model)
    kept = [write_safetensors(checkpoint, folder / f"{model_name}.safetensors", about)]
    onnx = folder / f"{model_name}.onnx"
    programs, _, notes = write_programs(
        ImageModel(model), checkpoint.metadata, about, onnx, OPSET, TOLERANCE, halves=True
    )
    for note in notes:
        print(note)
    for program in programs:
        if program != onnx:
            program.unlink()
    kept.append(onnx)
    for file in kept:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{file.name} would have {file.stat().st_size:,} bytes, at most {MAX_BYTES:,} go "
                "into the zoo: train a narrower network, as by model.net.fc_hidden=28"
            )
    write_checksums(kept, folder / f"{model_name}.sha256")
    return {file.name: file.stat().st_size for file in kept}


def add_row(page: Path, name: str, row: str) -> None:
    """Put a model's line into the table of all, in the place of its old one; sorted by name."""
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(ROW) and not line.startswith(f"{ROW}{name}`")]
    first = next(place for place, line in enumerate(lines) if line.startswith("| model |")) + 2
    others = [line for line in lines if not line.startswith(ROW)]
    whole = [*others[:first], *sorted([*rows, row]), *others[first:]]
    page.write_text("\n".join(whole) + "\n", encoding="utf-8")


def make_entry(folder: Path, name: str, root: Path) -> list[Path]:
    """Make a model's files and its line of docs/zoo.md; write nothing where something is wrong.

    Args:
        folder: The run's.
        name: Of the model.
        root: The checkout to write to.

    Raises:
        ConfigError: If the run is none that has ended, or a file would be too large.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ConfigError(f"NAME is {name!r}; expected small letters, digits and _")
    run = read_run(folder)
    read = read_checkpoint(best_of(run))
    settings = {key: read.data.get(key) for key in CHECKPOINT_DATA_KEYS}
    datamodule = VIMHDataModule(str(run.result["data_dir"]), **settings)
    datamodule.setup()
    checkpoint = replace(
        read,
        state_dict=rounded(read.state_dict),
        metadata=with_levels(read.metadata, datamodule),
    )
    model = load_model(checkpoint)
    fit_data_to_model(datamodule, model)
    print(f"{name}: calibrating")
    calibration = calibrate(model, datamodule, COMPARED)
    adopt(model, calibration)
    checkpoint = replace(checkpoint, calibration=calibration)
    with tempfile.TemporaryDirectory() as place:
        print(f"{name}: exporting")
        made = Path(place)
        files = write_files(checkpoint, name, made)
        print(f"{name}: measuring")
        built = Built(datamodule, model)
        evaluation = evaluate_split(built, "test", sounds=0, resamples=RESAMPLES, seed=SEED)
        coverages = coverages_of(model, datamodule, "test")
        making = making_of(run, built, files)
        card = "\n".join(card_lines(name, evaluation, coverages, making)) + "\n"
        (made / f"{name}.md").write_text(card, encoding="utf-8")
        row = summary_row(name, f"../zoo/{name}.md", evaluation, coverages, making)
        (root / "zoo").mkdir(exist_ok=True)
        written = [shutil.copy(file, root / "zoo" / file.name) for file in sorted(made.iterdir())]
    add_row(root / "docs" / "zoo.md", name, row)
    return written


def main(words: list[str]) -> None:
    """Make an entry, and list its files."""
    if len(words) not in (2, 3) or not all(words):
        sys.exit(__doc__.strip())
    root = Path(words[2]) if len(words) == 3 else ROOT
    try:
        written = make_entry(Path(words[0]), words[1], root)
    except (ConfigError, VIMHError, OSError) as error:
        sys.exit(f"error: {error}")
    for file in written:
        print(f"{file.stat().st_size:>9,} bytes  {file}")


if __name__ == "__main__":
    main(sys.argv[1:])
