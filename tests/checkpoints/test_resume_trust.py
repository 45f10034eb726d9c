"""A run's folder that somebody else made: it goes on as data, or is refused by name."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.checkpoints.checkpoint_io import AtomicCheckpointIO
from src.checkpoints.resume import resumed_config
from src.checkpoints.resume_trust import FORMER_TRAINER
from src.utils.errors import ConfigError

CANARY = "a secret of the environment"
SAID = ["experiment=avix_quick", "trainer.max_epochs=1", "logger=csv"]
Plant = Callable[..., Path]


@pytest.fixture(autouse=True)
def _composing(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AVIX_CANARY", CANARY)
    with initialize_config_dir(version_base="1.3", config_dir=str(project_root / "configs")):
        yield


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Hydra's files of a run, changed; returns their folder."""
    config = OmegaConf.to_container(compose("train", SAID))

    def planted(
        change: Callable[[dict], object] = lambda config: None, overrides: list[str] | None = None
    ) -> Path:
        changed = copy.deepcopy(config)
        change(changed)
        folder = tmp_path / ".hydra"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(changed))
        (folder / "overrides.yaml").write_text(yaml.safe_dump([*SAID, *(overrides or [])]))
        return folder

    return planted


def refusal(folder: Path, *now: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resumed_config("train", folder, ["ckpt_path=last", *now])
    assert CANARY not in str(caught.value)
    return str(caught.value)


def marker(path: Path) -> dict[str, str]:
    return {"_target_": "logging.FileHandler", "filename": str(path)}


def test_an_honest_run_goes_on(plant: Plant) -> None:
    cfg, overrides = resumed_config("train", plant(), ["ckpt_path=last", "trainer.max_epochs=2"])
    assert cfg.trainer.max_epochs == 2
    assert list(cfg.logger) == ["csv"]
    assert overrides == ["experiment=avix_quick", "logger=csv", "trainer.max_epochs=2"]


def test_a_run_from_before_the_trainer_was_ours_goes_on(plant: Plant) -> None:
    former = {"_target_": FORMER_TRAINER, "max_epochs": 5}
    folder = plant(lambda config: config.update(trainer=former))
    cfg, _ = resumed_config("train", folder, ["ckpt_path=last"])
    assert cfg.trainer == former


def test_a_run_from_before_checkpoints_had_a_room_goes_on(plant: Plant) -> None:
    former = {"_target_": "src.callbacks.checkpoint_io.AtomicCheckpointIO"}
    folder = plant(lambda config: config["trainer"].update(plugins=[former]))
    cfg, _ = resumed_config("train", folder, ["ckpt_path=last"])
    assert isinstance(instantiate(cfg.trainer.plugins)[0], AtomicCheckpointIO)


def test_a_run_from_before_loggers_had_a_room_goes_on(plant: Plant) -> None:
    former = {"_target_": "src.utils.tensorboard_logger.TensorBoardLogger", "save_dir": "."}
    folder = plant(lambda config: config.update(logger={"tensorboard": former}))
    cfg, _ = resumed_config("train", folder, ["ckpt_path=last", "logger=tensorboard"])
    assert cfg.logger.tensorboard._target_ == "src.loggers.tensorboard_logger.TensorBoardLogger"


PLACES: dict[str, Callable[[dict, Path], object]] = {
    "callback": lambda c, mark: c["callbacks"].update(evil=marker(mark)),
    "logger": lambda c, mark: c["logger"].update(evil=marker(mark)),
    "net": lambda c, mark: c["model"].update(net=marker(mark)),
    "loss": lambda c, mark: c.update(loss=marker(mark)),
    "optimizer": lambda c, mark: c["model"].update(optimizer=marker(mark)),
    "criterion": lambda c, mark: c["model"].update(criterion=marker(mark)),
    "source": lambda c, mark: c["data"].update(source=marker(mark)),
    "transform": lambda c, mark: c["data"].update(train_transform=marker(mark)),
    "trainer": lambda c, mark: c.update(trainer=marker(mark)),
    "plugins in a list": lambda c, mark: c["trainer"].update(plugins=[[marker(mark)]]),
    "get_method": lambda c, mark: c["callbacks"].update(
        evil={"_target_": "hydra.utils.get_method", "path": "os.system"}
    ),
    "a target that is looked up": lambda c, mark: c["callbacks"].update(
        {"evil": {"_target_": "${monitor.metric}", "filename": str(mark)}}
    ),
    "a target that is no text": lambda c, mark: c["callbacks"].update(
        evil={"_target_": ["logging", "FileHandler"], "filename": str(mark)}
    ),
    "a target with dots before": lambda c, mark: c["callbacks"].update(
        evil={"_target_": "src.utils.utils.logging.FileHandler", "filename": str(mark)}
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.sampled(5)
def test_a_planted_class_is_refused_by_name(place: str, plant: Plant, tmp_path: Path) -> None:
    said = refusal(plant(lambda config: PLACES[place](config, tmp_path / "mark")))
    assert "_target_" in said
    assert "Say it again on the command line" in said
    assert not (tmp_path / "mark").exists()


LOOK_UPS = [
    "${oc.env:AVIX_CANARY}",
    "${oc.decode:'{a: 1}'}",
    "${oc.select:task_name,x}",
    "${hydra:runtime.cwd}",
    "a ${oc.env:AVIX_CANARY} b",
    "${oc.env:${task_name}}",
]


@pytest.mark.parametrize(
    ("key", "text"), [("task_name", LOOK_UPS[0]), *(("tags", text) for text in LOOK_UPS)]
)
@pytest.mark.sampled(4)
def test_a_planted_look_up_is_refused(key: str, text: str, plant: Plant) -> None:
    value = [text] if key == "tags" else text
    said = refusal(plant(lambda config: config.update({key: value})))
    assert f"{key}" in said
    assert "looks up a value elsewhere" in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("+callbacks.evil={_target_: logging.FileHandler, filename: x}", "which neither your"),
        ("++callbacks.early_stopping._target_=logging.FileHandler", "which neither your"),
        ("tags=['${oc.env:AVIX_CANARY}']", "looks up a value elsewhere"),
        ("hydra.searchpath=[pkg://antigravity]", "sets Hydra itself"),
        ("hydra/launcher=joblib", "sets Hydra itself"),
        ("experiment=../../../../tmp/evil", "experiment has no"),
        ("logger=[csv,../../evil]", "logger has no"),
        ("a=['", "is no override"),
    ],
)
@pytest.mark.sampled(2)
def test_planted_overrides_are_refused(line: str, message: str, plant: Plant) -> None:
    def change(config: dict) -> None:  # what an override names, Hydra wrote into the config too
        if "callbacks" in line:
            config["callbacks"]["early_stopping"]["_target_"] = "logging.FileHandler"

    assert message in refusal(plant(change, [line]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "a: &x [1]\nb: [*x, *x]\n", "YAML aliases"),
        ("config.yaml", "!!python/object/apply:os.system ['true']", "no config as Hydra writes"),
        ("config.yaml", "a: [" * 5000, "no config as Hydra writes"),
        ("config.yaml", "x" * 5_000_000, "at most"),
        ("config.yaml", "- a\n", "expected a mapping"),
        ("overrides.yaml", "a: 1\n", "expected a list"),
        ("overrides.yaml", "- [a]\n", "expected a list"),
    ],
)
@pytest.mark.sampled(2)
def test_files_that_hydra_did_not_write(
    name: str, content: str, message: str, plant: Plant
) -> None:
    folder = plant()
    (folder / name).write_text(content)
    assert message in refusal(folder)


def test_what_the_command_line_says_itself_is_trusted(plant: Plant) -> None:
    target = "lightning.pytorch.callbacks.DeviceStatsMonitor"
    folder = plant(lambda config: config["callbacks"].update(mine={"_target_": target}))
    assert target in refusal(folder)
    cfg, _ = resumed_config("train", folder, [f"+callbacks.mine._target_={target}"])
    assert cfg.callbacks.mine._target_ == target


def test_a_module_that_is_trusted_now_may_be_named(plant: Plant) -> None:
    loss = {"_target_": "my_synths.CubicLoss"}
    folder = plant(lambda config: config.update(loss=loss))
    assert "my_synths.CubicLoss" in refusal(folder)
    assert "my_synths.CubicLoss" in refusal(folder, "extras.trusted_modules=[my]")
    now = ["ckpt_path=last", "extras.trusted_modules=[my_synths]"]
    cfg, _ = resumed_config("train", folder, now)
    assert (cfg.loss, cfg.extras.trusted_modules) == (loss, ["my_synths"])


@pytest.mark.parametrize("in_config", [True, False])
@pytest.mark.sampled(2)
def test_a_folder_trusts_no_module(plant: Plant, in_config: bool) -> None:
    trusted = {"trusted_modules": ["logging"]}
    folder = plant(
        lambda config: config.update(extras=trusted) if in_config else None,
        [] if in_config else ["extras.trusted_modules=[logging]"],
    )
    cfg, _ = resumed_config("train", folder, ["ckpt_path=last"])
    assert cfg.extras.trusted_modules == []
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    hostile = {**saved, "loss": marker(folder / "marker"), "extras": trusted}
    (folder / "config.yaml").write_text(yaml.safe_dump(hostile))
    assert "logging.FileHandler" in refusal(folder)


@pytest.mark.parametrize("value", ["[a b]", "[1]", "[../x]", "a", "[.]"])
@pytest.mark.sampled(3)
def test_what_is_trusted_is_a_list_of_modules(plant: Plant, value: str) -> None:
    assert "extras.trusted_modules is" in refusal(plant(), f"extras.trusted_modules={value}")


@pytest.mark.parametrize("key", ["dsp", "plugin"])
@pytest.mark.sampled(4)
def test_a_planted_program_is_refused_by_name(key: str, plant: Plant) -> None:
    def change(config: dict) -> None:
        config["data"]["source"]["recipe"]["synth"][key] = "/tmp/evil"

    folder = plant(change)
    assert f"synth.{key} is '/tmp/evil', a program that neither" in refusal(folder)
    named = f"+data.source.recipe.synth.{key}=/tmp/evil"
    assert resumed_config("train", folder, ["ckpt_path=last", named])
    trusted = "extras.trusted_programs=[/tmp/evil]"
    assert resumed_config("train", folder, ["ckpt_path=last", trusted])
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["extras"]["trusted_programs"] = ["/tmp/evil"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "a program that neither" in refusal(folder)


def test_a_program_that_a_planted_folder_leads_elsewhere_is_refused(plant: Plant) -> None:
    ours, evil = "${paths.root_dir}/my.dsp", "/tmp/evil"

    def change(config: dict) -> None:
        config["data"]["source"]["recipe"]["synth"]["dsp"] = ours

    now = f"+data.source.recipe.synth.dsp='{ours}'"
    folder = plant(change)
    assert resumed_config("train", folder, ["ckpt_path=last", now])
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["paths"]["root_dir"] = evil
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    own = "extras.trusted_programs=['${paths.root_dir}/my.dsp']"
    assert "a program that neither" in refusal(folder, own)
