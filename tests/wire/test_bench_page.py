"""The bench's HTML report: its numbers are the JSON's, what it quotes stays text, it asks nobody for anything, and a browser shows
all of it in light, in dark, on a small screen and on paper."""
import base64
import html.parser
import json
import os
import re
import subprocess

import pytest

from harness.browser import Browser
from harness.peers import program
from harness.proxy import ROOT
from harness.wait import FULL

QUANTILES = ("p50", "p90", "p99", "p99_9", "p99_99", "max")
PARTS = ("queue", "connect", "backend", "proxy")
NASTY = "<script>window.broken=1</script>"


def report(*words, file=None):
    text = subprocess.run([program("peer_report"), *map(str, words)], stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    if file:
        with open(file, "w") as f:
            f.write(text)
    return text


class Rows(html.parser.HTMLParser):
    """Rows of the page's tables by the table's id: of each cell the numbers that it holds and shows, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.rows, self.cell, self.value, self.tags = {}, None, None, None, set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes).get("id"), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = {"numbers": [], "text": ""}
            self.rows[-1].append(self.cell)
        elif tag == "data" and self.cell is not None:
            self.value = float(dict(attributes)["value"])

    def handle_data(self, text):
        if self.cell is not None:
            self.cell["text"] += text
            if self.value is not None:
                self.cell["numbers"].append((self.value, text))
                self.value = None


def latency(x):
    return [x["latency_us"][q] for q in QUANTILES]


def split(x):
    return [x["split"][p]["mean_us"] for p in PARTS]


def expected(r):
    """Per table, the rows' numbers as the JSON has them."""
    return {
        "sizes": [[p["size"], p["runs"], p["throughput"], p["low"], p["high"], *latency(p), p["fail_ratio"], p["busy"], p["little"], p["utilisation"],
                   *split(p)] for p in r["points"]],
        "runs": [[x["size"], x["rate"], x["clients"], x["throughput"], x["done"], x["failed"], *latency(x), *split(x), x["late_us"]["p99"]]
                 for x in r["runs"]],
        "resources": [[x["size"], x["seconds"], x["connections"]["opened"], x["connections"]["closed_by_backend"], x["connections"]["closed_by_proxy"],
                       x["connections"]["busy"], x["connections"]["utilisation"], x["ports"]["open"], x["ports"]["time_wait"], x["cpu_s"]["proxy"],
                       x["cpu_s"]["backend"], x["cpu_s"]["generator"], *[e["n"] for e in x["errors"]]] for x in r["runs"]],
    }


MS = set(QUANTILES) | {"p99.9", "p99.99", "late p99"} | set(PARTS)


def check_shown(value, text, column):
    """The text is the value, rounded to the digits that it shows."""
    value *= 100 if "%" in text else 1
    if column in MS:
        value /= 1000
    digits = re.match(r"-?[\d,]+(?:\.(\d+))?", text)
    if digits:  # else a run's name: "64 (2)" begins with its size
        assert abs(float(digits[0].replace(",", "")) - value) <= 0.5001 * 10 ** -len(digits[1] or ""), (value, text, column)


def check_tables(drawn, r):
    checked = 0
    for name, rows in expected(r).items():
        found = drawn.tables[name]
        columns = [c["text"] for c in found[0]]
        assert len(found) == len(rows) + 1 and len(rows) > 0
        for row, want in zip(found[1:], rows):
            assert [v for cell in row for v, _ in cell["numbers"]] == [v for v in want if v is not None], name
            for cell, column in zip(row, columns):
                in_ms = column if name != "resources" else ""
                for value, text in cell["numbers"]:
                    check_shown(value, text, in_ms)
                    checked += 1
            assert sum(cell["text"] == "\u2013" for cell in row) == want.count(None)
    assert checked > 1000


def draw(path):
    """What the page's script makes of it, without a browser."""
    return json.loads(subprocess.run(["node", os.path.join(ROOT, "tests/peers/page.js"), path], stdout=subprocess.PIPE, text=True, check=True,
                                     timeout=60).stdout)


def test_numbers_are_those_of_the_json(run):
    path = os.path.join(run.folder("page"), "report.html")
    report("html", 1, file=path)
    r, drawn = json.loads(report("json", 1)), draw(path)
    page = Rows(drawn["all"])
    check_tables(page, r)
    assert drawn["title"] == "lastack bench: pool.max 20" and "pool.max: <data value='20'>20</data></h1>" in drawn["all"]
    assert not page.tags & {"script", "img", "b", "iframe", "link", "object"}, "what the report quotes stays text"
    for text in (r["verdict"]["reason"], *r["verdict"]["notes"], r["verdict"]["config"], r["options"]["load"]["headers"]):
        assert html.escape(text).replace("&#x27;", "&#39;") in re.sub(r"&#(60|62|38|34);", lambda m: html.escape(chr(int(m[1]))), drawn["all"])
    for shown in ("lastack", "cpu.model", "net.ipv4.ip_local_port_range", "net.core.somaxconn", "net.ipv4.tcp_tw_reuse"):
        assert f"<th scope='row'>{shown}</th>" in drawn["all"]


def test_nothing_measured(run):
    path = os.path.join(run.folder("page"), "none.html")
    report("none", file=path)
    drawn = draw(path)
    assert "<h1>No verdict</h1>" in drawn["all"] and "connection refused" in drawn["all"] and "Interrupted" in drawn["all"]
    assert not {"sizes", "runs"} & Rows(drawn["all"]).tables.keys()


def forget(x):
    """All figures that a run or a size may not know."""
    for key in ("latency_us", "late_us", "cpu_s"):
        x.update({key: dict.fromkeys(x[key])} if key in x else {})
    x["split"] = {p: dict.fromkeys(x["split"][p]) for p in PARTS}
    x.update({k: None for k in ("low", "high", "p99_low_us", "p99_high_us", "busy", "little", "utilisation", "rate", "begin_s") if k in x})
    if "heat" in x:
        x["heat"] = {"slice_s": None, "rows": []}


def first_run_only(r):
    r["runs"], r["interrupted"] = r["runs"][:1], True
    r["points"] = [p for p in r["points"] if p["size"] == r["runs"][0]["size"]]


def nothing_known(r):
    for x in r["points"] + r["runs"]:
        forget(x)
    r["model"], r["curve"] = "none", []
    r.update(dict.fromkeys(("drift", "noise", "swing", "environment", "ports")))


def many(r):
    r["points"] = [{**r["points"][n % 10], "size": n + 1} for n in range(64)]
    r["runs"] = [{**r["runs"][n % 36], "size": n % 64 + 1} for n in range(300)]


@pytest.mark.parametrize("change", [first_run_only, nothing_known, many])
def test_odd_reports(run, change):
    r = json.loads(report("json", 1))
    change(r)
    text = os.path.join(run.folder("page"), "report.json")
    with open(text, "w") as f:
        json.dump(r, f)
    report("page", text, file=text + ".html")
    drawn = draw(text + ".html")
    page = Rows(drawn["all"])
    for name, rows in expected(r).items():
        assert [[v for cell in row for v, _ in cell["numbers"]] for row in page.tables[name][1:]] == [[v for v in row if v is not None] for row in rows]
    assert "NaN" not in drawn["all"] and "undefined" not in drawn["all"] and "Infinity" not in drawn["all"]


# What of the page's drawings lies outside of them, and what is wider than where it stands and cannot be scrolled.
OUTSIDE = """[...document.querySelectorAll('figure .scroll svg')].flatMap(s => [...s.querySelectorAll('text, circle, polyline, path')].filter(e => {
    const a = s.getBoundingClientRect(), b = e.getBoundingClientRect();
    return !e.closest('defs') && b.width && (b.left < a.left - 1 || b.right > a.right + 1 || b.top < a.top - 1 || b.bottom > a.bottom + 1);
  }).map(e => e.textContent || e.tagName))"""
WIDER = """[...document.querySelectorAll('section, pre, .facts, h1, dl')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.innerText.slice(0, 60))"""
HIDDEN = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"


@pytest.mark.skipif(not FULL, reason="chromium: sh tests/run.sh --full")
def test_in_a_browser(run):
    folder = run.folder("shots")
    path = os.path.join(folder, "report.html")
    report("html", 1, file=path)
    browser = run.own(Browser(run.directory))
    browser.call("Log.enable")
    browser.open(f"file://{path}")
    check_tables(Rows(browser.js("document.getElementById('all').innerHTML")), json.loads(report("json", 1)))
    assert browser.js("typeof window.broken") == "undefined" and NASTY in browser.text()
    seen = {}
    for name, media, scheme, width in (("light", "screen", "light", 1400), ("dark", "screen", "dark", 1400), ("small", "screen", "light", 420),
                                       ("print", "print", "dark", 1047)):
        browser.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        height = browser.js("document.documentElement.scrollHeight")
        picture = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                               clip={"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1})
        with open(os.path.join(folder, f"{name}.png"), "wb") as f:
            f.write(base64.b64decode(picture["data"]))
        seen[name] = browser.js("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        assert browser.js("document.documentElement.scrollWidth") <= width, name
        assert browser.js(OUTSIDE) == [] and browser.js(WIDER) == [], name
        if name != "small":  # there tables and drawings scroll; elsewhere, on paper above all, all is in sight
            assert browser.js(HIDDEN) == 0, name
    assert seen["light"] != seen["dark"] and seen["light"][1] == seen["print"][1], "paper is light whatever the screen is"
    unnamed = "[...document.querySelectorAll('figure svg')].filter(e => !e.closest('[aria-hidden]') && !e.getAttribute('aria-label') && e.getAttribute('aria-hidden') != 'true').length"
    assert browser.js(unnamed) == 0 and browser.js("document.querySelectorAll('figure svg[aria-label]').length") >= 5
    pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    with open(os.path.join(folder, "report.pdf"), "wb") as f:
        f.write(pdf)
    assert pdf.startswith(b"%PDF")
    before = browser.js("document.getElementById('one').innerHTML")
    browser.js("(e => { e.value = '3'; e.dispatchEvent(new Event('change')); })(document.getElementById('pick'))")
    assert browser.js("document.getElementById('one').innerHTML") != before
    browser.click("#copy")
    browser.wait("document.getElementById('copy').textContent != 'Copy'")
    assert [a for _, a, _ in browser.answers] == [f"file://{path}"] and browser.failures == [], "it asks nobody for anything"


@pytest.mark.skipif(not FULL, reason="chromium: sh tests/run.sh --full")
def test_the_policy_lets_nothing_out(run):
    """Were a text ever to become an element, the page's policy still stops its request."""
    path = os.path.join(run.folder("shots"), "report.html")
    report("html", 1, file=path)
    origin = run.origin()
    browser = run.own(Browser(run.directory))
    browser.open(f"file://{path}")
    blocked = browser.js(f"""new Promise(done => {{ let n = 0, want = 0;
      document.addEventListener('securitypolicyviolation', () => {{ if (++n === want) done(n); }});
      for (const tag of ['img', 'script', 'video']) {{ const e = document.createElement(tag); e.src = 'http://{origin.text}/x'; want++; document.body.append(e); }}
      want++; fetch('http://{origin.text}/x').catch(() => 0); }})""")
    assert blocked == 4 and not origin.connections
