"""A configuration as YAML in which every key carries its text."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from yfccdask.config.schema import Config


def config_to_yaml(config: Config, *, comments: bool = True) -> str:
    """The whole configuration, defaults included, as YAML that ``load_config`` reads back."""
    return "\n".join(_section(config, "", comments)) + "\n"


def _section(section: BaseModel, indent: str, comments: bool) -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if comments and field.description:
            lines.append(f"{indent}# {' '.join(field.description.split())}")
        lines += _entry(name, value, indent, comments)
    return lines


def _entry(name: str, value: Any, indent: str, comments: bool) -> list[str]:
    if isinstance(value, BaseModel):
        return [f"{indent}{name}:", *_section(value, indent + "  ", comments)]
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        lines = [f"{indent}{name}:"]
        for item in value:
            first, *rest = _section(item, indent + "  ", comments)
            lines += [f"{indent}- {first.strip()}", *rest]
        return lines
    plain = list(value) if isinstance(value, tuple) else value
    return [f"{indent}{name}: {_scalar(plain)}"]


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return text.removesuffix("...").strip()
