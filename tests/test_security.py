"""Names and archives that would lead out of a folder, and checkpoints that would not end."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.build import own_data_dir
from src.checkpoint import read_checkpoint
from src.data.sources.cifar import CIFAR10, CIFAR100, CIFARSource
from src.data.sources.downloads import RemoteFile
from src.data.sources.mnist import MIRRORS, SHA256
from src.models.multihead_module import MultiheadLitModule
from src.synth.recipe import Recipe
from src.utils.errors import CheckpointError, ConfigError
from src.vimh.errors import VIMHError
from tests.vimh.conftest import make_json

WAYS_OUT = ["../x", "a/../../x", "/etc/x", "a\\..\\x", "..", "x\0y", "a b;rm -rf", "$(id)", "a/b"]


@pytest.mark.parametrize("name", WAYS_OUT)
def test_names_of_recipes_stay_in_their_folder(name: str, compose_config) -> None:
    cfg = compose_config("generate_simple")
    cfg.dataset.name = name
    with pytest.raises(VIMHError):
        Recipe.from_mapping(cfg).dataset_name()


def data_dir_of(name: str, folder: Path) -> Path:
    model = MultiheadLitModule.__new__(MultiheadLitModule)
    model.provenance = {"metadata": {"dataset_name": name}}
    return own_data_dir(OmegaConf.create({"paths": {"vimh_dir": str(folder)}}), model)


def test_data_sets_of_checkpoints_are_looked_for_by_their_last_name(tmp_path: Path) -> None:
    assert data_dir_of("../../etc/secret", tmp_path) == tmp_path / "secret"
    for name in ("..", "a/..", "", "/"):
        with pytest.raises(ConfigError, match="names none"):
            data_dir_of(name, tmp_path)


def test_members_of_an_archive_are_read_and_never_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name in ("../outside", "/outside", "cifar-10-batches-py/../../outside"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    source = CIFARSource(tmp_path / "data", tmp_path / "cache", "cifar10", root=tmp_path)
    with pytest.raises((VIMHError, ConfigError)):
        source.make()
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


def test_downloads_have_plain_names_and_hashes() -> None:
    cifar = [archive.file for archive in (CIFAR10, CIFAR100)]
    mnist = [RemoteFile(f"{name}.gz", digest, MIRRORS) for name, digest in SHA256.items()]
    for file in (*cifar, *mnist):
        assert Path(file.name).name == file.name
        assert len(file.sha256) == 64


def doubling(depth: int) -> list:
    node: list = []
    for _ in range(depth):
        node = [node, node]
    return node


@pytest.mark.parametrize("key", ["config", "metadata"])
def test_checkpoints_that_would_not_end(tmp_path: Path, key: str) -> None:
    described = {"config": {"model": {}}, "metadata": make_json()}
    described[key]["model" if key == "config" else "channel_labels"] = doubling(60)
    path = tmp_path / "a.ckpt"
    torch.save({"avix": described, "state_dict": {}, "epoch": 0, "global_step": 0}, path)
    with pytest.raises((ConfigError, CheckpointError), match=f"avix.{key} is not what"):
        read_checkpoint(path)


def test_the_page_tells_where_the_packages_are_audited() -> None:
    root = Path(__file__).parents[1]
    page = (root / "SECURITY.md").read_text(encoding="utf-8")
    command = "pip-audit --requirement requirements.txt --no-deps --disable-pip"
    workflow = (root / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    assert command in page
    assert command in workflow
    assert "\n  audit:\n" in workflow
    assert "the job `audit` of `.github/workflows/check.yml`" in page
    others = [root / ".ci" / "run", root / "Makefile", *(root / "make").glob("*.mk")]
    assert not any("pip-audit" in path.read_text(encoding="utf-8") for path in others)
    assert "`make check` and `.ci/run` do not" in " ".join(page.split())
