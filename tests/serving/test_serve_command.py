"""`everymask serve` as it is started: real sockets, real signals, and what the worst of clients send."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from everymask.cli import parse, run
from everymask.commands.serve.verb import Serve, _keys, _origins
from everymask.errors import ConfigError


def options_of(*words: str) -> object:
    return parse(["serve", *words])


def names(*words: str) -> list[tuple[str, str]]:
    return [(origin.name, origin.source) for origin in _origins(options_of(*words))]  # type: ignore[arg-type]


def test_models_are_called_by_their_folder_or_file_or_as_they_are_told(tmp_path: Path) -> None:
    named = tmp_path / "a=b"
    named.mkdir()
    assert names("runs/a", "b.safetensors", "cells=runs/c") == [
        ("a", "runs/a"),
        ("b", "b.safetensors"),
        ("cells", "runs/c"),
    ]
    with pytest.raises(ConfigError, match="asked by letters"):
        names(str(named))
    with pytest.raises(ConfigError, match="two models would be called 'a'"):
        names("runs/a", "other/a")


def test_keys_are_a_word_or_two_on_each_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# ours\nanna abc\n\ndef\n", "utf-8")
    assert _keys(file) == {"anna": "abc", "key-2": "def"}
    for text, said in (("", "no key"), ("a b c", "3 words")):
        file.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=said):
            _keys(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        _keys(tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "serve needs a model"),
        (["runs/none"], 5, "there is no run folder"),
        (["a", "--budget", "0"], 2, "budget"),
        (["a", "--canary", "b", "--canary-share", "1"], 2, "canary-share"),
        (["a", "--canary", "c=b"], 2, "there is no such model"),
        (["a", "--host", "not a host"], 4, "cannot listen"),
        (["a", "--batch", "0"], 2, "batch"),
    ],
)
def test_what_cannot_be_served_is_said_before_it_listens(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *words]) == code
    assert said in capsys.readouterr().err


def test_the_image_starts_a_service_that_others_reach_and_is_not_root() -> None:
    lines = (Path(__file__).parents[2] / "Dockerfile").read_text("utf-8").splitlines()
    words = json.loads(next(line for line in lines if line.startswith("ENTRYPOINT")).partition(" ")[2])
    options = parse([*words[1:], "/models/a"])
    assert isinstance(options, Serve)
    assert (options.host, f"EXPOSE {options.port}" in lines, "USER 10001" in lines) == ("0.0.0.0", True, True)
    assert any(f"127.0.0.1:{options.port}/readyz" in line for line in lines)


@pytest.fixture(scope="module")
def server(tiny: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of its own process on a free port."""
    command = [sys.executable, "-m", "everymask", "serve", f"shapes={tiny}", "--port", "0", "--max-megabytes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert "answers with shapes" in address, process.stderr and process.stderr.read()
        yield process, int(address.partition("/ ")[0].rpartition(":")[2])
        process.kill()


def exchanged(port: int, data: bytes) -> bytes:
    """What the server sends back until it closes, or until it waits for more."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def asked(port: int, body: bytes, path: str = "/v1/predict") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def malformed(rng: random.Random, picture: bytes) -> bytes:
    """A request that is wrong somewhere: its first line, its headers, its body, or where it ends."""
    cut = picture[: rng.randrange(len(picture))]
    noise = rng.randbytes(rng.randrange(400))
    broken = bytearray(picture)
    for _ in range(rng.randrange(1, 20)):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    path = rng.choice(
        ["/v1/predict", "/v1/../predict", "/v1/predict?min_score=x", "/%00", "/v1/models/%ff/reload", "/v1/predict?a=1"]
    )
    method = rng.choice(["POST", "GET", "PUT", "DELETE", "P\0ST", "OPTIONS", "post"])
    boundary = (
        b"--b\r\nContent-Disposition: form-data; name=f; filename=../../x\r\n\r\n"
        + cut
        + rng.choice([b"\r\n--b--\r\n", b""])
    )
    body, kind = rng.choice(
        [(cut, "image/png"), (noise, "image/png"), (bytes(broken), ""), (boundary, "multipart/form-data; boundary=b"),
         (boundary, "multipart/form-data"), (b"{}", "application/json"), (b"", "image/jpeg")]
    )  # fmt: skip
    length = rng.choice([len(body)] * 6 + [len(body) + 7, 0, 10**12, -1])
    head = f"{method} {path} HTTP/1.{rng.choice('11190')}\r\nHost: x\r\nContent-Length: {length}\r\n"
    head += f"Content-Type: {kind}\r\n"
    head += rng.choice(
        [
            "",
            "",
            "",
            "X: " + "a" * 70_000 + "\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Bad header\r\n",
            "Expect: 100-continue\r\n",
        ]
    )
    return rng.choice([noise, head.encode("latin-1") + b"Connection: close\r\n\r\n" + body][rng.random() < 0.9 :])


@pytest.mark.slow
def test_ten_thousand_malformed_requests_do_no_harm(server: tuple[subprocess.Popen[str], int], shapes: Path) -> None:
    """None is answered by a fault of the service, good ones between them as before."""
    process, port = server
    assert process.stderr is not None
    log = ThreadPoolExecutor(1).submit(process.stderr.read)
    picture = next(iter(sorted((shapes / "images").rglob("*.png")))).read_bytes()
    rng, statuses = random.Random(0), []
    expected = json.loads(asked(port, picture)[1])["objects"]
    with ThreadPoolExecutor(4) as pool:
        requests = (malformed(rng, picture) for _ in range(10_000))
        for place, answer in enumerate(pool.map(lambda data: exchanged(port, data), requests)):
            statuses.append(answer[9:12])
            if place % 2500 == 0:
                status, data = asked(port, picture)
                assert status == 503 or json.loads(data)["objects"] == expected
    assert process.poll() is None
    assert not [status for status in set(statuses) if status.startswith(b"5") and status not in (b"503", b"504")]
    assert sum(status.startswith(b"4") for status in statuses) > 5000
    assert json.loads(asked(port, picture)[1])["objects"] == expected
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(asked, port, picture) for _ in range(4)]
        while json.loads(asked(port, b"", "/v1/none")[1])["error"]["status"] != 404:
            pass
        process.send_signal(signal.SIGTERM)
        for answer in answers:
            with contextlib.suppress(ConnectionError):  # it came after the end
                assert answer.result()[0] in (200, 503)
    assert process.wait(30) == 0
    text = log.result()
    assert "Traceback" not in text
    assert all(json.loads(line)["event"] for line in text.splitlines() if line.startswith("{"))
