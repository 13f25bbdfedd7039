"""Chromium without a window as one end of a call: a page with one RTCPeerConnection and the fake microphone.

It is driven over the DevTools protocol on two pipes (descriptors 3 and 4): JSON, each message ended by a NUL octet. The
page comes from a server on loopback, since microphones exist for trustworthy origins only.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from support.peers import LOOPBACK, PATIENCE, PeerError, Program

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-pipe",
)
STARTING = 60.0  # seconds, on a loaded machine

# Gives the browser its descriptors, and a file for what it prints: nobody would empty a pipe.
EXEC = """import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
log = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT, 0o600)
os.dup2(log, 1), os.dup2(log, 2)
os.execv(sys.argv[4], sys.argv[4:])"""

PAGE = b"""<!doctype html><meta charset=utf-8><title>peer</title><audio id=out autoplay></audio><script>
let pc;
async function begin() {
  pc = new RTCPeerConnection();
  pc.ontrack = e => { document.getElementById('out').srcObject = new MediaStream([e.track]); };
  const audio = {echoCancellation: false, autoGainControl: false, noiseSuppression: false};
  const stream = await navigator.mediaDevices.getUserMedia({audio});
  pc.addTrack(stream.getAudioTracks()[0], stream);
}
async function local() {
  await pc.setLocalDescription();
  while (pc.iceGatheringState != 'complete')
    await new Promise(done => pc.addEventListener('icegatheringstatechange', done, {once: true}));
  return pc.localDescription.sdp;
}
async function offer() { await begin(); return await local(); }
async function answer(sdp) { await begin(); await pc.setRemoteDescription({type: 'offer', sdp}); return await local(); }
async function accept(sdp) { await pc.setRemoteDescription({type: 'answer', sdp}); return true; }
async function heard(packets) {
  for (;;) {
    const stats = {};
    (await pc.getStats()).forEach(one => { stats[one.type] = one; });
    const got = stats['inbound-rtp'];
    if (got && got.packetsReceived >= packets && got.totalAudioEnergy > 0)
      return {received: got.packetsReceived, lost: got.packetsLost, energy: got.totalAudioEnergy,
              sent: stats['outbound-rtp'].packetsSent, dtls: stats['transport'].dtlsState,
              cipher: stats['transport'].srtpCipher, role: stats['transport'].dtlsRole};
    await new Promise(done => setTimeout(done, 50));
  }
}
</script>"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


class Chromium:
    """`evaluate("expression")` runs in the page and waits for promises. Use as a context manager."""

    def __init__(self) -> None:
        self._cleanup = ExitStack()
        self._numbers = itertools.count(1)
        self._pending = b""
        self._session: str | None = None

    def __enter__(self) -> Chromium:
        with ExitStack() as failed:
            failed.push(self._cleanup)
            self._start()
            failed.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cleanup.close()

    def evaluate(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Its value. PeerError: it threw, or did not end in time."""
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        result = self._call("Runtime.evaluate", params, timeout)
        if "exceptionDetails" in result:
            raise PeerError(f"{expression[:60]}: {json.dumps(result['exceptionDetails'])[:2000]}")
        return result["result"].get("value")

    def _start(self) -> None:
        server = HTTPServer((LOOPBACK, 0), _Page)
        self._cleanup.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self._cleanup.callback(thread.join)
        self._cleanup.callback(server.shutdown)
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        for fd in (self._in, self._out):
            self._cleanup.callback(os.close, fd)
        # Above the numbers that the browser wants them at, so that neither is overwritten.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        self._log = folder / "log"
        browser = shutil.which("chromium")
        assert browser is not None
        argv = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        program = Program(
            [sys.executable, "-c", EXEC, *map(str, high), str(self._log), *argv],
            pass_fds=high,
            env={"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)},
        )
        for fd in high:
            os.close(fd)
        self._cleanup.enter_context(program)
        self._cleanup.callback(self._leave, program)
        made = self._call("Target.createTarget", {"url": "about:blank"}, STARTING)
        attached = self._call("Target.attachToTarget", {"targetId": made["targetId"], "flatten": True})
        self._session = attached["sessionId"]
        self._call("Page.enable", {})
        self._call("Page.navigate", {"url": f"http://{LOOPBACK}:{server.server_port}/"})
        while self._message(PATIENCE).get("method") != "Page.loadEventFired":
            pass

    def _leave(self, program: Program) -> None:
        """By itself it takes its other processes with it, which write into its folder until the end."""
        self._session = None
        with suppress(PeerError, OSError):
            self._call("Browser.close", {})
            program.wait()

    def _call(self, method: str, params: dict[str, Any], timeout: float = PATIENCE) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        deadline = time.monotonic() + timeout
        while True:
            reply = self._message(deadline - time.monotonic())
            if reply.get("id") == number:
                if "error" in reply:
                    raise PeerError(f"{method}: {reply['error']}")
                return reply["result"]

    def _message(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 65536) if ready else b""
            if not data:
                what = "ended" if ready else "does not answer"
                raise PeerError(f"chromium {what}; its last words:\n{self._log.read_text(errors='replace')[-2000:]}")
            self._pending += data
        first, self._pending = self._pending.split(b"\0", 1)
        message = json.loads(first)
        assert isinstance(message, dict)
        return message
