"""WordPress of Debian, with MariaDB, php-fpm and lastack and nothing else, used through Chromium: installed, logged in to, a page
written with an uploaded image, looked at, searched for. Half a gigabyte of packages: with --full."""
import collections
import os
import struct
import zlib

import pytest

from harness import servers
from harness.browser import Browser
from harness.proxy import free_port
from harness.raw import get
from harness.wait import FULL
from harness.wordpress import MariaDb, wordpress

WIDTH, HEIGHT = 640, 400
PASSWORD = "correct Horse 9 battery, staple"
SENTENCE = "A pool of seven connections carried this sentence."


def picture(path):
    """A PNG: colours that run, so that a picture cut short or mixed up is seen."""
    rows = b"".join(b"\0" + b"".join(bytes((x * 255 // WIDTH, y * 255 // HEIGHT, 128)) for x in range(WIDTH)) for y in range(HEIGHT))

    def chunk(kind, data):
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack("!IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


class Visit:
    """The browser on the site, and numbered pictures of it."""

    def __init__(self, run, port):
        self.browser, self.site, self.folder, self.shots = run.own(Browser(run.directory)), f"http://127.0.0.1:{port}", run.folder("shots"), 0

    def look(self, name):
        self.shots += 1
        self.browser.screenshot(os.path.join(self.folder, f"{self.shots}-{name}.png"))

    def install(self):
        b = self.browser
        b.open(f"{self.site}/wp-admin/install.php")
        b.wait("!!document.querySelector('#weblog_title')")
        b.type("#weblog_title", "Behind lastack")
        b.type("#user_login", "editor")
        b.type("#pass1", PASSWORD)
        b.type("#admin_email", "editor@example.org")
        self.look("install")
        b.click("#submit")
        b.wait("document.body.innerText.includes('Success!')")

    def log_in(self):
        b = self.browser
        b.open(f"{self.site}/wp-login.php")
        b.wait("document.activeElement && document.activeElement.id == 'user_login'")  # its script puts the cursor there
        b.type("#user_login", "editor")
        b.type("#user_pass", PASSWORD)
        b.click("#wp-submit")
        b.wait("!!document.querySelector('#wpadminbar') && document.readyState == 'complete'")
        assert "Dashboard" in b.text()
        self.look("dashboard")

    def upload(self, path):
        """Through the uploader's own script; the address of the picture."""
        b = self.browser
        b.open(f"{self.site}/wp-admin/media-new.php")
        b.choose("input[type=file][id^=html5_]", path)
        b.wait("(i => i && i.complete && i.naturalWidth > 0)(document.querySelector('.media-item img.pinkynail'))")
        self.look("uploaded")
        return b.js("document.querySelector('.media-item .copy-attachment-url').dataset.clipboardText")

    def write(self, title, text, image):
        """A page in the block editor; its address."""
        b = self.browser
        b.open(f"{self.site}/wp-admin/post-new.php?post_type=page")
        b.wait("!!document.querySelector('.wp-block-post-title')")
        b.wait("(d => d ? (d.click(), false) : true)(document.querySelector('.components-modal__header button'))")  # "Welcome"
        b.type(".wp-block-post-title", title)
        b.press_enter()
        b.wait("document.activeElement.classList.contains('block-editor-rich-text__editable') && "
               "!document.activeElement.classList.contains('wp-block-post-title')")
        b.call("Input.insertText", text=text)
        b.js(f"wp.data.dispatch('core/block-editor').insertBlocks(wp.blocks.createBlock('core/image', {{url: {image!r}}})).then(() => true)")
        b.wait("(i => i && i.complete && i.naturalWidth > 0)(document.querySelector('.wp-block-image img'))")
        self.look("editor")
        b.click(".editor-post-publish-panel__toggle")
        b.click(".editor-post-publish-button")
        b.wait("!!document.querySelector('.post-publish-panel__postpublish-buttons a')")
        self.look("published")
        return b.js("document.querySelector('.post-publish-panel__postpublish-buttons a').href")

    def read(self, address, title, text):
        b = self.browser
        b.open(address)
        assert b.js("document.querySelector('h1').innerText") == title
        assert text in b.text()
        assert b.js("(i => [i.complete, i.naturalWidth, i.naturalHeight])(document.querySelector('.wp-block-image img'))") == [True, WIDTH, HEIGHT]
        self.look("page")

    def search(self, word):
        """By the form that a page which is not there offers; the titles found."""
        b = self.browser
        b.open(f"{self.site}/there-is-no-such-page/")
        b.type("input[type=search]", word)
        self.look("not-found")
        b.click("form[role=search] [type=submit]")
        b.wait("location.search.startsWith('?s=') && document.readyState == 'complete'")
        self.look("found")
        return b.js("[...document.querySelectorAll('main h2, main h3')].map(e => e.innerText)")


@pytest.mark.skipif(not FULL, reason="half a gigabyte of packages: sh tests/run.sh --full")
def test_a_site_behind_lastack_alone(run):
    root = run.folder("www")
    wordpress(root, run.own(MariaDb(run.directory, "wordpress")))
    fpm = run.own(servers.PhpFpm(run.directory))
    proxy, port = run.front([fpm], protocol="fastcgi", pool={"max": 7}, queue={"length": 2000, "timeout": "60s"},
                            fastcgi={"root": root, "try": ["$uri", "$uri/", "/index.php"], "status_path": "/fpm-status"})
    visit = Visit(run, port)
    visit.install()
    visit.log_in()
    image = visit.upload(picture(os.path.join(str(run.directory), "colours.png")))
    assert image.startswith(visit.site) and image.endswith("/colours.png")
    page = visit.write("Seven connections", SENTENCE, image)
    assert page == f"{visit.site}/seven-connections/"  # WordPress asked itself and found that the front controller works
    visit.browser.open(visit.site)  # the editor says goodbye
    visit.browser.call("Network.clearBrowserCookies")  # from now on as a visitor
    visit.read(page, "Seven connections", SENTENCE)
    visit.browser.open(image)
    assert visit.browser.js("[document.images.length, document.images[0].naturalWidth]") == [1, WIDTH]
    assert "Seven connections" in visit.search("sentence")
    assert "Seven connections" not in visit.search("nothing-has-this-word")
    judge(visit.browser, proxy, fpm, port)


def judge(browser, proxy, fpm, port):
    """Everything that the browser loaded came from lastack and was good; scripts by php-fpm, files by lastack itself."""
    seen = [(status, address, kind) for status, address, kind in browser.answers if address.startswith("http")]
    assert seen and all(address.startswith(f"http://127.0.0.1:{port}/") for _, address, _ in seen)
    bad = [s for s in seen if s[0] >= 400 and not (s[0] == 404 and "no-such-page" in s[1])]
    assert not bad, bad
    kinds = collections.Counter(kind for _, _, kind in seen)
    assert {"text/html", "text/css", "image/png"} <= set(kinds) and sum(n for k, n in kinds.items() if "javascript" in k) > 20, kinds
    # WordPress tries whether its address speaks TLS: those are no requests. A page that is left may break a transfer off.
    lines = [l for l in proxy.access() if l["method"]]
    files, scripts = ([l for l in lines if bool(l["server"]) == by_php] for by_php in (False, True))
    assert len(files) > 50 and len(scripts) > 20, (len(files), len(scripts))
    bad = [l for l in lines if l.get("error") not in (None, "", "client_gone") or l["status"] >= 500]
    assert not bad, bad
    assert fpm.status()["max listen queue"] == 0
    assert proxy.metrics().sum("lastack_connections_closed_total", by="proxy") == 0
    for secret in "/wp-content/", "/wp-includes/":  # no listing of what lies there
        assert get(port, secret).body.find(b"Index of") < 0
    assert "pm.max_children" not in proxy.log()
    print(f"{len(lines)} requests: {len(files)} files, {len(scripts)} scripts; {dict(kinds)}")
