"""The whole path without Hydra: sounds, images, a network, and its errors in units.

python examples/vimh_training.py                 a network in about a minute
python examples/vimh_training.py --demo          fewer samples and epochs: ten seconds
python examples/vimh_training.py --save-plots    and a picture of predicted against true
python examples/vimh_training.py --data-dir data-vimh/NAME          a data set that is there
python examples/vimh_training.py --analyze-only --checkpoint FILE   no training, only the errors
"""

import argparse
import json
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import lightning.pytorch as pl  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from src.build import fit_data_to_model  # noqa: E402
from src.checkpoint import load_model, read_checkpoint  # noqa: E402
from src.checkpoints.checkpoint_io import AtomicCheckpointIO  # noqa: E402
from src.data.sources.generator import GeneratorSource  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.models.components import SimpleCNN  # noqa: E402
from src.models.losses import DirectParameterGradientLoss  # noqa: E402
from src.models.multihead_module import MultiheadLitModule  # noqa: E402
from src.utils.errors import CheckpointError, ConfigError  # noqa: E402
from src.vimh.disk import in_words, is_of_a_folder  # noqa: E402
from src.vimh.errors import VIMHError  # noqa: E402

# A decaying sawtooth of 100 Hz: how hard it was struck, and how fast it decays.
RECIPE = {
    "sample_rate": 8000,  # Hz
    "duration": 1.0,  # s
    "image": {"height": 32, "width": 32},  # frequency bins, frames
    "synth": {
        "_target_": "src.synth.synthesizers.SimpleSawSynth",
        "parameters": {  # step: one just-noticeable difference (JND)
            "note_number": {"min": 43.35, "max": 43.35},  # fixed: 100 Hz
            "note_velocity": {"min": 10, "max": 126, "step": 2},
            "log10_decay_time": {"min": -2.0, "max": 0.3, "step": 0.1},
        },
    },
    "stft": {"type": "stft", "n_fft": 80, "n_window": 80, "hop_length": 80,
             "window_type": "rectangular", "bins_per_harmonic": 1.0},
}  # fmt: skip


def make_data(num_samples: int, folder: Path, batch_size: int = 128) -> VIMHDataModule:
    """Synthesise the data set, unless it is there already, and split it."""
    recipe = RECIPE | {"dataset": {"name": "example", "size": num_samples}}
    source = GeneratorSource(recipe, folder)
    # Images are scaled one by one, so the level is not in them: `level` puts it beside them.
    features = ["level", "decay_time"]
    data = VIMHDataModule(source=source, auxiliary_features=features, batch_size=batch_size)
    data.prepare_data()
    return data


def open_data(folder: Path, batch_size: int) -> VIMHDataModule:
    """A data set that is there, with the level beside the image where the set knows it."""
    features = ["level"] if VIMHDataModule(folder).metadata.has_scale_factors else None
    data = VIMHDataModule(folder, auxiliary_features=features, batch_size=batch_size)
    data.prepare_data()
    return data


def make_model(data: VIMHDataModule) -> MultiheadLitModule:
    """A small CNN with one regression head for each parameter."""
    parameters = list(data.metadata.parameters.values())
    preparation = data.build_preparation()  # bytes to what the network sees
    net = SimpleCNN(
        heads_config={p.name: 1 for p in parameters},
        output_mode="regression",
        auxiliary_input_size=preparation.auxiliary_size,
        **SimpleCNN.image_arguments(preparation.image_shape),
    )
    return MultiheadLitModule(
        net=net,
        optimizer=partial(torch.optim.AdamW, lr=0.003),
        criteria={p.name: DirectParameterGradientLoss() for p in parameters},
        output_mode="regression",
        head_margin=0.05,  # a sigmoid reaches its ends only in infinity
        parameters=parameters,
        preparation=preparation,
        provenance=describe(data),
    )


def describe(data: VIMHDataModule) -> dict[str, Any]:
    """What a checkpoint needs so that --analyze-only and src/predict.py build the model again."""
    features = data.preparation_settings.auxiliary_features
    config = {
        "data": {"auxiliary_features": features},
        "model": {"net": {"_target_": "src.models.components.SimpleCNN"}, "head_margin": 0.05},
        "loss": {"_target_": "src.models.losses.DirectParameterGradientLoss"},
    }
    return {"format": 1, "config": config, "metadata": data.metadata.to_json()}


def load(checkpoint: Path, data: VIMHDataModule) -> MultiheadLitModule:
    """The model of a checkpoint, of this example or of src/train.py; the data have to fit it."""
    model = load_model(read_checkpoint(checkpoint))
    fit_data_to_model(data, model)
    return model


def train(data: VIMHDataModule, model: MultiheadLitModule, max_epochs: int) -> pl.Trainer:
    """Fit and return the trainer; without a best checkpoint and logs, to stay short."""
    # A batch is one read here, so no worker is missing; the other two are Lightning's own affair.
    for advice in (".*does not have many workers", ".*LeafSpec", ".*on_after_batch_transfer"):
        warnings.filterwarnings("ignore", message=advice)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,  # the loader knows its rank itself
        plugins=[AtomicCheckpointIO()],  # a file that is written whole, and read without code
    )
    trainer.fit(model, datamodule=data)
    return trainer


@torch.no_grad()
def predict(data: VIMHDataModule, model: MultiheadLitModule) -> dict[str, np.ndarray]:
    """Parameter name -> (2, N): predicted and true values of the test samples, in units."""
    model.eval()
    pairs: dict[str, list[np.ndarray]] = {name: [] for name in model.heads}
    for raw in data.raw_batches("test"):
        result = model.model_step(model.preparation.prepare_batch(raw))
        for name, found in pairs.items():
            found.append(np.stack([result.predictions[name], result.targets[name]]))
    return {name: np.concatenate(found, axis=1) for name, found in pairs.items()}


def measure(data: VIMHDataModule, pairs: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Parameter name -> its mean error, that of always saying the mean, and the share in a JND."""
    found: dict[str, dict[str, Any]] = {}
    for name, (predicted, true) in pairs.items():
        parameter = data.metadata.parameters[name]
        error = np.abs(predicted - true)
        on_axis = np.abs(parameter.codec.error(predicted, true))
        found[name] = {
            "unit": parameter.unit,
            "mean_error": float(error.mean()),
            "mean_error_of_the_mean": float(np.abs(true - true.mean()).mean()),
            # A parameter without a step has no JND.
            "within_one_jnd": float(np.mean(on_axis <= parameter.tolerance()))
            if parameter.step
            else None,
        }
    return found


def report(measured: dict[str, dict[str, Any]]) -> None:
    """Print the error of each parameter beside that of always saying the mean."""
    for name, found in measured.items():
        within = found["within_one_jnd"]
        print(
            f"{name}: mean error {found['mean_error']:.3f} {found['unit']} (always the mean: "
            f"{found['mean_error_of_the_mean']:.3f})"
            + ("" if within is None else f", within one JND {within:.1%}")
        )


def save_plot(data: VIMHDataModule, pairs: dict[str, np.ndarray], path: Path) -> None:
    """Predicted against true value, with the band of one JND."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(pairs), 5), layout="constrained")
    for axes, (name, (predicted, true)) in zip(
        figure.subplots(1, len(pairs), squeeze=False)[0], pairs.items(), strict=True
    ):
        parameter = data.metadata.parameters[name]
        ends = np.array([parameter.min, parameter.max])
        codec = parameter.codec  # where steps are ratios, its axis is logarithmic
        low, high = (codec.from_axis(codec.to_axis(ends) + s * codec.width) for s in (-1, 1))
        axes.fill_between(ends, low, high, alpha=0.2)
        axes.scatter(true, predicted, s=4)
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        axes.set(title=name, xlabel=f"true{unit}", ylabel=f"predicted{unit}")
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--demo", action="store_true", help="512 samples, 5 epochs")
    add("--save-plots", action="store_true", help="write predictions.png")
    add("--folder", type=Path, default=ROOT / "logs" / "example", help="for files")
    add("--data-dir", type=Path, help="a VIMH data set; by default one is made")
    add("--max-epochs", type=int, help="by default 20, with --demo 5")
    add("--batch-size", type=int, default=128, help="samples of a step (128)")
    add("--analyze-only", action="store_true", help="measure --checkpoint, without training")
    add("--checkpoint", type=Path, help="of an earlier run, for --analyze-only")
    add("--export-results", type=Path, help="write the figures into this JSON file")
    options = parser.parse_args()
    if options.analyze_only != (options.checkpoint is not None):
        parser.error("--analyze-only and --checkpoint FILE go together")
    if options.max_epochs is None:
        options.max_epochs = 5 if options.demo else 20
    return options


def run(options: argparse.Namespace) -> None:
    """Data, model, training, errors."""
    num_samples = 512 if options.demo else 8192
    pl.seed_everything(42, verbose=False)
    if options.data_dir is None:
        data = make_data(num_samples, options.folder, options.batch_size)
    else:
        data = open_data(options.data_dir, options.batch_size)
    sizes = data.get_dataset_info()["split_sizes"]
    print(f"{sum(sizes.values())} samples in {data.data_dir}, {sizes['test']} of them to test")
    checkpoint = options.checkpoint or options.folder / "model.ckpt"
    if options.analyze_only:
        model = load(checkpoint, data)
    else:
        model = make_model(data)
        train(data, model, options.max_epochs).save_checkpoint(checkpoint, weights_only=True)
    pairs = predict(data, model)
    measured = measure(data, pairs)
    report(measured)
    print(f"checkpoint: {checkpoint}")
    if options.export_results is not None:
        results = {"dataset": str(data.data_dir), "checkpoint": str(checkpoint), "test": measured}
        options.export_results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"figures: {options.export_results}")
    if options.save_plots:
        save_plot(data, pairs, options.folder / "predictions.png")


def main() -> None:
    """Run, and say a mistake in one sentence."""
    try:
        run(arguments())
    except (CheckpointError, ConfigError, VIMHError) as mistake:
        sys.exit(f"error: {mistake}")
    except OSError as error:
        if not is_of_a_folder(error):
            raise
        sys.exit(f"error: {in_words(error)}")


if __name__ == "__main__":
    main()
