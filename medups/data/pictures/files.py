"""Read pictures and index masks. Every fault of a file is an InputError that names it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medups.data.labels import MAX_ID, LabelSet
from medups.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_MAX_PIXELS = 2**27  # 400 MB of colors; a small file can promise more
_DEEP = ("I;16", "I;16B", "I;16L", "I")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Colors [H, W, 3], turned as the camera was held; gray, palette, transparent and CMYK pictures are converted.

    Raises:
        InputError: not a picture, a damaged or truncated file, or more than 134 million pixels.
    """
    with _opened(path) as image:
        if image.mode == "F":
            raise InputError(f"{path}: expected colors or gray values as whole numbers, found fractions")
        return colors_of(image)


def colors_of(image: Any) -> NDArray[np.uint8]:
    """Colors [H, W, 3] of a Pillow image, turned as its EXIF entry says."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode in _DEEP:
        gray = np.asarray(turned).astype(np.int64)
        return np.repeat((np.clip(gray, 0, 65535) // 257).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(turned.convert("RGB"))


def read_mask(path: Path, labels: LabelSet, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Ids [H, W] of a mask with one channel, or a palette, whose indices are the ids.

    Args:
        labels: the ids that may occur.
        size: height and width that the mask must have, those of its picture.

    Raises:
        InputError: a file that cannot be read, a mask in colors, another size, or ids that ``labels`` lacks.
    """
    with _opened(path) as image:
        if image.format == "JPEG":
            raise InputError(f"{path}: JPEG changes numbers; save masks of class ids as PNG")
        if image.mode not in ("1", "L", "P", *_DEEP):
            raise InputError(
                f"{path}: expected a mask with one number per pixel, found a picture of mode {image.mode}; save the "
                "class ids, not their colors"
            )
        ids = np.asarray(image)
    if size is not None and ids.shape != size:
        raise InputError(
            f"{path}: the mask has {ids.shape[1]} x {ids.shape[0]} pixels, its picture {size[1]} x {size[0]}"
            + ("; the picture may be turned by its EXIF entry" if ids.shape[::-1] == size else "")
        )
    labels.check_ids(ids, str(path))
    if int(ids.max(initial=0)) > MAX_ID or int(ids.min(initial=0)) < 0:
        raise InputError(f"{path}: ids must be 0 to {MAX_ID}, found {ids.min()} to {ids.max()}")
    return ids.astype(np.uint8)


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of colors [H, W, 3] or numbers [H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The decoded file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise InputError(
                        f"{path}: {image.width} x {image.height} pixels, more than {_MAX_PIXELS:,}; cut it into parts"
                    )
                image.load()
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: more than {_MAX_PIXELS:,} pixels; cut it into parts") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError, IndexError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(str(path))[0].strip() or type(error).__name__
        raise InputError(
            f"{path}: expected a readable {', '.join(_FORMATS)} file, found a damaged or other one ({reason})"
        ) from error
