"""A headless Chromium, driven through the pipe of its DevTools protocol; needs nothing besides the browser itself."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PATH_VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
SECONDS = 60.0


def find_browser() -> str:
    """The browser that the environment variable names, or the first one that is installed.

    Raises:
        RuntimeError: there is none.
    """
    path = os.environ.get(PATH_VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None or shutil.which(path) is None:
        found = f"{PATH_VARIABLE} names {path}, which is no program" if path else f"none of {', '.join(NAMES)} is there"
        raise RuntimeError(
            f"this test needs a Chromium browser: {found}; install one (Debian, Ubuntu: apt-get install chromium) or "
            f"set {PATH_VARIABLE} to its path"
        )
    return path


class Browser:
    """One page in a browser of its own.

    Attributes:
        problems: what the page wrote to the console as an error, and exceptions that nobody caught.

    Args:
        profile: empty folder for the browser's files.
        size: width and height of the page in pixels.
    """

    def __init__(self, profile: Path, size: tuple[int, int] = (1280, 1400)) -> None:
        to_browser, self._write_end = os.pipe()
        self._read_end, from_browser = os.pipe()
        arguments = [
            "--headless=new",
            "--remote-debugging-pipe",  # reads commands from file 3, writes to file 4
            "--no-sandbox",  # which root, and containers, do not have
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
        ]
        connect = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", connect, find_browser(), *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.problems: list[str] = []
        self._buffer, self._number, self._session, self._loads = b"", 0, None, 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write_end)
        os.close(self._read_end)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result.

        Raises:
            RuntimeError: the browser refuses it, ends, or does not answer in a minute.
        """
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, url: str) -> None:
        """Opens a page and waits until it is loaded."""
        loads, deadline = self._loads, time.monotonic() + SECONDS
        self.send("Page.navigate", url=url)
        while self._loads == loads:
            self._receive(deadline, url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; waits for promises."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Waits until a JavaScript expression is true.

        Raises:
            RuntimeError: it is not in a minute.
        """
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited in vain for {expression}; the page wrote {self.problems}")
            time.sleep(0.05)

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Clicks into an element, at shares of its width and height."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        left, top, width, height = (box[name] for name in ("left", "top", "width", "height"))
        place = {"x": left + x * width, "y": top + y * height}
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def press(self, key: str) -> None:
        """Presses a key, such as 'ArrowRight' or 'Tab', and lets it go."""
        code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def set_color_scheme(self, scheme: str) -> None:
        """'light' or 'dark', as the system would say."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def set_width(self, width: int, height: int) -> None:
        """Size of the page in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(picture["data"])

    def _receive(self, deadline: float, waiting_for: str) -> dict[str, Any]:
        """The next message, an answer or an event."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], max(0.0, deadline - time.monotonic()))
            content = os.read(self._read_end, 1 << 20) if ready else b""
            if not content:
                state = "ended" if ready else f"did not answer in {SECONDS:.0f} seconds"
                raise RuntimeError(f"the browser {state} (waiting for {waiting_for})")
            self._buffer += content
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, values: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loads += 1
        elif event == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(one.get("value", one.get("description"))) for one in values["args"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(values["entry"]["text"])
