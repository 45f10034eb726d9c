"""Tracing, compiling and exporting, with nothing that depends on the data in Python.

In a process of its own: the shape checks that tests put around every function can neither be
traced without warnings nor compiled.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import warnings
import torch
from src.models.components import *

# Deprecations of the tracer itself and of torch's pytree are not ours.
warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", FutureWarning)

HEADS = dict(heads_config={"a": 3, "b": 24}, auxiliary_input_size=2)
VIT = dict(embed_dim=16, n_layers=2, n_attention_heads=2)
DROP = dict(drop_path_rate=0.1)
NETWORKS = [
    SimpleCNN(3, input_size=(60, 36), pooled_size=(8, 8), **HEADS),
    SimpleDenseNet(**HEADS),
    SimpleMLP(**HEADS),
    VisionTransformer(**VIT, **HEADS),
    VisionTransformer(use_torch_layers=True, **VIT, **HEADS),
    ConvNeXtV2(depths=(1, 1), dims=(4, 8), stem_size=2, pooled_size=(4, 1), **DROP, **HEADS),
    SimpleEfficientNet(channels=(4, 8), depths=(1, 2), **DROP, **HEADS),
]


class Tuple(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, auxiliary):
        return tuple(self.network(images, auxiliary).values())


def difference(found, expected):
    return max((a - b).abs().max().item() for a, b in zip(found, expected))


for network in NETWORKS:
    name = type(network).__name__
    wrapped = Tuple(network.eval())
    few = torch.rand(4, *network.image_shape), torch.rand(4, 2)
    many = torch.rand(6, *network.image_shape), torch.rand(6, 2)
    expected = wrapped(*many)
    traced = torch.jit.trace(wrapped, few)
    assert difference(traced(*many), expected) < 1e-5, (name, "trace")

    batch = torch.export.Dim("batch")
    exported = torch.export.export(wrapped, few, dynamic_shapes=({0: batch}, {0: batch}))
    assert difference(exported.module()(*many), expected) < 1e-5, (name, "export")

    for mode in (True, False):
        torch._dynamo.reset()
        network.train(mode)
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        outputs = compiled(*few)
        sum(o.sum() for o in outputs.values()).backward()
print("all fine")
"""


@pytest.mark.slow
def test_all_networks_trace_compile_and_export(project_root):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=project_root,
        env={**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("all fine")
