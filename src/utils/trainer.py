"""Build the trainer of ``configs/trainer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src.utils.pylogger import RankedLogger

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = RankedLogger(__name__, rank_zero_only=True)

# None is no default for these, but a value of its own: count validations in batches over all
# epochs. The config sets another value, so that None comes from a user.
NONE_IS_A_VALUE = frozenset({"check_val_every_n_epoch"})


def make_trainer(**arguments: Any) -> Trainer:
    """Build Lightning's trainer; None takes Lightning's own default, but for `NONE_IS_A_VALUE`.

    The config has a key for every argument, so that people can set it with or without ``+``; Hydra
    takes ``+key=value`` only where the key is missing or null. Lightning refuses None for some
    arguments (``max_steps``, ``overfit_batches``, ``strategy``).

    Only CUDA synchronises batch norm; elsewhere ``sync_batchnorm`` is left out, and a line says so.
    """
    import torch  # here, so that --help does not wait for it
    from lightning.pytorch import Trainer

    said = {
        name: value
        for name, value in arguments.items()
        if value is not None or name in NONE_IS_A_VALUE
    }
    on_cuda = torch.cuda.is_available() and said.get("accelerator") not in ("cpu", "mps")
    if said.get("sync_batchnorm") and not on_cuda:
        del said["sync_batchnorm"]
        log.info(
            "trainer.sync_batchnorm needs CUDA: here each process normalises by its own batches"
        )
    return Trainer(**said)
