#!/usr/bin/env python3
"""Daemons of a cluster end and configurations change, and no packet of 1,000 a second between the racks is lost: restarts of
firn-routed, of BIRD, of BIRD again while its routers still keep the routes, changes of the configuration, a host taken out of BGP for
maintenance. FRR and GoBGP are the routers. (No BFD here: on a busy machine it takes silence for death.)

FIRN_LONG=yes: 100 restarts of each and 1,000 changes instead of a few"""

import os
import pathlib
import random
import time

import case
from lab import wait_for
from probe import Probe
from racks import Racks

LONG = os.environ.get("FIRN_LONG") == "yes"
RESTARTS = 100 if LONG else 20
BIRD_RESTARTS = 100 if LONG else 4
CHANGES = 1000 if LONG else 50
HOSTS = {"a": "r1", "b": "r1", "c": "r2", "d": "r2"}
SERVICE = "198.18.53.53"  # an address that two hosts have


class Restarts(case.LabCase):
    def setUp(self):
        super().setUp()
        self.racks = Racks(self.lab, HOSTS)
        self.racks.found()
        self.addresses = self.racks.start()
        self.racks.all_reach_all(self.addresses)
        for member in self.racks.members:
            wait_for(f"{member.name} has its spare blocks", lambda m=member: len(m.firn.blocks()) == 4)
        self.a, self.c = self.racks.member("a"), self.racks.member("c")

    def probes(self):
        """Between the racks, both ways, both families."""
        return [Probe(self.c.place("c1"), self.a.place("c1"), self.addresses["a"][0]),
                Probe(self.a.place("c1"), self.c.place("c1"), self.addresses["c"][1])]

    def check(self, what, probes):
        for family, probe in zip(("IPv4", "IPv6"), probes):
            result = probe.stop()
            print(f"\n  {what}, {family}: {result}", flush=True)
            self.assertEqual(result.lost, 0, result)
        self.racks.check_announcements()

    def sessions(self):
        return {member.name: member.firn.sessions() for member in self.racks.members}

    def kill_bird(self, member):
        """Returns when another BIRD has the wanted configuration, and every router the refreshed routes."""
        before, sessions = member.firn.bird_pid(), member.firn.sessions()
        member.host.run("kill", "-KILL", before)
        wait_for(f"{member.name} has another BIRD", lambda: member.firn.bird_pid() != before, deadline=60)
        self.wait_for_sessions(member, sessions)

    def wait_for_sessions(self, member, before):
        wait_for(f"the sessions of {member.name} are new", lambda: len(now := member.firn.sessions()) == len(before) and now != before, deadline=60)
        for address in member.addresses:
            wait_for("the router has the session", lambda a=address: member.router.established(a), deadline=60)

    # ------------------------------------------------------------------------------------------------------------------------

    def test_restarts_of_firn_routed(self):
        sessions, probes = self.sessions(), self.probes()
        for number in range(RESTARTS):
            member = (self.a, self.c)[number % 2]
            member.firn.routed.kill() if number % 4 < 2 else member.firn.routed.terminate()
            member.start()
            wait_for(f"{member.name} is settled", lambda m=member: m.is_settled() and len(m.firn.sessions()) == 2, deadline=30)
        self.check(f"{RESTARTS} restarts of firn-routed", probes)
        self.assertEqual(self.sessions(), sessions, "no session flapped")

    def test_restarts_of_bird(self):
        probes = self.probes()
        for number in range(BIRD_RESTARTS):
            member = (self.a, self.c)[number % 2]
            self.kill_bird(member)
            # A new firn-routed does not wait longer and longer before it starts BIRD, as one does whose BIRD dies again and again.
            member.firn.routed.kill()
            member.start()
        self.check(f"{BIRD_RESTARTS} restarts of BIRD", probes)

    def test_two_restarts_within_the_restart_time(self):
        # Before the sessions are up, and after. In between, when a session is up and no route told yet, a router must drop what it kept
        # (RFC 4724, 4.2): nothing of ours can help that (docs/bgp.md).
        for member in (self.a, self.c):
            for pause in [0, 0.2, 4] if LONG else [0.2]:
                probes, sessions = self.probes(), member.firn.sessions()
                first = member.firn.bird_pid()
                member.host.run("kill", "-KILL", first)
                second = wait_for("there is another BIRD", lambda: (pid := member.firn.bird_pid()) != first and pid, deadline=60)
                wait_for("it answers", lambda: member.host.ok("birdc", "-s", "/run/firn/bird/bird.ctl", "show", "status"), deadline=60)
                time.sleep(pause)  # the moment of the second kill is the input of this test
                member.host.run("kill", "-KILL", second)
                self.wait_for_sessions(member, sessions)
                self.check(f"{member.name}: BIRD killed, and its successor {pause} s after its first answer", probes)

    def test_a_host_is_drained_and_comes_back(self):
        a, b = self.a, self.racks.member("b")
        for member in (a, b):
            member.host.run("ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
            a.firn.ctl("node", "set", member.name, "--label", "role=service")
        a.firn.ctl("bgp", "prefix", "add", f"{SERVICE}/32", "--selector", "role=service")
        router = self.racks.routers["r1"]
        wait_for("the router knows both ways", lambda: [prefix for prefix, _ in router.paths()].count(f"{SERVICE}/32") == 2, deadline=60)
        wait_for("the service is reached from the other rack", lambda: self.c.reaches("c1", SERVICE), deadline=60)

        def serving():
            return next(member for member in (a, b) if member.addresses[0] in router.fib(f"{SERVICE}/32")[0])

        drained, probe = serving(), Probe(self.c.place("c1"), [(a.host, None), (b.host, None)], SERVICE)
        a.firn.ctl("node", "drain-bgp", drained.name, "--grace", "3", "--wait", deadline=120)
        wait_for("the other host serves", lambda: serving() is not drained, deadline=30)
        a.firn.ctl("node", "undrain", drained.name, "--wait", deadline=120)
        wait_for("the router knows both ways again", lambda: [prefix for prefix, _ in router.paths()].count(f"{SERVICE}/32") == 2, deadline=60)
        result = probe.stop()
        print(f"\n  a service of two hosts, one of which is drained and undrained: {result}", flush=True)
        self.assertEqual(result.lost, 0, result)
        self.racks.all_reach_all(self.addresses)

    def test_changes_of_the_configuration(self):
        sessions, probes, rng = self.sessions(), self.probes(), random.Random(7)
        acknowledged = pathlib.Path(f"/proc/{self.a.host.pid}/root/run/firn/bird/acknowledged")
        for number in range(CHANGES):
            before = acknowledged.read_bytes()
            self.change(number, rng.randrange(1, 250))
            wait_for(f"change {number} is in force", lambda b=before: acknowledged.read_bytes() != b, deadline=60)
        self.check(f"{CHANGES} changes of the configuration", probes)
        self.assertEqual(self.sessions(), sessions, "no session flapped")
        print(f"\n  session flaps in {CHANGES} changes of the configuration: 0 of {sum(map(len, sessions.values()))} sessions", flush=True)

    def change(self, number, octet):
        """Something that BIRD must be told: rules of a live session, peers that come and go, pools."""
        ctl = self.a.firn.ctl
        kind = number % 6
        if kind == 0:
            ctl("bgp", "peer", "set", "tor4-a", "--import", "accept 10.66.0.0/16 le 32", "--import", f"accept 172.16.{octet}.0/24 le {24 + number // 6 % 9}")
        elif kind == 1:
            ctl("bgp", "peer", "add", "extra", "--address", f"192.0.2.{100 + octet % 100}", "--as", 64700)
        elif kind == 2:
            ctl("bgp", "peer", "set", "extra", "--export", f"accept 10.{octet}.0.0/16 le 26")
        elif kind == 3:
            ctl("bgp", "peer", "remove", "extra")
        elif kind == 4:
            ctl("pool", "create", "extra", f"172.{16 + octet % 16}.0.0/16", "--no-advertise")
        else:
            ctl("pool", "delete", "extra")


if __name__ == "__main__":
    case.main()
