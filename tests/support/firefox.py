"""Drive the system's Firefox by WebDriver BiDi, because Playwright drives only its own Firefox.

https://w3c.github.io/webdriver-bidi/
"""

import itertools
import json
import re
import subprocess
from contextlib import contextmanager
from functools import partial

import websocket

from support import binaries
from support.process import until

START = ["--headless", "--no-remote", "--remote-debugging-port", "0"]
# New profiles open pages about Firefox, and look for updates.
PREFERENCES = {
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
TIMEOUT = 120  # s, of a command


class Firefox:
    """A tab of a running Firefox; `complaints` grows by each error on its console."""

    def __init__(self, address):
        # Firefox refuses connections from web pages, which have an origin.
        self.socket = websocket.create_connection(f"{address}/session", timeout=TIMEOUT, suppress_origin=True)
        self.ids = itertools.count(1)
        self.complaints = []
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])
        self.tab = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method, **parameters):
        """Send a command and return its result."""
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.complaints.append(message["params"]["text"])
            elif message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

    def open(self, address):
        self.ask("browsingContext.navigate", context=self.tab, url=address, wait="complete")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression, which is awaited and must be JSON."""
        text = self._evaluate(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()")["value"]
        return json.loads(text)

    def _evaluate(self, expression):
        found = self.ask("script.evaluate", expression=expression, target={"context": self.tab}, awaitPromise=True)
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return found["result"]

    def wait_for(self, expression):
        assert until(lambda: self.evaluate(expression), TIMEOUT), expression

    def upload(self, selector, *files):
        """Choose files in the input that matches `selector`."""
        element = {"sharedId": self._evaluate(f"document.querySelector({json.dumps(selector)})")["sharedId"]}
        self.ask("input.setFiles", context=self.tab, element=element, files=list(map(str, files)))


@contextmanager
def firefox(folder, **preferences):
    """Start Firefox with a new profile in `folder` and `preferences` of about:config; yield a `Firefox`."""
    profile = folder / "profile"
    profile.mkdir()
    values = (PREFERENCES | preferences).items()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in values]
    (profile / "user.js").write_text("".join(lines))
    with open(folder / "firefox.log", "w") as log:
        command = [binaries.find("firefox"), "--profile", str(profile), *START]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        said = partial(re.search, r"BiDi listening on (ws://\S+)")
        assert until(lambda: said((folder / "firefox.log").read_text()), TIMEOUT), "Firefox does not start"
        yield Firefox(said((folder / "firefox.log").read_text())[1])
    finally:
        process.terminate()
        process.wait(TIMEOUT)
