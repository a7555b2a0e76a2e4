"""Other compilers on the models of the suite, as far as this Python has them: TorchInductor, XLA, IREE, TVM, untuned.

    python bench/compilers.py squeezenet1_1 resnet50 --threads 1

Each compiles and runs each model in a process of its own, one after the other, on so many CPUs; results are compared with
expected.json before they are timed. A model is a name of the suite, or a folder that holds NAME.onnx, expected.json and the
inputs. What is missing is said, with how to get it.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "python"))
sys.dont_write_bytecode = True

# What results may differ by: as in suite.mjs, of runtimes that change the arithmetic.
ALLOWED_SHARE = 3e-4
WARM_UP_SECONDS = 1.5


def older_model(path):
    """A model as importers that know opset 17 take it."""
    import onnx
    from onnx import numpy_helper, version_converter

    model = version_converter.convert_version(onnx.load(path), 17)
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        # A zero of a shape stands for itself; where there is none, that says nothing.
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and 0 not in numpy_helper.to_array(shape):
            kept = [a for a in node.attribute if a.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return model


def with_known_shapes(module):
    """The same torch.fx module; it reshapes to constants by numbers, not by tensors, which a trace does not look into."""
    import torch

    for node in list(module.graph.nodes):
        reshapes = node.op == "call_module" and type(module.get_submodule(node.target)).__name__ == "OnnxReshape"
        if not reshapes or node.args[1].op != "get_attr":
            continue
        owner, _, name = node.args[1].target.rpartition(".")
        shape = getattr(module.get_submodule(owner), name).tolist()
        if 0 in shape:
            continue
        with module.graph.inserting_after(node):
            node.replace_all_uses_with(module.graph.call_function(torch.reshape, (node.args[0], shape)))
        module.graph.erase_node(node)
    module.recompile()
    return module


def torch_inductor(path, inputs, threads):
    import onnx2torch
    import torch
    import torch._inductor.config

    torch.set_num_threads(threads)
    torch._inductor.config.freezing = True
    tensors = [torch.from_numpy(a) for a in inputs.values()]
    model = torch.compile(with_known_shapes(onnx2torch.convert(older_model(path)).eval()))

    def run():
        with torch.inference_mode():
            out = model(*tensors)
        return [o.numpy() for o in (out if isinstance(out, (tuple, list)) else [out])]

    return run


def xla(path, inputs, threads):
    import jax
    from jaxonnxruntime import call_onnx

    jax.config.update("jax_enable_x64", any(a.dtype.itemsize == 8 for a in inputs.values()))
    function, weights = call_onnx.call_onnx_model(older_model(path), list(inputs.values()))
    compiled = jax.jit(lambda given: function(weights, given))
    arrays = [jax.numpy.asarray(a) for a in inputs.values()]
    return lambda: [o for o in jax.block_until_ready(compiled(arrays))]


def iree(path, inputs, threads):
    import iree.compiler
    import iree.runtime as rt

    with tempfile.TemporaryDirectory() as folder:
        text, code = os.path.join(folder, "model.mlir"), os.path.join(folder, "model.vmfb")
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", path, "-o", text, "--opset-version", "17"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        flags = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3"]
        iree.compiler.compile_file(text, output_file=code, target_backends=["llvm-cpu"], extra_args=flags)
        if threads > 1:
            rt.flags.parse_flags(f"--task_topology_max_group_count={threads}")
        module = rt.load_vm_flatbuffer_file(code, driver="local-sync" if threads == 1 else "local-task")
        function = module[next(f for f in module.vm_module.function_names if not f.startswith("_") and "$" not in f)]

    def run():
        out = function(*inputs.values())
        return [o.to_host() for o in (out if isinstance(out, (tuple, list)) else [out])]

    return run


def tvm(path, inputs, threads):
    import onnx
    import tvm as t
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    shapes = {name: list(a.shape) for name, a in inputs.items()}
    dtypes = {name: str(a.dtype) for name, a in inputs.items()}
    module = from_onnx(onnx.load(path), shape_dict=shapes, dtype_dict=dtypes, keep_params_in_input=False)
    target = t.target.Target({"kind": "llvm", "mcpu": host_cpu(t)})
    machine = relax.VirtualMachine(t.compile(module, target=target), t.cpu())
    given = [t.runtime.tensor(a) for a in inputs.values()]

    def run():
        out = machine["main"](*given)
        return [o.numpy() for o in ([out] if hasattr(out, "numpy") else out)]

    return run


def host_cpu(t):
    return t.get_global_func("target.llvm_get_system_cpu")()


# By name: what makes it, and the packages that it needs, as imports and as they are installed.
COMPILERS = {
    "TorchInductor": (torch_inductor, {"torch": "torch", "torchvision": "torchvision", "onnx2torch": "onnx2torch", "onnx": "onnx"}),
    "XLA": (xla, {"jax": "jax", "jaxonnxruntime": "jaxonnxruntime", "absl": "absl-py", "onnx": "onnx"}),
    "IREE": (iree, {"iree.compiler": "iree-base-compiler", "iree.runtime": "iree-base-runtime", "onnx": "onnx"}),
    "TVM": (tvm, {"tvm": "apache-tvm", "onnx": "onnx"}),
}


def missing_packages(name):
    """The packages that a compiler needs and that this Python has not, as they are installed."""

    def there(module):
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            return False

    return [package for module, package in COMPILERS[name][1].items() if not there(module)]


def model_folder(name):
    """The folder of a model: a folder as it stands, or one of the suite, which the benchmark's JavaScript writes where needed."""
    if os.path.isdir(name):
        return os.path.abspath(name)
    code = f"import({json.dumps('file://' + os.path.join(HERE, 'suite.mjs'))}).then((s) => console.log(s.modelFolder({json.dumps(name)})))"
    ran = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"{name} is no folder, and no model of the suite: {ran.stderr.strip().splitlines()[-1:]}")
    return ran.stdout.strip()


def wrong_outputs(expected, outputs):
    """Names of outputs that differ from the sampled values by more than is allowed."""

    def right(e, got):
        flat = got.reshape(-1)
        allowed = ALLOWED_SHARE * e["deviation"] + 1e-6
        return list(got.shape) == e["dims"] and all(abs(float(flat[i]) - v) <= allowed for i, v in zip(e["index"], e["value"]))

    if len(outputs) != len(expected):
        return [e["name"] for e in expected]
    return [e["name"] for e, got in zip(expected, outputs) if not right(e, got)]


def measure(name, folder, threads, rounds):
    """Compiles and times one model in this process."""
    import numpy as np
    from serving import read_inputs

    with open(os.path.join(folder, "expected.json"), encoding="utf8") as f:
        about = json.load(f)
    inputs = read_inputs([{**i, "file": os.path.join(folder, f"{i['name']}.raw")} for i in about["inputs"]])
    begun = time.perf_counter()
    run = COMPILERS[name][0](os.path.join(folder, f"{os.path.basename(folder)}.onnx"), inputs, threads)
    outputs = [np.asarray(o) for o in run()]
    compiled = time.perf_counter() - begun
    wrong = wrong_outputs(about["outputs"], outputs)
    if wrong:
        return {"compile_s": compiled, "wrong": wrong}
    until = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < until:
        run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return {"compile_s": compiled, "median_ms": statistics.median(times), "min_ms": min(times), "wrong": []}


def measure_apart(name, folder, options):
    """The same in a process of its own, on so many CPUs."""
    cpus = sorted(os.sched_getaffinity(0))[: options.threads] if hasattr(os, "sched_getaffinity") else None
    count = str(options.threads)
    env = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "TVM_NUM_THREADS": count}
    command = [sys.executable, "-B", os.path.abspath(__file__), folder, "--one", name, "--threads", count, "--rounds", str(options.rounds)]
    pin = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=options.timeout, preexec_fn=pin)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {options.timeout} s"}
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode == 0 and lines:
        return json.loads(lines[-1])
    words = [line.strip() for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
    errors = [line for line in words if line.partition(":")[0].endswith(("Error", "Exception"))]
    return {"failed": f"status {ran.returncode}: {(errors or words)[-1][:200]}"}


def text_of(result):
    if "failed" in result:
        return f"failed: {result['failed']}"
    if result["wrong"]:
        return f"WRONG: {', '.join(result['wrong'])}"
    return f"{result['median_ms']:10.3f}  {result['min_ms']:10.3f}  {result['compile_s']:10.1f}"


def positive(text):
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of the suite's models, or folders")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--rounds", type=positive, default=15)
    parser.add_argument("--timeout", type=positive, default=600, help="seconds for one model and compiler")
    parser.add_argument("--only", help="compilers, separated by commas", default=",".join(COMPILERS))
    parser.add_argument("--json", help="writes all numbers to this file")
    parser.add_argument("--one", choices=list(COMPILERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one, options.models[0], options.threads, options.rounds)))
        return
    asked = [name for name in options.only.split(",") if name]
    unknown = [name for name in asked if name not in COMPILERS]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are: {', '.join(COMPILERS)}")
    gone = {name: missing_packages(name) for name in asked}
    for name, packages in gone.items():
        if packages:
            print(f"{name} is left out: {sys.executable} has no {', '.join(packages)} (pip install {' '.join(packages)})")
    present = [name for name in asked if not gone[name]]
    if not present:
        sys.exit(1)
    results = []
    for model in options.models:
        folder = model_folder(model)
        print(f"\n{os.path.basename(folder)}, threads: {options.threads}\n  {'':14s}  {'median ms':>10s}  {'min':>10s}  {'compile s':>10s}")
        for name in present:
            result = measure_apart(name, folder, options)
            results.append({"model": os.path.basename(folder), "compiler": name, "threads": options.threads, **result})
            print(f"  {name:14s}  {text_of(result)}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf8") as f:
            json.dump(results, f, indent=1)
    sys.exit(1 if any(r.get("wrong") or "failed" in r for r in results) else 0)


if __name__ == "__main__":
    main()
