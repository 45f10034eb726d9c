"""What stands for a profiler where none is asked for."""

from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch.profilers import PassThroughProfiler

_NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Lightning's own, without a generator for each of the hundred things it would time in a step.

    Lightning opens a context around every hook of every callback. Its pass-through profiler makes
    a new one each time, which is a hundredth of a small network's training step.
    """

    def profile(  # type: ignore[override]  # it is only entered and left
        self, action_name: str
    ) -> AbstractContextManager[None]:
        """A context that does nothing, always the same.

        Args:
            action_name: What a profiler would time.
        """
        return _NOTHING
