"""Parameters of stored images with an exported model; needs numpy and onnxruntime, no AVIX.

python examples/onnx_predict.py model_images.onnx data-vimh/SOME_DATA_SET

Of sounds: examples/use_model.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

if len(sys.argv) != 3:
    sys.exit("usage: python examples/onnx_predict.py MODEL_images.onnx DATA_SET_FOLDER")
model_path, dataset = Path(sys.argv[1]), Path(sys.argv[2])
session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
parameters, image = json.loads(about["parameters"]), json.loads(about["image"])
shape = (image["channels"], image["height"], image["width"])

# A VIMH record: header with the two levels in dB, (id, byte) for each parameter, pixels.
record = np.dtype(
    [
        ("size", "<u2", 3),
        ("levels", "<f4", 2),
        ("count", "u1"),
        ("labels", "u1", (len(parameters), 2)),
        ("pixels", "u1", shape),
    ]
)
records = np.fromfile(dataset / "test", dtype=record, count=5)
fed = {"images": records["pixels"], "scale_factors": records["levels"]}
for row in session.run(["values"], fed)[0]:
    print(*(f"{p['name']} {v:.4g} {p['unit']}" for p, v in zip(parameters, row, strict=True)))
