"""One of several firn hosts of a lab, whatever joins them: what its daemon says, what its kernel has, what its containers reach."""

import cni
from firnhost import Firn
from lab import LabError, wait_for


class Member:
    def __init__(self, lab, name, number):
        self.lab, self.name, self.number = lab, name, number
        self.host = lab.host(name)
        self.host.write("/etc/machine-id", f"{number:032x}\n")
        self.addresses = []  # of the host itself, IPv4 first
        self.firn = Firn(self.host)
        self.network = cni.Network(self.host, "web", [{"type": "firn", "ipam": {"type": "firn-ipam"}}])

    def status(self):
        return self.host.json("firnctl", "status", "-o", "json", check=False)["daemon"]

    def attach(self, container):
        """Returns the addresses of a new container, IPv4 first."""
        found = cni.addresses(self.network.add(container, self.host.netns(container)))
        return sorted(found, key=lambda address: ":" in address)

    def detach(self, container):
        self.network.delete(container, f"/run/netns/{container}")
        self.host.run("ip", "netns", "del", container)

    def start(self):
        self.firn.start()
        wait_for(f"{self.name} is ready", lambda: self.status()["ready"], deadline=30)

    def place(self, container):
        """For a Probe."""
        return self.host, f"/run/netns/{container}"

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
