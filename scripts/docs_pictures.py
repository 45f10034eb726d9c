"""Make the pictures of the documentation: ``python scripts/docs_pictures.py``.

Small files: few pixels and 128 colours.
"""

import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from omegaconf import DictConfig, OmegaConf, open_dict  # noqa: E402
from PIL import Image  # noqa: E402

from src.checkpoint import load_model, read_checkpoint  # noqa: E402
from src.evaluation.prediction.predictor import Prediction, Predictor  # noqa: E402
from src.evaluation.presentation.comparison_picture import comparison_figure  # noqa: E402
from src.evaluation.presentation.dataset_picture import dataset_figure  # noqa: E402
from src.evaluation.presentation.pictures import head_picture  # noqa: E402
from src.synth.generate import generate_dataset  # noqa: E402
from src.synth.images import level_range  # noqa: E402
from src.vimh.records import OpenedDataset, open_dataset  # noqa: E402

FOLDER = ROOT / "docs" / "images"
MODEL = ROOT / "examples" / "model"
COLOURS = 128
ALL_COLOURS = 256  # of a picture with two scales


def save(figure: Figure, name: str, dpi: int, colours: int = COLOURS) -> None:
    """Write a figure as a PNG with few colours.

    Args:
        figure: Drawn.
        name: The file's, without its ending.
        dpi: Pixels an inch.
        colours: As many at most.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png")
    path = FOLDER / f"{name}.png"
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(colours, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path.stat().st_size:>7,} bytes  {path}")


def dataset(recipe: str, size: int, folder: Path) -> OpenedDataset:
    """Generate a small data set of a recipe.

    Args:
        recipe: Its name in configs/recipe.
        size: Samples.
        folder: The folder of data sets.
    """
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        cfg = compose(f"generate_{recipe}", [f"dataset.size={size}"])
    assert isinstance(cfg, DictConfig)
    with open_dict(cfg):
        cfg.generate.output_dir = str(folder)
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return open_dataset(generate_dataset(plain, progress=False).dataset_dir)


def main() -> None:
    """Make all pictures."""
    FOLDER.mkdir(exist_ok=True)
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    predictor = Predictor(load_model(read), read.metadata)
    (found,) = predictor.predict_file(MODEL / "saw.wav")
    images, scale_factors = predictor.image_maker(predictor.resynthesise(found.values)[None])
    ends = level_range(scale_factors[0])
    again = Prediction("resynthesised", images[0], found.values, level_range_db=ends)
    save(comparison_figure(predictor, found, again), "prediction", dpi=80, colours=ALL_COLOURS)
    with tempfile.TemporaryDirectory() as folder:
        save(dataset_figure(dataset("resonator", 2000, Path(folder))), "dataset", dpi=55)
        fresh = dataset("simple_wide", 1024, Path(folder))
        predicted = list(predictor.predict_dataset(fresh, "test", None))
    decay = read.metadata.parameters["log10_decay_time"]
    true, values = (
        np.array([(p.true or {})[decay.name] for p in predicted]),
        np.array([p.values[decay.name] for p in predicted]),
    )
    save(head_picture(decay, true, values), "head", dpi=70)


if __name__ == "__main__":
    main()
