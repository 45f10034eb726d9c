"""Parameters in their units, with steps that are ratios, learn as their logarithms do."""

import math
from pathlib import Path

import numpy as np
import pytest
from omegaconf import open_dict

from src.train import train
from tests.helpers import shrink

FREQUENCY, Q = math.log10(1.03), math.log10(1.2)
# The same classes: a frequency of 1.03^156 to 1.03^234 Hz in steps of 3 %, Q 1 to 1.2^25 in 20 %.
RATIOS = {
    "frequency": {"min": 1.03**156, "max": 1.03**234, "step": 0.03, "spacing": "log"},
    "q": {"min": 1.0, "max": 1.2**25, "step": 0.2, "spacing": "log"},
}
LOGARITHMS = {
    "log10_frequency": {"min": 156 * FREQUENCY, "max": 234 * FREQUENCY, "step": FREQUENCY},
    "log10_q": {"min": 0.0, "max": 25 * Q, "step": Q},
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dg", "ordinal"])
def test_a_network_learns_a_frequency_as_well_as_its_logarithm(
    loss: str, compose_config, tmp_path: Path
) -> None:
    """Within the scatter of three seeds."""

    def errors(experiment: str, parameters: dict[str, dict[str, object]]) -> np.ndarray:
        found = []
        for seed in (1, 2, 3):
            model = "avix_cnn_64k_jnd" if loss == "ordinal" else "avix_cnn_64k_jnd_dg_hybrid"
            choices = [f"experiment={experiment}", f"loss={loss}", f"model={model}"]
            cfg = shrink(compose_config("train", *choices), tmp_path)
            with open_dict(cfg):
                cfg.seed, cfg.trainer.max_epochs, cfg.data.batch_size = seed, 12, 64
                cfg.data.source.recipe.dataset.size = 2000
                cfg.data.source.recipe.synth.parameters.update(parameters)
                cfg.model.loss_weights = dict.fromkeys(parameters, 1.0)
                cfg.paths.output_dir = str(tmp_path / f"{experiment}_{seed}")
            Path(cfg.paths.output_dir).mkdir()
            metrics, _ = train(cfg)
            found.append([float(metrics[f"test/{name}_mae_jnd"]) for name in parameters])
        return np.array(found)

    ratios = errors("resonator_hz_cnn", RATIOS)
    logarithms = errors("resonator_cnn", LOGARITHMS)
    scatter = np.maximum(np.ptp(ratios, axis=0), np.ptp(logarithms, axis=0))
    assert (np.abs(ratios.mean(axis=0) - logarithms.mean(axis=0)) < scatter).all()
    assert (ratios < 5.0).all(), "of 78 and of 25 steps: it learns"
