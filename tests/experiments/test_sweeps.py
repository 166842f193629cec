"""A sweep's file says what its tables say, and a wrong one is one line."""

import json

import pytest

import ibjax
from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, SZT, make_sweep, read_sweep, run_sweep
from ibjax.sweep import Grid

GOOD = """
experiment = "szt"
preset = "idnns"
replicas = 7

[settings]
epochs = 200
batch_size = "none"

[grid]
activation = ["tanh", "relu"]
widths = [[12, 10, 7, 5, 4, 3, 2], [12, 4, 2]]
gamma = ["none", 8]

[[zip]]
optimizer = ["adam", "sgd"]
learning_rate = [4e-4, 1]

[[zip]]
seed = [0, 1, 2]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "sweep.toml").write_text(text)
        return read_sweep(tmp_path / "sweep.toml")

    return read


def test_a_file_is_its_tables(read):
    found = read(GOOD)
    idnns = EXPERIMENTS["szt"].presets["idnns"]
    assert (found.experiment, found.preset) == ("szt", "idnns")
    assert (found.config.replicas, found.config.epochs, found.config.batch_size) == (7, 200, None)
    assert found.config.split == idnns.split
    assert len(found.grid.zips) == 2
    sweep = make_sweep(found.config, found.grid)
    assert [len(axis) for axis in sweep.axes] == [2, 2, 2, 2, 3]
    last = sweep.groups[-1].config
    assert (last.activation, last.widths, last.gamma, last.optimizer) == ("relu", (12, 4, 2), 8.0, "sgd")
    assert (last.learning_rate, last.seed, last.replicas) == (1.0, 2, 7)
    assert sweep.groups[0].config.gamma is None


def test_the_shortest_file(read):
    found = read('experiment = "szt"\ngrid.seed = [1]')
    assert found.preset == "deck"
    assert found.config == SZT()
    assert [group.config for group in make_sweep(found.config, found.grid).groups] == [SZT(seed=1)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x = ", "is no TOML"),
        ("[grid]\nseed = [1]", 'names no experiment: add a line such as experiment = "szt"'),
        ('experiment = "stz"', "unknown experiment 'stz': did you mean 'szt'"),
        ('experiment = "szt"\npreset = "deck2"', "did you mean 'deck'"),
        ('experiment = "szt"\ngrids.seed = [1]', "did you mean 'grid'"),
        ('experiment = "szt"\nsettings.epoch = 1', "unknown field 'epoch': did you mean 'epochs'"),
        ('experiment = "szt"\nsettings.epochs = "1"', "epochs takes int, got '1'"),
        ('experiment = "szt"\nreplicas = 1.5', "replicas takes int, got 1.5"),
        ('experiment = "szt"\nsettings = 1', "settings must be a table"),
        ('experiment = "szt"\ngrid = 1', "grid must be a table"),
        ('experiment = "szt"\n[zip]\nseed = [1]', "write [[zip]]"),
        ('experiment = "szt"\nsettings.activation = "tahn"', "did you mean 'tanh'"),
    ],
)
def test_a_wrong_file_is_one_line(read, text, part):
    with pytest.raises(InputError) as caught:
        read(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_sweep(tmp_path / "none.toml")


def test_values_in_a_file_that_are_no_list(read):
    found = read('experiment = "szt"\ngrid.seed = []')
    with pytest.raises(InputError, match="seed has no values"):
        make_sweep(found.config, found.grid)


def test_a_group_is_named_where_the_config_refuses_it():
    with pytest.raises(InputError, match=r"group seed=1, activation=tahn: unknown activation 'tahn'"):
        make_sweep(SZT(), Grid({"seed": [1], "activation": ["tahn"]}))
    with pytest.raises(InputError, match="the limit is 2"):
        run_sweep(SZT(), Grid({"seed": [1, 2, 3]}), limit=2)


@pytest.mark.parametrize("verb", [ibjax.sweep, ibjax.run_sweep])
def test_the_verb_by_both_its_names(verb):
    """And with a plain mapping for a grid."""
    with pytest.raises(InputError, match="the limit is 2"):
        verb(SZT(), {"seed": [1, 2, 3]}, limit=2)
    with pytest.raises(InputError, match="did you mean 'activation'"):
        verb(SZT(), {"activatoin": ["tanh"]})
    with pytest.raises(InputError, match="seed has no values"):
        verb(SZT(), {"seed": []})


def test_the_chunk_size_is_no_part_of_what_a_sweep_is():
    one, other = (make_sweep(SZT(chunk_size=size), Grid({"seed": [1]})).identity for size in (1, 2))
    assert one == other
    assert one != make_sweep(SZT(epochs=9), Grid({"seed": [1]})).identity
    assert json.loads(json.dumps(one)) == one


def test_the_verb_is_at_the_top():
    assert ibjax.run_sweep is run_sweep
