"""A checkpoint as ONNX: ``python src/export.py ckpt_path=...``.

The ONNX file holds preparation, network and decoding; beside it lie the same as a `torch.export`
program, the weights as safetensors, and the checksums of all three.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import rootutils
import torch
from omegaconf import DictConfig, OmegaConf

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.checkpoint import load_model, read_checkpoint  # noqa: E402
from src.cli import entry_point  # noqa: E402
from src.evaluation.exported import ExportedModel, description  # noqa: E402
from src.utils import extras, task_wrapper  # noqa: E402
from src.utils.errors import ConfigError  # noqa: E402
from src.vimh.metadata import Metadata  # noqa: E402

NEEDED = ("onnx", "onnxscript", "onnxruntime", "safetensors")
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")  # loggers that report every pass of an optimiser
NAMES_IN, NAME_OUT = ("images", "scale_factors"), "values"


@task_wrapper
def export(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes a checkpoint as files that need nothing of this project, and checks them.

    Args:
        cfg: The composed config; ``ckpt_path`` is needed.

    Returns:
        The largest ``difference`` from PyTorch as a share of a range, and the ``files``.

    Raises:
        ConfigError: If a package is missing, or the exported model computes something else.
    """
    if OmegaConf.is_missing(cfg, "ckpt_path"):
        raise ConfigError("ckpt_path is missing: python src/export.py ckpt_path=...")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f'Export needs {", ".join(missing)}: pip install -e ".[export]"')
    checkpoint = read_checkpoint(cfg.ckpt_path)
    model = load_model(checkpoint).cpu()
    path = Path(cfg.output or Path(cfg.paths.output_dir) / "model.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    about = description(checkpoint.metadata, model)
    exported = ExportedModel(model)
    files = write_files(exported, checkpoint.metadata, about, path, cfg.opset)
    ranges = [p.range for p in model.parameters_by_head.values()]
    difference = largest_difference(exported, checkpoint.metadata, ranges, path)
    if difference > cfg.tolerance:
        raise ConfigError(
            f"{path} computes something else than PyTorch: they differ by {difference:.2g} of a "
            f"parameter's range, expected at most {cfg.tolerance:g} (tolerance). Do not use it."
        )
    print(f"Checked with onnxruntime: at most {difference:.1g} of a parameter's range apart")
    for file in files:
        print(f"{file.stat().st_size:>9,} bytes  {file}")
    return {"difference": difference}, {"cfg": cfg, "files": files, "model": model}


def write_files(
    exported: ExportedModel, metadata: Metadata, about: dict[str, str], path: Path, opset: int
) -> list[Path]:
    """Writes ONNX, the program, weights and checksums.

    Args:
        exported: The model.
        metadata: Decides the shape of an image.
        about: Texts by name for the files' own metadata.
        path: The ONNX file; the others are named after it.
        opset: The version of ONNX's operators.
    """
    import onnx
    from safetensors.torch import save_file

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    example = example_batch(metadata, 2)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(
            exported, example, dynamic_shapes=({0: batch}, {0: batch}), strict=False
        )
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(NAMES_IN),
            output_names=[NAME_OUT],
            opset_version=opset,
            verbose=False,
        )
    assert converted is not None
    proto = converted.model_proto
    onnx.helper.set_model_props(proto, about)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    whole, weights = path.with_suffix(".pt2"), path.with_suffix(".safetensors")
    with warnings.catch_warnings():  # about weights that share memory on other devices
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, whole, extra_files=about)
    tensors = {name: tensor.contiguous().clone() for name, tensor in exported.state_dict().items()}
    save_file(tensors, weights, metadata=about)
    sums = path.with_suffix(".sha256")
    lines = (f"{_sha256(file)}  {file.name}\n" for file in (path, whole, weights))
    sums.write_text("".join(lines))
    return [path, whole, weights, sums]


def example_batch(metadata: Metadata, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that decay with time and frequency, as sounds do, and their levels; seeded."""
    rng = np.random.default_rng(0)
    channels, height, width = metadata.image_shape
    slope = rng.uniform(0, 1, (count, channels, 2, 1, 1))
    fall = (
        slope[:, :, 0] * np.linspace(0, 1, width)
        + slope[:, :, 1] * np.linspace(0, 1, height)[:, None]
    )
    noise = rng.uniform(-0.1, 0.1, (count, channels, height, width))
    images = (255 * (1 - fall / 2 + noise)).clip(0, 255).astype(np.uint8)
    levels = np.stack([rng.uniform(-200, -60, count), rng.uniform(-50, 0, count)], axis=1)
    return torch.from_numpy(images), torch.from_numpy(levels.astype(np.float32))


def largest_difference(
    exported: ExportedModel, metadata: Metadata, ranges: list[float], path: Path
) -> float:
    """How far onnxruntime and PyTorch are apart at most, as a share of the parameter's range."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in (1, 64):  # other sizes than the one it was traced with
        inputs = example_batch(metadata, count)
        with torch.no_grad():
            expected = exported(*inputs).numpy()
        fed = {name: value.numpy() for name, value in zip(NAMES_IN, inputs, strict=True)}
        (found,) = session.run([NAME_OUT], fed)
        largest = max(largest, float((np.abs(found - expected) / np.array(ranges)).max()))
    return largest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@hydra.main(version_base="1.3", config_path="../configs", config_name="export.yaml")
@entry_point
def main(cfg: DictConfig) -> None:
    """The command line.

    Args:
        cfg: The config that Hydra composed.
    """
    extras(cfg)
    export(cfg)


if __name__ == "__main__":
    main()
