"""Several firn hosts on one fabric: two layer-2 segments with a router between them that knows no pool. Each host has a cluster store of
its own, and share() makes them say the same, as docs/ipam.md lets other programs do: a node's record is the node's, everything else
the first host's. Blocks are claimed here, ahead, so that no two hosts take the same."""

import contextlib
import ipaddress
import json
import sqlite3

from lab import wait_for
from member import Member

SEGMENTS = {"s1": ("192.0.2.{}/24", "2001:db8:1::{}/64"), "s2": ("198.51.100.{}/24", "2001:db8:2::{}/64")}
ROUTER = 254


class SegmentMember(Member):
    def __init__(self, cluster, name, segment, number, families):
        super().__init__(cluster.lab, name, number)
        self.cluster = cluster
        forms = [form for form, family in zip(SEGMENTS[segment], (4, 6)) if family in families]
        addresses = [form.format(number) for form in forms]
        self.addresses = [address.partition("/")[0] for address in addresses]
        self.lab.link(self.host, "eth0", cluster.fabric, f"p-{name}", addresses)
        cluster.fabric.run("ip", "link", "set", f"p-{name}", "master", segment)
        for form, family in zip(SEGMENTS[segment], (4, 6)):
            if family in families:
                self.host.run("ip", f"-{family}", "route", "add", "default", "via", form.format(ROUTER).partition("/")[0])
        self.state = self.lab.dir / f"state-{name}"
        self.state.mkdir(mode=0o700)
        self.host.run("mount", "--bind", self.state, "/var/lib/firn")
        self.firn.ctl("init", "--name", name, *(option for a in self.addresses for option in ("--address", a)))

    def start(self):
        super().start()
        wait_for(f"{self.name} has its blocks", lambda: len(self.firn.blocks()) >= len(self.cluster.claimed[self.name]))

    def attach(self, container):
        found = super().attach(container)
        self.cluster.share()
        return found


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
        member = SegmentMember(self, name, segment, 11 + len(self.members), families)
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
