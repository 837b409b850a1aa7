"""The results: kept as numbers, written as one Markdown table and as JSON; what they are held against."""
import json
import os
import statistics

PEERS = ("nginx", "haproxy")
FLOORS = ("floor", "floor-more")
CACHES = ("twemproxy", "direct")
REAL = ("lastack", "before", *PEERS)  # before: another lastack, to be compared with
# (row, metric): (kind, bound). abs: lastack's own figure; better: its ratio to the better peer; else to that proxy.
GOALS = {
    ("short", "cpu"): ("better", 0.60),
    ("kept", "cpu"): ("nginx", 0.75),
    ("large", "cpu per byte"): ("nginx", 1.0),
    ("php short", "cpu of both"): ("better", 1.0),
    ("php kept", "cpu of both"): ("better", 1.0),
    ("syscalls short", "all"): ("abs", 6.6),
    ("instructions short", "user"): ("abs", 6000),
    ("instructions kept", "user"): ("abs", 5000),
    ("latency short", "p99"): ("better", 1.0),
    ("latency kept", "p99"): ("better", 1.0),
    ("idle", "PSS per client"): ("abs", 400),
    ("slow", "p99 with slow clients / without"): ("abs", 2.0),
    ("memcached short", "cpu"): ("twemproxy", 1.0),
    ("memcached short", "get p50"): ("twemproxy", 1.0),
    ("memcached short", "page p50"): ("twemproxy", 1.0),
    ("memcached alone", "page p50"): ("floor", 1.3),
    ("memcached alone", "kept get p50"): ("floor", 1.3),
    ("memcached kept", "cpu"): ("twemproxy", 1.0),
    ("memcached kept", "get p50"): ("twemproxy", 1.0),
    ("memcached many", "1,000 keys p50"): ("direct", 1.5),
    ("memcached large", "with / without"): ("abs", 3.0),
    ("memcached far", "page p50"): ("direct", 1.0),
}


class Table:
    def __init__(self):
        self.results = []

    def add(self, row, metric, unit, proxy, values, more_is_better=False):
        """values: one for each run."""
        values = [float(v) for v in values]
        self.results.append(dict(row=row, metric=metric, unit=unit, proxy=proxy, median=statistics.median(values),
                                 low=min(values), high=max(values), runs=len(values), more_is_better=more_is_better))

    def get(self, row, metric, proxy):
        for r in self.results:
            if (r["row"], r["metric"], r["proxy"]) == (row, metric, proxy):
                return r
        return None

    def _lines(self):
        """One per (row, metric), in the order in which they came."""
        lines = {}
        for r in self.results:
            lines.setdefault((r["row"], r["metric"]), {})[r["proxy"]] = r
        return lines

    @staticmethod
    def better(of):
        peers = [of[p]["median"] for p in PEERS if p in of]
        more = next(iter(of.values()))["more_is_better"]
        return (max if more else min)(peers) if peers else None

    @staticmethod
    def ratio(of, to):
        if "lastack" not in of or not to:
            return None
        return of["lastack"]["median"] / to

    def goal(self, key, of):
        """(text, met or None)"""
        if key not in GOALS or "lastack" not in of:
            return "", None
        kind, bound = GOALS[key]
        if kind == "abs":
            return f"<= {_number(bound)}", of["lastack"]["median"] <= bound
        to = self.better(of) if kind == "better" else of[kind]["median"] if kind in of else None
        ratio = self.ratio(of, to)
        text = f"<= {bound:.2f} x {'the better' if kind == 'better' else kind}"
        return text, None if ratio is None else ratio <= bound

    def markdown(self, about):
        seen = {r["proxy"] for r in self.results}
        columns = [p for p in (*REAL, *CACHES, *FLOORS) if p in seen]
        ratios = ["before"] * ("before" in seen) + ["peer", "floor"]
        out = [about, "", "Median of the runs (lowest to highest). \"to peer\" is lastack over the better of nginx and HAProxy, "
               "\"to floor\" over the better floor (see floor.c); less is better but where it says more.", "",
               "| " + " | ".join(["row", "what", *columns, *(f"to {r}" for r in ratios), "goal"]) + " |",
               "|---" * (len(columns) + len(ratios) + 3) + "|"]
        for key, of in self._lines().items():
            first = next(iter(of.values()))
            floors = [of[f]["median"] for f in FLOORS if f in of]
            floor = (max if first["more_is_better"] else min)(floors) if floors else None
            goal, met = self.goal(key, of)
            mark = {True: " **met**", False: " **not met**", None: ""}[met]
            what = key[1] + (f", {first['unit']}" if first["unit"] else "") + (" (more is better)" if first["more_is_better"] else "")
            to = dict(before=of["before"]["median"] if "before" in of else None, peer=self.better(of), floor=floor)
            cells = [_cell(of.get(p)) for p in columns] + [_ratio(self.ratio(of, to[r])) for r in ratios]
            out.append("| " + " | ".join([key[0], what, *cells, goal + mark]) + " |")
        return "\n".join(out) + "\n"

    def write(self, folder, about, facts):
        with open(os.path.join(folder, "bench.md"), "w") as f:
            f.write(self.markdown(about))
        lines = []
        for key, of in self._lines().items():
            goal, met = self.goal(key, of)
            lines.append(dict(row=key[0], metric=key[1], to_peer=self.ratio(of, self.better(of)), goal=goal, met=met))
        with open(os.path.join(folder, "bench.json"), "w") as f:
            json.dump(dict(facts=facts, results=self.results, comparisons=lines), f, indent=1)


def _number(v):
    if v == 0:
        return "0"
    if abs(v) >= 100:
        return f"{v:,.0f}"
    return f"{v:.1f}" if abs(v) >= 10 else f"{v:.2f}"


def _cell(r):
    if r is None:
        return ""
    text = _number(r["median"])
    return text if r["runs"] == 1 else f"{text} ({_number(r['low'])}-{_number(r['high'])})"


def _ratio(v):
    return "" if v is None else f"{v:.2f}"
