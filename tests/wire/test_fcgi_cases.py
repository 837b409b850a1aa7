"""Hostile and odd requests to scripts, and answers of FastCGI servers, case by case: what test_http_cases.py does for HTTP, with the
same codes, ways and oracles. The cases are in cases/fcgi/*.case; what holds for every request that a script is told of is in
harness/fcgi_strict.py. Beside that, the error log is looked at after every run: each line is one that lastack wrote, and a run
writes a bounded number of them."""
import os
import random
import re

import pytest
from test_http_cases import MODES, NONCE, SEED, World, run_all, run_client_case, run_server_case, ways

from harness import cases, proxy
from harness.certs import Authority, client_context
from harness.fcgi_strict import Player, Recorder
from harness.raw import Client
from harness.wait import scale

WAYS = {"whole": 1, "random": scale(1, 40), "bytes": 1, "preceded": 1, "followed": 1, "padded": scale(1, 10), "pair": scale(1, 100),
        "tls": scale(1, 10)}
SERVER_WAYS = {"whole": 1, "random": scale(1, 40), "bytes": 1, "preceded": 1, "pair": scale(1, 100)}
LINE = re.compile(r'\{"time":"[\dT:.Z-]+","level":"\w+","message":"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\.)*"\}')
LOG_OF_A_RUN = 64 << 10


class FcgiWorld(World):
    """The same world, its two servers behind FastCGI."""

    def __init__(self, run, mode):
        self.outcome = {}
        root = os.path.realpath(run.folder(f"www-{mode}"))
        for name in "index.php", "a/b.php", "uploads/a.jpg":
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            open(os.path.join(root, name), "w").close()
        self.recorder = run.own(Recorder(run.directory, root, f"app-{mode}"))
        self.players = {"stage": run.own(Player(run.directory, root, f"play-{mode}"))}
        ca = Authority(run.folder(f"ca-{mode}"))
        self.tls = client_context(ca)
        self.ports = {name: proxy.free_port() for name in ("web", "web-tls", "stage", "gate")}
        listen = lambda name, **more: {"name": name, "address": f"127.0.0.1:{self.ports[name]}", "timeouts": {"keepalive": "1h"}, **more}
        upstream = lambda server: {
            "protocol": "fastcgi", "servers": [server.text], "pool": {"max": 1}, "buffer": {"request_mode": mode},
            "passive": {"failures": 0}, "request_headers": {"set": {"X-Hop": NONCE}}, "queue": {"timeout": "20s"},
            "fastcgi": {"root": root, "try": ["$uri", "/index.php"]}}
        conf = proxy.config(
            {"app": upstream(self.recorder), "stage": upstream(self.players["stage"])},
            [listen("web", upstream="app"), listen("web-tls", upstream="app", tls={"certificates": [ca.issue().conf]}),
             listen("stage", upstream="stage"), listen("gate")],
            routes=[{"host": "never.test", "path": "/", "upstream": "app", "listen": ["gate"]}], workers=1)
        self.proxy, self.number, self.logged, self.busy = run.proxy(conf), 0, 0, 0
        self.gate = run.own(Client(self.ports["gate"], timeout=20))
        self.victims = {name: self.new_victim(name) for name in ("web", "stage")}
        self.players["stage"].between = self.barrier

    def was_busy(self):
        """Has the server left a safe request unread for so long, since this was last asked, that it was taken elsewhere? On a
        machine with much else to do that happens, and both come to be read: such a run says nothing."""
        before, self.busy = self.busy, self.proxy.metrics().sum("lastack_connections_closed_total", reason="worker_busy")
        return self.busy > before

    def log_of_the_run(self):
        """Why the log is not as it should be."""
        with open(self.proxy.process.log_path, errors="replace", newline="") as f:
            f.seek(self.logged)
            text = f.read()
        self.logged += len(text.encode())
        odd = [line for line in text.split("\n")[:-1] if not LINE.fullmatch(line)]
        self.said = text[-400:]
        return [f"LOG {line!r}" for line in odd[:3]] + ([f"LOG {len(text)} bytes"] if len(text) > LOG_OF_A_RUN else [])


@pytest.fixture(scope="module", params=MODES)
def world(request, module_run):
    return FcgiWorld(module_run, request.param)


def with_log(one):
    def run(world, case, way, rng):
        why = one(world, case, way, rng)
        if why and world.was_busy():
            world.log_of_the_run()
            why = one(world, case, way, rng)
        if why is None:
            return None
        why += world.log_of_the_run()
        return why and why + [f"lastack said {world.said!r}"]
    return run


@pytest.mark.parametrize("way", ways(WAYS))
def test_requests(world, way):
    run_all(world, "fcgi/request", way, WAYS[way], with_log(run_client_case))


@pytest.mark.parametrize("way", ways(SERVER_WAYS))
def test_responses(world, way):
    run_all(world, "fcgi/response", way, SERVER_WAYS[way], with_log(run_server_case))


def test_every_two_way_split_of_an_answer(world):
    """Small answers cut at each place, under LASTACK_FULL; else at one in 41, from a random start."""
    rng, failed = random.Random(SEED), []
    for case in cases.load("fcgi/response"):
        size = len(case.parts[0])
        if size > 600:
            continue
        for at in range(1 + rng.randrange(scale(41, 1)), size, scale(41, 1)):
            why = run_server_case(world, case, at, rng)
            cases.TALLY.note(case, why)
            if why:
                failed.append(f"{case} cut at {at}: {'; '.join(why)}")
                break
    assert not failed, f"LASTACK_SEED={SEED}\n" + "\n".join(failed)
