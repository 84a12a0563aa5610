"""TensorFlow for test modules, imported where a test first uses it: pytest imports each module, whatever it runs."""

from __future__ import annotations

from typing import Any

from utils import environment


class _Lazy:
    """A module of TensorFlow by its path in it, such as ``keras.layers``; ``""`` is TensorFlow itself."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "pytest")):  # pytest asks each name of a module whether it is a test
            raise AttributeError(name)
        module = environment.pin_tensorflow(1)
        for part in filter(None, self._path.split(".")):
            module = getattr(module, part)
        return getattr(module, name)


tf: Any = _Lazy("")
keras: Any = _Lazy("keras")
layers: Any = _Lazy("keras.layers")
