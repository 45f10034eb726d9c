"""The whole path without Hydra: sounds, images, a network, and its errors in units.

python examples/vimh_training.py                 a network in about a minute
python examples/vimh_training.py --demo          fewer samples and epochs: ten seconds
python examples/vimh_training.py --save-plots    and a picture of predicted against true
"""

import argparse
import warnings
from functools import partial
from pathlib import Path

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import lightning.pytorch as pl  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from src.data.sources.generator import GeneratorSource  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.models.components import SimpleCNN  # noqa: E402
from src.models.losses import DirectParameterGradientLoss  # noqa: E402
from src.models.multihead_module import MultiheadLitModule  # noqa: E402

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


def make_data(num_samples: int, folder: Path) -> VIMHDataModule:
    """Synthesises the data set, unless it is there already, and splits it."""
    recipe = RECIPE | {"dataset": {"name": "example", "size": num_samples}}
    source = GeneratorSource(recipe, folder)
    # Images are scaled one by one, so the level is not in them: `level` puts it beside them.
    data = VIMHDataModule(source=source, auxiliary_features=["level", "decay_time"])
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
    data.target_kinds = {p.name: "value" for p in parameters}  # labels as numbers in 0...1
    return MultiheadLitModule(
        net=net,
        optimizer=partial(torch.optim.AdamW, lr=0.003),
        criteria={p.name: DirectParameterGradientLoss() for p in parameters},
        output_mode="regression",
        head_margin=0.05,  # a sigmoid reaches its ends only in infinity
        parameters=parameters,
        preparation=preparation,
    )


def train(data: VIMHDataModule, model: MultiheadLitModule, max_epochs: int) -> pl.Trainer:
    """Fits and returns the trainer; without checkpoints and logs, to stay short."""
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


def report(data: VIMHDataModule, pairs: dict[str, np.ndarray]) -> None:
    """Prints the error of each parameter beside that of always saying the mean."""
    for name, (predicted, true) in pairs.items():
        parameter = data.metadata.parameters[name]
        error, guess = np.abs(predicted - true), np.abs(true - true.mean())
        within = np.mean(error <= parameter.tolerance())
        print(
            f"{name}: mean error {error.mean():.3f} {parameter.unit} (always the mean: "
            f"{guess.mean():.3f}), within one JND {within:.1%}"
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
        axes.fill_between(ends, ends - parameter.step, ends + parameter.step, alpha=0.2)
        axes.scatter(true, predicted, s=4)
        axes.set(title=name, xlabel="true", ylabel="predicted")
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--demo", action="store_true", help="512 samples, 5 epochs")
    parser.add_argument("--save-plots", action="store_true", help="write predictions.png")
    parser.add_argument("--folder", type=Path, default=ROOT / "logs" / "example", help="for files")
    options = parser.parse_args()
    num_samples, max_epochs = (512, 5) if options.demo else (8192, 20)

    pl.seed_everything(42, verbose=False)
    data = make_data(num_samples, options.folder)
    model = make_model(data)
    print(f"{num_samples} samples in {data.data_dir}")
    train(data, model, max_epochs)
    pairs = predict(data, model)
    report(data, pairs)
    if options.save_plots:
        save_plot(data, pairs, options.folder / "predictions.png")


if __name__ == "__main__":
    main()
