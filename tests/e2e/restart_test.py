#!/usr/bin/env python3
"""Daemons end and come back: no session flaps, no packet is lost, the router keeps the route."""

import case
import cni
from bgp_test import HOST4, make_rack
from lab import Traffic, wait_for
from probe import Probe
from routers import Frr


class Restarts(case.LabCase):
    def setUp(self):
        super().setUp()
        make_rack(self, Frr, "secret")
        self.addresses = cni.addresses(self.network.add("c1", self.host.netns("c1")))
        self.block = wait_for("the block is a route of the host", lambda: self.firn.block_of(self.addresses[0]))
        wait_for("the spare blocks are there as well", lambda: len(self.firn.blocks()) == 4)
        self.wait_for_route()
        wait_for("the first packet arrives", lambda: self.tor.pings(self.addresses[0]))

    def route(self):
        return self.tor.out("ip", "-4", "route", "show", self.block)

    def wait_for_route(self):
        wait_for("the route is in the router's kernel", self.route)

    def state(self):
        """Everything firn put into the kernel of the host, in the kernel's words."""
        return [self.host.out("ip", *what) for what in (("-4", "route"), ("-6", "route"), ("neigh", "show", "nud", "permanent"), ("-o", "link"))]

    def restart(self, end):
        sessions, kernel = self.firn.sessions(), self.state()
        self.assertEqual(len(sessions), 2)
        traffic = Traffic(self.tor, self.addresses[0], 200)
        end(self.firn.routed)
        self.assertEqual(self.state(), kernel, "the data plane stays as it is")
        self.assertEqual(self.firn.sessions(), sessions, "BIRD stays")
        # What is attached now would have no verdict until the daemon is back: it is asked to come again.
        netns = self.host.netns("c2")
        with self.assertRaises(cni.CniError) as refused:
            self.network.add("c2", netns)
        self.assertIn('"code":11', refused.exception.reply)
        self.firn.start()
        extra = cni.addresses(self.network.add("c2", netns))[0]
        wait_for("the container is reached", lambda: self.tor.pings(extra))
        self.network.delete("c2", "/run/netns/c2")
        wait_for("firn-routed sees the sessions", lambda: self.firn.ctl("bgp", "status").count("Established") == 2)
        # The whole of a restart and then some.
        self.assertEqual(traffic.result(), (200, 200))
        # The state of a session that had flapped would be younger.
        self.assertEqual(self.firn.sessions(), sessions)
        wait_for("the kernel is as before", lambda: self.state() == kernel)

    def test_killed_and_started_again(self):
        self.restart(lambda routed: routed.kill())

    def test_ended_and_started_again(self):
        self.restart(lambda routed: self.assertEqual(routed.terminate(), 0))

    def test_a_killed_bird_is_started_again_and_the_router_keeps_the_route(self):
        probe = Probe((self.tor, None), (self.host, "/run/netns/c1"), self.addresses[0])
        before = self.firn.sessions()
        self.host.run("kill", "-KILL", self.firn.bird_pid())
        seen_down = False

        def back():
            nonlocal seen_down
            self.assertTrue(self.route(), "the router dropped the route")
            established = self.router.established(HOST4)
            seen_down = seen_down or not established
            return seen_down and established and len(self.firn.sessions()) == 2

        wait_for("the sessions come back", back, deadline=60)
        self.assertNotEqual(self.firn.sessions(), before)
        wait_for("the router has the refreshed route", lambda: self.block in self.router.prefixes("ipv4"))
        result = probe.stop()
        self.assertEqual(result.lost, 0, result)


if __name__ == "__main__":
    case.main()
