"""A grid: a frozen config with lists in place of values; every combination is a group of replicas."""

import dataclasses
import hashlib
import itertools
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ibjax.errors import InputError, choose

LIMIT = 1000
"""Groups that a grid may have unless a larger limit is asked for."""
_LONGEST = 100
"""Characters of a group's folder name; file systems end at 255."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Values of a config's fields.

    Attributes:
        product: field -> values; every value is combined with every value of the other fields.
        zips: tables of field -> values; the values of one table go together, first with first, and the table as a
            whole is combined with everything else.

    Example:
        >>> grid = Grid({"activation": ["tanh", "relu"]}, [{"batch_size": [64, 512], "learning_rate": [0.05, 0.2]}])
        >>> [axis.name for axis in axes(grid)]
        ['activation', 'batch_size_learning_rate']
    """

    product: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    zips: Sequence[Mapping[str, Sequence[Any]]] = ()


class Axis(NamedTuple):
    """One dimension of a sweep.

    Attributes:
        name: the field's name; of a zip all its fields' names, joined by underscores.
        values: field -> its value at every place along the axis.
    """

    name: str
    values: dict[str, tuple[Any, ...]]

    def __len__(self) -> int:
        """How many places it has."""
        return len(next(iter(self.values.values())))


class Group(NamedTuple):
    """One combination of values, to be replicated.

    Attributes:
        index: its place along every axis.
        settings: field -> its value here, for the fields of the grid.
        config: the config with these values.
    """

    index: tuple[int, ...]
    settings: dict[str, Any]
    config: Any

    @property
    def slug(self) -> str:
        """A name for its folder, unlike every other group's: ``activation=tanh,batch_size=64``."""
        text = ",".join(f"{name}={label(value)}" for name, value in self.settings.items())
        plain = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)
        if plain == text and len(text) <= _LONGEST:
            return text
        return f"{plain[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def axes(grid: Grid) -> tuple[Axis, ...]:
    """The dimensions of a grid, products first, as they were named."""
    tables = [{name: values} for name, values in grid.product.items()] + list(grid.zips)
    return tuple(
        Axis("_".join(table), {name: _listed(name, values) for name, values in table.items()}) for table in tables
    )


def expand(config: Any, grid: Grid, *, limit: int = LIMIT) -> tuple[tuple[Axis, ...], list[Group]]:
    """Check a grid against a config and make a config of every combination.

    Args:
        config: a frozen dataclass; what the grid does not name stays as it is here.
        grid: values of its fields. Lists stand for tuples, and integers for floats where the field holds one.
        limit: so many groups at most. A grid grows by multiplication: the default stops a slip before it costs a
            week.

    Returns:
        The axes, with their values as the config has them, and the groups, the last axis running fastest.

    Raises:
        InputError: an unknown field, an empty or uneven list, a value twice or of the wrong type, a field named
            twice, no field at all, more groups than the limit, or a value that the config refuses.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     width: int = 3
        ...     rate: float | None = None
        >>> found, groups = expand(Config(), Grid({"width": [2, 4], "rate": [None, 1]}))
        >>> [group.config for group in groups][:2]
        [Config(width=2, rate=None), Config(width=2, rate=1.0)]
        >>> groups[1].slug
        'width=2,rate=1.0'
    """
    kinds = field_types(config)
    found = []
    for axis in axes(grid):
        for name in axis.values:
            choose("field", name, kinds)
        values = {
            name: tuple(_fitted(name, place, value, kinds[name]) for place, value in enumerate(column))
            for name, column in axis.values.items()
        }
        lengths = {name: len(column) for name, column in values.items()}
        if len(set(lengths.values())) > 1:
            uneven = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise InputError(f"fields of a zip go together, but {uneven} values: make the lists equally long")
        rows = list(zip(*values.values(), strict=True))
        for place, row in enumerate(rows):
            if row in rows[:place]:
                twice = ", ".join(f"{name}={label(value)}" for name, value in zip(values, row, strict=True))
                raise InputError(f"the grid has {twice} twice, at places {rows.index(row)} and {place}: remove one")
        found.append(Axis(axis.name, values))
    if not found:
        raise InputError("the grid is empty: name a field and its values, for example activation=tanh,relu")
    names = [name for axis in found for name in axis.values]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the grid names {name} more than once: put all its values in one list")
    count = math.prod(map(len, found))
    if count > limit:
        shape = " x ".join(f"{axis.name} {len(axis)}" for axis in found)
        raise InputError(f"the grid has {count:,} groups ({shape}), the limit is {limit:,}: shorten a list or raise it")
    groups = []
    for index in itertools.product(*(range(len(axis)) for axis in found)):
        pairs = zip(found, index, strict=True)
        settings = {name: column[place] for axis, place in pairs for name, column in axis.values.items()}
        try:
            changed = dataclasses.replace(config, **settings)
        except InputError as error:
            shown = ", ".join(f"{name}={label(value)}" for name, value in settings.items())
            raise InputError(f"group {shown}: {error}") from error
        groups.append(Group(index, settings, changed))
    return tuple(found), groups


def parse_values(config: Any, text: str) -> tuple[str, tuple[Any, ...]]:
    """Read ``name=value,value,...`` as values of the config's field of that name.

    Where a value is itself a list, ``;`` parts the values and spaces part the items: ``widths=12 4 2; 12 10 2``.
    ``none`` is None where the field may be None.

    Args:
        config: a frozen dataclass.
        text: what was typed.

    Raises:
        InputError: no ``=``, an unknown field, or text that is no such value.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     batch_size: int | None = 64
        ...     widths: tuple[int, ...] = (12, 2)
        >>> parse_values(Config(), "batch_size=64,none")
        ('batch_size', (64, None))
        >>> parse_values(Config(), "widths=12 4 2; 12 2")
        ('widths', ((12, 4, 2), (12, 2)))
    """
    name, equals, rest = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} names no values: write field=value,value, for example activation=tanh,relu")
    kinds = field_types(config)
    kind = kinds[choose("field", name.strip(), kinds)]
    nested = any(typing.get_origin(option) is tuple for option in _options(kind))
    parts = [part.strip() for part in rest.split(";" if nested else ",")]
    return name.strip(), tuple(_read(name.strip(), part, kind) for part in parts if part)


def field_types(config: Any) -> dict[str, Any]:
    """Field -> type of a config."""
    hints = typing.get_type_hints(type(config))
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def label(value: Any) -> str:
    """A value as one word: of a tuple, its items joined by hyphens."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _options(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a type: ``int | None`` -> (int, None's type)."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{name} needs a list of values, got {values!r}: write [{values!r}]")
    if not values:
        raise InputError(f"{name} has no values: name one or more, or leave it out")
    return tuple(values)


def _fitted(name: str, place: int, value: Any, kind: Any) -> Any:
    """The value as the field's type has it."""
    if value == "none" and type(None) in _options(kind) and str not in _options(kind):
        return None  # TOML has no null
    for option in _options(kind):
        fits, found = _fit(value, option)
        if fits:
            return found
    wanted = " or ".join(_spell(option) for option in _options(kind))
    raise InputError(f"{name} takes {wanted}, got {value!r} at place {place}")


def _fit(value: Any, option: Any) -> tuple[bool, Any]:
    if typing.get_origin(option) is typing.Literal:
        return value in typing.get_args(option), value
    if typing.get_origin(option) is tuple:
        if not isinstance(value, (list, tuple)):
            return False, value
        kind, *more = typing.get_args(option)
        kinds = [kind] * len(value) if more == [Ellipsis] else [kind, *more]
        if len(kinds) != len(value):
            return False, value
        fitted = [_fit(item, kind) for item, kind in zip(value, kinds, strict=True)]
        return all(fits for fits, _ in fitted), tuple(item for _, item in fitted)
    if option is float and type(value) is int:
        return True, float(value)
    return type(value) is option, value  # exactly: True is no integer here


def _spell(option: Any) -> str:
    if option is type(None):
        return "None"
    return option.__name__ if isinstance(option, type) and not typing.get_args(option) else str(option)


def _read(name: str, text: str, kind: Any) -> Any:
    """The first alternative of the type that the text reads as."""
    for option in sorted(_options(kind), key=lambda option: option is not type(None)):
        try:
            return _as(text, option)
        except ValueError:
            continue
    wanted = " or ".join(_spell(option) for option in _options(kind))
    raise InputError(f"{name} takes {wanted}, got {text!r}")


def _as(text: str, option: Any) -> Any:
    """The text as one type; ValueError if it is none."""
    if typing.get_origin(option) is tuple:
        return tuple(_as(item, typing.get_args(option)[0]) for item in text.split())
    words: dict[str, Any] | None = {type(None): {"none": None}, bool: {"true": True, "false": False}}.get(option)
    if typing.get_origin(option) is typing.Literal:
        words = {str(word): word for word in typing.get_args(option)}
    if words is None:
        return option(text)
    for word, value in words.items():
        if text.lower() == word.lower():
            return value
    raise ValueError(text)
