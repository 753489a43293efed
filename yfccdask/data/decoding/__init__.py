"""From the bytes of image files to squares of pixels. The rules are in docs/decoding.md."""

from yfccdask.data.decoding.crops import Cut, crop_boxes
from yfccdask.data.decoding.files import BYTES_CAP, Decoded, decode, read_file
from yfccdask.data.decoding.rejections import Rejected

__all__ = ["BYTES_CAP", "Cut", "Decoded", "Rejected", "crop_boxes", "decode", "read_file"]
