"""Pillow's own test images, hostile ones among them, and the largest pictures that are decoded."""

import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from benchmarks.watched_decoding import WatchedDecoder
from yfccdask.data.decoding import Cut
from yfccdask.data.decoding.rejections import CATEGORIES

SDIST = "pillow==13.0.0"
SHA256 = "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510"
MEMORY_MB, PATIENCE = 512, 30
EXPECTED = {
    "pil_sample_cmyk.jpg": "decoded",
    "pil_sample_rgb.jpg": "decoded",
    "hopper_gray.jpg": "decoded",
    "exif-72dpi-int.jpg": "decoded",
    "hopper_orientation_6.jpg": "decoded",
    "hopper_orientation_8.webp": "decoded",
    "16_bit_noise.tif": "decoded",
    "hopper_16bit.pgm": "decoded",
    "dispose_bgnd.gif": "decoded",
    "iss634.webp": "decoded",
    "sugarshack.mpo": "decoded",
    "truncated_jpeg.jpg": "truncated",
    "truncated_image.png": "truncated",
    "broken_data_stream.png": "damaged",
    "unbound_variable.jp2": "unsupported format",
    "hopper.psd": "unsupported format",
    "bc5u.dds": "not an image",
}

pytestmark = pytest.mark.slow


def read_from(path):
    return Path(path).read_bytes()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The images by name, fetched by pip and copied out one by one under numbers."""
    folder = tmp_path_factory.mktemp("pillow")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{SDIST} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    command += ["--require-hashes", "-r", str(wanted), "--dest", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = {}
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        for number, member in enumerate(archive):
            path = PurePosixPath(member.name)
            if member.isfile() and path.parts[1:3] == ("Tests", "images"):
                copy = folder / f"{number:05d}"
                copy.write_bytes(archive.extractfile(member).read())
                found["/".join(path.parts[3:])] = copy
    return found


@pytest.fixture(scope="module")
def answers(corpus):
    decoder = WatchedDecoder(read_from, Cut(16), PATIENCE)
    try:
        return {name: decoder.ask(str(path)) for name, path in corpus.items()}
    finally:
        decoder.close()


def test_every_file_is_decoded_or_rejected_with_a_reason(answers):
    assert len(answers) > 1000
    bad = {name: answer for name, answer in answers.items() if answer.bad}
    assert not bad
    assert {answer.outcome for answer in answers.values()} <= {"decoded", *CATEGORIES}


def test_categories_are_the_sensible_ones(answers):
    found = {name: answers[name].outcome for name in EXPECTED}
    assert found == EXPECTED


def test_files_of_our_formats_are_mostly_decoded(answers):
    for ending in (".jpg", ".png", ".webp", ".gif", ".tif", ".bmp"):
        outcomes = [answer.outcome for name, answer in answers.items() if name.endswith(ending)]
        assert outcomes.count("decoded") > len(outcomes) / 2, ending


def test_no_file_takes_much_memory(answers):
    assert max(answer.memory_mb for answer in answers.values()) <= MEMORY_MB


def largest(kind):
    """A picture of 24 million pixels, not of one colour, of the kinds that take most memory."""
    y, x = np.ogrid[:4000, :6000]
    plane = ((x // 8 + y // 8) % 251).astype(np.uint8)
    stack = [plane, plane.T.reshape(4000, 6000), plane[::-1], plane[:, ::-1]]
    bands = {"RGBA": 4, "CMYK": 4, "RGB": 3, "LA": 2, "L": 1}[kind]
    picture = np.stack(stack[:bands], axis=-1) if bands > 1 else plane
    return Image.fromarray(picture, kind) if bands != 2 else Image.merge("LA", [
        Image.fromarray(stack[0]), Image.fromarray(stack[1])
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "ending", "options"),
    [
        ("CMYK", "jpg", {"progressive": True}),
        ("RGB", "jpg", {"progressive": True, "subsampling": 0}),
        ("RGBA", "png", {"compress_level": 1}),
        ("LA", "png", {"compress_level": 1}),
        ("RGBA", "webp", {"lossless": True, "method": 0, "quality": 0}),
        ("RGBA", "tif", {"compression": "tiff_lzw"}),
        ("CMYK", "tif", {}),
        ("L", "gif", {}),
    ],
)
def test_the_largest_pictures_take_bounded_memory(mode, ending, options, tmp_path):
    path = tmp_path / f"large.{ending}"
    largest(mode).save(path, **options)
    decoder = WatchedDecoder(read_from, Cut(300), PATIENCE)
    try:
        answer = decoder.ask(str(path))
    finally:
        decoder.close()
    assert answer.outcome == "decoded"
    assert answer.memory_mb <= MEMORY_MB
