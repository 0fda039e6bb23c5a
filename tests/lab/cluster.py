"""Several firn hosts on one fabric: two layer-2 segments with a router between them that knows no pool. The hosts share one cluster
store, a file: node.db is each host's own, cluster.db is the first host's, by a symbolic link. A change of it wakes the first host by
itself; the others are woken by share(), as a watch would do."""

import cni
from firnhost import Firn
from lab import wait_for

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
        if cluster.members:
            (self.state / "cluster.db").symlink_to(cluster.members[0].state / "cluster.db")
        self.firn = Firn(self.host)
        self.firn.ctl("init", "--name", name, *(option for a in self.addresses for option in ("--address", a)))
        self.network = cni.Network(self.host, "web", [{"type": "firn", "ipam": {"type": "firn-ipam"}}])

    def start(self):
        self.firn.start()
        wait_for(f"{self.name} is ready", lambda: self.status()["ready"])

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
        """Everything that is in the kernel of this host, in its words, but for counters and times."""
        out = [self.host.out("ip", *what) for what in (("-4", "route"), ("-6", "route"), ("neigh", "show", "nud", "permanent"))]
        out += [self.host.out("bridge", "fdb", "show", "dev", link["ifname"]) for link in self.vxlan_links()]
        return out + [[(link["ifindex"], link["ifname"], link["mtu"], link["address"]) for link in self.host.json("ip", "-j", "link")]]

    def vxlan_links(self):
        return self.host.json("ip", "-j", "-d", "link", "show", "type", "vxlan") or []


class Cluster:
    def __init__(self, lab):
        self.lab, self.members = lab, []
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

    def share(self):
        """The daemons look at the cluster store when a file comes or goes beside it."""
        for member in self.members:
            (member.state / "changed").touch()
            (member.state / "changed").unlink()
