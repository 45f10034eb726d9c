"""What other packages raise because of a config is a sentence; our own faults keep their trace."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf, open_dict

from src.train import train
from src.utils.errors import CheckpointError, ConfigError
from src.utils.foreign_errors import CAUSES, sentence_of, translated
from tests.helpers import shrink

CFG = OmegaConf.create(
    {
        "trainer": {"precision": 64, "max_epochs": 3, "accelerator": "cpu", "gradient_clip_val": 1},
        "model": {"optimizer": {"lr": 0.1}},
        "data": {"batch_size": 8, "num_workers": 2},
        "ckpt_path": None,
    }
)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["trainer.precision=64"], "trainer.precision=64: images come as 32-bit"),
        (["trainer.precision=bf16-true"], "expected 32-true, 16-mixed or bf16-mixed"),
        (["trainer.precision=16-true"], "trainer.precision=16-true"),
        (
            ["+callbacks.stats._target_=lightning.pytorch.callbacks.DeviceStatsMonitor"],
            "pip install psutil",
        ),
        (["trainer.limit_val_batches=0.001"], "trainer.limit_val_batches=0.001 is less than one"),
        (["trainer.limit_train_batches=0.001"], "trainer.limit_train_batches=0.001 is less than"),
        (
            ["trainer.precision=16-mixed", "trainer.gradient_clip_val=0.1"],
            "set model.optimizer.fused=false",
        ),
        (
            [
                *("trainer.detect_anomaly=true", "model/optimizer=sgd", "model.optimizer.lr=1e6"),
                # The largest that the config check admits: the first step takes weights to 1e30.
                "model.loss_weights={note_velocity: 1e12, log10_decay_time: 1e12}",
                "loss.scale_factor=1e12",
            ],
            r"training has diverged: \w+Backward0 gives NaN",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled", "ignore:Error detected in")
@pytest.mark.filterwarnings("ignore:Encountered `nan` values in tensor", "ignore:.*AMP with fp16")
@pytest.mark.sampled(3)
def test_a_training_that_its_config_ends(
    compose_config, data_root: Path, overrides: list[str], sentence: str
) -> None:
    cfg = shrink(
        compose_config("train", "experiment=avix_cnn_72dss_jnd_dg_hybrid", *overrides), data_root
    )
    with open_dict(cfg):
        cfg.trainer.max_epochs = 2
        if "stats" not in cfg.callbacks:
            cfg.logger = None
    with pytest.raises(ConfigError, match=sentence):
        train(cfg)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SyncBatchNorm layers only work with GPU modules", "trainer.accelerator=cpu"),
        # As a spawned process brings it: its whole traceback.
        (
            "-- Process 1 terminated\nTraceback ...\nValueError: SyncBatchNorm expected input "
            "tensor to be on GPU or privateuseone",
            "trainer.sync_batchnorm=true needs GPUs",
        ),
        (
            "InvalidCxxCompiler: No working C++ compiler found in "
            "torch._inductor.config.cpp.cxx: (None, 'g++')",
            "model.compile=true needs a C++ compiler",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'g++'", "install one"),
        ("Failed to find C compiler. Please specify via CC", "model.compile=false"),
        ("Cannot find a working triton installation", "pip install triton"),
        (
            "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has",
            "CUDA is out of memory: lower data.batch_size=8",
        ),
        ("MPS backend out of memory (MPS allocated", "MPS is out of memory"),
        ("mat1 and mat2 must have the same dtype, but got Float and Double", "precision=64"),
        ("Error(s) in loading state_dict for MultiheadLitModule:\n size", "ckpt_path=null"),
        (
            "DataLoader worker (pid 5709) is killed by signal: Killed. ",
            "data.num_workers=2: a process that loads data ended (killed by signal: Killed)",
        ),
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", "ended (exited), often because"),
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that",
            "/dev/shm, the memory that processes share, is too small or cannot be used (Bus error)",
        ),
        (
            "unable to open shared memory object </torch_30295_0> in read-write mode: Read-only "
            "file system (30)",
            "cannot be used (Read-only file system)",
        ),
        (
            "unable to write to file </torch_12_3_0>: No space left on device (28)",
            "cannot be used (No space left on device)",
        ),
        (
            "You restored a checkpoint with current_epoch=9, but you have set max_epochs=3",
            "has 9 epochs already: raise trainer.max_epochs=3",
        ),
    ],
)
def test_what_this_machine_does_not_raise(text: str, sentence: str) -> None:
    found = sentence_of(RuntimeError(text), CFG)
    assert found is not None
    assert sentence in found
    assert "{" not in found


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ("Error while serializing: I/O error: File too large (os error 27)", "File too large"),
        ("PytorchStreamWriter failed writing file data/0: file write failed", "failed writing"),
        ("System error.", "System error"),
        ("Error opening 'a.wav': System error.", "System error"),
    ],
)
def test_a_file_that_another_package_cannot_write(raised: str, reason: str, compose_config) -> None:
    sentence = sentence_of(RuntimeError(raised), compose_config("train"))
    assert sentence is not None
    assert "a file cannot be written in " in sentence
    assert f"({reason}" in sentence


def test_faults_of_our_own_keep_their_trace() -> None:
    with pytest.raises(KeyError), translated(CFG):
        raise KeyError("val")
    with pytest.raises(CheckpointError, match="as it is"), translated(CFG):
        raise CheckpointError("as it is: CUDA out of memory")


def test_every_sentence_names_keys_of_the_config(compose_config) -> None:
    cfg = compose_config("train")
    with open_dict(cfg):
        cfg.ckpt_path = "a file"
    for cause in CAUSES:
        for key in ("trainer.", "model.", "data.", "paths.", "ckpt_path"):
            if key in cause.sentence:
                break
        else:
            assert "cpu_stats" in cause.sentence
        for part in cause.sentence.split("{")[1:]:
            key = part.partition("}")[0]
            group = OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg
            assert key.rpartition(".")[2] in group, key


@pytest.mark.slow
def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Nothing but a function: what checks shapes in tests does not compile.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    torch.compiler.reset()
    compiled = torch.compile(lambda x: torch.sin(x) * 0.12345)
    with (
        pytest.raises(ConfigError, match=r"model.compile=true needs a C\+\+ compiler"),
        translated(CFG),
    ):
        compiled(torch.ones(7))
