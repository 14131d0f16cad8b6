"""Apply ONNX Runtime's own fusions once, in the export, instead of at each cold start."""

from pathlib import Path

import onnxruntime as ort


def optimize(path: Path) -> None:
    """Optimise a graph file in place, up to the level that does not depend on this machine's CPU.

    A graph with its weights in a separate file is left alone: the runtime would copy all of them.
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
