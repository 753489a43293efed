"""Decoding: every kind of file there is, and where exactly its squares lie."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from yfccdask.data.decoding import Cut, Rejected, crop_boxes, decode, files, headers, read_file


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def gradient(width, height):
    """A smooth picture, uint8 (height, width, 3), without symmetry."""
    y, x = np.mgrid[:height, :width]
    planes = [255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 9 + y / 5)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def one(content, size=16, channels=3):
    return decode(content, "id", Cut(size, channels)).images[0]


def reason(content, size=16):
    with pytest.raises(Rejected) as caught:
        one(content, size)
    return caught.value.reason


def test_decode_gives_uint8_squares_and_the_size_in_the_header():
    decoded = decode(encoded(gradient(40, 30)), "id", Cut(16))
    assert decoded.images.shape == (1, 16, 16, 3)
    assert decoded.images.dtype == np.uint8
    assert (decoded.width, decoded.height) == (40, 30)


def test_grey_has_one_channel_and_the_luma_of_the_colours():
    grey = one(encoded(Image.new("RGB", (20, 20), (200, 100, 50))), channels=1)
    assert grey.shape == (16, 16, 1)
    assert abs(int(grey[0, 0, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def box_average(plane, box, size):
    """Mean of the pixels under each of size x size equal parts of a box, by a plain loop."""
    left, top, right, bottom = box
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y = top + (bottom - top) * np.array([i, i + 1]) / size
            x = left + (right - left) * np.array([j, j + 1]) / size
            rows = np.clip(
                np.minimum(np.arange(len(plane)) + 1, y[1])
                - np.maximum(np.arange(len(plane)), y[0]),
                0,
                None,
            )
            columns = np.clip(
                np.minimum(np.arange(plane.shape[1]) + 1, x[1])
                - np.maximum(np.arange(plane.shape[1]), x[0]),
                0,
                None,
            )
            out[i, j] = rows @ plane @ columns / (rows.sum() * columns.sum())
    return out


@pytest.mark.parametrize(("width", "height"), [(61, 40), (40, 61), (49, 48), (33, 49)])
def test_centre_crop_is_not_shifted_by_half_a_pixel(width, height):
    y, x = np.mgrid[:height, :width]
    plane = (20 + 2 * x + 2 * y).astype(np.uint8)  # half a pixel would be 1 grey level
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    oracle = box_average(plane.astype(float), (left, top, left + side, top + side), 16)
    rounded = np.floor(oracle + 0.5 + 1e-6)
    error = (one(encoded(Image.fromarray(plane)), channels=1)[..., 0] - rounded)[2:-2, 2:-2]
    assert abs(error.mean()) < 0.2
    assert np.abs(error).max() <= 1


def test_a_square_of_the_right_size_is_untouched():
    picture = gradient(16, 16)
    np.testing.assert_array_equal(one(encoded(picture)), np.asarray(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    picture, exif = gradient(40, 27), Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture, "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    side = (upright.width - 27) / 2, (upright.height - 27) / 2
    box = (*side, side[0] + 27, side[1] + 27)
    oracle = np.asarray(upright.resize((16, 16), Image.Resampling.BICUBIC, box=box)).astype(int)
    assert np.abs(one(content).astype(int) - oracle).max() <= 2


def test_a_turned_tiff_is_turned_once():
    picture, exif = gradient(40, 27), Image.Exif()
    exif[0x0112] = 6
    expected = encoded(picture.transpose(Image.Transpose.ROTATE_270))
    found = one(encoded(picture, "TIFF", exif=exif)).astype(int)
    assert np.abs(found - one(expected).astype(int)).max() <= 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_turns_nothing():
    content = encoded(gradient(20, 20), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert one(content).shape == (16, 16, 3)


def test_cmyk_jpegs_become_rgb():
    found = one(encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"))
    assert found.shape == (16, 16, 3)
    assert found[8, 8, 0] > 200 > 60 > found[8, 8, 1]


def test_sixteen_bit_grey_keeps_its_high_byte():
    values = (np.arange(400, dtype=np.uint16) * 160).reshape(20, 20)
    content = encoded(Image.fromarray(values))
    oracle = one(encoded(Image.fromarray((values >> 8).astype(np.uint8))))
    np.testing.assert_array_equal(one(content), oracle)


def test_deep_portable_greymaps_keep_their_high_byte_too():
    values = (np.arange(400, dtype=np.uint16) * 160).reshape(20, 20)
    content = b"P5 20 20 65535\n" + values.astype(">u2").tobytes()
    oracle = one(encoded(Image.fromarray((values >> 8).astype(np.uint8))))
    np.testing.assert_array_equal(one(content), oracle)


def test_palettes_are_looked_up_and_transparency_lies_on_white():
    picture = gradient(20, 20).convert("P")
    np.testing.assert_array_equal(one(encoded(picture)), one(encoded(picture.convert("RGB"))))
    assert (one(encoded(Image.new("RGBA", (20, 20), (9, 9, 9, 0)))) == 255).all()
    assert (one(encoded(Image.new("LA", (20, 20), (9, 255)))) == 9).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_common_mode_becomes_grey_or_rgb(mode, channels):
    assert one(encoded(gradient(20, 20).convert(mode)), 16, channels).shape == (16, 16, channels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_every_listed_format_is_read(kind):
    assert one(encoded(gradient(20, 20), kind)).shape == (16, 16, 3)


def test_floating_pixels_are_refused():
    content = encoded(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF")
    assert reason(content) == "unsupported format: TIFF with F pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    assert reason(content[: int(share * len(content))]).split(":")[0] in ("truncated", "damaged")


def test_truncated_progressive_jpegs_are_refused():
    content = encoded(gradient(200, 200), "JPEG", progressive=True)
    assert reason(content[: len(content) // 2]).startswith("truncated:")


def test_damaged_pixels_are_refused():
    content = bytearray(encoded(gradient(60, 60)))
    content[len(content) // 2] ^= 0xFF
    assert reason(bytes(content)).split(":")[0] in ("damaged", "truncated")


def test_what_is_not_an_image_is_told_from_other_formats():
    assert reason(b"<html>photo unavailable</html>").startswith("not an image:")
    assert reason(b"") == "not an image: the file is empty"
    assert reason(b"8BPS\x00\x01") == "unsupported format: Photoshop"
    assert reason(b"\x00\x00\x00\x18ftypheic").startswith("unsupported format:")
    assert reason(b"\xff\xd8\xff\xe0").startswith("truncated:")
    assert reason(encoded(gradient(20, 20), "ICO")).startswith("not an image:")


def test_small_images_are_enlarged_twice_at_most():
    assert one(encoded(gradient(8, 30)), 16).shape == (16, 16, 3)
    assert reason(encoded(gradient(7, 30))) == "too small: 7 x 30 pixels for squares of 16"
    assert reason(encoded(gradient(1, 1))).startswith("too small:")


def test_a_rejected_file_still_says_its_size():
    with pytest.raises(Rejected) as caught:
        one(encoded(gradient(7, 30)))
    assert (caught.value.width, caught.value.height) == (7, 30)


def test_large_jpegs_are_scaled_while_decoding_and_other_formats_refused(monkeypatch):
    picture = gradient(200, 160)
    whole = one(encoded(picture, "JPEG", quality=95)).astype(int)
    monkeypatch.setattr(headers, "PIXEL_CAP", 10_000)
    scaled = decode(encoded(picture, "JPEG", quality=95), "id", Cut(16))
    assert (scaled.width, scaled.height) == (200, 160)
    assert np.abs(scaled.images[0] - whole).max() < 12
    assert reason(encoded(picture)).startswith("too large: 200 x 160")
    monkeypatch.setattr(headers, "PIXEL_CAP", 100)
    assert reason(encoded(picture, "JPEG")).startswith("too large:")


def test_pixel_bombs_are_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert reason(encoded(gradient(30, 30))).startswith("too large:")


def test_random_crops_depend_on_seed_id_and_number_alone():
    few, many = (crop_boxes(90, 70, "a", Cut(16, crops=n, seed=3)) for n in (5, 50))
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(few, crop_boxes(90, 70, "b", Cut(16, crops=5, seed=3)))
    assert not np.array_equal(few, crop_boxes(90, 70, "a", Cut(16, crops=5, seed=4)))


def test_random_crops_lie_inside_with_log_uniform_sides():
    boxes = crop_boxes(900, 640, "a", Cut(10, crops=4000))
    sides = boxes[:, 2] - boxes[:, 0]
    np.testing.assert_allclose(sides, boxes[:, 3] - boxes[:, 1])
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 900
    assert boxes[:, 3].max() <= 640
    assert sides.min() >= 10 - 1e-9
    assert abs((sides < 80).mean() - 0.5) < 0.03  # 80 is the geometric mean of 10 and 640


def test_random_crops_of_a_small_image_take_its_smaller_side():
    boxes = crop_boxes(30, 12, "a", Cut(16, crops=20))
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 12)
    assert len(np.unique(boxes[:, 0])) == 20
    assert decode(encoded(gradient(30, 12)), "a", Cut(16, crops=20)).images.shape[0] == 20


def test_unreadable_files_and_huge_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(Rejected, match="cannot read file: No such file"):
        read_file(str(tmp_path / "absent"))
    (tmp_path / "big").write_bytes(b"12345")
    monkeypatch.setattr(files, "BYTES_CAP", 4)
    with pytest.raises(Rejected, match="too large: 5 bytes"):
        read_file(str(tmp_path / "big"))
