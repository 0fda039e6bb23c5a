"""Several firn hosts on one fabric: two layer-2 segments with a router between them that knows no pool. Each host has a cluster store of
its own, and share() makes them say the same, as docs/ipam.md lets other programs do: a node's record is the node's, everything else
the first host's. Blocks are claimed here, ahead, so that no two hosts take the same."""

import contextlib
import ipaddress
import json
import sqlite3

import cni
from firnhost import Firn
from lab import LabError, wait_for

SEGMENTS = {"s1": ("192.0.2.{}/24", "2001:db8:1::{}/64"), "s2": ("198.51.100.{}/24", "2001:db8:2::{}/64")}
ROUTER = 254


class Member:
    def __init__(self, cluster, name, segment, number, families):
        lab = cluster.lab
        self.cluster, self.name = cluster, name
        self.host = lab.host(name)
        forms = [form for form, family in zip(SEGMENTS[segment], (4, 6)) if family in families]
        addresses = [form.format(number) for form in forms]
        self.addresses = [address.partition("/")[0] for address in addresses]
        lab.link(self.host, "eth0", cluster.fabric, f"p-{name}", addresses)
        cluster.fabric.run("ip", "link", "set", f"p-{name}", "master", segment)
        for form, family in zip(SEGMENTS[segment], (4, 6)):
            if family in families:
                self.host.run("ip", f"-{family}", "route", "add", "default", "via", form.format(ROUTER).partition("/")[0])
        self.host.write("/etc/machine-id", f"{number:032x}\n")
        self.state = lab.dir / f"state-{name}"
        self.state.mkdir(mode=0o700)
        self.host.run("mount", "--bind", self.state, "/var/lib/firn")
        self.firn = Firn(self.host)
        self.firn.ctl("init", "--name", name, *(option for a in self.addresses for option in ("--address", a)))
        self.network = cni.Network(self.host, "web", [{"type": "firn", "ipam": {"type": "firn-ipam"}}])

    def start(self):
        self.firn.start()
        wait_for(f"{self.name} is ready", lambda: self.status()["ready"])
        wait_for(f"{self.name} has its blocks", lambda: len(self.firn.blocks()) >= len(self.cluster.claimed[self.name]))

    def status(self):
        return self.host.json("firnctl", "status", "-o", "json", check=False)["daemon"]

    def attach(self, container):
        """Returns the addresses of a new container, IPv4 first."""
        found = cni.addresses(self.network.add(container, self.host.netns(container)))
        self.cluster.share()
        return sorted(found, key=lambda address: ":" in address)

    def mtu(self, container):
        return self.host.json("ip", "-n", container, "-j", "link", "show", "eth0")[0]["mtu"]

    def reaches(self, container, address, size=56):
        """One packet of that much payload, which nobody may cut."""
        return self.host.inside(f"/run/netns/{container}", "ping", "-n", "-q", "-c", "1", "-W", "1", "-M", "do", "-s", size, address,
                                check=False).returncode == 0

    def routes(self):
        """Routes of firn to other hosts, as {destination: the kernel's words}."""
        found = {}
        for family in ("-4", "-6"):
            for line in self.host.out("ip", family, "route", "show", "proto", "241").splitlines():
                if " via " in line:
                    found[line.split()[0]] = line
        return found

    def kernel(self):
        """Everything that is in the kernel of this host, as a set of the kernel's words, but for counters and times."""
        lines = [("ip", *what) for what in (("-4", "route"), ("-6", "route"), ("neigh", "show", "nud", "permanent"))]
        lines += [("bridge", "fdb", "show", "dev", link["ifname"]) for link in self.vxlan_links()]
        found = {" ".join(line.split()) for command in lines for line in self.host.out(*command).splitlines()}
        return found | {f"{link['ifindex']} {link['ifname']} mtu {link['mtu']} {link['address']} {link['operstate']}"
                        for link in self.host.json("ip", "-j", "link")}

    def is_as(self, before):
        """For wait_for: says what differs."""
        now = self.kernel()
        if now != before:
            raise LabError(f"missing: {sorted(before - now)}; more: {sorted(now - before)}")
        return True

    def vxlan_links(self):
        return self.host.json("ip", "-j", "-d", "link", "show", "type", "vxlan") or []


class Cluster:
    def __init__(self, lab):
        self.lab, self.members = lab, []
        self.claimed = {}
        self.fabric = lab.host("fabric")
        for segment, forms in SEGMENTS.items():
            self.fabric.run("ip", "link", "add", segment, "type", "bridge")
            for form in forms:
                self.fabric.run("ip", "address", "add", form.format(ROUTER), "dev", segment, *(["nodad"] if ":" in form else []))
            self.fabric.run("ip", "link", "set", segment, "up")
        self.fabric.sysctl("net/ipv4/ip_forward", 1)
        self.fabric.sysctl("net/ipv6/conf/all/forwarding", 1)

    def add(self, name, segment, families=(4, 6)):
        member = Member(self, name, segment, 11 + len(self.members), families)
        self.members.append(member)
        return member

    def pool(self, *arguments):
        self.members[0].firn.ctl("pool", *arguments)
        self.share()

    def claim(self, name, cidr, length, each=2):
        """`each` blocks of the pool for every member."""
        network = ipaddress.ip_network(cidr)
        blocks = network.subnets(new_prefix=length)
        digits = 8 if network.version == 4 else 32
        for member in self.members:
            for _ in range(each):
                block = next(blocks)
                key = f"claim/{name}/{network.version}-{int(block.network_address):0{digits}x}-{length:02x}"
                record = {"v": 1, "prefix": str(block), "pool": name, "node": member.name, "use": "routed", "claimed_at": 1}
                self.claimed.setdefault(member.name, []).append(str(block))
                self.write(self.members[0], {key: json.dumps(record).encode()})
        self.share()

    def share(self):
        wanted = self.read(self.members[0])
        for member in self.members:
            wanted[f"node/{member.name}"] = self.read(member)[f"node/{member.name}"]
        for member in self.members:
            there = self.read(member)
            self.write(member, {key: value for key, value in wanted.items() if there.get(key) != value})

    @staticmethod
    def connect(member):
        return contextlib.closing(sqlite3.connect(member.state / "cluster.db", timeout=10))

    def read(self, member):
        with self.connect(member) as store:
            return dict(store.execute("select key, value from kv").fetchall())

    def write(self, member, records):
        if not records:
            return
        with self.connect(member) as store, store:
            revision = store.execute("select max(rev) from log").fetchone()[0] + 1
            store.executemany("insert or replace into kv(key, value, created, modified) values (?, ?, ?, ?)",
                              [(key, value, revision, revision) for key, value in records.items()])
            store.execute("insert into log(rev, keys) values (?, ?)", (revision, "\n".join(sorted(records))))
