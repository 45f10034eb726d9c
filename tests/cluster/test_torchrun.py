"""Two nodes without SLURM: `torchrun` on two addresses of this machine (docs/cluster.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.runs import DDP, ROOT, SMALL, WHOLE, assert_close, only, train, weights
from tests.cluster.slurm import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at 127.0.0.2")
def test_two_nodes_share_one_folder_and_train_as_one_process(
    tmp_path: Path, data_root: Path
) -> None:
    same = [*SMALL.split(), *WHOLE, f"paths.vimh_dir={data_root}"]
    subprocess.run(train(*same, f"paths.log_dir={tmp_path}/one"), cwd=ROOT, check=True)
    endpoint = f"127.0.0.1:{free_port()}"
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2"),
                *("--nproc-per-node=2", "--rdzv-id=run7", "--rdzv-backend=c10d"),
                *(f"--rdzv-endpoint={endpoint}", f"--local-addr=127.0.0.{node}"),
                f"--log-dir={tmp_path}/torchrun_{node}",  # else in /tmp, where it stays
                *train(*same, DDP, "trainer.devices=2", "trainer.num_nodes=2")[1:],
                f"paths.log_dir={tmp_path}/four",
            ],
            cwd=ROOT,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        )
        for node in (1, 2)
    ]
    assert [node.wait(900) for node in nodes] == [0, 0]
    four, one = (only((tmp_path / name / "train" / "runs").iterdir()) for name in ("four", "one"))
    assert_close(weights(four), weights(one))
