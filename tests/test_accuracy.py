"""The runner of the accuracy benchmark: its numbers, what it resumes from, what it skips, and the page."""

import accuracy
import accuracy_page
import numpy as np
import pytest
from accuracy import COLUMNS, ESTIMATORS, Cell
from tasks import TASKS

CELL = Cell("table-10x10", 200, "plugin-none", 4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "accuracy.csv"


def test_numbers_are_those_of_a_loop():
    task, estimator = TASKS[CELL.task], ESTIMATORS[CELL.estimator].estimator
    values = [float(estimator(*task.sample(np.random.default_rng([seed, 200]), 200)).value) for seed in range(4)]
    found = accuracy.measure(CELL)
    np.testing.assert_allclose(found["mean"], np.mean(values), atol=1e-6)
    np.testing.assert_allclose(found["bias"], np.mean(values) - task.truth, atol=1e-6)
    np.testing.assert_allclose(found["deviation"], np.std(values, ddof=1), atol=1e-6)
    assert found["deviation"] > 0.01
    assert found["seconds"] > 0
    assert found["std_error"] > 0
    assert 0 < found["coverage_of_mean"] <= 1


def test_summary():
    """Of four values with the mean 0 and the truth 1: one bar is too short for the mean, three for the truth."""
    found = accuracy.summary(np.array([-1.0, -0.1, 0.1, 1.0]), np.array([0.6, 0.1, 0.1, 0.5]), 1.0)
    assert found["bias"] == found["mean"] - 1 == -1
    assert found["coverage_of_mean"] == 0.75
    assert found["coverage_of_truth"] == 0.25
    np.testing.assert_allclose(found["std_error"], 0.325)
    np.testing.assert_allclose(found["deviation"], np.sqrt(2.02 / 3))
    assert np.isnan(accuracy.summary(np.ones(1), None, 0.0)["deviation"])


def test_estimators_measure_what_they_are_meant_for():
    measured = {(cell.task, cell.estimator) for cell in accuracy.cells(list(TASKS), list(ESTIMATORS), [1000], 1)}
    assert {task for task, _ in measured} == set(TASKS)
    assert {estimator for _, estimator in measured} == set(ESTIMATORS)
    assert ("table-10x10", "ksg-3") not in measured
    assert ("normal-1+1", "kernel-upper") not in measured
    assert ("normal-dense-3+3", "binning-10") not in measured


def test_lines_are_read_back(path):
    assert accuracy.read(path) == {}
    numbers = {"mean": 0.5, "bias": 1 / 3}
    accuracy.append(path, [accuracy.line(CELL, {"skipped": "over 1 s"})])
    accuracy.append(path, [accuracy.line(CELL._replace(n=300), numbers), accuracy.line(CELL, numbers)])
    found = accuracy.read(path)
    assert list(found) == [CELL, CELL._replace(n=300)]
    assert tuple(found[CELL]) == COLUMNS
    assert (found[CELL]["bias"], found[CELL]["skipped"], found[CELL]["kind"]) == ("0.333333", "", "discrete")


def test_a_torn_line_is_dropped(path):
    accuracy.drop_torn_line(path)
    accuracy.append(path, [accuracy.line(CELL, {"mean": 1.0})])
    whole = path.read_text()
    for torn in (whole + "table-10x", whole):
        path.write_text(torn)
        accuracy.drop_torn_line(path)
        assert path.read_text() == whole


def test_slow_and_failing_cells_say_why(monkeypatch):
    with accuracy.Worker(time_limit=0.01) as worker:
        assert worker.measure(CELL) == {"skipped": "over 0.01 s"}

    def fails(cell):
        raise ValueError(f"{cell.task}\nsecond line")

    class Pool:
        def apply_async(self, function, arguments):
            return self

        def get(self, timeout):
            return fails(CELL)

        def terminate(self):
            pass

    monkeypatch.setattr(accuracy.Worker, "_start", lambda self: setattr(self, "_pool", Pool()))
    with accuracy.Worker(time_limit=1) as worker:
        assert worker.measure(CELL) == {"skipped": "ValueError: table-10x10"}


def test_selection():
    assert accuracy.selected(["a-1", "b", "a-2"], ["b", "a-*"]) == ["a-1", "b", "a-2"]
    with pytest.raises(SystemExit, match="nothing is called c, only a-1, b"):
        accuracy.selected(["a-1", "b"], ["c"])


def rows():
    numbers = {"mean": 0.4, "bias": -0.02, "deviation": 0.05, "std_error": 0.04}
    covered = {"coverage_of_mean": 0.9, "coverage_of_truth": 0.85, "seconds": 1.0}
    lines = [
        (Cell("normal-1+1", 1000, "gaussian", 20), numbers | covered),
        (Cell("normal-1+1", 1000, "gaussian", 3), numbers | {"bias": 0.7}),
        (Cell("normal-1+1", 1000, "ksg-3", 20), numbers | {"bias": 0.001}),
        (Cell("normal-1+1", 10_000, "gaussian", 20), numbers | covered | {"bias": 0.3}),
        (Cell("table-10x10", 1000, "plugin-nsb", 20), {"skipped": "over 300 s"}),
    ]
    return [{name: str(accuracy.line(*one).get(name, "")) for name in COLUMNS} for one in lines]


def test_page():
    text = accuracy_page.page(rows())
    assert "| normal-1+1 | 0.413 | 0 ± 0.05 | −0.02 ± 0.05 |" in text
    assert "| normal-1+1 | 0.413 | 0.90, 0.85 |" in text
    assert "| normal-1+1 | 0.413 | 0.90, biased |" in text
    assert "* table-10x10, plugin-nsb, n = 1000: over 300 s" in text
    assert text.index("n = 10,000: bias") < text.index("n = 1,000: bias")
    assert "0.70" not in text


def test_picture(tmp_path):
    found = accuracy_page.figure(rows())
    found.savefig(tmp_path / "figure.png")
    panels = [{text.get_text() for text in ax.texts} for ax in found.axes]
    assert panels[:4] == [{"0", "−0.02"}, {"+0.30"}, {"–"}, set()]
    assert [ax.get_title()[:8] for ax in found.axes[:2]] == ["n = 1,00", "n = 10,0"]
