#!/usr/bin/env python3
"""The reference plugins chained behind firn, firn-ipam under the reference bridge and macvlan, and firn over the reference dhcp."""

import json
import threading

import case
import cni
from firnhost import CLIENT, HOST, Firn, list_config, uplink
from lab import wait_for

SUBNET = {"type": "firn-ipam", "subnet": "10.64.0.0/24"}


class ChainedPlugins(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn = Firn(self.host)

    def attach(self, name, *behind, **runtime):
        network = cni.Network(self.host, "chain", list_config(*behind))
        netns = self.host.netns(name)
        result = network.add(name, netns, **runtime)
        # Not portmap 1.1.1: it looks for IPv4 rules in the IPv6 table as well and fails wherever ip6tables exists.
        network.check(name, netns, without=("portmap",))
        return network, netns, cni.addresses(result)[0]

    def test_portmap(self):
        network, netns, address = self.attach("web", {"type": "portmap", "capabilities": {"portMappings": True}},
                                        portMappings=[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}])
        (self.lab.dir / "index.html").write_text("hello\n", encoding="utf-8")
        self.host.start("httpd", "nsenter", f"--net={netns}", "busybox", "httpd", "-f", "-p", "80", "-h", self.lab.dir)
        page = wait_for("the published port answers", lambda: self.client.fetch(f"http://{HOST}:8080/index.html"))
        self.assertEqual(page, "hello\n")
        self.assertEqual(self.client.fetch(f"http://{address}/index.html"), "hello\n")
        network.delete("web", netns)
        self.assertNotIn("8080", self.host.out("iptables-save"))
        self.assertEqual(self.firn.traces(), [])

    def test_bandwidth(self):
        network, netns, address = self.attach("slow", {"type": "bandwidth", "capabilities": {"bandwidth": True}},
                                              bandwidth={"ingressRate": 8_000_000, "ingressBurst": 800_000,
                                                         "egressRate": 8_000_000, "egressBurst": 800_000})
        self.assertTrue(self.client.pings(address))
        self.assertEqual(self.host.out("tc", "qdisc").count("tbf"), 2)
        network.delete("slow", netns)
        self.assertEqual(self.firn.traces(), [])

    def test_tuning(self):
        network, netns, address = self.attach("tuned", {"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}})
        self.assertEqual(self.host.inside(netns, "cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter").stdout.strip(), "1")
        self.assertIn("mtu 1400", self.host.inside(netns, "ip", "link", "show", "eth0").stdout)
        self.assertTrue(self.client.pings(address))
        network.delete("tuned", netns)
        self.assertEqual(self.firn.traces(), [])

    def test_firewall(self):
        self.host.run("iptables", "-P", "FORWARD", "DROP")
        network, netns, address = self.attach("open", {"type": "firewall", "backend": "iptables"})
        self.assertEqual(self.host.inside(netns, "ping", "-n", "-c", "1", "-W", "2", CLIENT).returncode, 0)
        _, other, _ = self.attach("closed")
        self.assertNotEqual(self.host.inside(other, "ping", "-n", "-c", "1", "-W", "1", CLIENT, check=False).returncode, 0)
        network.delete("open", netns)
        self.assertNotIn(address + "/32", self.host.out("iptables-save"))

    def test_all_of_them_in_one_list(self):
        network, netns, address = self.attach(
            "all", {"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000},
            {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}, {"type": "firewall", "backend": "iptables"},
            {"type": "portmap", "capabilities": {"portMappings": True}}, portMappings=[{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}])
        self.assertTrue(self.client.pings(address))
        network.delete("all", netns)
        network.delete("all", netns)
        self.assertEqual(self.firn.traces(), [])


class DelegatedAddresses(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.firn = Firn(self.host)

    def two_containers_reach_each_other(self, plugin):
        network = cni.Network(self.host, "shared", [plugin])
        spaces = {name: self.host.netns(name) for name in ("a", "b")}
        addresses = {name: cni.addresses(network.add(name, netns))[0] for name, netns in spaces.items()}
        self.assertNotEqual(addresses["a"], addresses["b"])
        self.assertEqual(self.host.inside(spaces["a"], "ping", "-n", "-c", "1", "-W", "2", addresses["b"]).returncode, 0)
        self.assertEqual(self.host.inside(spaces["b"], "ping", "-n", "-c", "1", "-W", "2", addresses["a"]).returncode, 0)
        self.assertEqual({e["kind"] for e in self.firn.endpoints()}, {"address"})
        for name, netns in spaces.items():
            network.check(name, netns)
        self.firn.start()
        self.assertEqual(self.firn.blocks(), [], "a layer-2 network's block must not become a route")
        self.assertEqual(self.host.inside(spaces["a"], "ping", "-n", "-c", "1", "-W", "2", addresses["b"]).returncode, 0)
        for name, netns in spaces.items():
            network.delete(name, netns)
        self.assertEqual(self.firn.endpoints(), [])

    def test_bridge(self):
        self.two_containers_reach_each_other({"type": "bridge", "bridge": "br0", "isGateway": True, "ipam": SUBNET})

    def test_bridge_as_default_gateway(self):
        network = cni.Network(self.host, "shared", [{"type": "bridge", "bridge": "br0", "isDefaultGateway": True, "ipam": SUBNET}])
        netns = self.host.netns("a")
        network.add("a", netns)
        gateway = self.host.inside(netns, "ip", "-j", "route", "show", "default").stdout
        self.assertTrue(self.host.inside(netns, "ping", "-n", "-c", "1", "-W", "2", json.loads(gateway)[0]["gateway"]))

    def test_macvlan(self):
        other = self.lab.host("other")
        self.lab.link(self.host, "eth0", other, "eth0", [], ["10.64.0.200/24"])
        self.two_containers_reach_each_other({"type": "macvlan", "master": "eth0", "ipam": SUBNET})


class AddressesByDhcp(case.LabCase):
    """firn's links lead to the host and no further, so the DHCP server is one of the host's, on its end of the link."""

    SERVER = "192.0.2.53"

    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn = Firn(self.host)
        # The server's address, which a container reaches by its default route when it renews.
        self.host.run("ip", "address", "add", f"{self.SERVER}/32", "dev", "lo")
        socket = "/run/cni-dhcp.sock"
        self.daemon = self.host.start("dhcp", f"{cni.REFERENCE}/dhcp", "daemon", "-socketpath", socket, "-timeout", "1s", "-resendmax", "1s")
        wait_for("the dhcp daemon listens", lambda: self.host.ok("test", "-S", socket))
        self.network = cni.Network(self.host, "lan", [{"type": "firn", "ipam": {"type": "dhcp", "daemonSocketPath": socket}}])

    def serve(self, link):
        """A DHCP server on one link of the host."""
        self.host.write("/etc/udhcpd.conf", f"interface {link}\nstart 10.64.9.10\nend 10.64.9.20\nlease_file /run/udhcpd.leases\n"
                        f"pidfile /run/udhcpd.pid\nopt subnet 255.255.255.0\nopt router 10.64.9.1\nopt lease 600\n")
        self.host.run("touch", "/run/udhcpd.leases")
        return self.host.start("udhcpd", "busybox", "udhcpd", "-f", "-I", self.SERVER, "/etc/udhcpd.conf")

    def test_a_server_on_the_hosts_end_of_the_link_is_asked(self):
        netns = self.host.netns("web")
        answers = []
        attach = threading.Thread(target=lambda: answers.append(self.network.add("web", netns)))
        attach.start()
        try:
            link = wait_for("the link of the container", lambda: self.link_of("web"))
            self.serve(link)
        finally:
            attach.join(60)
        self.assertEqual(len(answers), 1, self.daemon.log())
        address = cni.addresses(answers[0])[0]
        self.assertTrue(address.startswith("10.64.9."), answers[0])
        self.assertEqual([route["dst"] for route in answers[0]["routes"]], ["0.0.0.0/0"])
        self.assertTrue(self.client.pings(address))
        self.network.check("web", netns)
        self.assertEqual([e["addresses"] for e in self.firn.endpoints()], [[address]])
        self.network.delete("web", netns)
        self.assertEqual(self.firn.traces(), [])

    def test_without_a_server_the_attach_fails_and_leaves_nothing(self):
        netns = self.host.netns("web")
        with self.assertRaises(cni.CniError) as refused:
            self.network.add("web", netns)
        self.assertIn("IPAM plugin dhcp, ADD", str(refused.exception))
        self.assertEqual(self.firn.endpoints(), [])
        self.assertEqual(self.firn.traces(), [])
        self.assertNotIn("eth0", self.host.inside(netns, "ip", "link").stdout)

    def link_of(self, container):
        for link in self.host.json("ip", "-j", "link"):
            if link.get("ifalias") == f"firn:lan/{container}/eth0":
                return link["ifname"]
        return None


if __name__ == "__main__":
    case.main()
