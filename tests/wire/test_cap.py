"""The cap is exact: four workers, eight places, a backend that resets the ninth connection, bursts of 300 clients."""
from statistics import mean

from harness.peers import clean
from harness.raw import Client, Crowd, request
from harness.wait import scale, until

PLACES, CLIENTS = 8, 300
BURST = scale(1500, 4000)
REQUESTS = scale(4500, 100000)
SERVICE_US = 20000  # long against what a scheduler with few cores does to six busy threads


def busy_between(first, last):
    """The average of busy connections at the backend between two of its reports."""
    span = last["window_seconds"] - first["window_seconds"]
    total = last["busy_average"] * last["window_seconds"] - first["busy_average"] * first["window_seconds"]
    return total / span


def test_bursts_never_exceed_the_cap_and_keep_it_busy(run):
    backend = run.backend(max_connections=PLACES, delay_us=SERVICE_US)
    _, port = run.front([backend], workers=4, pool={"max": PLACES})
    averages = []
    for burst in range(REQUESTS // BURST):
        load = run.load(port, clients=CLIENTS, requests=BURST, keepalive=50)
        before = burst * BURST
        # All 300 clients have a request under way from when the first ones were answered until the last 300.
        first = until(lambda: (s := backend.stats())["responses"] >= before + PLACES and s, 10, "the burst's start")
        last = until(lambda: (s := backend.stats())["requests"] >= before + BURST - CLIENTS and s, 120, "its end", 0.01)
        averages.append(busy_between(first, last))
        clean(load.result())
    seen = backend.stats()
    assert seen["over_cap"] == 0 and seen["open_max"] <= PLACES
    assert seen["requests"] == REQUESTS and seen["duplicates"] == 0
    assert seen["accepted"] <= PLACES, "no connection is lost over all of it"
    # A machine that does other things meanwhile costs the backend's report some of it.
    assert scale(max, mean)(averages) >= scale(7, 7.8), averages


def test_clients_that_leave_in_the_middle(run):
    """Their connections are reset, because the rest of the response is long, and dialed anew. Only the backend knows when
    it has seen a reset: few of the new ones may come before that."""
    backend = run.backend(max_connections=4)
    _, port = run.front([backend], workers=2, pool={"max": 4}, buffer={"response_file": 0})

    def leave(_):
        for _ in range(scale(40, 400)):
            with Client(port) as c:
                c.send(request("/?size=8000000"))
                assert c.fill()
                c.reset()
    Crowd(16, leave).results()
    until(lambda: backend.stats()["open"] <= 4 and backend.stats()["busy"] == 0, 10, "the end")
    seen = backend.stats()
    assert seen["accepted"] > 16 * 20
    assert seen["over_cap"] <= seen["accepted"] / 20, seen
