"""The gallery shows every unit of the positions it is about, and trusts no text."""

import pytest
from distributed import Client

from tests.analysis.conftest import HOSTILE
from tests.analysis.test_reporting import page_of
from tests.conftest import threads_cluster
from yfccdask.analysis import stimulus_pages
from yfccdask.analysis.results import read_result
from yfccdask.analysis.stimulus_pages import LINK, sampled_blocks, stimuli
from yfccdask.errors import StoreError


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


def test_every_page_is_one_file_that_loads_nothing(own_run, tiny_store, client, monkeypatch):
    monkeypatch.setattr(stimulus_pages, "UNITS_A_PAGE", 5)
    found = stimuli(own_run, tiny_store, k=2, layers=[1, 3], positions=2, client=client)
    assert (found.units, found.images) == (2 * 8 + 6, 50)
    assert found.pages == 2 * 2 + 2
    index = page_of(found.page)
    links = [value for tag, name, value in index.attributes if (tag, name) == ("a", "href")]
    assert {path.name for path in found.page.parent.glob("layer-*.html")} == set(links)
    shown = 0
    for link in links:
        page = page_of(found.page.parent / link)
        sources = [value for _, name, value in page.attributes if name == "src"]
        assert all(value.startswith("data:image/") for value in sources)
        labels = [value for _, name, value in page.attributes if name == "alt"]
        shown += sum(label.startswith("Image ") for label in labels)
        assert "script" not in page.tags
    assert shown == 2 * found.units
    assert read_result(own_run, "stimuli", own_run.commit(), tiny_store).parameters["k"] == 2


def test_hostile_texts_are_escaped_and_only_web_pages_are_linked(
    own_run, hostile_store, client, monkeypatch
):
    texts = [f"{HOSTILE} javascript:alert(1)", f'https://example.org/a"b{HOSTILE}']
    monkeypatch.setattr(
        type(hostile_store), "credits", lambda self, rows: [texts[row % 2] for row in rows]
    )
    found = stimuli(own_run, hostile_store, positions=1, layers=[1], client=client)
    (path,) = found.page.parent.glob("layer-*.html")
    page, html = page_of(path), path.read_text()
    assert "<img src=x" not in html
    assert "alert(1)</script>" not in html
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE in page.text
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert links - {"index.html"} == {"https://example.org/a"}
    assert page_of(found.page).tags.count("b") == 0


def test_without_photos_no_image_is_written_anywhere(own_run, tiny_store, client):
    found = stimuli(own_run, tiny_store, photos=False, layers=[3], client=client)
    for path in found.page.parent.glob("*.html"):
        assert "data:image/jpeg" not in path.read_text()
    (path,) = found.page.parent.glob("layer-*.html")
    ids = tiny_store.ids(found.lists[3]["image"].values[0, 0, 2].tolist())
    assert all(name in page_of(path).text for name in ids)


def test_whitened_images_are_shown_as_layer_1_sees_them(own_run, tiny_store, client):
    plain = stimuli(own_run, tiny_store, layers=[3], client=client)
    (path,) = plain.page.parent.glob("layer-*.html")
    before = path.read_text()
    stimuli(own_run, tiny_store, layers=[3], whitened=True, client=client)
    assert "whitened, mid grey is 0" in path.read_text()
    assert path.read_text().count("data:image/jpeg") == before.count("data:image/jpeg")
    assert path.read_text() != before


def test_a_sample_is_whole_blocks_that_the_seed_chooses(tiny_store):
    assert sampled_blocks(tiny_store, 10**9, 0) == [0, 1, 2, 3, 4]
    few = {tuple(sampled_blocks(tiny_store, 13, seed)) for seed in range(20)}
    assert all(sum(tiny_store.block_images(b) for b in blocks) >= 13 for blocks in few)
    assert len(few) > 3
    assert sampled_blocks(tiny_store, 13, 4) == sampled_blocks(tiny_store, 13, 4)
    with pytest.raises(StoreError, match="at least 1 image"):
        sampled_blocks(tiny_store, 0, 0)


def test_a_photo_page_is_found_in_a_credit():
    credit = "somebody, http://www.flickr.com/photos/somebody/4711/"
    assert LINK.search(credit).group() == "http://www.flickr.com/photos/somebody/4711/"
    assert LINK.search("javascript:alert(1)") is None
