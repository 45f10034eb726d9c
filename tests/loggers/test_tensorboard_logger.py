import pickle
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch import Tensor, nn

from src.loggers.hyperparameters import (
    log_hyperparameters,
    plain_hyperparameters,
    shown_hyperparameters,
)
from src.loggers.tensorboard_logger import TensorBoardLogger
from src.models.components import MultiheadNetwork
from src.utils.errors import ConfigError


class Network(nn.Module):
    """Two heads, BatchNorm and dropout: all that a trace could disturb."""

    image_shape = (1, 4, 4)

    def __init__(self, auxiliary_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5)
        )
        self.frozen = nn.BatchNorm1d(6).eval()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(6 + auxiliary_size, 2) for name in ("level", "decay")}
        )
        self.heads.auxiliary_input_size = auxiliary_size

    def forward(self, images: Tensor, auxiliary: Tensor | None = None) -> dict[str, Tensor]:
        if images.shape[1:] != (1, 4, 4):
            raise ValueError
        features = self.frozen(self.body(images))
        if auxiliary is not None:
            features = torch.cat([features, auxiliary], dim=1)
        return {name: head(features) for name, head in self.heads.items()}

    example_inputs = MultiheadNetwork.example_inputs


class Module(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


def logger(folder: Path) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name=None, version="", log_graph=True, default_hp_metric=False)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


@pytest.mark.parametrize("auxiliary_size", [0, 3])
def test_graph_of_a_network_that_returns_a_dict(tmp_path: Path, auxiliary_size: int) -> None:
    network = Network(auxiliary_size)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    random_state = torch.get_rng_state()
    board = logger(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        board.log_graph(Module(network))
    board.finalize("success")
    nodes = [node.name for node in _graph(tmp_path).node]
    inputs = {name for name in nodes if name.startswith("input/")}
    assert inputs == ({"input/image", "input/auxiliary"} if auxiliary_size else {"input/image"})
    names = " ".join(nodes)
    assert "level" in names
    assert "decay" in names
    # Nothing was disturbed.
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert network.training
    assert not network.frozen.training
    assert network.body[2].training


def test_scalars_are_grouped_by_head(tmp_path: Path) -> None:
    board = logger(tmp_path)
    names = [
        f"{stage}/{name}" for stage in ("train", "val") for name in ("loss", "a.b_mae", "mae_jnd")
    ]
    board.group_scalars([*names, "val/jnd_best", "train/loss_step"])
    board.group_scalars([])
    board.finalize("success")
    content = read(tmp_path).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    layout = layout_pb2.Layout.FromString(content)
    charts = {c.title: {x.title: list(x.multiline.tag) for x in c.chart} for c in layout.category}
    assert charts == {
        "all": {
            "loss": [r"0\ overview/loss$", "train/loss_step$"],
            "mae_jnd": ["all/mae_jnd$"],
            "jnd": ["val/jnd_best$"],
        },
        "a.b": {"mae": [r"a\.b/mae$"]},
    }


def _graph(folder: Path) -> object:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    return GraphDef.FromString(read(folder).Graph().SerializeToString())


def test_graph_of_a_compiled_network(tmp_path: Path) -> None:
    network = Network(0)
    network.compile()
    compiled = network._compiled_call_impl
    board = logger(tmp_path)
    board.log_graph(Module(network))
    board.finalize("success")
    assert "decay" in " ".join(node.name for node in _graph(tmp_path).node)
    assert network._compiled_call_impl is compiled


def test_graph_is_logged_once_and_only_if_asked(tmp_path: Path) -> None:
    calls = []
    network = Network(0)
    network.register_forward_pre_hook(lambda *args: calls.append(1))
    silent = TensorBoardLogger(tmp_path, name=None, version="", log_graph=False)
    silent.log_graph(Module(network))
    assert calls == []
    board = logger(tmp_path)
    board.log_graph(Module(network))
    traced = len(calls)
    assert traced > 0
    board.log_graph(Module(network))
    assert len(calls) == traced


def test_example_inputs() -> None:
    images, auxiliary = Network(3).example_inputs()
    assert images.shape == (1, 1, 4, 4)
    assert auxiliary.shape == (1, 3)
    assert len(Network(0).example_inputs()) == 1


def test_scalars(tmp_path: Path) -> None:
    board = logger(tmp_path)
    for step in range(3):
        board.log_metrics({"val/loss": 0.5 + step, "val/jnd": torch.tensor(1.0)}, step)
    board.finalize("success")
    events = read(tmp_path)
    found = [(event.step, event.value) for event in events.Scalars("val/loss")]
    assert found == [(0, 0.5), (1, 1.5), (2, 2.5)]
    assert [event.value for event in events.Scalars("val/jnd")] == [1.0] * 3


def test_stages_are_runs_with_the_same_tags(tmp_path: Path) -> None:
    board = logger(tmp_path)
    board.log_metrics({"train/loss": 0.5, "train/loss_step": 0.7, "train/a_mae": 1.0}, 3)
    board.log_metrics({"val/loss": 0.25, "val/jnd": 0.75, "val/jnd_best": 0.75, "lr-AdamW": 1.0}, 3)
    board.log_metrics({"grad_stats/norm_mean": 2.0}, 3)
    board.finalize("success")
    found = {
        str(folder.relative_to(tmp_path)): read(folder).Tags()["scalars"]
        for folder in (tmp_path, tmp_path / "train", tmp_path / "val")
    }
    assert sorted(found.pop(".")) == [
        "lr-AdamW", "train/a_mae", "train/loss", "train/loss_step", "val/jnd", "val/jnd_best",
        "val/loss", "~grad_stats/norm_mean",
    ]  # fmt: skip
    assert found == {
        "train": ["0 overview/loss", "a/mae"],
        "val": ["0 overview/loss", "0 overview/within one JND"],
    }
    assert read(tmp_path / "val").Scalars("0 overview/loss")[0].value == 0.25
    assert not (tmp_path / "test").exists()


def test_stages_forget_what_a_run_that_goes_on_does_again(tmp_path: Path) -> None:
    for start in (0, 2):
        board = logger(tmp_path)
        if start:
            board.forget_from(start)
        for step in range(start, start + 3):
            board.log_metrics({"train/loss": float(step)}, step)
        board.finalize("success")
    for folder, tag in ((tmp_path, "train/loss"), (tmp_path / "train", "0 overview/loss")):
        assert [event.step for event in read(folder).Scalars(tag)] == [0, 1, 2, 3, 4]


def test_a_logger_goes_to_a_spawned_process(tmp_path: Path) -> None:
    board = logger(tmp_path)
    board.log_metrics({"train/loss": 0.5}, 0)
    copy = pickle.loads(pickle.dumps(board))
    copy.log_metrics({"train/loss": 0.25}, 1)
    for one in (board, copy):
        one.finalize("success")
    assert len(read(tmp_path / "train").Scalars("0 overview/loss")) == 2


def test_hyperparameters_of_a_run_are_those_that_people_vary(compose_config) -> None:
    cfg = compose_config("train", "experiment=avix_quick")
    shown = shown_hyperparameters(plain_hyperparameters(cfg))
    assert 10 <= len(shown) <= 16
    assert shown["model/net"] == "SimpleCNN"
    assert shown["model/optimizer/lr"] == cfg.model.optimizer.lr
    assert "data/source/recipe/seed" not in shown


def test_a_hyperparameter_of_the_command_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = OmegaConf.create(
        {"hydra": {"overrides": {"task": ["+model.net.width=8", "experiment=a", "trainer=cpu"]}}}
    )
    monkeypatch.setattr(HydraConfig.instance(), "cfg", said)
    params = {"model": {"net": {"width": 8, "depth": 2}}, "trainer": {"max_epochs": 3}}
    assert shown_hyperparameters(params) == {"trainer/max_epochs": 3, "model/net/width": 8}


CFG = {
    "seed": 1,
    "model": {"net": {"dropout": 0.1, "sizes": [1, 2], "seed": "${seed}"}},
    "paths": {"output_dir": "not logged"},
}


def test_events_are_handed_over_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("src.loggers.event_files.time.monotonic", lambda: now_s[0])
    board = logger(tmp_path)
    handed_over = []
    write = EventFileWriter.add_event

    def noted(writer: EventFileWriter, event: Event) -> None:
        if event.HasField("summary"):
            handed_over.append(event.step)
        write(writer, event)

    monkeypatch.setattr(EventFileWriter, "add_event", noted)
    board.log_metrics({"a": 0.5}, 0)
    assert handed_over == [0]  # a training that logs seldom is seen at once
    for step in range(1, 4):
        board.log_metrics({"a": 0.5}, step)
    assert handed_over == [0]
    now_s[0] += 1.5
    board.log_metrics({"a": 0.5}, 4)
    assert handed_over == [0, 1, 2, 3, 4]
    board.log_metrics({"a": 0.5}, 5)
    board.flush()
    assert handed_over == [0, 1, 2, 3, 4, 5]
    for step in range(6, 6 + 300):
        board.log_metrics({"a": 0.5}, step)
    assert 6 + 255 in handed_over  # memory is bounded
    board.finalize("success")
    assert [event.step for event in read(tmp_path).Scalars("a")] == list(range(306))


def test_hyperparameters_with_the_names_of_metrics_to_come(tmp_path: Path) -> None:
    board = logger(tmp_path)
    module = Module(Network(0))
    module.net.body.requires_grad_(False)
    objects = {
        "cfg": OmegaConf.create(CFG),
        "model": module,
        "trainer": SimpleNamespace(loggers=[board]),
    }
    log_hyperparameters(objects, metric_names=["val/loss", "test/loss", "test/jnd"])
    board.save()
    board.finalize("success")
    events = read(tmp_path)
    assert events.Tags()["scalars"] == []  # no value before there is one
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["test/loss", "test/jnd"]
    names = {info.name for info in experiment.hparam_infos}
    assert names == {"seed", "model/net/dropout", "num_parameters/total"}
    saved = OmegaConf.load(tmp_path / "hparams.yaml")
    assert saved.model.net == {"dropout": 0.1, "sizes": [1, 2], "seed": 1}
    assert saved.num_parameters == {"total": 154, "trainable": 40, "frozen": 114}
    assert "paths" not in saved


def test_other_loggers_get_plain_containers() -> None:
    received = []
    other = SimpleNamespace(log_hyperparams=received.append)
    objects = {
        "cfg": OmegaConf.create(CFG),
        "model": Module(Network(0)),
        "trainer": SimpleNamespace(loggers=[other]),
    }
    log_hyperparameters(objects)
    assert type(received[0]["model"]["net"]["sizes"]) is list


def test_hyperparameters_of_what() -> None:
    with pytest.raises(ConfigError, match="lacks model, trainer"):
        log_hyperparameters({"cfg": OmegaConf.create(CFG)})
