"""What a step of several processes costs beyond its arithmetic: gloo's mean of the gradients.

Processes on this machine, so the figure has no network in it: docs/cluster.md adds one.
"""

import argparse
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def reduce_often(rank: int, processes: int, weights: int, steps: int, port: int) -> None:
    """Average as many numbers as a network has weights; the first process says how long it took."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    gradient = torch.randn(weights)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        dist.all_reduce(gradient)
        gradient /= processes
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        median_ms = 1000 * statistics.median(seconds)
        print(f"{processes} processes, {weights:,} weights: {median_ms:.2f} ms")
    dist.destroy_process_group()


def main() -> None:
    """Measure with 2, 4, 8 ... processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=int, default=64_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    for number, processes in enumerate(args.processes):
        port = 29600 + number
        mp.spawn(
            reduce_often, (processes, args.weights, args.steps, port), nprocs=processes, join=True
        )


if __name__ == "__main__":
    main()
