"""Routers that are not ours: FRR and GoBGP as the top-of-rack router of a lab. Each starts in a Host with its neighbours, {address: AS},
and answers what it has learned and what its kernel forwards by."""

import json
import pathlib
import sys

from lab import LabError, wait_for

ROUTER_AS, HOST_AS = 64601, 64512


class Router:
    def fib(self, prefix=None):
        """What BGP put into the kernel of the router, in its words; of one prefix, or all."""
        family = ["-6"] if prefix and ":" in prefix else ["-4"]
        families = [family] if prefix else [["-4"], ["-6"]]
        what = [prefix] if prefix else []
        return [line for family in families for line in self.host.out("ip", *family, "route", "show", *what, "proto", "bgp").splitlines()]


class Frr(Router):
    """zebra and bgpd of FRR: routes go into the kernel of the router's host. With bfd for the sessions with `bfd` (addresses)."""

    def __init__(self, host, neighbours, router_id, password=None, as_number=ROUTER_AS, bfd=()):
        self.host, self.as_number = host, as_number
        lines = [f"router bgp {as_number}", f" bgp router-id {router_id}", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast"]
        for address, number in neighbours.items():
            lines += [f" neighbor {address} remote-as {number}", f" neighbor {address} timers connect 1"]
            if password:
                lines.append(f" neighbor {address} password {password}")
            if address in bfd:
                lines.append(f" neighbor {address} bfd")
        for family in ("ipv4", "ipv6"):
            lines.append(f" address-family {family} unicast")
            lines += [f"  neighbor {a} activate" for a in neighbours if (":" in a) == (family == "ipv6")]
            lines.append(" exit-address-family")
        host.write("/etc/frr/bgpd.conf", "\n".join(lines) + "\n")
        host.write("/etc/frr/zebra.conf", "")
        host.write("/etc/frr/vtysh.conf", "")
        host.run("install", "-d", "-o", "frr", "-g", "frr", "/run/frr", "/var/log/frr")
        host.run("chown", "-R", "frr:frr", "/etc/frr")
        self.zebra = host.start("zebra", "/usr/lib/frr/zebra", "-f", "/etc/frr/zebra.conf", "-A", "127.0.0.1", "--log", "stdout")
        wait_for("zebra listens", lambda: host.ok("test", "-S", "/run/frr/zserv.api"))
        if bfd:
            self.bfdd = host.start("bfdd", "/usr/lib/frr/bfdd", "--log", "stdout")
            wait_for("bfdd answers", lambda: host.ok("vtysh", "-d", "bfdd", "-c", "show bfd peers"))
        self.bgpd = host.start("bgpd", "/usr/lib/frr/bgpd", "-f", "/etc/frr/bgpd.conf", "-A", "127.0.0.1", "--log", "stdout")
        wait_for("bgpd answers", lambda: "neighbors" in json.dumps(self.ask("show bgp neighbors json")) or True)

    def ask(self, command):
        return self.host.json("vtysh", "-c", command)

    def prefixes(self, family="ipv4"):
        """{prefix: [next hops]} of the best paths."""
        routes = self.ask(f"show bgp {family} unicast json").get("routes", {})
        return {prefix: [hop["ip"] for path in paths for hop in path.get("nexthops", [])] for prefix, paths in routes.items()}

    def paths(self, family="ipv4"):
        """[(prefix, AS path)] of every path, best or not."""
        routes = self.ask(f"show bgp {family} unicast json").get("routes", {})
        return [(prefix, [int(number) for number in path["path"].split()]) for prefix, paths in routes.items() for path in paths]

    def received(self, prefix):
        """What came with the best path of a prefix: next hop, AS path, communities of both sorts, MED."""
        family = "ipv6" if ":" in prefix else "ipv4"
        path = self.ask(f"show bgp {family} unicast {prefix} json")["paths"][0]
        hops = sorted(hop["ip"] for hop in path["nexthops"] if hop.get("scope", "global") == "global")
        return {"next_hop": hops, "as_path": [int(n) for n in path["aspath"]["string"].split()],
                "communities": path.get("community", {}).get("list", []), "large": path.get("largeCommunity", {}).get("list", []),
                "med": path.get("metric")}

    def neighbour(self, address):
        return self.ask(f"show bgp neighbors {address} json")[address]

    def established(self, address):
        return self.neighbour(address).get("bgpState") == "Established"

    def announce(self, prefix):
        family = "ipv6" if ":" in prefix else "ipv4"
        self.host.run("ip", "route", "add", "blackhole", prefix)
        self.host.run("vtysh", "-c", "configure terminal", "-c", f"router bgp {self.as_number}", "-c", "no bgp network import-check",
                      "-c", f"address-family {family} unicast", "-c", f"network {prefix}")


class GoBgp(Router):
    """gobgpd: a BGP speaker without a kernel table; what it learned is in its RIB, and with `fib` also in the kernel of its host."""

    def __init__(self, host, neighbours, router_id, password=None, as_number=ROUTER_AS, fib=False):
        self.host = host
        config = {"global": {"config": {"as": as_number, "router-id": router_id}}, "neighbors": []}
        for address, number in neighbours.items():
            family = "ipv6-unicast" if ":" in address else "ipv4-unicast"
            neighbour = {
                "config": {"neighbor-address": address, "peer-as": number},
                "timers": {"config": {"connect-retry": 1, "idle-hold-time-after-reset": 1}},
                "graceful-restart": {"config": {"enabled": True, "helper-only": True, "restart-time": 120}},
                "afi-safis": [{"config": {"afi-safi-name": family}, "mp-graceful-restart": {"config": {"enabled": True}}}],
            }
            if password:
                neighbour["config"]["auth-password"] = password
            config["neighbors"].append(neighbour)
        host.write("/etc/gobgpd.json", json.dumps(config))
        self.daemon = host.start("gobgpd", "gobgpd", "-t", "json", "-f", "/etc/gobgpd.json", "--api-hosts=127.0.0.1:50051", "-p")
        wait_for("gobgpd answers", lambda: host.ok("gobgp", "neighbor"))
        if fib:
            host.start("gobgp-fib", sys.executable, "-B", pathlib.Path(__file__).resolve().with_name("gobgp_fib.py"))

    def prefixes(self, family="ipv4"):
        routes = self.host.json("gobgp", "global", "rib", "-a", family, "-j") or {}
        found = {}
        for prefix, paths in routes.items():
            for path in paths:
                for attribute in path["attrs"]:
                    hop = attribute.get("nexthop")
                    if hop:
                        found.setdefault(prefix, []).append(hop)
        return found

    def paths(self, family="ipv4"):
        routes = self.host.json("gobgp", "global", "rib", "-a", family, "-j") or {}
        return [(prefix, [number for attribute in path["attrs"] for segment in attribute.get("as_paths", []) for number in segment["asns"]])
                for prefix, paths in routes.items() for path in paths]

    def received(self, prefix):
        family = "ipv6" if ":" in prefix else "ipv4"
        attributes = self.host.json("gobgp", "global", "rib", "-a", family, "-j")[prefix][0]["attrs"]
        found = {"next_hop": [], "as_path": [], "communities": [], "large": [], "med": None}
        names = {65535 << 16: "gracefulShutdown", 0xffffff01: "noExport"}
        for attribute in attributes:
            found["next_hop"] += [attribute["nexthop"]] if attribute.get("nexthop") else []
            found["as_path"] += [number for segment in attribute.get("as_paths", []) for number in segment["asns"]]
            found["communities"] += [names.get(c, f"{c >> 16}:{c & 65535}") for c in attribute.get("communities", [])]
            found["med"] = attribute.get("metric", found["med"])
            if attribute["type"] == 32:
                found["large"] += [f"{c['ASN']}:{c['LocalData1']}:{c['LocalData2']}" for c in attribute["value"]]
        return found

    def established(self, address):
        for neighbour in self.host.json("gobgp", "neighbor", "-j") or []:
            if neighbour["state"]["neighbor_address"] == address:
                return neighbour["state"]["session_state"] in (6, "ESTABLISHED", "established")
        raise LabError(f"gobgpd does not know {address}")

    def announce(self, prefix):
        self.host.run("gobgp", "global", "rib", "-a", "ipv6" if ":" in prefix else "ipv4", "add", prefix)
