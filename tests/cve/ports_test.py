#!/usr/bin/env python3
"""Published ports: what went wrong with those of others (rows 1, 2, 6 of README.md), with firn and with the reference plugins."""

import case
import cni
import peers
from firnhost import CLIENT, HOST, Firn, list_config, uplink
from talk import ask, mapping, serve

SUBNET = {"type": "firn-ipam", "subnet": "10.64.0.0/24"}
# A rule of somebody else's that must keep its place: first in its own chain.
FOREIGN = """
table ip services {
  chain pre { type nat hook prerouting priority dstnat - 10; policy accept; tcp dport 8080 counter dnat to 198.51.100.7:80; }
  chain post { type nat hook postrouting priority srcnat; policy accept; counter; }
}
"""


class Ports(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        # Behind the host, so that packets pass through it: somebody who is neither the host nor a container.
        self.far = self.lab.host("far")
        self.lab.link(self.host, "eth1", self.far, "eth0", ["198.51.100.1/24"], ["198.51.100.7/24"])
        self.far.run("ip", "route", "add", "default", "via", "198.51.100.1")
        self.client.run("ip", "route", "add", "198.51.100.0/24", "via", HOST)
        serve(self.far, 8080)
        serve(self.far, 80)

    def start_firn(self):
        firn = Firn(self.host)
        firn.ctl("init", "--name", "h1", "--address", HOST)
        firn.start_with_table()
        return cni.Network(self.host, "net", list_config(ipam=SUBNET, capabilities={"portMappings": True}))

    def add(self, network, name, *ports):
        netns = self.host.netns(name)
        return netns, cni.addresses(network.add(name, netns, portMappings=list(ports)))[0]

    def captured(self, network):
        """Whether a container with port 8080 gets what is meant for another host's port 8080."""
        netns, _ = self.add(network, "thief", mapping(8080, 9999))
        before = self.client_sees()
        serve(self.host, 9999, netns=netns)
        return before != CLIENT or ask(self.client, "198.51.100.7", 8080) != CLIENT

    def client_sees(self):
        return ask(self.client, "198.51.100.7", 8080)

    def test_row_1_transit_is_not_captured(self):
        self.assertEqual(self.client_sees(), CLIENT)
        self.assertFalse(self.captured(self.start_firn()))

    def test_row_1_reference(self):
        outcome = []
        words = peers.tried(lambda: outcome.append(self.captured(peers.network(self.host, peers.PORTMAP))))
        peers.say(1, words or ("they capture it" if outcome[0] else "they do not capture it (the fault is of versions 1.6 to 1.8)"))

    def test_row_2_rules_of_others_keep_their_place(self):
        self.host.run("nft", "-f", "-", stdin=FOREIGN)
        before = self.host.out("nft", "-s", "list", "table", "ip", "services")
        network = self.start_firn()
        netns, _ = self.add(network, "a", mapping(8080, 80))
        self.assertEqual(self.host.out("nft", "-s", "list", "table", "ip", "services"), before)
        tables = [line for line in self.host.out("nft", "list", "tables").splitlines() if "firn" not in line]
        self.assertEqual(tables, ["table ip services"], "firn writes into no table of others")
        # Who said it first is asked first: their chain has the earlier priority, whatever came later.
        self.assertEqual(ask(self.client, HOST, 8080), CLIENT)
        self.assertIn("counter packets", self.host.out("nft", "list", "chain", "ip", "services", "pre"))
        self.assertNotIn("counter packets 0 ", self.host.out("nft", "list", "chain", "ip", "services", "pre"))
        network.delete("a", netns)
        self.assertEqual(self.host.out("nft", "-s", "list", "table", "ip", "services"), before)

    def test_row_2_reference(self):
        words = peers.tried(lambda: self.add(peers.network(self.host, peers.PORTMAP), "a", mapping(8080, 80)))
        chains = self.host.out("nft", "list", "ruleset").count("CNI-")
        peers.say(2, words or f"they write into the chains PREROUTING and OUTPUT of iptables' own table ({chains} lines with CNI- in the ruleset)")

    def route_localnet(self):
        names = self.host.out("ls", "/proc/sys/net/ipv4/conf").split()
        return {name for name in names if self.host.out("cat", f"/proc/sys/net/ipv4/conf/{name}/route_localnet").strip() != "0"}

    def loopback_from_outside(self):
        """Whether a datagram for the host's loopback arrives there from a neighbour, whose own loopback is out of the way."""
        for route in ("127.0.0.0/8", "127.0.0.1"):
            self.client.run("ip", "route", "del", "local", route, "dev", "lo", "table", "local", check=False)
        self.client.sysctl("net/ipv4/conf/eth0/route_localnet", 1)
        self.client.run("ip", "route", "replace", "127.0.0.1", "via", HOST, "src", CLIENT)
        before = self.datagrams()
        ask(self.client, "127.0.0.1", 7777, "udp")
        return self.datagrams() > before

    def datagrams(self):
        names, values = [line.split() for line in self.host.out("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
        return int(values[names.index("InDatagrams")])

    def test_row_6_the_loopback_stays_the_hosts_own(self):
        network = self.start_firn()
        self.add(network, "a", mapping(8080, 80))
        serve(self.host, 7777)
        self.assertEqual(self.route_localnet(), set())
        self.assertFalse(self.loopback_from_outside())
        self.host.sysctl("net/ipv4/conf/eth0/route_localnet", 1)
        self.assertTrue(self.loopback_from_outside(), "with the setting that firn never makes it would be open")

    def test_row_6_reference(self):
        words = peers.tried(lambda: self.add(peers.network(self.host, peers.PORTMAP), "a", mapping(8080, 80)))
        peers.say(6, words or f"route_localnet is on for {sorted(self.route_localnet()) or 'no link'}")


if __name__ == "__main__":
    case.main()
