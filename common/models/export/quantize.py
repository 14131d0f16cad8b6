"""8-bit weights and activations, one activation scale a row: a vector does not depend on its neighbours in a batch.

ONNX Runtime's own dynamic quantization takes one scale over the whole batch: the same text alone and beside others then
differs (cosine 0.9992 for CLIP's text tower).

Weights are symmetric with one scale an output column, in -63..63: a CPU without VNNI adds two products of a uint8 and
an int8 in 16 bits, and 2 × 255 × 63 = 32,130 fits where 2 × 255 × 127 would saturate.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

WEIGHT_LIMIT = 63
ACTIVATION_LIMIT = 127  # around the zero point
ZERO_POINT = 128
SMALLEST = 1e-30  # a row of zeros must not divide by zero

Weights = NDArray[np.float32]


def quantize_weights(weights: Weights, axis: int) -> tuple[NDArray[np.int8], Weights]:
    """(k, n) → int8 of the same shape, and the float32 scale of each column (axis 0) or row (axis 1)."""
    largest = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), SMALLEST)
    scales: Weights = (largest / WEIGHT_LIMIT).astype(np.float32)
    return np.rint(weights / scales).astype(np.int8), scales.ravel()


class RowQuantizer:
    """Rewrites a float32 model: each MatMul and Gemm with constant weights, and each embedding table."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model, self._graph = model, model.graph
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._added: dict[str, onnx.TensorProto] = {}
        self._rows: dict[str, tuple[str, str]] = {}  # float tensor → its quantized rows, their scales

    def run(self) -> onnx.ModelProto:
        """The quantized model; the given one is used up."""
        for node in list(self._graph.node):
            weights = self._matrix(node, 0 if node.op_type == "Gather" else 1)
            if weights is None or node.op_type not in ("MatMul", "Gemm", "Gather"):
                self._nodes.append(node)
            elif node.op_type == "Gather":
                self._replace_table(node, weights)
            else:
                self._replace_product(node, weights)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in (*self._weights.values(), *self._added.values()) if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        if all(entry.domain != "com.microsoft" for entry in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return self._model

    def _matrix(self, node: onnx.NodeProto, place: int) -> Weights | None:
        """The node's constant weights as (k, n), None where they are no matrix."""
        if len(node.input) <= place or node.input[place] not in self._weights:
            return None
        tensor = self._weights[node.input[place]]
        if len(tensor.dims) != 2 or tensor.data_type != onnx.TensorProto.FLOAT or min(tensor.dims) < 16:
            return None
        matrix: Weights = numpy_helper.to_array(tensor)
        transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        return matrix.T if transposed else matrix

    def _constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self._added[name] = numpy_helper.from_array(np.array(value, dtype), name)
        return name

    def _add(self, kind: str, inputs: Iterable[str], output: str, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, list(inputs), [output], domain=domain, **attributes))
        return output

    def _quantized_rows(self, name: str, width: int) -> tuple[str, str]:
        """`name` (…, width) as uint8 (rows, width) and its scales (rows,); made once for all that read it."""
        if name in self._rows:
            return self._rows[name]
        flat = self._add("Reshape", [name, self._constant(f"flat_{width}", [-1, width], np.int64)], f"{name}_flat")
        axes = self._constant("last_axis", [1], np.int64)
        high = self._add("ReduceMax", [flat, axes], f"{name}_high", keepdims=0)
        low = self._add("ReduceMin", [flat, axes], f"{name}_low", keepdims=0)
        largest = self._add("Max", [high, self._add("Neg", [low], f"{name}_down")], f"{name}_largest")
        largest = self._add("Max", [largest, self._constant("smallest", SMALLEST)], f"{name}_bounded")
        scales = self._add("Div", [largest, self._constant("limit", ACTIVATION_LIMIT)], f"{name}_scales")
        shape = self._add("Shape", [scales], f"{name}_rows")
        zeros = self._add("Expand", [self._constant("zero", [ZERO_POINT], np.uint8), shape], f"{name}_zeros")
        rows = self._add("QuantizeLinear", [flat, scales, zeros], f"{name}_quantized", axis=0)
        self._rows[name] = rows, scales
        return rows, scales

    def _replace_product(self, node: onnx.NodeProto, weights: Weights) -> None:
        """MatMul or Gemm → integer product, scaled by column inside, by row behind."""
        name, (source, out) = node.output[0], (node.input[0], node.output[0])
        values, column_scales = quantize_weights(weights, axis=0)
        rows, scales = self._quantized_rows(source, weights.shape[0])
        inputs = [
            rows,
            self._constant(f"{name}_weights", values, np.int8),
            self._constant("one", 1.0),
            self._constant(f"{name}_columns", column_scales),
            self._constant("zero_point", ZERO_POINT, np.uint8),
        ]
        product = self._add("MatMulIntegerToFloat", inputs, f"{name}_product", domain="com.microsoft")
        upright = self._add("Unsqueeze", [scales, self._constant("last_axis", [1], np.int64)], f"{name}_upright")
        product = self._add("Mul", [product, upright], f"{name}_scaled")
        if node.op_type == "Gemm" and len(node.input) > 2:
            product = self._add("Add", [product, node.input[2]], f"{name}_biased")
        shape = self._add("Shape", [source], f"{name}_shape", end=-1)
        shape = self._add(
            "Concat", [shape, self._constant(f"width_{weights.shape[1]}", [weights.shape[1]], np.int64)],
            f"{name}_target", axis=0,
        )  # fmt: skip
        self._add("Reshape", [product, shape], out)

    def _replace_table(self, node: onnx.NodeProto, table: Weights) -> None:
        """An embedding table with one scale a row."""
        name, out = f"{node.output[0]}_table", node.output[0]
        values, scales = quantize_weights(table, axis=1)
        picked = self._add("Gather", [self._constant(name, values, np.int8), node.input[1]], f"{name}_picked")
        rows = self._add("Cast", [picked], f"{name}_rows", to=onnx.TensorProto.FLOAT)
        scale = self._add("Gather", [self._constant(f"{name}_scales", scales[:, None]), node.input[1]], f"{name}_scale")
        self._add("Mul", [rows, scale], out)
