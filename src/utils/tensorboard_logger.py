"""The former place of :mod:`src.loggers.tensorboard_logger`, which users' configs may name."""

from src.loggers.tensorboard_logger import TensorBoardLogger

__all__ = ["TensorBoardLogger"]
