#!/usr/bin/env python3
"""scripts/demo runs as a newcomer runs it, shows what it promises, and leaves nothing on the machine."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

import case
from lab import children_of, wait_for

DEMO = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "demo"
WATCHED = ("/var/lib/firn", "/etc/firn", "/etc/cni", "/run/firn", "/var/lib/cni", "/opt/cni", "/run/netns/web", "/run/netns/db")


def machine():
    """What of this machine the demo might have touched."""
    files = sorted(str(path) for folder in WATCHED for path in pathlib.Path(folder).rglob("*"))
    routes = subprocess.run(["ip", "route", "show", "table", "all", "proto", "241"], capture_output=True, text=True, check=True).stdout
    return [folder for folder in WATCHED if os.path.exists(folder)], files, routes


def descendants(pid):
    found = children_of(pid)
    for child in list(found):
        found += descendants(child)
    return found


class Demo(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="firn-t-")
        self.addCleanup(self.tmp.cleanup)
        self.before = machine()

    def start(self):
        return subprocess.Popen([DEMO, "--bin", case.bin_dir()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, env={"PATH": os.environ["PATH"], "HOME": "/root", "TMPDIR": self.tmp.name})

    def assert_nothing_is_left(self, pids):
        wait_for("every process of the demo is gone", lambda: not [p for p in pids if os.path.exists(f"/proc/{p}")])
        self.assertEqual(os.listdir(self.tmp.name), [])
        self.assertEqual(machine(), self.before)

    def test_it_shows_the_main_job(self):
        with self.start() as demo:
            output, _ = demo.communicate(timeout=60)
        self.assertEqual(demo.returncode, 0, output)
        ipv4 = re.findall(r"10\.64\.\d+\.\d+", output)
        self.assertGreaterEqual(len(set(ipv4)), 2, output)
        self.assertRegex(output, r"fd00:64::")
        self.assertRegex(output, r"10\.64\.\d+\.\d+/26 +unicast \[host4 [^]]*\] \* \(100\) \[AS64512i\]")
        self.assertRegex(output, r"fd00:64::[0-9a-f:]*/122 +unicast \[host6 ")
        self.assertEqual(output.count("3 packets transmitted, 3 received, 0% packet loss"), 4, output)
        self.assert_nothing_is_left([])

    def test_an_interrupted_demo_cleans_up(self):
        for stage in ("== 1.", "== 4.", "== 6."):
            with self.subTest(stage=stage), self.start() as demo:
                for line in demo.stdout:
                    if line.startswith(stage):
                        break
                pids = descendants(demo.pid)
                demo.send_signal(signal.SIGTERM)
                demo.stdout.read()
                self.assertEqual(demo.wait(30), 143)
                self.assert_nothing_is_left(pids)


if __name__ == "__main__":
    case.main()
