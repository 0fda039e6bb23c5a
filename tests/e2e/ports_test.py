#!/usr/bin/env python3
"""Published ports and outgoing NAT with the real plugin and firn-routed: who reaches what, as whom, and who is refused."""

import case
import cni
from firnhost import CLIENT, HOST, Firn, list_config, uplink
from lab import wait_for
from talk import ask, mapping, serve

SUBNETS = {"type": "firn-ipam", "ranges": [[{"subnet": "10.64.0.0/24"}], [{"subnet": "fd00:64::/112"}]]}
CLIENT6, HOST6 = "2001:db8:1::1", "2001:db8:1::2"


# Sends a datagram every 20 ms from one port, without end, and says what comes back.
PERSISTENT = r"""
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setblocking(False)
sock.bind(("", 40000))
number = 0
while True:
    try:
        sock.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
        number += 1
        print("sent", number, flush=True)
        while True: print("answer", sock.recvfrom(100)[0].decode(), flush=True)
    except OSError:
        time.sleep(0.02)
"""


class PortsCase(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        for box, address in ((self.host, HOST6), (self.client, CLIENT6)):
            box.run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
        self.host.run("ip", "route", "add", "default", "via", CLIENT)
        self.client.run("ip", "-6", "route", "add", "fd00::/16", "via", HOST6)
        self.firn = Firn(self.host)
        self.firn.ctl("init", "--name", "h1", "--address", HOST)
        self.network = cni.Network(self.host, "net", list_config(ipam=SUBNETS, capabilities={"portMappings": True}))

    def attach(self, name, *ports, network=None):
        netns = self.host.netns(name)
        result = (network or self.network).add(name, netns, portMappings=list(ports))
        return netns, cni.addresses(result)

    def refused(self, name, *ports, code=101):
        netns = self.host.netns(name)
        with self.assertRaises(cni.CniError) as caught:
            self.network.add(name, netns, portMappings=list(ports))
        self.assertIn(f'"code":{code}', caught.exception.reply)
        return caught.exception.reply


class PublishedPorts(PortsCase):
    def test_from_everywhere_in_both_families(self):
        self.firn.start_with_table()
        a, (four, six) = self.attach("a", mapping(8080, 80), mapping(5353, 80, "udp"), mapping(8081, 80, "tcp", HOST))
        b, (other4, other6) = self.attach("b")
        serve(self.host, netns=a)
        for address, source in ((HOST, CLIENT), (HOST6, CLIENT6)):
            for port, kind in ((8080, "tcp"), (5353, "udp")):
                self.assertEqual(ask(self.client, address, port, kind), source, "the container sees who it is")
                self.assertEqual(ask(self.host, address, port, kind), address, "from the host itself")
        for address, neighbour in ((HOST, other4), (HOST6, other6)):
            self.assertEqual(ask(self.host, address, 8080, netns=b), neighbour, "from a neighbour, as itself")
            # To itself, by way of the host: the source must be another's, or the answer would take the short way and match nothing.
            hairpin = ask(self.host, address, 8080, netns=a)
            self.assertNotIn("Error", hairpin)
            self.assertNotIn(hairpin, (four, six))
            self.assertNotIn("Error", ask(self.host, address, 5353, "udp", netns=a))
        self.assertEqual(ask(self.client, HOST, 8081), CLIENT, "on one address")
        self.assertEqual(ask(self.client, HOST6, 8081), "ConnectionRefusedError", "and on no other")
        # The loopback leads nowhere: docs/policy.md says why.
        self.assertEqual(ask(self.host, "127.0.0.1", 8080), "ConnectionRefusedError")
        self.assertEqual(ask(self.host, "::1", 8080), "ConnectionRefusedError")
        self.network.check("a", a)
        self.network.delete("a", a)
        wait_for("the port is closed", lambda: ask(self.client, HOST, 8080) == "ConnectionRefusedError")
        self.assertEqual(self.firn.ask("ipam", "check") or [], [])

    def test_transit_is_never_captured(self):
        self.firn.start_with_table()
        a, _ = self.attach("a", mapping(8080, 80))
        b, (target, _) = self.attach("b")
        serve(self.host, netns=a)
        serve(self.host, 8080, netns=b)
        far = self.lab.host("far")
        self.lab.link(self.client, "eth1", far, "eth0", ["198.51.100.1/24"], ["198.51.100.2/24"])
        far.run("ip", "route", "add", "default", "via", "198.51.100.1")
        self.client.sysctl("net/ipv4/ip_forward", 1)
        serve(far, 8080)
        self.assertEqual(ask(self.client, target, 8080), CLIENT, "through this host, to a container's own port 8080")
        self.assertEqual(ask(self.host, "198.51.100.2", 8080, netns=b), target, "out of this host, to another's port 8080")
        self.assertEqual(ask(self.host, "198.51.100.2", 8080), HOST)

    def test_one_holder(self):
        self.firn.start_with_table()
        a, _ = self.attach("a", mapping(8080, 80))
        for number, wanted in enumerate((mapping(8080, 81), mapping(8080, 80, "tcp", HOST), mapping(8080, 80, "tcp", HOST6))):
            reply = self.refused(f"b{number}", wanted)
            self.assertIn("is published by container a of network net", reply)
        self.attach("c", mapping(8080, 80, "udp"))
        self.attach("d", mapping(9000, 80, "tcp", HOST))
        self.attach("e", mapping(9000, 80, "tcp", HOST6))
        self.refused("f", mapping(9000, 80))
        self.assertEqual(len(self.firn.endpoints()), 4)
        # The same ADD again; then, freed, the port is the next one's.
        again = self.network.add("a", a, portMappings=[mapping(8080, 80)])
        self.assertEqual(again, self.network.results[("a", "eth0")][0])
        self.network.delete("a", a)
        self.attach("g", mapping(8080, 80))
        self.assertEqual(self.firn.ask("ipam", "check") or [], [])

    def test_ports_of_the_host_itself(self):
        self.firn.start_with_table()
        server = serve(self.host, 8080)
        reply = self.refused("a", mapping(8080, 80))
        self.assertIn("in use by a program of this host", reply)
        self.refused("b", mapping(8080, 80, "udp"))
        self.assertIn("is no address of this host", self.refused("c", mapping(9000, 80, "tcp", "203.0.113.9"), code=7))
        self.assertIn("not published on the loopback", self.refused("d", mapping(9000, 80, "tcp", "127.0.0.1"), code=7))
        server.kill()
        self.attach("e", mapping(8080, 80))
        self.assertEqual(len(self.firn.endpoints()), 1)

    def test_without_daemon_nothing_is_published(self):
        reply = self.refused("a", mapping(8080, 80), code=7)
        self.assertIn("ports are published by firn-routed alone", reply)
        self.assertEqual(self.firn.traces(), [])
        self.host.write("/etc/firn/routed.json", '{"policy":false}')
        self.firn.start()
        self.assertIn("policy\\\" is off", self.refused("b", mapping(8080, 80), code=7))
        self.attach("c")

    def test_a_client_that_never_stops_reaches_the_next_container(self):
        """Its datagrams make one flow, which the kernel remembers: before there is a container, with the first, with the second."""
        self.firn.start_with_table()
        client = self.client.start("client", "python3", "-u", "-c", PERSISTENT, HOST, "5353")
        wait_for("it sends", lambda: "sent 5\n" in client.log())
        for name in ("a", "b"):
            netns, (four, _) = self.attach(name, mapping(5353, 53, "udp"))
            server = serve(self.host, 53, netns=netns)
            seen = len(client.log())
            wait_for(f"{name} answers", lambda s=seen: f"answer {CLIENT}" in client.log()[s:])
            self.network.delete(name, netns)
            server.kill()

    def test_the_daemon_restarts(self):
        self.firn.start_with_table()
        a, _ = self.attach("a", mapping(8080, 80))
        serve(self.host, netns=a)
        self.firn.routed.kill()
        self.assertEqual(ask(self.client, HOST, 8080), CLIENT, "the rules stay")
        self.firn.start_with_table()
        self.assertEqual(ask(self.client, HOST, 8080), CLIENT)
        self.host.run("nft", "flush", "ruleset")
        wait_for("it is repaired", lambda: ask(self.client, HOST, 8080) == CLIENT)


class Policy(PortsCase):
    """Policy sees the real ends: whom the sender really speaks with, and who really speaks to the receiver."""

    def put(self, **directions):
        self.firn.put_record("policy/global/ports", {"name": "ports", "order": 10, "types": list(directions), **directions})

    def test_it_decides_of_real_addresses(self):
        self.firn.start_with_table()
        a, (four, six) = self.attach("a", mapping(8080, 80))
        b, _ = self.attach("b")
        serve(self.host, netns=a)
        self.assertEqual(ask(self.client, HOST, 8080), CLIENT)
        web = {"action": "allow", "protocol": "tcp"}
        self.put(ingress=[{**web, "source": {"nets": [f"{CLIENT}/32", f"{CLIENT6}/128"]}, "destination": {"ports": [80]}}])
        wait_for("a neighbour is refused", lambda: ask(self.host, HOST, 8080, netns=b) == "TimeoutError")
        self.assertEqual(ask(self.host, HOST6, 8080, netns=b), "TimeoutError")
        self.assertEqual(ask(self.host, HOST, 8080, netns=a), "TimeoutError", "nor to itself by way of the host, whoever it seems to be then")
        self.assertEqual((ask(self.client, HOST, 8080), ask(self.client, HOST6, 8080)), (CLIENT, CLIENT6))
        self.assertEqual(ask(self.host, HOST, 8080), HOST, "a host reaches its containers")
        self.put(ingress=[{**web, "destination": {"ports": [8080]}}])
        wait_for("the port of the host says nothing", lambda: ask(self.client, HOST, 8080) == "TimeoutError")
        self.put(egress=[{**web, "destination": {"nets": [f"{HOST}/32", f"{HOST6}/128"]}}])
        wait_for("nor its address", lambda: ask(self.host, HOST, 8080, netns=b) == "TimeoutError")
        self.put(egress=[{**web, "destination": {"nets": [f"{four}/32", f"{six}/128"], "ports": [80]}}])
        wait_for("but the container's", lambda: "Error" not in ask(self.host, HOST, 8080, netns=b))
        self.assertNotIn("Error", ask(self.host, HOST6, 8080, netns=b))


class Nat(PortsCase):
    def setUp(self):
        super().setUp()
        self.firn.ctl("pool", "create", "out", "10.65.0.0/16", "--nat")
        self.firn.ctl("pool", "create", "out6", "fd00:65::/64", "--nat")
        self.firn.ctl("pool", "create", "plain", "10.66.0.0/16")
        self.nat = cni.Network(self.host, "nat", list_config(ipam={"type": "firn-ipam", "pools": ["out", "out6"]}))
        self.plain = cni.Network(self.host, "plain", list_config(ipam={"type": "firn-ipam", "pools": ["plain"]}))
        self.firn.start_with_table()

    def test_leaving_the_cluster(self):
        a, (four, six) = self.attach("a", network=self.nat)
        b, (other,) = self.attach("b", network=self.plain)
        serve(self.client)
        serve(self.host, netns=b)
        self.assertEqual(ask(self.host, CLIENT, 80, netns=a), HOST)
        self.assertEqual(ask(self.host, CLIENT, 80, "udp", netns=a), HOST)
        self.assertEqual(ask(self.host, CLIENT6, 80, netns=a), HOST6)
        self.assertEqual(ask(self.host, CLIENT, 80, netns=b), other, "a pool without")
        self.assertEqual(ask(self.host, other, 80, netns=a), four, "to another pool")
        self.firn.ctl("pool", "set", "out", "--nat-exclude", f"{CLIENT}/32")
        wait_for("it is excluded", lambda: ask(self.host, CLIENT, 80, netns=a) == four)
        self.assertEqual(ask(self.host, CLIENT6, 80, netns=a), HOST6)
        self.host.run("ip", "address", "add", "192.0.2.66/32", "dev", "lo")
        self.client.run("ip", "route", "add", "192.0.2.66", "via", HOST)
        self.firn.ctl("pool", "set", "out", "--nat-exclude", "", "--nat-source", "192.0.2.66")
        wait_for("by that address", lambda: ask(self.host, CLIENT, 80, netns=a) == "192.0.2.66")
        self.firn.ctl("pool", "set", "out", "--no-nat")
        wait_for("as itself", lambda: ask(self.host, CLIENT, 80, netns=a) == four)

    def test_not_without_the_daemon(self):
        self.firn.routed.terminate()
        self.host.write("/etc/firn/routed.json", '{"policy":false}')
        self.firn.start()
        wait_for("the table is gone", lambda: "firn" not in self.host.out("nft", "list", "tables"))
        netns = self.host.netns("a")
        with self.assertRaises(cni.CniError) as refused:
            self.nat.add("a", netns)
        self.assertIn("pool out", refused.exception.reply)
        self.assertIn("with their host's address by firn-routed alone", refused.exception.reply)
        self.attach("b", network=self.plain)

    def test_never_to_a_host_of_the_cluster(self):
        # Another node of the cluster, as far as its record goes: its address is the neighbour's.
        self.firn.put_record("node/h2", {"name": "h2", "machine_id": "0" * 32, "addresses": [CLIENT], "joined_at": 1, "generation": 9})
        a, (four, _) = self.attach("a", network=self.nat)
        serve(self.client)
        wait_for("as itself", lambda: ask(self.host, CLIENT, 80, netns=a) == four)


if __name__ == "__main__":
    case.main()
