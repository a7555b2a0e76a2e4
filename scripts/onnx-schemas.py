"""Writes scripts/onnx-schemas.json: the ops of ONNX's own domains, which opset versions changed them, and the types of their
operands. Run it with the Python package onnx installed: python scripts/onnx-schemas.py"""

import json
import pathlib
import re

import onnx
from onnx import defs

NAMES = {
    "float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "bool", "string": "string",
    "int4": "i4", "uint4": "u4", "int2": "i2", "uint2": "u2", "complex64": "complex64", "complex128": "complex128",
    "float8e4m3fn": "f8e4m3fn", "float8e4m3fnuz": "f8e4m3fnuz", "float8e5m2": "f8e5m2", "float8e5m2fnuz": "f8e5m2fnuz",
    "float8e8m0": "f8e8m0", "float4e2m1": "f4e2m1",
    **{f"{kind}{bits}": f"{kind[0]}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}


def dtype(text):
    """Our name of a tensor type as schemas write it; around it, that it is of a sequence or an optional."""
    return re.sub(r"tensor\((\w+)\)", lambda m: NAMES.get(m[1], m[0]), text)


def entry(schemas):
    newest = max(schemas, key=lambda s: s.since_version)
    types = {c.type_param_str: sorted({dtype(t) for t in c.allowed_type_strs}) for c in newest.type_constraints}
    return {
        "since": sorted(s.since_version for s in schemas),
        **({"deprecated": True} if newest.deprecated else {}),
        "inputs": [dtype(i.type_str) for i in newest.inputs],
        "outputs": [dtype(o.type_str) for o in newest.outputs],
        "types": types,
    }


ops = {}
for s in defs.get_all_schemas_with_history():
    if s.domain in ("", "ai.onnx.preview"):
        ops.setdefault(f"{s.domain}.{s.name}".lstrip("."), []).append(s)
lines = ",\n".join(f'  "{name}": {json.dumps(entry(ops[name]))}' for name in sorted(ops))
text = f'{{"onnx": "{onnx.__version__}", "ops": {{\n{lines}\n}}}}\n'
(pathlib.Path(__file__).parent / "onnx-schemas.json").write_text(text)
print(f"{len(ops)} ops")
