#!/usr/bin/env python3
"""Counts lost packets: numbered UDP packets, 1,000 a second, from one place to another, and which of them arrived.

As a program, inside a namespace:  probe.py send ADDRESS  |  probe.py receive ADDRESS. Both end at SIGTERM, and the sender at the
latest after an hour; each says in its last line, as JSON, what it has sent or seen."""

import ipaddress
import json
import pathlib
import signal
import socket
import struct
import sys
import time

PORT, RATE, LONGEST = 9999, 1000, 3600
NUMBER = struct.Struct("!Q")
QUIET = 0.3  # after so long without a packet nothing more is on its way


class Result:
    def __init__(self, sent, seen):
        """seen: pairs of the first and the last number of packets that arrived in a row, wherever."""
        self.sent, self.lost, self.gaps, following = sent, 0, [], 0
        for first, last in sorted(seen) + [[sent, sent]]:
            if first > following:
                self.lost += first - following
                self.gaps.append((following / RATE, first - following))
            following = max(following, last + 1)

    def __str__(self):
        where = ", ".join(f"{count} at {at:.2f} s" for at, count in self.gaps[:8])
        return f"{self.lost} of {self.sent} packets lost" + (f" ({where})" if where else "")


class Probe:
    """Packets to an address in another place, or in any of several. A place is (host, path of a network namespace in it, or None for
    the host's own)."""

    def __init__(self, source, sinks, address):
        self.receivers = [self._start("probe-receive", sink, "receive", address) for sink in (sinks if isinstance(sinks, list) else [sinks])]
        for receiver in self.receivers:
            while "listening" not in receiver.log():  # what is sent before would count as lost
                if not receiver.alive():
                    raise AssertionError(f"the receiver does not listen: {receiver.log()}")
                time.sleep(0.01)
        self.sender = self._start("probe-send", source, "send", address)

    @staticmethod
    def _start(name, place, *arguments):
        host, netns = place
        inside = ["nsenter", f"--net={netns}"] if netns else []
        return host.start(name, *inside, sys.executable, "-B", pathlib.Path(__file__).resolve(), *arguments)

    def stop(self):
        for process in (self.sender, *self.receivers):
            if process.terminate(60) != 0:
                raise AssertionError(f"{process.name} failed: {process.log()}")
        sent, *seen = (json.loads(process.log().splitlines()[-1]) for process in (self.sender, *self.receivers))
        return Result(sent, sum(seen, []))


class Ending:
    """True once the process has been asked to end."""

    def __init__(self):
        self.asked = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked", True))

    def __bool__(self):
        return self.asked


def udp(address):
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def send(address, ending):
    link, number, began = udp(address), 0, time.monotonic()
    while not ending and number < RATE * LONGEST:
        early = began + number / RATE - time.monotonic()
        if early > 0:
            time.sleep(early)
        elif early < -0.05:
            began -= early  # the machine was busy: go on at the same rate instead of a burst
        try:
            link.sendto(NUMBER.pack(number), (address, PORT))
        except OSError:
            pass  # no way there: it is lost, and counts
        number += 1
    print(number)


def receive(address, ending):
    link = udp(address)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    link.bind((address, PORT))
    link.settimeout(QUIET)
    print("listening", flush=True)
    seen = set()
    while True:
        try:
            seen.add(NUMBER.unpack(link.recv(64))[0])
        except socket.timeout:
            if ending:
                break
    rows = []
    for number in sorted(seen):
        if rows and rows[-1][1] == number - 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    print(json.dumps(rows))


if __name__ == "__main__":
    {"send": send, "receive": receive}[sys.argv[1]](sys.argv[2], Ending())
