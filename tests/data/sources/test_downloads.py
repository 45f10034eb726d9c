"""Downloads from a server of the test's own: mirrors, hashes, nothing half done."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from src.data.sources import cifar, mnist
from src.data.sources.downloads import RemoteFile, fetch
from src.utils.errors import ConfigError

CONTENT = b"the true bytes" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    for mirror, content in {"good": CONTENT, "changed": b"other bytes"}.items():
        (tmp_path / "www" / mirror).mkdir(parents=True)
        (tmp_path / "www" / mirror / "file.gz").write_bytes(content)
    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def remote(*mirrors: str) -> RemoteFile:
    return RemoteFile("file.gz", hashlib.sha256(CONTENT).hexdigest(), mirrors)


def test_the_first_mirror_with_the_right_bytes_is_taken(server: str, tmp_path: Path) -> None:
    mirrors = (f"{server}/missing", f"{server}/changed", f"{server}/good/")
    path = fetch(remote(*mirrors), tmp_path / "cache", progress=False)
    assert path == tmp_path / "cache" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_what_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(CONTENT)
    assert fetch(remote("http://127.0.0.1:9/none"), tmp_path, progress=False).is_file()


def test_a_file_that_is_there_with_other_bytes_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(CONTENT[:99])
    fetch(remote(f"{server}/good"), tmp_path, progress=False)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_without_a_network_one_sentence_says_what_to_put_where(server: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch(remote("http://127.0.0.1:9", f"{server}/changed"), tmp_path, progress=False)
    text = str(caught.value)
    assert "\n" not in text
    assert f"put the original file.gz into {tmp_path}" in text
    assert "data.source.root=" in text
    assert "SHA-256 is not the published one" in text
    assert list(tmp_path.glob("file*")) == []


def test_hashes_are_sha256_and_mirrors_are_several() -> None:
    hashes = [*mnist.SHA256.values(), cifar.CIFAR10.file.sha256, cifar.CIFAR100.file.sha256]
    assert len(set(hashes)) == 6
    assert all(len(bytes.fromhex(digest)) == 32 for digest in hashes)
    for mirrors in (mnist.MIRRORS, cifar.CIFAR10.file.mirrors, cifar.CIFAR100.file.mirrors):
        assert len(mirrors) >= 2


def test_all_files_that_are_needed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9",))
    with pytest.raises(ConfigError) as caught:
        mnist.MNISTSource(tmp_path / "vimh", tmp_path / "cache").make()
    for name in mnist.SHA256:
        assert f"{name}.gz" in str(caught.value)
    assert not (tmp_path / "vimh").exists()
