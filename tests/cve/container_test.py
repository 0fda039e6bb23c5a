#!/usr/bin/env python3
"""What a container can do to others (rows 4, 5, 7, 13, 14 of README.md), with firn and with the reference plugins."""

import json

import case
import cni
import peers
from firnhost import HOST, Firn, list_config, uplink
from lab import wait_for
from talk import ask, serve

FOUR = {"type": "firn-ipam", "subnet": "10.64.0.0/24"}

# A router advertisement (RFC 4861) for a default route and the prefix 2001:db8:bad::/64, to all nodes on the link of eth0.
ADVERTISE = r"""
import socket, struct
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
for _ in range(3): sock.sendto(head + prefix, ("ff02::1%eth0", 0))
"""


class Container(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn = Firn(self.host)

    def start(self):
        self.firn.ctl("init", "--name", "h1", "--address", HOST)
        self.firn.start_with_table()

    def add(self, network, name):
        netns = self.host.netns(name)
        return netns, network.add(name, netns)

    def misled(self, network, host_side):
        """Addresses and routes that an advertisement of a container leaves on the host's side of its link."""
        netns, result = self.add(network, "rogue")
        link = host_side(result)
        # IPv6 inside, however it was configured: the container may be able to switch it on.
        self.host.inside(netns, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip -6 address add fe80::bad/64 dev eth0 nodad", check=False)
        self.host.inside(netns, "python3", "-c", ADVERTISE, check=False)
        self.host.run("sleep", "0.5")
        return [line for line in self.host.out("ip", "-6", "address", "show", "dev", link).splitlines() if "2001:db8:bad" in line] + \
               [line for line in self.host.out("ip", "-6", "route", "show", "dev", link).splitlines() if "ra" in line.split()]

    def test_row_4_advertisements_mislead_nobody(self):
        both = {"type": "firn-ipam", "ranges": [[{"subnet": "10.64.0.0/24"}], [{"subnet": "fd00:64::/112"}]]}
        self.start()
        for family, ipam in (("two", both), ("one", FOUR)):
            with self.subTest(families=family):
                network = cni.Network(self.host, f"net{family}", list_config(ipam=ipam))
                netns, _ = self.add(network, f"victim{family}")
                self.host.run("ip", "netns", "delete", "rogue", check=False)
                self.assertEqual(self.misled(network, lambda result: result["interfaces"][0]["name"]), [])
                routes = self.host.inside(netns, "ip", "-6", "route", "show").stdout
                self.assertNotIn("2001:db8:bad", routes + self.host.inside(netns, "ip", "-6", "address", "show").stdout)

    def test_row_4_reference(self):
        peers.say(4, f"an advertisement leaves on the bridge: {self.misled(peers.network(self.host), lambda _: 'ref0') or 'nothing'}")

    def ipv6_of(self, netns):
        return self.host.inside(netns, "ip", "-6", "address", "show", "dev", "eth0").stdout.strip()

    def test_row_5_no_ipv6_that_nobody_asked_for(self):
        network = cni.Network(self.host, "net", list_config(ipam=FOUR))
        netns, result = self.add(network, "a")
        self.assertEqual(self.ipv6_of(netns), "")
        self.assertEqual(self.host.inside(netns, "cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").stdout.strip(), "1")
        self.assertEqual(self.host.out("ip", "-6", "address", "show", "dev", result["interfaces"][0]["name"]), "")

    def test_row_5_reference(self):
        netns, _ = self.add(peers.network(self.host), "a")
        wait_for("the kernel is done", lambda: "tentative" not in self.ipv6_of(netns))
        peers.say(5, f"a container of an IPv4 network has: {' '.join(self.ipv6_of(netns).split()) or 'no IPv6'}")

    def test_row_7_annotations_give_no_addresses(self):
        self.start()
        wishes = {"cni.projectcalico.org/floatingIPs": '["192.0.2.1"]', "cni.projectcalico.org/ipAddrs": '["192.0.2.1"]',
                  "firn.io/ips": "192.0.2.1", "firn.io/sources": "0.0.0.0/0", "firn.io/ports": "x=1/tcp"}
        config = list_config(ipam=FOUR, capabilities={"io.kubernetes.cri.pod-annotations": True})
        network = cni.Network(self.host, "net", config)
        before = self.host.out("ip", "route", "show", "to", "192.0.2.1")
        netns = self.host.netns("a")
        result = network.add("a", netns, **{"io.kubernetes.cri.pod-annotations": wishes})
        self.assertEqual(cni.addresses(result), ["10.64.0.0"])
        self.assertEqual(self.host.out("ip", "route", "show", "to", "192.0.2.1"), before)
        table = self.host.out("nft", "list", "table", "inet", "firn")
        self.assertNotIn("192.0.2.1", table.replace("elements = { 192.0.2.2 }", ""))

    def test_row_7_the_runtime_may_not_name_a_foreign_address(self):
        network = cni.Network(self.host, "net", list_config(ipam=FOUR, capabilities={"ips": True}))
        with self.assertRaises(cni.CniError) as refused:
            network.add("a", self.host.netns("a"), ips=["192.0.2.1/32"])
        self.assertIn("lies in no subnet", refused.exception.reply)

    def test_row_13_a_missing_feature_is_an_error(self):
        """A kernel without eBPF, as far as the plugin sees: a limit that cannot be kept is not left out."""
        config = {"cniVersion": "1.0.0", "name": "net", "type": "firn", "ipam": FOUR,
                  "runtimeConfig": {"bandwidth": {"egressRate": 8_000_000, "egressBurst": 800_000}}}
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "a", "CNI_NETNS": self.host.netns("a"), "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni"}
        for error in ("ENOSYS", "EPERM", "EINVAL"):
            done = self.host.run("strace", "-f", "-o", "/dev/null", "-e", f"inject=bpf:error={error}", str(self.host.lab.bin / "firn"),
                                 stdin=json.dumps(config), env=env, check=False)
            self.assertNotEqual(done.returncode, 0, error)
            self.assertIn("loading the program that limits what a container sends", done.stdout)
            self.assertEqual(self.firn.traces(), [], "and nothing is left")
        self.assertEqual(self.host.run(str(self.host.lab.bin / "firn"), stdin=json.dumps(config), env=env).returncode, 0)

    def test_row_14_nothing_of_the_host_asks_for_a_container(self):
        """A container that may send nothing: its questions reach no name server, on the host or through it."""
        self.start()
        network = cni.Network(self.host, "net", list_config(ipam=FOUR))
        a, _ = self.add(network, "a")
        self.client.run("ip", "route", "replace", "10.64.0.0/24", "via", HOST)
        serve(self.host, 53)
        serve(self.client, 53)
        servers = (HOST, "192.0.2.1")
        for server in servers:
            self.assertEqual(ask(self.host, server, 53, "udp", netns=a), "10.64.0.0")
        self.firn.put_record("policy/global/internal", {"name": "internal", "order": 10, "types": ["egress"]})
        wait_for("the policy is there", lambda: ask(self.host, HOST, 53, "udp", netns=a) == "TimeoutError")
        for server in servers:
            self.assertEqual(ask(self.host, server, 53, "udp", netns=a), "TimeoutError")
            self.assertEqual(ask(self.host, server, 53, "tcp", netns=a), "TimeoutError")


if __name__ == "__main__":
    case.main()
