"""Parts of one study, run apart, become the store that one run would have made, or the reason why not is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ibjax.errors import InputError
from ibjax.sweep import merge, open_run, store, verify
from ibjax.sweep.lock import hold


def without(folder, *chunks):
    """Take chunks out of a run, as if they were never begun."""
    made = store.reopen(folder)
    made.note(status=store.UNFINISHED)
    for chunk in chunks:
        made.forget(chunk, list(made.parts), training=True)
        store.record_file(folder, chunk).unlink()
    return folder


@pytest.fixture
def other(folder, tmp_path):
    """Another copy of the whole run."""
    return Path(shutil.copytree(folder, tmp_path / "other"))


def attribute(folder, **changes):
    store.reopen(folder).note(**changes)


def refused(folders, out, *words):
    """What is refused leaves nothing behind, and says why in one line."""
    before = out.exists()
    with pytest.raises(InputError) as raised:
        merge(folders, out)
    text = str(raised.value)
    assert "\n" not in text
    for word in words:
        assert str(word) in text
    assert out.exists() == before
    assert not out.with_name(out.name + ".part").exists()


def test_disjoint_chunks_become_one_run(folder, other, tmp_path, assert_same):
    out = tmp_path / "new" / "out"
    found = merge([without(folder, 1), without(other, 0, 2)], out)
    assert found.attrs["status"] == "finished"
    assert_same(out)
    assert verify(out) == ()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    np.testing.assert_array_equal(found["complexity"], open_run(out)["complexity"])


def test_fewer_replicas_and_more_become_the_most(small, folder, tmp_path, assert_same):
    small.run(tmp_path / "three", small.study(replicas=3))
    small.run(tmp_path / "two", small.study(replicas=2))
    # Replicas 0 and 1 are in all three; the second chunk of the run of three lacks one.
    merge([tmp_path / "two", tmp_path / "three", folder], tmp_path / "out")
    assert_same(tmp_path / "out")
    part = merge([tmp_path / "two", without(folder, 0, 1)], tmp_path / "part")
    assert part.attrs["status"] == "unfinished"
    assert part["complexity"].notnull().all(["estimator", "snapshot", "layer"]).values.tolist() == [1, 1, 0, 0, 1]
    # A chunk that lacks a replica is not whole.
    part = merge([tmp_path / "three", folder], tmp_path / "lacking")
    assert part["complexity"].notnull().all(["estimator", "snapshot", "layer"]).values.tolist() == [1, 1, 0, 0, 1]


def test_what_is_not_whole_goes_on(small, folder, begun, tmp_path, assert_same):
    out = tmp_path / "out"
    merge([begun, without(folder, 0, 1)], out)
    assert verify(out) == ()
    small.trained.clear()
    small.run(out, resume=True)
    assert small.trained == []  # the second chunk goes on from its state
    assert_same(out)


def test_the_one_that_has_come_furthest_is_taken(small, folder, begun, tmp_path, assert_same):
    for number, folders in enumerate([(begun, folder), (folder, begun)]):
        merge(folders, tmp_path / str(number))
        assert_same(tmp_path / str(number))


def test_times_are_added_and_machines_told_where_they_differ(folder, other, tmp_path):
    attrs = merge([folder, other], tmp_path / "same").attrs
    assert "merged_from" not in attrs
    one = json.loads(open_run(folder).attrs["seconds"])
    assert json.loads(attrs["seconds"]) == {name: pytest.approx(2 * value, abs=2e-3) for name, value in one.items()}
    attribute(other, device="another")
    found = merge([folder, other], tmp_path / "out")
    assert [part["device"] for part in json.loads(found.attrs["merged_from"])] == [found.attrs["device"], "another"]


def test_different_studies_are_refused_with_what_differs(folder, other, tmp_path):
    config = json.loads(open_run(other).attrs["config"])
    attribute(other, config={**config, "learning_rate": 0.25, "seed": 4})
    refused([folder, other], tmp_path / "out", folder, other, "learning_rate 0.05 -> 0.25", "seed 3 -> 4")


def test_chunks_that_should_be_the_same_and_differ_are_refused(folder, other, tmp_path):
    made = store.reopen(other)
    loss = made.read("train_loss", 1)
    loss[0, 2] += 1e-6
    made.put("train_loss", 1, slice(0, loss.shape[1]), loss)
    made.commit(1)
    assert verify(other) == ()
    refused([folder, other], tmp_path / "out", "train_loss of replicas 2-3", "differs between", folder, other)


def test_damaged_stores_are_refused(folder, other, tmp_path):
    (other / "results.zarr/alive/c/0/0").unlink()
    refused([folder, other], tmp_path / "out", other, "alive, replicas 0-1", "missing", "--resume")


def test_stores_of_other_versions_are_refused(folder, other, tmp_path):
    attribute(other, format=store.FORMAT + 1)
    refused([folder, other], tmp_path / "out", other, f"has layout {store.FORMAT + 1}", "update ibjax")
    attributes = other / store.RESULTS / "zarr.json"
    attributes.write_text(attributes.read_text().replace(f'"format": {store.FORMAT + 1}', '"format": 1'))
    refused([folder, other], tmp_path / "out", other, "has layout 1")


def test_stores_that_are_measured_otherwise_are_refused(folder, other, tmp_path):
    store.reopen(without(other, 0)).add_estimators(["binning:bins=5"])
    refused([folder, other], tmp_path / "out", "binning:bins=5", "ibjax measure")
    shutil.rmtree(other)
    shutil.copytree(folder, other)
    shutil.rmtree(other / store.PARAMETERS)
    refused([folder, other], tmp_path / "out", "keeps its parameters")


def test_a_store_that_is_written_is_refused(folder, other, tmp_path):
    with hold(other):
        refused([folder, other], tmp_path / "out", other, "is being written by process")


def test_where_the_result_may_not_go(folder, other, tmp_path):
    refused([folder], tmp_path / "out", "two folders or more, got 1")
    refused([folder, other], other, other, "is not empty")
    refused([folder, tmp_path / "none"], tmp_path / "out", "holds no run")
    (tmp_path / "file").write_text("")
    refused([folder, other], tmp_path / "file", "choose another folder")
    (tmp_path / "empty").mkdir()
    merge([folder, other], tmp_path / "empty")
    assert verify(tmp_path / "empty") == ()


def test_a_merge_that_was_killed_is_made_anew(folder, other, tmp_path, monkeypatch, assert_same):
    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            merge([folder, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merge([folder, other], tmp_path / "out")
    assert_same(tmp_path / "out")
    assert not (tmp_path / "out.part").exists()
