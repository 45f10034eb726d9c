"""Which loss wins: command line over experiment over model over train.yaml.

The experiments here are written for the test, beside the project's configs: its own ones may
change.
"""

import shutil

import pytest
from hydra import compose, initialize_config_dir

LOSSES = {
    "CrossEntropyLoss": "ce",
    "DirectParameterGradientLoss": "dg",
    "EMDLoss": "emd",
    "JNDLoss": "jnd",
}


@pytest.fixture(scope="module")
def configs(project_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs") / "configs"
    shutil.copytree(project_root / "configs", folder)
    for name, model in (("plain", "avix_cnn_64k"), ("dg", "avix_cnn_64k_jnd_dg_hybrid")):
        head = f"# @package _global_\ndefaults:\n  - override /model: {model}\n"
        (folder / "experiment" / f"_{name}.yaml").write_text(head)
        (folder / "experiment" / f"_{name}_jnd.yaml").write_text(head + "  - override /loss: jnd\n")
    # A model over a model over a model, each with a loss of its own.
    (folder / "model" / "_emd.yaml").write_text(
        "defaults:\n  - avix_densenet_64k_jnd_dg_fixed\n  - override /loss@_global_.loss: emd\n"
    )
    return folder


@pytest.mark.parametrize(
    ("overrides", "loss"),
    [
        (["model=avix_cnn_64k"], "ce"),  # train.yaml
        (["model=avix_cnn_64k_jnd_dg_hybrid"], "dg"),  # model
        (["model=avix_densenet_64k_jnd_dg_fixed"], "dg"),  # a model over it
        (["model=_emd"], "emd"),  # the outer of two models
        (["experiment=_plain"], "ce"),  # train.yaml
        (["experiment=_dg"], "dg"),  # the experiment's model
        (["experiment=_plain_jnd"], "jnd"),  # experiment over train.yaml
        (["experiment=_dg_jnd"], "jnd"),  # experiment over model
        (["model=avix_cnn_64k_jnd_dg_hybrid", "loss=emd"], "emd"),  # command line over model
        (["experiment=_dg", "loss=emd"], "emd"),  # command line over model
        (["experiment=_dg_jnd", "loss=emd"], "emd"),  # command line over all
        (["model=_emd", "loss=ce"], "ce"),
        (["experiment=_dg", "model=avix_cnn_64k"], "ce"),  # another model brings its own
    ],
)
def test_the_nearest_to_the_command_line_wins(configs, overrides, loss):
    with initialize_config_dir(version_base="1.3", config_dir=str(configs)):
        cfg = compose("train", overrides)
    assert LOSSES[cfg.loss._target_.rsplit(".", 1)[1]] == loss
    assert "loss" not in cfg.model  # which has no copy of its own
