"""The conditions of ``compat.toml``'s rules by name: each says of one operator whether the rule applies to it."""

from __future__ import annotations

from collections.abc import Callable

from utils.npu import ethos_u_graph, ethos_u_moves, ethos_u_shapes, ethos_u_types, ethos_u_windows, vx
from utils.npu.reading import get_input, get_params, is_float, tensors, weights
from utils.tflite import Graph, Operator

__all__ = ["CONDITIONS"]

Condition = Callable[[Graph, Operator], bool]

#: Custom operators that every TFLite runtime has; their names are not in capitals.
_RUNTIMES_OWN = ("TFLite_Detection_PostProcess",)

_EDGE_TPU = "edgetpu-custom-op"


def _per_channel(graph: Graph, operator: Operator) -> bool:
    return any(len(graph.tensors[index].scales) > 1 for index in operator.inputs[1:2] if index >= 0)


def _float(graph: Graph, operator: Operator) -> bool:
    return any(is_float(tensor) for tensor in tensors(graph, operator))


def _float_inside(graph: Graph, operator: Operator) -> bool:
    return operator.name not in ("QUANTIZE", "DEQUANTIZE", *_RUNTIMES_OWN) and _float(graph, operator)


def _dynamic(graph: Graph, operator: Operator) -> bool:
    return any(tensor.dynamic for tensor in tensors(graph, operator))


def _flex(_graph: Graph, operator: Operator) -> bool:
    return operator.name.startswith("Flex")


def _custom(_graph: Graph, operator: Operator) -> bool:
    own = operator.name == operator.name.upper() or operator.name in (*_RUNTIMES_OWN, _EDGE_TPU)
    return not own and not operator.name.startswith("Flex")  # TFLite's own are in capitals


def _runtimes_own(_graph: Graph, operator: Operator) -> bool:
    return operator.name in _RUNTIMES_OWN


def _edge_tpu(_graph: Graph, operator: Operator) -> bool:
    return operator.name == _EDGE_TPU


def _control_flow(_graph: Graph, operator: Operator) -> bool:
    return operator.name in ("CALL_ONCE", "IF", "WHILE")


def _int4(graph: Graph, operator: Operator) -> bool:
    found = weights(graph, operator)
    return found is not None and not found.blocks and found.dtype in ("INT2", "INT4", "UINT4")


def _blocks(graph: Graph, operator: Operator) -> bool:
    return any(tensor.blocks for tensor in tensors(graph, operator))


def _axis_outside(graph: Graph, operator: Operator) -> bool:
    return any(len(found.scales) > 1 and not 0 <= found.axis < len(found.shape) for found in tensors(graph, operator))


def _unwritten(graph: Graph, operator: Operator) -> bool:
    return any(found.unwritten for found in tensors(graph, operator))


def _int16_with_int32_bias(graph: Graph, operator: Operator) -> bool:
    read, bias = get_input(graph, operator), get_params(graph, operator, 2)
    return read is not None and bias is not None and (read.dtype, bias.dtype) == ("INT16", "INT32")


#: Name in ``compat.toml`` -> whether the rule applies to an operator.
CONDITIONS: dict[str, Condition] = {
    "axis_outside": _axis_outside,
    "blocks": _blocks,
    "control_flow": _control_flow,
    "custom": _custom,
    "dynamic": _dynamic,
    "edge_tpu": _edge_tpu,
    "flex": _flex,
    "float": _float,
    "float_inside": _float_inside,
    "int16_with_int32_bias": _int16_with_int32_bias,
    "int4": _int4,
    "per_channel": _per_channel,
    "runtimes_own": _runtimes_own,
    "unwritten": _unwritten,
    **ethos_u_graph.CONDITIONS,
    **ethos_u_moves.CONDITIONS,
    **ethos_u_shapes.CONDITIONS,
    **ethos_u_types.CONDITIONS,
    **ethos_u_windows.CONDITIONS,
    **vx.CONDITIONS,
}
