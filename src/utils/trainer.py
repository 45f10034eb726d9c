"""What ``configs/trainer`` builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# None is a value of its own for these, and not their default: validations are counted in batches
# over all epochs. The config's own value is another one, so that only a user says null.
NONE_IS_A_VALUE = frozenset({"check_val_every_n_epoch"})


def make_trainer(**arguments: Any) -> Trainer:
    """Build Lightning's trainer; an argument that is None takes Lightning's own default.

    The exceptions are :data:`NONE_IS_A_VALUE`.

    The config has a key for every argument, so that people can set it with or without ``+``, and
    Hydra takes ``+key=value`` only where the key is missing or null. Lightning refuses None for
    some arguments (``max_steps``, ``overfit_batches``, ``strategy``).

    Args:
        arguments: Of :class:`lightning.pytorch.Trainer`.
    """
    from lightning.pytorch import Trainer  # here, so that --help does not wait for it

    said = {
        name: value
        for name, value in arguments.items()
        if value is not None or name in NONE_IS_A_VALUE
    }
    return Trainer(**said)
