"""A cluster of firn hosts in two racks: three etcd members and two top-of-rack routers on one core segment, FRR before rack r1 and GoBGP
before rack r2, hosts behind them with BIRD under firn-routed. Every rack is one layer 2; the routers know the racks' own networks and
learn pools by BGP alone. A host has the AS 65000 + its number, a router the AS of its rack.

    core 198.51.100.0/24 --- tor-r1 (.251) --- rack r1 192.0.2.0/24    hosts .11 ...
          |  etcd .1 .2 .3 `- tor-r2 (.252) --- rack r2 203.0.113.0/24
"""

import ipaddress
import json

import cni
from etcd import Etcd
from lab import LabError, wait_for
from member import Member
from routers import Frr, GoBgp

CORE = ("198.51.100.{}/24", "2001:db8:c::{}/64")
RACKS = {"r1": ("192.0.2.{}/24", "2001:db8:1::{}/64", 64601), "r2": ("203.0.113.{}/24", "2001:db8:2::{}/64", 64602)}
ROUTER, CORE_ROUTERS = 254, {"r1": 251, "r2": 252}
V4, V6 = "10.66.0.0/16", "fd66::/64"


def bare(address):
    return address.partition("/")[0]


def bridge(host, name, addresses=()):
    """A bridge of a router, or a segment of its own."""
    host.run("ip", "link", "add", name, "type", "bridge")
    for address in addresses:
        host.run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    host.sysctl(f"net/ipv6/conf/{name}/accept_dad", 0)  # a router must know its link-local address at once
    host.run("ip", "link", "set", name, "up")


class RackMember(Member):
    def __init__(self, racks, name, rack, number):
        super().__init__(racks.lab, name, number)
        self.network = cni.Network(self.host, "web", [{"type": "firn", "ipam": {"type": "firn-ipam", "pools": ["p4", "p6"]}}])
        self.racks, self.rack, self.as_number = racks, rack, 65000 + number
        with_length = [form.format(number) for form in RACKS[rack][:2]]
        self.addresses = [bare(address) for address in with_length]
        self.port = f"p-{name}"
        self.lab.link(self.host, "eth0", racks.tors[rack], self.port, with_length)
        racks.tors[rack].run("ip", "link", "set", self.port, "master", "rack")
        for form, family in zip(RACKS[rack][:2], ("-4", "-6")):
            self.host.run("ip", family, "route", "add", "default", "via", bare(form.format(ROUTER)))

    @property
    def tor(self):
        return self.racks.tors[self.rack]

    @property
    def router(self):
        return self.racks.routers[self.rack]

    def blocks_of(self, addresses):
        return [wait_for(f"{self.name} has the block of {address}", lambda a=address: self.firn.block_of(a)) for address in addresses]

    def is_settled(self):
        status = self.status()
        pending = sum(status[kind]["pending"] for kind in ("links", "forwards", "neighbours", "routes"))
        return status["ready"] and pending == 0 and status["unreachableBlocks"] == 0

    def cut(self):
        """The cable is there, and nothing gets through any more: neither end notices by itself."""
        self.tor.run("ip", "link", "set", self.port, "nomaster")

    def mend(self):
        self.tor.run("ip", "link", "set", self.port, "master", "rack")

    def part_from_etcd(self):
        """No packet to or from etcd; everything else goes on."""
        self.host.run("nft", "-f", "-", stdin="table inet lab {\n chain out {\n type filter hook output priority 0\n tcp dport 2379 drop\n }\n}\n")

    def rejoin_etcd(self):
        self.host.run("nft", "delete", "table", "inet", "lab")


class Racks:
    """hosts: {name: rack}. bfd: on the sessions with rack r1's router. pools: CIDRs of p4 and p6. Use start() to have everything running."""

    def __init__(self, lab, hosts, bfd=False, tls=False, etcd_arguments=(), pools=(V4, V6)):
        self.lab, self.bfd, self.pools = lab, bfd, pools
        self.core = lab.host("core")
        bridge(self.core, "core")
        self.tors, self.routers, self.members = {}, {}, []
        for rack in RACKS:
            self._tor(rack)
        for rack, other in (("r1", "r2"), ("r2", "r1")):
            for of_rack, of_core, family in zip(RACKS[other], CORE, ("-4", "-6")):
                network = str(ipaddress.ip_interface(of_rack.format(ROUTER)).network)
                self.tors[rack].run("ip", family, "route", "add", network, "via", bare(of_core.format(CORE_ROUTERS[other])))
        tls_folder = lab.dir / "tls" if tls else None
        if tls:
            tls_folder.mkdir()
        self.etcd = Etcd([self._etcd_host(number) for number in (1, 2, 3)], [bare(CORE[0].format(number)) for number in (1, 2, 3)],
                         tls_folder, etcd_arguments)
        for number, (name, rack) in enumerate(hosts.items(), 11):
            self.members.append(RackMember(self, name, rack, number))

    def _on_core(self, host, number):
        self.lab.link(host, "core", self.core, f"p-{host.name}", [form.format(number) for form in CORE])
        self.core.run("ip", "link", "set", f"p-{host.name}", "master", "core")

    def _tor(self, rack):
        tor = self.tors[rack] = self.lab.host(f"tor-{rack}")
        self._on_core(tor, CORE_ROUTERS[rack])
        bridge(tor, "rack", [form.format(ROUTER) for form in RACKS[rack][:2]])
        tor.sysctl("net/ipv4/ip_forward", 1)
        tor.sysctl("net/ipv6/conf/all/forwarding", 1)
        # A router that sent a host to its neighbour would make the host forget the route that it should learn by BGP.
        for name in ("all", "rack"):
            tor.sysctl(f"net/ipv4/conf/{name}/send_redirects", 0)

    def _etcd_host(self, number):
        host = self.lab.host(f"etcd-{number}")
        self._on_core(host, number)
        for rack, (form, _, _) in RACKS.items():
            network = str(ipaddress.ip_interface(form.format(ROUTER)).network)
            host.run("ip", "route", "add", network, "via", bare(CORE[0].format(CORE_ROUTERS[rack])))
        return host

    def member(self, name):
        return next(member for member in self.members if member.name == name)

    # firn -------------------------------------------------------------------------------------------------------------------

    def found(self, *pool_options):
        """Pools p4 and p6 on etcd, every host a node of the cluster."""
        first, *others = self.members
        for member in self.members:
            addresses = [option for address in member.addresses for option in ("--address", address)]
            command = "init" if member is first else "join"
            member.firn.ctl(command, *self.etcd.firn_options, "--name", member.name, "--label", f"rack={member.rack}", *addresses)
            member.firn.ctl("node", "set", member.name, "--as", member.as_number)
        for name, cidr in zip(("p4", "p6"), self.pools):
            first.firn.ctl("pool", "create", name, cidr, *pool_options)

    def claim(self, pool, block, member):
        """A block, as docs/ipam.md lets other programs do."""
        digits = 8 if block.version == 4 else 32
        key = f"/firn/v1/claim/{pool}/{block.version}-{int(block.network_address):0{digits}x}-{block.prefixlen:02x}"
        record = {"v": 1, "prefix": str(block), "pool": pool, "node": member.name, "use": "routed", "claimed_at": 1}
        self.etcd.ctl("put", key, json.dumps(record))

    def peer(self):
        """Routers in both racks, and every host a session with its own for each family."""
        for rack, (_, _, as_number) in RACKS.items():
            hosts = {address: member.as_number for member in self.members if member.rack == rack for address in member.addresses}
            other = next(name for name in RACKS if name != rack)
            trunk = {bare(form.format(CORE_ROUTERS[other])): RACKS[other][2] for form in CORE}
            router_id = bare(CORE[0].format(CORE_ROUTERS[rack]))
            if rack == "r1":
                router = Frr(self.tors[rack], hosts | trunk, router_id, as_number=as_number, bfd=list(hosts) if self.bfd else ())
            else:
                router = GoBgp(self.tors[rack], hosts | trunk, router_id, as_number=as_number, fib=True)
            self.routers[rack] = router
        for member in self.members:
            for family, form in zip("46", RACKS[member.rack]):
                options = ["--bfd"] if self.bfd and member.rack == "r1" else []
                self.members[0].firn.ctl("bgp", "peer", "add", f"tor{family}-{member.name}", "--node", member.name, "--address",
                                         bare(form.format(ROUTER)), "--as", RACKS[member.rack][2], "--connect-retry", "1", *options)

    def start(self, bgp=True):
        """All daemons, sessions established, and a container c1 on every host. Returns {host: [IPv4 address, IPv6 address]}."""
        if bgp:
            self.peer()
        for member in self.members:
            member.start()
            # An attach in the moment before is refused: try again.
            wait_for(f"{member.name} has read the cluster", lambda m=member: m.firn.ctl("ipam", "dump", "pool/").count('"pool/') >= 2, deadline=30)
        if bgp:
            self.wait_established()
        return {member.name: member.attach("c1") for member in self.members}

    def wait_established(self):
        for member in self.members:
            for address in member.addresses:
                wait_for(f"{member.name}'s session from {address} is established", lambda m=member, a=address: m.router.established(a), deadline=60)

    def wait_for_bfd(self):
        sessions = 2 * sum(member.rack == "r1" for member in self.members)
        wait_for("BFD watches every session of the rack",
                 lambda: [peer["status"] for peer in self.routers["r1"].ask("show bfd peers json")] == ["up"] * sessions, deadline=60)

    def all_reach_all(self, addresses, payload=(56, 56), deadline=30):
        for member in self.members:
            for name, of in addresses.items():
                for address, size in zip(of, payload):
                    if name != member.name:
                        wait_for(f"{member.name} reaches {address} on {name} with {size} bytes",
                                 lambda m=member, a=address, s=size: m.reaches("c1", a, s), deadline=deadline)

    def check_announcements(self, racks=tuple(RACKS)):
        """No host announces a block of another: every path to a block begins at its owner, in these routers. Returns how many there are."""
        paths = [(rack, *path) for rack in racks for family in ("ipv4", "ipv6") for path in self.routers[rack].paths(family)]
        # Behind the routers: what a host has just claimed may not be there yet, and no router is told of it before.
        owner = {str(ipaddress.ip_network(block)): member for member in self.members for block in member.firn.blocks()}
        for rack, prefix, path in paths:
            if prefix not in owner:
                raise LabError(f"tor-{rack} has {prefix} (AS path {path}), which is no host's block")
            if path[-1] != owner[prefix].as_number:
                raise LabError(f"tor-{rack} has {prefix} of {owner[prefix].name} from AS {path}")
        return len(paths)
