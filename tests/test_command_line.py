"""Paths on the command line, as they are, by key and by position."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src import command_line, predict
from src.command_line import by_position, matches, user_paths
from src.utils.errors import ConfigError
from tests.utils.test_words import NAMES

ROOT = Path(__file__).parents[1]
KEYS = {"ckpt_path", "input", "split", "hydra", "paths"}


def composed(*overrides: str, config: str = "predict"):
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        return compose(config, list(overrides))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("null", "~/x", "${x}.wav")]
)
def test_a_path_is_taken_as_it_is(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = composed(*user_paths([f"input={name}", f"ckpt_path=a b/{name}"]))
    assert cfg.ckpt_path == f"a b/{name}"
    assert str(cfg.input) == ("['x']" if name == "[x]" else name)  # a list, where none is there


def test_what_is_there_is_meant(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("[x]", "${x}.wav", "a,b", "'q'"):
        assert user_paths([f"input={name}"]) == [f"input={name}"] or name == "a,b"
        (tmp_path / name).touch()
        assert composed(*user_paths([f"input={name}"])).input == name


def test_what_hydra_can_read_stays(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    same = [
        *("ckpt_path=null", "ckpt_path=last", "input=[a.wav,b.wav]", "hydra.run.dir=${paths.x}/y"),
        *("tags=[a,b]", "trainer.max_epochs=3", "data=vimh", "-m", "~callbacks", "ckpt_path="),
        *("input='saw (1).wav'", "seed=1,2", "+data.source.root=x", "model/optimizer=adam"),
    ]
    assert user_paths(same) == same
    assert user_paths(["-m", "ckpt_path=a,b"]) == ["-m", "ckpt_path=a,b"]
    assert user_paths(["ckpt_path=a,b"]) == ["ckpt_path='a,b'"]
    once = user_paths(["data.data_dir=é (1)", "+hydra.run.dir=[a] b", "generate.output_dir=x=1"])
    assert user_paths(once) == once  # the processes of DDP get the line again
    assert once == [
        "data.data_dir='é (1)'", "+hydra.run.dir='[a] b'", "generate.output_dir='x=1'",
    ]  # fmt: skip


def test_a_tilde_is_the_home_directory(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/José (1)")
    assert user_paths(["ckpt_path=~/a.ckpt"]) == ["ckpt_path='/home/José (1)/a.ckpt'"]
    monkeypatch.setenv("HOME", "/home/jose")
    assert user_paths(["ckpt_path=~/a.ckpt"]) == ["ckpt_path=/home/jose/a.ckpt"]


@pytest.mark.parametrize("config", ["train", "eval", "predict", "export", "generate_simple"])
def test_every_key_that_holds_a_path_is_known(config: str) -> None:
    def keys(node: object, place: str = "") -> list[tuple[str, object]]:
        if not isinstance(node, dict):
            return [(place, node)]
        return [pair for key, value in node.items() for pair in keys(value, f"{place}.{key}")]

    content = OmegaConf.to_container(composed(config=config), resolve=False)
    # Texts with a slash are paths, but for targets of downloads and words of prose.
    paths = [key for key, value in keys(content) if str(value).startswith(("${paths.", "/", "./"))]
    assert paths or config == "generate_simple"
    unknown = [key for key in paths if user_paths([f"{key[1:]}=a (é)"]) == [f"{key[1:]}=a (é)"]]
    assert unknown == []


def test_arguments_by_position(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1.wav").touch()
    (tmp_path / "-x.wav").touch()
    said = ["m.ckpt", "a=1.wav", "-x.wav", "split=test", "hydra/job_logging=none", "~tags", "foo=3"]
    assert by_position(said, KEYS) == (
        ["split=test", "hydra/job_logging=none", "~tags", "foo=3"],
        ["m.ckpt", "a=1.wav", "-x.wav"],
    )
    assert by_position(["--cfg", "job", "x.wav"], KEYS) == (["--cfg", "job"], ["x.wav"])


def test_patterns_name_files(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "my [x]*"
    folder.mkdir()
    for name in ("b.wav", "a.wav", "[ab].wav"):
        (folder / name).touch()
    assert matches(f"{folder}/?.wav") == [f"{folder}/a.wav", f"{folder}/b.wav"]
    assert matches(f"{folder}/[ab].wav") == [f"{folder}/[ab].wav"]  # it is there
    for nothing in ("none*", "a**b", "["):
        assert matches(f"{folder}/{nothing}") == [f"{folder}/{nothing}"]
    monkeypatch.setenv("HOME", str(folder))
    assert matches("~/a.wav") == [f"{folder}/a.wav"]


def test_predict_takes_model_and_sounds_by_position(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def read(*arguments: str) -> tuple[str, object]:
        cfg = composed(*predict.overrides_of(arguments))
        return cfg.ckpt_path, OmegaConf.to_container(cfg).get("input")

    assert read("m (1).ckpt", "saw (1).wav") == ("m (1).ckpt", "saw (1).wav")
    assert read("m.ckpt", "a,b.wav", "12", "start=file") == ("m.ckpt", ["a,b.wav", "12"])
    assert read("a.wav", "b.wav", "ckpt_path=epoch=3.ckpt") == ("epoch=3.ckpt", ["a.wav", "b.wav"])
    assert read("m.ckpt", "input=é.wav") == ("m.ckpt", "é.wav")
    with pytest.raises(ConfigError, match=r"input is given twice"):
        predict.overrides_of(["m.ckpt", "a.wav", "input=b.wav"])


def test_predict_has_a_help_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "src" / "predict.py", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    own = OmegaConf.to_container(OmegaConf.load(predict.CONFIG))
    assert isinstance(own, dict)
    words = {"???": "", "True": "true", "False": "false", "None": "null", "['dev']": "[dev]"}
    for key in own.keys() - {"defaults", "extras"}:
        assert f"\n  {key}={words.get(str(own[key]), own[key])}" in done.stdout
    assert "Configuration groups" not in done.stdout


def test_this_process_is_prepared(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "ckpt_path=epoch=3.ckpt", "seed=1"])
    command_line.prepare()
    assert sys.argv == ["train.py", "ckpt_path='epoch=3.ckpt'", "seed=1"]
