"""Archives: every member accounted for, read where it lies, never extracted by name."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest

from tests.data.made_photos import photo_bytes, photo_folder
from yfccdask.data import ingest, open_store
from yfccdask.data.ingesting import sequence, waves
from yfccdask.data.sources import listing
from yfccdask.errors import DataError

OPTIONS = {"size": 16, "block_size": 4}
MEMBERS = {f"data/{n:03d}.jpg": photo_bytes(n) for n in range(9)}


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def rows_of(source):
    return pd.concat(list(listing(source).tables()), ignore_index=True)


def pixels(store):
    """Each image by the last part of its id."""
    store = open_store(store)
    names = (name.rpartition("/")[2] for name in store.ids(store.rows()))
    return dict(zip(names, store.read(store.rows()), strict=True))


def same_as_files(store, tmp_path):
    ingest(photo_folder(tmp_path / "files", 9), tmp_path / "plain", **OPTIONS)
    expected, found = pixels(tmp_path / "plain"), pixels(store)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_a_tar_gives_the_images_of_its_files(tmp_path, name):
    mode = {"a.tar": "w", "a.tgz": "w:gz"}.get(name, f"w:{name[6:]}")
    write_tar(tmp_path / name, MEMBERS, mode)
    report = ingest(tmp_path / name, tmp_path / "s", **OPTIONS)
    assert (report.seen, report.written) == (9, 9)
    same_as_files(tmp_path / "s", tmp_path)
    status = open_store(tmp_path / "s").status()
    assert status["id"][3] == f"{name}/data/003.jpg"
    assert status["source"][3] == f"{tmp_path / name}::data/003.jpg"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_the_images_of_its_files(tmp_path, method):
    write_zip(tmp_path / "a.zip", MEMBERS, method)
    ingest(tmp_path / "a.zip", tmp_path / "s", **OPTIONS)
    same_as_files(tmp_path / "s", tmp_path)


def test_a_folder_may_mix_archives_and_files(tmp_path):
    folder = photo_folder(tmp_path / "mixed", 2, first=20)
    write_tar(folder / "a.tar", dict(list(MEMBERS.items())[:3]))
    write_tar(folder / "b.tar.gz", dict(list(MEMBERS.items())[3:6]), "w:gz")
    write_zip(folder / "deep.zip", dict(list(MEMBERS.items())[6:]))
    report = ingest(folder, tmp_path / "s", **OPTIONS)
    assert (report.seen, report.written) == (11, 11)


def test_shards_of_the_yfcc100m_package_come_with_credits(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    keys = [f"00{n}{'a' * 20}" for n in range(3)]
    write_zip(
        folder / "000.zip",
        {f"data/images/{k[:3]}/{k[3:6]}/{k}.jpg": photo_bytes(n) for n, k in enumerate(keys)},
    )
    with gzip.open(folder / "000.gz", "wt") as notes:
        for key in keys:
            row = {"key": key, "unickname": "Jane", "pageurl": f"http://x/{key}"}
            notes.write(json.dumps({**row, "licensename": "CC BY"}) + "\n")
    (folder / "000.err").write_text("data/images/000/aaa/missing.jpg\n")
    report = ingest(folder, tmp_path / "s", **OPTIONS)
    assert (report.seen, report.written) == (3, 3)
    store = open_store(tmp_path / "s")
    assert set(store.licences(store.rows())) == {"CC BY"}
    assert set(store.credits(store.rows())) == {f"Jane: http://x/{key}" for key in keys}


@pytest.mark.parametrize(
    "notes",
    [b"no gzip", gzip.compress(b"no json"), gzip.compress(b"[1]")],
    ids=["no gzip", "no JSON", "no object"],
)
def test_credits_that_can_t_be_read_are_an_error_that_names_them(tmp_path, notes):
    write_zip(tmp_path / "000.zip", {"a.jpg": photo_bytes(1)})
    (tmp_path / "000.gz").write_bytes(notes)
    with pytest.raises(DataError, match=r"one JSON object a line in .*000\.gz"):
        ingest(tmp_path / "000.zip", tmp_path / "s", **OPTIONS)


def test_notes_beside_a_picture_are_no_files_of_their_own(tmp_path):
    members = {"1.json": b"{}", "1.jpg": photo_bytes(1), "1.txt": b"a cat", "2.jpg": photo_bytes(2)}
    write_tar(tmp_path / "w.tar", {**members, "readme.md": b"x", "._1.jpg": b"mac"})
    assert rows_of(tmp_path / "w.tar")["id"].tolist() == [
        f"w.tar/{name}" for name in ("1.jpg", "2.jpg", "readme.md")
    ]


def test_names_are_ids_and_nothing_is_written_by_them(tmp_path):
    write_tar(
        tmp_path / "evil.tar", {"../../evil.jpg": photo_bytes(1), "/etc/x.jpg": photo_bytes(2)}
    )
    report = ingest(tmp_path / "evil.tar", tmp_path / "s", **OPTIONS)
    assert report.written == 2
    assert not list(tmp_path.parent.rglob("evil.jpg"))
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tar", "s"}


def test_a_name_that_comes_twice_is_two_files(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for seed in (1, 2):
            content = photo_bytes(seed)
            info = tarfile.TarInfo("a.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert rows_of(tmp_path / "t.tar")["id"].tolist() == ["t.tar/a.jpg", "t.tar/a.jpg~2"]
    ingest(tmp_path / "t.tar", tmp_path / "s", **OPTIONS)
    assert open_store(tmp_path / "s").status()["source_digest"].nunique() == 2


@pytest.mark.parametrize("name", ["cut.tar", "cut.tar.gz"])
def test_an_archive_that_ends_early_gives_what_it_has_and_says_so(tmp_path, name):
    write_tar(tmp_path / name, MEMBERS, "w:gz" if name.endswith("gz") else "w")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    report = ingest(tmp_path / name, tmp_path / "s", **OPTIONS)
    status = open_store(tmp_path / "s").status().set_index("id")
    assert 0 < report.written < 9
    assert status.loc[name, "reason"].startswith("damaged: ends early after")
    assert report.seen == report.written + report.skipped


def test_a_damaged_header_is_no_silent_end(tmp_path):
    write_tar(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(tmp_path / "a.tar") as archive:
        header = archive.getmembers()[4].offset
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[header + 10 : header + 200] = b"\xff" * 190
    (tmp_path / "a.tar").write_bytes(content)
    report = ingest(tmp_path / "a.tar", tmp_path / "s", **OPTIONS)
    assert (report.written, report.reasons) == (4, {"damaged": 1})


def test_what_is_no_archive_and_what_is_encrypted_is_named(tmp_path):
    folder = photo_folder(tmp_path / "f", 1)
    (folder / "no.zip").write_bytes(b"not a zip")
    (folder / "no.tar").write_bytes(b"not a tar" * 100)
    write_zip(folder / "yes.zip", {"a.jpg": photo_bytes(5)}, zipfile.ZIP_BZIP2)
    report = ingest(folder, tmp_path / "s", **OPTIONS)
    assert report.reasons == {"damaged": 2, "unsupported format": 1}
    with pytest.raises(DataError, match=r"expected an archive at .*, found nothing"):
        ingest(tmp_path / "none.tar", tmp_path / "t")


def test_members_of_one_compressed_archive_share_few_waves(tmp_path, monkeypatch):
    folder = tmp_path / "f"
    folder.mkdir()
    for n in range(3):
        members = {f"{n}-{k}.jpg": photo_bytes(10 * n + k) for k in range(8)}
        write_tar(folder / f"{n}.tar.gz", members, "w:gz")
    made = sequence.write_sequence(listing(folder).tables(), tmp_path / "sequence", 0, 8)
    for number in range(made.waves):
        assert made.wave(number)["path"].nunique() == 1
    monkeypatch.setattr(waves, "WAVE_FILES", 5)
    ingest(folder, tmp_path / "s", **OPTIONS)
    monkeypatch.setattr(waves, "WAVE_FILES", 100)
    ingest(folder, tmp_path / "t", **OPTIONS)
    assert pixels(tmp_path / "s").keys() == pixels(tmp_path / "t").keys()
