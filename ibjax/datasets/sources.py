"""Where the public image sets are: their homes, their files' hashes, and the folder they are read from."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ibjax.errors import InputError, choose

FOLDER_VARIABLE = "IBJAX_DATA"
"""Environment variable with the folder of the data."""

PARTS = ("train", "test")
"""The parts that the public sets come in."""


class Source(NamedTuple):
    """A public set of images.

    Attributes:
        title: its name.
        folders: where in the folder of the data its files may be, besides the folder itself; fetched to the first.
        homes: addresses that its files are fetched from, in turn until one answers.
        downloads: the files there, with the SHA-256 of each as it is sent.
        contents: SHA-256 of each file unpacked, which no way of packing changes.
    """

    title: str
    folders: tuple[str, ...]
    homes: tuple[str, ...]
    downloads: Mapping[str, str]
    contents: Mapping[str, str]


SOURCES: dict[str, Source] = {
    "mnist": Source(
        title="MNIST",
        folders=("mnist", "MNIST/raw"),
        homes=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        downloads={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        contents={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": Source(
        title="Fashion-MNIST",
        folders=("fashion-mnist", "FashionMNIST/raw"),
        homes=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        downloads={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        contents={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    "cifar10": Source(
        title="CIFAR-10",
        folders=("cifar10", "cifar-10"),
        homes=("https://www.cs.toronto.edu/~kriz/",),
        downloads={
            "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        },
        contents={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
    ),
}
"""The public sets by name."""


def places(name: str, folder: str | Path | None) -> list[Path]:
    """Folders that the files of a public set may be in, the likeliest first.

    They are those of ``folder``, else of the folder that the variable IBJAX_DATA names; without either the set
    is fetched.

    Raises:
        InputError: that folder does not exist or is a file, or the set cannot be fetched.
    """
    given = folder if folder is not None else os.environ.get(FOLDER_VARIABLE) or None
    if given is None:
        return [fetch(name)]
    root = Path(given).expanduser()
    if not root.is_dir():
        origin = "" if folder is not None else f" (from {FOLDER_VARIABLE})"
        fault = "is a file" if root.exists() else "does not exist"
        raise InputError(f"the folder of the data {root}{origin} {fault}: name the folder that the files are in")
    return [*(root / place for place in SOURCES[name].folders), root]


def find(name: str, where: list[Path], spellings: list[str]) -> Path:
    """The first file there is of ``spellings``, its usual name last, in the folders ``where``.

    Raises:
        InputError: there is none; says where it belongs and how it can be fetched.
    """
    for place in where:
        for spelling in spellings:
            if (place / spelling).exists():
                return place / spelling
    likeliest = "" if len(where) == 1 else f", nor has {where[0]}"
    raise InputError(
        f"{where[-1]} has no file {spellings[-1]} of {SOURCES[name].title}{likeliest}: put it there, or call "
        f'ibjax.datasets.fetch("{name}", folder) where there is a network'
    )


def fetch(name: str, folder: str | Path | None = None, progress: bool = True) -> Path:
    """Fetch a public set of images once, and return the folder it is in.

    A file that is there already is left as it is; a new one is kept only if its SHA-256 is the known one.

    Args:
        name: ``"mnist"`` (12 MB), ``"fashion-mnist"`` (31 MB) or ``"cifar10"`` (170 MB).
        folder: the folder of the data, in which the set gets one of its own; by default the user's cache.
        progress: show a bar on standard error for each file.

    Returns:
        The set's folder. Set the variable IBJAX_DATA to ``folder`` to have it read from there.

    Raises:
        InputError: the name is unknown, no home answers, what comes has another hash, or the folder cannot be written.

    Example:
        >>> fetch("mnits")
        Traceback (most recent call last):
            ...
        ibjax.errors.InputError: unknown set 'mnits': did you mean 'mnist'? Choose from mnist, fashion-mnist, cifar10
    """
    source = SOURCES[choose("set", name, SOURCES)]
    root = Path(folder).expanduser() if folder is not None else _cache(source)
    target = root / source.folders[0]
    for file, sha256 in source.downloads.items():
        if not (target / file).exists():
            _download(source, file, sha256, target, progress)
    return target


def _cache(source: Source) -> Path:
    return Path(_pooch(source).os_cache("ibjax"))


def _pooch(source: Source) -> Any:
    try:
        import pooch
    except ImportError as error:
        raise InputError(
            f"fetching {source.title} needs pooch (pip install pooch): or name a folder that has its files"
        ) from error
    pooch.get_logger().setLevel("ERROR")  # the bar says the rest
    return pooch


def _download(source: Source, file: str, sha256: str, target: Path, progress: bool) -> None:
    pooch, why = _pooch(source), []
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{target} cannot be made for {source.title}: {error.strerror}; name another folder"
        ) from error
    for home in source.homes:
        try:
            with _bar(f"{source.title}: {file}", progress) as bar:
                pooch.retrieve(
                    home + file, sha256, file, target, downloader=pooch.HTTPDownloader(progressbar=bar, timeout=30)
                )
            return
        # An address that does not answer, and a hash that differs.
        except (OSError, ValueError) as error:
            hint = "another sha256" if "hash" in str(error) else type(error).__name__
            why.append(f"{home} ({hint})")
    raise InputError(
        f"{file} of {source.title} came not from {' nor from '.join(why)}: get it elsewhere and put it in {target}"
    )


@contextlib.contextmanager
def _bar(title: str, show: bool) -> Iterator[Any]:
    """What pooch reports its progress to, shown by rich; False for nothing."""
    if not show:
        yield False
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bar(shown.update, shown.add_task(title, total=None))


class _Bar:
    """The four things that pooch asks of a progress bar."""

    def __init__(self, show: Callable[..., None], task: Any):
        self._show, self._task, self._total = show, task, 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self._show(self._task, total=size)

    def update(self, size: int) -> None:
        self._show(self._task, advance=size)

    def reset(self) -> None:
        self._show(self._task, completed=0)

    def close(self) -> None:
        self._show(self._task, completed=self._total)
