"""A wire between two hosts that passes through this program, packet by packet: it can hold some of them back.

Two tun devices joined by a thread. delay(packet) gives the milliseconds that a packet (bytes, from the IP header on)
is held; None loses it."""
import fcntl
import heapq
import os
import select
import struct
import threading
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000


def is_syn(packet):
    """An IPv4 TCP packet that opens a connection (SYN without ACK)."""
    header = (packet[0] & 15) * 4
    return packet[0] >> 4 == 4 and packet[9] == 6 and packet[header + 13] & 0x12 == 0x02


class Wire:
    def __init__(self, near, near_address, far, far_address, delay):
        self.delay, self.closing, self.passed = delay, False, 0
        self.fds = [self._tun(near, "w0", near_address), self._tun(far, "w0", far_address)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _tun(host, name, address):
        with host.inside():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        host.add_address(name, address)
        host.link(name, True)
        return fd

    def _run(self):
        held, serial = [], 0
        a, b = self.fds
        while not self.closing:
            now = time.monotonic()
            while held and held[0][0] <= now:
                _, _, fd, packet = heapq.heappop(held)
                self._write(fd, packet)
            wait = min(0.1, max(0, held[0][0] - now)) if held else 0.1
            for fd in select.select([a, b], [], [], wait)[0]:
                for _ in range(64):
                    try:
                        packet = os.read(fd, 65535)
                    except OSError:
                        break
                    self.passed += 1
                    ms = self.delay(packet)
                    to = b if fd == a else a
                    if ms == 0:
                        self._write(to, packet)
                    elif ms is not None:
                        serial += 1
                        heapq.heappush(held, (time.monotonic() + ms / 1000, serial, to, packet))

    @staticmethod
    def _write(fd, packet):
        try:
            os.write(fd, packet)
        except OSError:
            pass  # the other device is down: lost, as on a wire

    def close(self):
        self.closing = True
        self.thread.join(2)
        for fd in self.fds:
            os.close(fd)
