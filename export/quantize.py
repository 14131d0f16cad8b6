"""Quantize a graph to 8-bit weights and activations, with one activation scale for each row.

So a vector does not depend on its neighbours in a batch. ONNX Runtime's own dynamic quantization
uses one scale for the whole batch. A text alone and in a batch then gives different vectors (cosine
0.9992 for CLIP's text tower).

Weights are symmetric in -63..63, with one scale for each output column. A CPU without VNNI adds two
products of a uint8 and an int8 in 16 bits: 2 × 255 × 63 = 32,130 fits, 2 × 255 × 127 saturates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

WEIGHT_LIMIT = 63
ZERO_POINT = 128
ACTIVATION_LIMIT = 127  # on either side of the zero point
SMALLEST = 1e-30  # a row of zeros must not cause a division by zero
GELU_MINIMUM = -0.17  # the minimum of x · Φ(x), at -0.752, rounded down; QuickGelu's is -0.164
# The output of a GELU is nearly all positive. A low zero point doubles the resolution, and the
# minimum need not be computed.
GELU_ZERO_POINT = 24

Weights = NDArray[np.float32]


def quantize_weights(weights: Weights, axis: int) -> tuple[NDArray[np.int8], Weights]:
    """Quantize (k, n) weights to int8; return them and the float32 scales of columns or rows.

    Axis 0 gives one scale for each column, axis 1 one for each row.
    """
    largest = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), SMALLEST)
    scales: Weights = (largest / WEIGHT_LIMIT).astype(np.float32)
    return np.rint(weights / scales).astype(np.int8), scales.ravel()


@dataclass(frozen=True)
class QuantizedRows:
    """The names of a quantized tensor's `rows` (rows, width) uint8 and `scales` (rows, 1).

    `zero_point` is the uint8 value that stands for 0.
    """

    rows: str
    scales: str
    zero_point: int


class RowQuantizer:
    """Quantizes a float32 model: MatMul and Gemm with constant weights, and embedding tables."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._added: dict[str, onnx.TensorProto] = {}
        self._rows: dict[str, QuantizedRows] = {}  # by the name of the float tensor
        self._made: set[str] = set()  # the names of the zero points
        self._producers = {name: node.op_type for node in model.graph.node for name in node.output}
        self._shapes = {  # an unknown dimension is 0
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in model.graph.value_info
        }

    def run(self) -> onnx.ModelProto:
        """Quantize the given model in place and return it."""
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
        kept = [
            tensor
            for tensor in (*self._weights.values(), *self._added.values())
            if tensor.name in used
        ]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        if all(entry.domain != "com.microsoft" for entry in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return self._model

    def _matrix(self, node: onnx.NodeProto, place: int) -> Weights | None:
        """The node's constant weights as (k, n); None if they are not a matrix worth quantizing."""
        if len(node.input) <= place or node.input[place] not in self._weights:
            return None
        tensor = self._weights[node.input[place]]
        if (
            len(tensor.dims) != 2
            or tensor.data_type != onnx.TensorProto.FLOAT
            or min(tensor.dims) < 16
        ):
            return None
        matrix: Weights = numpy_helper.to_array(tensor)
        transposed = node.op_type == "Gemm" and any(
            a.name == "transB" and a.i for a in node.attribute
        )
        return matrix.T if transposed else matrix

    def _is_matrix(self, name: str) -> bool:
        """Whether the graph declares two dimensions for a computed tensor."""
        return len(self._shapes.get(name, ())) == 2

    def _constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self._added[name] = numpy_helper.from_array(np.array(value, dtype), name)
        return name

    def _add(
        self, kind: str, inputs: Iterable[str], output: str, domain: str = "", **attributes: Any
    ) -> str:
        self._nodes.append(
            helper.make_node(kind, list(inputs), [output], domain=domain, **attributes)
        )
        return output

    def _quantized_rows(self, name: str, width: int) -> QuantizedRows:
        """Quantize the tensor `name` (…, width) row by row, once for all nodes that read it."""
        if name not in self._rows:
            flat = name
            if not self._is_matrix(name):
                shape = self._constant(f"flat_{width}", [-1, width], np.int64)
                flat = self._add("Reshape", [name, shape], f"{name}_flat")
            after_gelu = self._producers.get(name) in ("Gelu", "QuickGelu")
            scales = self._scales_after_gelu(flat) if after_gelu else self._scales(flat)
            zero_point = GELU_ZERO_POINT if after_gelu else ZERO_POINT
            zeros = self._zeros(zero_point, flat, scales)
            rows = self._add("QuantizeLinear", [flat, scales, zeros], f"{flat}_quantized", axis=0)
            upright = self._add(
                "Unsqueeze",
                [scales, self._constant("last_axis", [1], np.int64)],
                f"{scales}_upright",
            )
            self._rows[name] = QuantizedRows(rows, upright, zero_point)
        return self._rows[name]

    def _scales(self, flat: str) -> str:
        """The scale of each row of (rows, width): its largest magnitude / ACTIVATION_LIMIT."""
        axes = self._constant("last_axis", [1], np.int64)
        high = self._add("ReduceMax", [flat, axes], f"{flat}_high", keepdims=0)
        low = self._add("ReduceMin", [flat, axes], f"{flat}_low", keepdims=0)
        down = self._add("Neg", [low], f"{flat}_down")
        largest = self._add(
            "Max", [high, down, self._constant("smallest", SMALLEST)], f"{flat}_largest"
        )
        return self._add(
            "Div", [largest, self._constant("limit", ACTIVATION_LIMIT)], f"{flat}_scales"
        )

    def _scales_after_gelu(self, flat: str) -> str:
        """The scale of each row, for rows without values below GELU_MINIMUM."""
        high = self._add(
            "ReduceMax",
            [flat, self._constant("last_axis", [1], np.int64)],
            f"{flat}_high",
            keepdims=0,
        )
        scales = self._add(
            "Div", [high, self._constant("gelu_limit", 255 - GELU_ZERO_POINT)], f"{flat}_positive"
        )
        smallest = self._constant("gelu_smallest", -GELU_MINIMUM / GELU_ZERO_POINT)
        return self._add("Max", [scales, smallest], f"{flat}_scales")

    def _zeros(self, zero_point: int, flat: str, scales: str) -> str:
        """Repeat the zero point for each row; tensors with the same number of rows share it."""
        count = self._shapes[flat][0] if flat in self._shapes else None
        name = f"zeros_{zero_point}_{count or flat}"
        if name not in self._made:
            self._made.add(name)
            shape = self._add("Shape", [scales], f"{name}_shape")
            self._add(
                "Expand",
                [self._constant(f"zero_{zero_point}", [zero_point], np.uint8), shape],
                name,
            )
        return name

    def _replace_product(self, node: onnx.NodeProto, weights: Weights) -> None:
        """Replace a MatMul or Gemm with an integer product.

        The product itself scales each column; a Mul after it scales each row.
        """
        source = node.input[0]
        name = out = node.output[0]
        values, column_scales = quantize_weights(weights, axis=0)
        quantized = self._quantized_rows(source, weights.shape[0])
        inputs = [
            quantized.rows,
            self._constant(f"{name}_weights", values, np.int8),
            self._constant("one", 1.0),
            self._constant(f"{name}_columns", column_scales),
            self._constant(f"zero_point_{quantized.zero_point}", quantized.zero_point, np.uint8),
        ]
        product = self._add(
            "MatMulIntegerToFloat", inputs, f"{name}_product", domain="com.microsoft"
        )
        steps = [("Mul", quantized.scales)]
        if node.op_type == "Gemm" and len(node.input) > 2:
            steps.append(("Add", node.input[2]))
        if not self._is_matrix(source):
            steps.append(("Reshape", self._shape_of_product(node, source, weights.shape[1])))
        for number, (kind, other) in enumerate(steps, 1):
            product = self._add(
                kind, [product, other], out if number == len(steps) else f"{name}_step_{number}"
            )

    def _shape_of_product(self, node: onnx.NodeProto, source: str, width: int) -> str:
        name = node.output[0]
        shape = self._add("Shape", [source], f"{name}_shape", end=-1)
        last = self._constant(f"width_{width}", [width], np.int64)
        return self._add("Concat", [shape, last], f"{name}_target", axis=0)

    def _replace_table(self, node: onnx.NodeProto, table: Weights) -> None:
        """Replace an embedding table with an int8 table that has one scale for each row."""
        out = node.output[0]
        name = f"{out}_table"
        values, scales = quantize_weights(table, axis=1)
        picked = self._add(
            "Gather", [self._constant(name, values, np.int8), node.input[1]], f"{name}_picked"
        )
        rows = self._add("Cast", [picked], f"{name}_rows", to=onnx.TensorProto.FLOAT)
        scale = self._add(
            "Gather",
            [self._constant(f"{name}_scales", scales[:, None]), node.input[1]],
            f"{name}_scale",
        )
        self._add("Mul", [rows, scale], out)
