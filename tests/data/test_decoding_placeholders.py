"""Placeholders are told from photographs; large pictures are converted strip by strip."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.data.test_decoding import encoded, gradient, one, reason
from tests.data.test_decoding_jpegs import photograph
from yfccdask.data.decoding import Cut, Rejected, decode, pixels
from yfccdask.data.decoding.rejections import CATEGORIES


def unavailable(width=500, height=374):
    """A grey sheet that says so, as Flickr's."""
    sheet = Image.new("RGB", (width, height), (243, 243, 243))
    text = "This photo is no longer available"
    ImageDraw.Draw(sheet).text((width // 4, height // 2), text, fill=(120, 120, 120))
    return sheet


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_that_says_unavailable_is_a_placeholder(kind, channels):
    with pytest.raises(Rejected) as caught:
        one(encoded(unavailable(), kind), channels=channels)
    assert caught.value.category == "placeholder"
    assert "placeholder" in CATEGORIES
    assert (caught.value.width, caught.value.height) == (500, 374)


def test_one_colour_is_a_placeholder():
    assert reason(encoded(Image.new("RGB", (240, 180), "white"), "JPEG")).startswith("placeholder:")


def test_large_files_and_tiny_pictures_are_none():
    sheet = encoded(unavailable(), "PNG")
    stream = io.BytesIO(sheet)
    padded = encoded(Image.open(stream), "BMP")
    assert len(padded) > 16_384
    assert one(padded).shape == (16, 16, 3)
    assert one(encoded(Image.new("RGB", (74, 74), "white"))).shape == (16, 16, 3)


def test_small_files_of_photographs_are_none():
    content = encoded(photograph(160, 120), "JPEG", quality=40)
    assert len(content) < 16_384
    assert one(content).shape == (16, 16, 3)
    sky = np.full((200, 200, 3), (20, 60, 140), np.uint8)
    sky[:40, :60] = np.asarray(photograph(60, 40))  # 6 % of the pixels are something
    assert one(encoded(Image.fromarray(sky), "JPEG", quality=50)).shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I;16B"])
def test_strips_change_nothing(mode, monkeypatch):
    if mode.startswith("I"):
        values = np.arange(60 * 50, dtype="<u2" if mode == "I;16" else ">u2").reshape(60, 50) * 20
        picture, kind = Image.fromarray(values), "TIFF"
    else:
        picture, kind = gradient(50, 60).convert(mode), "TIFF" if mode == "CMYK" else "PNG"
    content, cut = encoded(picture, kind), Cut(16)
    whole = decode(content, "id", cut).images
    monkeypatch.setattr(pixels, "STRIP", 350)
    np.testing.assert_array_equal(decode(content, "id", cut).images, whole)
