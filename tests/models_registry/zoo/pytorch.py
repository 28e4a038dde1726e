"""PyTorch networks, exported with the legacy exporter (``dynamo=False``) and the default one (``dynamo=True``)."""

import copy
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch  # type: ignore[import-not-found]

from tests.models_registry.zoo.datasets import DATASETS
from tests.models_registry.zoo.entry import Entry, Recipes, package
from tests.models_registry.zoo.networks import NETS, Net

_STEPS = 300
_VARIANTS = {
    "legacy": "dynamo=False",
    "legacy-dynamic": "dynamo=False, dynamic_axes for the first dimension, input_names, output_names",
    "dynamo": "defaults",
    "dynamo-dynamic": "dynamic_shapes for the first dimension",
    "dynamo-inline": "external_data=False",
    "dynamo-dynamic-inline": "dynamic_shapes for the first dimension, external_data=False",
    "custom-operator": "dynamo=False, register_custom_op_symbolic",
}
_ALL = ("legacy", "legacy-dynamic", "dynamo", "dynamo-dynamic-inline")
_DEFAULTS = ("legacy", "dynamo")
_DYNAMIC = ("legacy-dynamic", "dynamo-dynamic-inline")
_EXPORTED: dict[str, tuple[str, ...]] = {
    "sigmoid": _ALL,
    "logits": _ALL,
    "hidden-64": (*_ALL, "dynamo-dynamic", "dynamo-inline"),
    "view": _ALL,
    "view-per-row": _ALL,
    "embedding-and-floats": _ALL,
    "embedding-within": _ALL,
    "two-inputs": _ALL,
    "batch-norm-train": _ALL,
    "logit": _DEFAULTS,
    "sigmoid-squeezed": _DEFAULTS,
    "softmax": _DEFAULTS,
    "regression": _DEFAULTS,
    "regression-squeezed": _DEFAULTS,
    "eight-rows": _DEFAULTS,
    "embedding": _DEFAULTS,
    "dropout": _DEFAULTS,
    "dropout-train": _DEFAULTS,
    "batch-norm": ("legacy", "legacy-dynamic", "dynamo"),
    "batch-mean": ("legacy", *_DYNAMIC),
    "two-hidden-64": ("dynamo",),
    "two-logits": ("dynamo-dynamic-inline",),
    "log-softmax": _DYNAMIC,
    "two-targets": _DYNAMIC,
    "first-target": _DYNAMIC,
    "label-and-probabilities": _DYNAMIC,
    "dictionary": ("dynamo-dynamic-inline",),
    "threshold": ("dynamo-dynamic-inline",),
    "double": ("legacy-dynamic",),
    "layer-norm": ("dynamo-dynamic-inline",),
    "gelu": ("dynamo-dynamic-inline",),
    "branch": ("legacy-dynamic",),
    "where": ("legacy-dynamic",),
    "loop": _DYNAMIC,
    "loop-unrolled": _DYNAMIC,
    "arctangent": ("legacy-dynamic", "custom-operator"),
}
# What the user exports after the advice.
_FIXES = {
    f"torch-{fix}-{variant}": f"torch-{refused}-{variant}"
    for fix, refused, variants in (
        ("view-per-row", "view", _ALL),
        ("batch-norm", "batch-norm-train", ("legacy", "legacy-dynamic")),
        ("dropout", "dropout-train", _DEFAULTS),
        ("first-target", "two-targets", _DYNAMIC),
        ("loop-unrolled", "loop", ("legacy-dynamic",)),
        ("embedding-within", "embedding-and-floats", _ALL),
        ("where", "branch", ("legacy-dynamic",)),
    )
    for variant in variants
} | {"torch-arctangent-legacy-dynamic": "torch-arctangent-custom-operator"}


def recipes() -> Recipes:
    """Return a recipe for each network and way to export it."""
    return {
        f"torch-{net}-{variant}": partial(entry, net, variant)
        for net, variants in _EXPORTED.items()
        for variant in variants
    }


def entry(name: str, variant: str) -> Entry:
    """Train the network and return its entry. The predictions are those of evaluation mode."""
    net = NETS[name]
    data = DATASETS[net.data]()
    module = _trained(net)
    tensors = _tensors(net, data.rows)
    with torch.no_grad():
        output = torch.cat([module(row) for row in tensors[0].split(1)]) if net.is_one_row else module(*tensors)
    described = {
        key: each.numpy() if isinstance(each, torch.Tensor) else each for key, each in HEADS[net.head](output).items()
    }
    columns = [column for columns in net.inputs for column in columns]
    return Entry(
        export=lambda path: _export(net, module, variant, path),
        framework=package("torch"),
        exporter=f"torch.onnx of {package('torch')}",
        options=_VARIANTS[variant] + (", exported in training mode" if net.mode == "train" else ""),
        features=tuple(data.features[column] for column in columns),
        rows=[[value for part in parts for value in part] for parts in zip(*(t.numpy() for t in tensors), strict=True)],
        fixes=_FIXES.get(f"torch-{name}-{variant}"),
        **described,
    )


def _tensors(net: Net, x: Any) -> tuple[Any, ...]:
    """Return the rows as the network's inputs."""
    return tuple(
        torch.tensor(x[:, columns], dtype=torch.int64 if position in net.integers else net.dtype)
        for position, columns in enumerate(net.inputs)
    )


def _trained(net: Net) -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = DATASETS[net.data]()
    module = net.make()
    inputs, target = _tensors(net, data.x), net.target(torch.tensor(data.y))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        output = (module.body if net.is_one_row else module)(*inputs)
        output = output[-1] if isinstance(output, tuple) else output
        output = module.body(*inputs) if net.head == "label" else output
        output = output["logits"] if isinstance(output, dict) else output
        net.loss(output, target).backward()
        optimizer.step()
    return module.eval()


def _export(net: Net, module: Any, variant: str, path: Path) -> None:
    module = copy.deepcopy(module).train(net.mode == "train")
    is_dynamic = "dynamic" in variant or variant == "custom-operator"
    inputs = _tensors(net, DATASETS[net.data]().rows[: net.example_rows])
    if net.is_scripted:
        module = torch.jit.script(module)
    if variant.startswith("dynamo"):
        options: dict[str, Any] = {"external_data": False} if "inline" in variant else {}
        if is_dynamic:
            options["dynamic_shapes"] = tuple({0: "batch"} for _ in inputs)
        torch.onnx.export(module, inputs, path, verbose=False, **options)
        _shorten_paths(path)
        return
    options = {"training": torch.onnx.TrainingMode.PRESERVE} if net.mode == "train" else {}
    if is_dynamic:
        names = [f"input_{position}" for position in range(len(inputs))] if len(inputs) > 1 else ["input"]
        options |= {
            "input_names": names,
            "output_names": ["output"],
            "dynamic_axes": {name: {0: "batch"} for name in (*names, "output")},
        }
    if variant == "custom-operator":
        torch.onnx.register_custom_op_symbolic("::atan", lambda graph, x: graph.op("com.example::Atan", x), 20)
    try:
        torch.onnx.export(module, inputs, path, dynamo=False, **options)
    finally:
        if variant == "custom-operator":
            torch.onnx.unregister_custom_op_symbolic("::atan", 20)


def _shorten_paths(path: Path) -> None:
    """Remove this machine's folders from the stack traces that the exporter writes into the file's metadata."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for each in node.metadata_props:
            each.value = re.sub(r'"/[^"\n]*/(?=(site-packages|zoo)/)', '"', each.value)
    path.write_bytes(model.SerializeToString())


def _columns(p: Any) -> Any:
    p = p.reshape(-1, 1)
    return torch.cat([1 - p, p], dim=1)


def _classification(predictions: Any, probabilities: Any, **scores: Any) -> dict[str, Any]:
    return {"task": "classification", "predictions": predictions, "probabilities": probabilities, **scores}


# What the output of a network means, as the fields of an entry.
HEADS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "probability": lambda p: _classification((p >= 0.5).long().ravel(), _columns(p)),
    "logit": lambda s: _classification(
        (s >= 0).long().ravel(), _columns(s.sigmoid()), scores=s.ravel(), score_kind="logits"
    ),
    "logits": lambda s: _classification(s.argmax(dim=1), s.softmax(dim=1), scores=s, score_kind="logits"),
    "probabilities": lambda p: _classification(p.argmax(dim=1), p),
    "label and probabilities": lambda out: _classification(*out),
    "dictionary": lambda out: HEADS["logits"](out["logits"]),
    "log-probabilities": lambda s: _classification(s.argmax(dim=1), s.exp(), scores=s, score_kind="log-probabilities"),
    "label": lambda label: {"task": "classification", "predictions": label.ravel()},
    "number": lambda y: {"task": "regression", "predictions": y.ravel()},
    "numbers": lambda y: {"task": "regression", "predictions": y},
}
