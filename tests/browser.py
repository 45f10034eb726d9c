"""A real browser for tests: Chromium without a window, by the W3C's WebDriver (JSON over HTTP).

Debian has both in the packages `chromium` and `chromium-driver`.
"""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromedriver")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1400,1000",
)  # fmt: skip
PATIENCE_S = 300  # until a page that does not come up is a failure

# All texts of the page and all elements that fit a selector, through the shadow roots too.
TEXTS = """
const found = [];
const walk = (node) => {
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) {
      if (child.textContent.trim()) found.push(child.textContent.trim());
    } else if (child.nodeType === Node.ELEMENT_NODE && !/STYLE|SCRIPT/i.test(child.tagName)) {
      if (child.shadowRoot) walk(child.shadowRoot);
      walk(child);
    }
  }
};
walk(document.body);
return found;
"""
ELEMENTS = """
const found = [];
const walk = (root) => {
  found.push(...root.querySelectorAll(arguments[0]));
  for (const element of root.querySelectorAll('*')) {
    if (element.shadowRoot) walk(element.shadowRoot);
  }
};
walk(document);
return found.map((element) => element[arguments[1]]);
"""


def missing_programs() -> list[str]:
    """What is not on this machine of what a browser needs."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def server(words: list[str], announced: str) -> Iterator[int]:
    """A server that picks a port of its own, until the block ends.

    Args:
        words: the command.
        announced: a pattern of what it prints when it is ready; its group is the port.

    Yields:
        The port.
    """
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if port := re.search(announced, line):
                    yield int(port[1])
                    break
            else:
                raise AssertionError(f"{words[0]} ended: {printed}")
        finally:
            process.terminate()


class Browser:
    """One window.

    Args:
        port: chromedriver's.
        profile: a new folder for what Chromium keeps.
        options: more of Chromium's own.
    """

    def __init__(self, port: int, profile: Path, options: Sequence[str] = ()) -> None:
        self._session = f"http://127.0.0.1:{port}/session"
        words = [*OPTIONS, *options, f"--user-data-dir={profile}"]
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": words}}}}
        self._session += f"/{self._call('POST', '', wanted)['sessionId']}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self._session + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Opens an address as a new page, also where only what is behind # is another."""
        self._call("POST", "/url", {"url": "about:blank"})
        self._call("POST", "/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size, in pixels; Chromium makes none narrower than some 500."""
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def texts(self) -> str:
        """All texts of the page, a line each."""
        return "\n".join(self._call("POST", "/execute/sync", {"script": TEXTS, "args": []}))

    def elements(self, selector: str, attribute: str) -> list[Any]:
        """A property of each element that fits a CSS selector."""
        body = {"script": ELEMENTS, "args": [selector, attribute]}
        found: list[Any] = self._call("POST", "/execute/sync", body)
        return found

    def requests(self) -> list[str]:
        """The addresses that the page has asked for, besides its own."""
        script = "return performance.getEntriesByType('resource').map((entry) => entry.name);"
        body = {"script": script, "args": []}
        found: list[str] = self._call("POST", "/execute/sync", body)
        return [address for address in found if not address.startswith("data:")]

    def wait_until(self, what: str, is_there: Callable[[], bool]) -> None:
        """Waits for something in the page.

        Args:
            what: for the message.
            is_there: whether it is there.
        """
        end = time.monotonic() + PATIENCE_S
        while not is_there():
            assert time.monotonic() < end, f"no {what} in the page:\n{self.texts()[:3000]}"
            time.sleep(0.5)

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript in the page; returns what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in the page's input of files, as a person does."""
        wanted = {"using": "css selector", "value": selector}
        (element,) = self._call("POST", "/element", wanted).values()
        self._call("POST", f"/element/{element}/value", {"text": str(path)})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Runs a command of Chromium's DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self._call("POST", "/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        """Ends Chromium."""
        self._call("DELETE", "")


@contextmanager
def browser(profile: Path, *options: str) -> Iterator[Browser]:
    """A browser until the block ends.

    Args:
        profile: a new folder for what Chromium keeps.
        options: more of Chromium's own.
    """
    with server(["chromedriver", "--port=0"], r"successfully on port (\d+)") as port:
        window = Browser(port, profile, options)
        try:
            yield window
        finally:
            window.close()
