"""Loops over tensors that run without the interpreter."""

import inspect
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def scripted(loop: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return a function whose loop is TorchScript's and not Python's, so threads do not wait in it.

    It does the same operations in the same order. Its arguments are not checked by the types of
    the tests. From Python 3.14 on, where torch no longer supports scripts, it is the function.

    Args:
        loop: takes and returns tensors and numbers, and uses nothing but torch.
    """
    if sys.version_info >= (3, 14):
        return loop
    script = torch.jit.script(inspect.unwrap(loop))

    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            return script(*args, **kwargs)

    return run
