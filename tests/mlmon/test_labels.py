"""The meaning of labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmon.exceptions import LabelError
from mlmon.labels import class_of, number_of, truth_of
from mlmon.values import category_name

IRIS = ("setosa", "versicolor", "virginica")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_from_its_string(number: float) -> None:
    assert float(category_name(number)) == number
    assert number_of(category_name(number)) == number


@pytest.mark.parametrize(
    ("actual", "classes", "label"),
    [
        ("setosa", IRIS, "setosa"),
        ("1", ("0", "1"), "1"),
        ("1", ("0.0", "1.0"), "1.0"),
        ("1.0", ("0", "1"), "1"),
        ("true", ("0", "1"), "1"),
        ("true", ("False", "True"), "True"),
        ("FALSE", ("False", "True"), "False"),
        ("0", ("False", "True"), "False"),
        ("1", ("1", "1.0"), "1"),
    ],
)
def test_a_label_means_one_of_the_classes(actual: str, classes: tuple[str, ...], label: str) -> None:
    assert class_of(actual, classes) == label


@pytest.mark.parametrize(
    ("actual", "classes"),
    [
        ("Setosa", IRIS),
        ("setosa ", IRIS),
        ("2", ("0", "1")),
        ("01", ("1", "1.0")),
        ("1_0", ("10",)),
        ("nan", ("0", "1")),
    ],
)
def test_a_label_of_no_class_or_several_is_rejected(actual: str, classes: tuple[str, ...]) -> None:
    with pytest.raises(LabelError, match="is not one of the model's classes: "):
        class_of(actual, classes)


@pytest.mark.parametrize("actual", ["late", "true", "nan", "inf", "1_000", "1e999"])
def test_a_label_that_is_not_a_number_is_rejected(actual: str) -> None:
    with pytest.raises(LabelError, match="is not a finite number"):
        number_of(actual)


@pytest.mark.parametrize(
    ("label", "truth"), [("true", True), ("False", False), ("1", True), ("0.0", False), ("2", None), ("yes", None)]
)
def test_spellings_of_true_and_false(label: str, truth: bool | None) -> None:
    assert truth_of(label) is truth
