"""A checkpoint as files for elsewhere: ``python src/export.py ckpt_path=...``.

Safetensors, which prediction reads like a checkpoint; ONNX with preparation, network and decoding;
the same as a `torch.export` program; and the checksums of all three.
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
from src.config_check import ExportConfig, check_config, check_given  # noqa: E402
from src.evaluation.export.model_files import (  # noqa: E402
    INSTALL,
    missing_packages,
    write_model_files,
)
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402

NEEDED = ("src/export.py ckpt_path=CHECKPOINT", "ckpt_path")


@task_wrapper
def export(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write a checkpoint as files that need nothing of this project, and check them.

    Returns:
        The largest ``difference`` from PyTorch as a share of a range, and the ``files``.

    Raises:
        ConfigError: If a package is missing, or the exported model computes something else.
    """
    check_given(cfg, *NEEDED)
    check_packages()
    path = Path(cfg.output or Path(cfg.paths.output_dir) / "model.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    files, difference = write_model_files(
        cfg.ckpt_path, path, cfg.opset, cfg.tolerance, cfg.confidence
    )
    return {"difference": difference}, {"cfg": cfg, "files": files}


def check_packages() -> None:
    """Refuse to export where the packages for it are not installed.

    Raises:
        ConfigError: Saying how to install them.
    """
    if missing := missing_packages():
        raise ConfigError(f"Export needs {', '.join(missing)}: {INSTALL}")


@hydra.main(version_base="1.3", config_path="../configs", config_name="export.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """Run the command with the config that Hydra composed."""
    check_given(cfg, *NEEDED)
    check_config(cfg, ExportConfig)
    if is_check():
        check_packages()
        print(RIGHT)
        return
    extras(cfg)
    export(cfg)


if __name__ == "__main__":
    prepare()
    start(main)
