"""Files from servers: whole, with the right hash, from the cache without asking, and never where that is forbidden."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from everymask.errors import WeightsError
from everymask.models.fetching import OFFLINE, Published, fetch

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Answers(http.server.BaseHTTPRequestHandler):
    """Each address answers in its way."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.send_header("X-Linked-ETag", f'"{self.server.named}"')  # type: ignore[attr-defined]
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv(OFFLINE, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as httpd:
        httpd.named = DIGEST  # type: ignore[attr-defined]
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


def published(server: Any, path: str, sha256: str = "") -> Published:
    return Published("the weights x", f"http://127.0.0.1:{server.server_port}/{path}", "x.bin", "MIT", sha256)


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that lets connections open, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x.bin"


def test_what_is_fetched_is_said_before_and_kept(server: Any, tmp_path: Path) -> None:
    said: list[str] = []
    file = fetch(published(server, "whole", DIGEST[:8]), tmp_path / "cache", say=said.append)
    assert file.read_bytes() == CONTENT
    assert said == [f"fetching the weights x: 1.3 MB, MIT, from http://127.0.0.1:{server.server_port}/whole"]


def test_what_lies_in_the_cache_is_taken_without_asking(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"mine")
    nowhere = Published("the weights x", "http://127.0.0.1:9/x", "x.bin", "MIT")
    assert fetch(nowhere, tmp_path, say=pytest.fail).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("path", "sha256", "named", "message"),
    [
        pytest.param("whole", "00000000", DIGEST, "SHA-256 begins", id="wrong hash"),
        pytest.param("moved", "", "0" * 64, "SHA-256 begins", id="another hash than the server names"),
        pytest.param("cut", DIGEST[:8], DIGEST, r"broke off after 1,000 of 1,280,000 bytes", id="truncated"),
        pytest.param("missing", "", DIGEST, "404", id="not there"),
    ],
)
def test_what_is_not_right_is_not_kept(
    server: Any, tmp_path: Path, path: str, sha256: str, named: str, message: str
) -> None:
    server.named = named
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(published(server, path, sha256), tmp_path / "cache")
    assert str(tmp_path / "cache" / "x.bin") in caught.value.hint
    assert [*(tmp_path.rglob("*"))] in ([], [tmp_path / "cache"])


def test_the_hash_that_hugging_face_names_is_checked(server: Any, tmp_path: Path) -> None:
    assert fetch(published(server, "moved"), tmp_path).read_bytes() == CONTENT


def test_a_refused_connection_says_address_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OFFLINE, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    with pytest.raises(WeightsError, match="cannot be fetched") as caught:
        fetch(Published("x", f"http://127.0.0.1:{port}/x", "x.bin", "MIT"), tmp_path)
    assert f"fetch http://127.0.0.1:{port}/x by other means and put it at {tmp_path / 'x.bin'}" == caught.value.hint


def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OFFLINE, raising=False)
    with silence() as url, pytest.raises(WeightsError, match=r"no answer within 0\.1 seconds"):
        fetch(Published("x", url, "x.bin", "MIT"), tmp_path, patience=0.1)


def test_offline_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was touched"))
    with pytest.raises(WeightsError, match=OFFLINE):
        fetch(Published("x", "http://127.0.0.1:9/x", "x.bin", "MIT"), tmp_path)
