"""What tests of whole runs share."""

from pathlib import Path

from omegaconf import DictConfig, open_dict

SMALL = 96  # samples; enough for two batches of 32 in a 70/20/10 split


def shrink(cfg: DictConfig, data_root: Path) -> DictConfig:
    """Makes a composed training config small and quiet: few samples, one CPU, no bars.

    The data set is the config's own recipe with fewer samples; a grid stays as it is.
    """
    with open_dict(cfg):
        cfg.data.source.root = str(data_root)
        if not cfg.data.source.recipe.avix:
            cfg.data.source.recipe.dataset.size = SMALL
        cfg.data.batch_size = 32
        cfg.trainer.accelerator = "cpu"
        cfg.trainer.devices = 1
        cfg.trainer.check_val_every_n_epoch = 1
        cfg.trainer.enable_progress_bar = False
        cfg.trainer.enable_model_summary = False
        cfg.extras.print_config = False
        cfg.extras.enforce_tags = False
        cfg.callbacks.pop("progress_bar", None)
        cfg.callbacks.pop("model_summary", None)
    return cfg
