"""Configurations: presets, what is refused and how, round trips, documentation."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from yfccdask.config import (
    PRESETS,
    Config,
    DenseLayer,
    LocalLayer,
    config_to_yaml,
    load_config,
    network_geometry,
)
from yfccdask.config.schema import Section
from yfccdask.config.text import schema_page
from yfccdask.errors import ConfigError, GeometryError


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("comments", [True, False])
def test_a_preset_survives_the_round_trip(preset, comments, tmp_path):
    config = load_config(preset)
    path = tmp_path / "c.yaml"
    path.write_text(config_to_yaml(config, comments=comments))
    assert load_config(path) == config


def test_the_paper_s_preset_is_the_paper_s():
    config = load_config("paper")
    assert network_geometry(config).weights == 15_355_871_232
    assert [layer.sparsity for layer in config.layers] == [0.1, 0.1, 0.01]
    assert (config.batching.data_block, config.batching.mini_batch) == (960, 192)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("layers.0.unitz=3", ["layers.0.unitz", "did you mean units"]),
        ("layers.0.sparsity=-1", ["layers.0.sparsity", "greater than or equal to 0", "-1"]),
        ("layers.0.stride=5", ["layers.0.window", "3 pixels left over"]),
        ("seed=x", ["seed", "valid integer", "'x'"]),
        ("layers.7.units=16", ["layers.7", "from 0 to 2"]),
        ("layers.1.units=17", ["layers.1.units", "multiple"]),
        ("layers.2.leaf=1.5", ["layers.2.leaf", "integer", "1.5"]),
        ("layers.0.rate=.inf", ["layers.0.rate", "finite"]),
        ("layers.0.kind=conv", ["layers.0", "'local', 'dense'"]),
        ("batching.mini_batch=7", ["batching", "multiple of mini_batch"]),
        ("preprocessing.whitening.patch=4", ["odd patch"]),
        ("preprocessing.whitening.patch=65", ["whitening.patch", "images.size of 64", "65"]),
        ("layers=[]", ["layers", "at least 1"]),
        ("seed", ["key=value"]),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_what_was_expected(override, words):
    with pytest.raises(ConfigError) as caught:
        load_config("demo", [override])
    for word in words:
        assert word in str(caught.value)


def test_based_on_starts_from_another_and_changes_layers_by_index(tmp_path):
    (tmp_path / "base.yaml").write_text("based_on: demo\nseed: 5\n")
    path = tmp_path / "mine.yaml"
    path.write_text("based_on: base.yaml\nlayers: {0: {units: 48}}\n")
    config = load_config(path, ["layers.1.sparsity=0.2"])
    assert (config.seed, config.layers[0].units, config.layers[1].sparsity) == (5, 48, 0.2)
    assert config.layers[2] == load_config("demo").layers[2]


def test_powers_of_ten_are_numbers_as_people_write_them():
    assert load_config("tiny", ["layers.0.rate=1e-3"]).layers[0].rate == 0.001


def test_a_circle_of_bases_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(f"based_on: {tmp_path}/b.yaml\n")
    (tmp_path / "b.yaml").write_text(f"based_on: {tmp_path}/a.yaml\n")
    with pytest.raises(ConfigError, match="no circle"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "3"])
def test_what_is_no_mapping_is_refused(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="expected"):
        load_config(tmp_path / "c.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "c.yaml")


def test_an_unknown_source_names_the_presets():
    with pytest.raises(ConfigError, match="tiny, demo, paper"):
        load_config("nope")


def test_lcn_that_leaves_nothing_names_its_layer():
    with pytest.raises(GeometryError, match=r"layers\.0\.lcn"):
        load_config("demo", ["layers.0.lcn={window: 15, mode: valid}"])


def sections(model: type[BaseModel]):
    yield model
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Section):
                yield from sections(part)


def test_every_key_carries_its_text():
    for model in {*sections(Config), *sections(LocalLayer), *sections(DenseLayer)}:
        for name, field in model.model_fields.items():
            is_section = isinstance(field.annotation, type) and issubclass(
                field.annotation, Section
            )
            assert field.description or is_section, f"{model.__name__}.{name}"


def test_a_configuration_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        load_config("tiny").seed = 3


@given(
    seed=st.integers(0, 2**32 - 1),
    sparsity=st.floats(0, 10, allow_nan=False),
    chunk=st.one_of(st.none(), st.tuples(st.integers(1, 9), st.integers(1, 9))),
)
def test_any_values_survive_the_round_trip(seed, sparsity, chunk):
    tree = load_config("tiny").model_dump(mode="json")
    tree["seed"], tree["layers"][0]["sparsity"] = seed, sparsity
    tree["engine"]["chunk"] = chunk
    config = Config.model_validate(tree)
    assert Config.model_validate(yaml.safe_load(config_to_yaml(config))) == config


def test_the_page_of_the_docs_is_the_schema_s():
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == schema_page(), "run python docs/make_configuration_page.py"


@pytest.mark.parametrize("override", ["layers.0.rectify=both", "layers.2.lcn.window=3"])
def test_a_key_of_another_section_is_not_suggested_in_its_own_place(override):
    with pytest.raises(ConfigError, match="belongs to another section, or to another kind"):
        load_config("tiny", [override])
