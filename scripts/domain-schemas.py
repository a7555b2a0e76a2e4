"""Writes scripts/domain-schemas.json: the ops that ONNX Runtime has in the domains com.microsoft and ai.onnx.ml, with the types of
their operands and their attributes. Run it with the Python package onnxruntime installed: python scripts/domain-schemas.py"""

import json
import pathlib
import re

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

NAMES = {
    "float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "bool", "string": "string",
    "int4": "i4", "uint4": "u4", "complex64": "complex64", "complex128": "complex128", "float8e4m3fn": "f8e4m3fn",
    "float8e4m3fnuz": "f8e4m3fnuz", "float8e5m2": "f8e5m2", "float8e5m2fnuz": "f8e5m2fnuz", "float8e8m0": "f8e8m0", "float4e2m1": "f4e2m1",
    **{f"{kind}{bits}": f"{kind[0]}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
DOMAINS = ("ai.onnx.ml", "com.microsoft")


def dtype(text):
    """Our name of a tensor type as schemas write it; around it, that it is of a sequence or a map."""
    return re.sub(r"tensor\((\w+)\)", lambda m: NAMES.get(m[1], m[0]), text)


def operand(o):
    """An operand's type, behind it a ? where it may be left out, a * where there may be any number."""
    kind = str(o.option)
    return dtype(o.typeStr) + ("?" if "Optional" in kind else "*" if "Variadic" in kind else "")


def entry(schemas):
    newest = max(schemas, key=lambda s: s.since_version)
    types = {c.type_param_str: sorted({dtype(t) for t in c.allowed_type_strs}) for c in newest.type_constraints}
    kinds = {name: str(a.type).split(".")[-1].lower() for name, a in newest.attributes.items()}
    return {
        "since": sorted({s.since_version for s in schemas}),
        "inputs": [operand(i) for i in newest.inputs],
        "outputs": [operand(o) for o in newest.outputs],
        "types": types,
        "attributes": {name: kinds[name] + ("" if a.required else "?") for name, a in sorted(newest.attributes.items())},
    }


ops = {}
for s in get_all_operator_schema():
    if s.domain in DOMAINS:
        ops.setdefault(f"{s.domain}.{s.name}", []).append(s)
lines = ",\n".join(f'  "{name}": {json.dumps(entry(ops[name]))}' for name in sorted(ops))
text = f'{{"onnxruntime": "{onnxruntime.__version__}", "ops": {{\n{lines}\n}}}}\n'
(pathlib.Path(__file__).parent / "domain-schemas.json").write_text(text)
print(f"{len(ops)} ops")
