"""predict.py with refine=true: values fitted to the sound, beside the network's."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import open_dict

from src.checkpoint import load_model, read_checkpoint
from src.config_check import PredictConfig, check_config
from src.evaluation.prediction.predictor import Prediction, Predictor
from src.evaluation.presentation.comparison_picture import comparison_figure
from src.evaluation.scoring import refiners
from src.predict import check_possible, predict
from src.refining.refiner import Refiner
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError

MODEL = Path(__file__).parents[3] / "examples" / "model"
SAW, RATE = soundfile.read(MODEL / "saw.wav", dtype="float32")
TRUE = {"note_velocity": 61.278, "log10_decay_time": -0.05749}  # docs/predict.md


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    read = read_checkpoint(MODEL / "simple_wide.safetensors")
    return Predictor(load_model(read), read.metadata)


@pytest.fixture
def run(compose_config, tmp_path: Path):
    def predicted(given: Path, *overrides: str):
        model = f"ckpt_path={MODEL / 'simple_wide.safetensors'}"
        cfg = compose_config("predict", model, f"input='{given}'", *overrides)
        check_config(cfg, PredictConfig)
        return predict(cfg)[1]["predictions"]

    return predicted


def test_refined_values_stand_beside_the_networks(run, tmp_path: Path, capsys) -> None:
    (found,) = run(MODEL / "saw.wav", "refine=true")
    refined = found.refined
    assert refined.converged
    assert refined.start == found.values
    assert refined.residual_db < -100
    for name, value in TRUE.items():
        assert refined.values[name] == pytest.approx(value, abs=1e-3 if value > 1 else 2e-5)
    (line,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    assert line["values"] == found.values
    assert line["refined"]["values"] == refined.values
    assert line["refined"]["distances"]["published_mss"] < 1e-3 < line["distances"]["published_mss"]
    shown = capsys.readouterr().out
    assert "refined" in shown
    assert f"{refined.residual_db:.1f}" in shown
    sounds = {n: soundfile.read(tmp_path / f"saw_{n}.wav")[0] for n in ("resynthesised", "refined")}
    far = {name: np.abs(sound - SAW).max() for name, sound in sounds.items()}
    assert far["refined"] < 1e-5 < far["resynthesised"]
    assert (tmp_path / "saw.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_the_refined_sound_and_both_waveforms(predictor: Predictor) -> None:
    (plain,) = predictor.predict_file(MODEL / "saw.wav")
    found = predictor.with_sounds(predictor.refine(plain, predictor.make_refiner(True)))
    again = predictor.refine(plain, predictor.make_refiner(True)).refined
    assert found.refined is not None
    assert again is not None
    assert again.values == found.refined.values  # seeded: to the last bit
    rows = [
        Prediction(name, plain.image, plain.values, level_range_db=plain.level_range_db)
        for name in ("resynthesised", "refined")
    ]
    figure = comparison_figure(predictor, found, *rows)
    assert sum(bool(axes.get_images()) for axes in figure.axes) >= 4  # three and a difference
    assert "refined − input [dB]" in [axes.get_ylabel() for axes in figure.axes]
    (waveforms,) = [axes for axes in figure.axes if axes.get_ylabel() == "amplitude"]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in waveforms.get_lines()}
    assert np.abs(lines["refined"] - lines["input"]).max() < 1e-5
    assert "refined: residual -" in figure.get_suptitle()


def test_values_that_do_not_converge_are_the_networks(predictor: Predictor, tmp_path: Path) -> None:
    """White noise is no saw: the search gives up, and nothing is rendered of what it found."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    (plain,) = predictor.predict_file(tmp_path / "noise.wav")
    assert predictor.synthesizer is not None
    refiner = Refiner(predictor.synthesizer, {}, max_renders=20)
    found = predictor.with_sounds(predictor.refine(plain, refiner))
    assert found.refined is not None
    assert not found.refined.converged
    assert found.refined.values == found.values
    assert found.refined_sound is None
    figure = comparison_figure(predictor, found)
    caption = " ".join(figure.get_suptitle().split())
    assert "refining did not converge" in caption
    assert "the network's values are kept" in caption
    assert max(map(len, figure.get_suptitle().splitlines())) <= 70  # none is cut off


def test_a_value_that_is_nan_is_not_refined(predictor: Predictor) -> None:
    values = dict.fromkeys(predictor.model.parameters_by_head, float("nan"))
    image = np.zeros(predictor.metadata.image_shape, np.uint8)
    prediction = Prediction("a.wav", image, values, audio=SAW)
    found = predictor.refine(prediction, predictor.make_refiner(True))
    assert found.refined is None
    assert found.notes == ("not refined: a predicted value is no number",)


def test_what_cannot_be_refined_gets_a_sentence(predictor, compose_config, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"notes was not synthesised\. Leave refine out"):
        refiners.make_refiner(None, replace(predictor.metadata, dataset_name="notes"), None, True)
    record = Prediction("test[0]", np.zeros((1, 1, 1), np.uint8), TRUE)
    with pytest.raises(VIMHError, match=r"test\[0\] is an image without its sound"):
        predictor.refine(record, predictor.make_refiner(True))
    cfg = compose_config("predict", "ckpt_path=x", "input=y", "refine=cma")
    monkeypatch.setattr(refiners, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package cma: pip install -e '\.\[refine\]'"):
        check_possible(cfg)
    with open_dict(cfg):
        cfg.refine = "newton"
    with pytest.raises(ConfigError, match=r"refine is 'newton'"):
        check_config(cfg, PredictConfig)


@pytest.mark.skipif(find_spec("cma") is None, reason='pip install -e ".[refine]"')
def test_another_method(run) -> None:
    (found,) = run(MODEL / "saw.wav", "refine=cma", "sounds=0")
    assert found.refined.converged
