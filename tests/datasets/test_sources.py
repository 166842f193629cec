"""Fetching: from a home on this machine, once, only the known bytes, with one line where it fails."""

import functools
import http.server
import logging
import sys
import threading
from typing import ClassVar

import pytest
from image_files import IMAGES_FILE, LABELS_FILE, pretend, sha256, write_mnist

from ibjax.datasets import fetch, mnist, sources
from ibjax.errors import InputError

pooch = pytest.importorskip("pooch")
IMAGES, LABELS = f"{IMAGES_FILE}.gz", f"{LABELS_FILE}.gz"


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def log_message(self, *_):
        self.asked.append(self.path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A server with two files; where it is, and what it was asked for."""
    folder = tmp_path / "home"
    write_mnist(folder, "{}.gz", packed=True)
    monkeypatch.setattr(Handler, "asked", [])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("IBJAX_DATA", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        known = {name: sha256((folder / name).read_bytes()) for name in (IMAGES, LABELS)}
        address = f"http://127.0.0.1:{server.server_port}/"
        pretend(monkeypatch, "mnist", homes=(address,), downloads=known)
        yield folder, address
        server.shutdown()


@pytest.mark.parametrize("progress", [True, False])
def test_files_are_fetched_once(home, tmp_path, capsys, progress):
    folder, _ = home
    found = fetch("mnist", tmp_path / "data", progress)
    assert found == tmp_path / "data" / "mnist"
    assert sorted(entry.name for entry in found.iterdir()) == [IMAGES, LABELS]
    assert (found / IMAGES).read_bytes() == (folder / IMAGES).read_bytes()
    shown = capsys.readouterr()
    assert (f"MNIST: {IMAGES}" in shown.err) == progress
    assert shown.out == ""
    assert fetch("mnist", tmp_path / "data") == found
    assert len(Handler.asked) == 2
    assert len(mnist(tmp_path / "data", verify=False)) == 6


def test_without_a_folder_they_are_fetched_to_the_cache(home, tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    assert len(mnist(verify=False)) == 6
    assert len(mnist(verify=False)) == 6
    assert (tmp_path / "cache" / "ibjax" / "mnist" / IMAGES).exists()
    assert len(Handler.asked) == 2


def test_a_folder_that_lacks_the_files_fetches_nothing(home, tmp_path):
    with pytest.raises(InputError, match="has no file"):
        mnist(tmp_path)
    assert Handler.asked == []


def test_other_bytes_are_not_kept(home, tmp_path, monkeypatch):
    _, address = home
    pretend(monkeypatch, "mnist", downloads={IMAGES: "0" * 64})
    with pytest.raises(
        InputError, match=rf"{IMAGES} of MNIST came not from {address} \(another sha256\): get it"
    ) as caught:
        fetch("mnist", tmp_path / "data", progress=False)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data" / "mnist").iterdir()) == []


def test_the_next_home_is_asked_where_one_does_not_answer(home, tmp_path, monkeypatch):
    _, address = home
    pretend(monkeypatch, "mnist", homes=(f"{address}none/", "http://127.0.0.1:1/", address))
    fetch("mnist", tmp_path / "data", progress=False)
    assert (tmp_path / "data" / "mnist" / LABELS).exists()
    pretend(monkeypatch, "mnist", homes=(f"{address}none/", "http://127.0.0.1:1/"))
    with pytest.raises(
        InputError, match=r"none/ \(HTTPError\) nor from http://127\.0\.0\.1:1/ \(ConnectionError\)"
    ) as caught:
        fetch("mnist", tmp_path / "other", progress=False)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made(home, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made for MNIST: Not a directory; name another folder"):
        fetch("mnist", tmp_path / "file")


def test_without_pooch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.delenv("IBJAX_DATA", raising=False)
    with pytest.raises(InputError, match="fetching MNIST needs pooch"):
        mnist()


def test_an_unknown_set():
    with pytest.raises(InputError, match="unknown set 'cifar': did you mean 'cifar10'"):
        fetch("cifar")


def test_every_file_that_is_read_is_known():
    for name, source in sources.SOURCES.items():
        hashes = [*source.downloads.values(), *source.contents.values()]
        assert len(set(hashes)) == len(hashes), name
        assert all(len(known) == 64 and int(known, 16) for known in hashes), name
    assert {file.removesuffix(".gz") for file in sources.SOURCES["mnist"].downloads} == set(
        sources.SOURCES["mnist"].contents
    )


def test_the_log_of_others_is_left_alone(home, tmp_path):
    before = logging.getLogger().level
    fetch("mnist", tmp_path / "data", progress=False)
    assert logging.getLogger().level == before
