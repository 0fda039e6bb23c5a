#!/usr/bin/env python3
"""Routers that are not ours learn the blocks of a host: FRR 8.4 and GoBGP 3.10 as the top-of-rack router, IPv4 and IPv6, with
TCP MD5 passwords."""

import json

import case
import cni
from firnhost import Firn
from lab import LabError, wait_for
from routers import HOST_AS, ROUTER_AS, Frr, GoBgp

HOST4, ROUTER4, HOST6, ROUTER6 = "192.0.2.2", "192.0.2.1", "2001:db8::2", "2001:db8::1"
DUAL_STACK = [{"type": "firn", "ipam": {"type": "firn-ipam", "pools": ["web", "web6"]}}]


def make_rack(test, router, password):
    """A host with firn and its router, both sessions established."""
    test.host, test.tor = test.lab.host("h1"), test.lab.host("tor")
    test.lab.link(test.host, "eth0", test.tor, "swp1", [f"{HOST4}/30", f"{HOST6}/64"], [f"{ROUTER4}/30", f"{ROUTER6}/64"])
    test.router = router(test.tor, {HOST4: HOST_AS, HOST6: HOST_AS}, ROUTER4, password)
    test.firn = Firn(test.host)
    test.firn.ctl("init", "--address", HOST4, "--as", HOST_AS, "--pool", "web=10.64.0.0/16", "--pool", "web6=fd00:64::/64")
    test.firn.peer("tor4", ROUTER4, ROUTER_AS, password, "--connect-retry", "1")
    test.firn.peer("tor6", ROUTER6, ROUTER_AS, password, "--connect-retry", "1")
    test.firn.start()
    wait_for("both sessions are established", lambda: test.router.established(HOST4) and test.router.established(HOST6), deadline=30)
    test.network = cni.Network(test.host, "web", DUAL_STACK)


class Rack:
    """The same for every router."""

    router = None
    password = "correct-horse-battery"

    def setUp(self):
        super().setUp()
        make_rack(self, self.router, self.password)

    def attach(self, name):
        """Returns (address, block) of each family, once the router knows both blocks."""
        found = []
        for address in cni.addresses(self.network.add(name, self.host.netns(name))):
            block = wait_for("the block is a route of the host", lambda a=address: self.firn.block_of(a))
            family = "ipv6" if ":" in address else "ipv4"
            wait_for(f"the router learns {block}", lambda b=block, f=family: b in self.router.prefixes(f))
            found.append((address, block))
        return found

    def test_blocks_are_announced_with_the_host_as_next_hop(self):
        (_, block4), (_, block6) = self.attach("c1")
        self.assertIn(HOST4, self.router.prefixes("ipv4")[block4])
        self.assertIn(HOST6, self.router.prefixes("ipv6")[block6])
        lengths = {prefix.rpartition("/")[2] for family in ("ipv4", "ipv6") for prefix in self.router.prefixes(family)}
        self.assertEqual(lengths, {"26", "122"}, "blocks are announced, not the containers' own routes")

    def test_a_prefix_of_the_router_becomes_a_route_of_the_host(self):
        for prefix, gateway in (("198.51.100.0/24", ROUTER4), ("2001:db8:100::/48", None)):
            self.router.announce(prefix)
            family = "-6" if ":" in prefix else "-4"
            route = wait_for(f"the host learns {prefix}", lambda p=prefix, f=family: self.host.out("ip", f, "route", "show", p))
            self.assertIn("eth0", route)
            if gateway:
                self.assertIn(gateway, route)

    def test_what_the_router_receives(self):
        """Communities, MED, a longer path, an anycast prefix of a label, and the end of a drain; printed as the router has them."""
        attached = self.attach("c1")
        ctl = self.firn.ctl
        ctl("bgp", "community", "add", "mine", "--value", f"{HOST_AS}:100", "--value", f"{HOST_AS}:1:2")
        ctl("bgp", "filter", "add", "out", "--rule", "accept 198.51.100.0/24 le 32 add no-export med 7", "--rule", "next prepend 1", "--rule",
            "accept")
        ctl("bgp", "prefix", "add", "198.51.100.53/32", "--selector", "role=dns")
        ctl("bgp", "prefix", "add", "2001:db8:53::/48", "--selector", "role=web")
        ctl("node", "set", "--label", "role=dns")
        for name in ("tor4", "tor6"):
            ctl("bgp", "peer", "set", name, "--community", "mine", "--prepend", "1", "--med", "50", "--export-filter", "out")
        mine, path = {f"{HOST_AS}:100"}, [HOST_AS] * 3

        def heard(prefix, communities, med, as_path):
            def is_so():
                now = self.router.received(prefix)
                if (set(now["communities"]), now["med"], now["as_path"]) != (communities, med, as_path):
                    raise LabError(f"{prefix}: {now}")
                return now

            now = wait_for(f"the router has {prefix} as it is told", is_so)
            print(f"\n  {type(self.router).__name__} received {prefix}: {json.dumps(now)}", end="", flush=True)
            self.assertEqual(now["large"], [f"{HOST_AS}:1:2"])
            self.assertIn(HOST6 if ":" in prefix else HOST4, now["next_hop"])

        for _, block in attached:
            heard(block, mine, 50, path)
        heard("198.51.100.53/32", mine | {"noExport"}, 7, [HOST_AS] * 2)
        self.assertNotIn("2001:db8:53::/48", self.router.prefixes("ipv6"))
        before = self.firn.sessions()
        ctl("node", "drain-bgp", "--grace", "3600")
        for _, block in attached:
            heard(block, mine | {"gracefulShutdown"}, 50, path)
        ctl("node", "undrain", "--wait", deadline=90)
        ctl("node", "drain-bgp", "--grace", "0", "--wait", deadline=90)
        for family in ("ipv4", "ipv6"):
            wait_for("the router has nothing of us", lambda f=family: not self.router.prefixes(f))
        ctl("node", "undrain", "--wait", deadline=90)
        for _, block in attached:
            heard(block, mine, 50, path)
        self.assertEqual(self.firn.sessions(), before, "no session ended")
        print()

    def test_a_removed_peer_is_forgotten_and_the_other_session_does_not_flap(self):
        (_, block4), (_, block6) = self.attach("c1")
        before = self.firn.sessions()
        self.assertEqual(len(before), 2)
        self.firn.ctl("bgp", "peer", "remove", "tor6")
        wait_for("the router withdraws the IPv6 block", lambda: block6 not in self.router.prefixes("ipv6"))
        self.assertTrue(self.router.established(HOST4))
        self.assertIn(block4, self.router.prefixes("ipv4"))
        after = self.firn.sessions()
        self.assertEqual(len(after), 1)
        self.assertLessEqual(after.items(), before.items())

    def test_status_shows_the_sessions(self):
        self.attach("c1")
        shown = self.firn.ctl("bgp", "status")
        self.assertIn("tor4", shown)
        self.assertEqual(shown.lower().count("established"), 2, shown)
        why = self.firn.ctl("route", "why", cni.addresses(self.network.results[("c1", "eth0")][0])[0])
        self.assertIn("tor4", why)

    def test_routes_show_what_came_and_went(self):
        (_, block4), (_, _) = self.attach("c1")
        self.router.announce("198.51.100.0/24")
        self.router.announce("203.0.113.0/24")
        self.firn.ctl("bgp", "peer", "set", "tor4", "--import", "accept 198.51.100.0/24")

        def all_there():
            found = {(entry["prefix"], direction) for session in self.firn.ask("bgp", "routes", "tor4")
                     for direction in ("accepted", "rejected") for entry in session[direction]}
            if found != {("198.51.100.0/24", "accepted"), ("203.0.113.0/24", "rejected")}:
                raise LabError(found)
            return True

        wait_for("both prefixes came", all_there)
        shown = [line.split() for line in self.firn.ctl("bgp", "routes").splitlines()]
        self.assertIn(["tor4", "in", "198.51.100.0/24", ROUTER4, "on", "eth0", "yes"], shown)
        self.assertIn(["tor4", "out", block4, "-", "-"], shown)
        filtered = [line for line in self.firn.ctl("bgp", "status").splitlines() if line.startswith("tor4")][0].split()
        self.assertEqual(filtered[-4:-2], ["1", "1"], "in, filtered")


class FrrRouter(Rack, case.LabCase):
    router = Frr

    def test_the_router_reaches_the_container(self):
        for address, block in self.attach("c1"):
            family = "-6" if ":" in address else "-4"
            wait_for("the route is in the router's kernel", lambda b=block, f=family: self.tor.out("ip", f, "route", "show", b))
            self.assertTrue(self.tor.pings(address), address)
        # An address of the block that nobody holds is refused at the host, not sent in circles.
        free = block4_neighbour(self.network.results[("c1", "eth0")][0])
        self.assertFalse(self.tor.pings(free))

    def test_no_session_without_the_password(self):
        self.firn.ctl("bgp", "peer", "remove", "tor4")
        wait_for("the session is closed", lambda: not self.router.established(HOST4))
        self.firn.peer("tor4", ROUTER4, ROUTER_AS, "wrong", "--connect-retry", "1")
        # BIRD may still be busy with the reconfiguration before; the daemon tries again every second.
        wait_for("BIRD tries the session", lambda: "tor4" in self.firn.ctl("bgp", "status"))
        for _ in range(3):
            self.assertFalse(self.router.established(HOST4))


class GoBgpRouter(Rack, case.LabCase):
    router = GoBgp


def block4_neighbour(result):
    first = next(a for a in cni.addresses(result) if ":" not in a)
    head, _, last = first.rpartition(".")
    return f"{head}.{int(last) ^ 1}"


if __name__ == "__main__":
    case.main()
