"""The declaration of a model's C function, and its parameters: MODEL.onnx SAMPLES HEADER.

Needs onnx, which emx-onnx-cgen brings along.
"""

import json
import sys

import onnx

KINDS = {onnx.TensorProto.FLOAT: "float", onnx.TensorProto.UINT8: "unsigned char"}

path, samples, header = sys.argv[1:]
model = onnx.load(path)
about = {entry.key: entry.value for entry in model.metadata_props}
if about.get("input") != "audio":
    sys.exit(f"error: {path} takes no sounds; expected a file that export.py made of sounds")
parameters = json.loads(about["parameters"])
outputs = []
for output in model.graph.output:
    # The batch is one.
    sizes = [size.dim_value or 1 for size in output.type.tensor_type.shape.dim]
    kind = KINDS[output.type.tensor_type.elem_type]
    outputs.append((kind, output.name, "".join(f"[{size}]" for size in sizes)))
names = [name for _, name, _ in outputs]
heads, units = (", ".join(json.dumps(p[key]) for p in parameters) for key in ("name", "unit"))
lines = [
    "#pragma once",
    f"#define AVIX_SAMPLES {samples}",
    f"#define AVIX_RATE_HZ {json.loads(about['sound'])['sample_rate']:.0f}",
    f"#define AVIX_HAS_INTERVALS {int('low' in names)}",
    f"#define AVIX_HAS_UNLIKE {int('unlike' in names)}",
    f"static const char *const avix_names[] = {{{heads}}};",
    f"static const char *const avix_units[] = {{{units}}};",
    "/* All that the model returns of one sound. */",
    "struct avix_outputs {",
    *(f"  {kind} {name}{sizes};" for kind, name, sizes in outputs),
    "};",
    'extern "C" void avix_model(',
    "    const float audio[][AVIX_SAMPLES],",
    ",\n".join(f"    {kind} {name}{'[]' + sizes[3:]}" for kind, name, sizes in outputs) + ");",
    "static void avix_read(const float audio[][AVIX_SAMPLES], struct avix_outputs &out) {",
    f"  avix_model(audio, {', '.join(f'out.{name}' for name in names)});",
    "}",
]
with open(header, "w", encoding="utf-8") as file:
    file.write("\n".join(lines) + "\n")
