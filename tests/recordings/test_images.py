"""Pictures with labels become a data set by the same import."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.recordings.images import read_image
from src.recordings.importing import import_recordings
from src.recordings.settings import ImportSettings
from src.vimh.errors import VIMHError
from src.vimh.metadata import Metadata
from src.vimh.records import check_dataset

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (8, 12, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (8, 12), dtype=np.uint8)


def write(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    lines = ["file,angle,what"]
    for place, (name, pixels) in enumerate(pictures.items()):
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{place / 4},{'odd' if place % 2 else 'even'}")
    (folder / "l.csv").write_text("\n".join(lines))
    return folder


def imported(folder: Path, **settings) -> Metadata:
    given = {"labels": str(folder / "l.csv"), "output_dir": str(folder.parent / "out"), **settings}
    return import_recordings(ImportSettings(folder=str(folder), **given), progress=False).metadata


def test_pixels_come_in_as_they_are(tmp_path: Path) -> None:
    names = ("a.png", "b.tif", "c.png", "d.webp")
    folder = write(tmp_path / "p", dict.fromkeys(names[:3], RGB))
    Image.fromarray(RGB).save(folder / names[3], lossless=True)
    with (folder / "l.csv").open("a") as table:
        table.write("\nd.webp,0.75,odd\n")
    metadata = imported(folder)
    opened = check_dataset(tmp_path / "out" / "vimh-p")
    assert metadata.image_shape == (3, 8, 12)
    assert metadata.channel_labels == ("R", "G", "B")
    assert metadata.sample_rate is None
    assert not metadata.spectrogram_config
    assert metadata.parameters["what"].class_names == ("even", "odd")
    for records in (opened.train, opened.test):
        for image in records.images:
            np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1))
        assert (records.scale_factors == (0, 255)).all()
    assert metadata.raw["same_in_train_and_test"] == len(opened.test)


@pytest.mark.parametrize(
    ("pixels", "mode", "expected"),
    [
        (GREY, "L", GREY[None]),
        (GREY > 127, "1", ((GREY > 127) * 255)[None]),
        (GREY.astype(np.uint16) * 257, "I;16", GREY[None]),
        (np.dstack([GREY, GREY]), "LA", GREY[None]),
        (np.dstack([RGB, GREY]), "RGBA", RGB.transpose(2, 0, 1)),
    ],
)
def test_every_kind_of_pixel_becomes_8_bits(tmp_path: Path, pixels, mode, expected) -> None:
    Image.fromarray(pixels).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == mode
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), expected)


def test_sizes_and_colours_are_made_the_same_or_told(tmp_path: Path) -> None:
    pictures = {"a.png": RGB, "b.png": GREY, "c.png": RGB[:4], "d.png": RGB}
    folder = write(tmp_path / "p", pictures)
    with pytest.raises(VIMHError, match="2 problems") as refused:
        imported(folder)
    assert "'b.png': is 8x12 grey, expected 8x12 rgb as a.png; color=grey" in str(refused.value)
    assert "'c.png': is 4x12 rgb, expected 8x12 rgb as a.png; image_size=HxW" in str(refused.value)
    metadata = imported(folder, color="grey", image_size="6x5")
    assert metadata.image_shape == (1, 6, 5)
    check_dataset(tmp_path / "out" / "vimh-p")


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(VIMHError, match=r"text\.png: not a picture that can be read"):
        read_image(tmp_path / "text.png")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(VIMHError, match="pixels of mode F, whose range is not known"):
        read_image(tmp_path / "float.tif")
    Image.new("1", (9000, 8000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 1_000_000
    with pytest.raises(VIMHError, match="9000x8000 pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(GREY).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png")[0], np.rot90(GREY, -1))


def test_sounds_and_pictures_in_one_table_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", {"a.png": RGB, "b.png": RGB, "c.png": RGB})
    (folder / "x.wav").write_bytes(b"")
    with (folder / "l.csv").open("a") as table:
        table.write("\nx.wav,1,odd\n")
    with pytest.raises(VIMHError, match=r"row 5: 'x.wav': is none of the images"):
        imported(folder)
