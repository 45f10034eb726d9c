"""Helpers of the entry points: errors, logging, printing. Light to import: no Lightning."""

from src.utils.errors import CheckpointError, ConfigError
from src.utils.pylogger import RankedLogger
from src.utils.rich_utils import enforce_tags, write_config_tree
from src.utils.utils import extras, get_metric_value, task_wrapper

__all__ = [
    "CheckpointError",
    "ConfigError",
    "RankedLogger",
    "enforce_tags",
    "extras",
    "get_metric_value",
    "task_wrapper",
    "write_config_tree",
]
