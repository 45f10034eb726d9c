"""Loggers of other projects with their real packages (the extra [loggers]), all of them offline."""

from pathlib import Path

import pytest
from omegaconf import open_dict

from src.train import train
from tests.helpers import shrink

PLACES = {
    "csv": "csv/version_0/metrics.csv",
    "wandb": "wandb/offline-run-*/*.wandb",
    "mlflow": "mlflow.db",
    "aim": ".aim",
    "comet": "comet/*.zip",
}
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "aim": "aim", "comet": "comet_ml"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the packages import warns in many ways
@pytest.mark.parametrize("name", PLACES)
def test_a_run_logs_for_real_and_says_where(
    name: str,
    compose_config,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="the extra [loggers] is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    offline = ["logger.wandb.offline=true"] if name == "wandb" else []
    words = ["experiment=digits_cnn", f"logger={name}", *offline]
    cfg = shrink(compose_config("train", *words), data_root)
    with open_dict(cfg):
        cfg.paths.log_dir = cfg.paths.output_dir = str(tmp_path)
    _, objects = train(cfg)
    if name == "comet":
        objects["logger"][0].experiment.end()  # as the end of a process does: writes the archive
    assert list(tmp_path.glob(PLACES[name]))
    assert f"logged:      {name}: " in capsys.readouterr().out
