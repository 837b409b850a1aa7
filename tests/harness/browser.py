"""Chromium of Debian without a window, driven over its DevTools protocol: what a person does with a page, and what they see."""
import asyncio
import base64
import http.client
import json
import os
import shutil

import websockets

from .process import Process
from .proxy import free_port
from .wait import until


class Browser(Process):
    """One tab. It can reach nothing but loopback. answers: (status, address, MIME type) of everything it loaded."""

    def __init__(self, directory, width=1200, height=900):
        found = shutil.which("chromium")
        assert found, "chromium is missing: apt-get install chromium (tests/run.sh --full does it)"
        port, profile = free_port(), os.path.join(str(directory), "chromium")
        os.makedirs(profile, exist_ok=True)
        super().__init__([found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                          "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
                          "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--window-size={width},{height}",
                          f"--user-data-dir={profile}", f"--remote-debugging-port={port}", "about:blank"], profile, "chromium")
        self.answers, self.failures, self.number, self.loop = [], [], 0, asyncio.new_event_loop()
        address = until(lambda: self._tab(port), 60, "chromium's tab")
        self.socket = self.loop.run_until_complete(self._connect(address))
        for domain in ("Page", "Runtime", "DOM", "Network"):
            self.call(f"{domain}.enable")

    def _tab(self, port):
        assert self.alive(), f"chromium ended:\n{self.log()[-2000:]}"
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            c.request("GET", "/json/list")
            tabs = [t for t in json.loads(c.getresponse().read()) if t["type"] == "page"]
            return tabs and tabs[0]["webSocketDebuggerUrl"]
        finally:
            c.close()

    @staticmethod
    async def _connect(address):
        return await websockets.connect(address, max_size=None, ping_interval=None)

    def call(self, method, **params):
        """One command of the protocol and its result; events that come meanwhile are kept."""
        self.number += 1
        return self.loop.run_until_complete(asyncio.wait_for(self._call(self.number, method, params), 60))

    async def _call(self, number, method, params):
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._event(message.get("method"), message.get("params"))
            if message.get("method") == "Page.javascriptDialogOpening":  # "leave this page?": yes
                await self.socket.send(json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}))

    def _event(self, name, event):
        if name == "Network.responseReceived":
            r = event["response"]
            self.answers.append((r["status"], r["url"], r["mimeType"]))
        elif name == "Network.loadingFailed" and not event.get("canceled"):
            self.failures.append((event["type"], event["errorText"]))

    # what a person does ---------------------------------------------------------------------------------------------
    def js(self, expression):
        """The value of an expression in the page, as JSON has it."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, f"{expression}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def wait(self, expression, timeout=60):
        """Until it is true in the page; a page that is being replaced is not yet."""
        def look():
            try:
                return self.js(expression)
            except AssertionError as error:
                self.last = error
                return False
        self.last = None
        try:
            return until(look, timeout, expression, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.last}\nat {self.js('location.href')}: {self.text()[:2000]}") from None

    def open(self, address):
        done = self.call("Page.navigate", url=address)
        assert not done.get("errorText"), f"{address}: {done['errorText']}"
        self.wait("document.readyState == 'complete'")

    def click(self, selector):
        self.wait(f"(e => e && !e.disabled && e.getAttribute('aria-disabled') != 'true')(document.querySelector({selector!r}))")
        self.js(f"document.querySelector({selector!r}).click()")

    def type(self, selector, text):
        """Instead of what stands there."""
        self.wait(f"!!document.querySelector({selector!r})")
        self.js(f"(e => {{ e.focus(); if (e.select) e.select(); }})(document.querySelector({selector!r}))")
        self.call("Input.insertText", text=text)

    def press_enter(self):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    def choose(self, selector, path):
        """A file for an input of type file."""
        self.wait(f"!!document.querySelector({selector!r})")
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[path], nodeId=node)

    # what they see --------------------------------------------------------------------------------------------------
    def text(self):
        return self.js("document.body ? document.body.innerText : ''")

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self, grace=3.0):
        self.loop.run_until_complete(self.socket.close())
        self.loop.close()
        super().close(grace)
