"""A program that a test started: its output goes to a file, and it never outlives the test."""
import contextlib
import os
import signal
import subprocess
import time

from . import netns
from .wait import until


class Process:
    def __init__(self, words, directory, name, host=netns.HERE, env=None, stdout=None, fd_limit=None):
        self.name, self.host = name, host
        self.log_path = os.path.join(directory, f"{name}.log")
        words = [str(w) for w in words]
        if fd_limit:
            words = ["prlimit", f"--nofile={fd_limit}:{fd_limit}", *words]
        self.log_file = open(self.log_path, "ab")
        self.popen = subprocess.Popen(host.command(words), stdin=subprocess.DEVNULL, stdout=stdout or self.log_file,
                                      stderr=self.log_file, cwd=directory, env={**os.environ, **(env or {})},
                                      start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout):
        return self.popen.wait(timeout)

    def listening(self, port, timeout=10):
        def look():
            assert self.alive(), f"{self.name} ended with {self.popen.returncode}:\n{self.log()[-3000:]}"
            return self.host.listens(port)
        until(look, timeout, f"{self.name} to listen on {port}")
        return self

    def _proc(self, name):
        with open(f"/proc/{self.pid}/{name}") as f:
            return f.read()

    def rss(self):
        """Resident bytes."""
        for line in self._proc("status").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self):
        part = self._proc("stat").rsplit(")", 1)[1].split()
        return (int(part[11]) + int(part[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.alive():
            self.popen.kill()
        self.popen.wait(10)
        self.log_file.close()

    def close(self, grace=3.0):
        """SIGTERM, then SIGKILL for the whole group: its children never stay."""
        if self.alive():
            self.popen.terminate()
            end = time.monotonic() + grace
            while self.alive() and time.monotonic() < end:
                time.sleep(0.01)
        self.kill()
