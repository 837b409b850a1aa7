"""What a process costs: CPU time, memory, hardware counters, system calls, instructions. Each reads one source."""
import collections
import glob
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness.wait import until  # noqa: E402


def _read(path):
    with open(path) as f:
        return f.read()


def cpu(pids):
    """(total ns, user ticks, kernel ticks, page faults) so far. The total is exact; the kernel's own split of it comes in
    ticks."""
    total = user = kernel = faults = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            total += int(_read(path).split()[0])
        part = _read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
        user += int(part[11])
        kernel += int(part[12])
        faults += int(part[7])
    return total, user, kernel, faults


def memory(pids):
    """(RSS, PSS) bytes."""
    rss = pss = 0
    for pid in pids:
        text = _read(f"/proc/{pid}/smaps_rollup")
        rss += int(re.search(r"^Rss:\s+(\d+)", text, re.M).group(1)) * 1024
        pss += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) * 1024
    return rss, pss


class Counters:
    """perf stat on some processes: with Counters(pids) as c: ...; c.values = {"instructions:u": n, ...}; empty where
    the machine has no hardware counters."""
    EVENTS = "instructions:u,instructions:k,cycles:u,cycles:k"
    supported = None

    def __init__(self, pids):
        self.pids, self.values = pids, {}
        if Counters.supported is None:
            Counters.supported = self._try()

    @classmethod
    def _try(cls):
        try:
            done = subprocess.run(["perf", "stat", "-x,", "-e", cls.EVENTS, "true"], capture_output=True, text=True)
        except FileNotFoundError:
            return False
        return done.returncode == 0 and bool(cls._parse(done.stderr))

    @staticmethod
    def _parse(text):
        found = {}
        for line in text.splitlines():
            part = line.split(",")
            if len(part) > 2 and part[0].isdigit():
                found[part[2]] = int(part[0])
        return found if len(found) == 4 else {}

    def __enter__(self):
        if Counters.supported:
            self.process = subprocess.Popen(["perf", "stat", "-x,", "-e", self.EVENTS, "-p", ",".join(map(str, self.pids))],
                                            stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        if Counters.supported:
            self.process.send_signal(signal.SIGINT)
            self.values = self._parse(self.process.communicate(timeout=20)[1])


class Syscalls:
    """strace -c -f on some processes: with Syscalls(pids, file) as s: ...; s.calls = {name: count}, s.errors."""

    def __init__(self, pids, file):
        self.pids, self.file, self.calls, self.errors = pids, file, {}, {}

    def _attached(self):
        tasks = [t for pid in self.pids for t in glob.glob(f"/proc/{pid}/task/*/status")]
        return all(re.search(r"^TracerPid:\s+[1-9]", _read(t), re.M) for t in tasks)

    def __enter__(self):
        words = ["strace", "-c", "-f", "-q", "-o", self.file]
        for pid in self.pids:
            words += ["-p", str(pid)]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        until(self._attached, 20, "strace to attach")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        for line in _read(self.file).splitlines():
            part = line.split()
            if len(part) in (5, 6) and re.fullmatch(r"[\d.]+", part[0]) and part[-1] != "total":
                self.calls[part[-1]] = int(part[3])
                if len(part) == 6:
                    self.errors[part[-1]] = int(part[4])


CALLGRIND = ["valgrind", "-q", "--tool=callgrind", "--vgdb-poll=100000", "--compress-strings=no", "--compress-pos=no"]


class Instructions:
    """A process under callgrind (started with CALLGRIND and --callgrind-out-file=FILE): what it executes in user space
    between two dumps."""

    def __init__(self, pid, file):
        self.pid, self.file, self.part = pid, file, 0

    def take(self):
        """Instructions since the last take; the profile of that time is at self.path."""
        self.part += 1
        self.path = f"{self.file}.{self.part}"
        subprocess.run(["callgrind_control", "--dump", str(self.pid)], check=True, capture_output=True, timeout=60)
        total = until(lambda: os.path.exists(self.path) and re.search(r"^totals: (\d+)", _read(self.path), re.M), 30, self.path)
        return int(total.group(1))

    def annotate(self, to, n):
        """Writes instructions per request (n of them) by function, without what it calls, most first. Our own reading of
        the profile: callgrind_annotate takes a call that began before the profile did for work of the caller."""
        own, function, skip, library = collections.Counter(), "?", False, ""
        for line in _read(self.path).splitlines():
            if line.startswith("ob="):
                library = os.path.basename(line[3:])
            elif line.startswith("fn=0x"):  # a library without symbols for its static functions
                function = f"{library}:{line[3:].lstrip('0x')}"
            elif line.startswith("fn="):
                function = re.sub(r"\.(lto_priv|constprop|isra|part)\.\d+", "", line[3:])
            elif line.startswith("calls="):
                skip = True
            elif line[:1].isdigit() or line[:1] in "+-*":
                cost = line.split()[1:]
                if cost and not skip:
                    own[function] += int(cost[0])
                skip = False
        with open(to, "w") as f:
            for name, count in own.most_common():
                if count / n >= 1:
                    f.write(f"{count / n:10.1f} {name}\n")


def run_instructions(words, file):
    """Instructions of a whole program that ends by itself."""
    subprocess.run([*CALLGRIND, f"--callgrind-out-file={file}", *words], check=True, capture_output=True, timeout=300)
    return int(re.search(r"^(?:totals|summary): (\d+)", _read(file), re.M).group(1))
