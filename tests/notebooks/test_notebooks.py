"""The notebooks, executed from the first cell to the last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.data.made_photos import photo_bytes

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
REAL_ROWS = Path(__file__).parents[3] / "shared" / "data" / "yfcc100m_1k.tsv"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder of its own for whatever a notebook writes, and photographs for those that ask."""
    monkeypatch.setenv("YFCCDASK_WORK", str(tmp_path / "work"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(20):
        (photos / f"{seed:02d}.jpg").write_bytes(photo_bytes(seed, 120, 90))
    monkeypatch.setenv("YFCCDASK_PHOTOS", str(photos))
    for name in ("DASK_SCHEDULER", "YFCC100M_METADATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "work"


def executed(path, folder):
    """The notebook with its outputs."""
    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    return NotebookClient(book, timeout=400, kernel_name="python3", resources=where).execute()


def outputs(book, kind):
    """All outputs of a kind, such as text/html."""
    shown = [each for cell in book.cells for each in cell.get("outputs", ())]
    return [each.data[kind] for each in shown if kind in each.get("data", {})]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path, work, tmp_path):
    book = executed(path, tmp_path)
    assert outputs(book, "text/html")
    assert not any("Traceback" in text for text in map(str, outputs(book, "text/plain")))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_metadata_is_explored_a_second_time_in_the_same_folder(work, tmp_path):
    executed(FOLDER / "3_explore_metadata.ipynb", tmp_path)
    book = executed(FOLDER / "3_explore_metadata.ipynb", tmp_path)
    plots = outputs(book, "application/javascript") + outputs(book, "text/html")
    assert not any("cdn.bokeh.org" in text for text in plots)  # it works without a network


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not REAL_ROWS.exists(), reason="needs the real rows beside the checkout")
def test_metadata_is_explored_in_a_user_s_own_file(work, tmp_path, monkeypatch):
    monkeypatch.setenv("YFCC100M_METADATA", str(REAL_ROWS))
    book = executed(FOLDER / "3_explore_metadata.ipynb", tmp_path)
    assert any("997" in text for text in outputs(book, "text/html"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)
