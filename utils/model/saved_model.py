"""Freeze one signature of an untrusted SavedModel into one graph, after a check of its operators."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from utils.errors import BuildError
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadSavedModel

__all__ = ["freeze", "function"]

#: Operators that compute a network or restore its weights. All others are refused if they would run: some read and
#: write files, or call Python.
_HARMLESS = frozenset([
    "Add", "AddN", "AddV2", "ArgMax", "Assign", "AssignVariableOp", "AvgPool", "BatchNormWithGlobalNormalization",
    "BatchToSpaceND", "BiasAdd", "Cast", "ClipByValue", "ConcatV2", "Const", "Conv2D", "DepthToSpace",
    "DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "Div", "Elu", "Exp", "ExpandDims", "Fill",
    "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Greater", "GreaterEqual", "Identity", "IdentityN",
    "IsFinite", "LeakyRelu", "Less", "LessEqual", "LogSoftmax", "MatMul", "Max", "MaxPool", "Maximum", "Mean",
    "Min", "Minimum", "MirrorPad", "Mul", "Neg", "NoOp", "OneHot", "Pack", "Pad", "PadV2",
    "PartitionedCall", "Placeholder", "PlaceholderWithDefault", "Pow", "Prod", "Range", "Rank", "ReadVariableOp",
    "RealDiv", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "RestoreV2", "Rsqrt",
    "Select", "SelectV2", "Shape", "Sigmoid", "Slice", "Softmax", "SpaceToBatchND",
    "Split", "SplitV", "Sqrt", "Square", "SquaredDifference", "Squeeze", "StatefulPartitionedCall",
    "StopGradient", "StridedSlice", "Sub", "Sum", "Swish", "Tanh", "Tile",
    "TopKV2", "Transpose", "Unpack", "VarHandleOp", "VarIsInitializedOp", "Variable", "VariableV2", "ZerosLike",
])  # fmt: skip


def freeze(tf: Any, folder: Path, recipe: Recipe, load: LoadSavedModel, where: str) -> tuple[bytes, int]:
    """Load one signature and make its variables constants.

    Args:
        tf: TensorFlow, pinned.
        folder: contains one SavedModel, at any depth.
        recipe: gives the names and shapes of input and output.
        load: names the signature.
        where: name of the SavedModel in a message.

    Returns:
        A GraphDef from the recipe's input to its output, serialised the same way each time, and the number of
        parameters that the output depends on.

    Raises:
        BuildError: no SavedModel, a forbidden operator, an unknown signature or output, other shapes.
    """
    home = _home(folder, where)
    meta = _meta_graph(home, where)
    source, target = _ends(tf, meta.signature_def, recipe, load, where)
    _check_operators(meta, load.signature, where)
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        try:
            v1.saved_model.load(session, list(meta.meta_info_def.tags), str(home))
            output = target.partition(":")[0]
            frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, [output])
        except Exception as error:  # TensorFlow raises these for missing or damaged variables
            raise BuildError(
                f"the SavedModel cannot be loaded: {str(error).strip()[:500]}",
                where=where,
                hint="check that the archive is complete, or download it again",
            ) from error
    with v1.Graph().as_default() as graph:
        image = v1.placeholder(tf.float32, recipe.input.shape, name=recipe.input.name)
        fed = tf.cast(image, v1.as_dtype(meta.signature_def[load.signature].inputs[source].dtype))
        inner = meta.signature_def[load.signature].inputs[source].name
        (scores,) = tf.graph_util.import_graph_def(frozen, {inner: fed}, [target], name="network")
        tf.identity(scores, name=recipe.outputs[0].name)
    if scores.shape.as_list() != recipe.outputs[0].shape:
        raise BuildError(
            f"the output {recipe.outputs[0].name} is {scores.shape.as_list()}, not {recipe.outputs[0].shape}",
            where=where,
            hint=f"correct output.shape in {recipe.where}",
        )
    variables = [node for node in _reached(meta, [target]) if node.op in ("Variable", "VariableV2", "VarHandleOp")]
    count = sum(math.prod(dim.size for dim in node.attr["shape"].shape.dim) for node in variables)
    return graph.as_graph_def().SerializeToString(deterministic=True), count


def function(tf: Any, graph: bytes, recipe: Recipe) -> Any:
    """Make a frozen graph a function from the float32 image tensor to the output tensor; shapes as in the recipe."""
    definition = tf.compat.v1.GraphDef.FromString(graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
    ends = [wrapped.graph.get_tensor_by_name(f"{name}:0") for name in (recipe.input.name, recipe.outputs[0].name)]
    return wrapped.prune(*ends)


def _home(folder: Path, where: str) -> Path:
    found = sorted(file.parent for file in folder.rglob("saved_model.pb"))
    if len(found) != 1:
        raise BuildError(
            f"the archive has {len(found)} SavedModels, not one",
            where=where,
            hint="use an archive that has one folder with saved_model.pb",
        )
    return found[0]


def _meta_graph(home: Path, where: str) -> Any:
    """Read the serving graph of the file; nothing of it is run yet."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString((home / "saved_model.pb").read_bytes())
    except DecodeError:
        raise BuildError("saved_model.pb is damaged", where=where, hint="download it again") from None
    for meta in model.meta_graphs:
        if "serve" in meta.meta_info_def.tags:
            return meta
    raise BuildError("the SavedModel has no serving graph", where=where, hint="export it with the tag 'serve'")


def _reached(meta: Any, roots: list[str]) -> list[Any]:
    """Collect the nodes that run when ``roots`` run, with those of the functions that they call."""
    nodes = {node.name: node for node in meta.graph_def.node}
    library = {entry.signature.name: entry for entry in meta.graph_def.library.function}
    found: list[Any] = []
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in seen:
            seen.add(name)
            found.append(nodes[name])
            waiting += nodes[name].input
    called: set[str] = set()
    for node in found:  # it grows by the nodes of functions
        for name in ({node.op, *_functions(node)} & library.keys()) - called:
            called.add(name)
            found += library[name].node_def
    return found


def _functions(node: Any) -> list[str]:
    """List the functions that the attributes of a node name."""
    return [entry.name for attr in node.attr.values() for entry in (attr.func, *attr.list.func)]


def _check_operators(meta: Any, signature: str, where: str) -> None:
    """Refuse a graph that would do more than compute when variables are restored or the signature is called."""
    roots = [tensor.name for tensor in meta.signature_def[signature].outputs.values()]
    roots += [tensor.name for tensor in meta.signature_def["__saved_model_init_op"].outputs.values()]
    for key in ("saved_model_main_op", "legacy_init_op"):
        roots += meta.collection_def[key].node_list.value
    roots.append(meta.saver_def.restore_op_name)
    functions = {entry.signature.name for entry in meta.graph_def.library.function}
    strange = {node.op for node in _reached(meta, roots)} - functions - _HARMLESS
    if strange:
        raise BuildError(
            f"the graph has operators that no network needs: {', '.join(sorted(strange))}",
            where=where,
            hint="export the network alone, without file access or Python preprocessing; nothing of the graph was run",
        )


def _ends(tf: Any, signatures: Any, recipe: Recipe, load: LoadSavedModel, where: str) -> tuple[str, str]:
    """Find the name of the signature's one input, and the tensor of the recipe's output."""
    if load.signature not in signatures:
        known = sorted(name for name in signatures if not name.startswith("__"))
        raise BuildError(
            f"no signature {load.signature!r} (it has {', '.join(known) or 'none'})",
            where=where,
            hint=f"correct load.signature in {recipe.where}, or export the model with that signature",
        )
    inputs, outputs = signatures[load.signature].inputs, signatures[load.signature].outputs
    wanted = recipe.outputs[0].name
    if wanted not in outputs:
        raise BuildError(
            f"signature {load.signature!r} has no output {wanted!r} (it has {', '.join(sorted(outputs))})",
            where=where,
            hint=f"correct output.name in {recipe.where}",
        )
    fits = len(inputs) == 1 and all(
        entry.dtype in (tf.float32.as_datatype_enum, tf.uint8.as_datatype_enum)
        and tf.TensorShape(entry.tensor_shape).is_compatible_with(recipe.input.shape)
        for entry in inputs.values()
    )
    if not fits:
        listed = [f"{n}: {tf.as_dtype(e.dtype).name}{tf.TensorShape(e.tensor_shape)}" for n, e in inputs.items()]
        raise BuildError(
            f"signature {load.signature!r} takes {', '.join(sorted(listed)) or 'nothing'}, not one image "
            f"{recipe.input.shape}",
            where=where,
            hint=f"correct input.shape in {recipe.where}",
        )
    return next(iter(inputs)), outputs[wanted].name
