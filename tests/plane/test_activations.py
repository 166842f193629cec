"""Activations that another framework recorded: measured as a run's are, or refused with the reason."""

import functools
import gc
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.estimators import Binning
from ibjax.plane import VARIABLES, from_activations, masked, read_activations, summary_table

N, EPOCHS = 60, [0, 2, 9]


def recording(seed=0) -> tuple[list[np.ndarray], np.ndarray]:
    """Two layers of three and two units at three epochs, and three classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, N)
    first = np.tanh(rng.normal(size=(3, N, 3)) + y[:, None] * np.array([0, 1, 2])[:, None, None])
    return [first.astype(np.float32), np.maximum(first[:, :, :2] * 3, 0).astype(np.float32)], y


LAYERS, Y = recording()
P = np.random.default_rng(1).dirichlet([1, 1, 1], N)
EVERY = (Binning(bins=6, range="layer"), Binning(bins=6, range="run"), Binning(rule="bits"))


@pytest.fixture(scope="module", params=["labels", "p(y|x)"])
def labels(request):
    return {"labels": None, "p(y|x)": P}[request.param]


@pytest.fixture(scope="module")
def many(labels):
    return from_activations(LAYERS, Y, estimators=EVERY, p_y_given_x=labels, epochs=EPOCHS, title="mine")


@pytest.mark.slow
def test_many_epochs_are_each_estimator_s_own_numbers(many, labels):
    y = jnp.asarray(Y if labels is None else labels.astype(np.float32))
    assert dict(many.sizes) == {"estimator": 3, "replica": 1, "snapshot": 3, "layer": 2}
    for number, estimator in enumerate(EVERY):
        for depth, t in enumerate(LAYERS):
            # The range of a recording is that of all its epochs.
            measure = jax.jit(functools.partial(estimator.layer, labels=y, span=(t.min(), t.max())))
            for row in range(3):
                wanted = measure(jnp.asarray(t[row]))
                found = many.isel(estimator=number, replica=0, snapshot=row, layer=depth)
                np.testing.assert_allclose(found["complexity"], wanted.complexity, atol=2e-6)
                np.testing.assert_allclose(found["relevance"], wanted.relevance, atol=2e-6)
    assert len(np.unique(many["complexity"].values.round(4))) > 8


def test_a_recording_is_labelled_like_a_run(many, labels):
    assert many["epoch"].values.tolist() == EPOCHS
    assert many["estimator"].values.tolist() == [str(estimator) for estimator in EVERY]
    assert many["layer_name"].values.tolist() == ["T1", "output"]
    assert many["width"].values.tolist() == [3, 2]
    assert many["alive"].values.all()
    assert set(many.data_vars) == {"complexity", "relevance", "alive"}
    data = from_arrays(np.zeros((N, 1)), Y, labels)
    assert many.attrs["title"] == "mine"
    assert many.attrs["units"] == "nats"
    assert many.attrs["samples"] == N
    assert many.attrs["entropy_x"] == pytest.approx(np.log(N))
    assert many.attrs["entropy_y"] == data.entropy_y
    known = data.mutual_information
    assert many.attrs["information_xy"] == known if known is not None else np.isnan(many.attrs["information_xy"])
    assert masked(many) == (0, 0, 0, 9)
    assert [row.name for row in summary_table(many)] == ["T1", "output"]


def test_one_epoch():
    one = from_activations([t[1] for t in LAYERS], Y, estimators=EVERY[2:])
    stacked = from_activations([t[1:2] for t in LAYERS], Y, estimators=EVERY[2:])
    xr.testing.assert_identical(one, stacked)
    assert one["epoch"].values.tolist() == [0]
    for depth, t in enumerate(LAYERS):
        wanted = jax.jit(EVERY[2].layer)(jnp.asarray(t[1]), jnp.asarray(Y))
        assert float(one["complexity"][0, 0, 0, depth]) == pytest.approx(float(wanted.complexity), abs=2e-6)


def test_by_default_thirty_bins_over_each_layer_s_own_range():
    plane = from_activations([t[0] for t in LAYERS], Y)
    assert plane["estimator"].values.tolist() == ["binning:bins=30,range=layer"]
    scaled = from_activations([1000 * t[0] - 7 for t in LAYERS], Y)
    np.testing.assert_allclose(plane["complexity"], scaled["complexity"], atol=0.05)
    assert plane["complexity"].values.min() > 1


def test_epochs_count_from_zero_by_default():
    assert from_activations(LAYERS, Y)["epoch"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint8])
def test_any_real_numbers(dtype):
    whole = np.arange(N * 2).reshape(N, 2) % 11
    estimators = [Binning(rule="bits")]
    found = from_activations([whole.astype(dtype)], Y, estimators=estimators)
    wanted = from_activations([whole.astype(np.float32)], Y, estimators=estimators)
    np.testing.assert_array_equal(found["complexity"], wanted["complexity"])
    assert float(found["complexity"].values.squeeze()) == pytest.approx(np.log(11), abs=0.01)


GOOD = [LAYERS[0][0], LAYERS[1][0]]


def changed(array, row, value):
    array = array.astype(type(value) if isinstance(value, complex) else array.dtype)
    array[row] = value
    return array


WRONG = {
    "no layers": ({"activations": []}, "no activations: give one array a layer"),
    "flat": ({"activations": [GOOD[0][:, 0]]}, r"layer 1 has shape \(60,\): every layer must be \(n, units\)"),
    "rows": ({"activations": [GOOD[0], GOOD[1][:-1]]}, r"layer 2 has shape \(59, 2\)"),
    "epochs of layers": ({"activations": [LAYERS[0], GOOD[1]]}, r"layer 2 has shape \(60, 2\)"),
    "no units": ({"activations": [GOOD[0][:, :0]]}, r"layer 1 has shape \(60, 0\)"),
    "no rows": ({"activations": [GOOD[0][:0]]}, r"layer 1 has shape \(0, 3\)"),
    "nan": ({"activations": [GOOD[0], changed(GOOD[1], 7, np.nan)]}, "layer 2 has a value that is not finite.*row 7"),
    "inf": (
        {"activations": [np.stack([GOOD[0], changed(GOOD[0], 4, np.inf)])], "epochs": [0, 5]},
        "layer 1 has a value that is not finite at epoch 1, row 4",
    ),
    "words": ({"activations": [np.full((N, 2), "a")]}, "layer 1 must be real numbers, got <U1"),
    "complex": ({"activations": [changed(GOOD[0], 3, 1j)]}, "layer 1 must be real numbers, got complex"),
    "too large": ({"activations": [GOOD[0].astype(float) * 1e300]}, "layer 1 .*(float32|finite|large)"),
    "labels short": ({"y": Y[:-1]}, r"\(59,\)"),
    "labels in a column": ({"y": Y[:, None]}, r"y .*\(60, 1\)"),
    "labels not integers": ({"y": Y.astype(float)}, "labels y must be integers, got float64"),
    "labels negative": ({"y": Y - 1}, "labels must count from 0, got -1 at row"),
    "no distribution": ({"p_y_given_x": P * 2}, "row 0 of p_y_given_x is no distribution"),
    "distribution rows": ({"p_y_given_x": P[:-1]}, r"p_y_given_x must be \(n, classes\)"),
    "distribution in words": ({"p_y_given_x": np.full((N, 3), "a")}, "p_y_given_x must be numbers"),
    "epochs short": ({"epochs": [0, 1]}, r"epochs must be 1 increasing whole numbers from 0, .* got \[0, 1\]"),
    "epochs falling": ({"activations": LAYERS, "epochs": [0, 2, 1]}, r"epochs must be 3 increasing.*\[0, 2, 1\]"),
    "epochs equal": ({"activations": LAYERS, "epochs": [0, 2, 2]}, "epochs must be 3 increasing"),
    "epochs negative": ({"activations": LAYERS, "epochs": [-1, 0, 2]}, "epochs must be 3 increasing"),
    "epochs broken": ({"activations": LAYERS, "epochs": [0.5, 1.5, 2.5]}, "epochs must be"),
    "epochs in words": ({"activations": LAYERS, "epochs": ["a", "b", "c"]}, "epochs must be"),
    "epochs nested": ({"activations": LAYERS, "epochs": [[0, 1, 2]]}, "epochs must be"),
    "epochs unknown": ({"activations": LAYERS, "epochs": [0.0, float("nan"), 2.0]}, "epochs must be"),
    "epochs one number": ({"epochs": 0}, "epochs must be"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.usefixtures("unchecked")
def test_wrong_recordings_are_named(case):
    settings, message = WRONG[case]
    settings = {"activations": GOOD, "y": Y} | settings
    with pytest.raises(InputError, match=message) as raised:
        from_activations(settings.pop("activations"), settings.pop("y"), **settings)
    assert "\n" not in str(raised.value)


# Files -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_in_the_order_of_its_layers(tmp_path):
    layers = {f"t{depth}": np.full((4, depth), depth) for depth in range(11, 0, -1)}
    np.savez(tmp_path / "mine.npz", **layers, y=np.arange(4), epochs=np.array([3]), t_mean=np.ones(2))
    found, others = read_activations(tmp_path / "mine.npz")
    assert [t.shape[1] for t in found] == list(range(1, 12))
    assert set(others) == {"y", "epochs", "t_mean"}
    np.testing.assert_array_equal(others["y"], np.arange(4))


def test_a_missing_layer_is_no_layer_less(tmp_path):
    np.savez(tmp_path / "mine.npz", t1=GOOD[0], t3=GOOD[0], y=Y)
    with pytest.raises(InputError, match=r"without gaps, it has t1, t3"):
        read_activations(tmp_path / "mine.npz")


def test_a_compressed_file(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", t1=GOOD[0], y=Y)
    (found,), _ = read_activations(str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(found, GOOD[0])


def write(path, what):
    """Write a file that read_activations must refuse."""
    match what:
        case "text":
            path.write_text("t1 = 3")
        case "empty":
            path.write_bytes(b"")
        case "one array":
            with path.open("wb") as file:
                np.save(file, GOOD[0])
        case "objects":
            np.savez(path, t1=np.array([GOOD[0], None], object), y=Y)
        case "no y":
            np.savez(path, t1=GOOD[0])
        case "no layer":
            np.savez(path, y=Y, layer=GOOD[0])
        case "nothing":
            np.savez(path)
        case "folder":
            path.mkdir()
        case _:
            np.savez(path, t1=GOOD[0], y=Y)
            content = bytearray(path.read_bytes())
            if what == "cut":
                path.write_bytes(content[: len(content) // 2])
            elif what == "flipped":
                content[300] ^= 1
                path.write_bytes(content)
            elif what == "method":
                content[content.index(b"PK\x01\x02") + 10] = 0x63
                path.write_bytes(content)
            elif what == "encrypted":
                content[content.index(b"PK\x01\x02") + 8] |= 1
                path.write_bytes(content)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        *((what, "is no NumPy .npz archive of plain arrays: make it with numpy.savez") for what in (
            "text", "empty", "one array", "objects", "cut", "flipped", "method", "encrypted", "folder",
        )),
        ("missing", r"does not exist: save one with numpy\.savez\(path, t1="),
        ("no y", r"must hold t1, t2, \.\.\. and y, it has t1$"),
        ("no layer", r"must hold t1, t2, \.\.\. and y, it has y, layer$"),
        ("nothing", r"must hold t1, t2, \.\.\. and y, it has nothing$"),
    ],
)  # fmt: skip
def test_files_that_are_refused(what, message, tmp_path):
    path = tmp_path / "mine.npz"
    if what != "missing":
        write(path, what)
    with pytest.raises(InputError, match=message) as raised:
        read_activations(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


class Bomb:
    """An object whose unpickling would be noticed."""

    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["t1", "y", "other"])
def test_nothing_is_unpickled(name, tmp_path):
    np.savez(tmp_path / "mine.npz", **({"t1": GOOD[0], "y": Y} | {name: np.array([Bomb()], object)}))
    with pytest.raises(InputError, match="is no NumPy"):
        read_activations(tmp_path / "mine.npz")
    assert not Bomb.exploded


def test_a_damaged_file_is_closed(tmp_path):
    write(tmp_path / "mine.npz", "cut")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError):
            read_activations(tmp_path / "mine.npz")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_variables_of_a_recording_are_described(many):
    for name in many.data_vars:
        assert many[name].dims == VARIABLES[name].dims
        assert many[name].attrs == {"units": VARIABLES[name].units, "long_name": VARIABLES[name].long_name}
