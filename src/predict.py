"""Parameters of a sound: ``python src/predict.py ckpt_path=... input=sound.wav``.

The input is a sound file, a folder of them, or a VIMH data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import rootutils
from omegaconf import DictConfig, OmegaConf

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.cli import entry_point  # noqa: E402
from src.evaluation.player import find_player, play_file  # noqa: E402
from src.evaluation.sounds import sound_files  # noqa: E402
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402
from src.vimh.errors import VIMHError  # noqa: E402
from src.vimh.metadata import METADATA_FILE  # noqa: E402
from src.vimh.records import open_dataset  # noqa: E402

if TYPE_CHECKING:
    from src.evaluation.predictor import Prediction, Predictor


@task_wrapper
def predict(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predicts the parameters of sounds, and writes what they sound like.

    Args:
        cfg: The composed config; ``ckpt_path`` and ``input`` are needed.

    Returns:
        No metrics, and all objects, ``predictions`` among them.

    Raises:
        ConfigError: If the input is of no known kind or does not fit the model.
        VIMHError: If there is nothing in the input to predict from.
    """
    # Here, so that --help, --cfg job and a config with a mistake do not wait for Lightning.
    from rich.console import Console

    from src.checkpoint import load_model, read_checkpoint
    from src.evaluation.prediction_report import (
        file_stem,
        prediction_table,
        write_lines,
        write_resynthesis,
    )
    from src.evaluation.predictor import Predictor

    for key in ("ckpt_path", "input"):
        if OmegaConf.is_missing(cfg, key):
            raise ConfigError(f"{key} is missing: python src/predict.py ckpt_path=... input=...")
    if cfg.play:
        find_player()
    checkpoint = read_checkpoint(cfg.ckpt_path)
    predictor = Predictor(load_model(checkpoint), checkpoint.metadata, cfg.batch_size, cfg.start)
    predictions, failed = predict_input(predictor, Path(cfg.input), cfg.split, cfg.limit)
    console, folder = Console(), Path(cfg.paths.output_dir)
    write_lines(folder / "predictions.jsonl", predictions, failed)
    sounds = [Path(cfg.input)] if Path(cfg.input).is_file() else []
    for number, prediction in enumerate(predictions[: cfg.sounds]):
        stem = folder / file_stem(number, prediction, len(predictions))
        files = write_resynthesis(predictor, prediction, stem)
        sounds += [file for file in files if file.suffix == ".wav"]
    parameters = list(predictor.model.parameters_by_head.values())
    console.print(prediction_table(predictions, parameters))
    for source, notes in {p.source: p.notes for p in predictions}.items():
        if notes:
            console.print(f"{source}: {'; '.join(notes)}.", markup=False, soft_wrap=True)
    for reason in failed.values():
        console.print(f"left out: {reason}", markup=False, soft_wrap=True)
    if predictor.synthesizer is None:
        console.print("No resynthesis: the model's data set was not synthesised.")
    for sound in sounds if cfg.play else []:
        console.print(f"playing {sound.name}", markup=False, soft_wrap=True)
        play_file(sound)
    console.print(f"Run:         {folder}", markup=False, soft_wrap=True)
    return {}, {"cfg": cfg, "predictor": predictor, "predictions": predictions, "failed": failed}


def predict_input(
    predictor: Predictor, path: Path, split: str, limit: int | None
) -> tuple[list[Prediction], dict[str, str]]:
    """Predicts a file, a folder or a data set.

    Args:
        predictor: What predicts.
        path: The input.
        split: Of a data set, "train" or "test".
        limit: The most records or files; None: all.

    Returns:
        The predictions, and of a folder's files that gave none, the reasons.
    """
    if split not in ("train", "test"):
        raise ConfigError(f"split is {split!r}; it has to be train or test.")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it has to be 1 or more, or null for all.")
    if (path / METADATA_FILE).is_file():
        return list(predictor.predict_dataset(open_dataset(path), split, limit)), {}
    if not path.is_dir():
        return predictor.predict_file(path), {}
    predictions: list[Prediction] = []
    failed: dict[str, str] = {}
    for file in sound_files(path)[:limit]:
        try:
            predictions += predictor.predict_file(file)
        except VIMHError as error:
            failed[str(file)] = str(error)
    if not predictions:
        raise VIMHError(f"none of the sounds can be used: {'; '.join(failed.values())}")
    return predictions, failed


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """The command line.

    Args:
        cfg: The config that Hydra composed.
    """
    extras(cfg)
    predict(cfg)


if __name__ == "__main__":
    main()
