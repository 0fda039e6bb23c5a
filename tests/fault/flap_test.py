#!/usr/bin/env python3
"""Routes under attack: a receive buffer of 4 KB that overflows all the time, routes deleted and replaced in a loop, many foreign
routes. What is wanted must be there in the end, and nobody else's route may be touched.

usage: flap_test.py BIN_DIR      FIRN_LONG=yes: 100,000 routes instead of 3,000"""

import os
import sys
import unittest

import faultlib
import routeslib

BIN = faultlib.bin_dir(sys.argv)
COUNT = 100_000 if os.environ.get("FIRN_LONG") == "yes" else 3_000
ROUNDS = 5


class Flap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        faultlib.enter_private_namespaces()

    def daemon(self, **options):
        daemon = routeslib.Daemon(BIN, COUNT, **options)
        self.addCleanup(daemon.close)
        daemon.settle(120)
        return daemon

    def test_a_small_buffer_converges_under_a_flap(self):
        daemon = self.daemon(receive_buffer=4096)
        destinations = routeslib.blocks(COUNT)
        foreign = [f"198.18.{n // 250}.{n % 250 + 1}/32" for n in range(250)]
        routeslib.batch([f"route add {prefix} via {routeslib.OWNER} proto static" for prefix in foreign])
        for _ in range(ROUNDS):
            routeslib.batch([f"route del {block}" for block in destinations])
            routeslib.batch([f"route replace blackhole {block} proto static" for block in destinations[::3]])
        seconds = daemon.settle(300)
        print(f"\n  4 KB receive buffer, {ROUNDS} times {COUNT} routes deleted and a third replaced: as wanted {seconds:.1f} s after the last", flush=True)
        self.assertIn("dropped events", (daemon.top / "log").read_text(encoding="utf-8"), "the buffer was never too small")
        left = routeslib.ip("route", "show", "proto", "static")
        self.assertEqual(sum(prefix.partition("/")[0] in left.split() for prefix in foreign), len(foreign))

    def test_every_deletion_and_replacement_is_repaired(self):
        daemon = self.daemon()
        times = routeslib.repair_times(COUNT, 200)
        self.assertGreaterEqual(len(times), 190)
        print(f"\n  {COUNT} routes, one deleted or replaced at a time: repaired after {routeslib.percentile(times, 0.5):.1f} ms (median), "
              f"{routeslib.percentile(times, 0.99):.1f} ms (p99)", flush=True)
        daemon.settle(30)


if __name__ == "__main__":
    unittest.main(verbosity=2)
