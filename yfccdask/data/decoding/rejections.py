"""Why a file gives no image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from yfccdask.errors import DataError

CATEGORIES = (
    "not an image",
    "unsupported format",
    "truncated",
    "damaged",
    "too small",
    "too large",
    "placeholder",
    "cannot read file",
)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class Rejected(DataError):
    """A file that gives no image; the reason is one of `CATEGORIES`, a colon and detail."""

    def __init__(self, category: str, detail: str, width: int = 0, height: int = 0):
        super().__init__(f"{category}: {detail}")
        self.category, self.width, self.height = category, width, height

    @property
    def reason(self) -> str:
        return str(self)


@contextmanager
def rejecting() -> Iterator[None]:
    """Turn what Pillow raises on a bad file into a reason."""
    try:
        yield
    except BOMBS as error:
        raise Rejected("too large", "far more pixels than can be decoded") from error
    except (MemoryError, Rejected):
        raise
    except Exception as error:  # plugins raise almost anything on hostile bytes
        text = str(error)[:120]
        category = "truncated" if "truncated" in text.lower() else "damaged"
        raise Rejected(category, text or type(error).__name__) from error
