"""Bytes that anybody can make again: a block of a prime number of bytes, over and over, so that a piece that is lost,
doubled or out of place changes the digest whatever its size is."""
import hashlib
import random

BLOCK = random.Random(20260101).randbytes(1048573)


def pieces(size):
    while size > 0:
        piece = BLOCK[:size]
        yield piece
        size -= len(piece)


def digest(size):
    h = hashlib.sha256()
    for piece in pieces(size):
        h.update(piece)
    return h.hexdigest()


def write(path, size):
    with open(path, "wb") as f:
        for piece in pieces(size):
            f.write(piece)
    return path
