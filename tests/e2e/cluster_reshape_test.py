#!/usr/bin/env python3
"""Pools that change under traffic: extended, shrunk, split and merged by firnctl on live hosts, while containers come and go on every one of
them and probes count the packets between those that stay. No address is given out twice, none that is alive moves, nothing is lost.

FIRN_LONG=yes: 40 rounds instead of 6, and a pool that shrinks as it empties, the cooldown of the last address included."""

import ipaddress
import json
import os
import random
import threading
import time

import case
import cni
from lab import LabError, wait_for
from probe import Probe
from racks import Racks

LONG = os.environ.get("FIRN_LONG") == "yes"
ROUNDS = 40 if LONG else 6
HOSTS = {"a": "r1", "b": "r1", "c": "r2", "d": "r2"}
V4, V6 = "10.66.0.0/20", "fd66::/116"
LOW, HIGH, WIDE = "10.66.0.0/21", "10.66.8.0/21", "10.66.0.0/19"
TRY_AGAIN = 11


class Holders:
    """Who has which address, as the answers of ADD say. One that is about to be detached has none: another may get it from then on."""

    def __init__(self):
        self.lock, self.holder, self.problems = threading.Lock(), {}, []

    def took(self, who, addresses):
        with self.lock:
            for address in addresses:
                if (other := self.holder.setdefault(address, who)) != who:
                    self.problems.append(f"{address} of {other} was given to {who} too")

    def gives(self, who):
        with self.lock:
            self.holder = {address: other for address, other in self.holder.items() if other != who}


class Churn(threading.Thread):
    """Containers come and go on one host, a few at a time."""

    def __init__(self, member, holders):
        super().__init__(name=f"churn-{member.name}")
        self.member, self.holders, self.random = member, holders, random.Random(member.number)
        self.network = cni.Network(member.host, "web", member.network.plugins)
        self.ending, self.alive, self.added, self.tries, self.failure = threading.Event(), [], 0, 0, None

    def run(self):
        try:
            while not self.ending.is_set():
                if len(self.alive) < 3 or (len(self.alive) < 6 and self.random.random() < 0.5):
                    self.attach(f"x{self.added + self.tries}")
                else:
                    self.detach(self.alive.pop(self.random.randrange(len(self.alive))))
            while self.alive:
                self.detach(self.alive.pop())
        except Exception as error:  # what ends a thread is the test's to say
            self.failure = error

    def attach(self, container):
        netns = self.member.host.netns(container)
        try:
            found = cni.addresses(self.network.add(container, netns))
        except cni.CniError as error:
            if f'"code":{TRY_AGAIN}' not in error.reply:
                raise
            self.tries += 1
            self.member.host.run("ip", "netns", "del", container)
            return
        self.added += 1
        self.alive.append(container)
        self.holders.took(f"{self.member.name}/{container}", found)

    def detach(self, container):
        self.holders.gives(f"{self.member.name}/{container}")
        self.network.delete(container, f"/run/netns/{container}")
        self.member.host.run("ip", "netns", "del", container)

    def stop(self):
        self.ending.set()
        self.join()
        if self.failure:
            raise self.failure


class Reshape(case.LabCase):
    def setUp(self):
        super().setUp()
        self.racks = Racks(self.lab, HOSTS, pools=(V4, V6))
        self.racks.found()
        for member in self.racks.members:
            member.network = cni.Network(member.host, "web", [{"type": "firn", "ipam": {"type": "firn-ipam"}}])
        self.addresses = self.racks.start()
        self.a, self.b, self.c, self.d = self.racks.members
        self.holders = Holders()
        self.stay = {}  # (member, container): its addresses
        for member in self.racks.members:
            self.stay[(member, "c1")] = self.addresses[member.name]
            # One more in the other half of the pool, whose block is claimed for it.
            wanted = str(ipaddress.ip_network(HIGH)[64 * member.number])
            found = cni.addresses(member.network.add("c2", member.host.netns("c2"), args=f"IP={wanted}"))
            self.assertIn(wanted, found)
            self.stay[(member, "c2")] = sorted(found, key=lambda address: ":" in address)
        for (member, container), found in self.stay.items():
            self.holders.took(f"{member.name}/{container}", found)
        self.racks.all_reach_all(self.addresses)
        self.racks.all_reach_all({member.name: found for (member, container), found in self.stay.items() if container == "c2"})
        self.churns = [Churn(member, self.holders) for member in self.racks.members]
        for churn in self.churns:
            churn.start()
            self.addCleanup(churn.ending.set)
        self.probes = {f"{source.name}/{container} to {address}": Probe(source.place(container), sink.place(of), address)
                       for source, container, sink, of, address in (
                           (self.d, "c1", self.a, "c1", self.stay[(self.a, "c1")][0]),
                           (self.b, "c1", self.c, "c2", self.stay[(self.c, "c2")][0]),
                           (self.a, "c2", self.d, "c1", self.stay[(self.d, "c1")][1]))}

    def change(self, member, *arguments, deadline=90):
        began = time.monotonic()
        words = member.firn.ctl("pool", *arguments, deadline=deadline)
        print(f"\n  {time.monotonic() - began:5.1f} s  pool {' '.join(arguments)}: {words.strip()}", end="", flush=True)
        return words

    def pools(self, member):
        return {pool["name"]: pool["cidr"] for pool in member.firn.ask("pool", "list")}

    def wait_for_pools(self, **wanted):
        """On every host, in the copy that its plugin reads."""
        for member in self.racks.members:
            def is_so(m=member):
                now = {pool["name"]: pool["cidr"] for pool in (json.loads(r["value"]) for r in json.loads(m.firn.ctl("ipam", "dump", "pool/")))}
                if now != wanted:
                    raise LabError(f"{m.name} has {now}")
                return True

            wait_for(f"{member.name} has the pools {wanted}", is_so, deadline=30)

    def check_those_that_stay(self):
        for (member, container), found in self.stay.items():
            now = [a["local"] for link in member.host.json("ip", "-n", container, "-j", "address", "show", "eth0") for a in link["addr_info"]
                   if a["scope"] == "global"]
            self.assertEqual(sorted(now), sorted(found), f"{member.name}/{container}")
            member.network.check(container, f"/run/netns/{container}")

    def check_probe(self, what, probe):
        result = probe.stop()
        print(f"\n  {what}: {result}", end="", flush=True)
        self.assertEqual(result.lost, 0, f"{what}: {result}")

    def finish(self):
        for churn in self.churns:
            churn.stop()
        print(f"\n  attached and detached meanwhile: {sum(churn.added for churn in self.churns)}, told to try again: "
              f"{sum(churn.tries for churn in self.churns)}", end="", flush=True)
        self.assertEqual(self.holders.problems, [])
        for what, probe in self.probes.items():
            self.check_probe(what, probe)
        print(flush=True)
        self.check_those_that_stay()
        # What was given back goes from the router a moment after. FRR's table alone, which has every host's paths too: where a block went
        # from one rack's host to the other's, GoBGP has been seen with a path by way of FRR that FRR did not have any more.
        wait_for("the router has blocks of their owners alone", lambda: self.racks.check_announcements(racks=["r1"]), deadline=10)
        wait_for("every host's records agree", lambda: self.a.host.ok("firnctl", "ipam", "check", "--all"), deadline=30)

    def test_pools_change_while_containers_come_and_go(self):
        # Wider, and back: blocks that hosts have there by then are given up.
        self.change(self.a, "resize", "p4", WIDE)
        self.wait_for_pools(p4=WIDE, p6=V6)
        beyond = [block for block in ipaddress.ip_network(WIDE).subnets(new_prefix=26) if not block.subnet_of(ipaddress.ip_network(V4))]
        for block, member in zip(beyond, (self.b, self.c)):
            self.racks.claim("p4", block, member)
            wait_for(f"{member.name} has {block}", lambda m=member, b=block: str(b) in m.firn.blocks(), deadline=30)
        self.change(self.c, "resize", "p4", V4, "--wait", "60")
        self.assertEqual(self.pools(self.a)["p4"], V4)
        for block, member in zip(beyond, (self.b, self.c)):
            # Routes go half a second after what they were for.
            wait_for(f"{member.name} has no route of {block}", lambda m=member, b=block: str(b) not in m.firn.blocks(), deadline=5)

        for number in range(ROUNDS):
            one, other = (self.a, self.c) if number % 2 == 0 else (self.d, self.b)
            self.change(one, "split", "p4", "--into", f"p4={LOW},q4={HIGH}")
            self.change(other, "split", "p6", "--into", "p6,q6")
            self.wait_for_pools(p4=LOW, q4=HIGH, p6="fd66::/117", q6="fd66::800/117")
            self.check_those_that_stay()
            self.change(other, "merge", "p4", "q4", "--into", "p4")
            self.change(one, "merge", "p6", "q6", "--into", "p6")
            self.wait_for_pools(p4=V4, p6=V6)
            self.check_those_that_stay()

        # What is in use is not given up, and named.
        refused = self.b.host.run("firnctl", "pool", "resize", "p4", LOW, check=False)
        self.assertEqual(refused.returncode, 6, refused.stderr)
        self.assertIn("web/c2/eth0", refused.stderr)
        self.assertEqual(self.pools(self.b)["p4"], V4)
        if LONG:
            self.empty_the_upper_half()
        self.finish()

    def empty_the_upper_half(self):
        words = self.change(self.d, "resize", "p4", LOW, "--drain")
        self.assertIn("shrinks to", words)
        for what in [what for what in self.probes if not what.startswith("d/c1")]:
            self.check_probe(what, self.probes.pop(what))
        for member, container in [key for key in self.stay if key[1] == "c2"]:
            self.holders.gives(f"{member.name}/{container}")
            member.detach(container)
            del self.stay[(member, container)]
        wait_for("the pool is smaller", lambda: self.pools(self.a)["p4"] == LOW, deadline=240, interval=1)


if __name__ == "__main__":
    case.main()
