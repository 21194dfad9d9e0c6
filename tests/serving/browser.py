"""Chromium without a window, driven over a pipe by its DevTools protocol: no package, no port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page of the browser."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self._reading, self._writing = reading, writing
        self._number, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.call(f"{room}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        asked |= {"sessionId": self._session} if self._session else {}
        self._writing.write(json.dumps(asked).encode() + b"\0")
        self._writing.flush()
        while True:
            said = self._said()
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            self.events.append(said)

    def _said(self) -> dict[str, Any]:
        data = bytearray()
        while (letter := self._reading.read(1)) != b"\0":
            assert letter, "the browser has gone"
            data += letter
        value: dict[str, Any] = json.loads(data)
        return value

    def value(self, code: str) -> Any:
        """What an expression of JavaScript is, once its promise is kept."""
        said = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, code: str) -> None:
        """Wait in the page until an expression is true."""
        self.value(f"new Promise(d => {{ const look = () => ({code}) ? d() : requestAnimationFrame(look); look(); }})")

    def upload(self, selector: str, files: list[Path]) -> None:
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=found)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def screenshot(self, file: Path) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    assert CHROMIUM
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
    their_reading, our_writing = os.pipe()
    our_reading, their_writing = os.pipe()
    # The browser reads from its file 3 and writes to its file 4.
    code = "import os, sys; a, b = (os.dup(int(n)) for n in sys.argv[1:3]); "
    code += "os.dup2(a, 3); os.dup2(b, 4); [os.set_inheritable(n, True) for n in (3, 4)]; "
    code += "os.execv(sys.argv[3], sys.argv[3:])"
    begin = [sys.executable, "-c", code, str(their_reading), str(their_writing), CHROMIUM, *options]
    with subprocess.Popen(
        begin, pass_fds=(their_reading, their_writing), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(their_reading)
        os.close(their_writing)
        try:
            with os.fdopen(our_reading, "rb") as reading, os.fdopen(our_writing, "wb") as writing:
                yield Page(reading, writing)
        finally:
            process.kill()
