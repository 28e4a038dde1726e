"""Which output of several holds the label, the scores or the number: never a guess by a part of a name."""

from collections.abc import Sequence

from models_registry.artefacts.report import OutputOrigin, OutputTensor
from models_registry.exceptions import ArtefactError

NUMBER_TYPES = frozenset({"float32", "float64"})
# Of labels that are not read: an exporter casts them to int64.
_OTHER_INTEGERS = frozenset({"int8", "int16", "uint8", "uint16", "uint32", "uint64"})
_LABEL_NAMES = frozenset({"label", "output_label", "class_label", "labels"})


def refuse_unread_labels(outputs: Sequence[OutputTensor], numbers: list[OutputTensor]) -> None:
    """Refuse labels of a type that is not read, beside scores whose classes would be numbered instead."""
    has_scores = any((output["width"] or 0) > 1 for output in numbers)
    for output in outputs:
        is_float_label = output["width"] == 1 and output["is_whole"] and output["dtype"] in NUMBER_TYPES and has_scores
        if output["dtype"] in _OTHER_INTEGERS or is_float_label:
            raise ArtefactError(
                f"Output {output['name']!r} seems to be labels of type {output['dtype']}. Export labels as int64 or "
                "strings, or leave the output out."
            )


def label_of(labels: list[OutputTensor], numbers: list[OutputTensor]) -> OutputTensor:
    """Return the output with the predicted label: the only one, or the one with a label's name or with classes."""
    named = [output for output in labels if output["name"].lower() in _LABEL_NAMES]
    with_table = [output for output in labels if output["stored_classes"]]
    label = next((found[0] for found in (labels, named, with_table) if len(found) == 1), None)
    if label is None:
        raise _several(labels, "label")
    is_sure = label["stored_classes"] or label["dtype"] in ("string", "bool") or label in named
    of_number = [
        output for output in numbers if output["width"] == 1 and output["origin"] != OutputOrigin.LABEL_EXPORTER
    ]
    has_scores = any((output["width"] or 0) > 1 for output in numbers)
    if not is_sure and of_number and not has_scores and set(label["labels"]) - {"-1", "0", "1"}:
        # It may be the second output of a regression, such as the leaf of a tree.
        raise _several([label, *of_number], "possible prediction")
    return label


def scores_of(numbers: list[OutputTensor], what: str) -> OutputTensor:
    """Return the only output; of several of the same width, the one named as a probability or the only softmax."""
    if len({output["width"] for output in numbers}) == 1:
        named = [output for output in numbers if "prob" in output["name"].lower() and output["width"] != 1]
        softmax = [output for output in numbers if output["origin"] == OutputOrigin.SOFTMAX]
        for candidates in (named, softmax):
            if len(candidates) == 1:
                return candidates[0]
    return only(numbers, what)


def only(outputs: list[OutputTensor], what: str) -> OutputTensor:
    if len(outputs) > 1:
        raise _several(outputs, what)
    return outputs[0]


def _several(outputs: list[OutputTensor], what: str) -> ArtefactError:
    names = ", ".join(repr(output["name"]) for output in outputs[:10])
    return ArtefactError(f"The model has several {what} outputs ({names}). Export it with one of them.")
