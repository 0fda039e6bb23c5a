#!/usr/bin/env python3
"""The lab tested by itself: hosts are apart from the machine and from each other, and leave nothing, whatever ends the test."""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

import cni
from lab import Lab, LabError, wait_for

BIN = os.environ.get("FIRN_BIN", "/usr/bin")
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from lab import Lab
lab = Lab("/usr/bin")
host = lab.host("one")
host.start("sleeper", "sleep", "1000")
print(host.pid, lab.dir, flush=True)
sys.stdin.read()
"""


class Hosts(unittest.TestCase):
    def test_hosts_have_files_and_names_of_their_own(self):
        with Lab(BIN) as lab:
            one, two = lab.host("one"), lab.host("two")
            for host in (one, two):
                host.write("/etc/cni/net.d/a.conf", host.name)
                host.write("/var/lib/new/file", host.name)
                self.assertEqual(host.out("cat", "/etc/cni/net.d/a.conf"), host.name)
                self.assertEqual(host.out("hostname").strip(), host.name)
                self.assertNotIn("eth0", host.out("ip", "-o", "link"))
            self.assertFalse(pathlib.Path("/var/lib/new").exists())
            self.assertFalse(pathlib.Path("/etc/cni/net.d/a.conf").exists())

    def test_a_link_carries_packets(self):
        with Lab(BIN) as lab:
            one, two = lab.host("one"), lab.host("two")
            lab.link(one, "up0", two, "down0", ["192.0.2.1/30", "2001:db8::1/64"], ["192.0.2.2/30", "2001:db8::2/64"])
            # The kernel sees to a new carrier and a new address a little later, on a busy machine.
            wait_for("IPv4 passes", lambda: one.pings("192.0.2.2"))
            wait_for("IPv6 passes", lambda: two.pings("2001:db8::1"))
            self.assertFalse(one.pings("198.51.100.1"))

    def test_the_reference_plugins_run_in_a_host(self):
        with Lab(BIN) as lab:
            host = lab.host("one")
            network = cni.Network(host, "lab", [
                {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}},
                {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}])
            netns = host.netns("c1")
            address = cni.addresses(network.add("c1", netns))[0]
            self.assertTrue(host.pings(address))
            network.check("c1", netns)
            network.delete("c1", netns)
            self.assertFalse(host.pings(address))

    def test_processes_are_ended_by_their_number(self):
        with Lab(BIN) as lab:
            host = lab.host("one")
            sleeper, other = host.start("sleeper", "sleep", "1000"), host.start("sleeper", "sleep", "1000")
            self.assertEqual(sleeper.kill(), -signal.SIGKILL)
            self.assertTrue(other.alive())
            self.assertEqual(other.terminate(), -signal.SIGTERM)

    def test_a_wait_ends_with_words(self):
        with self.assertRaisesRegex(LabError, "not within 0.1 s: the impossible"):
            wait_for("the impossible", lambda: False, deadline=0.1)

    def test_nothing_is_left_when_the_test_is_ended(self):
        for number, leaves_files in ((signal.SIGTERM, False), (signal.SIGKILL, True)):
            child = subprocess.Popen([sys.executable, "-c", CHILD, os.path.dirname(os.path.abspath(__file__))],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            with child:
                holder, folder = child.stdout.readline().split()
                child.send_signal(number)
                child.wait(20)
            wait_for("the host is gone", lambda p=holder: not pathlib.Path("/proc", p).exists())
            self.assertEqual(pathlib.Path(folder).exists(), leaves_files)
            if leaves_files:
                subprocess.run(["rm", "-r", folder], check=True)


if __name__ == "__main__":
    unittest.main()
