"""What the figures of the bottleneck show: the dataset's numbers in bits, and nothing that overlaps."""

import itertools

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ibjax.bottleneck import Transition, curve
from ibjax.errors import InputError
from ibjax.plotting import cluster_tree, encoder_heatmap, information_curve, save_curve
from ibjax.plotting.bottleneck import BEYOND_COLOR, CURVE_COLOR, TRANSITION_LOOK

LN2 = np.log(2)
NAN = np.nan


def make_curve(**attrs) -> xr.Dataset:
    """A made-up curve of two labels: one cluster, then two, then three of which the middle one is new."""
    beta = np.array([1.0, 1.9, 2.1, 4.0, 4.1, 8.0])
    complexity = np.array([0.0, 0.0, 0.2, 0.5, 0.8, 1.0]) * LN2
    relevance = np.array([0.0, 0.0, 0.1, 0.23, 0.31, 0.35]) * LN2
    rate = np.linspace(0, 1.25, 41) * LN2
    lower = np.interp(rate, [*complexity[1:], 1.25 * LN2], [*relevance[1:], 0.36 * LN2])
    position = np.full((6, 3), NAN)
    position[:2, 0] = 0.5
    position[2:4, :2] = [[0.45, 0.56], [0.2, 0.8]]
    position[4:] = [[0.15, 0.55, 0.85], [0.1, 0.5, 0.9]]
    marginal = np.array([[1, 0, 0], [1, 0, 0], [0.4, 0.6, 0], [0.5, 0.5, 0], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]])
    parent = np.array([[-1, -1, -1], [0, -1, -1], [0, 0, -1], [0, 1, -1], [0, 1, 1], [0, 1, 2]])
    encoder = np.zeros((6, 4, 3))
    encoder[..., 0] = 1
    encoder[4:] = [[0.2, 0.1, 0.7], [1.0, 0, 0], [0.1, 0.8, 0.1], [0, 0.3, 0.7]]
    return xr.Dataset(
        {
            "complexity": ("beta", complexity),
            "relevance": ("beta", relevance),
            "clusters": ("beta", [1, 1, 2, 2, 3, 3]),
            "lower_curve": ("rate", lower),
            "upper_curve": ("rate", np.minimum(lower + 0.03 * (rate > 0.6 * LN2) * (rate < 0.9 * LN2), 0.36 * LN2)),
            "position": (("beta", "cluster"), position),
            "marginal": (("beta", "cluster"), marginal),
            "parent": (("beta", "cluster"), parent),
            "encoder": (("beta", "x", "cluster"), encoder),
            "input_position": ("x", [0.9, 0.1, 0.5, 0.7]),
        },
        {"beta": beta, "rate": rate},
        {"gap_kind": "certified", "information": 0.36 * LN2, "entropy": 1.25 * LN2, "position": "p(y=1)"} | attrs,
    )


TRANSITIONS = (Transition(2.0, "continuous", 1, 2), Transition(4.05, "jump", 2, 3))
MANY = tuple(Transition(float(b), "continuous", i, i + 1) for i, b in enumerate(np.geomspace(1.2, 7.9, 20)))
LAYERS = {"T1": (np.linspace(0, 0.8, 5), np.linspace(0, 0.2, 5)), "output (7)": (0.3, 0.1)}
FIGURES = {
    "curve": lambda data: information_curve(data).figure,
    "curve, transitions": lambda data: information_curve(data, TRANSITIONS).figure,
    "curve, transitions, layers": lambda data: information_curve(data, TRANSITIONS, LAYERS).figure,
    "curve, many transitions": lambda data: information_curve(data, MANY).figure,
    "encoder": encoder_heatmap,
    "one encoder": lambda data: encoder_heatmap(data, [4.0]),
    "tree": lambda data: cluster_tree(data, TRANSITIONS).figure,
}


def settings() -> dict:
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def visible_texts(figure: Figure) -> list:
    parts = [text for axes in figure.axes for text in [axes.title, axes._left_title, *axes.texts]]
    parts += [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    parts += [legend for axes in figure.axes if (legend := axes.get_legend())]
    parts += [*figure.texts, *figure.legends, *([figure._supxlabel] if figure._supxlabel else [])]
    return [part for part in parts if part.get_visible() and getattr(part, "get_text", lambda: "x")() != ""]


def legend_of(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("attrs", [{}, {"gap_kind": "searched", "position": "first principal coordinate"}])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_leaves_the_figure(name, attrs):
    before = settings()
    figure = FIGURES[name](make_curve(**attrs))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert settings() == before
    renderer = canvas.get_renderer()
    # Of a label that points at something the text alone.
    boxes = [
        (part, (Text if isinstance(part, Text) else type(part)).get_window_extent(part, renderer))
        for part in dict.fromkeys(visible_texts(figure))
    ]
    assert len(boxes) >= 3
    for part, box in boxes:
        assert figure.bbox.padded(1).contains(box.x0, box.y0), part
        assert figure.bbox.padded(1).contains(box.x1, box.y1), part
    for (part, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.padded(-1).overlaps(second.padded(-1)), (part, other)


def test_the_curve_is_the_attained_one_in_bits_and_ends_flat():
    data = make_curve()
    axes = information_curve(data)
    line = axes.lines[0]
    assert line.get_color() == CURVE_COLOR
    np.testing.assert_allclose(line.get_xdata()[:-1], data.rate / LN2)
    np.testing.assert_allclose(line.get_ydata()[:-1], data.lower_curve / LN2)
    assert line.get_ydata()[-1] == line.get_ydata()[-2]
    assert line.get_xdata()[-1] == axes.get_xlim()[1]
    dots = axes.collections[-1].get_offsets()
    np.testing.assert_allclose(dots, np.stack([data.complexity, data.relevance], axis=1) / LN2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("I(X;T) (bits)", "I(T;Y) (bits)")


def fills(axes, color) -> list:
    return [
        c for c in axes.collections if len(c.get_facecolor()) and np.allclose(c.get_facecolor()[0, :3], to_rgb(color))
    ]


def test_what_is_beyond_the_bound_is_grey():
    data = make_curve()
    axes = information_curve(data)
    (grey,) = fills(axes, BEYOND_COLOR)
    (path,) = grey.get_paths()
    bound = np.interp(0.7, data.rate / LN2, data.upper_curve / LN2)
    assert path.contains_point((0.7, bound + 1e-3))
    assert not path.contains_point((0.7, bound - 1e-3))
    assert path.contains_point((1.2, 1.05 * 0.36))


def test_the_bracket_is_drawn_where_it_is_wider_than_a_line():
    axes = information_curve(make_curve())
    band = [part for part in fills(axes, CURVE_COLOR) if part.get_alpha() == 0.25]
    vertices = np.concatenate([path.vertices for part in band for path in part.get_paths()])
    assert 0.55 < vertices[:, 0].min() < 0.6 < 0.9 < vertices[:, 0].max() < 0.95
    assert "up to the bound" in legend_of(axes)
    thin = make_curve()
    thin["upper_curve"] = thin.lower_curve + 1e-4
    axes = information_curve(thin)
    assert not [part for part in fills(axes, CURVE_COLOR) if part.get_alpha() == 0.25]
    assert "up to the bound" not in legend_of(axes)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("certified", "beyond every encoder (certified)"), ("searched", "beyond every encoder (searched, not proven)")],
)
def test_the_legend_says_whether_the_bound_is_proven(kind, words):
    assert words in legend_of(information_curve(make_curve(gap_kind=kind)))


def test_ceilings_carry_their_values():
    texts = {text.get_text() for text in information_curve(make_curve()).texts}
    assert texts == {"I(X;Y) = 0.36 bits", "H(X) = 1.25 bits, equal p(y|x) merged"}


def marks(axes) -> list[tuple[str, np.ndarray]]:
    return [
        (line.get_marker(), line.get_xydata())
        for line in axes.lines
        if (line.get_color(), line.get_marker()) in TRANSITION_LOOK.values()
    ]


def test_transitions_are_marked_by_kind_and_labelled():
    axes = information_curve(make_curve(), TRANSITIONS[::-1])
    jump, split = sorted(marks(axes))
    assert jump[0] == TRANSITION_LOOK["jump"][1]
    np.testing.assert_allclose(jump[1], [[0.5, 0.23], [0.8, 0.31]])
    assert split[0] == TRANSITION_LOOK["continuous"][1]
    np.testing.assert_allclose(split[1], [[0.0, 0.0]], atol=1e-12)
    texts = {text.get_text() for text in axes.texts}
    assert {"β = 2, 1 → 2 clusters", "β = 4.05, 2 → 3 clusters"} <= texts
    assert legend_of(axes)[-2:] == ["continuous transition", "jump transition"]


def test_a_split_of_several_clusters_is_between_its_neighbours():
    ((_, at),) = marks(information_curve(make_curve(), [Transition(3.05, "continuous", 2, 3)]))
    np.testing.assert_allclose(at, [[0.35, 0.165]])


def test_transitions_beyond_the_curve_are_left_out():
    axes = information_curve(make_curve(), [Transition(9.0, "continuous", 3, 4), Transition(0.5, "jump", 1, 2)])
    assert marks(axes) == []
    assert len(axes.texts) == 2
    late = make_curve().isel(beta=slice(2, None))  # no solution below, but at 1 there is one cluster
    ((_, at),) = marks(information_curve(late, TRANSITIONS[:1]))
    np.testing.assert_allclose(at, [[0.0, 0.0]], atol=1e-12)


def test_layers_are_paths_in_bits_that_may_lie_anywhere():
    axes = information_curve(make_curve(), layers={"T1": ([0.1, 1.5], [0.1, 0.4]), "out": (0.2, 0.1)})
    assert legend_of(axes)[-2:] == ["T1", "out"]
    path = next(
        line for line in axes.lines if np.allclose(line.get_xdata()[-1], 1.5 / LN2) and len(line.get_xdata()) == 2
    )
    np.testing.assert_allclose(path.get_ydata(), np.array([0.1, 0.4]) / LN2)
    ends = [tuple(c.get_offsets()[0]) for c in axes.collections[-2:]]
    np.testing.assert_allclose(ends, np.array([[1.5, 0.4], [0.2, 0.1]]) / LN2)
    assert axes.get_xlim()[1] > 1.5 / LN2
    assert axes.get_ylim()[1] > 0.4 / LN2


def test_a_negative_estimate_is_shown_too():
    axes = information_curve(make_curve(), TRANSITIONS, {"T1": ([0.1, -0.05, NAN], [-0.02, 0.1, 0.2])})
    assert axes.get_xlim()[0] == -0.05 / LN2
    assert axes.get_ylim()[0] == -0.02 / LN2


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (([0.1, 0.2], [0.1]), r"layer T1 must have .* got shapes \(2,\) and \(1,\)"),
        (([[0.1]], [[0.1]]), r"got shapes \(1, 1\)"),
        (([NAN, 0.1], [0.1, NAN]), "layer T1 has no point that is finite: leave it out"),
    ],
)
def test_layers_that_cannot_be_drawn(layer, message):
    with pytest.raises(InputError, match=message):
        information_curve(make_curve(), layers={"T1": layer})


def test_encoders_have_inputs_and_clusters_in_order():
    data = make_curve()
    figure = encoder_heatmap(data, [8.2, 1.0, 7.9])
    *panels, bar = figure.axes
    assert [axes.get_title().splitlines()[0] for axes in panels] == ["β = 1", "β = 8"]
    np.testing.assert_array_equal(panels[1].images[0].get_array(), data.encoder[5, [1, 2, 3, 0]])
    assert panels[0].images[0].get_array().shape == (4, 1)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["0.1", "0.5", "0.7", "0.9"]
    assert [label.get_text() for label in panels[1].get_xticklabels()] == ["0.1", "0.5", "0.9"]
    assert panels[0].get_ylabel() == "inputs, by p(y=1|x)"
    assert bar.get_ylabel() == "p(t|x)"


def test_encoders_are_shown_evenly_over_the_complexity():
    titles = [axes.get_title() for axes in encoder_heatmap(make_curve()).axes[:-1]]
    assert titles == [
        f"β = {b}\nI(X;T) = {c} bits" for b, c in (("2.1", "0.20"), ("4", "0.50"), ("4.1", "0.80"), ("8", "1.00"))
    ]
    alone = make_curve().isel(beta=slice(0, 2))
    assert [axes.get_title() for axes in encoder_heatmap(alone).axes[:-1]] == ["β = 1.9\nI(X;T) = 0.00 bits"]


def test_an_encoder_that_was_left_out():
    with pytest.raises(InputError, match="the dataset has no encoder"):
        encoder_heatmap(make_curve().drop_vars("encoder"))


def test_the_tree_links_clusters_to_where_they_come_from():
    data = make_curve()
    axes = cluster_tree(data, TRANSITIONS)
    lines, dots = axes.collections
    segments = {tuple(np.round(segment.ravel(), 6)) for segment in lines.get_segments()}
    assert segments == {
        (1.0, 0.5, 1.9, 0.5),
        *((1.9, 0.5, 2.1, end) for end in (0.45, 0.56)),
        *((2.1, a, 4.0, b) for a, b in ((0.45, 0.2), (0.56, 0.8))),
        *((4.0, a, 4.1, b) for a, b in ((0.2, 0.15), (0.8, 0.55), (0.8, 0.85))),
        *((4.1, a, 8.0, b) for a, b in ((0.15, 0.1), (0.55, 0.5), (0.85, 0.9))),
    }
    assert len(dots.get_offsets()) == 12
    weights = data.marginal.values[data.marginal.values > 0]
    np.testing.assert_allclose(np.diff(dots.get_sizes()), 90 * np.diff(weights), atol=1e-9)
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "p(y=1|t)"
    inputs, split, jump = axes.lines
    np.testing.assert_array_equal(inputs.get_ydata(), data.input_position)
    assert [line.get_xdata()[0] for line in (split, jump)] == [2.0, 4.05]
    assert legend_of(axes)[-2:] == ["continuous transition", "jump transition"]


def test_the_tree_of_more_labels_names_its_axis():
    axes = cluster_tree(make_curve(position="first principal coordinate"), [Transition(20.0, "jump", 3, 4)])
    assert axes.get_ylabel() == "first principal coordinate of p(y|t)"
    assert legend_of(axes) == ["cluster, area p(t)", "inputs"]
    figure = encoder_heatmap(make_curve(position="first principal coordinate"))
    assert figure.axes[0].get_ylabel() == "inputs, by principal coordinate of p(y|x)"


def test_the_caller_may_bring_axes():
    for draw in (information_curve, cluster_tree):
        axes = Figure().add_subplot()
        assert draw(make_curve(), axes=axes) is axes


def test_files_are_written_and_reported(tmp_path):
    reported = []
    written = save_curve(make_curve(), tmp_path / "new" / "folder", transitions=TRANSITIONS, progress=reported.append)
    assert [path.name for path in written] == [f"{n}.{s}" for n in ("curve", "tree", "encoder") for s in ("png", "svg")]
    assert reported == written
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
        else:
            assert path.read_text().rstrip().endswith("</svg>")
    fewer = save_curve(make_curve().drop_vars("encoder"), tmp_path / "fewer", transitions=TRANSITIONS)
    assert [path.name for path in fewer] == ["curve.png", "curve.svg", "tree.png", "tree.svg"]
    assert [path.read_bytes() for path in fewer] == [path.read_bytes() for path in written[:4]]


def test_a_solved_curve_and_its_dataset_are_drawn_alike():
    found = curve(np.array([[0.45, 0.05], [0.05, 0.45]]), [1.0, 1.6, 2.0, 4.0, 20.0])
    drawn, same, method = information_curve(found), information_curve(found.to_dataset()), found.plot()
    for axes in (same, method):
        for one, other in zip(drawn.lines, axes.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())
    given = Figure().add_subplot()
    assert found.plot(axes=given, transitions=[Transition(1.5625, "continuous", 1, 2)]) is given
    assert len(marks(given)) == 1
    assert len(cluster_tree(found).collections[1].get_offsets()) == found.clusters.sum()
    assert encoder_heatmap(found, betas=[2.0]).axes[0].images[0].get_array().shape == (2, 2)
