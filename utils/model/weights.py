"""A user's own weights: read into a network that the recipe has built, and nothing that the file says is run.

Accepted, told by content and not by suffix: a Keras h5 file (weights alone or a whole model, old layout or that of
``.weights.h5``), a ``.keras`` file, a SavedModel folder (Keras 2, or Keras 3's ``model.export()``). Only numbers are
taken: configs are scanned and never made into objects, the graph of a SavedModel is not opened, pickles are refused.
Every shape is compared before a weight is read, and every weight is read before one is set.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from utils import files
from utils.errors import DataError, ZooError

__all__ = ["fingerprint", "load_into"]

_ALONE = 'save the weights alone, model.save_weights("mine.weights.h5"), and give that file'
_OTHER = "these are weights of another network (or another width, depth or number of classes): build that one instead"
_AGAIN = "save or copy it again"
_FOLDER = "a SavedModel is a folder with saved_model.pb and variables/, as model.export() writes it"

#: The most links an h5 file may hold, and the deepest.
_LINKS, _DEPTH = 100_000, 30
#: Filters that HDF5 and h5py bring along: deflate, shuffle, fletcher32, lzf. For others HDF5 would look for a plugin.
_FILTERS = {1, 2, 3, 32000}
#: What a .keras file may hold beyond the network: the optimizer's state (twice the weights for Adam), and its config.
_TIMES, _SLACK = 4, 16 << 20

#: The weights of a Keras layer, in Keras's order. A SavedModel knows them by these names alone.
_ORDER = (
    *("depthwise_kernel", "kernel", "pointwise_kernel", "recurrent_kernel", "gamma", "beta"),
    *("moving_mean", "moving_variance", "bias"),
)
#: What configs of Keras 2 and 3 name beside the public classes of today.
_CLASSES = {
    *("Functional", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "TensorShape", "Policy"),
    *("__tuple__", "__tensor__", "__keras_tensor__", "__numpy__", "__ellipsis__"),
}


@dataclass(frozen=True)
class _Weight:
    """A weight in the file, not read yet."""

    name: str
    shape: tuple[int, ...] | None
    dtype: Any  # of numpy
    read: Callable[[], Any]

    @property
    def role(self) -> str:
        """``kernel`` of ``conv/kernel:0``; empty where the file gives no name."""
        role = self.name.rsplit("/", 1)[-1].split(":")[0].lstrip("_")
        return role if role in _ORDER else ""


@dataclass(frozen=True)
class _Layer:
    """A layer in the file that has weights."""

    name: str
    weights: list[_Weight]


def fingerprint(path: Path) -> dict[str, Any]:
    """``{"name", "size", "sha256"}`` of a weights file or folder, without reading any weight.

    A folder's size is that of its files together, its sha256 that of the JSON object {file, from the folder: sha256}
    as ``files.dump_json`` writes it: sorted by name, so that the same files give the same hash anywhere.

    Raises:
        DataError: nothing there, not readable, neither file nor folder, or a folder with a symbolic link in it.
    """
    try:
        if path.is_dir():
            found = _members(path)
            content = files.dump_json({name: files.sha256(file) for name, file in found.items()})
            size = sum(file.stat().st_size for file in found.values())
            digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
            return {"name": path.absolute().name, "size": size, "sha256": digest}
        if path.exists() and not path.is_file():
            raise DataError("is neither a file nor a folder", where=str(path), hint="give the weights file itself")
        return {"name": path.absolute().name, **files.describe_file(path)}
    except OSError as error:
        hint = "check the path and who may read it"
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None


def _members(folder: Path) -> dict[str, Path]:
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise DataError(f"{_quote(name)} is a symbolic link", where=str(folder), hint="copy what it points to here")
        if file.is_file():
            found[name] = file
        elif not file.is_dir():
            raise DataError(f"{_quote(name)} is neither a file nor a folder", where=str(folder), hint=_FOLDER)
    return found


def load_into(model: Any, file: Path, where: str) -> None:
    """Set every weight of a built Keras network from a file; on an error none is set.

    Args:
        model: the network, a keras.Model.
        file: the weights file, or the SavedModel folder.
        where: how the user named the file, for messages.

    Raises:
        DataError: the file cannot be read, is hostile, or is of another network; the first layer that does not fit
            is named.
    """
    try:
        fingerprint(file)  # says what is wrong with the path itself
        with contextlib.ExitStack() as opened:
            if file.is_dir():
                pairs = _saved_model(model, file)
            else:
                import h5py

                stream = _h5_stream(model, opened.enter_context(file.open("rb")))
                pairs = _h5(model, opened.enter_context(h5py.File(stream, "r")))
            values = [value for network, found in _fitting(pairs) for value in _values(network, found)]
        if {id(variable) for variable in model.weights} - {id(variable) for variable, _ in values}:
            raise DataError("the network has weights outside its layers", hint="mend the recipe's code")
    except ZooError as error:
        raise type(error)(error.what, where=where, hint=error.hint) from None
    except Exception as error:  # whatever h5py, zipfile, json and TensorFlow say of damaged bytes
        what = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise DataError(f"the file is damaged: {_quote(what[0], 200)}", where=where, hint=_AGAIN) from error
    for variable, value in values:
        variable.assign(value)


def _quote(text: str, most: int = 100) -> str:
    """Text from a file, fit for a terminal."""
    return json.dumps(text[:most])


def _title(layer: Any) -> str:
    return f'layer "{layer.name}" ({type(layer).__name__})'


_Pairs = Iterator[tuple[Any, list[Any], _Layer | None]]  # layer of the network, its variables, layer of the file


def _fitting(pairs: _Pairs) -> list[tuple[list[Any], _Layer]]:
    """The pairs, once all of them are known to fit."""
    import numpy as np

    fit: list[tuple[list[Any], _Layer]] = []
    for layer, variables, found in pairs:
        if layer is None and found is not None:
            what = f"the file holds more than the network: {_quote(found.name)} fits no layer of it"
            raise DataError(what, hint=_OTHER)
        if found is None or not found.weights:
            raise DataError(f"{_title(layer)}: the file has no weights for it", hint=_OTHER)
        for variable, weight in zip(variables, found.weights, strict=False):
            wanted = tuple(variable.shape)
            # Keras 2 has "depthwise_kernel" where Keras 3 has "kernel".
            ours, theirs = (name.replace("depthwise_kernel", "kernel") for name in (variable.name, weight.role))
            if weight.shape != wanted:
                what = f"the file has {weight.shape} for {_quote(weight.name)}, the network wants {wanted}"
            elif theirs and ours in _ORDER and ours != theirs:
                what = f"the file has {_quote(weight.name)} where the network wants {_quote(variable.path)}"
            elif weight.dtype.kind != np.dtype(variable.dtype).kind:
                name = "objects" if weight.dtype.hasobject else f"{weight.dtype} numbers"
                what = f"the file has {name} for {_quote(weight.name)}, the network wants {variable.dtype}"
            else:
                continue
            raise DataError(f"{_title(layer)}: {what}", hint=_OTHER)
        if len(variables) != len(found.weights):
            have = ", ".join(_quote(weight.name) for weight in found.weights[:8])
            names = ", ".join(variable.name for variable in variables[:8])
            what = f"the file has {len(found.weights)} weights for it ({have}), the network wants {len(variables)}"
            raise DataError(f"{_title(layer)}: {what} ({names})", hint=_OTHER)
        fit.append((variables, found))
    return fit


def _values(variables: list[Any], found: _Layer) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    for variable, weight in zip(variables, found.weights, strict=True):
        with np.errstate(over="ignore"):  # too large for float32: infinite, and named below
            value = np.asarray(weight.read()).astype(variable.dtype)
        if not np.isfinite(value).all():
            what = f"{_quote(weight.name)} holds values that are no numbers (NaN or infinite)"
            raise DataError(what, hint="the training that made it diverged: give an earlier state of it")
        yield variable, value


def _leaves(layers: list[Any]) -> Iterator[Any]:
    """Layers with weights, those of models inside the model one by one."""
    for layer in layers:
        if getattr(layer, "layers", None):
            yield from _leaves(layer.layers)
        elif layer.weights:
            yield layer


def _in_order(layers: list[tuple[Any, list[Any]]], found: list[_Layer]) -> _Pairs:
    for network, in_file in itertools.zip_longest(layers, found):
        yield (*(network or (None, [])), in_file)


def _h5_stream(model: Any, stream: BinaryIO) -> BinaryIO:
    """The h5 file that a file is or holds."""
    head = stream.read(8)
    stream.seek(0)
    if head == b"\x89HDF\r\n\x1a\n":
        return stream
    if head[:4] == b"PK\x03\x04":
        return _from_keras(model, stream)
    suffix = Path(stream.name).suffix.lower()
    what, hint = "is neither h5, nor .keras, nor a SavedModel folder", _ALONE
    if not head:
        what, hint = "is empty", _AGAIN
    elif re.match(rb"\x80[\0-\5]", head) or suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth"):
        what = "is a Python pickle (as pickle, joblib and torch write): to read it would be to run it"
    elif head[4:] == b"TFL3":
        what, hint = "is a TFLite model, whose weights are folded already", "give the Keras file it was made from"
    elif head[:2] == b"\x1f\x8b" or suffix == ".tar":
        what, hint = "is an archive", "unpack it and give the file or folder in it"
    elif suffix == ".pb":
        what, hint = "is one file of a SavedModel", _FOLDER
    raise DataError(what, hint=hint)


def _from_keras(model: Any, stream: BinaryIO) -> BinaryIO:
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if any(name.endswith(".pkl") for name in names):
            raise DataError("is a torch file, a Python pickle in a zip: to read it would be to run it", hint=_ALONE)
        if "model.weights.h5" not in names:
            raise DataError("is a zip archive without model.weights.h5, so no .keras file", hint=_ALONE)
        need = sum(math.prod(variable.shape) * 4 for variable in model.variables)
        for name, most in (("config.json", _SLACK), ("model.weights.h5", _TIMES * need + _SLACK)):
            if name in names and archive.getinfo(name).file_size > most:
                size = archive.getinfo(name).file_size
                raise DataError(f"{name} in it unpacks to {size:,} bytes, more than the {most:,} of use", hint=_ALONE)
        if "config.json" in names:
            _scan(archive.read("config.json"))
        return io.BytesIO(archive.read("model.weights.h5"))


def _scan(config: bytes | str) -> None:
    """Refuse a model config that names code; it is read as JSON, never given to Keras."""
    import keras

    functions = _public(lambda item: not isinstance(item, type), keras.activations, keras.losses, keras.metrics)
    classes = _CLASSES | _public(
        lambda item: isinstance(item, type),
        *(keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.losses, keras.metrics),
        *(keras.optimizers, keras.optimizers.schedules, keras.dtype_policies),
    )
    todo: list[Any] = [json.loads(config)]
    while todo:
        item = todo.pop()
        if isinstance(item, dict) and "class_name" in item:
            function = item["class_name"] == "function"
            kind = str(item["config"] if function else item["class_name"])
            package = str(item.get("module") or "keras").split(".")[0]
            if kind in ("Lambda", "__lambda__"):
                raise DataError("its config holds a Lambda layer, which is code", hint=_ALONE)
            known = kind in (functions if function else classes)
            if not known or package not in ("keras", "tensorflow", "tf_keras", "builtins"):
                what = f"its config names {_quote(kind)} of {_quote(package)}, which is not of Keras"
                raise DataError(f"{what}: it may be code", hint=_ALONE)
        todo += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []


def _public(wanted: Callable[[Any], bool], *modules: Any) -> set[str]:
    names = ((module, name) for module in modules for name in dir(module) if not name.startswith("_"))
    return {name for module, name in names if wanted(getattr(module, name))}


def _h5(model: Any, root: Any) -> _Pairs:
    import h5py

    seen = itertools.count(1)

    def find_fault(name: str, link: Any) -> str | None:  # h5py swallows what is raised in here; a word ends the walk
        if not isinstance(link, h5py.HardLink):
            return f"{_quote(name)} is a link to another place, and Keras writes none"
        too_many = next(seen) > _LINKS or name.count("/") > _DEPTH
        return "holds more or deeper groups than any network" if too_many else None

    if hostile := root.visititems_links(find_fault):
        raise DataError(hostile, hint=_ALONE)
    if "model_config" in root.attrs:
        _scan(root.attrs["model_config"])
    group = root.get("model_weights", root)
    if any(key in group.attrs for key in ("layer_names", "layer_names0")):
        yield from _legacy(model, group)
    elif "layers" in root or "_layer_checkpoint_dependencies" in root:
        yield from _keras3(model, root)
    else:
        raise DataError("is an h5 file without the weights of a Keras network", hint=_ALONE)


def _dataset(group: Any, name: str) -> _Weight:
    import h5py

    data = group[name]
    if not isinstance(data, h5py.Dataset):
        raise DataError(f"{_quote(name)} is no array", hint=_AGAIN)
    made = data.id.get_create_plist()
    if data.external or data.is_virtual:
        raise DataError(f"{_quote(name)} keeps its numbers in another file", hint=_ALONE)
    if {made.get_filter(index)[0] for index in range(made.get_nfilters())} - _FILTERS:
        raise DataError(f"{_quote(name)} is packed by a filter that is not of HDF5", hint=_ALONE)
    if data.chunks and any(chunk > size for chunk, size in zip(data.chunks, data.shape, strict=True)):
        raise DataError(f"{_quote(name)} unpacks to more than its shape", hint=_ALONE)
    return _Weight(name, data.shape, data.dtype, lambda: data[()])


def _strings(group: Any, name: str) -> list[str]:
    """A list in the attributes; Keras splits a long one into name0, name1..."""
    numbered = (f"{name}{index}" for index in itertools.count())
    found: list[str] = []
    for part in [name] if name in group.attrs else itertools.takewhile(group.attrs.__contains__, numbered):
        if math.prod(group.attrs.get_id(part).shape) > _LINKS:
            raise DataError(f"{name} is longer than in any network", hint=_ALONE)
        found += [text.decode() if isinstance(text, bytes) else text for text in group.attrs[part]]
    return found


def _legacy(model: Any, group: Any) -> _Pairs:
    """By order, as Keras does: names differ from one building of a network to the next."""
    names = {name: _strings(group[name], "weight_names") for name in _strings(group, "layer_names")}
    found = [_Layer(name, [_dataset(group[name], each) for each in names[name]]) for name in names if names[name]]
    ours = [(each, each.trainable_weights + each.non_trainable_weights) for each in model.layers if each.weights]
    return _in_order(ours, found)


def _keras3(model: Any, root: Any) -> _Pairs:
    """By path, as Keras does: ``layers/conv2d_1/vars/0`` is the first weight of the second Conv2D."""
    import h5py

    found: dict[str, list[str]] = {}  # path of a layer -> its weights

    def collect(path: str, item: Any) -> None:
        inside = path.startswith(("layers/", "_layer_checkpoint_dependencies/", "vars/"))
        if inside and isinstance(item, h5py.Dataset) and "seed_generator" not in path:
            layer = path.rpartition("/vars/")[0].replace("_layer_checkpoint_dependencies", "layers")
            found.setdefault(layer, []).append(path)

    root.visititems(collect)
    for path, layer in _keras3_paths(model.layers, ""):
        weights = sorted(found.pop(path, []), key=lambda name: (len(name), name))  # 10 after 9
        yield layer, layer.weights, _Layer(path, [_dataset(root, name) for name in weights])
    for path, weights in found.items():
        yield None, [], _Layer(path or weights[0], [])


def _keras3_paths(layers: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    from keras.src.utils.naming import to_snake_case

    used: Counter[str] = Counter()
    for layer in layers:
        name = to_snake_case(type(layer).__name__)
        path = f"{prefix}layers/{name}_{used[name]}" if used[name] else f"{prefix}layers/{name}"
        used[name] += 1
        if getattr(layer, "layers", None):
            yield from _keras3_paths(layer.layers, f"{path}/")
        elif layer.weights:
            yield path, layer


def _saved_model(model: Any, folder: Path) -> _Pairs:
    """The variables of a SavedModel as the checkpoint that they are: nothing of its graph is loaded."""
    if not {"saved_model.pb", "variables/variables.index"} <= _members(folder).keys():
        raise DataError("is a folder, but no SavedModel", hint=_FOLDER)
    import numpy as np
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    from tensorflow.train import load_checkpoint

    reader = load_checkpoint(os.fspath(folder / "variables" / "variables"))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    names: dict[str, str] = {}
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in shapes:  # only names are taken from it
        graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        names = {each.checkpoint_key: each.full_name for node in graph.nodes for each in node.attributes}
    layers: dict[Any, list[tuple[int, _Weight]]] = {}  # of each layer: rank and weight
    for key, shape in shapes.items():
        path, _, attribute = key.partition("/.ATTRIBUTES/")
        name = names.get(key) or path
        if attribute != "VARIABLE_VALUE" or name.endswith("seed_generator_state"):
            continue
        read = functools.partial(reader.get_tensor, key)
        weight = _Weight(name, tuple(shape), np.dtype(dtypes[key].as_numpy_dtype), read)
        if re.fullmatch(r"variables/\d+", path):  # Keras 3's export: one list, in the network's order
            layers.setdefault("exported", []).append((int(path[10:]), weight))
        elif re.fullmatch(r"((layer_with_weights-|_operations/)\d+/)+[a-z_]+", path):  # Keras 2, tf.saved_model.save
            place = tuple(int(number) for number in re.findall(r"\d+", path))
            rank = _ORDER.index(weight.role) if weight.role else len(_ORDER)
            layers.setdefault(place, []).append((rank, weight))
    ours = [(layer, layer.weights) for layer in _leaves(model.layers)]
    sorted_layers = [sorted(layers[place], key=lambda each: each[0]) for place in sorted(layers)]
    if "exported" in layers:
        flat = [weight for _, weight in sorted_layers[0]]
        grouped = itertools.groupby(flat, lambda weight: weight.name.rpartition("/")[0])
        return _in_order(ours, [_Layer(name, list(weights)) for name, weights in grouped])
    if not layers:
        raise DataError("is a SavedModel, but not of a Keras network", hint=_ALONE)
    for weights in sorted_layers:
        if len({rank for rank, _ in weights}) < len(weights):  # which is which?
            raise DataError(f"{_quote(weights[0][1].name)} is a weight of no Keras layer", hint=_ALONE)
    return _in_order(
        ours, [_Layer(each[0][1].name.rpartition("/")[0], [weight for _, weight in each]) for each in sorted_layers]
    )
