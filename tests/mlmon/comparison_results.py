"""Results of comparisons, written by hand: small ones, and one with everything."""

from collections.abc import Sequence

from mlmon.results import (
    Badge,
    Channel,
    ComparisonResult,
    Distribution,
    FeatureResult,
    HypothesisResult,
    JointChange,
    Measure,
    Method,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    Test,
    Verdict,
    VerdictStatus,
)
from mlmon.schema import FeatureKind

WINDOW_ROWS = 1000


def values_of(name: str, p_value: float, effect: float = 0.3, *, is_listed: bool = False) -> HypothesisResult:
    """Return the hypothesis about a feature's values."""
    return HypothesisResult(
        channel=Channel.DISTRIBUTION,
        name=name,
        p_value=p_value,
        effect=effect,
        passes_gate=True,
        window_rows=WINDOW_ROWS,
        is_listed=is_listed,
        test=Test.LOCATION,
        alpha=2.5e-6,
    )


def judged(
    status: VerdictStatus,
    hypotheses: Sequence[HypothesisResult] = (),
    *,
    window_rows: tuple[int, ...] = (WINDOW_ROWS,),
) -> ComparisonResult:
    """Return a comparison with this verdict, and a feature for each hypothesis about values."""
    return ComparisonResult(
        n_reference=10_000,
        n_current=window_rows[0],
        features=tuple(FeatureResult(one.name, FeatureKind.NUMERIC, 0.15, verdict=one) for one in hypotheses),
        prediction=PredictionResult(threshold=0.1),
        verdict=Verdict(status, window_rows=window_rows, hypotheses=len(hypotheses) * len(window_rows)),
    )


NUMBERS = FeatureResult(
    name="distance",
    kind=FeatureKind.NUMERIC,
    threshold=0.15,
    method=Method.WASSERSTEIN,
    score=0.1 + 0.2,  # not 0.3: the last digit counts
    is_drifted=True,
    statistic=1 / 3,
    p_value=5e-324,
    reference_mean=-1.7976931348623157e308,
    current_mean=1041.5,
    n_reference=9_990,
    n_current=995,
    n_missing_reference=10,
    n_missing_current=5,
    measures={
        Method.KOLMOGOROV_SMIRNOV: Measure(1 / 3),
        Method.JENSEN_SHANNON_DISTANCE: Measure(0.1, {"bins": 15, "width": 2.5, "rule": "sturges"}),
        Method.POPULATION_STABILITY_INDEX: Measure(float("inf"), {"bins": 10}),
        Method.HELLINGER: Measure(None),
    },
    distribution=Distribution(
        (), (0.0, 0.1, 4983.0), (9000, 990), (900, 95), (0.0, 1 / 3, 2.0, 3.0, 4983.0), (0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    verdict=HypothesisResult(
        channel=Channel.DISTRIBUTION,
        name="distance",
        p_value=1.6e-19,
        effect=0.31,
        passes_gate=True,
        window_rows=500,
        dispersion=1.25,
        is_alarm=True,
        is_listed=True,
        test=Test.LOCATION,
        alpha=2.5e-5 / 3,
        gate=0.15,
        degrees_of_dispersion=812.5,
        outcome="median",
        reference_value=1040.25,
        current_value=1 / 3,
    ),
    missing_verdict=HypothesisResult(
        channel=Channel.MISSING_VALUES,
        name="distance",
        p_value=0.5,
        effect=-0.004,
        passes_gate=False,
        window_rows=1000,
        test=Test.MISSING,
        alpha=2.5e-5 / 3,
        gate=0.02,
    ),
    smallest_visible={Test.LOCATION: 0.19, Test.TAILS: 1 / 30},
    quality=(QualityFinding(QualityEvent.OUT_OF_RANGE, 3, 0.003, "above 4,963", is_notable=False),),
)
LEVELS = FeatureResult(
    name="dest",
    kind=FeatureKind.CATEGORICAL,
    threshold=0.2,
    method=Method.CHI_SQUARED,
    score=0.05,
    distribution=Distribution(("zrh", "Ärger 中", "other"), (), (5, 3, 2), (1, 0, 9)),
    no_verdict_reason="The reference is too short for the verdict.",
    quality=(
        QualityFinding(QualityEvent.UNSEEN_CATEGORIES, 60, 0.06, "ABQ, ACK", is_notable=True),
        QualityFinding(QualityEvent.MISSING_VALUES, 1, 0.001, "", is_notable=False),
    ),
)
BROKEN = FeatureResult(
    name="hour", kind=FeatureKind.NUMERIC, threshold=0.15, status=ResultStatus.TYPE_CHANGED, status_detail="text"
)
WITH_EVERYTHING = ComparisonResult(
    n_reference=10_000,
    n_current=1000,
    features=(NUMBERS, LEVELS, BROKEN),
    prediction=PredictionResult(
        threshold=0.1,
        js_divergence=0.0125,
        chi2_statistic=8.5,
        p_value=0.014,
        reference_dist={"late": 0.25, "in time": 0.75},  # not in the order of the alphabet
        current_dist={"late": 0.3, "in time": 0.7},
        verdict=HypothesisResult(
            channel=Channel.PREDICTION,
            name="",
            p_value=0.014,
            effect=0.08,
            passes_gate=False,
            window_rows=1000,
            test=Test.CATEGORIES,
            alpha=2.5e-5,
            outcome="late",
            reference_value=0.25,
            current_value=0.3,
        ),
    ),
    verdict=Verdict(
        status=VerdictStatus.ALARM,
        false_alarm_budget=10_000,
        closest="distance",
        alpha=2.5e-5 / 3,
        hypotheses=18,
        smallest_p_value=1.6e-19,
        window_rows=(1000, 500),
        badges=(Badge.BURSTY, Badge.SMALL_REFERENCE, Badge.INSUFFICIENT_REFERENCE),
    ),
    correlations=(
        HypothesisResult(
            channel=Channel.CORRELATION,
            name="distance",
            other_name="air_time",
            p_value=1e-8,
            effect=-2.75,
            passes_gate=True,
            window_rows=1000,
            is_alarm=True,
            is_listed=True,
            test=Test.CORRELATION,
            alpha=2.5e-5,
            degrees_of_dispersion=333.0,
            outcome="correlation",
            reference_value=0.99,
            current_value=-0.1,
        ),
    ),
    joint_change=JointChange(0.71, 2e-30, ("distance", "dest")),
)
