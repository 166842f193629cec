"""What the figures show, that they leave matplotlib as it was, and that their parts do not overlap."""

import itertools
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from synthetic import BINNING, make_plane

from ibjax.errors import InputError
from ibjax.plane.summary import gradient_curves, mean_path, violations
from ibjax.plotting import (
    animate,
    gradient_figure,
    information_plane,
    plane_figure,
    save_all,
    snapshot_panel,
    training_curves,
)
from ibjax.plotting.animation import slug
from ibjax.plotting.information import snapshots_to_show
from ibjax.plotting.style import LAYER_COLORS, LAYER_MARKERS, VIOLATION_COLOR, epoch_norm

FIGURES = {
    "plane": lambda plane: information_plane(plane).figure,
    "snapshots": snapshot_panel,
    "plane and paths": lambda plane: plane_figure(plane, np.full((plane.sizes["replica"], plane.sizes["layer"]), 3.0)),
    "training": training_curves,
    "gradients": gradient_figure,
}
RUNS = {
    "one replica, two layers": {"replicas": 1, "layers": 2},
    "masked replicas, ten layers": {"replicas": 5, "layers": 10, "diverged": (0, 3)},
    "unfinished, no test set": {"replicas": 3, "measured": 9, "test_set": False},
    "first snapshot only": {"replicas": 3, "measured": 1},
}


def settings() -> dict:
    """Return matplotlib's settings; asking for the backend would select one."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def visible_texts(figure: Figure) -> list:
    """Return the texts and legends of a drawn figure that show anything."""
    parts = [text for axes in figure.axes for text in [axes.title, axes._left_title, *axes.texts]]
    parts += [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    parts += [legend for axes in figure.axes if (legend := axes.get_legend())]
    parts += [*figure.texts, *figure.legends, *([figure._suptitle] if figure._suptitle else [])]
    return [part for part in parts if part.get_visible() and getattr(part, "get_text", lambda: "x")() != ""]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_leaves_the_figure(name, run):
    before = settings()
    figure = FIGURES[name](make_plane(snapshots=20, **RUNS[run]))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert settings() == before
    boxes = [(part, part.get_window_extent(canvas.get_renderer())) for part in dict.fromkeys(visible_texts(figure))]
    assert len(boxes) > 5
    for part, box in boxes:
        assert figure.bbox.padded(1).contains(box.x0, box.y0), part
        assert figure.bbox.padded(1).contains(box.x1, box.y1), part
    for (part, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.padded(-1).overlaps(second.padded(-1)), (part, other)


def test_importing_selects_no_backend_and_changes_no_setting():
    code = """
import sys, matplotlib
settings = lambda: {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
import ibjax.plotting
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_differ_in_colour_and_marker():
    assert len(set(LAYER_COLORS)) == len(set(LAYER_MARKERS)) == 10


def test_the_plane_shows_the_mean_path_in_bits():
    plane = make_plane(5, 30, diverged=(2,))
    axes, path = information_plane(plane), mean_path(plane)
    lines = [line for line in axes.lines if line.get_color() in LAYER_COLORS]
    assert len(lines) == 6
    for layer, line in enumerate(lines):
        np.testing.assert_allclose(line.get_xdata(), path["complexity"][:, layer])
        np.testing.assert_allclose(line.get_ydata(), path["relevance"][:, layer])
    assert axes.get_xlabel() == "I(X;T) (bits)"
    assert axes.get_ylabel() == "I(T;Y) (bits)"


def test_the_plane_says_what_it_is():
    title = information_plane(make_plane(5, 30, measured=20, diverged=(2,))).get_title("left")
    for part in ("12-bit task", "4 of 5 networks alive", "unfinished: epoch", "of 10,000", BINNING):
        assert part in title.replace("\N{NO-BREAK SPACE}", " ")


def test_the_plane_rings_and_counts_every_violation():
    plane = make_plane(5, 30)
    axes, found = information_plane(plane), violations(plane)
    count = int((found["complexity"] | found["relevance"]).sum())
    rings = [ring for ring in axes.collections if np.allclose(ring.get_edgecolor()[:, :3], to_rgb(VIOLATION_COLOR))]
    assert count > 0
    assert [len(ring.get_offsets()) for ring in rings if len(ring.get_edgecolor())] == [count]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[-1] == f"data-processing violations: {count} of {found['complexity'].size}"


def test_the_legend_counts_no_violation_too():
    plane = make_plane(2, 20, 2, noise=0.0)
    plane["relevance"] = plane["relevance"] * 0
    labels = [text.get_text() for text in information_plane(plane).get_legend().get_texts()]
    assert labels == ["T1 (10)", "output (7)", f"data-processing violations: 0 of {2 * plane.sizes['snapshot']}"]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, {"H(X) = log₂ n = 12.00 bits", "I(X;Y) = 0.99, H(Y) = 1.00 bits"}),
        ({"entropy_x": math.nan, "information_xy": math.nan}, {"log₂ n = 12.00 bits", "H(Y) = 1.00 bits"}),
        ({"samples": 3276}, {"log₂ n = 11.68, H(X) = 12.00 bits", "I(X;Y) = 0.99, H(Y) = 1.00 bits"}),
    ],
)
def test_ceilings_carry_their_values(attrs, expected):
    plane = make_plane(2, 20).assign_attrs(attrs)
    assert {text.get_text() for text in information_plane(plane).texts} == expected


def test_colours_of_epochs_are_logarithmic_with_a_place_for_zero():
    scale = epoch_norm(10_000)(np.array([0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0]))
    assert scale[0] == 0.0
    assert scale[1] > 0.0
    np.testing.assert_allclose(np.diff(scale[1:]), (1 - scale[1]) / 4)


def test_the_caller_may_bring_axes():
    axes = Figure().add_subplot()
    assert information_plane(make_plane(1, 10), axes=axes) is axes


def test_snapshots_are_the_nearest_measured():
    epochs = np.array([0, 1, 5, 21, 90, 380, 1000, 10_000])
    assert snapshots_to_show(epochs) == [0, 5, 7]
    assert snapshots_to_show(epochs[:5]) == [0, 2, 4]
    assert snapshots_to_show(epochs[:1]) == [0]
    assert snapshots_to_show(epochs, [2, 0, 80]) == [0, 1, 4]


def test_snapshots_show_every_replica_and_layer():
    plane = make_plane(7, 20, 3, diverged=(1,))
    figure = snapshot_panel(plane, epochs=[0, 10_000])
    assert [axes.get_title() for axes in figure.axes] == ["epoch 0", "epoch 10,000"]
    for axes, snapshot in zip(figure.axes, (0, -1), strict=True):
        shown = np.stack([points.get_offsets()[:, 0] for points in axes.collections])
        bits = plane["complexity"].isel(estimator=0, snapshot=snapshot, replica=[0, 2, 3, 4, 5, 6]) / math.log(2)
        np.testing.assert_allclose(shown.T, bits, rtol=1e-6)


def test_training_shows_the_mean_loss_and_no_test_curve_without_test_samples():
    plane = make_plane(4, 20)
    loss, _ = training_curves(plane).axes
    assert [line.get_label() for line in loss.lines] == ["train", "test"]
    np.testing.assert_allclose(loss.lines[1].get_ydata(), plane["test_loss"].mean("replica"), rtol=1e-5)
    for axes in training_curves(make_plane(4, 20, test_set=False)).axes:
        assert [line.get_label() for line in axes.lines] == ["train"]


def test_training_has_bands_for_two_replicas_but_not_for_one():
    assert len(training_curves(make_plane(2, 20)).axes[0].collections) == 2
    assert len(training_curves(make_plane(1, 20)).axes[0].collections) == 0


@pytest.mark.parametrize(("variant", "floor"), [("ratio", 0.25), ("deck", 1.0), ("idnns", None)])
def test_gradients_show_the_variant_and_its_noise_floor(variant, floor):
    plane = make_plane(3, 20, 2)
    norms, ratio = gradient_figure(plane, variant=variant).axes
    curves = np.exp(np.log(gradient_curves(plane, variant)).mean("replica"))
    shown = [line.get_ydata() for line in norms.lines]
    expected = [curves[name][:, layer] for layer in range(2) for name in ("mean", "std")]
    np.testing.assert_allclose(shown, expected)
    assert [line.get_ydata()[0] for line in ratio.lines[2:]] == (
        []
        if floor is None
        else [
            floor,
        ]
    )
    labels = [text.get_text() for text in ratio.get_legend().get_texts()]
    assert labels[1:] == ([] if floor is None else [f"pure noise: {floor:g}"])


def test_the_animation_moves_and_keeps_the_layers_colours(tmp_path):
    path = animate(make_plane(3, 40, 10), tmp_path / "plane.gif", frames=7, fps=20)
    with Image.open(path) as film:
        assert film.n_frames == 7
        first = np.asarray(film.convert("RGB"))
        assert film.info["duration"] == 50
        film.seek(6)
        last = np.asarray(film.convert("RGB"))
        assert film.info["duration"] == 2000
    assert (first != last).any()
    assert tuple(last[0, 0]) == (255, 255, 255)
    seen = {tuple(color) for color in np.unique(last.reshape(-1, 3), axis=0)}
    assert {tuple(round(255 * part) for part in to_rgb(color)) for color in LAYER_COLORS} <= seen


def test_save_all_writes_and_reports_each_file(tmp_path):
    plane = make_plane(4, 30, estimators=(BINNING, "kernel:variance=0.1"), diverged=(3,))
    reported = []
    written = save_all(plane, tmp_path / "new" / "figures", progress=reported.append)
    names = [f"{name}.{kind}" for name in ("plane", "snapshots", "training", "gradients") for kind in ("png", "svg")]
    names += ["plane.gif", "plane-binning-bins=30-low=-1-high=1.png", "plane-kernel-variance=0.1.png"]
    assert [path.name for path in written] == names
    assert reported == written
    for path in written:
        assert 5_000 < path.stat().st_size < 1_000_000
        if path.suffix != ".svg":
            with Image.open(path) as image:
                image.verify()
        else:
            assert path.read_text().rstrip().endswith("</svg>")


def test_save_all_draws_recorded_activations_without_losses_and_gradients(tmp_path):
    plane = make_plane(1, 10, 2)[["complexity", "relevance", "alive"]]
    del plane.attrs["probe_batches"]
    written = save_all(plane, tmp_path)
    assert [path.name for path in written] == ["plane.png", "plane.svg", "snapshots.png", "snapshots.svg", "plane.gif"]


def test_the_cloud_of_replicas_is_rasterised(tmp_path):
    figure = information_plane(make_plane(50, 60)).figure
    figure.savefig(tmp_path / "plane.svg", dpi=120)
    assert (tmp_path / "plane.svg").stat().st_size < 1_000_000
    assert "<image" in (tmp_path / "plane.svg").read_text()


def test_conventions_that_differ_in_a_sign_get_different_files():
    assert slug("binning:low=-1") != slug("binning:low=1")


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_without_survivors_is_a_clear_error(name):
    plane = make_plane(2, 20)
    plane["alive"][:] = False
    with pytest.raises(InputError, match="all 2 replicas are masked"):
        FIGURES[name](plane)
