"""Parameters of a sound with an exported model; needs numpy, soundfile and onnxruntime, no AVIX.

python examples/use_model.py examples/model/simple_wide.onnx examples/model/saw.wav
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

if len(sys.argv) != 3:
    sys.exit("usage: python examples/use_model.py MODEL.onnx SOUND")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
if about.get("input") != "audio":
    sys.exit(f"error: {sys.argv[1]} takes no sounds")
sound = json.loads(about["sound"])
audio, rate_hz = soundfile.read(sys.argv[2], dtype="float32")
if audio.ndim > 1 or rate_hz != sound["sample_rate"]:
    sys.exit(f"error: {sys.argv[2]}: expected one channel of {sound['sample_rate']:g} Hz")

# The model hears what follows the beginning: the first sample within 40 dB of the peak, or where
# the sound rises to it within 3 ms from silence. Of recordings, some ms before are kept.
level = np.abs(audio)
loud = int(np.argmax(level >= 0.01 * level.max()))
silent = max(0, int(np.argmax(level > 0)) - 1)
lead = round(sound["lead_s"] * rate_hz)
start = max(0, loud - lead) if lead or loud - silent > 0.003 * rate_hz else silent

names = [output.name for output in session.get_outputs()]
heard = dict(zip(names, session.run(names, {"audio": audio[None, start:]}), strict=True))
for k, parameter in enumerate(json.loads(about["parameters"])):
    line = f"{parameter['name']} {heard['values'][0, k]:.4g} {parameter['unit']}"
    if "low" in heard:
        low, high = heard["low"][0, k], heard["high"][0, k]
        line += f" [{low:.4g}, {high:.4g}] at {100 * float(about['confidence']):g} %"
    print(line)
if "unlike" in heard and heard["unlike"][0] < 0.01:
    print("unlike the training sounds (p < 0.01): do not rely on these values")
