"""scikit-learn's estimators, exported with skl2onnx."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from onnx import helper
from skl2onnx import to_onnx
from sklearn import (
    calibration,
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    gaussian_process,
    linear_model,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.models_registry.zoo.datasets import DATASETS, Dataset
from tests.models_registry.zoo.entry import Entry, Recipes, package

_DISTANCES: dict[str, dict[str, Any] | None] = {"": None, "-cdist": {"optim": "cdist"}}
_make_attribute = helper.make_attribute


@dataclass(frozen=True, kw_only=True)
class Case:
    """An estimator, the data it is trained on, and how it is exported.

    ``options`` are skl2onnx's for this estimator, and ``opset`` its ``target_opset``; None leaves the defaults.
    ``dtype`` is that of the example rows, from which skl2onnx takes the type of the input. ``fixes`` names the refused
    model that this one replaces.
    """

    make: Callable[[], Any]
    data: str
    options: dict[str, Any] | None = None
    dtype: type = np.float32
    opset: dict[str, int] | None = None
    fixes: str | None = None


def recipes() -> Recipes:
    """Return a recipe for each case."""
    return {f"sklearn-{name}": partial(entry, case) for name, case in _cases()}


def entry(case: Case) -> Entry:
    """Train the estimator and return its entry."""
    data: Dataset = DATASETS[case.data]()
    estimator = case.make().fit(data.x, data.y)
    chosen = [f"{key}={value!r}" for key, value in (case.options or {}).items()]
    if case.opset:
        chosen.append(f"target_opset={case.opset}")
    rows = data.rows if case.dtype is np.float64 else data.rows.astype(case.dtype)

    def export(path: Path) -> None:
        with patch.object(helper, "make_attribute", _attribute):
            options = {id(estimator): case.options} if case.options is not None else None
            model = to_onnx(estimator, rows[:1], options=options, target_opset=case.opset)
        path.write_bytes(model.SerializeToString())

    return Entry(
        export=export,
        framework=package("scikit-learn"),
        exporter=package("skl2onnx"),
        options=f"{', '.join(chosen) or 'defaults'}; {np.dtype(case.dtype)} rows",
        features=data.features,
        rows=rows,
        fixes=case.fixes,
        **predicted(estimator, data.rows),
    )


def predicted(estimator: Any, rows: Any) -> dict[str, Any]:
    """Return the estimator's task, classes, predictions, probabilities and scores."""
    found: dict[str, Any] = {"predictions": estimator.predict(rows) if hasattr(estimator, "predict") else []}
    if is_classifier(estimator):
        found |= {"task": "classification", "classes": estimator.classes_}
        if hasattr(estimator, "predict_proba"):
            found["probabilities"] = estimator.predict_proba(rows)
        if hasattr(estimator, "decision_function"):
            found |= {"scores": estimator.decision_function(rows), "score_kind": "margins"}
    elif is_outlier_detector(estimator):
        scores = estimator.decision_function(rows)
        found |= {"task": "anomaly", "classes": [-1, 1], "scores": scores, "score_kind": "margins"}
        if hasattr(estimator, "score_samples"):
            found["score_samples"] = estimator.score_samples(rows)
    elif is_regressor(estimator):
        found["task"] = "regression"
    elif hasattr(estimator, "predict"):
        found |= {"task": "clustering", "scores": estimator.transform(rows), "score_kind": "distances"}
    else:
        found |= {"task": "transformer", "predictions": estimator.transform(rows)}
    return found


def _attribute(key: str, value: Any, *arguments: Any, **named: Any) -> Any:
    # skl2onnx 1.20 writes HistGradientBoosting's directions for missing values as a mix of integers and booleans,
    # which protobuf 6 and later refuse. Without this, the export fails.
    if isinstance(value, list) and any(isinstance(item, bool) for item in value):
        value = [int(item) for item in value]
    return _make_attribute(key, value, *arguments, **named)


def _scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


def _trees(kind: Any, **parameters: Any) -> Any:
    return kind(n_estimators=4, max_depth=3, random_state=0, **parameters)


def _boosted(kind: Any, **parameters: Any) -> Any:
    return kind(max_iter=6, max_leaf_nodes=6, min_samples_leaf=8, **parameters)


def _cases() -> Iterator[tuple[str, Case]]:
    yield from _options()
    yield from _labels()
    yield from _linear_classifiers()
    yield from _classifiers()
    yield from _regressors()
    yield from _others()


def _options() -> Iterator[tuple[str, Case]]:
    """The options of skl2onnx, each on one classifier of two classes and one of three."""
    options: dict[str, dict[str, Any] | None] = {
        "defaults": None,
        "no-zipmap": {"zipmap": False},
        "zipmap-columns": {"zipmap": "columns"},
        "nocl": {"nocl": True},
        "nocl-no-zipmap": {"nocl": True, "zipmap": False},
        "raw-scores": {"raw_scores": True, "zipmap": False},
        "raw-scores-zipmap": {"raw_scores": True},
        "class-labels": {"output_class_labels": True},
        "class-labels-no-zipmap": {"output_class_labels": True, "zipmap": False},
    }
    for name, chosen in options.items():
        yield f"logistic-2-{name}", Case(make=_logistic, data="cancer 0 1", options=chosen)
        yield f"logistic-3-strings-{name}", Case(make=_logistic, data="iris", options=chosen)
        if "class-labels" not in name:
            yield (
                f"forest-3-strings-{name}",
                Case(make=lambda: _trees(ensemble.RandomForestClassifier), data="iris", options=chosen),
            )
    for name in ("defaults", "zipmap-columns"):
        yield (
            f"logistic-scaled-{name}",
            Case(make=lambda: _scaled(linear_model.LogisticRegression()), data="cancer", options=options[name]),
        )
    yield "logistic-3-double", Case(make=_logistic, data="iris", dtype=np.float64)
    yield (
        "logistic-3-double-no-zipmap",
        Case(
            make=_logistic,
            data="iris",
            options={"zipmap": False},
            dtype=np.float64,
            fixes="sklearn-logistic-3-double",
        ),
    )
    yield "forest-3-double", Case(make=lambda: _trees(ensemble.RandomForestClassifier), data="iris", dtype=np.float64)
    yield (
        "tree-decision-path",
        Case(
            make=lambda: tree.DecisionTreeClassifier(max_depth=3, random_state=0),
            data="iris",
            options={"decision_path": True},
        ),
    )


def _logistic() -> Any:
    return linear_model.LogisticRegression(max_iter=3000)


def _labels() -> Iterator[tuple[str, Case]]:
    """Labels of each kind."""
    for name, data in {
        "2-10": "cancer 2 10",
        "minus-1-1": "cancer -1 1",
        "bool": "cancer bool",
        "2-strings": "cancer",
        "2-9-10": "iris 2 9 10",
        "0-1-2": "iris 0 1 2",
    }.items():
        for option, chosen in {"": None, "-no-zipmap": {"zipmap": False}}.items():
            yield f"logistic-labels-{name}{option}", Case(make=_logistic, data=data, options=chosen)
        yield (
            f"forest-labels-{name}",
            Case(make=lambda: _trees(ensemble.RandomForestClassifier), data=data),
        )
        yield f"qda-labels-{name}", Case(make=discriminant_analysis.QuadraticDiscriminantAnalysis, data=data)


def _linear_classifiers() -> Iterator[tuple[str, Case]]:
    """Linear models and support vector machines, of two classes and of three."""
    makers: dict[str, Callable[[], Any]] = {
        "logistic-cv": lambda: linear_model.LogisticRegressionCV(
            Cs=3, cv=3, max_iter=3000, l1_ratios=(0,), use_legacy_attributes=False
        ),
        "sgd-hinge": lambda: _scaled(linear_model.SGDClassifier(random_state=0)),
        "sgd-log": lambda: _scaled(linear_model.SGDClassifier(loss="log_loss", random_state=0)),
        "sgd-modified-huber": lambda: _scaled(linear_model.SGDClassifier(loss="modified_huber", random_state=0)),
        "linear-svc": lambda: svm.LinearSVC(random_state=0),
        "ridge": linear_model.RidgeClassifier,
        "perceptron": lambda: _scaled(linear_model.Perceptron(random_state=0)),
        "passive-aggressive": lambda: _scaled(linear_model.PassiveAggressiveClassifier(random_state=0)),
        "svc": svm.SVC,
        "svc-probability": lambda: svm.SVC(probability=True, random_state=0),
        "nu-svc": lambda: svm.NuSVC(nu=0.2),
        "nu-svc-probability": lambda: svm.NuSVC(nu=0.2, probability=True, random_state=0),
    }
    for name, make in makers.items():
        yield f"{name}-2", Case(make=make, data="cancer")
        yield f"{name}-3", Case(make=make, data="iris 2 9 10")
    yield "linear-svc-2-no-zipmap", Case(make=makers["linear-svc"], data="cancer 0 1", options={"zipmap": False})
    yield "ridge-2-no-zipmap", Case(make=makers["ridge"], data="cancer", options={"zipmap": False})
    yield "sgd-hinge-2-bare", Case(make=lambda: linear_model.SGDClassifier(random_state=0), data="cancer 0 1")
    yield (
        "sgd-log-2-bare-no-zipmap",
        Case(
            make=lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
            data="iris",
            options={"zipmap": False},
        ),
    )
    yield "svc-2-no-zipmap", Case(make=svm.SVC, data="cancer 2 10", options={"zipmap": False})
    yield "svc-2-raw-scores", Case(make=svm.SVC, data="cancer", options={"raw_scores": True, "zipmap": False})
    yield "svc-3-raw-scores", Case(make=svm.SVC, data="iris", options={"raw_scores": True, "zipmap": False})
    yield "svc-3-ovo", Case(make=lambda: svm.SVC(decision_function_shape="ovo"), data="iris")
    yield "svc-3-strings", Case(make=svm.SVC, data="iris")


def _classifiers() -> Iterator[tuple[str, Case]]:
    """Trees, naive Bayes, neighbours, and estimators that contain others."""
    voters = [
        ("lr", linear_model.LogisticRegression(max_iter=3000)),
        ("tree", tree.DecisionTreeClassifier(max_depth=2, random_state=0)),
        ("nb", naive_bayes.GaussianNB()),
    ]
    makers: dict[str, Callable[[], Any]] = {
        "tree": lambda: tree.DecisionTreeClassifier(max_depth=3, random_state=0),
        "extra-trees": lambda: _trees(ensemble.ExtraTreesClassifier),
        "gradient-boosting": lambda: _trees(ensemble.GradientBoostingClassifier),
        "hist-gradient-boosting": lambda: _boosted(ensemble.HistGradientBoostingClassifier),
        "adaboost": lambda: ensemble.AdaBoostClassifier(n_estimators=4, random_state=0),
        "bagging": lambda: ensemble.BaggingClassifier(
            tree.DecisionTreeClassifier(max_depth=2), n_estimators=3, random_state=0
        ),
        "voting-hard": lambda: ensemble.VotingClassifier(voters, flatten_transform=False),
        "voting-soft": lambda: ensemble.VotingClassifier(voters, voting="soft", flatten_transform=False),
        "stacking": lambda: ensemble.StackingClassifier(voters[1:], _logistic(), cv=3),
        "gaussian-nb": naive_bayes.GaussianNB,
        "multinomial-nb": naive_bayes.MultinomialNB,
        "complement-nb": naive_bayes.ComplementNB,
        "lda": discriminant_analysis.LinearDiscriminantAnalysis,
        "qda": discriminant_analysis.QuadraticDiscriminantAnalysis,
        "knn": neighbors.KNeighborsClassifier,
        "mlp": lambda: _scaled(neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=400, random_state=0)),
        "calibrated-sigmoid": lambda: calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
        "calibrated-isotonic": lambda: calibration.CalibratedClassifierCV(
            naive_bayes.GaussianNB(), method="isotonic", cv=2
        ),
        "calibrated-linear-svc": lambda: calibration.CalibratedClassifierCV(svm.LinearSVC(random_state=0), cv=2),
        "one-vs-rest": lambda: multiclass.OneVsRestClassifier(_logistic()),
        "one-vs-one": lambda: multiclass.OneVsOneClassifier(_logistic()),
        "one-vs-rest-linear-svc": lambda: multiclass.OneVsRestClassifier(svm.LinearSVC(random_state=0)),
    }
    for name, make in makers.items():
        yield f"{name}-2", Case(make=make, data="cancer 0 1")
        yield f"{name}-3", Case(make=make, data="iris")
    yield "one-vs-one-3-integers", Case(make=makers["one-vs-one"], data="iris 0 1 2", fixes="sklearn-one-vs-one-3")
    yield "output-code-3", Case(make=lambda: multiclass.OutputCodeClassifier(_logistic(), random_state=0), data="iris")
    yield "voting-hard-3-defaults", Case(make=lambda: ensemble.VotingClassifier(voters), data="iris")
    yield "bernoulli-nb-3", Case(make=naive_bayes.BernoulliNB, data="iris binary columns")
    hist = makers["hist-gradient-boosting"]
    yield "hist-gradient-boosting-2-missing", Case(make=hist, data="cancer missing")
    yield "hist-gradient-boosting-3-missing", Case(make=hist, data="iris missing")
    knn = neighbors.KNeighborsClassifier
    yield "knn-3-no-zipmap", Case(make=knn, data="iris 2 9 10", options={"zipmap": False})
    yield "knn-3-cdist", Case(make=knn, data="iris", options={"optim": "cdist"})
    yield "knn-3-distance", Case(make=lambda: knn(weights="distance"), data="iris")
    yield "knn-3-distance-cdist", Case(make=lambda: knn(weights="distance"), data="iris", options={"optim": "cdist"})
    yield "knn-3-manhattan", Case(make=lambda: knn(p=1), data="iris")
    yield "radius-neighbors-3", Case(make=lambda: neighbors.RadiusNeighborsClassifier(2.0), data="iris")
    for name, data in {"2": "cancer 40", "3": "iris 40"}.items():
        for option, chosen in _DISTANCES.items():
            yield (
                f"gaussian-process-{name}{option}",
                Case(make=gaussian_process.GaussianProcessClassifier, data=data, options=chosen),
            )


def _regressors() -> Iterator[tuple[str, Case]]:
    makers: dict[str, Callable[[], Any]] = {
        "linear-regression": linear_model.LinearRegression,
        "ridge-regression": linear_model.Ridge,
        "lasso": linear_model.Lasso,
        "elastic-net": linear_model.ElasticNet,
        "bayesian-ridge": linear_model.BayesianRidge,
        "svr": svm.SVR,
        "linear-svr": lambda: _scaled(svm.LinearSVR(random_state=0)),
        "nu-svr": svm.NuSVR,
        "tree-regressor": lambda: tree.DecisionTreeRegressor(max_depth=3, random_state=0),
        "forest-regressor": lambda: _trees(ensemble.RandomForestRegressor),
        "gradient-boosting-regressor": lambda: _trees(ensemble.GradientBoostingRegressor),
        "hist-gradient-boosting-regressor": lambda: _boosted(ensemble.HistGradientBoostingRegressor),
        "hist-gradient-boosting-poisson": lambda: _boosted(ensemble.HistGradientBoostingRegressor, loss="poisson"),
        "adaboost-regressor": lambda: ensemble.AdaBoostRegressor(n_estimators=4, random_state=0),
        "voting-regressor": lambda: ensemble.VotingRegressor(
            [("ridge", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=2, random_state=0))]
        ),
        "knn-regressor": neighbors.KNeighborsRegressor,
        "knn-regressor-distance": lambda: neighbors.KNeighborsRegressor(weights="distance"),
        "mlp-regressor": lambda: _scaled(
            neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=400, random_state=0)
        ),
        "poisson-regressor": lambda: _scaled(linear_model.PoissonRegressor()),
        "gamma-regressor": lambda: _scaled(linear_model.GammaRegressor()),
        "tweedie-regressor": lambda: _scaled(linear_model.TweedieRegressor(power=1.5)),
        "huber-regressor": lambda: linear_model.HuberRegressor(max_iter=1000),
        "transformed-target": lambda: TransformedTargetRegressor(
            linear_model.LinearRegression(), func=np.log, inverse_func=np.exp
        ),
        "pls-regression": PLSRegression,
    }
    for name, make in makers.items():
        yield name, Case(make=make, data="diabetes")
    yield (
        "hist-gradient-boosting-regressor-missing",
        Case(make=makers["hist-gradient-boosting-regressor"], data="diabetes missing"),
    )
    for option, chosen in _DISTANCES.items():
        yield (
            f"gaussian-process-regressor{option}",
            Case(
                make=lambda: gaussian_process.GaussianProcessRegressor(
                    gaussian_process.kernels.RBF(50.0), alpha=10.0, normalize_y=True
                ),
                data="diabetes 40",
                options=chosen,
            ),
        )
    yield "knn-regressor-cdist", Case(make=makers["knn-regressor"], data="diabetes", options={"optim": "cdist"})
    yield "linear-regression-double", Case(make=makers["linear-regression"], data="diabetes", dtype=np.float64)
    yield "linear-regression-two-targets", Case(make=makers["linear-regression"], data="diabetes two targets")
    yield "forest-regressor-two-targets", Case(make=makers["forest-regressor"], data="diabetes two targets")
    yield (
        "linear-regression-first-target",
        Case(make=makers["linear-regression"], data="diabetes", fixes="sklearn-linear-regression-two-targets"),
    )


def _others() -> Iterator[tuple[str, Case]]:
    """Anomaly detectors, clusterers and transformers."""
    scores: dict[str, Any] = {"": None, "-score-samples": {"score_samples": True}}
    for option, chosen in scores.items():
        yield (
            f"isolation-forest{option}",
            Case(make=_isolation_forest, data="iris", options=chosen, opset={"": 17, "ai.onnx.ml": 3}),
        )
        yield (
            f"local-outlier-factor{option}",
            Case(make=lambda: neighbors.LocalOutlierFactor(n_neighbors=10, novelty=True), data="iris", options=chosen),
        )
    yield (
        "local-outlier-factor-cdist",
        Case(
            make=lambda: neighbors.LocalOutlierFactor(n_neighbors=10, novelty=True),
            data="iris",
            options={"optim": "cdist"},
        ),
    )
    yield "isolation-forest-defaults", Case(make=_isolation_forest, data="iris")
    yield "one-class-svm", Case(make=lambda: svm.OneClassSVM(nu=0.2), data="iris")
    yield "one-class-svm-scaled", Case(make=lambda: _scaled(svm.OneClassSVM(nu=0.2)), data="iris")
    yield (
        "sgd-one-class-svm",
        Case(make=lambda: _scaled(linear_model.SGDOneClassSVM(nu=0.2, random_state=0)), data="iris"),
    )
    yield "kmeans", Case(make=lambda: cluster.KMeans(3, n_init=1, random_state=0), data="iris")
    yield "pca", Case(make=lambda: decomposition.PCA(2), data="iris")
    yield "standard-scaler", Case(make=StandardScaler, data="iris")


def _isolation_forest() -> Any:
    return ensemble.IsolationForest(n_estimators=5, max_samples=32, contamination=0.2, random_state=0)
