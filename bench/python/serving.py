"""A measuring process of Python: one engine, timed when the parent says so. It is spoken to in lines of JSON on the standard
streams: {"id", "job", "params"} gets {"id", "value"} or {"id", "error"}."""

import gc
import json
import os
import sys
import time
import traceback

import numpy as np

# Another word for each dtype that a model's inputs and outputs may have: as in the suite's expected.json.
DTYPES = {"float32": np.float32, "int64": np.int64, "int32": np.int32, "uint8": np.uint8, "int8": np.int8}

PAUSE_WINDOW = 3e-3
PAUSE_MOST = 0.25
PAUSE_IDLE = 0.2


def read_inputs(inputs):
    """Arrays by name, from files of raw little-endian values."""
    return {i["name"]: np.fromfile(i["file"], dtype=DTYPES[i["dtype"]]).reshape(i["dims"]) for i in inputs}


def fall_asleep():
    """Waits until this process's threads use less than a fifth of a core; False when they have not stopped within a quarter of a second."""
    begun = time.perf_counter()
    while True:
        start, cpu = time.perf_counter(), time.process_time()
        time.sleep(PAUSE_WINDOW)
        now = time.perf_counter()
        if time.process_time() - cpu < PAUSE_IDLE * (now - start):
            return True
        if now - begun > PAUSE_MOST:
            return False


class Server:
    """`start(params)` makes the engine: something with `run()`, and `outputs()` that gives the last run's arrays by name."""

    def __init__(self, start):
        self.start = start
        self.engine = None

    def serve(self, params):
        """Starts the engine, runs it once, and writes its outputs to `folder`."""
        begun = time.perf_counter()
        self.engine = self.start(params)
        started = time.perf_counter()
        self.engine.run()
        outputs = []
        for name, array in self.engine.outputs().items():
            file = os.path.join(params["folder"], f"{params['engine']}-{len(outputs)}.raw")
            np.ascontiguousarray(array).tofile(file)
            outputs.append({"name": name, "dims": list(array.shape), "dtype": str(array.dtype), "file": file})
        return {"outputs": outputs, "startMs": (started - begun) * 1e3, "slept": fall_asleep(), "tasks": task_count()}

    def stretch(self, params):
        """Times `repeats` runs, after `lead` ones that are not timed."""
        run = self.engine.run
        for _ in range(params["lead"]):
            run()
        gc.disable()
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(params["repeats"]):
            run()
        seconds, busy = time.perf_counter() - begun, time.process_time() - cpu
        gc.enable()
        return {"ms": seconds * 1e3 / params["repeats"], "cores": busy / seconds, "slept": fall_asleep()}

    def listen(self):
        """Answers until it is told to end, or the parent is gone."""
        # What libraries print must not get between the answers.
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        for line in sys.stdin:
            message = json.loads(line)
            if message["job"] == "end":
                return
            jobs = {"serve": self.serve, "stretch": self.stretch}
            try:
                answer = {"value": jobs[message["job"]](message["params"])}
            except Exception as e:  # noqa: BLE001: whatever it is, the parent is told
                answer = {"error": traceback.format_exc() if os.environ.get("TILEWRIGHT_DEBUG") else f"{type(e).__name__}: {e}"}
            answers.write(json.dumps({"id": message["id"], **answer}) + "\n")
            answers.flush()


def task_count():
    """The operating system's threads of this process, where it tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None
