#!/usr/bin/env python3
"""Pools of mode direct and vxlan between several hosts: real plugin, real daemon, real kernel, no BGP but where it says so."""

import re
import signal

import case
from cluster import Cluster
from lab import Traffic, wait_for

V4, V6 = "10.66.0.0/16", "fd66::/64"


class Overlay(case.LabCase):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self.lab)

    def pools(self, *options):
        self.cluster.pool("create", "p4", V4, *options)
        self.cluster.pool("create", "p6", V6, *options)
        self.cluster.claim("p4", V4, 26)
        self.cluster.claim("p6", V6, 122)

    def start(self):
        """All daemons, and a container c1 on every host. Returns {host: [IPv4 address, IPv6 address]}."""
        for member in self.cluster.members:
            member.start()
        found = {member.name: member.attach("c1") for member in self.cluster.members}
        for member in self.cluster.members:
            wait_for(f"{member.name} has routes to every other host", lambda m=member: self.is_settled(m))
        return found

    def is_settled(self, member):
        status = member.status()
        pending = sum(status[kind]["pending"] for kind in ("links", "forwards", "neighbours", "routes"))
        return pending == 0 and status["unreachableBlocks"] == 0 and len(member.routes()) >= 4 * (len(self.cluster.members) - 1)

    def all_reach_all(self, addresses, payload=(56, 56)):
        for member in self.cluster.members:
            for name, of in addresses.items():
                if name == member.name:
                    continue
                for address, size in zip(of, payload):
                    wait_for(f"{member.name} reaches {address} on {name} with {size} bytes",
                             lambda m=member, a=address, s=size: m.reaches("c1", a, s), deadline=5)

    def device_of(self, member, block_of):
        return {line.split(" dev ")[1].split()[0] for block, line in member.routes().items() if block in block_of}

    # ------------------------------------------------------------------------------------------------------------------------

    def test_direct_on_one_layer_2(self):
        one, two = self.cluster.add("a", "s1"), self.cluster.add("b", "s1")
        self.pools("--mode", "direct")
        addresses = self.start()
        self.assertEqual(one.mtu("c1"), 1500)
        self.all_reach_all(addresses, (1500 - 28, 1500 - 48))
        for member, other in ((one, two), (two, one)):
            via = {line.split(" via ")[1].split()[0] for line in member.routes().values()}
            self.assertEqual(via, set(other.addresses))
            self.assertEqual(member.vxlan_links(), [])
        self.assertFalse([line for line in self.cluster.fabric.out("ip", "route").splitlines() if "10.66." in line])

    def test_direct_to_another_segment_is_named(self):
        self.cluster.add("a", "s1"), self.cluster.add("b", "s2")
        self.pools("--mode", "direct")
        for member in self.cluster.members:
            member.start()
            member.attach("c1")
        status = wait_for("the trouble is told", lambda: (s := self.cluster.members[0].status())["unreachableBlocks"] > 1 and s)
        self.assertIn("node b (198.51.100.12) is on no layer 2 of this host", status["unreachableWhy"])
        self.assertEqual(self.cluster.members[0].routes(), {})

    def check_encapsulated(self, device, overhead, addresses):
        mtu = 1500 - overhead
        for member in self.cluster.members:
            self.assertEqual(member.mtu("c1"), mtu)
            link = next(link for link in member.vxlan_links() if link["ifname"] == device)
            self.assertEqual(link["mtu"], mtu)
            self.assertFalse(link["linkinfo"]["info_data"]["learning"])
            entries = member.host.out("bridge", "fdb", "show", "dev", device)
            self.assertNotIn("00:00:00:00:00:00", entries, "nothing is flooded")
            self.assertEqual(entries.count("permanent"), len(self.cluster.members) - 1, entries)
        self.all_reach_all(addresses, (mtu - 28, mtu - 48))
        for member in self.cluster.members:
            self.assertFalse(member.reaches("c1", addresses[self.cluster.members[0].name if member is not self.cluster.members[0]
                                                             else self.cluster.members[1].name][0], mtu - 27), "one byte more does not fit")

    def test_vxlan_between_segments(self):
        self.cluster.add("a", "s1"), self.cluster.add("b", "s2")
        self.pools("--mode", "vxlan")
        self.check_encapsulated("firn-vxlan", 50, self.start())

    def test_vxlan_over_ipv6_alone(self):
        self.cluster.add("a", "s1", families=[6]), self.cluster.add("b", "s2", families=[6])
        self.pools("--mode", "vxlan")
        self.check_encapsulated("firn-vxlan6", 70, self.start())
        self.assertEqual([link["ifname"] for link in self.cluster.members[0].vxlan_links()], ["firn-vxlan6"])

    def test_cross_subnet_encapsulates_only_between_segments(self):
        one, two, three = self.cluster.add("a", "s1"), self.cluster.add("b", "s1"), self.cluster.add("c", "s2")
        self.pools("--mode", "vxlan", "--cross-subnet")
        addresses = self.start()
        self.all_reach_all(addresses, (1450 - 28, 1450 - 48))
        blocks = {member.name: set(member.firn.blocks()) for member in self.cluster.members}
        self.assertEqual(self.device_of(one, blocks["b"]), {"eth0"})
        self.assertEqual(self.device_of(one, blocks["c"]), {"firn-vxlan"})
        self.assertEqual(self.device_of(three, blocks["a"] | blocks["b"]), {"firn-vxlan"})
        self.assertEqual(self.device_of(two, blocks["a"]), {"eth0"})

    def test_what_third_parties_do_is_repaired_and_what_is_theirs_stays(self):
        one, _ = self.cluster.add("a", "s1"), self.cluster.add("b", "s2")
        self.pools("--mode", "vxlan")
        host = one.host
        # Somebody else's: a route, a vxlan link with its entry, a bridge.
        host.run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.254", "proto", "static")
        host.run("ip", "link", "add", "other", "type", "vxlan", "id", "9", "dstport", "8472", "local", "192.0.2.11", "remote", "192.0.2.12")
        host.run("ip", "link", "set", "other", "up")
        host.run("bridge", "fdb", "add", "02:00:00:00:00:99", "dev", "other", "dst", "192.0.2.13")
        theirs = host.out("bridge", "fdb", "show", "dev", "other")
        addresses = self.start()
        self.all_reach_all(addresses)
        before = one.kernel()
        block, line = next((b, l) for b, l in one.routes().items() if ":" not in b)
        entry = host.out("bridge", "fdb", "show", "dev", "firn-vxlan").split()[0]
        neighbour = host.out("ip", "neigh", "show", "dev", "firn-vxlan", "nud", "permanent").split()[0]
        for harm in (["ip", "route", "del", block],
                     ["ip", "route", "replace", block, "via", "192.0.2.254", "proto", "static"],
                     ["ip", "route", "replace", "blackhole", block, "proto", "static"],
                     ["bridge", "fdb", "del", entry, "dev", "firn-vxlan"],
                     ["bridge", "fdb", "replace", entry, "dev", "firn-vxlan", "dst", "192.0.2.99"],
                     ["bridge", "fdb", "add", "00:00:00:00:00:00", "dev", "firn-vxlan", "dst", "192.0.2.99"],
                     ["bridge", "fdb", "add", "02:00:00:00:00:98", "dev", "firn-vxlan", "dst", "192.0.2.99"],
                     ["ip", "neigh", "del", neighbour, "dev", "firn-vxlan"],
                     ["ip", "link", "set", "firn-vxlan", "mtu", "1300"],
                     ["ip", "link", "set", "firn-vxlan", "down"]):
            host.run(*harm)
            wait_for(f"repaired: {' '.join(harm)}", lambda: one.is_as(before))
        host.run("ip", "link", "del", "firn-vxlan")
        wait_for("repaired: the link is deleted", lambda: self.is_settled(one))
        self.all_reach_all(addresses)
        # Under another name it is somebody else's, and is in the way of ours: that is told.
        host.run("ip", "link", "set", "firn-vxlan", "down", "name", "away")
        wait_for("the conflict is told", lambda: "takes in packets of this VNI and port" in one.status()["lastError"]["message"])
        host.run("ip", "link", "del", "away")
        wait_for("the link is there once nothing is in its way", lambda: self.is_settled(one))
        self.all_reach_all(addresses)
        # A link of our name that is made otherwise is made anew.
        host.run("ip", "link", "del", "firn-vxlan")
        host.ok("ip", "link", "add", "firn-vxlan", "type", "vxlan", "id", "5", "dstport", "8473", "local", "192.0.2.11")
        wait_for("the link is ours again", lambda: one.vxlan_links() and any(
            link["ifname"] == "firn-vxlan" and link["linkinfo"]["info_data"]["id"] == 0x6669 for link in one.vxlan_links()))
        wait_for("everything is there", lambda: self.is_settled(one))
        self.all_reach_all(addresses)
        self.assertEqual(host.out("bridge", "fdb", "show", "dev", "other"), theirs)
        self.assertIn("203.0.113.0/24", host.out("ip", "route", "show", "proto", "static"))
        self.assertGreaterEqual(one.status()["driftRepaired"], 5)

    def test_a_restart_changes_nothing(self):
        one, two = self.cluster.add("a", "s1"), self.cluster.add("b", "s2")
        self.pools("--mode", "vxlan")
        addresses = self.start()
        self.all_reach_all(addresses)
        before = one.kernel()
        for end in (lambda routed: routed.kill(), lambda routed: routed.terminate()):
            traffic = Traffic(two.host, addresses["a"][0], 300, "/run/netns/c1")
            end(one.firn.routed)
            self.assertEqual(one.kernel(), before)
            one.start()
            wait_for("the cluster has been read", lambda: self.is_settled(one) and one.status()["routes"]["desired"] > 4)
            self.assertEqual(one.kernel(), before)
            status = one.status()
            self.assertEqual([status[kind]["writes"] for kind in ("links", "forwards", "neighbours", "routes")], [0, 0, 0, 0])
            self.assertEqual(traffic.result(), (300, 300))

    def test_the_mode_of_a_live_pool_changes(self):
        one, two = self.cluster.add("a", "s1"), self.cluster.add("b", "s1")
        self.pools()
        numbers = {"a": 65011, "b": 65012}
        for member, other in ((one, two), (two, one)):
            member.firn.ctl("node", "set", member.name, "--as", numbers[member.name])
            one.firn.ctl("bgp", "peer", "add", f"to-{other.name}", "--node", member.name, "--address", other.addresses[0],
                            "--as", numbers[other.name], "--connect-retry", "1")
        self.cluster.share()
        for member in self.cluster.members:
            member.start()
        addresses = {member.name: member.attach("c1")[:1] for member in self.cluster.members}
        wait_for("BGP leads to the other host", lambda: one.reaches("c1", addresses["b"][0]), deadline=40)
        self.assertEqual(one.routes(), {})
        for mode in ("direct", "vxlan", "direct", "bgp"):
            traffic = Traffic(one.host, addresses["b"][0], 400, "/run/netns/c1")
            wait_for("packets flow", lambda t=traffic: t.process.alive())
            self.cluster.pool("set", "p4", "--mode", mode)
            sent, received = traffic.result()
            print(f"\n  mode of a live pool -> {mode}: {sent - received} of {sent} packets lost, one every 10 ms", flush=True)
            wait_for(f"one writer in mode {mode}", lambda m=mode: self.writers(one) == ({"bird"} if m == "bgp" else {"241"}))
            self.all_reach_all(addresses)

    @staticmethod
    def writers(member):
        return {line.split(" proto ")[1].split()[0] for line in member.host.out("ip", "-4", "route").splitlines()
                if line.startswith("10.66.") and " via " in line}


if __name__ == "__main__":
    case.main()
