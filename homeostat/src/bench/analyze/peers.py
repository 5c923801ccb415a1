"""Peers of Analyze in Python, on the samples and series that the bench hands over as JSON; gives JSON. Each is as its authors
recommend it, and is called as a stream would call it: one sample at a time."""

import json
import sys
import time
from collections import deque

WINDOW = 240


def nanoseconds(observe, samples):
    """Per sample, after a tenth for warming up."""
    warm = len(samples) // 10
    for value in samples[:warm]:
        observe(value)
    began = time.process_time_ns()
    for value in samples[warm:]:
        observe(value)
    return (time.process_time_ns() - began) / (len(samples) - warm)


def detectors(samples):
    found = {}
    try:
        import numpy

        window = deque(maxlen=WINDOW)

        def z_score(value):
            past = numpy.fromiter(window, float) if window else numpy.zeros(1)
            window.append(value)
            return abs(value - past.mean()) / (past.std() or 1.0)

        found["numpy_windowed_z_score"] = nanoseconds(z_score, samples)
    except ImportError as error:
        found["missing"] = str(error)
    try:
        from river import anomaly, preprocessing

        scaler, trees = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=1)

        def half_space_trees(value):
            scaler.learn_one({"x": value})
            x = scaler.transform_one({"x": value})
            score = trees.score_one(x)
            trees.learn_one(x)
            return score

        found["river_half_space_trees"] = nanoseconds(half_space_trees, samples)
        gaussian = anomaly.GaussianScorer(window_size=WINDOW)

        def gaussian_scorer(value):
            score = gaussian.score_one(None, value)
            gaussian.learn_one(None, value)
            return score

        found["river_gaussian_scorer"] = nanoseconds(gaussian_scorer, samples)
    except ImportError as error:
        found["missing"] = str(error)
    return found


def mase(train, test, forecast, season):
    scale = sum(abs(a - b) for a, b in zip(train, train[season:])) / (len(train) - season)
    return sum(abs(a - b) for a, b in zip(test, forecast)) / len(test) / scale


def forecasts(series, season):
    """Milliseconds and MASE of fitting one series and forecasting the test's length with a 90 % interval, per model."""
    try:
        import numpy
        from statsforecast.models import MSTL, AutoETS, DynamicOptimizedTheta, SeasonalNaive
    except ImportError as error:
        return {"missing": str(error)}
    found = {}
    models = [SeasonalNaive(season), DynamicOptimizedTheta(season), AutoETS(season), MSTL([season, 7 * season])]
    for model in models:
        first = series[0]
        model.forecast(y=numpy.array(first["train"]), h=len(first["test"]), level=[90])  # compiles
        took, errors = 0.0, []
        for one in series:
            train = numpy.array(one["train"])
            began = time.process_time()
            answer = model.forecast(y=train, h=len(one["test"]), level=[90])
            took += time.process_time() - began
            errors.append(mase(one["train"], one["test"], answer["mean"].tolist(), season))
        name = "statsforecast_" + type(model).__name__
        found[name] = {"ms": 1e3 * took / len(series), "mase": sum(errors) / len(errors)}
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        task = json.load(file)
    found = {"detectors": detectors(task["samples"]), "forecasts": forecasts(task["series"], task["season"])}
    json.dump(found, sys.stdout)
