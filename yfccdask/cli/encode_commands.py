"""``encode`` and ``export``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from yfccdask.analysis.encoding import Encoded, Size, encode
from yfccdask.analysis.exporting import export
from yfccdask.cli.options import Command, as_json, cluster_options, report_errors, say
from yfccdask.training.clusters import ClusterRequest

checkpoint_option = click.option(
    "--checkpoint",
    type=click.IntRange(min=1),
    metavar="N",
    help="A commit's number (default: the latest; `yfccdask checkpoint ls RUN` lists them).",
)


def layer_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Layers as 3 or 1,3; None for the command's default."""
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"expected numbers such as 3 or 1,3, found {value!r}") from None


def layers_option(default: str) -> Callable[[Command], Command]:
    """The layers that a command is about; the default in words."""
    text = f"Layers, counted from 1 (default: {default})."
    return click.option("--layers", callback=layer_numbers, metavar="N[,N]", help=text)


@click.command("encode")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@layers_option("the top one")
@checkpoint_option
@click.option(
    "--format",
    type=click.Choice(["zarr", "parquet", "npy"]),
    default="zarr",
    show_default=True,
)
@click.option(
    "--pooling",
    type=click.Choice(["none", "rms"]),
    default="none",
    show_default=True,
    help="rms: one value per position, the root mean square over its units.",
)
@cluster_options
@as_json
@report_errors
def encode_command(as_json: bool, cluster: ClusterRequest, **asked: Any) -> None:
    """Write the activations of a layer's units for every image of SOURCE into the folder OUT.

    SOURCE is a block store or a folder of images, whose centre squares are taken. Killed, the
    same command goes on where it was.
    """
    encoded = encode(
        asked.pop("run"),
        asked.pop("source"),
        asked.pop("out"),
        cluster=cluster,
        on_size=lambda size: _say_size(size, as_json),
        on_block=lambda done, total, rate: _say_block(done, total, rate, as_json),
        **asked,
    )
    say(as_json, _facts(encoded), _text(encoded))


def _say_size(size: Size, quiet: bool) -> None:
    if not quiet:
        layers = ", ".join(f"layer {n}: {b:,}" for n, b in size.layers.items())
        click.echo(
            f"to write: {size.bytes:,} bytes for {size.images:,} images ({layers}); "
            f"{size.free:,} bytes free",
            err=True,
        )


def _say_block(done: int, total: int, rate: float, quiet: bool) -> None:
    if not quiet:
        click.echo(f"images: {done:,} of {total:,}, {rate:,.0f} images/s", err=True)


def _facts(encoded: Encoded) -> dict[str, Any]:
    return {
        "out": str(encoded.path),
        "layers": encoded.layers,
        "images": encoded.images,
        "bytes": encoded.bytes,
        "seconds": encoded.seconds,
        "images_per_second": encoded.images_per_second,
    }


def _text(encoded: Encoded) -> str:
    what = f"{encoded.path}: {encoded.images:,} images, {encoded.bytes:,} bytes"
    if encoded.images_per_second is None:
        return f"{what}; it was there already"
    return f"{what}, {encoded.images_per_second:,.0f} images/s"


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@checkpoint_option
@click.option("--torch", is_flag=True, help="Also write a PyTorch module that stands alone.")
@as_json
@report_errors
def export_command(
    run: Path, out: Path, checkpoint: int | None, torch: bool, as_json: bool
) -> None:
    """Write the network of RUN into the folder OUT: safetensors, and all else as JSON."""
    done = export(run, out, checkpoint=checkpoint, torch=torch)
    text = f"{done.path}: {', '.join(done.files)} ({done.weights:,} weights, {done.bytes:,} bytes)"
    say(as_json, {**asdict(done), "path": str(done.path)}, text)
