"""How far confidence is from the share of right predictions."""

import numpy as np
from numpy.typing import NDArray

BINS = 10


def expected_calibration_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Return the mean distance of confidence and accuracy over ten bins of equal width, weighted by their rows.

    The definition of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017), equation 3:
    bin m holds the predictions with a confidence in ((m-1)/10, m/10].

    Parameters
    ----------
    confidence
        Probability of the predicted class, shape (n,), in [0, 1]; n > 0.
    is_right
        Whether the prediction was the true class, shape (n,).
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    distance = np.bincount(bins, weights=confidence - is_right, minlength=BINS)  # rows times (confidence - accuracy)
    return float(np.abs(distance).sum() / len(confidence))
