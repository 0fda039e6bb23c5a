#!/usr/bin/env python3
"""Four hosts in two racks on a real etcd: every routing mode carries every container to every other, over IPv4 and IPv6, also while the
mode of the live pools changes. No host announces what is another's."""

import case
from lab import wait_for
from probe import Probe
from racks import V4, Racks

HOSTS = {"a": "r1", "b": "r1", "c": "r2", "d": "r2"}
OVERHEAD = 50


class Modes(case.LabCase):
    def set_mode(self, *options):
        for pool in ("p4", "p6"):
            self.racks.members[0].firn.ctl("pool", "set", pool, *options)

    def writers(self, member):
        """Protocols of the routes to blocks of other hosts."""
        return {line.split(" proto ")[1].split()[0] for family in ("-4", "-6") for line in member.host.out("ip", family, "route").splitlines()
                if line.startswith(("10.66.", "fd66:")) and " via " in line}

    def devices(self, member, owner):
        blocks = set(owner.firn.blocks())
        return {line.split(" dev ")[1].split()[0] for family in ("-4", "-6") for line in member.host.out("ip", family, "route").splitlines()
                if line.split()[0] in blocks and " via " in line}

    def check_mode(self, mode, addresses, cross_subnet=False):
        for member in self.racks.members:
            wait_for(f"{member.name}: one writer in mode {mode}", lambda m=member: self.writers(m) == ({"bird"} if mode == "bgp" else {"241"}),
                     deadline=30)
            wait_for(f"{member.name} is settled", member.is_settled, deadline=30)
        mtu = 1500 - (OVERHEAD if mode == "vxlan" else 0)
        self.racks.all_reach_all(addresses, (mtu - 28, mtu - 48))
        if mode == "vxlan":
            a, b, c = (self.racks.member(name) for name in "abc")
            self.assertEqual(self.devices(a, c), {"firn-vxlan"})
            self.assertEqual(self.devices(a, b), {"eth0"} if cross_subnet else {"firn-vxlan"})
        self.racks.check_announcements()

    def check_trace(self, mode, words):
        """The way between racks and back, as firnctl tells it on a host that it begins on and on one that only hears of it."""
        a, c = self.racks.member("a"), self.racks.member("c")
        for teller in ("a", "b"):
            for source, target in zip(self.addresses["a"], self.addresses["c"]):
                # Endpoints are published within a second or so; until then the chain breaks, which is exit code 3.
                told = wait_for(f"{teller} can tell the way from {source} to {target}",
                                lambda t=teller, s=source, d=target: self.racks.member(t).firn.ctl("trace", s, d), deadline=30)
                for expected in (f"{source} ", f"{target} ", "on a:", "on c", words, "back: "):
                    self.assertIn(expected, told)
                self.assertEqual("kernel" in told, teller == "a", told)
        print(f"\n  firnctl trace, mode {mode}, on a and told by b:\n{told}", flush=True)

    def test_modes_of_live_pools(self):
        self.racks = Racks(self.lab, HOSTS, tls=True)
        self.racks.found()
        addresses = self.addresses = self.racks.start()
        self.check_mode("bgp", addresses)
        self.check_trace("bgp", "by BGP")
        a, c = self.racks.member("a"), self.racks.member("c")
        for mode, options in (("vxlan", []), ("vxlan", ["--cross-subnet"]), ("bgp", ["--no-cross-subnet"])):
            probes = [Probe(a.place("c1"), c.place("c1"), addresses["c"][0]), Probe(c.place("c1"), a.place("c1"), addresses["a"][1])]
            self.set_mode("--mode", mode, *options)
            self.check_mode(mode, addresses, "--cross-subnet" in options)
            self.check_trace(mode, {"bgp": "by BGP", "vxlan": "encapsulated"}[mode])
            for family, probe in zip(("IPv4", "IPv6"), probes):
                print(f"\n  live pool -> {mode} {' '.join(options)}, {family}: {probe.stop()}", flush=True)
        # A container that is attached now has the room that the mode leaves.
        self.assertEqual(a.mtu("c1"), 1500)
        self.set_mode("--mode", "vxlan")
        wait_for("the host knows the mode", lambda: a.vxlan_links(), deadline=30)
        a.attach("c2")
        self.assertEqual(a.mtu("c2"), 1500 - OVERHEAD)

    def test_direct_on_one_layer_2(self):
        self.racks = Racks(self.lab, {name: "r1" for name in HOSTS})
        self.racks.found("--mode", "direct")
        addresses = self.racks.start(bgp=False)
        for member in self.racks.members:
            wait_for(f"{member.name} has a way to every block", lambda m=member: len(m.routes()) >= 2 * (len(HOSTS) - 1), deadline=30)
        self.racks.all_reach_all(addresses, (1500 - 28, 1500 - 48))
        for member in self.racks.members:
            self.assertEqual(self.writers(member), {"241"})
        self.assertFalse(self.racks.tors["r1"].out("ip", "route", "show", "root", V4), "the router knows no pool")


if __name__ == "__main__":
    case.main()
