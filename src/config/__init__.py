"""Configuration of a run: typed sections, one YAML file on at most one base, overrides on the command line."""

from .command_line import CommandLine, parse_command_line
from .config_file import changed_keys, dump_config, load_config, run_name
from .sections import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    flat_values,
)
from .shipped import SHIPPED

__all__ = [
    "SHIPPED",
    "CommandLine",
    "Config",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TrainConfig",
    "changed_keys",
    "dump_config",
    "flat_values",
    "load_config",
    "parse_command_line",
    "run_name",
]
