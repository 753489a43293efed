"""``config show``, ``config dask`` and ``config cluster``."""

from __future__ import annotations

from pathlib import Path

import click

from yfccdask.cli.options import as_json, report_errors, say, settings
from yfccdask.config import config_to_yaml, load_config
from yfccdask.training.cluster_folder import create_cluster_folder
from yfccdask.training.dask_settings import SETTINGS_FILE, TRAINING_SETTINGS


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


@config_group.command("dask")
@click.option("--path", "only_path", is_flag=True, help="Print where the file is.")
@as_json
def dask_command(only_path: bool, as_json: bool) -> None:
    """Print Dask's settings for training, for schedulers and workers that are started by hand.

    export DASK_CONFIG=$(yfccdask config dask --path)
    """
    text = str(SETTINGS_FILE) if only_path else SETTINGS_FILE.read_text(encoding="utf-8").rstrip()
    say(as_json, {"path": str(SETTINGS_FILE), "settings": TRAINING_SETTINGS}, text)


@config_group.command("cluster")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--plain", is_flag=True, help="No TLS: whoever reaches it can run code as you.")
@as_json
@report_errors
def cluster_command(folder: Path, plain: bool, as_json: bool) -> None:
    """Make FOLDER, with a key for a cluster of your own, and print what DASK_CONFIG is to be.

    Whoever can read the folder may use the cluster. Set DASK_CONFIG to what is printed for
    scheduler, workers and yfccdask alike.
    """
    settings = create_cluster_folder(folder, plain)
    say(as_json, {"dask_config": str(settings)}, str(settings))
