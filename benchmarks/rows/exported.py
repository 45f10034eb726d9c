"""One sound from samples to values by exported models: time on one core, and size."""

import importlib.util
from pathlib import Path

import numpy as np

from benchmarks.cnn_64k import built_cnn, processor_ms
from benchmarks.measure import Budget, Row
from src.evaluation.export.functions import AudioModel, ImageModel
from src.evaluation.export.programs import example_sounds, write_program
from src.synth.images import ImageMaker

AT_MOST = Budget("at most", 5.0, "ms of one core")
SMALL = Budget("at most", 1000.0, "kB")


def measure(quick: bool, work: Path) -> list[Row]:
    """The CNN 64k on a sound of one second in onnxruntime, a batch of one on one thread."""
    if any(importlib.util.find_spec(name) is None for name in ("onnxscript", "onnxruntime")):
        return []
    import onnxruntime

    built = built_cnn(work)
    maker = ImageMaker.from_metadata(built.datamodule.metadata)
    function = AudioModel(ImageModel(built.model), maker)
    length = maker.front_end.num_samples
    path = work / "model.onnx"
    write_program(function, (example_sounds(function, 2, length),), {}, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    audio = np.random.default_rng(0).uniform(-1, 1, (1, length)).astype(np.float32)
    figures = processor_ms(lambda: session.run(None, {"audio": audio}), quick)
    size = [path.stat().st_size / 1000]
    return [
        Row("exported: a sound of one second to values, CNN 64k", "", AT_MOST, figures, {}),
        Row("exported: the file of it, CNN 64k", "", SMALL, size, {}),
    ]
