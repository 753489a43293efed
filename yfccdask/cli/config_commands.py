"""``config show``."""

from __future__ import annotations

import click

from yfccdask.cli.options import as_json, report_errors, settings
from yfccdask.config import config_to_yaml, load_config


@click.group("config")
def config_group() -> None:
    """Show and check configurations."""


@config_group.command("show")
@click.argument("preset", metavar="PRESET_OR_FILE")
@settings
@as_json
@report_errors
def show_command(preset: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print a whole configuration as YAML, every key with its text.

    Presets: tiny, demo, paper. A file is read, checked and completed with the defaults.
    """
    config = load_config(preset, overrides)
    click.echo(config.model_dump_json() if as_json else config_to_yaml(config), nl=as_json)
