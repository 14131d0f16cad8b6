"""ONNX Runtime's own fusions, done once here and not at each cold start."""

from pathlib import Path

import onnxruntime as ort


def optimize(path: Path) -> None:
    """Rewrite a graph in place, up to the level that is not tied to this machine's instructions.

    A graph whose weights stand in a file of their own stays as it is: the runtime would copy all of them.
    """
    if path.with_name(f"{path.name}.data").exists():
        return
    target = path.with_suffix(".optimized")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    target.replace(path)
