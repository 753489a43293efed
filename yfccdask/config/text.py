"""A configuration as YAML in which every key carries its text."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from yfccdask.config.schema import (
    Arithmetic,
    Batching,
    Checkpoints,
    Config,
    DenseLayer,
    Engine,
    Images,
    Lcn,
    Learning,
    LocalLayer,
    Pipeline,
    Preprocessing,
    Recovery,
    Whitening,
)

PAGE_HEAD = """# Configuration

One YAML file describes a run; `yfccdask config show demo` prints one in full. A file may start
from another (`based_on: demo`), change layers by index (`layers: {0: {units: 48}}`), and any key
can be changed on the command line (`--set layers.0.units=48`). An unknown key, a wrong type or
windows that don't cover their field are refused by name. This page is made from the schema by
`docs/make_configuration_page.py`.
"""
PAGE_SECTIONS: dict[str, type[BaseModel]] = {
    "The file": Config,
    "images": Images,
    "batching": Batching,
    "preprocessing": Preprocessing,
    "preprocessing.whitening": Whitening,
    "layers: keys of both kinds": Learning,
    "layers: kind local": LocalLayer,
    "layers: kind dense": DenseLayer,
    "layers.N.lcn": Lcn,
    "arithmetic": Arithmetic,
    "pipeline": Pipeline,
    "checkpoints": Checkpoints,
    "recovery": Recovery,
    "engine": Engine,
}


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


def schema_page() -> str:
    """Every key with its default and its text, as Markdown."""
    parts = [PAGE_HEAD]
    for title, section in PAGE_SECTIONS.items():
        inherited = Learning.model_fields if section in (LocalLayer, DenseLayer) else {}
        rows = [
            f"| `{name}` | {_default(field)} | {' '.join((field.description or '').split())} |"
            for name, field in section.model_fields.items()
            if name not in inherited and field.description
        ]
        parts.append("\n".join([f"## {title}\n", "| key | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    plain = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{_scalar(plain)}`"
