"""A SLURM of two nodes on this machine, in a folder of its own.

The daemons are Debian's (`slurm-wlm`, `munge`); all of them run in the foreground as this user, on
free ports of the loopback.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scancel", "setpriv")
# Before a command: it ends when this process does, also where that is killed.
WITH_US = ("setpriv", "--pdeathsig")
NODES = ("n1", "n2")
CPUS = 16  # of a node; the machine may have fewer
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
CONFIG = """
ClusterName=avix
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=10
MinJobAge=3600
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@dataclass(frozen=True)
class Slurm:
    """The commands of a running SLURM."""

    environment: dict[str, str]

    def run(self, *command: str, timeout_s: float = 900) -> str:
        """Run a command, such as `srun …`, from the checkout; return what it prints."""
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def submit(self, script: str, *options: str, outputs: Path) -> str:
        """Submit the text of a batch script, which runs in the checkout; return the job's number.

        Args:
            script: Without its first line.
            options: Of `sbatch`.
            outputs: Folder for the script and what it prints.
        """
        path = outputs / "job.sh"
        path.write_text(f"#!/bin/bash\n{script}", "utf-8")
        output = f"--output={outputs}/job_%A_%a.out"
        return self.run("sbatch", "--parsable", output, *options, str(path)).strip()

    def states(self, job: str) -> dict[str, str]:
        """Return the state of each task of a job, by its number."""
        lines = self.run("squeue", "--noheader", "-r", "-t", "all", "-j", job, "-o", "%K %T")
        return dict(line.split() for line in lines.splitlines())

    def wait(self, job: str, timeout_s: float = 900) -> dict[str, str]:
        """Wait for all tasks of a job to end; return their states."""
        until = time.monotonic() + timeout_s
        while not (found := self.states(job)) or not set(found.values()) <= ENDED:
            assert time.monotonic() < until, f"job {job}: {found}"
            time.sleep(0.5)
        return found

    def cancel(self, job: str, signal: str | None = None) -> None:
        """Cancel a job or a task of an array, or send its steps a signal."""
        self.run("scancel", *([f"--signal={signal}"] if signal else []), job)


@contextmanager
def started(folder: Path) -> Iterator[Slurm]:
    """Start a SLURM of two nodes in an empty folder; stop it and all its jobs at the end."""
    folder.chmod(0o755)  # munged wants its socket where everybody may go
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    host = socket.gethostname().split(".")[0]
    nodes = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS}\n"
        for node in NODES
    ]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    settings = CONFIG.format(host=host, port=free_port(), folder=folder, user=user)
    config = folder / "slurm.conf"
    config.write_text(f"{settings}{''.join(nodes)}")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # not used, but asked for
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(config)}
    # The nodes' names are no hosts' names, so what meets over the network is told where.
    environment |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    munge = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("key-file", "socket")]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    commands = {
        "munged": ["munged", "--foreground", "--force", *munge],
        "slurmctld": ["slurmctld", "-D"],
        **{node: ["slurmd", "-D", "-N", node] for node in NODES},
    }
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = Slurm(environment)
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                daemons.append(
                    subprocess.Popen(
                        [*WITH_US, "TERM", *command],
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            if name == "munged":
                _await(lambda: (folder / "munge.socket").exists(), folder)
        _await(lambda: "idle" in _printed(slurm, "sinfo", "--noheader"), folder)
        yield slurm
        slurm.run("scancel", f"--user={user}", "--full")
        _await(lambda: not _printed(slurm, "squeue", "--noheader"), folder)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _printed(slurm: Slurm, *command: str) -> str:
    done = subprocess.run(
        command, env=slurm.environment, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else "not ready"


def _await(is_so, folder: Path, timeout_s: float = 60) -> None:
    until = time.monotonic() + timeout_s
    while not is_so():
        logs = "\n".join(f"{p.name}: {p.read_text()[-2000:]}" for p in folder.glob("*.log"))
        assert time.monotonic() < until, logs
        time.sleep(0.2)
