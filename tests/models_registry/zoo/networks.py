"""The PyTorch networks of the zoo, and the data and losses that they are trained with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch  # type: ignore[import-not-found]
from torch import nn

from tests.models_registry.zoo.datasets import DATASETS

functional = nn.functional


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network, its data and loss, and what its output holds (a key of `pytorch.HEADS`).

    ``inputs`` gives the columns of each input; those in ``integers`` are whole numbers. The network is exported in
    ``mode`` ("eval" or "train") with an example of ``example_rows`` rows, through ``torch.jit.script`` if
    ``is_scripted``. A network that ``is_one_row`` takes only one row: its body is trained. ``target`` makes the target
    from y.
    """

    make: Callable[[], Any]
    data: str = "iris 0 1 2"
    head: str = "logits"
    loss: Callable[[Any, Any], Any] = functional.cross_entropy
    target: Callable[[Any], Any] = torch.Tensor.long
    inputs: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3),)
    integers: tuple[int, ...] = ()
    mode: str = "eval"
    example_rows: int = 1
    is_scripted: bool = False
    is_one_row: bool = False
    dtype: Any = torch.float32


class _Standardise(nn.Module):  # type: ignore[misc]
    """Subtract the mean and divide by the standard deviation of the training data."""

    def __init__(self, data: str) -> None:
        super().__init__()
        x = torch.tensor(DATASETS[data]().x, dtype=torch.float32)
        self.register_buffer("mean", x.mean(dim=0))
        self.register_buffer("deviation", x.std(dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.deviation


class _Around(nn.Module):  # type: ignore[misc]
    """Apply a function to the input or the output of a network."""

    def __init__(self, body: Any, *, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.body, self.before, self.after = body, before or _same, after or _same

    def forward(self, x: torch.Tensor) -> Any:
        return self.after(self.body(self.before(x)))


class _TwoInputs(nn.Module):  # type: ignore[misc]
    """Take the four columns of iris as two inputs of two."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _net("iris 0 1 2", 3)

    def forward(self, sepal: torch.Tensor, petal: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([sepal, petal], dim=1))


class _Embedded(nn.Module):  # type: ignore[misc]
    """Take sex (1 or 2) as whole numbers for an embedding, and the other columns of diabetes as floats."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, sex: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([self.embedding(sex).flatten(1), numbers / 50], dim=1))


class _EmbeddedWithin(_Embedded):
    """Read unknown positions as the nearest known one: the fix of `_Embedded`."""

    def forward(self, sex: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return super().forward(sex.clamp(0, 2), numbers)


class _OnlyEmbedded(nn.Module):  # type: ignore[misc]
    """Take all columns as whole numbers for an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(80, 2)
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, tenths: torch.Tensor) -> torch.Tensor:
        return self.layers(self.embedding(tenths).flatten(1))


class _Halved(nn.Module):  # type: ignore[misc]
    """Halve the hidden layer until it is small enough, which becomes a Loop."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = _Standardise("iris 0 1 2")
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(self.scale(x))
        while bool(h.abs().max() > 1):
            h = h * 0.5
        return self.last(h)


class _HalvedThrice(_Halved):
    """Halve the hidden layer three times: the fix of `_Halved`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(self.scale(x))
        for _ in range(3):
            h = h * 0.5
        return self.last(h)


class _Branched(nn.Module):  # type: ignore[misc]
    """Choose a layer by the mean of the rows, which becomes an If."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = _Standardise("iris 0 1 2")
        self.small, self.large = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.scale(x)
        return self.large(h) if bool(h.mean() > 0) else self.small(h)


class _ChosenByRow(_Branched):
    """Choose a layer for each row by its mean: the fix of `_Branched`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.scale(x)
        return torch.where(h.mean(dim=1, keepdim=True) > 0, self.large(h), self.small(h))


def _same(x: Any) -> Any:
    return x


def _net(data: str, outputs: int, *after: Any, hidden: int = 8, inside: Any = None) -> Any:
    layers = [nn.Linear(4, hidden), inside or nn.Identity(), nn.ReLU(), nn.Linear(hidden, outputs), *after]
    return nn.Sequential(_Standardise(data), *(each for each in layers if not isinstance(each, nn.Identity)))


def _iris(**around: Any) -> Callable[[], Any]:
    return lambda: _Around(_net("iris 0 1 2", 3), **around)


def _with_label(logits: Any) -> Any:
    probabilities = logits.softmax(dim=1)
    return probabilities.argmax(dim=1), probabilities


def _with_dictionary(logits: Any) -> Any:
    return {"logits": logits, "probabilities": logits.softmax(dim=1)}


def _float_column(y: Any) -> Any:
    return y.float()[:, None]


def _hundreds(y: Any) -> Any:
    return (y / 100).float().reshape(len(y), -1)


_cancer = partial(Net, data="cancer 0 1", target=_float_column)
_diabetes = partial(Net, data="diabetes", head="number", loss=functional.mse_loss, target=_hundreds)
_bce = functional.binary_cross_entropy
_bce_logits = functional.binary_cross_entropy_with_logits

NETS: dict[str, Net] = {
    "sigmoid": _cancer(make=lambda: _net("cancer 0 1", 1, nn.Sigmoid()), head="probability", loss=_bce),
    "logit": _cancer(make=lambda: _net("cancer 0 1", 1), head="logit", loss=_bce_logits),
    "sigmoid-squeezed": _cancer(
        make=lambda: _Around(_net("cancer 0 1", 1, nn.Sigmoid()), after=lambda out: out.squeeze(-1)),
        head="probability",
        loss=_bce,
        target=torch.Tensor.float,
    ),
    "two-logits": Net(make=lambda: _net("cancer 0 1", 2), data="cancer 0 1"),
    "logits": Net(make=lambda: _net("iris 0 1 2", 3)),
    "softmax": Net(
        make=lambda: _net("iris 0 1 2", 3, nn.Softmax(dim=1)),
        head="probabilities",
        loss=lambda p, y: functional.nll_loss((p + 1e-7).log(), y),
    ),
    "log-softmax": Net(
        make=lambda: _net("iris 0 1 2", 3, nn.LogSoftmax(dim=1)), head="log-probabilities", loss=functional.nll_loss
    ),
    "regression": _diabetes(make=lambda: _net("diabetes", 1)),
    "regression-squeezed": _diabetes(
        make=lambda: _Around(_net("diabetes", 1), after=lambda out: out.squeeze(-1)),
        target=lambda y: _hundreds(y).ravel(),
    ),
    "two-targets": _diabetes(make=lambda: _net("diabetes", 2), data="diabetes two targets", head="numbers"),
    "first-target": _diabetes(make=lambda: _net("diabetes", 1)),
    "hidden-64": Net(make=lambda: _net("iris 0 1 2", 3, hidden=64)),
    "two-hidden-64": Net(
        make=lambda: _net("iris 0 1 2", 3, hidden=64, inside=nn.Sequential(nn.ReLU(), nn.Linear(64, 64)))
    ),
    "batch-norm": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.BatchNorm1d(8)), example_rows=2),
    "batch-norm-train": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.BatchNorm1d(8)), mode="train", example_rows=2),
    "dropout": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.Dropout(0.3))),
    "dropout-train": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.Dropout(0.3)), mode="train"),
    "layer-norm": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.LayerNorm(8))),
    "gelu": Net(make=lambda: _net("iris 0 1 2", 3, inside=nn.GELU())),
    "view": Net(make=_iris(before=lambda x: x.contiguous().view(1, -1)), is_one_row=True),
    "view-per-row": Net(make=_iris(before=lambda x: x.contiguous().view(x.shape[0], -1))),
    "batch-mean": Net(make=_iris(before=lambda x: x - x.mean(dim=0, keepdim=True)), example_rows=8),
    "label-and-probabilities": Net(make=_iris(after=_with_label), head="label and probabilities"),
    "dictionary": Net(make=_iris(after=_with_dictionary), head="dictionary"),
    "threshold": _cancer(
        make=lambda: _Around(_net("cancer 0 1", 1), after=lambda out: out >= 0), head="label", loss=_bce_logits
    ),
    "double": Net(make=lambda: _net("iris 0 1 2", 3).double(), dtype=torch.float64),
    "embedding": Net(make=_OnlyEmbedded, data="iris tenths", integers=(0,)),
    "embedding-and-floats": _diabetes(make=_Embedded, inputs=((1,), (0, 2, 3)), integers=(0,)),
    "embedding-within": _diabetes(make=_EmbeddedWithin, inputs=((1,), (0, 2, 3)), integers=(0,)),
    "two-inputs": Net(make=_TwoInputs, inputs=((0, 1), (2, 3))),
    "eight-rows": Net(make=lambda: _net("iris 0 1 2", 3), example_rows=8),
    "branch": Net(make=_Branched, is_scripted=True),
    "where": Net(make=_ChosenByRow),
    "loop": Net(make=_Halved, is_scripted=True),
    "loop-unrolled": Net(make=_HalvedThrice),
    "arctangent": Net(make=lambda: _Around(_net("iris 0 1 2", 3), after=torch.atan)),
}
