"""Adds intervals and the sign of unlike sounds to a checkpoint: ``src/calibrate.py ckpt_path=...``.

Training does it at its end; this is for checkpoints of before, and for other data: intervals then
hold for sounds as those of its validation split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import rootutils
from omegaconf import DictConfig

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.cli import entry_point, start  # noqa: E402
from src.command_line import RIGHT, is_check, prepare  # noqa: E402
from src.config_check import CalibrateConfig, check_config, check_given  # noqa: E402
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.rich_utils import plain_console, print_table  # noqa: E402

NEEDED = ("src/calibrate.py ckpt_path=CHECKPOINT", "ckpt_path")


@task_wrapper
def calibrate(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure a checkpoint on its validation split, and write that into its file.

    Returns:
        Nothing measured, and the ``calibration``.

    Raises:
        ConfigError: If there are no validation samples, or the data set is not the model's.
    """
    from src.build import build_evaluation_data
    from src.calibrating import calibrate_file, calibration_table
    from src.checkpoint import load_model, read_checkpoint

    check_given(cfg, *NEEDED)
    path = Path(cfg.ckpt_path)
    checkpoint = read_checkpoint(path)
    model = load_model(checkpoint)
    datamodule = build_evaluation_data(cfg, checkpoint.data, model)
    calibration = calibrate_file(path, datamodule)
    console = plain_console()
    print_table(console, calibration_table(calibration, list(model.parameters_by_head.values())))
    for remark in calibration.remarks(0.9):
        console.print(remark, soft_wrap=True)
    console.print(f"Written:     {path}", soft_wrap=True)
    return {}, {"cfg": cfg, "calibration": calibration}


@hydra.main(version_base="1.3", config_path="../configs", config_name="calibrate.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """Run the command with the config that Hydra composed."""
    check_given(cfg, *NEEDED)
    check_config(cfg, CalibrateConfig)
    if is_check():
        print(RIGHT)
        return
    extras(cfg)
    calibrate(cfg)


if __name__ == "__main__":
    prepare()
    start(main)
