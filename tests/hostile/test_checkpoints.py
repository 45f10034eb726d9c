"""Configs in checkpoints that name, look up, call or build something: refused by their keys."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from src.checkpoint import check_content, load_model, read_checkpoint, write_safetensors
from src.eval import evaluate
from src.export import export
from src.predict import predict
from src.train import train
from tests.conftest import ROOT
from tests.hostile.attacks import (
    CANARY,
    CLASSES,
    CONFIG,
    FOLDER,
    FOREIGN,
    HYDRA,
    LOOKED_UP,
    LOSS,
    NAMES,
    NET,
    PLACES,
    SECRET,
    honest,
    put,
    write,
)
from tests.hostile.conftest import OURS

SUFFIXES = (".ckpt", ".safetensors")


@pytest.fixture(params=SUFFIXES)
def file(request, tmp_path: Path) -> Path:
    return tmp_path / f"hostile{request.param}"


def loaded(path: Path) -> object:
    return load_model(read_checkpoint(path))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.sampled(2)
def test_nothing_is_looked_up(place: str, file: Path, refused, built) -> None:
    for number, text in enumerate(LOOKED_UP):
        content = put(honest(whole=False), place, text)
        if number < 2:  # one way through the file is like another, and takes ten times as long
            message = refused(loaded, write(content, file))
        else:
            message = refused(check_content, content, file)
        assert place.rpartition(".")[2].partition("[")[0] in message or place in message, message
    assert built.calls == []


@pytest.mark.parametrize("place", [CONFIG, f"{CONFIG}.model", NET, LOSS, "avix.metadata"])
def test_nothing_is_looked_up_in_keys_and_lists(place: str, file: Path, refused, built) -> None:
    for text in LOOKED_UP[:2]:
        for value in ({text: 1}, [text], [[1, [text]]], {"a": [{"b": text}]}):
            content = put(honest(whole=False), f"{place}.more", value)
            assert "more" in refused(check_content, content, file)
        write(put(honest(whole=False), f"{place}.{text.replace('.', '')}", 1), file)
        refused(loaded, file)
    assert built.calls == []


@pytest.mark.parametrize("target", CLASSES)
@pytest.mark.sampled(2)
def test_no_class_but_those_of_the_tables(target: str, file: Path, refused, built) -> None:
    for place in (NET, LOSS):
        if place == LOSS and target == "torch.nn.CrossEntropyLoss":
            continue
        content = put(honest(whole=False), f"{place}._target_", target)
        write(put(content, f"{place}.filename", "x"), file)
        message = refused(loaded, file)
        assert f"{place.removeprefix('avix.config.')}._target_" in message
    assert built.calls == []


@pytest.mark.parametrize("key", HYDRA)
@pytest.mark.parametrize("place", [NET, LOSS])
def test_nothing_that_hydra_reads(key: str, place: str, file: Path, refused, built) -> None:
    content = honest(whole=False)
    node = content["avix"]["config"]["loss"]
    if place == NET:
        node = content["avix"]["config"]["model"]["net"]
    node[key] = HYDRA[key]
    write(content, file)
    message = refused(loaded, file)
    assert place.removeprefix("avix.config.") in message
    assert built.calls == []


@pytest.mark.parametrize("name", ["heads_config", "dropout", "activations", "parameter_names"])
def test_nothing_is_built_in_an_argument(name: str, file: Path, refused, built) -> None:
    for node in (
        {"_target_": "logging.FileHandler", "filename": "hacked"},
        [{"_target_": "timeit.Timer", "stmt": "raise SystemExit"}],
        {"a": {"_target_": "torch.nn.Linear", "_args_": [10**6, 10**6]}},
    ):
        write(put(honest(whole=False), f"{NET}.{name}", node), file)
        assert f"model.net.{name}" in refused(loaded, file)
    assert built.calls == []


@pytest.mark.parametrize("value", FOREIGN, ids=lambda value: type(value).__name__)
@pytest.mark.sampled(3)
def test_only_plain_data(value: object, tmp_path: Path, refused, built) -> None:
    for place in (f"{NET}.dropout", "avix.config.x", "avix.metadata.more", "epoch", "state_dict.w"):
        path = tmp_path / "hostile.ckpt"
        write(put(honest(whole=False), place, value), path)
        refused(loaded, path)
    assert built.calls == []


def test_tensors_where_numbers_belong(tmp_path: Path, refused, built) -> None:
    for place in (f"{NET}.dropout", "epoch", "avix.metadata.height", f"{NET}.lin1_size"):
        path = tmp_path / "hostile.ckpt"
        write(put(honest(whole=False), place, torch.tensor(1)), path)
        assert place.rpartition(".")[2] in refused(loaded, path)
    assert built.calls == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_of_an_honest_one(name: str, built) -> None:
    checkpoint = read_checkpoint(FOLDER / f"{name}.ckpt")
    assert built.calls == []
    load_model(checkpoint)
    of_tables = {checkpoint.settings.net.cls.__name__, checkpoint.settings.loss.cls.__name__}
    assert of_tables <= set(built.calls)


@pytest.mark.parametrize("key", ["lin1_size", "lin2_size", "auxiliary_hidden_size", "joint_size"])
@pytest.mark.sampled(3)
def test_sizes_that_do_not_fit_take_no_memory(key: str, file: Path, refused) -> None:
    for size in (65_536, 10**6, 10**12, 2**62, 10**30, -1, 0, 1.5, "8", True, [8], float("nan")):
        if key in ("auxiliary_hidden_size", "joint_size") and size == 0:
            continue
        content = put(honest(whole=False), f"{NET}.{key}", size)
        if key == "auxiliary_hidden_size" and size == 65_536:
            continue  # without such features the branch is not there
        write(content, file)
        refused(loaded, file)


def test_what_is_written_again_holds_nothing_else(tmp_path: Path) -> None:
    content = honest(whole=False)
    content["avix"]["config"]["model"]["optimizer"]["lr"] = SECRET
    content["avix"]["more"] = SECRET
    checkpoint = read_checkpoint(write(content, tmp_path / "a.ckpt"))
    path = write_safetensors(checkpoint, tmp_path / "b.safetensors", {})
    assert SECRET.encode() not in path.read_bytes()
    assert SECRET not in json.dumps(load_model(checkpoint).provenance)


def entry(name: str, path: Path, compose_config, tmp_path: Path, data_root: Path):
    """A command's task, and its config for a file."""
    more = {"predict": ["input=nothing.wav"], "train": ["data=avix_72dss", "model=avix_cnn_11k"]}
    cfg = compose_config(name, *more.get(name, []))
    with open_dict(cfg):
        cfg.ckpt_path = str(path)
        if name == "train":
            cfg.data.source.root = str(data_root)
            cfg.trainer.max_epochs = 3
            cfg.callbacks.pop("grouped_progress_bar", None)
            cfg.callbacks.pop("progress_bar", None)
        if "trainer" in cfg:
            cfg.trainer.accelerator = "cpu"
    return {"eval": evaluate, "predict": predict, "export": export, "train": train}[name], cfg


@pytest.mark.parametrize("command", ["eval", "predict", "export"])
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{LOSS}._target_", "${oc.select:model.marker,timeit.Timer}"),
        (f"{LOSS}._target_", "logging.FileHandler"),
        (f"{NET}.dropout", "${oc.env:" + CANARY + "}"),
        (f"{NET}._args_", ["x"]),
        ("avix.metadata.dataset_name", "${oc.env:" + CANARY + "}"),
    ],
)
def test_commands_refuse_what_loading_refuses(
    command: str, place: str, value, file: Path, compose_config, tmp_path, data_root, monkeypatch
) -> None:
    monkeypatch.setattr("src.export.missing_packages", list)  # the file is read before they are
    write(put(honest(whole=False), place, value), file)
    before = sorted(tmp_path.rglob("*"))
    task, cfg = entry(command, file, compose_config, tmp_path, data_root)
    with pytest.raises(OURS) as caught:
        task(cfg)
    assert place.rpartition(".")[2] in str(caught.value)
    assert SECRET not in str(caught.value)
    assert [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.suffix != ".log"] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["eval", "predict"])
def test_commands_say_it_in_a_sentence(command: str, tmp_path: Path) -> None:
    content = put(honest(whole=False), f"{LOSS}._target_", "${oc.env:" + CANARY + "}")
    path = write(content, tmp_path / "hostile.ckpt")
    more = ["input=nothing.wav"] if command == "predict" else []
    done = subprocess.run(
        [
            sys.executable,
            f"src/{command}.py",
            f"ckpt_path={path}",
            f"paths.log_dir={tmp_path}",
            *more,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "loss._target_" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert all(SECRET.encode() not in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
