"""Whether a sweep is on disk as it was written: its groups, and the results that are joined from them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ibjax.errors import InputError
from ibjax.plane.schema import VARIABLES
from ibjax.sweep import store as stores
from ibjax.sweep.grid import Group
from ibjax.sweep.groups import GROUPS, open_sweep, stored_groups
from ibjax.sweep.joined import groups_of
from ibjax.sweep.verify import verify


def verify_sweep(folder: str | Path) -> tuple[str, ...]:
    """Read everything that a sweep has stored and compare it with the checksums that were kept when it was written.

    Groups that are still to be run, or could not be, are no damage.

    Args:
        folder: the ``--out`` folder of a sweep.

    Returns:
        What is damaged or missing, a line each that begins with the name of the group or with ``results.zarr``; empty
        if all is whole. A sweep with ``resume`` computes what is damaged of the groups anew and joins them again.

    Raises:
        InputError: no sweep is there, or it is damaged.

    Example:
        >>> verify_sweep("runs/szt-deck-sweep")  # doctest: +SKIP
        ()
    """
    folder = Path(folder)
    _, groups, _ = stored_groups(folder)
    found = []
    for group in groups:
        run = folder / GROUPS / group.slug
        if (run / stores.RESULTS).exists():
            try:
                found += [f"{group.slug}: {damage}" for damage in verify(run)]
            except InputError as error:
                found.append(f"{group.slug}: {error}")
    if not found and (folder / stores.RESULTS).exists():  # else it is joined anew anyway
        found += _compare(folder, groups)
    return tuple(found)


def _compare(folder: Path, groups: Sequence[Group]) -> Iterator[str]:
    """What of the joined results is not what the groups' own are."""
    try:
        joined = open_sweep(folder)
        finished = joined["finished"].values
        whole = [group for group in groups if finished[group.index]]
        for group, (_, part) in zip(whole, groups_of(joined), strict=True):
            run = stores.open_run(folder / GROUPS / group.slug)
            for name in VARIABLES:
                where = f"{stores.RESULTS}, {group.slug}, {name}"
                try:
                    if part[name].values.tobytes() != run[name].values.tobytes():
                        yield f"{where}: not what the group has"
                except (ValueError, RuntimeError, OSError) as error:
                    yield f"{where}: damaged ({str(error).splitlines()[0]})"
    except (InputError, ValueError, RuntimeError, KeyError, OSError) as error:
        yield f"{stores.RESULTS}: damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
