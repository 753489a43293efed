"""One YAML file -> frozen, validated objects."""

from yfccdask.config.loading import PRESETS, load_config, parse_config
from yfccdask.config.network import image_field, network_geometry
from yfccdask.config.schema import (
    Checkpoints,
    Config,
    DenseLayer,
    Layer,
    Lcn,
    Learning,
    LocalLayer,
    Pipeline,
    Preprocessing,
    Recovery,
    Whitening,
)
from yfccdask.config.text import config_to_yaml

__all__ = [
    "PRESETS",
    "Checkpoints",
    "Config",
    "DenseLayer",
    "Layer",
    "Lcn",
    "Learning",
    "LocalLayer",
    "Pipeline",
    "Preprocessing",
    "Recovery",
    "Whitening",
    "config_to_yaml",
    "image_field",
    "load_config",
    "network_geometry",
    "parse_config",
]
