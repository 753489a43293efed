"""Pictures have the sizes and colours that they should."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from yfccdask.analysis.pictures import (
    close_up,
    data_uri,
    filter_pictures,
    mosaic,
    photo_tile,
    unit_window,
    wide_columns,
)
from yfccdask.config import load_config, network_geometry
from yfccdask.geometry import Field, NetworkGeometry, Rectangle, dense_layer, local_layer


@pytest.mark.parametrize(("channels", "kept"), [(3, 3), (1, 1), (6, 1)])
def test_filters_are_scaled_to_their_own_maximum_around_mid_grey(rng, channels, kept):
    filters = rng.normal(size=(4, 5, 6, channels)) * np.array([1, 10, 1e-6, 0])[:, None, None, None]
    pictures = filter_pictures(filters)
    assert pictures.shape == (4, 5, 6, kept)
    assert pictures.dtype == np.uint8
    extreme = np.abs(pictures.astype(int) - 128).max(axis=(1, 2, 3))
    assert extreme.tolist() == [127, 127, 127, 0]


def test_a_mosaic_has_its_pictures_row_by_row_with_gaps_between():
    pictures = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 3, 1), np.uint8)
    image = mosaic(pictures, columns=3, zoom=2, gap=1)
    assert image.size == (3 * 6 + 2, 2 * 4 + 1)
    pixels = np.asarray(image)
    assert (pixels[5:, 7:13] == 4).all()
    assert (pixels[4] == 255).all()
    assert (pixels[5:, 14:] == 255).all()


@pytest.mark.parametrize(("count", "columns"), [(96, 12), (384, 24), (8, 4), (1, 1), (7, 4)])
def test_mosaics_are_wider_than_high(count, columns):
    assert wide_columns(count) == columns


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint16)])
def test_a_photo_s_window_is_outlined_and_the_rest_paler(channels, dtype):
    dark = np.zeros((20, 20, channels), dtype)
    pixels = np.asarray(photo_tile(dark, 40, Rectangle(5, 10, 0, 5)))
    assert pixels.shape == (40, 40, 3)
    assert pixels[12, 5].tolist() == [0, 0, 0]
    assert pixels[10, 5].tolist() == [224, 17, 95]
    assert pixels[30, 30].min() > 100
    assert np.asarray(photo_tile(dark, 40)).max() == 0
    assert close_up(dark, 30, Rectangle(0, 4, 0, 8)).size == (60, 30)


def test_the_window_of_a_unit_reaches_through_the_layers_below():
    below = local_layer(
        Field(20, 20, 3), window=8, stride=4, units=8, tile=(2, 2), lcn_window=3, lcn_mode="valid"
    )
    above = local_layer(below.normalised, window=2, stride=1, units=4, tile=(2, 2))
    network = NetworkGeometry((below, above, dense_layer(above.normalised, units=3, leaf=8)))
    assert unit_window(network, 0, (1, 3)) == Rectangle(4, 12, 12, 20)
    assert unit_window(network, 1, (0, 1)) == Rectangle(4, 12, 4, 16)
    assert unit_window(network, 2, (0, 0)) == Rectangle(4, 16, 4, 16)


def test_every_window_of_the_paper_s_network_lies_within_the_image():
    network = network_geometry(load_config("paper"))
    for layer, geometry in enumerate(network.layers):
        for corner in ((0, 0), (geometry.grid[0] - 1, geometry.grid[1] - 1)):
            window = unit_window(network, layer, corner)
            assert window.top >= 0
            assert window.bottom <= 300
    assert unit_window(network, 1, (0, 0)).height == 16 + 4 * 4


@pytest.mark.parametrize(("photo", "kind"), [(False, "PNG"), (True, "JPEG")])
def test_a_data_uri_holds_the_image(photo, kind):
    uri = data_uri(Image.new("RGB", (7, 5), "red"), photo=photo)
    head, text = uri.split(",")
    assert head == f"data:image/{kind.lower()};base64"
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert (image.format, image.size) == (kind, (7, 5))
