"""Parameters of sounds.

usage: python src/predict.py MODEL SOUND... [key=value ...]

MODEL is a checkpoint (logs/train/runs/NAME/checkpoints/NAME.ckpt), a .safetensors file, or the name
of a model of the zoo, such as zoo:simple_wide (docs/zoo.md). SOUND is a sound file, a folder of
them, a pattern such as "takes/*.wav", or the folder of a VIMH data set; a picture (PNG, JPEG, TIFF,
WebP) for a model of pictures.

key=value, with the defaults:
  ckpt_path=MODEL   the same as by position
  input=SOUND       the same as by position; a list: input=[a.wav,b.wav]
  start=null        where the first window begins: where the sound does (onset), or at the first
                    sample (file); null: as the model's recordings were read, else onset
  window=null       of a sound longer than those of the data set: its first window (first) or window
                    after window (all); null: first where the training sounds have one onset
  split=test        of a data set: test or train
  limit=null        the most records or files; null: all
  batch_size=1      images in a forward pass; more is faster and may move the last bit
  refine=false      fit the synthesiser to the sound, from the network's values on: true, or cma,
                    which needs the package cma
  confidence=0.9    how often the true value lies within the interval that stands beside a value
  sounds=16         the most predictions that get a resynthesised WAV and a picture; 0: the values
                    alone, without the synthesiser
  play=false        play the input, where it is one file, and the resynthesised sounds
  task_name=predict names the folder: logs/TASK_NAME/runs/TIME
  tags=[dev]        words to find the run by
  hydra.run.dir=... a folder of your own for what is written
  paths.*, extras.* as in training: docs/configuration.md

--cfg job shows all keys with their values; --hydra-help is about Hydra's own options.

Examples:
  python src/predict.py examples/model/simple_wide.safetensors examples/model/saw.wav
  python src/predict.py model.ckpt "takes/*.wav" start=file limit=10
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import rootutils
from omegaconf import DictConfig, OmegaConf

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src import command_line  # noqa: E402
from src.cli import entry_point, start  # noqa: E402
from src.config_check import PredictConfig, check_config, check_given  # noqa: E402
from src.evaluation.prediction.player import find_player, play_file  # noqa: E402
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402
from src.utils.rich_utils import plain_console, print_table  # noqa: E402
from src.utils.terminal import take_any_text  # noqa: E402
from src.utils.words import quoted, shown_path  # noqa: E402
from src.vimh.errors import VIMHError  # noqa: E402
from src.vimh.metadata import METADATA_FILE  # noqa: E402
from src.vimh.records import open_dataset  # noqa: E402

NEEDED = ("src/predict.py MODEL SOUND; --help lists the keys", "ckpt_path", "input")
CONFIG = Path(__file__).parents[1] / "configs" / "predict.yaml"

if TYPE_CHECKING:
    from src.evaluation.prediction.predictor import Prediction, Predictor
    from src.refining.refiner import Refiner


@task_wrapper
def predict(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predict the parameters of sounds, and write what they sound like; return all objects.

    Raises:
        ConfigError: If the input is of no known kind or does not fit the model.
        VIMHError: If there is nothing in the input to predict from.
    """
    # Here, so that --help, --cfg job and a config with a mistake do not wait for Lightning.
    from src.calibration.calibration import remarks
    from src.checkpoint import load_model, read_checkpoint
    from src.evaluation.prediction.predictor import Predictor
    from src.evaluation.presentation.prediction_files import (
        file_stem,
        prediction_table,
        write_lines,
        write_resynthesis,
    )
    from src.evaluation.presentation.prediction_texts import refining_text

    check_given(cfg, *NEEDED)
    check_possible(cfg)
    checkpoint = read_checkpoint(cfg.ckpt_path)
    model = load_model(checkpoint)
    how = (cfg.batch_size, cfg.start, cfg.window, cfg.confidence)
    renders = bool(cfg.sounds or cfg.refine)
    predictor = Predictor(model, checkpoint.metadata, *how, renders=renders)
    with saying_how_without():  # one that is refused is refused here
        is_silent = renders and predictor.synthesizer is None
    refiner = predictor.make_refiner(cfg.refine) if cfg.refine else None
    paths = input_paths(cfg.input)
    predictions, failed = predict_input(predictor, paths, cfg.split, cfg.limit)
    console, folder = plain_console(), Path(cfg.paths.output_dir)
    # Before any value: who reads it shall know what was done to the sound.
    for source, notes in {p.source: p.notes for p in predictions}.items():
        if notes:
            console.print(f"{source}: {'; '.join(notes)}.", soft_wrap=True)
    for reason in failed.values():
        console.print(f"left out: {reason}", soft_wrap=True)
    if refiner is not None:
        predictions = refine_all(predictor, refiner, predictions)
    if not is_silent:
        with saying_how_without():
            heard = [predictor.with_sounds(prediction) for prediction in predictions[: cfg.sounds]]
        predictions = [*heard, *predictions[cfg.sounds :]]
    write_lines(folder / "predictions.jsonl", predictions, failed)
    sounds = paths if len(paths) == 1 and paths[0].is_file() else []
    for number, prediction in enumerate(predictions[: cfg.sounds]):
        stem = folder / file_stem(number, prediction, len(predictions))
        files = write_resynthesis(predictor, prediction, stem)
        sounds += [file for file in files if file.suffix == ".wav"]
    parameters = list(predictor.model.parameters_by_head.values())
    print_table(console, prediction_table(predictions, parameters))
    for prediction in predictions:
        if prediction.refined is not None and not prediction.refined.converged:
            said = refining_text(prediction.refined)
            console.print(f"{prediction.source}: {said}", soft_wrap=True)
    for remark in remarks(model.calibration, cfg.confidence):
        console.print(remark, soft_wrap=True)
    if is_silent:
        console.print("No resynthesis: the model's data set was not synthesised.")
    for sound in sounds if cfg.play else []:
        console.print(f"playing {sound.name}", soft_wrap=True)
        play_file(sound)
    console.print(f"Run:         {shown_path(folder)}", soft_wrap=True)
    return {}, {"cfg": cfg, "predictor": predictor, "predictions": predictions, "failed": failed}


def check_possible(cfg: DictConfig) -> None:
    """Refuse wrong input that can be seen without the model.

    Raises:
        ConfigError: If a data set is one of several inputs, or to be refined, or a package is
            missing to refine with.
        VIMHError: If there is nothing to play with.
    """
    if cfg.play:
        find_player()
    paths = input_paths(cfg.input)
    datasets = [path for path in paths if is_dataset(path)]
    if datasets and len(paths) > 1:
        raise ConfigError(f"input: {datasets[0]} is a data set, and has to be the only input.")
    if not cfg.refine:
        return
    from src.evaluation.scoring.refiners import check_method

    if datasets:
        raise ConfigError(
            f"refine compares sounds, and {datasets[0]} holds images of them: name sound files, or "
            "python src/eval.py ckpt_path=... refine=true"
        )
    check_method(cfg.refine)


@contextmanager
def saying_how_without() -> Iterator[None]:
    """Say, where the sounds of values cannot be made, how to predict without them.

    Raises:
        VIMHError: The same with the setting.
    """
    try:
        yield
    except VIMHError as error:
        raise VIMHError(f"{error}; sounds=0 predicts the values alone") from error


def is_dataset(path: Path) -> bool:
    """Whether a folder is a VIMH data set."""
    return (path / METADATA_FILE).is_file()


def input_paths(given: str | Sequence[str]) -> list[Path]:
    """The files and folders that ``input`` names."""
    patterns = [given] if isinstance(given, str) else list(given)
    return [Path(path) for pattern in patterns for path in command_line.matches(str(pattern))]


def predict_input(
    predictor: Predictor, paths: Sequence[Path], split: str, limit: int | None
) -> tuple[list[Prediction], dict[str, str]]:
    """Predict files, folders or a data set; name those of several files that gave no prediction."""
    if len(paths) == 1 and is_dataset(paths[0]):
        return list(predictor.predict_dataset(open_dataset(paths[0]), split, limit)), {}
    if len(paths) == 1 and not paths[0].is_dir():
        return predictor.predict_file(paths[0]), {}
    files = [
        file for path in paths for file in (predictor.files_in(path) if path.is_dir() else [path])
    ]
    predictions: list[Prediction] = []
    failed: dict[str, str] = {}
    for file in files[:limit]:
        try:
            predictions += predictor.predict_file(file)
        except VIMHError as error:
            failed[str(file)] = str(error)
    if not predictions:
        raise VIMHError(f"none of the sounds can be used: {'; '.join(failed.values())}")
    return predictions, failed


def refine_all(
    predictor: Predictor, refiner: Refiner, predictions: Sequence[Prediction]
) -> list[Prediction]:
    """Refine every prediction, with a progress bar."""
    from src.synth.parallel import progress_bar

    refined = []
    with progress_bar(visible=True) as advance:
        for number, prediction in enumerate(predictions):
            refined.append(predictor.refine(prediction, refiner))
            advance("refining", number + 1, len(predictions))
    return refined


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """A command line with a model and sounds by position as Hydra's overrides.

    Raises:
        ConfigError: If sounds are given by position and as ``input`` too; and as
            :func:`src.command_line.choices`.
    """
    own = OmegaConf.load(CONFIG)
    overrides, others = command_line.by_position(arguments, {*map(str, own), "paths", "hydra"})
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    if others and "ckpt_path" not in given:
        model = command_line.matches(others.pop(0))[0]
        overrides.append(f"ckpt_path={quoted(model)}")
    if others and "input" in given:
        raise ConfigError(f"input is given twice: by input=..., and as {others[0]}.")
    if others:
        sounds = ",".join(quoted(other) for other in others)
        overrides.append(f"input={sounds}" if len(others) == 1 else f"input=[{sounds}]")
    return command_line.choices(command_line.user_paths(overrides))


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """Run the command with the config that Hydra composed."""
    check_given(cfg, *NEEDED)
    check_config(cfg, PredictConfig)
    if command_line.is_check():
        check_possible(cfg)
        print(command_line.RIGHT)
        return
    extras(cfg)
    predict(cfg)


def run(arguments: Sequence[str]) -> None:
    """Run the command with arguments that Hydra has not seen yet."""
    take_any_text()
    if {"--help", "-h"} & set(arguments):
        assert __doc__ is not None
        print(__doc__.strip())
        return
    try:
        sys.argv[1:] = overrides_of(command_line.take_check(arguments))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    start(main)


if __name__ == "__main__":
    run(sys.argv[1:])
