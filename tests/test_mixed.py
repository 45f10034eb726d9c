"""Classes beside numbers: each head has the loss of its kind, from training to prediction."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from src import command_line
from src.build import build
from src.checkpoint import load_model, read_checkpoint
from src.command_line import add_or_override
from src.config_check import TrainConfig, check_config
from src.eval import evaluate
from src.evaluation.export.functions import ImageModel
from src.evaluation.prediction.predictor import Predictor
from src.models.multihead_module import MultiheadLitModule
from src.monitor import resolve_monitor
from src.predict import predict
from src.train import train
from src.utils.errors import ConfigError
from src.vimh.records import open_dataset
from tests.conftest import ROOT
from tests.helpers import shrink

EXPERIMENT = "experiment=mixed_cnn"
DECAY, CUTOFF, WAVEFORM = HEADS = ["log10_decay_time", "log10_cutoff", "waveform"]


@pytest.fixture
def config(compose_config, data_root: Path):
    def composed(losses: dict[str, str | None] | None = None, **values: object) -> DictConfig:
        """The experiment with other losses, as choosing them does: to compose takes a second."""
        cfg = shrink(compose_config("train", EXPERIMENT), data_root)
        for key, name in (losses or {}).items():
            place = key if key == "loss" else f"model.losses.{key}"
            node = name and OmegaConf.load(ROOT / "configs" / "loss" / f"{name}.yaml")
            OmegaConf.update(cfg, place, node, merge=False, force_add=True)
        for key, value in values.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
        return cfg

    return composed


def losses_of(model: MultiheadLitModule) -> dict[str, str]:
    return {name: type(head.loss).__name__ for name, head in model.heads.items()}


def test_the_shipped_set_has_numbers_and_a_class(config) -> None:
    cfg = config()
    model = build(cfg).model
    assert list(model.heads) == HEADS
    assert model.net.heads_config == {DECAY: 1, CUTOFF: 1, WAVEFORM: 2}
    assert model.net.output_mode == "mixed"
    assert list(model.net.heads.activations.values()) == ["sigmoid", "sigmoid", "none"]
    # A class counts as much as the number with the most steps.
    assert [head.weight for head in model.heads.values()] == pytest.approx([23 / 35, 1.0, 1.0])
    logged = {name.removeprefix("val/") for name in model.logged_names}
    assert {f"{WAVEFORM}_acc", "acc", "jnd", "mae_jnd", f"{CUTOFF}_mae"} <= logged
    assert not logged & {f"{CUTOFF}_acc", f"{DECAY}_acc", f"{WAVEFORM}_mae", f"{WAVEFORM}_jnd"}
    resolve_monitor(cfg, model)
    assert cfg.monitor.metric == "val/loss"  # the error in steps says nothing of a class


@pytest.mark.parametrize(
    ("given", "losses"),
    [
        ({"loss": "dg"}, ["DirectParameterGradientLoss"] * 2 + ["CrossEntropyHead"]),
        ({"loss": "ce", "continuous": "jnd"}, ["JNDLoss"] * 2 + ["CrossEntropyHead"]),
        ({"continuous": "jnd", CUTOFF: "hl_gauss"}, ["JNDLoss", "HLGaussLoss", "CrossEntropyHead"]),
        (
            {WAVEFORM: "ce", "categorical": "emd", "loss": "jnd"},
            ["JNDLoss", "JNDLoss", "CrossEntropyHead"],
        ),
    ],
)
def test_a_heads_name_comes_before_its_kind_and_that_before_loss(
    config, given: dict[str, str], losses: list[str]
) -> None:
    model = build(config(given)).model
    assert list(losses_of(model).values()) == losses


def test_a_head_is_chosen_for_without_a_plus_even_if_an_experiment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    own = f"# @package _global_\ndefaults:\n  - /loss@model.losses.{WAVEFORM}: ce\n"
    (tmp_path / "experiment" / "own.yaml").write_text(own)
    monkeypatch.setattr(command_line, "CONFIGS", tmp_path)
    word = f"loss@model.losses.{WAVEFORM}=weighted_ce"
    search = f"hydra.searchpath=[{tmp_path}]"
    for words in ([word], [word, "experiment=own"]):
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
            cfg = compose("train", [*add_or_override(words), search])
        assert cfg.model.losses[WAVEFORM]._target_.endswith("WeightedCrossEntropyLoss")


def test_a_class_takes_cross_entropy_where_the_loss_needs_an_order(config, caplog) -> None:
    cfg = config({"loss": "emd", "categorical": None})
    with caplog.at_level(logging.INFO, logger="src.build"):
        model = build(cfg).model
    assert list(losses_of(model).values()) == ["EMDLoss", "EMDLoss", "CrossEntropyHead"]
    assert "EMDLoss needs an order, and waveform has none" in caplog.text
    assert cfg.model.losses.categorical == {"_target_": "torch.nn.CrossEntropyLoss"}
    assert model.provenance["config"]["model"]["losses"]["categorical"]


def test_where_no_head_has_an_order_the_loss_is_refused(compose_config, data_root: Path) -> None:
    cfg = shrink(compose_config("train", "experiment=digits_cnn"), data_root)
    cfg.loss = {"_target_": "src.models.losses.EMDLoss"}
    with pytest.raises(ConfigError, match="'digit' is categorical: choose loss=ce"):
        build(cfg)


@pytest.mark.parametrize(
    ("losses", "values", "message"),
    [
        (
            {"wavefrom": "ce"},
            {},
            r"^model\.losses\.wavefrom is unknown; did you mean waveform\? \(there are cat",
        ),
        (
            {"categorical": "emd"},
            {},
            r"^model\.losses\.categorical: EMDLoss: EMDLoss needs ordered classes, but head 'wave",
        ),
        (
            {},
            {"model__output_mode": "regression"},
            r"model\.output_mode is 'regression', but loss=.*Cross.* is for 'classification'",
        ),
        (
            {},
            {"data__target_width": 1},
            "data.target_width is 1, but the loss of head 'log10_decay_time'",
        ),
        (
            {},
            {"model__net__output_mode": "regression"},
            "model.net.output_mode is regression, but .* mixed",
        ),
    ],
)
def test_what_does_not_fit_the_data_set_is_one_sentence(
    config, losses: dict[str, str], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        build(config(losses, **values))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "continuous",
            "dg",
            r"losses\.continuous is 'dg'; expected a mapping: loss@model\.losses\.",
        ),
        ("continuous", 3, r"losses\.continuous is 3; expected a mapping with a _target_"),
        ("continuous.scale_factor", -1, r"losses\.continuous\.scale_factor is -1; expected"),
        ("categorical.label_smothing", 0.1, r"losses\.categorical\.label_smothing is unknown; did"),
        ("", "dg", r"model\.losses is 'dg'; expected a loss by head or kind"),
    ],
)
def test_wrong_losses_are_refused_before_anything_starts(
    config, key: str, value: object, message: str
) -> None:
    cfg = config({"continuous": "dg"})
    OmegaConf.update(cfg, f"model.losses.{key}".rstrip("."), value, force_add=True)
    with pytest.raises(ConfigError, match=message):
        check_config(cfg, TrainConfig)


def test_soft_targets_are_for_the_heads_that_have_an_order(config) -> None:
    heads = build(config({"continuous": "soft_target"}, data__target_width=1.0)).model.heads
    values = torch.tensor([0.0, 1 / 255])
    assert heads[WAVEFORM].target(values).tolist() == [0, 1]
    assert heads[CUTOFF].target(values).shape == (2, 36)


@pytest.fixture
def checkpoint(config, tmp_path: Path) -> Path:
    """Of an untrained network."""
    torch.manual_seed(1)
    model = build(config()).model
    content = {"state_dict": model.state_dict(), "epoch": 0, "global_step": 0}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "mixed.ckpt")
    return tmp_path / "mixed.ckpt"


def test_a_checkpoint_rebuilds_its_losses_and_names_no_others(checkpoint: Path) -> None:
    model = load_model(read_checkpoint(checkpoint))
    losses = ["DirectRegressionLoss"] * 2 + ["CrossEntropyHead"]
    assert list(losses_of(model).values()) == losses
    content = torch.load(checkpoint, weights_only=True)
    content["avix"]["config"]["model"]["losses"]["categorical"] = {"_target_": "os.system"}
    torch.save(content, checkpoint)
    with pytest.raises(ConfigError, match=r"model\.losses\.categorical\._target_ is 'os\.system'"):
        read_checkpoint(checkpoint)


def test_predictions_have_the_probabilities_of_the_classes(
    checkpoint: Path, compose_config, data_root: Path
) -> None:
    cfg = compose_config("predict", f"ckpt_path='{checkpoint}'")
    (dataset,) = data_root.glob("*_96dss_mixed_3p")
    with open_dict(cfg):
        cfg.input, cfg.limit, cfg.sounds = str(dataset), 5, 1
    objects = predict(cfg)[1]
    folder = Path(cfg.paths.output_dir)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    for line in lines:
        assert list(line["probabilities"]) == [WAVEFORM]
        shares = line["probabilities"][WAVEFORM]
        assert list(shares) == ["saw", "square"]
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-6)
        assert max(shares, key=shares.get) == ("saw", "square")[int(line["values"][WAVEFORM])]
    assert (folder / "000_test_0.png").is_file()
    images, _, levels = open_dataset(dataset).test.gather(np.arange(5))
    exported = ImageModel(objects["predictor"].model)
    with torch.no_grad():
        values, *_ = exported(torch.from_numpy(images), torch.from_numpy(levels))
    # Batches of another size may move the last bit.
    expected = [list(p.values.values()) for p in objects["predictions"]]
    torch.testing.assert_close(values, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_heads_of_steps_learnt_as_classes_have_probabilities_too(config, data_root: Path) -> None:
    built = build(config({"continuous": "corn"}))
    predictor = Predictor(built.model, built.datamodule.metadata)
    (dataset,) = data_root.glob("*_96dss_mixed_3p")
    (found,) = predictor.predict_dataset(open_dataset(dataset), "test", limit=1)
    assert [len(found.probabilities[name]) for name in HEADS] == [24, 36, 2]
    assert sum(found.probabilities[CUTOFF]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_training_goes_on_is_evaluated_and_exported(
    config, compose_config, data_root: Path, tmp_path: Path
) -> None:
    def trained(
        name: str,
        epochs: int,
        losses: dict[str, str | None] | None = None,
        ckpt_path: Path | None = None,
        **values: object,
    ):
        cfg = config(losses, **values)
        with open_dict(cfg):
            cfg.trainer.max_epochs, cfg.logger = epochs, None
            cfg.ckpt_path = None if ckpt_path is None else str(ckpt_path)
            cfg.paths.output_dir = str(tmp_path / name)
            Path(cfg.paths.output_dir).mkdir()
        return train(cfg)

    last = Path("checkpoints", "last.ckpt")
    whole, _ = trained("whole", 4)
    trained("half", 2, model__scheduler__T_max=4)
    on, objects = trained("on", 4, ckpt_path=tmp_path / "half" / last)
    assert on["val/loss"] == whole["val/loss"]
    assert on[f"test/{WAVEFORM}_acc"] == whole[f"test/{WAVEFORM}_acc"]
    assert float(whole["train/loss"]) < 2.0
    smoothed = {"model__losses__categorical__label_smoothing": 0.1}
    for number, (losses, values, key) in enumerate(
        (
            ({"categorical": "ce", WAVEFORM: "ce"}, {}, r"model\.losses\.waveform\._target_ null"),
            ({}, smoothed, r"model\.losses\.categorical\.label_smoothing 0\.0"),
            ({"continuous": "jnd"}, {}, r"model\.losses\.continuous\._target_ null"),
        )
    ):
        with pytest.raises(ConfigError, match=f"it was trained with {key}"):
            trained(f"refused {number}", 6, losses, tmp_path / "half" / last, **values)
    best = objects["trainer"].checkpoint_callback.best_model_path
    cfg = compose_config("eval", f"ckpt_path='{best}'", "trainer.accelerator=cpu")
    metrics, found = evaluate(cfg)
    assert float(metrics[f"test/{WAVEFORM}_acc"]) == float(on[f"test/{WAVEFORM}_acc"])
    content = json.loads((Path(cfg.paths.output_dir) / "metrics.json").read_text())
    figures = content["evaluation"]["methods"]
    assert {f"{WAVEFORM}_acc", f"{CUTOFF}_mae", "mae_jnd", "all_acc"} <= figures["network"].keys()
    counts = content["evaluation"]["confusion"][WAVEFORM]["counts"]
    assert np.sum(counts) == content["num_measured"]["test"]
    logged = {row["method"]: row["metrics"].keys() for row in content["baselines"]}
    assert all(f"{CUTOFF}_acc" not in names and "acc" in names for names in logged.values())
    model = load_model(read_checkpoint(best))
    images, _, levels = open_dataset(found["datamodule"].data_dir).train.gather(np.arange(2))
    inputs = (torch.from_numpy(images), torch.from_numpy(levels))
    with torch.no_grad():
        program = torch.export.export(ImageModel(model), inputs, strict=False)
        torch.testing.assert_close(program.module()(*inputs), ImageModel(model)(*inputs))
