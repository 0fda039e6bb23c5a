#!/usr/bin/env python3
"""Hosts that speak BGP with each other, without a router that does: a mesh, route reflectors, from one to the other and back without a
lost packet of 1,000 a second, automatically by the number of hosts; and a host that leaves for maintenance. Real BIRD, real etcd."""

import json
import time

import case
from lab import LabError, wait_for
from probe import Probe
from racks import Racks
from routers import Frr

HOSTS = {"a": "r1", "b": "r1", "c": "r1", "d": "r1"}
REFLECTORS = ("a", "b")


class Topology(case.LabCase):
    def setUp(self):
        super().setUp()
        self.racks = Racks(self.lab, HOSTS)
        self.racks.found()
        self.ctl = self.racks.members[0].firn.ctl
        for name in HOSTS:
            self.ctl("node", "set", name, "--as", "default")
        for name in REFLECTORS:
            self.ctl("node", "set", name, "--label", "role=reflector")

    def settings(self, *options):
        self.ctl("bgp", "settings", *options)

    def start(self, *options):
        self.settings(*options)
        self.addresses = self.racks.start(bgp=False)

    def speaks_with(self, member):
        """{(family, name of the other host)} of established sessions."""
        found = set()
        for protocol in member.firn.sessions():
            if protocol.startswith("firn_node"):
                family, _, name = protocol.removeprefix("firn_node").partition("_")
                found.add((family, name))
        return found

    def wait_for_sessions(self, wanted):
        """Exactly these pairs of hosts, seen from both ends, in both families."""
        for member in self.racks.members:
            others = {name for pair in wanted if member.name in pair for name in pair if name != member.name}
            expected = {(family, name) for family in "46" for name in others}

            def is_so(m=member, e=expected):
                if (now := self.speaks_with(m)) != e:
                    raise LabError(f"{m.name} speaks with {sorted(now)}, not with {sorted(e)}: {m.firn.ctl('bgp', 'status')}")
                return True

            wait_for(f"{member.name} has its sessions", is_so, deadline=120)

    def mesh(self):
        return {frozenset((one, other)) for one in HOSTS for other in HOSTS if one != other}

    def reflected(self):
        return {pair for pair in self.mesh() if pair & set(REFLECTORS)}

    def announced(self, member, session):
        """Prefixes told to that session, {prefix: next hop as BIRD has it}."""
        words = member.firn.birdc("show", "route", "export", f"'{session}'").splitlines()
        return {line.split()[0] for line in words if line[:1].isalnum() and "/" in line.split()[0]}

    def check_announcements(self):
        """Every host tells its own blocks; only reflectors pass on others'."""
        for member in self.racks.members:
            own = set(member.firn.blocks())
            for session in member.firn.sessions():
                told = self.announced(member, session)
                if member.name not in REFLECTORS:
                    self.assertLessEqual(told, own, f"{member.name} to {session}")

    def check_routes(self):
        """Every host has one way to every block of another: its owner's address."""
        for owner in self.racks.members:
            for block in owner.firn.blocks():
                family = 1 if ":" in block else 0
                for member in self.racks.members:
                    if member is owner:
                        continue
                    words = member.host.out("ip", f"-{4 + 2 * family}", "route", "show", block)
                    self.assertIn(f"via {owner.addresses[family]} dev eth0 proto bird", words, f"{block} on {member.name}")
                    self.assertNotIn("nexthop", words, f"{block} on {member.name}")

    def probes(self):
        c, d = self.racks.member("c"), self.racks.member("d")
        return [Probe(d.place("c1"), c.place("c1"), self.addresses["c"][0]), Probe(c.place("c1"), d.place("c1"), self.addresses["d"][1])]

    def check_probes(self, what, probes):
        for family, probe in zip(("IPv4", "IPv6"), probes):
            result = probe.stop()
            print(f"\n  {what}, {family}: {result}", flush=True)
            self.assertEqual(result.lost, 0, f"{what}: {result}")

    def settle(self):
        for member in self.racks.members:
            wait_for(f"{member.name} has its plan in place",
                     lambda m=member: (s := m.firn.ask("bgp", "status"))["planInPlace"] and s["keptSessions"] == 0, deadline=120)

    def test_from_mesh_to_reflectors_and_back_without_a_lost_packet(self):
        self.start("--topology", "mesh")
        self.wait_for_sessions(self.mesh())
        self.racks.all_reach_all(self.addresses)
        self.check_announcements()
        self.settle()

        probes = self.probes()
        self.settings("--topology", "reflectors", "--reflectors", "role=reflector")
        self.wait_for_sessions(self.reflected())
        self.settle()
        self.check_probes("mesh to reflectors", probes)
        self.racks.all_reach_all(self.addresses)
        self.check_announcements()
        self.check_routes()

        probes = self.probes()
        self.settings("--topology", "mesh")
        self.wait_for_sessions(self.mesh())
        self.settle()
        self.check_probes("reflectors to mesh", probes)
        self.racks.all_reach_all(self.addresses)
        self.check_routes()

    def test_automatic_goes_by_the_number_of_hosts(self):
        self.start("--topology", "auto", "--reflectors", "role=reflector", "--mesh-limit", "4")
        self.wait_for_sessions(self.mesh())
        self.racks.all_reach_all(self.addresses)
        self.settle()
        probes = self.probes()
        self.settings("--mesh-limit", "3")
        self.wait_for_sessions(self.reflected())
        self.settle()
        self.check_probes("automatically from mesh to reflectors", probes)
        # Four hosts are above three quarters of the limit: it stays.
        self.settings("--mesh-limit", "5")
        self.wait_for_sessions(self.reflected())
        self.settings("--mesh-limit", "6")
        self.wait_for_sessions(self.mesh())
        self.racks.all_reach_all(self.addresses)

    def test_hosts_of_several_as_and_a_router_that_is_told_by_reflectors(self):
        """AS by label, reflectors between them; the rack's FRR has sessions with the reflectors alone and learns every block from them, with
        the owner as next hop."""
        for name, side in zip(HOSTS, ("left", "right", "left", "right")):
            self.ctl("node", "set", name, "--label", f"side={side}")
        numbers = {"left": 65101, "right": 65102}
        as_of = [option for side, number in numbers.items() for option in ("--as-of", f"side={side}={number}")]
        reflectors = [self.racks.member(name) for name in REFLECTORS]
        router = Frr(self.racks.tors["r1"], {m.addresses[0]: numbers[side] for m, side in zip(reflectors, numbers)}, "198.51.100.251", as_number=64601)
        self.ctl("bgp", "peer", "add", "tor", "--address", "192.0.2.254", "--as", "64601", "--selector", "role=reflector", "--reflect",
                 "--keep-next-hop", "--connect-retry", "1")
        self.start("--topology", "reflectors", "--reflectors", "role=reflector", *as_of)
        self.wait_for_sessions(self.reflected())
        self.racks.all_reach_all(self.addresses)
        self.check_routes()
        for member in self.racks.members:
            block = member.firn.block_of(self.addresses[member.name][0])

            def is_told(b=block, m=member):
                hops = router.prefixes("ipv4").get(b)
                if not hops or set(hops) != {m.addresses[0]}:
                    raise LabError(f"{b} of {m.name}: {hops}")
                return True

            wait_for(f"the router has the block of {member.name} with {member.addresses[0]} as next hop", is_told, deadline=60)
            print(f"\n  the router received {block} of {member.name}: {json.dumps(router.received(block))}", end="", flush=True)
        print()
        # A router cannot be asked whether it has moved.
        words = self.ctl("node", "drain-bgp", "a", "--grace", "6", "--wait", deadline=120)
        self.assertIn("moved: b, c, d; could not be asked, for they are no hosts: tor", words)

    def test_a_killed_daemon_takes_up_the_change_where_it_was(self):
        self.start("--topology", "mesh")
        self.wait_for_sessions(self.mesh())
        self.settle()
        probes = self.probes()
        d = self.racks.member("d")
        d.firn.routed.kill()
        self.settings("--topology", "reflectors", "--reflectors", "role=reflector")
        # The others wait for the one that is not there, whose BIRD goes on.
        for name in REFLECTORS + ("c",):
            member = self.racks.member(name)
            wait_for(f"{name} is ready", lambda m=member: m.firn.ask("bgp", "status")["planInPlace"], deadline=90)
            self.assertIn(("4", "d"), self.speaks_with(member))
        d.start()
        self.wait_for_sessions(self.reflected())
        self.settle()
        self.check_probes("mesh to reflectors with a killed firn-routed", probes)

    def test_a_host_is_drained_and_comes_back(self):
        self.ctl("bgp", "prefix", "add", "198.18.53.0/24", "--community", "64512:53")
        self.start("--topology", "mesh")
        self.wait_for_sessions(self.mesh())
        self.racks.all_reach_all(self.addresses)
        c, d = self.racks.member("c"), self.racks.member("d")
        block = c.firn.block_of(self.addresses["c"][0])
        attributes = lambda: d.firn.birdc("show", "route", block, "all")
        self.assertNotIn("(65535,0)", attributes())

        # One neighbour does not say that it has moved: its BIRD goes on, and nobody there can be asked.
        d.firn.routed.kill()
        self.ctl("node", "drain-bgp", "c", "--grace", "3600")
        wait_for("the others see the community", lambda: "(65535,0)" in attributes(), deadline=60)
        self.assertIn("BGP.local_pref: 0", attributes())
        self.assertTrue(d.reaches("c1", self.addresses["c"][0]), "it still announces")
        wait_for("two of three have moved",
                 lambda: "moved: a, b; have not moved yet: d" in c.firn.ctl("node", "show", "c"), deadline=60)
        # It survives its daemon.
        c.firn.routed.kill()
        c.start()
        self.assertIn("(65535,0)", attributes())
        self.assertNotEqual(self.lab_refusal("node", "drain-bgp", "c", "--grace", "1"), "")
        before = c.firn.sessions()
        # All have moved: it does not wait for the hour.
        d.start()
        words = self.ctl("node", "drain-bgp", "c", "--wait", deadline=120)
        self.assertIn("node c announces nothing any more; moved: a, b, d\n", words)
        wait_for("the others have no way to it", lambda: not d.host.out("ip", "route", "show", block), deadline=30)
        self.assertEqual(self.announced(c, "firn_node4_d"), set())
        self.assertIn("nothing is announced", c.firn.ctl("bgp", "status"))
        self.assertEqual(c.firn.sessions().keys(), before.keys())
        # Started anew it does not begin from the beginning.
        c.firn.routed.kill()
        c.start()
        wait_for("firn-routed runs", lambda: c.firn.ask("bgp", "status")["drain"] == "withdraw", deadline=60)
        self.assertEqual(self.announced(c, "firn_node4_d"), set())
        self.ctl("node", "undrain", "c", "--wait")
        wait_for("the block is back", lambda: block in d.host.out("ip", "route", "show", block), deadline=60)
        self.assertNotIn("(65535,0)", attributes())

        began = time.monotonic()
        self.ctl("node", "drain-bgp", "c", "--wait", deadline=120)
        print(f"\n  drained by the word of three neighbours in {time.monotonic() - began:.1f} s", flush=True)
        self.ctl("node", "undrain", "c", "--wait", deadline=120)

        # Nobody says anything: the grace is over all the same.
        d.firn.routed.kill()
        words = self.ctl("node", "drain-bgp", "c", "--grace", "8", "--wait", deadline=120)
        self.assertIn("moved: a, b; did not say in time that they moved: d", words)
        d.start()
        self.assertIn("drain", json.dumps(c.firn.ask("node", "show", "c")))
        self.ctl("node", "undrain", "c", "--wait", deadline=120)
        self.racks.all_reach_all(self.addresses)
        self.assertEqual(c.firn.sessions(), before, "no session ended")

    def lab_refusal(self, *arguments):
        return self.racks.members[0].host.run("firnctl", *arguments, check=False).stderr

    def test_status_shows_every_host(self):
        self.start("--topology", "mesh")
        self.wait_for_sessions(self.mesh())

        def all_told():
            shown = self.ctl("bgp", "status")
            if "Other hosts" not in shown or any(f"\n{name} " not in shown for name in "bcd") or "unknown" in shown:
                raise LabError(shown)
            if shown.partition("Other hosts")[2].count("Established") != 3 * 6:
                raise LabError(shown)
            return True

        wait_for("every host has told of its sessions", all_told, deadline=60)
        told = self.racks.members[0].firn.ask("bgp", "status")["cluster"]
        self.assertEqual({entry["node"] for entry in told}, {"b", "c", "d"})


if __name__ == "__main__":
    case.main()
