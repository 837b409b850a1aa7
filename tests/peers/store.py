"""A server on aiohttp that tells the digest of what it was sent, and sends what has a known digest.

store.py PORT
  PUT or POST, any path    {"bytes", "sha256", "framing", "expect"} of the body
  GET /down?size=N&chunked=0|1
  GET /stats               {"requests", "busy"}"""
import hashlib
import json
import os
import sys

from aiohttp import web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.dont_write_bytecode = True
from harness import pattern  # noqa: E402

seen = {"requests": 0, "busy": 0}


async def take(request):
    h, n = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        h.update(piece)
        n += len(piece)
    framing = request.headers.get("Transfer-Encoding") or "length"
    return web.Response(text=json.dumps({"bytes": n, "sha256": h.hexdigest(), "framing": framing,
                                         "expect": request.headers.get("Expect")}))


async def give(request):
    size = int(request.query["size"])
    response = web.StreamResponse()
    if request.query.get("chunked") == "1":
        response.enable_chunked_encoding()
    else:
        response.content_length = size
    await response.prepare(request)
    for piece in pattern.pieces(size):
        await response.write(piece)
    await response.write_eof()
    return response


async def answer(request):
    if request.path == "/stats":
        return web.Response(text=json.dumps(seen))
    seen["requests"] += 1
    seen["busy"] += 1
    try:
        return await (give(request) if request.method == "GET" else take(request))
    finally:
        seen["busy"] -= 1


app = web.Application(client_max_size=0)
app.router.add_route("*", "/{path:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
