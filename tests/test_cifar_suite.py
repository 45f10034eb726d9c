"""The CIFAR suite: every run composes, nothing is done twice, a failure does not end it."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import cifar_suite
from benchmarks.cifar_suite import QUICK, RUNS, SETS, chosen, main, report
from tests.fakes import image_root


class FakeTrainer:
    """Stands for the training processes; does what `plan` says for each run's name."""

    def __init__(self, plan: dict[str, str]) -> None:
        self.plan = plan
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], *, stdout, **_) -> subprocess.CompletedProcess[bytes]:
        self.commands.append(command)
        folder = Path(next(c for c in command if c.startswith("hydra.run.dir=")).split("=")[1])
        match self.plan.get(folder.name, "done"):
            case "done":
                metrics = {"test/acc": 0.5, "test/label_acc": 0.5, "val/acc_best": 0.6}
                results = {"metrics": metrics, "parameters": {"label": {}}, "num_weights": 64000}
                (folder / "metrics.json").write_text(json.dumps(results))
                return subprocess.CompletedProcess(command, 0)
            case "killed":
                (folder / "checkpoints").mkdir()
                (folder / "checkpoints" / "last.ckpt").touch()
                raise KeyboardInterrupt
            case _:
                stdout.write("starting\nerror: no network, put the file there\nbye\n")
                return subprocess.CompletedProcess(command, 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    def install(**plan: str) -> FakeTrainer:
        trainer = FakeTrainer(plan)
        monkeypatch.setattr(cifar_suite.subprocess, "run", trainer)
        return trainer

    return install


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
@pytest.mark.sampled(3)
def test_every_run_composes_to_the_network_it_is_named_after(run, compose_config) -> None:
    cfg = compose_config("train", *run.overrides, *QUICK)
    name = run.name.split("_")[1]
    networks = {"cnn": "SimpleCNN", "convnext": "ConvNeXtV2", "vit": "VisionTransformer",
                "efficientnet": "SimpleEfficientNet", "sdn": "SimpleDenseNet",
                "coarse": "SimpleCNN"}  # fmt: skip
    assert cfg.model.net._target_.endswith(f".{networks[name]}")
    assert cfg.data.source.variant == run.name.split(f"_{name}")[0].replace("_cnn", "") or (
        name == "coarse" and cfg.data.source.variant == "cifar100_coarse"
    )


def test_sets_hold_every_run() -> None:
    assert chosen("all", None) == list(RUNS)
    assert {run.data for run in RUNS} == set(SETS["all"])
    assert all(run.data == "cifar10" for run in chosen("cifar10", None))


def test_what_is_done_is_not_done_again(fake, tmp_path: Path) -> None:
    trainer = fake()
    assert main(["--set", "cifar10", "--folder", str(tmp_path)]) == 0
    assert len(trainer.commands) == 6
    assert main(["--set", "cifar10", "--folder", str(tmp_path)]) == 0
    assert len(trainer.commands) == 6
    stale = tmp_path / "full" / "cifar10_cnn_64k" / "checkpoints"
    stale.mkdir()
    main(["--set", "cifar10", "--folder", str(tmp_path), "--", "seed=7"])  # another command
    assert not stale.exists()
    assert len(trainer.commands) == 12
    assert trainer.commands[-1].count("seed=7") == 1


def test_a_failure_is_reported_and_the_next_run_starts(fake, tmp_path: Path, capsys) -> None:
    trainer = fake(cifar10_convnext_64k="fails")
    assert main(["--set", "cifar10", "--folder", str(tmp_path)]) == 1
    assert len(trainer.commands) == 6
    text = (tmp_path / "full" / "report.md").read_text()
    assert "| `cifar10_cnn_64k` | 64,000 | 50.0 % | 60.0 % |" in text
    assert "| `cifar10_convnext_64k` | – | – | – | 0.0 | failed |" in text
    assert "- `cifar10_convnext_64k`: error: no network, put the file there" in text
    assert text in capsys.readouterr().out
    trainer = fake()
    assert main(["--set", "cifar10", "--folder", str(tmp_path)]) == 0
    assert len(trainer.commands) == 1  # only the one that had failed


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(fake, tmp_path: Path) -> None:
    fake(cifar10_convnext_64k="killed")
    with pytest.raises(KeyboardInterrupt):
        main(["--set", "cifar10", "--folder", str(tmp_path)])
    folder = tmp_path / "full" / "cifar10_convnext_64k"
    assert "started" in report(chosen("cifar10", None), tmp_path / "full")
    trainer = fake()
    main(["--set", "cifar10", "--folder", str(tmp_path)])
    assert f"ckpt_path={folder}/checkpoints/last.ckpt" in trainer.commands[0]
    assert not any(part.startswith("ckpt_path") for part in trainer.commands[1])


def test_several_heads_are_listed(tmp_path: Path) -> None:
    metrics = {"test/acc": 0.4, "test/fine_acc": 0.3, "test/coarse_acc": 0.5, "val/acc_best": 0.4}
    results = {"metrics": metrics, "parameters": {"fine": 0, "coarse": 0}, "num_weights": 1}
    cells = cifar_suite.figures(results)
    assert cells == ["1", "40.0 % (fine 30.0, coarse 50.0)", "40.0 %"]


def test_an_unknown_name_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "cifar11"])
    assert "no run is called cifar11" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run_and_a_real_failure(data_root: Path, tmp_path: Path) -> None:
    where = [f"data.source.root={image_root(data_root)}", f"paths.vimh_dir={tmp_path}/vimh"]
    only = ["--only", "cifar10_cnn_64k", "--quick", "--folder", str(tmp_path)]
    assert main([*only, "--", *where, "data.batch_size=32"]) == 0
    assert "| done |" in (tmp_path / "quick" / "report.md").read_text()
    assert main([*only, "--", f"data.source.root={tmp_path}/none"]) == 1
    assert "data.source.root" in (tmp_path / "quick" / "report.md").read_text()
