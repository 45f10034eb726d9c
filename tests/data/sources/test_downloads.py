"""Downloads from a server of the test's own: mirrors, hashes, nothing half done."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from src.data.sources import cifar, downloads, mnist
from src.data.sources.downloads import RemoteFile, fetch
from src.utils.errors import ConfigError
from src.vimh.plain import file_digest
from src.vimh.records import open_dataset
from tests.fakes import CIFAR_SIZES, MNIST_SIZES, image_root

ROOT = Path(__file__).parents[3]
CONTENT = b"the true bytes" * 1000


class Handler(SimpleHTTPRequestHandler):
    """A mirror that has files, and three that fail in the middle: cut, silent and stalled."""

    let_go = threading.Event()

    def do_GET(self) -> None:
        mirror = self.path.split("/")[1]
        if mirror == "silent":
            self.let_go.wait(60)
        elif mirror in ("cut", "stalled"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            if mirror == "stalled":
                self.let_go.wait(60)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Handler.let_go.clear()
    for mirror, content in {"good": CONTENT, "changed": b"other bytes"}.items():
        (tmp_path / "www" / mirror).mkdir(parents=True)
        (tmp_path / "www" / mirror / "file.gz").write_bytes(content)
    handler = partial(Handler, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        Handler.let_go.set()
        httpd.shutdown()


def remote(*mirrors: str) -> RemoteFile:
    return RemoteFile("file.gz", hashlib.sha256(CONTENT).hexdigest(), mirrors)


def test_the_first_mirror_with_the_right_bytes_is_taken(server: str, tmp_path: Path) -> None:
    mirrors = (f"{server}/missing", f"{server}/changed", f"{server}/good/")
    path = fetch(remote(*mirrors), tmp_path / "cache", progress=False)
    assert path == tmp_path / "cache" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [("cut", "ChunkedEncodingError"), ("silent", "ReadTimeout"), ("stalled", "ConnectionError")],
)
def test_a_mirror_that_breaks_off_is_left_for_the_next(
    mirror: str,
    reason: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.5)
    cache = tmp_path / "cache"
    path = fetch(remote(f"{server}/{mirror}", f"{server}/good"), cache, progress=False)
    assert path.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [path]
    assert f"{server}/{mirror}/file.gz: {reason}" in caplog.text


def test_a_download_that_is_killed_leaves_no_file(server: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    program = (
        "from pathlib import Path\n"
        "from src.data.sources.downloads import RemoteFile, fetch\n"
        f"fetch({remote(f'{server}/stalled')!r}, Path({str(cache)!r}), progress=False)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as process:
        while not any(path.stat().st_size for path in cache.glob("*")):  # its first kilobytes
            assert process.poll() is None
            threading.Event().wait(0.05)
        process.kill()
    assert not (cache / "file.gz").exists()
    assert fetch(remote(f"{server}/good"), cache, progress=False).read_bytes() == CONTENT


def test_a_bar_shows_how_far_it_is(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(remote(f"{server}/good"), tmp_path / "cache")
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["mnist", "cifar10", "cifar100mh"])
def test_a_whole_set_from_a_mirror(
    variant: str, server: str, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As published, but for the files' sizes and so their hashes; made again without a network."""
    originals = image_root(data_root)
    (tmp_path / "www" / "originals").symlink_to(originals)
    mirrors = (f"{server}/missing", f"{server}/originals")
    monkeypatch.setattr(mnist, "MIRRORS", mirrors)
    hashes = {name: file_digest(originals / f"{name}.gz") for name in mnist.SHA256}
    monkeypatch.setattr(mnist, "SHA256", hashes)
    for name, (archive, heads) in cifar.VARIANTS.items():
        file = archive.file
        ours = RemoteFile(file.name, file_digest(originals / file.name), mirrors)
        monkeypatch.setitem(cifar.VARIANTS, name, (archive._replace(file=ours), heads))

    folders = (tmp_path / "vimh", tmp_path / "cache")
    sources = {
        "mnist": lambda: mnist.MNISTSource(*folders),
        "cifar10": lambda: cifar.CIFARSource(*folders, variant="cifar10"),
        "cifar100mh": lambda: cifar.CIFARSource(*folders, variant="cifar100mh"),
    }
    source = sources[variant]()
    source.make()
    data = open_dataset(source.dataset_dir, check="full")
    sizes = list(MNIST_SIZES.values() if variant == "mnist" else CIFAR_SIZES.values())
    assert [len(data.train), len(data.test)] == sizes
    for module in (mnist, cifar):
        monkeypatch.setattr(module, "fetch", None)  # nothing is fetched again
    sources[variant]().make()


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
