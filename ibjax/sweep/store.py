"""Results on disk: one Zarr group, its chunks along the replicas, readable by plain xarray at any time."""

import itertools
import json
import platform
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ibjax.errors import InputError
from ibjax.plane.schema import VARIABLES, coordinates, plain
from ibjax.sweep.checkpoint import durable
from ibjax.sweep.record import Record, Region, checksum, load_record, save_record
from ibjax.sweep.study import PLACES, Study, differing
from ibjax.training import probe_batches
from ibjax.training.train import DEAD_AFTER, DEAD_MARGIN

RESULTS = "results.zarr"
PARAMETERS = "parameters.zarr"
STATES = "state"
SWEEP = "sweep.json"
GROUPS = "groups"
"""Of a sweep: what it was made from, and the folder of its runs."""
_ASIDE = ".part"
FORMAT = 2
"""Version of the layout; a store of a newer one is refused. Version 1 had no records: it is only read."""
_COORDINATES = ["epoch", "width"]
UNFINISHED = "unfinished"
FINISHED = "finished"

ATTRIBUTES, COORDINATES = "attributes", "coordinates"
"""What `Store.damaged_metadata` names."""
_CHECKSUMS = "checksums"
_VOUCHED_COORDINATES = ("epoch", "width", "layer", "replica")
# How long it took differs between runs whose results are the same bit for bit.
_NOT_VOUCHED = (_CHECKSUMS, "seconds")

# A flipped byte is an error when it is read, never a wrong number.
_CODECS = (ZstdCodec(level=1), Crc32cCodec())


class Store:
    """The arrays of one run, in memory or in a folder.

    Attributes:
        folder: where it is, None in memory.
        group: the Zarr group of the results.
        arrays: the variables of the results.
        params: the parameters by name, None unless they are kept.
        records: what is on disk of every chunk of replicas that has begun; empty in memory.
    """

    def __init__(self, folder: Path | None, group: zarr.Group, params: zarr.Group | None):
        """Wrap open groups; use `open_or_create` or `reopen`."""
        self.folder, self.group = folder, group
        self.arrays = _arrays(group)
        self.params = None if params is None else _arrays(params)
        self.records: dict[int, Record] = {}
        self.load_records()

    def load_records(self) -> None:
        """Read from the folder what is on disk of every chunk, where other processes may have written."""
        if self.folder is not None:
            found = {chunk: load_record(record_file(self.folder, chunk)) for chunk in range(self.chunks)}
            self.records = {chunk: record for chunk, record in found.items() if record is not None}

    @property
    def width(self) -> int:
        """Replicas of a chunk."""
        return self.arrays["train_loss"].chunks[0]

    @property
    def chunks(self) -> int:
        """How many chunks the replicas are in."""
        return -(-self.arrays["train_loss"].shape[0] // self.width)

    @property
    def snapshots(self) -> int:
        """How many snapshots a whole run has."""
        return self.arrays["train_loss"].shape[1]

    @property
    def epochs(self) -> int:
        """The last snapshot's epoch."""
        return int(np.asarray(self.arrays["epoch"][:])[-1])

    @property
    def parts(self) -> dict[str, tuple[zarr.Array, int | None]]:
        """What has files of its own: name in the records -> array, and place of the estimator if it has that dimension.

        Names are those of variables, with the estimator's place as in ``complexity[0]``; parameters begin with
        ``parameters/``.
        """
        found: dict[str, tuple[zarr.Array, int | None]] = {}
        for name, v in VARIABLES.items():
            array = self.arrays[name]
            if "estimator" in v.dims:
                found |= {f"{name}[{place}]": (array, place) for place in range(array.shape[0])}
            else:
                found[name] = array, None
        return found | {f"parameters/{name}": (array, None) for name, array in (self.params or {}).items()}

    def replicas(self, chunk: int) -> slice:
        """The replicas of a chunk."""
        return slice(chunk * self.width, min((chunk + 1) * self.width, self.arrays["train_loss"].shape[0]))

    def has(self, chunk: int, names: Sequence[str]) -> bool:
        """Whether all snapshots of these parts of a chunk are on disk."""
        record = self.records.get(chunk, Record())
        return all(record.covers(name, self.snapshots) for name in names)

    def read(self, name: str, chunk: int, snapshots: slice = slice(None)) -> np.ndarray:
        """Some snapshots of a part: (replica, snapshot, ...)."""
        array, place = self.parts[name]
        region = self.replicas(chunk), snapshots
        return np.asarray(array[region] if place is None else array[(place, *region)])

    def files(self, name: str, chunk: int, snapshots: slice = slice(None)) -> list[Path]:
        """Where the files of some snapshots of a part are to be."""
        array, place = self.parts[name]
        estimator = () if place is None else (slice(place, place + 1),)
        return list(_chunk_files(array, (*estimator, self.replicas(chunk), snapshots)))

    def commit(self, chunk: int, segments: int | None = None, epochs: int | None = None) -> None:
        """Vouch for all that has been written of a chunk, and say how far its training has come if that has changed."""
        if self.folder is None:
            return
        record = self.records.get(chunk, Record())
        if segments is not None and epochs is not None:
            record = record._replace(segments=segments, epochs=epochs)
        self.records[chunk] = record
        save_record(record_file(self.folder, chunk), record)

    def settle(self, chunk: int, restarts: int, again: Mapping[str, int], **reached: Any) -> None:
        """Say which attempts at a chunk's dead replicas are made, in memory too; see `Record`."""
        record = self.records.get(chunk, Record())._replace(restarts=restarts, again=again, **reached)
        self.records[chunk] = record
        if self.folder is not None:
            save_record(record_file(self.folder, chunk), record)

    @property
    def again(self) -> dict[str, int]:
        """Id of a replica -> the attempt that its values are of, for those that were trained again."""
        return {replica: attempt for record in self.records.values() for replica, attempt in record.again.items()}

    def masked(self, chunk: int) -> int:
        """How many of a chunk's replicas had diverged or were dead at its last snapshot on disk."""
        regions = self.records.get(chunk, Record()).regions.get("alive", ())
        if not regions:
            return 0
        stop = regions[-1].stop
        return int((~self.read("alive", chunk, slice(stop - 1, stop))).sum())

    def forget(self, chunk: int, names: Sequence[str], *, training: bool) -> None:
        """Remove parts of a chunk, and with ``training`` its state, so that they are computed anew."""
        if self.folder is None:
            return
        record = self.records.get(chunk)
        if record is not None:
            left = {name: r for name, r in record.regions.items() if name not in names}
            record = record._replace(regions=left)
            self.records[chunk] = record._replace(restarts=0, again={}) if training else record
            # First what vouches for the data: a run that dies in between has forgotten them already.
            self.commit(chunk, *((0, 0) if training else (None, None)))
        if training:
            state_file(self.folder, chunk).unlink(missing_ok=True)
        for name in names:
            if (_root(self.parts[name][0]) / "c").exists():  # else nothing of it has ever been written
                for file in self.files(name, chunk):
                    file.unlink(missing_ok=True)

    def write(
        self,
        values: Mapping[str, np.ndarray],
        replicas: slice,
        snapshots: slice,
        estimators: slice,
        params: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write measurements, and parameters if they are kept, of replicas of one chunk and of snapshots, to the disk.

        They count as done with the next `commit`.
        """
        region, files = (replicas, snapshots), []
        for name, value in values.items():
            array = self.arrays[name]
            if "estimator" not in VARIABLES[name].dims:
                files += self._put(name, array, region, value)
                continue
            for row, place in enumerate(range(estimators.start, estimators.stop)):
                where = (slice(place, place + 1), *region)
                files += self._put(f"{name}[{place}]", array, where, value[row : row + 1])
        for name, value in (params or {}).items():
            files += self._put(f"parameters/{name}", (self.params or {})[name], region, value)
        durable(*files)

    def put(self, name: str, chunk: int, snapshots: slice, values: np.ndarray) -> None:
        """Write some snapshots of a part of a chunk, as `read` gives them."""
        array, place = self.parts[name]
        region = self.replicas(chunk), snapshots
        if place is None:
            durable(*self._put(name, array, region, values))
        else:
            durable(*self._put(name, array, (slice(place, place + 1), *region), values[None]))

    def _put(self, name: str, array: zarr.Array, region: tuple[slice, ...], value: np.ndarray) -> list[Path]:
        """Write a region, and return the files that are still to be forced to the disk."""
        with intact(self.folder):
            array[(*region, ...)] = value
        if self.folder is None:
            return []
        replicas, snapshots = region[-2:]
        chunk = replicas.start // self.width
        crc = checksum(np.asarray(value, array.dtype))
        record = self.records.get(chunk, Record())
        self.records[chunk] = record.add(name, Region(snapshots.start, snapshots.stop, crc))
        # Zarr writes a chunk aside and renames it.
        return list(_chunk_files(array, region))

    def compare(self, study: Study, but: Sequence[str] = ()) -> None:
        """Complain if the store is another study's; settings named in ``but`` may differ."""
        old = json.loads(self.attrs["config"])
        new = json.loads(json.dumps(study.identity, default=str))
        if words := differing(old, new, (*PLACES, *but)):
            raise InputError(f"{self.folder} holds another run ({words}): choose another folder")

    @property
    def attrs(self) -> dict[str, Any]:
        """The group's attributes."""
        return dict(self.group.attrs)

    @property
    def has_checksums(self) -> bool:
        """Whether attributes and coordinates have checksums; an older ibjax wrote none."""
        return _CHECKSUMS in self.attrs

    def damaged_metadata(self) -> dict[str, str]:
        """Which of `ATTRIBUTES` and `COORDINATES` are not as they were written, and what is wrong."""
        if not self.has_checksums:
            return {}
        try:
            kept = dict(json.loads(self.attrs[_CHECKSUMS]))
        except (ValueError, TypeError):
            kept = {}
        found = {}
        for name, now in (
            (ATTRIBUTES, lambda: _attributes_checksum(self.attrs)),
            (COORDINATES, lambda: _coordinates_checksum(self.arrays)),
        ):
            try:
                if now() != kept.get(name):
                    found[name] = "damaged (not as they were written)"
            except (ValueError, RuntimeError, OSError, KeyError, zarr.errors.BaseZarrError) as error:
                found[name] = f"damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        return found

    def note(self, **attrs: Any) -> None:
        """Add or replace attributes, on the disk too."""
        attrs = plain(attrs)
        if self.has_checksums:
            kept = {**json.loads(self.attrs[_CHECKSUMS]), ATTRIBUTES: _attributes_checksum({**self.attrs, **attrs})}
            attrs |= plain({_CHECKSUMS: kept})
        self.group.update_attributes(attrs)
        if self.folder is not None:
            durable(self.folder / RESULTS / "zarr.json")

    def write_coordinates(self, epochs: np.ndarray, widths: Sequence[int]) -> None:
        """Write the coordinates anew."""
        replicas = self.arrays["train_loss"].shape[0]
        values = epochs, widths, np.arange(1, len(widths) + 1), np.arange(replicas)
        for name, value in zip(_VOUCHED_COORDINATES, values, strict=True):
            array = self.arrays[name]
            array[:] = np.asarray(value)
            for file in _chunk_files(array, (slice(None),)):
                durable(file)

    def add_estimators(self, names: Sequence[str]) -> None:
        """Make room for more estimators, after the others."""
        known = [*json.loads(self.attrs["estimators"]), *names]
        for name in ("estimator", *(name for name, v in VARIABLES.items() if "estimator" in v.dims)):
            array = self.arrays[name]
            if array.shape[0] != len(known):
                array.resize((len(known), *array.shape[1:]))
        if names:
            self.arrays["estimator"][:] = np.arange(len(known))
            self.note(estimators=known)

    def dataset(self) -> xr.Dataset:
        """The results as labelled arrays, read when they are used."""
        return _label(xr.open_zarr(self.group.store, consolidated=False))


@contextmanager
def intact(folder: Path | None) -> Iterator[None]:
    """Turn what Zarr says of a damaged file in the folder into one line with the remedy."""
    try:
        yield
    except (ValueError, RuntimeError, zarr.errors.BaseZarrError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"a file of {folder} is damaged ({error}): run again with --resume to compute it anew, "
            "`ibjax verify` names all that is damaged"
        ) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that cannot be written into one line with the remedy."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}): choose another folder, or free space there and "
            "go on with --resume; what was measured is kept"
        ) from error


def make_folder(folder: Path) -> None:
    """Make the folder for a run and those above it.

    Raises:
        InputError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the results")
    folder.mkdir(parents=True, exist_ok=True)


def state_file(folder: Path, chunk: int) -> Path:
    """Where the training state of a chunk is."""
    return folder / STATES / f"chunk-{chunk:05d}.npz"


def record_file(folder: Path, chunk: int) -> Path:
    """Where the record of a chunk is."""
    return folder / STATES / f"chunk-{chunk:05d}.json"


def _arrays(group: zarr.Group) -> dict[str, zarr.Array]:
    # A chunk of fill values alone has a file too: one that has none is lost.
    return {name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()}


def _attributes_checksum(attrs: Mapping[str, Any]) -> int:
    """CRC-32 of the attributes that are the same in every run of a study."""
    kept = {name: value for name, value in attrs.items() if name not in _NOT_VOUCHED}
    return zlib.crc32(json.dumps(kept, sort_keys=True).encode())


def _coordinates_checksum(arrays: Mapping[str, zarr.Array]) -> int:
    return zlib.crc32(b"".join(np.asarray(arrays[name][:], "<i8").tobytes() for name in _VOUCHED_COORDINATES))


def _root(array: zarr.Array) -> Path:
    return Path(str(array.store_path).removeprefix("file://"))


def _chunk_files(array: zarr.Array, region: tuple[slice, ...]) -> Iterator[Path]:
    """The files of the chunks that a region touches."""
    spans = [s.indices(n) for s, n in zip(region, array.shape, strict=False)]
    spans += [(0, n, 1) for n in array.shape[len(region) :]]
    blocks = [range(start // c, -(-stop // c)) for (start, stop, _), c in zip(spans, array.chunks, strict=True)]
    root = _root(array)
    for block in itertools.product(*blocks):
        yield root / array.metadata.encode_chunk_key(block)


def create(
    folder: Path | None,
    *,
    epochs: np.ndarray,
    widths: Sequence[int],
    replicas: int,
    chunk: int,
    estimators: Sequence[str],
    attrs: Mapping[str, Any],
    params: Mapping[str, np.ndarray | Any] | None = None,
) -> Store:
    """Make an empty store: all measurements NaN, ``alive`` false.

    Args:
        folder: where; None for memory.
        epochs: the snapshots' epochs.
        widths: units of every layer.
        replicas: how many.
        chunk: replicas a chunk, of the computation and of the files alike.
        estimators: their conventions.
        attrs: what else to store.
        params: name -> array-like with the shape and dtype of one replica's parameter, if they are kept.
    """
    sizes = {"estimator": len(estimators), "replica": replicas, "snapshot": len(epochs), "layer": len(widths)}
    chunks = {**sizes, "estimator": 1, "replica": chunk}
    group = _new_group(folder, RESULTS)
    for name, v in VARIABLES.items():
        group.create_array(
            name,
            shape=tuple(sizes[d] for d in v.dims),
            chunks=tuple(chunks[d] for d in v.dims),
            dtype=v.dtype,
            fill_value=False if v.dtype == "bool" else float("nan"),
            compressors=_CODECS,
            dimension_names=v.dims,
            attributes={"units": v.units, "long_name": v.long_name},
        )
    # Integer coordinates only: the names of layers and estimators are attributes.
    labels = coordinates(epochs.tolist(), widths, replicas, range(len(estimators)))
    names = labels.pop("layer_name")[1]
    for name, value in labels.items():
        dims, data, *extra = value if isinstance(value, tuple) else (name, value)
        array = group.create_array(
            name,
            shape=(len(data),),
            dtype="int64",
            chunks=(len(data),),
            dimension_names=(dims,),
            attributes=extra[0] if extra else {},
        )
        array[:] = np.asarray(data)
    made = {"estimators": list(estimators), "layer_names": names, "format": FORMAT, "status": UNFINISHED}
    noted = plain({**attrs, **made})
    sums = {ATTRIBUTES: _attributes_checksum(noted), COORDINATES: _coordinates_checksum(dict(group.arrays()))}
    group.update_attributes({**noted, **plain({_CHECKSUMS: sums})})
    kept = None
    if params is not None:
        kept = _new_group(folder, PARAMETERS)
        kept.update_attributes({"format": FORMAT})
        for name, leaf in params.items():
            kept.create_array(
                name,
                shape=(replicas, len(epochs), *leaf.shape),
                chunks=(chunk, 1, *leaf.shape),
                dtype=str(leaf.dtype),
                compressors=_CODECS,
            )
    if folder is None:
        return Store(folder, group, kept)
    # Renamed once they are whole, the results last: a folder has a complete store or none.
    for name in [PARAMETERS] * (kept is not None) + [RESULTS]:
        (folder / (name + _ASIDE)).replace(folder / name)
    return reopen(folder)


def _new_group(folder: Path | None, name: str) -> zarr.Group:
    if folder is None:
        return zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    for left in (folder / name, folder / (name + _ASIDE)):
        if left.exists():  # by a run that was killed before its store was complete
            shutil.rmtree(left)
    return zarr.create_group(str(folder / (name + _ASIDE)), zarr_format=3)


def open_or_create(study: Study, folder: Path | None, resume: bool) -> Store:
    """The store of a study: a new one, or with ``resume`` the one in the folder.

    Raises:
        InputError: the folder holds a run and ``resume`` is not set, or it holds another run.
    """
    if folder is not None:
        _refuse_sweep(folder)
    if folder is not None and (folder / RESULTS).exists():
        if not resume:
            raise InputError(f"{folder} already holds a run: add --resume to go on with it, or choose another folder")
        store = reopen(folder)
        damaged = store.damaged_metadata()
        if ATTRIBUTES in damaged:
            raise InputError(
                f"the attributes of {folder / RESULTS} are {damaged[ATTRIBUTES]}, which say what run it is: bring "
                "back its zarr.json from a copy, or run again into a new folder"
            )
        store.compare(study)
        if COORDINATES in damaged:
            store.write_coordinates(study.epochs, study.widths)
        if (config := json.loads(json.dumps(study.identity, default=str))) != json.loads(store.attrs["config"]):
            store.note(config=config)  # its files have moved
        if store.attrs["format"] < FORMAT and store.attrs["status"] != FINISHED:
            raise InputError(f"{folder} was begun by an older ibjax: run again into a new folder")
        for left in (folder / RESULTS).rglob("*.partial"):  # by a run that was killed while Zarr wrote aside
            left.unlink()
        return store
    if folder is not None:
        make_folder(folder)
        # What a run left behind whose results were removed is another run's.
        for name in (PARAMETERS, STATES):
            shutil.rmtree(folder / name, ignore_errors=True)
    identity, measured = study.identity, study.data.measured
    attrs = {
        "title": study.heading,
        "config": identity,
        "seed": study.seed,
        "units": "nats",
        "samples": len(measured),
        "entropy_x": measured.entropy_x,
        "entropy_y": measured.entropy_y,
        "information_xy": float("nan") if measured.mutual_information is None else measured.mutual_information,
        "probe_batches": len(probe_batches(len(study.data.train))),
        "updates_per_epoch": -(-len(study.data.train) // (study.config.batch_size or len(study.data.train))),
        "dead_rule": f"after {DEAD_AFTER} epochs within {DEAD_MARGIN} of the majority rate of the training labels",
        "versions": {name: _version(name) for name in ("ibjax", "jax", "flax", "optax", "numpy")},
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }
    return create(
        folder,
        epochs=study.epochs,
        widths=study.widths,
        replicas=study.replicas,
        chunk=study.chunk,
        estimators=identity["measure"],
        attrs=attrs,
        params=study.param_shapes if study.keeps_parameters else None,
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # used from a source tree that is not installed
        return "not installed"


def reopen(folder: Path, mode: Literal["r", "r+"] = "r+") -> Store:
    """Open a stored run, by default for writing.

    Raises:
        InputError: there is none, it is damaged, or it is of a newer version.
    """
    _refuse_sweep(folder)
    group = _group(folder / RESULTS, mode)
    kept = _group(folder / PARAMETERS, mode) if (folder / PARAMETERS).exists() else None
    store = Store(folder, group, kept)
    if mode == "r+":
        store.add_estimators([])  # drops room that an interrupted `remeasure` had made
    return store


def reopen_finished(folder: Path, mode: Literal["r", "r+"] = "r+") -> Store:
    """Open a run that is finished and has stored parameters.

    Raises:
        InputError: as `reopen`; or it is not finished, or was made without stored parameters.
    """
    store = reopen(folder, mode)
    if store.attrs["status"] != FINISHED:
        raise InputError(f"{folder} is not finished: run it again with --resume first")
    if store.params is None:
        raise InputError(f"{folder} has no stored parameters: make it with --keep-parameters")
    return store


def open_run(folder: str | Path) -> xr.Dataset:
    """Open the results of a run, finished or not, as an `xarray.Dataset`.

    Dimensions ``estimator``, ``replica``, ``snapshot``, ``layer``; coordinate ``epoch`` over snapshot; the variables of
    `ibjax.plane.VARIABLES`, informations in nats. What is not measured yet is NaN. Arrays are read when used.

    Args:
        folder: the ``--out`` folder of a run.

    Returns:
        The labelled results. The estimators' conventions are the coordinate ``estimator``; ``attrs`` has the
        config, versions, seed and wall times.

    Raises:
        InputError: no run is there, its store is damaged or of a newer version, or files are gone that it had.
    """
    _refuse_sweep(Path(folder))
    path = Path(folder) / RESULTS
    group = _group(path, "r")
    try:
        plane = _label(xr.open_zarr(group.store, consolidated=False))
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({error}): `ibjax run` with --resume or `ibjax measure` repairs it"
        ) from error
    _check_files(Store(Path(folder), group, None))
    return plane


def _check_files(store: Store) -> None:
    """Complain of files of finished work that are gone, which Zarr reads as NaN."""
    if store.attrs["format"] < FORMAT:
        return
    finished = store.attrs["status"] == FINISHED
    lost = []
    for chunk in range(store.chunks):
        record = store.records.get(chunk)
        # A finished run without a record of this chunk must have it all the same.
        done = store.parts if record is None and finished else getattr(record, "regions", ())
        for name in store.parts.keys() & done:
            lost += [file for file in store.files(name, chunk) if not file.exists()]
    if lost:
        raise InputError(
            f"{lost[0]} is missing, with results that had been measured ({len(lost)} such files): run again with "
            "--resume to compute them anew, `ibjax verify` names them all"
        )


def _refuse_sweep(folder: Path) -> None:
    """Complain where the results are those of many runs."""
    if (folder / SWEEP).exists():
        raise InputError(f"{folder} holds a sweep, not a run: name one of those in {folder / GROUPS}")


def _group(path: Path, mode: Any) -> zarr.Group:
    if not path.exists():
        raise InputError(
            f"{path.parent} holds no run ({path.name} is missing): check the folder, or make one with `ibjax run`"
        )
    try:
        group = zarr.open_group(str(path), mode=mode)
        layout = int(str(group.attrs["format"]))
        wanted = [*VARIABLES, "estimator", "replica", "layer", *_COORDINATES] if path.name == RESULTS else []
        missing = [name for name in wanted if name not in group]
        noted = ("config", "estimators", "layer_names", "status") if path.name == RESULTS else ()
        missing += [name for name in noted if name not in group.attrs]
    except (OSError, KeyError, ValueError, zarr.errors.BaseZarrError) as error:
        raise InputError(
            f"{path} is damaged ({error}): its metadata cannot be read, run again into a new folder"
        ) from error
    if layout > FORMAT:
        raise InputError(f"{path} has layout {layout}, this ibjax reads up to {FORMAT}: update ibjax")
    if missing:
        raise InputError(f"{path} is damaged or cut off ({', '.join(missing)} missing): run again into a new folder")
    return group


def _label(dataset: xr.Dataset) -> xr.Dataset:
    names = json.loads(dataset.attrs["layer_names"])
    estimators = json.loads(dataset.attrs["estimators"])
    return dataset.assign_coords(estimator=estimators, layer_name=("layer", names)).set_coords(_COORDINATES)
