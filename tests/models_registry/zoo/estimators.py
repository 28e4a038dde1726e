"""The scikit-learn estimators of the zoo, the data that they are trained on, and how they are exported."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn import (
    calibration,
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    gaussian_process,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_DISTANCES: dict[str, dict[str, Any] | None] = {"": None, "-cdist": {"optim": "cdist"}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An estimator, the data it is trained on, and how it is exported.

    ``options`` are skl2onnx's for this estimator, and ``opset`` its ``target_opset``; None leaves the defaults.
    ``dtype`` is that of the example rows, from which skl2onnx takes the type of the input. ``batch``
    fixes the number of rows. ``fixes`` names the refused model that this one replaces.
    """

    make: Callable[[], Any]
    data: str
    options: dict[str, Any] | None = None
    dtype: type = np.float32
    opset: dict[str, int] | int | None = None
    batch: int | None = None
    fixes: str | None = None


def cases() -> Iterator[tuple[str, Case]]:
    """Yield each case with its name."""
    yield from _options()
    yield from _labels()
    yield from _linear_classifiers()
    yield from _classifiers()
    yield from _regressors()
    yield from _others()


def _scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


def _trees(kind: Any, **parameters: Any) -> Any:
    return kind(n_estimators=4, max_depth=3, random_state=0, **parameters)


def _boosted(kind: Any, **parameters: Any) -> Any:
    return kind(max_iter=6, max_leaf_nodes=6, min_samples_leaf=8, **parameters)


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
        yield f"logistic-3-strings-{name}", Case(make=_logistic, data="iris", options=chosen)
    for name in ("defaults", "no-zipmap", "zipmap-columns", "raw-scores"):
        yield f"logistic-2-{name}", Case(make=_logistic, data="cancer 0 1", options=options[name])
        yield f"forest-3-strings-{name}", Case(make=_forest, data="iris", options=options[name])
    boosting = partial(_trees, ensemble.GradientBoostingClassifier)
    yield "gradient-boosting-3-raw-scores", Case(make=boosting, data="iris", options=options["raw-scores"])
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
    yield "logistic-3-one-row", Case(make=_logistic, data="iris", batch=1)
    yield "logistic-3-eight-rows", Case(make=_logistic, data="iris", batch=8)
    yield "linear-regression-one-row", Case(make=linear_model.LinearRegression, data="diabetes", batch=1)
    yield "knn-3-one-row", Case(make=neighbors.KNeighborsClassifier, data="iris", batch=1)
    yield "logistic-3-integers", Case(make=_logistic, data="iris tenths strings", dtype=np.int64)
    for opset in (9, 12):
        yield f"forest-3-opset-{opset}", Case(make=_forest, data="iris", opset=opset)
    yield "forest-3-double", Case(make=_forest, data="iris", dtype=np.float64)
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


def _forest() -> Any:
    return _trees(ensemble.RandomForestClassifier)


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
        yield f"logistic-labels-{name}", Case(make=_logistic, data=data)
        yield f"qda-labels-{name}", Case(make=discriminant_analysis.QuadraticDiscriminantAnalysis, data=data)
    no_zipmap = {"zipmap": False}
    yield "logistic-labels-bool-no-zipmap", Case(make=_logistic, data="cancer bool", options=no_zipmap)
    yield "logistic-labels-2-9-10-no-zipmap", Case(make=_logistic, data="iris 2 9 10", options=no_zipmap)
    yield "forest-labels-bool", Case(make=_forest, data="cancer bool")
    yield "forest-labels-2-10", Case(make=_forest, data="cancer 2 10")


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
        if name not in ("logistic-cv", "passive-aggressive", "nu-svc"):
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
    raw = {"raw_scores": True, "zipmap": False}
    yield "svc-2-raw-scores", Case(make=svm.SVC, data="cancer", options=raw, fixes="sklearn-svc-2")
    yield "svc-3-raw-scores", Case(make=svm.SVC, data="iris", options=raw)
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
        "grid-search": lambda: model_selection.GridSearchCV(_logistic(), {"C": [0.1, 1.0]}, cv=3),
        "one-vs-rest-linear-svc": lambda: multiclass.OneVsRestClassifier(svm.LinearSVC(random_state=0)),
    }
    for name, make in makers.items():
        yield f"{name}-2", Case(make=make, data="cancer 0 1")
        if name not in ("extra-trees", "bagging", "multinomial-nb", "calibrated-linear-svc", "grid-search"):
            yield f"{name}-3", Case(make=make, data="iris")
    yield "one-vs-one-3-integers", Case(make=makers["one-vs-one"], data="iris 0 1 2", fixes="sklearn-one-vs-one-3")
    tuned = partial(model_selection.TunedThresholdClassifierCV, scoring="recall", cv=3)
    yield "tuned-threshold-2", Case(make=lambda: tuned(_logistic()), data="cancer 0 1")
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
        "stacking-regressor": lambda: ensemble.StackingRegressor(
            [("ridge", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=2, random_state=0))], cv=3
        ),
        "quantile-regressor": lambda: linear_model.QuantileRegressor(alpha=0.01),
        "ransac-regressor": lambda: linear_model.RANSACRegressor(random_state=0),
        "sgd-regressor": lambda: _scaled(linear_model.SGDRegressor(random_state=0)),
        "hist-gradient-boosting-gamma": lambda: _boosted(ensemble.HistGradientBoostingRegressor, loss="gamma"),
        "hist-gradient-boosting-absolute-error": lambda: _boosted(
            ensemble.HistGradientBoostingRegressor, loss="absolute_error"
        ),
        "gradient-boosting-huber": lambda: _trees(ensemble.GradientBoostingRegressor, loss="huber"),
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
    yield "gaussian-mixture", Case(make=lambda: mixture.GaussianMixture(3, random_state=0), data="iris")
    yield (
        "multi-output-classifier",
        Case(make=lambda: multioutput.MultiOutputClassifier(_logistic()), data="iris two labels"),
    )
    yield "multi-label-knn", Case(make=neighbors.KNeighborsClassifier, data="iris two labels")
    yield (
        "multi-label-knn-no-zipmap",
        Case(make=neighbors.KNeighborsClassifier, data="iris two labels", options={"zipmap": False}),
    )
    yield "multi-label-forest", Case(make=lambda: _trees(ensemble.RandomForestClassifier), data="iris two labels")
    yield "standard-scaler", Case(make=StandardScaler, data="iris")


def _isolation_forest() -> Any:
    return ensemble.IsolationForest(n_estimators=5, max_samples=32, contamination=0.2, random_state=0)
