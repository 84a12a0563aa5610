"""Read weights from h5, as a file or in a ``.keras`` file: the layout of Keras 1 and 2, and that of ``.weights.h5``."""

from __future__ import annotations

import io
import itertools
import math
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import DataError
from utils.model import keras_config
from utils.model.stored import (
    AGAIN,
    ALONE,
    FOLDER,
    Group,
    Layer,
    Pairs,
    Part,
    Weight,
    class_path,
    leaves,
    ordered_parts,
    quote,
)

__all__ = ["h5_parts"]

#: Most links in an h5 file, and their greatest depth.
_LINKS, _DEPTH = 100_000, 30
#: Filters of HDF5 and h5py: deflate, shuffle, fletcher32, lzf. For any other, HDF5 would load a plugin.
_FILTERS = {1, 2, 3, 32000}
#: Room in a .keras file beyond the network: the optimizer's state (twice the weights for Adam), and its config.
_TIMES, _SLACK = 4, 16 << 20


def h5_parts(model: Any, file: Path, opened: ExitStack) -> Iterator[Part]:
    """List the candidates for the network in a file; ``opened`` keeps it open while its weights are read."""
    import h5py

    stream, config = _h5_stream(model, opened.enter_context(file.open("rb")))
    root = opened.enter_context(h5py.File(stream, "r"))
    _refuse_links(root)
    if "model_config" in root.attrs:
        config = keras_config.read_config(root.attrs["model_config"])
    group = root.get("model_weights", root)
    if any(key in group.attrs for key in ("layer_names", "layer_names0")):
        ours = [(each, each.trainable_weights + each.non_trainable_weights) for each in leaves(model.layers)]
        return ordered_parts(ours, _legacy(group, config, [layer.name for layer, _ in ours]))
    if "layers" in root or "_layer_checkpoint_dependencies" in root:
        return _keras3_parts(model, root, config)
    raise DataError("is an h5 file without the weights of a Keras network", hint=ALONE)


def _h5_stream(model: Any, stream: BinaryIO) -> tuple[BinaryIO, Any]:
    """Open the h5 file that a file is or contains, and the model's config beside it."""
    head = stream.read(8)
    stream.seek(0)
    if head == b"\x89HDF\r\n\x1a\n":
        return stream, None
    if head[:4] == b"PK\x03\x04":
        return _from_keras(model, stream)
    suffix = Path(stream.name).suffix.lower()
    what, hint = "is not an h5 file, a .keras file or a SavedModel folder", ALONE
    if not head:
        what, hint = "is empty", AGAIN
    elif re.match(rb"\x80[\0-\5]", head) or suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth"):
        what = "is a Python pickle (as pickle, joblib and torch write): reading it would run code"
    elif head[4:] == b"TFL3":
        what, hint = "is a TFLite model, whose weights are already folded", "give the Keras file that it was made from"
    elif head[:2] == b"\x1f\x8b" or suffix == ".tar":
        what, hint = "is an archive", "unpack it and give the file or folder in it"
    elif suffix == ".pb":
        what, hint = "is one file of a SavedModel", FOLDER
    raise DataError(what, hint=hint)


def _from_keras(model: Any, stream: BinaryIO) -> tuple[BinaryIO, Any]:
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if any(name.endswith(".pkl") for name in names):
            raise DataError("is a torch file, a Python pickle in a zip: reading it would run code", hint=ALONE)
        if "model.weights.h5" not in names:
            raise DataError("is a zip archive without model.weights.h5, so not a .keras file", hint=ALONE)
        need = sum(math.prod(variable.shape) * 4 for variable in model.variables)
        for name, most in (("config.json", _SLACK), ("model.weights.h5", _TIMES * need + _SLACK)):
            if name in names and archive.getinfo(name).file_size > most:
                size = archive.getinfo(name).file_size
                raise DataError(
                    f"{name} in it unpacks to {size:,} bytes, more than the {most:,} that a network needs", hint=ALONE
                )
        config = keras_config.read_config(archive.read("config.json")) if "config.json" in names else None
        return io.BytesIO(archive.read("model.weights.h5")), config


def _refuse_links(root: Any) -> None:
    import h5py

    seen = itertools.count(1)

    def check(name: str, link: Any) -> str | None:  # h5py swallows exceptions in here; returning a word ends the walk
        if not isinstance(link, h5py.HardLink):
            return f"{quote(name)} is a link, which Keras never writes"
        too_many = next(seen) > _LINKS or name.count("/") > _DEPTH
        return "has more or deeper groups than any network" if too_many else None

    if hostile := root.visititems_links(check):
        raise DataError(hostile, hint=ALONE)


def _dataset(group: Any, name: str) -> Weight:
    import h5py

    data = group[name]
    if not isinstance(data, h5py.Dataset):
        raise DataError(f"{quote(name)} is not an array", hint=AGAIN)
    made = data.id.get_create_plist()
    if data.external or data.is_virtual:
        raise DataError(f"{quote(name)} stores its numbers in another file", hint=ALONE)
    if {made.get_filter(index)[0] for index in range(made.get_nfilters())} - _FILTERS:
        raise DataError(f"{quote(name)} is compressed by a filter that is not part of HDF5", hint=ALONE)
    if data.chunks and any(chunk > size for chunk, size in zip(data.chunks, data.shape, strict=True)):
        raise DataError(f"{quote(name)} unpacks to more than its shape", hint=ALONE)
    return Weight(name, data.shape, data.dtype, lambda: data[()])


def _strings(group: Any, name: str) -> list[str]:
    """Read a list from the attributes; Keras splits a long one into name0, name1..."""
    numbered = (f"{name}{index}" for index in itertools.count())
    found: list[str] = []
    for part in [name] if name in group.attrs else itertools.takewhile(group.attrs.__contains__, numbered):
        if math.prod(group.attrs.get_id(part).shape) > _LINKS:
            raise DataError(f"{name} is longer than in any network", hint=ALONE)
        found += [text.decode() if isinstance(text, bytes) else text for text in group.attrs[part]]
    return found


def _legacy(group: Any, config: Any, network: list[str]) -> Group:
    """Read the old layout: layers by order, as Keras does, because names differ each time a network is built.

    An inner model is one list of weights: those that were trainable when it was saved, then the frozen ones. So the
    names of the weights tell its layers apart. Their order is that of the config; without one, that of the network's
    layers of these names.
    """
    configs = {keras_config.layer_name(each): each for each in keras_config.inner_layers(config)}
    whole = Group("", [])
    for name in _strings(group, "layer_names"):
        weights = [_dataset(group[name], each) for each in _strings(group[name], "weight_names")]
        inner = keras_config.inner_layers(configs.get(name))
        known = list(_names(inner)) if inner else network
        owners = [_owner(weight, set(known)) for weight in weights]
        parents = {weight.name.rpartition("/")[0] for weight in weights}
        if not weights:
            continue
        if None in owners or (not inner and set(owners) == {name}):  # a layer, or a model that no name identifies
            several = inner or len(parents) > 1
            unclear = f"the file does not say which layers are in {quote(name)}, or their order" if several else ""
            whole.content.append(Layer(name, name, weights, unclear))
            continue
        by_layer: dict[str, list[Weight]] = {each: [] for each in known if each in owners}
        for owner, weight in zip(owners, weights, strict=True):
            by_layer[str(owner)].append(weight)
        whole.content.append(_inner_model(name, inner or known, by_layer))
    return whole


def _names(configs: list[Any]) -> Iterator[str]:
    """List the names of all layers, including those of inner models."""
    for config in configs:
        if inner := keras_config.inner_layers(config):
            yield from _names(inner)
        else:
            yield keras_config.layer_name(config)


def _owner(weight: Weight, names: set[str]) -> str | None:
    """Find the layer that a weight belongs to: ``head`` for ``sequential/head/kernel``."""
    return next((part for part in reversed(weight.name.split("/")[:-1]) if part in names), None)


def _inner_model(place: str, inner: list[Any], weights: dict[str, list[Weight]]) -> Group:
    """Read an inner model; its layers are configs, or names."""
    group = Group(place, [])
    for each in inner:
        name = each if isinstance(each, str) else keras_config.layer_name(each)
        if not isinstance(each, str) and (deeper := keras_config.inner_layers(each)):
            group.content.append(_inner_model(f"{place}/{name}", deeper, weights))
        elif name in weights:
            group.content.append(Layer(f"{place}/{name}", name, weights[name]))
    return group


def _keras3_parts(model: Any, root: Any, config: Any) -> Iterator[Part]:
    """Read the layout of ``.weights.h5``: by path, as Keras does, then each model inside it.

    Paths number the layers of one class in one model: ``layers/conv2d_1/vars/0`` is the first weight of the second
    Conv2D. So they give the order of all layers only if no class is in two models. The config of a ``.keras`` file
    always does.
    """
    import h5py

    found: dict[str, list[str]] = {}  # path of a layer -> its weights

    def note(path: str, item: Any) -> None:
        inside = path.startswith(("layers/", "_layer_checkpoint_dependencies/", "vars/"))
        if inside and isinstance(item, h5py.Dataset) and "seed_generator" not in path:
            layer = path.rpartition("/vars/")[0].replace("_layer_checkpoint_dependencies", "layers")
            found.setdefault(layer, []).append(path)

    root.visititems(note)

    def layer(path: str) -> Layer:
        names = sorted(found.get(path, []), key=lambda name: (len(name), name))  # numerically: 10 after 9
        return Layer(path, path or "vars", [_dataset(root, name) for name in names])

    models = sorted({path[: path.rfind("layers/")] for path in found if path.rfind("layers/") > 0})
    yield Part("", _by_path(model, found, "", layer))
    if not models:
        return
    if config is not None:
        whole = _from_config(config, "", found, layer)
        ours = [(each, each.weights) for each in leaves(model.layers)]
        yield from ordered_parts(ours, whole)
        return
    yield Part("", _by_class(model, found, "", layer))
    for prefix in models:
        shown = root[prefix + "vars"].attrs.get("name", prefix) if f"{prefix}vars" in root else prefix
        yield Part(str(shown).rstrip("/"), _by_path(model, found, prefix, layer))
        yield Part(str(shown).rstrip("/"), _by_class(model, found, prefix, layer))


_Read = Callable[[str], Layer]  # the layer at a path; one without weights if nothing is there


def _by_path(model: Any, found: Iterable[str], prefix: str, read: _Read) -> Pairs:
    left = [path for path in found if path.startswith(prefix)]
    for path, layer in _network_paths(model.layers, prefix):
        yield layer, layer.weights, read(path)
        if path in left:
            left.remove(path)
    for path in left:
        yield None, [], read(path)


def _network_paths(layers: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    used: Counter[str] = Counter()
    for layer in layers:
        name = class_path(type(layer).__name__, 0)
        path = prefix + class_path(type(layer).__name__, used[name])
        used[name] += 1
        if getattr(layer, "layers", None):
            yield from _network_paths(layer.layers, f"{path}/")
        elif layer.weights:
            yield path, layer


def _by_class(model: Any, found: Iterable[str], prefix: str, read: _Read) -> Pairs:
    """Pair the n-th layer of a class with the n-th of that class in the file, in any model."""
    numbered: dict[str, list[tuple[int, str]]] = {}  # by class
    inside: dict[str, set[str]] = {}
    for path in found:
        if path.startswith(prefix):
            home = path[: max(path.rfind("layers/"), 0)]
            kind, _, number = path.removeprefix(home).rpartition("_")
            kind, number = (kind, number) if number.isdecimal() else (path.removeprefix(home), "0")
            numbered.setdefault(kind, []).append((int(number), path))
            inside.setdefault(kind, set()).add(home)
    left = {kind: [path for _, path in sorted(paths)] for kind, paths in numbered.items()}
    for layer in leaves(model.layers):
        kind = class_path(type(layer).__name__, 0)
        if len(inside.get(kind, ())) > 1:
            what = f"the file has {type(layer).__name__} layers in several models, and does not say their order"
            yield layer, layer.weights, Layer(kind, kind, [], unclear=what)
        yield layer, layer.weights, read(left[kind].pop(0)) if left.get(kind) else None
    for paths in left.values():
        for path in paths:
            yield None, [], read(path)


def _from_config(config: Any, prefix: str, found: Iterable[str], read: _Read) -> Group:
    """Build the model as in the config, with the layers at their paths."""
    group = Group(str(keras_config.layer_name(config)), [])
    used: Counter[str] = Counter()
    for each in keras_config.inner_layers(config):
        name = class_path(str(each["class_name"]), 0)
        path = prefix + class_path(str(each["class_name"]), used[name])
        used[name] += 1
        if keras_config.inner_layers(each):
            group.content.append(_from_config(each, f"{path}/", found, read))
        elif path in found:
            group.content.append(read(path))
    return group
