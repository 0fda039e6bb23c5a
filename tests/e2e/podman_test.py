#!/usr/bin/env python3
"""Podman 4.3 with its CNI backend attaches containers through firn."""

import re

import case
from firnhost import HOST, Firn, list_config, uplink
from lab import LabError, wait_for
from runtimes import Podman

PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


class PodmanContainers(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn, self.podman = Firn(self.host), Podman(self.host)
        self.podman.network("firn", list_config(PORTMAP, capabilities={"ips": True}))

    def address(self, container, network="firn"):
        return self.podman.networks(container)[network][0]

    def test_containers_have_addresses_and_reach_each_other(self):
        self.podman.start("a", "firn")
        self.podman.start("b", "firn")
        a, b = self.address("a"), self.address("b")
        self.assertRegex(a, r"^10\.64\.")
        self.assertNotEqual(a, b)
        self.assertIn("1 packets received", self.podman("exec", "a", "ping", "-c", "1", "-W", "2", b))
        self.assertIn("1 packets received", self.podman("exec", "b", "ping", "-c", "1", "-W", "2", a))
        self.assertTrue(self.host.pings(a) and self.host.pings(b) and self.client.pings(a))
        self.assertIn(f"inet {a}/32", self.podman("exec", "a", "ip", "address", "show", "eth0"))

        recorded = {e["addresses"][0]: e for e in self.firn.endpoints()}
        self.assertEqual(set(recorded), {a, b})
        self.assertEqual(recorded[a]["network"], "firn")

        self.podman("rm", "-f", "-t", "0", "a", "b")
        self.assertEqual(self.firn.traces(), [])
        self.assertFalse(self.host.pings(a))

    def test_a_removed_address_is_not_reused_at_once(self):
        self.podman.start("a", "firn")
        a = self.address("a")
        self.podman("rm", "-f", "-t", "0", "a")
        self.podman.start("b", "firn")
        self.assertNotEqual(self.address("b"), a)

    def test_an_address_can_be_asked_for(self):
        self.podman.start("a", "firn", "--ip", "10.64.0.77")
        self.assertEqual(self.address("a"), "10.64.0.77")
        self.assertTrue(self.host.pings("10.64.0.77"))
        with self.assertRaisesRegex(LabError, r"10\.64\.0\.77"):
            self.podman.start("b", "firn", "--ip", "10.64.0.77")
        self.assertEqual([e["addresses"] for e in self.firn.endpoints()], [["10.64.0.77"]])

    def test_networks_are_connected_and_disconnected(self):
        self.podman.network("other", list_config(ipam={"type": "firn-ipam", "subnet": "10.65.0.0/24"}))
        self.podman.start("a", "firn")
        self.podman("network", "connect", "other", "a")
        self.assertEqual(set(self.podman.networks("a")), {"firn", "other"})
        self.assertTrue(self.host.pings(self.address("a", "other")))
        self.podman("network", "disconnect", "other", "a")
        self.assertEqual(set(self.podman.networks("a")), {"firn"})
        self.assertTrue(self.host.pings(self.address("a")))
        self.assertEqual([e["network"] for e in self.firn.endpoints()], ["firn"])

    def test_a_published_port_leads_to_the_container(self):
        self.podman.start("web", "firn", "-p", "8080:80", command=("httpd", "-f", "-h", "/www"))
        page = wait_for("the published port answers", lambda: self.client.fetch(f"http://{HOST}:8080/index.html"))
        self.assertEqual(page, "hello from the container\n")

    def test_two_networks_of_one_container_at_its_start(self):
        self.podman.network("other", list_config(ipam={"type": "firn-ipam", "subnet": "10.65.0.0/24"}))
        self.podman.start("a", "firn", "--network", "other")
        self.assertEqual(set(self.podman.networks("a")), {"firn", "other"})
        shown = self.podman("exec", "a", "ip", "-o", "-4", "address")
        self.assertEqual(len(re.findall(r"inet 10\.6[45]\.", shown)), 2)

    def test_a_failed_start_leaves_nothing(self):
        self.podman.network("broken", list_config({"type": "tuning", "sysctl": {"net.ipv4.conf.absent.arp_filter": "1"}}))
        with self.assertRaises(LabError):
            self.podman.start("a", "broken")
        self.assertEqual(self.firn.traces(), [])


if __name__ == "__main__":
    case.main()
