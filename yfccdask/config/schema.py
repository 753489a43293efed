"""What a configuration may say: frozen, validated objects; every key carries its own text."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive: TypeAlias = Annotated[int, Field(ge=1)]
PositiveReal: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the configuration: no key beyond the ones named, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Images(Section):
    """The images of the store that a run may train on."""

    size: Positive = 300
    """Height and width in pixels; must be the store's."""
    channels: Positive = 3
    """Channels per pixel (3 for RGB, 1 for grey); must be the store's."""
    dtype: Literal["uint8", "uint16"] = "uint8"
    """Type of a stored value; must be the store's."""


class Batching(Section):
    """How images are grouped for training."""

    data_block: Positive = 960
    """Images per data block, which is one visit of every weight chunk; must be the store's."""
    mini_batch: Positive = 192
    """Images per mini-batch, which is one update of the weights; must divide data_block."""

    @model_validator(mode="after")
    def _whole(self) -> Batching:
        if self.data_block % self.mini_batch:
            raise ValueError(
                f"expected data_block to be a multiple of mini_batch, found {self.data_block} "
                f"and {self.mini_batch}"
            )
        return self


class Whitening(Section):
    """ZCA of sampled patches, whose central pixel's rows become one filter over the image."""

    patch: Positive = 17
    """Height and width of the sampled patches and of the filter, in pixels; odd."""
    floor: PositiveReal = 0.2
    """Added to every eigenvalue, as a share of the mean eigenvalue: small values amplify noise."""
    samples: Positive = 100_000
    """Patches that the filter is fitted on."""

    @model_validator(mode="after")
    def _odd(self) -> Whitening:
        if self.patch % 2 == 0:
            raise ValueError(f"expected an odd patch, so that it has a centre, found {self.patch}")
        return self


class Preprocessing(Section):
    """What happens to the stored pixels before layer 1, on the fly."""

    contrast_floor: NonNegative = 0.0392156862745098
    """Added to each image's deviation before the division, as a share of full scale (10/255)."""
    whitening: Whitening | None = Whitening()
    """The whitening filter; null for none."""


class Lcn(Section):
    """Local contrast normalisation of a layer's output (Jarrett et al. 2009)."""

    window: Positive = 15
    """Height and width of the Gaussian window in pixels; odd."""
    mode: Literal["valid", "same"] = "valid"
    """valid trims 2 * (window - 1) pixels over its two passes; same re-weights the edges."""
    spread: PositiveReal | None = None
    """Standard deviation of the Gaussian in pixels; null for a quarter of the window."""
    floor: PositiveReal = 1.0e-4
    """Least divisor, in units of the layer's output."""
    rectify: Literal["none", "both"] = "none"
    """both: the next layer reads twice the maps, max(f, 0) of all and then max(-f, 0) of all; it
    then wants a lower rate, a fifth to a half, a dense layer a sixteenth. The paper has none."""

    @model_validator(mode="after")
    def _odd(self) -> Lcn:
        if self.window % 2 == 0:
            raise ValueError(
                f"expected an odd window, so that it has a centre, found {self.window}"
            )
        return self


class Learning(Section):
    """How a layer learns; sigma below is its input_deviation."""

    sparsity: NonNegative = 0.1
    """lambda, the weight of the sparsity term (not of the reconstruction, as in Le et al. 2011)."""
    epsilon: PositiveReal = 0.01
    """Smoothing of the sparsity term near 0, in units of sigma^2."""
    input_deviation: PositiveReal = 0.1
    """sigma: the field that enters the layer is scaled once to this standard deviation."""
    rate: NonNegative = 0.005
    """First learning rate of the weights, in units of 1/sigma^2; falls linearly to 0."""
    alpha_rate: NonNegative = 0.1
    """First learning rate of alpha, in units of (1 - momentum) / E||x||^2; falls likewise."""
    offset_rate: NonNegative = 0.1
    """First learning rate of the offset, in units of 1 - momentum; falls likewise."""
    momentum: Share = 0.9
    """mu: what is kept of the momentum at every mini-batch."""
    alpha: PositiveReal = 1.0
    """The scale of the code (one per position) at the start."""
    passes: Positive = 1
    """Times that the layer sees the whole store."""


class LocalLayer(Learning):
    """An untied, locally connected layer: a grid of positions, each with its own weights."""

    kind: Literal["local"] = "local"
    """local, or dense for one position over the whole field."""
    window: Positive = 16
    """Pixels that a position reads, per dimension."""
    stride: Positive = 4
    """Pixels between neighbouring positions."""
    units: Positive = 384
    """K, rows of every position's weights: tile height * tile width * maps."""
    tile: Annotated[tuple[Positive, Positive], Field(strict=False)] = (4, 4)
    """Output pixels that every position writes."""
    lcn: Lcn | None = Lcn()
    """Normalisation of the output; null for none."""


class DenseLayer(Learning):
    """A dense layer: one position whose window is the whole field."""

    kind: Literal["dense"]
    """local, or dense for one position over the whole field."""
    units: Positive = 4096
    """K, rows of the weights."""
    leaf: Positive = 16_384
    """Inputs per leaf: sums over inputs are taken per leaf, then up one tree (changes bits)."""


Layer: TypeAlias = Annotated[LocalLayer | DenseLayer, Field(discriminator="kind")]


class Engine(Section):
    """How the work is cut; nothing here changes a single bit of the result."""

    chunk: Annotated[tuple[Positive, Positive], Field(strict=False)] | None = None
    """Rows and columns of positions per weight chunk; null lets the planner choose."""
    chunk_leaves: Positive | None = None
    """Leaves per chunk of a dense layer; null lets the planner choose."""
    weights: Literal["memory", "disk", "host"] = "memory"
    """Where weights and momenta lie between visits: disk streams every chunk through memory; host,
    for GPUs, streams those that don't fit the device from the memory of its host."""
    stage_fields: Literal["recompute", "memory", "disk"] = "recompute"
    """A layer's input on its later passes: computed again, or kept in memory or on disk."""
    scratch: str | None = None
    """Folder on every worker's own disk for what is streamed or staged; null for the worker's."""
    blocks_in_flight: Positive = 2
    """Data blocks whose tasks may be under way at once."""


class Arithmetic(Section):
    """Where a run is computed, and how precisely: what is said here changes its bits."""

    device: Literal["cpu", "gpu"] = "cpu"
    """cpu, or gpu: weights and fields lie on the workers' GPUs, one GPU per worker."""
    products: Literal["fp32", "tf32", "bf16"] = "fp32"
    """How a GPU multiplies matrices: float32, TF32, or bfloat16 operands. Weights, momenta and sums
    stay float32."""
    fields: Literal["full", "half"] = "full"
    """How the fields between layers are stored: like the weights, or in half precision."""
    momentum: Literal["full", "half"] = "full"
    """How the weights' momentum is stored between visits: like the weights, or as bfloat16, rounded
    after every visit (in a dense layer after every mini-batch)."""

    @model_validator(mode="after")
    def _on_a_gpu(self) -> Arithmetic:
        if self.products != "fp32" and self.device != "gpu":
            raise ValueError(
                f"expected products fp32 on the device cpu, found {self.products}: set "
                "arithmetic.device=gpu"
            )
        return self


class Pipeline(Section):
    """When a layer starts on the data, and which copy of the layers below its blocks see."""

    start: Literal["finished", "after_blocks", "plateau"] = "finished"
    """A layer's start: when the one below has finished, after some of its blocks, or when its
    objective is level."""
    after_blocks: Positive = 1000
    """Blocks that the layer below has trained on when a staggered layer starts (paper: 1000)."""
    plateau_window: Positive = 200
    """Blocks over which the objective is averaged: one window is compared with the one before."""
    plateau_improvement: PositiveReal = 0.01
    """Relative improvement from window to window below which an objective counts as level."""
    plateau_lag: Positive = 8
    """Ticks between the last block that the decision looks at and the tick that it is made for; at
    least engine.blocks_in_flight, so that timing can't change it."""
    sync_every: Positive = 1
    """Blocks after which the copy of a layer that feeds the next one is renewed."""


class Checkpoints(Section):
    """How often a run is committed to disk."""

    every_blocks: Positive | None = None
    """Ticks of the pipeline between commits; null leaves it to every_seconds."""
    every_seconds: PositiveReal | None = 600.0
    """Seconds between commits; null leaves it to every_blocks. A commit is due as well where a
    layer has finished."""
    most_share: Annotated[float, Field(gt=0, le=1)] | None = 0.03
    """Share of the session's time that commits may cost: one that is due waits until it can be paid
    for, at the last one's cost; null never waits."""
    keep: Positive = 2
    """Commits that are kept, beside the pinned ones; older ones go once a newer one is whole."""
    pin_layers: bool = False
    """Whether a run commits wherever a layer has finished, at any price, and pins that commit: it
    is kept until it is unpinned."""
    grace: NonNegative = 30.0
    """Seconds in which a run that is told to stop commits; what isn't done by then is trained
    again on resume."""


class Recovery(Section):
    """What a run does by itself when a worker is lost: it goes on from its last commit."""

    attempts: Annotated[int, Field(ge=0)] = 3
    """Times in a row, without a new commit between them, before the run is given up."""
    wait: NonNegative = 60.0
    """Seconds to wait for as many workers as there were, before those that are there go on."""
    patience: PositiveReal | None = None
    """Seconds without a finished block after which busy workers count as hung and are restarted;
    null for 10 times the longest block that was seen or planned, and at least 300."""


class Config(Section):
    """A whole run: what is trained, on what, and how."""

    version: Literal[1] = 1
    """Version of this format."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights, the order of the blocks and the whitening's sample."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of weights, momenta and fields."""
    images: Images = Images()
    batching: Batching = Batching()
    preprocessing: Preprocessing = Preprocessing()
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, strict=False)]
    """The layers, from the image upwards."""
    arithmetic: Arithmetic = Arithmetic()
    pipeline: Pipeline = Pipeline()
    checkpoints: Checkpoints = Checkpoints()
    recovery: Recovery = Recovery()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _of_a_gpu_s_type(self) -> Config:
        if self.arithmetic.device == "gpu" and self.dtype != "float32":
            raise ValueError(f"expected dtype float32 with device gpu, found {self.dtype}")
        kept = {"weights": self.engine.weights, "stage_fields": self.engine.stage_fields}
        for key, where in kept.items():
            if self.arithmetic.device == "gpu" and where == "disk":
                raise ValueError(
                    f"expected engine.{key} other than disk with device gpu, found disk: what a "
                    "GPU works on stays in its memory"
                )
        return self

    @model_validator(mode="after")
    def _hosted_beside_a_gpu(self) -> Config:
        if self.engine.weights == "host" and self.arithmetic.device != "gpu":
            raise ValueError(
                "expected engine.weights memory or disk with device cpu, found host: weights "
                "lie in the host's memory anyway; set arithmetic.device=gpu, or leave it away"
            )
        return self

    @model_validator(mode="after")
    def _of_a_type_that_rounds(self) -> Config:
        if self.arithmetic.momentum == "half" and self.dtype != "float32":
            raise ValueError(
                f"expected dtype float32 with arithmetic.momentum half, found {self.dtype}"
            )
        return self

    @model_validator(mode="after")
    def _decided_from_what_is_known(self) -> Config:
        lag, ahead = self.pipeline.plateau_lag, self.engine.blocks_in_flight
        if self.pipeline.start == "plateau" and lag < ahead:
            raise ValueError(
                f"expected pipeline.plateau_lag of at least engine.blocks_in_flight, found {lag} "
                f"and {ahead}: a start would depend on timing"
            )
        return self
