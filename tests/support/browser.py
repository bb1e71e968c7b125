"""A real browser that tests drive as its user would: keys, clicks, taps, reloads and downloads, by the protocol of its
developer tools over a pipe (no port, no driver)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --remote-debugging-pipe"
)
TIMEOUT = 60  # s in which the browser must answer
KEYS = {" ": ("Space", 32), "Backspace": ("Backspace", 8), "ArrowLeft": ("ArrowLeft", 37), "ArrowUp": ("ArrowUp", 38),
        "ArrowRight": ("ArrowRight", 39), "ArrowDown": ("ArrowDown", 40), "Enter": ("Enter", 13)}  # fmt: skip


class Browser:
    """One tab. Use it as a context; `profile` is a folder of its own, in which local storage outlives the browser."""

    def __init__(self, profile: Path) -> None:
        assert BROWSER is not None
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 50) for each in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)

        def place() -> None:  # where the browser expects its pipes
            os.dup2(theirs[0], 3)
            os.dup2(theirs[1], 4)

        self.process = subprocess.Popen(
            [BROWSER, *SWITCHES.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, pass_fds=(3, 4),
        )  # fmt: skip
        for each in theirs:
            os.close(each)
        self.to, self.back = ours_out, ours_in
        self.read, self.number, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.session = ""
        try:
            self.ask("Browser.close")  # it writes its storage to the disk
            self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.to)
            os.close(self.back)

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send one command of the protocol and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, method: str) -> dict[str, Any]:
        """The parameters of the next event of that name, which may have come already."""
        while not (found := [event for event in self.events if event["method"] == method]):
            self.events.append(self._next())
        self.events.remove(found[0])
        return found[0]["params"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.read:
            assert select.select([self.back], [], [], TIMEOUT)[0], "the browser does not answer"
            more = os.read(self.back, 1 << 20)
            assert more, "the browser has ended"
            self.read += more
        message, _, self.read = self.read.partition(b"\0")
        return json.loads(message)

    def size(self, width: int, height: int, phone: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=phone,
            deviceScaleFactor=2 if phone else 1,
        )  # fmt: skip
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def reload(self) -> None:
        self.ask("Page.reload")
        self.wait("Page.loadEventFired")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; of a promise, what it resolves to."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def middle(self, selector: str) -> dict[str, float]:
        """The middle of an element in the window. It must be seen there: nothing lies over it, nothing is to scroll."""
        found = self.js(f"""(() => {{
            const e = document.querySelector({json.dumps(selector)}), r = e.getBoundingClientRect();
            const at = {{ x: r.x + r.width / 2, y: r.y + r.height / 2 }};
            return e.contains(document.elementFromPoint(at.x, at.y)) ? at : null; }})()""")
        assert found, f"{selector} is hidden"
        return found

    def click(self, selector: str, times: int = 1) -> None:
        at = self.middle(selector)
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=count, **at)

    def tap(self, selector: str) -> None:
        """Touch an element with a finger; the page gets the click that follows only later."""
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[self.middle(selector)])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        code, number = KEYS[key]
        typed = {"Enter": "\r", " ": " "}.get(key, "")  # without it a key presses no button
        for kind, text in (("keyDown", typed), ("keyUp", "")):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, text=text)

    def downloads_to(self, folder: Path) -> None:
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True)

    def downloaded(self) -> None:
        """Wait until a download is complete."""
        while self.wait("Browser.downloadProgress")["state"] != "completed":
            pass

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))
