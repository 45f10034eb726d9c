"""MNIST from files of the true format: byte-exact headers, broken files, stroke measures."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from src.data.sources.mnist import (
    SHA256,
    SOFTNESS_BOUNDS_PX,
    THICKNESS_BOUNDS_PX,
    MNISTSource,
    read_idx,
    stroke_classes,
    stroke_measures,
)
from src.utils.errors import ConfigError
from src.vimh.errors import VIMHError
from src.vimh.records import open_dataset
from tests.fakes import patterned, write_idx, write_mnist


@pytest.fixture(params=[".gz", ""])
def root(request, tmp_path: Path) -> Path:
    return write_mnist(tmp_path / "originals", request.param)


def source(tmp_path: Path, root: Path | None, **arguments) -> MNISTSource:
    return MNISTSource(tmp_path / "vimh", tmp_path / "cache", root, **arguments)


def test_pixels_and_labels_arrive(root: Path, tmp_path: Path) -> None:
    made = source(tmp_path, root)
    made.make()
    assert made.dataset_dir == tmp_path / "vimh" / "vimh-28x28x1_mnist"
    data = open_dataset(made.dataset_dir, check="full")
    assert (len(data.train), len(data.test)) == (100, 31)
    assert np.array_equal(data.train.images[:, 0], patterned(np.arange(100) % 10, (28, 28)))
    assert data.test.labels[:, 0].tolist() == (np.arange(31) % 10).tolist()
    assert data.metadata.parameters["digit"].class_names == tuple("0123456789")
    assert data.train.scale_factors[0].tolist() == [0, 255]
    assert data.metadata.sample_rate is None


def test_one_pair_of_files_is_split_by_itself(root: Path, tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        for path in root.glob(f"{name}*"):
            path.unlink()
    made = source(tmp_path, root, part="t10k", multihead=True)
    made.make()
    assert made.dataset_dir.name == "vimh-28x28x1_multihead_mnist_t10k"
    data = open_dataset(made.dataset_dir)
    assert (len(data.train), len(data.test)) == (25, 6)
    assert list(data.metadata.parameters) == ["digit", "thickness", "smoothness"]
    with pytest.raises(ConfigError, match=r"no train-images-idx3-ubyte\.gz and no train-images"):
        source(tmp_path, root).make()


def test_made_once_and_never_from_other_files(root: Path, tmp_path: Path) -> None:
    made = source(tmp_path, root)
    made.make()
    written = (made.dataset_dir / "train").stat().st_mtime_ns
    made.make()
    assert (made.dataset_dir / "train").stat().st_mtime_ns == written
    # without a root the published files are meant, and these are not they
    with pytest.raises(VIMHError, match=r"made from something else.*data\.source\.root"):
        source(tmp_path, None).make()


def test_known_files_are_not_read_again(tmp_path: Path) -> None:
    """A set from the pinned files is found without the files: nothing is downloaded."""
    recipe = source(tmp_path, None).recipe()
    assert recipe == {"source": "mnist", "files": SHA256}


def test_the_idx_header_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "a-idx3-ubyte"
    write_idx(path, np.zeros((2, 28, 28), np.uint8))
    assert path.read_bytes()[:16].hex() == "00000803000000020000001c0000001c"
    assert read_idx(path, 3).shape == (2, 28, 28)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX header of 16 bytes"),
        (b"\0\0\x08\x01" + bytes(12), "expected an IDX header"),  # one dimension
        (b"\0\0\x0d\x03" + bytes(12), "expected an IDX header"),  # floats
        (struct.pack(">4I", 2051, 2, 28, 28) + bytes(100), "expected 1568 values .* found 100"),
        (struct.pack(">4I", 2051, 1, 2, 2) + bytes(5), "expected 4 values .* found more"),
        (struct.pack(">4I", 2051, *3 * [2**32 - 1]), "more than"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_broken_files_are_named(content: bytes, message: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(VIMHError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(bytes(999))[:-9]], ids=["text", "cut"]
)
def test_a_broken_gzip_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(VIMHError, match=r"t10k-images-idx3-ubyte\.gz"):
        read_idx(path, 3)


def test_images_and_labels_that_do_not_belong_together(root: Path, tmp_path: Path) -> None:
    for path in root.glob("t10k-labels*"):
        write_idx(path, np.zeros(30, np.uint8))
    with pytest.raises(VIMHError, match=r"\(31, 28, 28\); expected \(30, 28, 28\)"):
        source(tmp_path, root).make()
    assert not (tmp_path / "vimh" / "vimh-28x28x1_mnist").exists()


def test_a_label_that_is_no_digit(root: Path, tmp_path: Path) -> None:
    labels = np.arange(31) % 10
    labels[5] = 11
    for path in root.glob("t10k-labels*"):
        write_idx(path, labels)
    with pytest.raises(VIMHError, match="sample 5 has label 11, expected 0 to 9"):
        source(tmp_path, root).make()


def test_an_unknown_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="part is 'half'; expected all, train or t10k"):
        source(tmp_path, None, part="half")


@pytest.mark.parametrize("width", [2, 3, 4])
def test_thickness_is_the_width_of_a_stroke(width: int) -> None:
    """A bar of w x 20: 2*area/outline = 20w/(20+w), but for the corners."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 10 : 10 + width] = 255
    thickness, softness = stroke_measures(image)
    assert thickness[0] == pytest.approx(20 * width / (20 + width), rel=0.02)
    assert softness[0] == pytest.approx(1.0, rel=0.02)


def test_softness_is_the_width_of_an_edge() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    ramp = np.array([63.75, 127.5, 191.25, 255, 255, 255, 255, 191.25, 127.5, 63.75])
    image[0, :, 8:18] = ramp.astype(np.uint8)
    softness = stroke_measures(image)[1]
    # edges over four pixels, but for the sharp ends of the bar at the image's border
    assert 2.5 < softness[0] < 4


def test_a_blank_image_and_a_full_one_are_measured() -> None:
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    thickness, softness = stroke_measures(images)
    assert (thickness[0], softness[0]) == (0, 0)
    assert np.isfinite(thickness).all()
    assert stroke_classes(images)["thickness"].tolist() == [0, 4]


def test_bounds_are_ordered() -> None:
    assert sorted(THICKNESS_BOUNDS_PX) == list(THICKNESS_BOUNDS_PX)
    assert sorted(SOFTNESS_BOUNDS_PX) == list(SOFTNESS_BOUNDS_PX)
