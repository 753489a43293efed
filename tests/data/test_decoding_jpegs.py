"""JPEGs through libjpeg-turbo: the two modes, what is refused and what is left to Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.data.test_decoding import encoded, gradient, one, reason
from yfccdask.data.decoding import Cut, Rejected, crop_boxes, decode, headers, jpegs
from yfccdask.data.decoding.crops import MODES
from yfccdask.data.decoding.headers import read_header
from yfccdask.errors import DataError
from yfccdask.numerics.resampling import resample

KINDS = [
    {},
    {"subsampling": 0},
    {"subsampling": 1},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"keep_rgb": True, "subsampling": 0},
]


def photograph(width, height, seed=0):
    """Something as busy as a photograph, uint8 RGB."""
    rng, total = np.random.default_rng(seed), np.zeros((height, width, 3))
    for size in (3, 8, 25, 80):
        small = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        total += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray((total / 4).astype(np.uint8))


def apart(found, oracle):
    return np.abs(found.astype(int) - oracle.astype(int))


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("size", [(90, 70), (65, 97)])
def test_pixels_are_pillow_s_whatever_the_kind_of_jpeg(options, size):
    content = encoded(photograph(*size), "JPEG", quality=90, **options)
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    oracle = resample(whole, crop_boxes(*size, "id", Cut(16))[0], 16)
    assert apart(one(content), oracle).max() <= 1


@pytest.mark.parametrize("options", KINDS)
def test_grey_squares_hold_the_luma(options):
    content = encoded(photograph(90, 70), "JPEG", quality=90, **options)
    colours = one(content).astype(float)
    found = one(content, channels=1)
    assert found.shape == (16, 16, 1)
    assert np.abs(found[..., 0] - colours @ [0.299, 0.587, 0.114]).max() <= 2


def test_a_grey_jpeg_gives_three_equal_channels():
    content = encoded(photograph(90, 70).convert("L"), "JPEG", quality=90)
    found = one(content)
    assert found.shape == (16, 16, 3)
    np.testing.assert_array_equal(found, one(content, channels=1).repeat(3, axis=2))


@pytest.mark.parametrize("size", [(400, 300), (401, 303), (511, 237), (1030, 777)])
def test_fast_squares_are_not_shifted_and_nearly_the_same(size):
    content = encoded(photograph(*size), "JPEG", quality=90)
    exact, fast = (decode(content, "id", Cut(100, decode=mode)).images for mode in MODES)
    assert apart(fast, exact).mean() <= 1.5
    assert abs((fast.astype(int) - exact).mean()) < 0.5
    assert not np.array_equal(fast, exact)


@pytest.mark.parametrize("side", [63, 64, 65, 127, 128, 129, 256, 300])
def test_fast_decoding_never_enlarges(side, monkeypatch):
    taken = []
    plain = jpegs.simplejpeg.decode_jpeg

    def watched(*given, **options):
        pixels = plain(*given, **options)
        taken.append(min(pixels.shape[:2]))
        return pixels

    monkeypatch.setattr(jpegs.simplejpeg, "decode_jpeg", watched)
    content = encoded(photograph(side, side + 31), "JPEG")
    decode(content, "id", Cut(32, decode="fast"))
    assert 32 <= taken[0] <= 64


def test_fast_crops_lie_where_exact_ones_do():
    y, x = np.mgrid[:400, :520]
    plane = Image.fromarray(np.stack([x / 3, y / 3, (x + y) / 6], axis=-1).astype(np.uint8))
    content = encoded(plane, "JPEG", quality=98, subsampling=0)
    cuts = [Cut(40, crops=12, seed=5, decode=mode) for mode in MODES]
    exact, fast = (decode(content, "id", cut).images.astype(float) for cut in cuts)
    assert exact.shape == (12, 40, 40, 3)
    assert np.abs((fast - exact).mean(axis=(1, 2, 3))).max() < 0.1


def test_an_unknown_mode_is_refused():
    with pytest.raises(DataError, match="exact or fast, found 'quick'"):
        Cut(decode="quick")


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_truncated_jpegs_of_every_kind_are_refused(options, kept):
    content = encoded(photograph(90, 70), "JPEG", **options)
    assert reason(content[: int(kept * len(content))]).startswith("truncated:")


@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_marker_is_truncated(lost):
    content = encoded(photograph(90, 70), "JPEG")
    assert reason(content[:-lost]).startswith("truncated:")


def test_an_end_marker_does_not_make_half_a_file_whole():
    content = encoded(photograph(90, 70), "JPEG")
    assert reason(content[: len(content) // 2] + b"\xff\xd9").startswith("truncated:")


def test_broken_codes_are_damage():
    content = bytearray(encoded(photograph(200, 200), "JPEG", optimize=True))
    found = set()
    for at in range(len(content) // 2, len(content) - 20, 37):
        broken = bytearray(content)
        broken[at : at + 6] = b"\xfe" * 6
        try:
            one(bytes(broken))
        except Rejected as why:
            found.add(why.category)
    assert "damaged" in found or "truncated" in found
    assert found <= {"damaged", "truncated"}


def test_padding_before_the_end_marker_is_harmless():
    content = encoded(photograph(90, 70), "JPEG")
    padded = content[:-2] + bytes(64) + content[-2:]
    assert apart(one(padded), one(content)).max() <= 1


def test_what_follows_the_end_marker_is_ignored():
    content = encoded(photograph(90, 70), "JPEG")
    np.testing.assert_array_equal(one(content + b"trailer" * 100), one(content))


def test_without_simplejpeg_no_other_decoder_is_taken(monkeypatch):
    monkeypatch.setattr(jpegs, "simplejpeg", None)
    with pytest.raises(DataError, match="pip install simplejpeg") as caught:
        one(encoded(gradient(20, 20), "JPEG"))
    assert not isinstance(caught.value, Rejected)
    assert one(encoded(gradient(20, 20), "PNG")).shape == (16, 16, 3)


def with_size(content, width, height):
    """The file with another size in its header."""
    at = next(i for i in range(len(content)) if content[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return content[: at + 5] + size + content[at + 9 :]


def test_a_huge_progressive_jpeg_is_refused_before_its_coefficients_are_allocated():
    content = with_size(encoded(gradient(64, 64), "JPEG", progressive=True), 9000, 9000)
    assert reason(content).startswith("too large: 463 MiB of coefficients")


def test_a_huge_jpeg_with_a_scan_per_component_is_refused_likewise():
    content = with_size(encoded(gradient(64, 64), "JPEG"), 9000, 9000)
    at = content.index(b"\xff\xda")
    several = content[: at + 4] + b"\x01" + content[at + 5 :]
    assert reason(several).startswith("too large: 463 MiB of coefficients")
    assert read_header(content, 16).scale == 2


def test_a_progressive_jpeg_of_very_many_scans_is_refused(monkeypatch):
    content = encoded(gradient(64, 64), "JPEG", progressive=True)
    assert one(content).shape == (16, 16, 3)
    monkeypatch.setattr(headers, "SCAN_CAP", 5)
    assert reason(content) == "too large: 10 scans of 64 x 64 pixels"
    monkeypatch.setattr(headers, "SCAN_CAP", 500)
    monkeypatch.setattr(headers, "SCANNED_CAP", 9 * 64 * 64)
    assert reason(content).startswith("too large: 10 scans")


def test_squares_do_not_share_the_memory_that_is_decoded_into():
    first = one(encoded(photograph(60, 60, 1), "JPEG"))
    kept = first.copy()
    one(encoded(photograph(60, 60, 2), "JPEG"))
    np.testing.assert_array_equal(first, kept)
