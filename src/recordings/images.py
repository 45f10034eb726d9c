"""Picture files as stored images: PNG, JPEG, TIFF and WebP, grey or RGB."""

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from src.vimh.errors import VIMHError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
MAX_PIXELS = 2**26  # of a picture; a packed one is small
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
_GREY = ("1", "L", "LA")
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
# What Pillow raises for files that are broken or of another kind.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, RuntimeError),
    *(OverflowError, ArithmeticError, AttributeError, AssertionError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def read_image(
    path: Path, size: tuple[int, int] | None = None, color: str | None = None
) -> UInt8[np.ndarray, "C H W"]:
    """Read the first picture of a file, turned as its EXIF data say.

    Grey pictures of 16 bits are reduced to 8; transparency is left out.

    Args:
        path: the file.
        size: height and width to resize it to (Lanczos); None: its own.
        color: "grey", "rgb"; None: as it is.

    Raises:
        VIMHError: it is no such file, is broken or too large.
    """
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise VIMHError(
                    f"{path}: has {width}x{height} pixels, expected at most {MAX_PIXELS} in all"
                )
            picture = _plain(path, ImageOps.exif_transpose(opened), color)
    except VIMHError:
        raise
    except _BROKEN as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise VIMHError(
            f"{path}: not a picture that can be read ({reason}); expected PNG, JPEG, TIFF or WebP"
        ) from error
    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None].copy() if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy()


def _plain(path: Path, picture: Image.Image, color: str | None) -> Image.Image:
    """Make 8 bits of grey or of RGB."""
    if picture.mode in _GREY_16:
        levels = np.asarray(picture).astype(np.float64) / 257.0
        picture = Image.fromarray(levels.round().astype(np.uint8))
    if picture.mode not in (*_GREY, *_COLOURED):
        raise VIMHError(
            f"{path}: has pixels of mode {picture.mode}, whose range is not known; save it with 8 "
            "bits, or with 16 bits of grey"
        )
    is_grey = picture.mode in _GREY if color is None else color == "grey"
    return picture.convert("L" if is_grey else "RGB")
