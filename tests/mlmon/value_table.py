"""What a value means, as a table: types of features x values x entry points.

Each cell states the stored value or the reason of the error. The values of a row are one value in the spellings of CSV,
Parquet and JSON, so all entry points must agree on them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest

from mlmon.schema import Feature, FeatureKind, TensorType

ABSENT = object()  # the key of a JSON row, or nothing to try for an entry point
FLOATS, WHOLE = ("float32", "float64"), ("int32", "int64")
NUMBERS = (*FLOATS, *WHOLE, "bool")
TYPES = (*NUMBERS, "string")
Stored: TypeAlias = float | str | None


class Refused(str):
    """The reason of an error."""

    __slots__ = ()


@dataclass(frozen=True)
class Value:
    """One value in each spelling, and what each type of feature makes of it; a type that is not named is not tried."""

    meaning: str
    stored: Mapping[str, Stored]
    csv: tuple[str, ...] = ()
    arrow: tuple[Any, ...] = ()
    json: tuple[Any, ...] = ()


def of(*groups: tuple[tuple[str, ...] | str, Any]) -> dict[str, Any]:
    """Return what is stored by type, from groups of types."""
    return {kind: stored for kinds, stored in groups for kind in ([kinds] if isinstance(kinds, str) else kinds)}


def expected(number: str, whole: str, boolean: str, string: str) -> dict[str, Refused]:
    """Return the refusal of a value by each type, given how the messages show it."""
    return of(
        (FLOATS, Refused(f"expected a number, got {number}")),
        (WHOLE, Refused(f"expected a whole number, got {whole}")),
        ("bool", Refused(f"expected true or false, got {boolean}")),
        ("string", Refused(f"expected a string or a whole number, got {string}")),
    )


def a_string(text: str, *, arrow: bool = True) -> Value:
    """Return a string that is no number and no boolean, for every type."""
    got = json.dumps(text, ensure_ascii=False)
    return Value(
        f"the string {got}",
        expected(got, got, got, got) | {"string": text},
        arrow=(pa.array([text]),) if arrow else (),
        json=(text,),
    )


BEYOND = Refused("9007199254740993 is beyond 2^53, the largest exact whole number")
BEYOND_NEGATIVE = Refused("-9007199254740993 is beyond 2^53, the largest exact whole number")
TOO_LONG = Refused("the string is longer than 1,000 characters")
NUL = Refused("the string contains a NUL character")
NOT_BOOLEAN = "expected true or false, got "
NOT_WHOLE = "expected a whole number, got "

VALUES = [
    Value(
        "missing",
        dict.fromkeys(TYPES),
        csv=("",),
        arrow=(pa.nulls(1), pa.nulls(1, pa.float64()), pa.nulls(1, pa.string()), pa.nulls(1, pa.bool_())),
        json=(None, ABSENT),
    ),
    Value(
        "missing, as CSV spells it in a column of numbers",
        dict.fromkeys(NUMBERS),
        csv=("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", " NA "),
    ),
    *(
        Value(f"the string {text}, a category", {"string": text}, csv=(text,), arrow=(pa.array([text]),), json=(text,))
        for text in (
            "NA",
            "N/A",
            "NaN",
            "NULL",
            "null",
            "None",
            "true",
            "TRUE",
            "7.0",
            "007",
            " a ",
            "é",
            "日本",
            "1e5",
        )
    ),
    *(a_string(text) for text in ("a", "NA", "None", "true", "1", "1.5", "", "é")[:6]),
    Value("the empty string", {"string": None}, csv=("", '""'), arrow=(pa.array([""]),), json=("",)),
    Value(
        "the empty string for a number",
        {kind: stored for kind, stored in expected('""', '""', '""', "").items() if kind != "string"},
        arrow=(pa.array([""]),),
        json=("",),
    ),
    Value("true", dict.fromkeys(NUMBERS, 1.0), csv=("true", "True", "TRUE"), arrow=(pa.array([True]),), json=(True,)),
    Value(
        "false", dict.fromkeys(NUMBERS, 0.0), csv=("false", "False", "FALSE"), arrow=(pa.array([False]),), json=(False,)
    ),
    Value(
        "true for a string",
        {"string": Refused("expected a string or a whole number, got true")},
        arrow=(pa.array([True]),),
        json=(True,),
    ),
    Value("1", dict.fromkeys(NUMBERS, 1.0) | {"string": "1"}, ("1",), (pa.array([1]), pa.array([1], pa.uint8())), (1,)),
    Value("0", dict.fromkeys(NUMBERS, 0.0) | {"string": "0"}, ("0",), (pa.array([0]),), (0,)),
    Value(
        "1.0",
        dict.fromkeys(NUMBERS, 1.0),
        ("1.0", " 1.0", "1e0"),
        (pa.array([1.0]), pa.array([Decimal("1.0")])),
        (1.0,),
    ),
    Value("1.0 for a string", {"string": "1"}, arrow=(pa.array([1.0]), pa.array([Decimal("1.0")])), json=(1.0,)),
    Value("-0.0 for a string", {"string": "0"}, arrow=(pa.array([-0.0]),), json=(-0.0,)),
    Value(
        "3.0",
        of(((*FLOATS, *WHOLE), 3.0), ("bool", Refused(f"{NOT_BOOLEAN}3.0"))),
        csv=("3.0", "3.00", "30e-1"),
        arrow=(pa.array([3.0]), pa.array([3.0], pa.float32())),
        json=(3.0,),
    ),
    Value("-7", of(((*FLOATS, *WHOLE), -7.0), ("string", "-7")), ("-7",), (pa.array([-7]),), (-7,)),
    Value("2 for a boolean", {"bool": Refused(f"{NOT_BOOLEAN}2")}, csv=("2",), arrow=(pa.array([2]),), json=(2,)),
    Value(
        "2.5",
        of((FLOATS, 2.5), (WHOLE, Refused(f"{NOT_WHOLE}2.5")), ("bool", Refused(f"{NOT_BOOLEAN}2.5"))),
        ("2.5", "2.50"),
        (pa.array([2.5]), pa.array([2.5], pa.float16())),
        (2.5,),
    ),
    Value(
        "2.5 for a string",
        {"string": Refused("expected a string or a whole number, got 2.5")},
        arrow=(pa.array([2.5]),),
        json=(2.5,),
    ),
    Value(
        "2**53",
        of(((*FLOATS, "int64"), 2.0**53), ("string", "9007199254740992")),
        ("9007199254740992",),
        (pa.array([2**53]),),
        (2**53,),
    ),
    Value(
        "2**53 + 1",
        of((FLOATS, 2.0**53), ("int64", BEYOND), ("string", "9007199254740993")),
        ("9007199254740993",),
        (pa.array([2**53 + 1]), pa.array([2**53 + 1], pa.uint64())),
        (2**53 + 1,),
    ),
    Value(
        "-(2**53) - 1",
        of((FLOATS, -(2.0**53)), ("int64", BEYOND_NEGATIVE), ("string", "-9007199254740993")),
        ("-9007199254740993",),
        (pa.array([-(2**53) - 1]),),
        (-(2**53) - 1,),
    ),
    Value(
        "2**31",
        of(((*FLOATS, "int64"), 2.0**31), ("int32", Refused("2147483648 is beyond the range of int32"))),
        ("2147483648",),
        (pa.array([2**31]),),
        (2**31,),
    ),
    Value(
        "the largest 64-bit number",
        {
            "string": "18446744073709551615",
            "int64": Refused("18446744073709551615 is beyond 2^53, the largest exact whole number"),
        },
        ("18446744073709551615",),
        (pa.array([2**64 - 1], pa.uint64()),),
        (2**64 - 1,),
    ),
    Value(
        "1e300",
        {"float64": 1e300, "float32": Refused("1e+300 is beyond the range of float32")},
        ("1e+300",),
        (pa.array([1e300]),),
        (1e300,),
    ),
    Value(
        "a whole number that no float64 holds",
        {"string": Refused("expected a string or a whole number, got 1e+300")},
        arrow=(pa.array([1e300]),),
        json=(1e300,),
    ),
    Value("NaN", dict.fromkeys(TYPES), arrow=(pa.array([np.nan]),)),
    Value("infinity", of((FLOATS, np.inf)), csv=("inf", "Infinity"), arrow=(pa.array([np.inf]),)),
    Value("-infinity", of((FLOATS, -np.inf)), csv=("-inf",), arrow=(pa.array([-np.inf]),)),
    Value(
        "infinity for a whole number",
        of(
            (WHOLE, Refused(f"{NOT_WHOLE}inf")),
            ("bool", Refused(f"{NOT_BOOLEAN}inf")),
            ("string", Refused("expected a string or a whole number, got inf")),
        ),
        arrow=(pa.array([np.inf]),),
    ),
    Value(
        "a string of 1,000 characters", {"string": "é" * 1000}, ("é" * 1000,), (pa.array(["é" * 1000]),), ("é" * 1000,)
    ),
    Value(
        "a string of 1,001 characters", {"string": TOO_LONG}, ("é" * 1001,), (pa.array(["é" * 1001]),), ("é" * 1001,)
    ),
    Value(
        "a string of 10,000 characters",
        {"string": TOO_LONG},
        ("x" * 10_000,),
        (pa.array(["x" * 10_000]),),
        ("x" * 10_000,),
    ),
    Value("a NUL character", {"string": NUL}, arrow=(pa.array(["a\0b"]),), json=("a\0b",)),
    Value("a list", expected("a list", "a list", "a list", "a list"), json=([1], [])),
    Value("an object", expected("an object", "an object", "an object", "an object"), json=({"a": 1}, {})),
    Value(
        "no number",
        of(
            (FLOATS, Refused('expected a number, got "1,5"')),
            (WHOLE, Refused(f'{NOT_WHOLE}"1,5"')),
            ("bool", Refused(f'{NOT_BOOLEAN}"1,5"')),
        ),
        csv=('"1,5"',),
        arrow=(pa.array(["1,5"]),),
        json=("1,5",),
    ),
    Value(
        "a dictionary",
        {"string": "a"},
        arrow=(
            pa.array(["a"]).dictionary_encode(),
            pa.array(["a"], pa.large_string()),
            pa.array(["a"], pa.string_view()),
            pa.array([b"a"]),
        ),
    ),
]


def cells() -> Iterator[Any]:
    """Yield each cell: an entry point, a value in its spelling, a type, and what is stored."""
    for value in VALUES:
        for kind, stored in value.stored.items():
            for spelling in value.csv:
                yield pytest.param(
                    "csv", spelling, kind, stored, id=f"{kind}-{value.meaning[:40]}-csv {spelling[:20]!r}"
                )
            for entry_point in ("parquet", "arrow"):
                for array in value.arrow:
                    yield pytest.param(
                        entry_point, array, kind, stored, id=f"{kind}-{value.meaning[:40]}-{entry_point} {array.type}"
                    )
            for given in value.json:
                yield pytest.param(
                    "object", given, kind, stored, id=f"{kind}-{value.meaning[:40]}-object {given!r:.20}"
                )
                if given is not ABSENT:
                    yield pytest.param(
                        "list", given, kind, stored, id=f"{kind}-{value.meaning[:40]}-list {given!r:.20}"
                    )


def feature(name: str, kind: str, *, is_required: bool = False) -> Feature:
    tensor_type = TensorType(kind)
    feature_kind = FeatureKind.CATEGORICAL if kind == "string" else FeatureKind.NUMERIC
    return Feature(name, feature_kind, is_required, name, 0, tensor_type)
