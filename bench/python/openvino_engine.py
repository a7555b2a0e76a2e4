"""OpenVINO as the benchmark uses it: single precision, for the least latency, on so many threads. Its inputs are the arrays
themselves and its outputs its own memory, so that nothing is copied while it is timed."""

import openvino as ov

from serving import Server, read_inputs


class Engine:
    def __init__(self, params):
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": params["threads"],
        }
        self.arrays = read_inputs(params["inputs"])
        core = ov.Core()
        model = core.read_model(params["model"])
        # One that takes any sizes is made for those that it is given.
        if model.is_dynamic():
            model.reshape({name: list(array.shape) for name, array in self.arrays.items()})
        self.compiled = core.compile_model(model, "CPU", config)
        self.request = self.compiled.create_infer_request()
        for name, array in self.arrays.items():
            self.request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self.infer = self.request.infer

    def run(self):
        self.infer(share_inputs=True, share_outputs=True)

    def outputs(self):
        return {port.any_name: self.request.get_tensor(port).data for port in self.compiled.outputs}


if __name__ == "__main__":
    Server(Engine).listen()
