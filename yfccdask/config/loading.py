"""Read a configuration: a preset's name or a YAML file, what it is based on, and overrides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from yfccdask.config.network import network_geometry
from yfccdask.config.schema import Config, DenseLayer, LocalLayer
from yfccdask.errors import ConfigError

PRESETS = ("tiny", "demo", "paper")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as in YAML 1.2 and everywhere else."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read, merge and validate a configuration.

    Parameters
    ----------
    source : str or Path
        A preset's name (``tiny``, ``demo``, ``paper``) or the path of a YAML file, which may
        start from another by ``based_on: NAME_OR_PATH``.
    overrides : iterable of str
        ``key=value`` pairs such as ``layers.0.units=96``; values are YAML.

    Raises
    ------
    ConfigError
        Naming the key, what was expected and what was found.

    Examples
    --------
    >>> load_config("tiny", ["seed=3"]).seed
    3
    """
    tree = _read(str(source), seen=())
    for override in overrides:
        _override(tree, override)
    return parse_config(tree, str(source))


def parse_config(tree: Mapping[str, Any], origin: str = "configuration") -> Config:
    """Validate a mapping as a whole configuration, geometry included."""
    if isinstance(tree.get("layers"), list):
        layers = [
            {"kind": "local", **layer} if isinstance(layer, dict) else layer
            for layer in tree["layers"]
        ]
        tree = {**tree, "layers": layers}
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None
    try:
        network_geometry(config)
    except ConfigError as error:
        raise type(error)(f"{origin}: {error}") from None
    return config


def _read(source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if source in seen:
        raise ConfigError(f"based_on: expected no circle, found {' -> '.join((*seen, source))}")
    text, folder = _text(source)
    try:
        tree = _yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: expected YAML, found {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected a mapping of keys, found {type(tree).__name__}")
    tree.pop("provenance", None)  # what a run adds to the configuration that it keeps
    base = tree.pop("based_on", None)
    if base is None:
        return dict(tree)
    if str(base) not in PRESETS:
        base = str(folder / str(base))
    return dict(_merge(_read(str(base), (*seen, source)), tree))


def _text(source: str) -> tuple[str, Path]:
    if source in PRESETS:
        preset = resources.files("yfccdask.config") / "presets" / f"{source}.yaml"
        return preset.read_text(encoding="utf-8"), Path()
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"expected a preset ({', '.join(PRESETS)}) or the path of a YAML file, found {source!r}"
        )
    try:
        return path.read_text(encoding="utf-8"), path.parent
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: expected a text file in UTF-8, found {error}") from None


def _merge(base: Any, change: Any) -> Any:
    """``change`` over ``base``: mappings by key, lists by ``{index: change}``, all else whole."""
    if isinstance(base, dict) and isinstance(change, dict):
        merged = {key: _merge(base.get(key), value) for key, value in change.items()}
        return {**base, **merged}
    if isinstance(base, list) and isinstance(change, dict) and change:
        merged_list = list(base)
        for key, value in change.items():
            index = _index(str(key), len(base), "layers")
            merged_list[index] = _merge(base[index], value)
        return merged_list
    return change


def _override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set: expected key=value such as seed=3, found {override!r}")
    node: Any = tree
    *parents, last = path.split(".")
    for step, key in enumerate(parents):
        where = ".".join(parents[: step + 1])
        node = node[_index(key, len(node), where)] if isinstance(node, list) else _child(node, key)
        if not isinstance(node, dict | list):
            raise ConfigError(f"--set {path}: expected {where} to have keys, found {node!r}")
    try:
        value = _yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {path}: expected a YAML value, found {text!r}") from None
    if isinstance(node, list):
        node[_index(last, len(node), path)] = value
    else:
        node[last] = value


def _child(node: dict[str, Any], key: str) -> Any:
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _index(key: str, length: int, where: str) -> int:
    if not key.isdigit() or int(key) >= length:
        raise ConfigError(f"{where}: expected an index from 0 to {length - 1}, found {key!r}")
    return int(key)


def _explain(error: ValidationError) -> str:
    """Every problem as ``key: what was expected, what was found``."""
    return "; ".join(_problem(dict(item)) for item in error.errors())


def _problem(item: dict[str, Any]) -> str:
    where = [part for part in item["loc"] if part not in ("local", "dense")]
    key = ".".join(str(part) for part in where) or "configuration"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{key}: expected a known key{_nearest(str(where[-1]))}"
    if item["type"] == "missing":
        return f"{key}: expected a value, found none"
    if item["type"] == "value_error":
        return f"{key}: {message}"
    message = message.removeprefix("Input should be ")
    return f"{key}: expected {message}, found {item['input']!r}"


def _keys(model: type[BaseModel]) -> set[str]:
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= _keys(part)
    return keys


def _nearest(key: str) -> str:
    known = _keys(Config) | _keys(LocalLayer) | _keys(DenseLayer)
    close = difflib.get_close_matches(key, sorted(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    if key in known:
        hint = "; it belongs to another section, or to another kind of layer"
    return f", found {key!r}{hint} (`yfccdask config show demo` lists every key)"
