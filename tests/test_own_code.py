"""docs/own_code.md: classes outside of the checkout train and load where the user trusts them."""

import importlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from src.build import build
from src.callbacks.prediction_plots import PredictionPlots
from src.checkpoint import load_model, read_checkpoint, warn_of_untrusted
from src.checkpoints.checkpoint_io import load_checkpoint
from src.eval import evaluate
from src.evaluation.export.model_files import missing_packages
from src.export import write_model_files
from src.predict import predict
from src.synth.resynthesis import synthesizer_of
from src.utils.errors import ConfigError
from src.utils.trust import Trust, current_trust, trusting, trusting_config
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from tests.helpers import shrink
from tests.hostile.attacks import honest, put, write
from tests.pages import ROOT, blocks, clone, run

PAGE = (ROOT / "docs" / "own_code.md").read_text(encoding="utf-8")
HOSTILE = ["os.system", "timeit.Timer", "hostile_room.Net", "my_synths.OneLayer"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's package on the path, and one that leaves a file where it is imported."""
    for block in blocks(PAGE):
        if block.path.startswith("my_project/"):
            (tmp_path / block.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.path).write_text(block.text, encoding="utf-8")
    folder = tmp_path / "my_project"
    (folder / "hostile_room.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('marker').touch()\nclass Net: pass\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("my_synths", "hostile_room"):
        sys.modules.pop(name, None)


@pytest.fixture
def own(package: Path, compose_config, data_root: Path):
    """The config of the page's training, and the module that it builds."""
    cfg = shrink(compose_config("train", "data=vimh_16kdss", "model=avix_cnn_11k"), data_root)
    with torch.random.fork_rng():
        cfg.data.source.recipe.dataset.name = "chirp"
        cfg.data.source.recipe.synth = {
            "_target_": "my_synths.Chirp",
            "parameters": {
                "rise_octaves": {"min": 0.0, "max": 2.0, "step": 0.25},
                "log10_decay_time": {"min": -2.0, "max": 0.0, "step": 0.1},
            },
        }
        cfg.model.net = {"_target_": "my_synths.OneLayer", "units": 4}
        cfg.loss = {"_target_": "my_synths.CubicLoss"}
        return cfg, build(cfg)


def saved(model: torch.nn.Module, path: Path) -> Path:
    """A checkpoint as training leaves it, without the optimiser's state."""
    content = {"avix": model.provenance, "state_dict": model.state_dict()}
    torch.save({**content, "epoch": 0, "global_step": 1}, path)
    return path


def test_names_below_a_trusted_module_are_admitted() -> None:
    trust = Trust(modules=("my_synths", "a.b"), targets=frozenset({"x.Y"}))
    admitted = ["my_synths.Net", "my_synths.nets.Net", "a.b.C", "x.Y"]
    refused = ["my_synths", "my_synths2.Net", "a.C", "x.Z", "my_synths..Net", "my_synths.a/b.C", ""]
    assert [t for t in [*admitted, *refused] if trust.admits(t)] == admitted
    assert not trust.covers("x.Y")
    with trusting(["my_synths"]):
        assert current_trust().modules == ("my_synths",)
    assert current_trust() == Trust()


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize("place", ["model.net", "loss"])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_class_that_is_not_trusted_is_refused_unimported(
    target: str, place: str, suffix: str, package: Path, tmp_path: Path, monkeypatch
) -> None:
    content = put(honest(whole=False), f"avix.config.{place}", {"_target_": target})
    path = write(content, tmp_path / f"a{suffix}")
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    before = sorted(tmp_path.rglob("*"))
    with trusting(["another_module", "hostile"]), pytest.raises(ConfigError) as caught:
        read_checkpoint(path)
    assert sorted(tmp_path.rglob("*")) == before  # the marker, too
    assert not {"my_synths", "hostile_room"} & set(sys.modules)
    said, module = str(caught.value), target.rpartition(".")[0]
    assert f"{place}._target_ is '{target}', which was not imported" in said
    assert f"extras.trusted_modules=[{module}] in your own config" in said
    assert "\n" not in said


@pytest.mark.parametrize("extras", ["avix.config.extras", "avix.extras", "extras"])
def test_no_checkpoint_trusts_itself(extras: str, package: Path, tmp_path: Path) -> None:
    content = put(honest(whole=False), "avix.config.loss", {"_target_": "hostile_room.Net"})
    put(content, extras, {"trusted_modules": ["hostile_room"]})
    with pytest.raises(ConfigError):
        read_checkpoint(write(content, tmp_path / "a.ckpt"))
    assert "hostile_room" not in sys.modules
    assert not (package / "marker").exists()


@pytest.mark.parametrize(
    ("place", "target", "expected"),
    [
        ("model.net", "timeit.Timer", "not a MultiheadNetwork"),
        ("model.net", "os.system", "no class"),
        ("loss", "timeit.Timer", "not a Module"),
        ("loss", "timeit.Nothing", "has no attribute 'Nothing'"),
        ("loss", "my_synths.nets.Loss", "No module named 'my_synths.nets'"),
        ("loss", "my_synths.np.ndarray", "No module named 'my_synths.np'"),
        ("loss", "my_synths.Chirp", "not a Module"),
        ("model.net", "my_synths.OneLayer", "model.net.units is -1; expected a whole number"),
    ],
)
def test_a_trusted_name_has_to_be_of_the_right_kind(
    place: str, target: str, expected: str, package: Path, tmp_path: Path
) -> None:
    node = {"_target_": target, "units": -1}
    content = put(honest(whole=False), f"avix.config.{place}", node)
    path = write(content, tmp_path / "a.ckpt")
    with trusting(["timeit", "os", "my_synths"]), pytest.raises(ConfigError) as caught:
        load_model(read_checkpoint(path))
    assert expected in str(caught.value)


def test_a_data_set_names_only_synthesisers_that_are_trusted(own) -> None:
    _, built = own
    raw = built.datamodule.metadata.to_json()
    hostile = json.loads(json.dumps(raw))
    hostile["recipe"]["synth"]["_target_"] = "hostile_room.Net"
    hostile["recipe"]["extras"] = {"trusted_modules": ["hostile_room"]}
    with pytest.raises(VIMHError, match=r"extras\.trusted_modules=\[hostile_room\]"):
        synthesizer_of(Metadata.from_json(hostile, where="test"))
    assert "hostile_room" not in sys.modules
    with pytest.raises(VIMHError, match=r"'my_synths\.Chirp', which was not imported"):
        synthesizer_of(built.datamodule.metadata)
    with trusting(["my_synths"]):
        synthesizer = synthesizer_of(built.datamodule.metadata)
    assert synthesizer is not None
    assert synthesizer.synth_type == "chirp"


def test_a_run_trusts_what_its_own_config_names(own, tmp_path: Path) -> None:
    cfg, built = own
    plots = PredictionPlots()
    trainer = Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.datamodule = built.datamodule
    with pytest.raises(VIMHError, match=r"extras\.trusted_modules=\[my_synths\]"):
        plots.on_fit_start(trainer, built.model)  # before anything is trained
    with trusting_config(cfg):
        plots.on_fit_start(trainer, built.model)
        assert current_trust().admits("my_synths.CubicLoss")
        assert not current_trust().admits("my_synths.Another")
    cfg.extras = None
    with trusting_config(cfg):
        assert current_trust().modules == ()


def test_training_says_what_will_not_load(own, caplog: pytest.LogCaptureFixture) -> None:
    _, built = own
    with caplog.at_level(logging.WARNING):
        warn_of_untrusted(built.model)
    (said,) = caplog.messages
    parts = ("model.net is my_synths.OneLayer", "loss is my_synths.CubicLoss")
    for part in (*parts, "synthesiser is my_synths.Chirp", "extras.trusted_modules=[my_synths]"):
        assert part in said
    caplog.clear()
    with trusting(["my_synths"]):
        warn_of_untrusted(built.model)
    assert caplog.messages == []


def test_each_command_loads_what_its_config_trusts(own, compose_config, tmp_path: Path) -> None:
    _, built = own
    path = saved(built.model, tmp_path / "a.ckpt")
    ckpt, data = f"ckpt_path={path}", built.datamodule.data_dir
    quiet = "extras.print_config=false"
    cases = {
        evaluate: ("eval", [f"data.data_dir={data}", "trainer=cpu", "report.resamples=5",
                            "report.sounds=2", "+trainer.enable_progress_bar=false"]),
        predict: ("predict", [f"input={data}", "limit=1"]),
    }  # fmt: skip
    for command, (name, overrides) in cases.items():
        cfg = compose_config(name, ckpt, quiet, *overrides)
        with pytest.raises(ConfigError, match=r"extras\.trusted_modules=\[my_synths\]"):
            command(cfg)
    with pytest.raises(ConfigError, match=r"extras\.trusted_modules=\[my_synths\]"):
        write_model_files(str(path), tmp_path / "model.onnx")
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {"a.ckpt"}
    cfg = compose_config("predict", ckpt, quiet, *cases[predict][1])
    cfg.extras.trusted_modules = ["my_synths"]
    predict(cfg)
    assert list(tmp_path.glob("*_resynthesised.wav"))


@pytest.mark.slow
def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is nothing to clone")
    where = clone(tmp_path)
    outside = tmp_path / "my_project"
    commands = ""
    for block in blocks(PAGE):
        if block.path.startswith("my_project/"):
            (tmp_path / block.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.path).write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            commands += block.text.replace("my_project", str(outside))
    if missing_packages():  # the export command needs ONNX; a training exports without it, too
        commands = re.sub(r"^python src/export.py.*\n", "", commands, flags=re.MULTILINE)
        commands = commands.replace("max_epochs=1", "max_epochs=1 export=true")
    run(commands, where)
    assert list(where.glob("logs/eval/runs/*/report.md"))
    assert len(list(where.glob("logs/predict/runs/*/*_resynthesised.wav"))) == 2
    assert list(where.glob("logs/*/runs/*/model.safetensors"))
    path = commands.splitlines()[0]
    again = (
        f"python src/train.py --config-dir {outside}/configs ckpt_path=last trainer.max_epochs=2"
    )
    run(f"{path}\n{again} extras.trusted_modules=[my_synths]", where)
    (last,) = where.glob("logs/train/runs/*/checkpoints/last.ckpt")
    assert load_checkpoint(last)["epoch"] == 2  # as many as are done
