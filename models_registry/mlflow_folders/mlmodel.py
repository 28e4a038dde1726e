"""`MLmodel`, the file that describes an MLflow model."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import yaml

from mlmon.values import shown
from models_registry.exceptions import ArtefactError
from models_registry.mlflow_folders.flavours import advice_for_flavours
from models_registry.mlflow_folders.signature import Signature, signature_of

MLMODEL = "MLmodel"
LARGEST_BYTES = 512 << 10  # the signature of 2,000 columns takes about 120 KiB
_MOST_NODES = 10_000
_DEEPEST_NODE = 20
_NULLS = ("null", "Null", "NULL", "~", "")

_Yaml: TypeAlias = "str | list[_Yaml] | dict[str, _Yaml] | None"


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """An MLflow model with the flavour ``onnx``.

    Attributes
    ----------
    onnx_file
        Name of the ONNX file, relative to ``MLmodel``.
    signature
        The inputs, or None if the model was logged without them.
    examples
        Names of the files with the input example, relative to ``MLmodel``; empty without one.
    """

    onnx_file: str
    signature: Signature | None
    examples: tuple[str, ...]


def read_mlmodel(path: Path) -> MlflowModel:
    """Return what an ``MLmodel`` file says.

    The names of files in it are not opened: they are for lookups among uploaded files.

    Raises
    ------
    ArtefactError
        The file is malformed, which the message locates; or the model has another flavour, and the message has the line
        that logs it as ONNX.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise ArtefactError(
            f"{MLMODEL} has more than {LARGEST_BYTES >> 10} KiB. Upload the file as MLflow wrote it, or the ONNX file "
            "without it."
        )
    document = _read_yaml(path.read_bytes())
    if not isinstance(document, dict):
        raise ArtefactError(f"{MLMODEL} has no fields. Upload the file as MLflow wrote it.")
    flavours = _mapping(document, "flavors")
    if not flavours:
        raise ArtefactError(f"{MLMODEL} has no flavors. Upload the file as MLflow wrote it.")
    stated = _mapping(document, "signature").get("inputs", "null")
    signature = None
    if not _is_null(stated):
        if not isinstance(stated, str):
            raise _malformed("signature.inputs", "a JSON list in a string", stated)
        try:
            inputs = json.loads(stated)
        except (ValueError, RecursionError) as error:
            raise ArtefactError(f"{MLMODEL}, signature.inputs: invalid JSON ({error}).") from None
        signature = signature_of(inputs)
    if "onnx" not in flavours:
        version = document.get("mlflow_version", "")
        raise ArtefactError(advice_for_flavours(flavours, version if isinstance(version, str) else "", signature))
    flavour = _mapping(flavours, "onnx", "flavors.")
    if _is_null(flavour.get("data", "null")):
        raise ArtefactError(f"{MLMODEL}, flavors.onnx.data: the name of the ONNX file is missing.")
    example = _mapping(document, "saved_input_example_info")
    fields = [name for name in ("artifact_path", "serving_input_path") if not _is_null(example.get(name, "null"))]
    return MlflowModel(
        onnx_file=_file_name(flavour["data"], "flavors.onnx.data"),
        signature=signature,
        examples=tuple(_file_name(example[name], f"saved_input_example_info.{name}") for name in fields),
    )


def mlmodel_among(names: Iterable[str]) -> str | None:
    """Return the name of the ``MLmodel`` file among the names of uploaded files, or None.

    MLflow can store a copy of it in a folder below (``metadata``), which does not count.

    Raises
    ------
    ArtefactError
        The files belong to several models.
    """
    found = sorted(
        (name for name in names if PurePosixPath(name).name == MLMODEL), key=lambda name: (name.count("/"), name)
    )
    if not found:
        return None
    folder = PurePosixPath(found[0]).parent
    if not all(PurePosixPath(name).is_relative_to(folder) for name in found):
        raise ArtefactError(
            f"Several files are named {MLMODEL} ({', '.join(found[:5])}). Upload the folder of one model."
        )
    return found[0]


class _Loader(yaml.BaseLoader):
    """Reads every scalar as a string and ignores tags, so that nothing is constructed; refuses what could be large."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ArtefactError(
                f"{MLMODEL}, line {self.line + 1}: YAML aliases are not supported. Write the value out."
            )
        self._nodes += 1
        self._depth += 1
        if self._nodes > _MOST_NODES or self._depth > _DEEPEST_NODE:
            raise ArtefactError(
                f"{MLMODEL} has more than {_MOST_NODES:,} values, or is nested more than {_DEEPEST_NODE} deep. Upload "
                "the file as MLflow wrote it, without its metadata."
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _read_yaml(content: bytes) -> _Yaml:
    try:
        loader = _Loader(content)
        try:
            document: _Yaml = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ArtefactError(f"{MLMODEL}{line}: invalid YAML ({error.problem or error.context}).") from None
    except yaml.YAMLError:  # bytes that are no characters
        raise ArtefactError(f"{MLMODEL} is not a text in UTF-8. Upload the file as MLflow wrote it.") from None
    return document


def _mapping(document: dict[str, _Yaml], field: str, within: str = "") -> dict[str, _Yaml]:
    """Return a field of `document`; empty if it is absent or null."""
    value = document.get(field, "null")
    if _is_null(value):
        return {}
    if not isinstance(value, dict):
        raise _malformed(f"{within}{field}", "fields", value)
    return value


def _file_name(value: _Yaml, field: str) -> str:
    if not isinstance(value, str):
        raise _malformed(field, "the name of a file", value)
    return value.removeprefix("./")


def _is_null(value: _Yaml) -> bool:
    return isinstance(value, str) and value in _NULLS


def _malformed(field: str, expected: str, value: object) -> ArtefactError:
    return ArtefactError(f"{MLMODEL}, {field}: expected {expected}, got {shown(value)}.")
