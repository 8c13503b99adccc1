"""Configuration of a run: typed sections, one YAML file on at most one base, overrides on the command line."""

from src.config.sections import (
    CommandLine,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    changed_keys,
    dump_config,
    flat_values,
    load_config,
    parse_command_line,
    run_name,
)

__all__ = [
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
