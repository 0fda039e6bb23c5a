#!/usr/bin/env python3
"""How fast a cluster converges, printed: a host that dies or is cut off, seen with BFD; a new block on its way to the routers and to the
other hosts. FRR is the router of the rack in question, GoBGP that of the other."""

import ipaddress
import time

import case
from lab import wait_for
from probe import Probe
from racks import V4, V6, Racks
from routeevents import RouteEvents

HOSTS = {"a": "r1", "b": "r1", "c": "r2", "d": "r2"}
SERVICE = "198.18.53.53"  # an address that two hosts have


class Convergence(case.LabCase):
    def setUp(self):
        super().setUp()
        self.racks = Racks(self.lab, HOSTS, bfd=True)
        self.racks.found()
        self.addresses = self.racks.start()
        self.racks.all_reach_all(self.addresses)
        self.watched = {name: RouteEvents(host) for name, host in
                        (("its router (FRR)", self.racks.tors["r1"]), ("the other router (GoBGP)", self.racks.tors["r2"]),
                         ("host of the rack", self.racks.member("b").host), ("host of the other rack", self.racks.member("c").host))}

    def times(self, prefixes, since, removed=False):
        return {name: max(events.wait(prefix, since, removed) for prefix in prefixes) for name, events in self.watched.items()}

    def tell(self, what, times):
        print(f"\n  {what}: " + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in times.items()), flush=True)

    def blocks(self, member):
        return [block for block in member.firn.blocks() if ipaddress.ip_network(block).overlaps(ipaddress.ip_network(V6 if ":" in block else V4))]

    def lose(self, member, what):
        """The host is gone without a word: no packet leaves it any more."""
        self.racks.wait_for_bfd()
        blocks, since = self.blocks(member), time.time()
        member.cut()
        times = self.times(blocks, since, removed=True)
        self.tell(f"{what}, BFD of 3 x 300 ms", times)
        self.assertLess(max(times.values()), 10, "BFD saw it, not the hold time of 240 s")
        return blocks

    def test_a_host_is_cut_off_and_comes_back_and_dies(self):
        member = self.racks.member("a")
        blocks = self.lose(member, "a host is cut off")
        # Containers are attached meanwhile, and reached once the host is back.
        extra = member.attach("c2")
        since = time.time()
        member.mend()
        self.tell("it comes back", self.times(blocks, since))
        for address in extra:
            wait_for(f"{address} is reached", lambda a=address: self.racks.member("c").reaches("c1", a), deadline=60)
        self.racks.check_announcements()
        self.lose(member, "a host dies")
        member.host.close()

    def test_a_new_block_reaches_every_table(self):
        owner = self.racks.member("a")
        blocks = [list(ipaddress.ip_network(cidr).subnets(new_prefix=length))[40] for cidr, length in ((V4, 26), ("fd66::/112", 122))]
        since = time.time()
        for pool, block in zip(("p4", "p6"), blocks):
            self.racks.claim(pool, block, owner)
        told = time.time()
        times = {"own kernel": max(wait_for("the block is a route", lambda b=str(block): b in owner.firn.blocks()) and time.time() - told for block in blocks)}
        self.tell("a block is claimed in etcd", times | self.times([str(block) for block in blocks], since))

    def test_a_service_moves_away_from_a_host_that_dies(self):
        a, b, c = (self.racks.member(name) for name in "abc")
        for member in (a, b):
            member.host.run("ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
            a.firn.ctl("node", "set", member.name, "--label", "role=service")
        a.firn.ctl("bgp", "prefix", "add", f"{SERVICE}/32", "--selector", "role=service")
        router = self.racks.routers["r1"]
        wait_for("the router knows both ways", lambda: [prefix for prefix, _ in router.paths()].count(f"{SERVICE}/32") == 2, deadline=60)
        wait_for("the service is reached from the other rack", lambda: c.reaches("c1", SERVICE), deadline=60)

        def serving():
            return next(member for member in (a, b) if member.addresses[0] in router.fib(f"{SERVICE}/32")[0])

        self.racks.wait_for_bfd()
        dead, probe = serving(), Probe(c.place("c1"), [(a.host, None), (b.host, None)], SERVICE)
        wait_for("packets flow", lambda: c.reaches("c1", SERVICE))
        dead.cut()
        wait_for("the other host serves", lambda: serving() is not dead, deadline=30)
        result = probe.stop()
        print(f"\n  the host of a service dies, BFD of 3 x 300 ms, packets go to another one: {result}, at 1,000 a second", flush=True)
        self.assertLess(result.lost, 10_000, result)


if __name__ == "__main__":
    case.main()
