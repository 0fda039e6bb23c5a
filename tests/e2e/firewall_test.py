#!/usr/bin/env python3
"""firn's table in a real kernel: who sends as whom, nothing passes before there is a verdict, and what somebody else takes away comes back.

FIRN_LONG=yes: 10,000 containers under a flood and 1,000 repairs instead of 200 and 30"""

import json
import os
import re

import case
import cni
from firnhost import HOST, Firn, list_config, uplink
from lab import Traffic, wait_for

LONG = os.environ.get("FIRN_LONG") == "yes"
CONTAINERS = 10_000 if LONG else 200
REPAIRS = 1000 if LONG else 30
SUBNETS = {"type": "firn-ipam", "ranges": [[{"subnet": "10.64.0.0/16"}], [{"subnet": "fd00:64::/112"}]]}

# Sends frames by a packet socket: KIND SOURCE-MAC SOURCE DESTINATION PORT, one a line of standard input, to the host's end of the veth.
SENDER = r"""
import socket, struct, sys
def total(data):
    if len(data) % 2: data += b"\0"
    value = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while value >> 16: value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
def frame(kind, mac, source, destination, port):
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    src, dst = socket.inet_pton(family, source), socket.inet_pton(family, destination)
    if kind == "udp":
        number, body = 17, struct.pack("!HHHH", 4000, int(port), 9, 0) + b"x"
    else:
        number, body = 58, struct.pack("!BBHQ", {"advertisement": 134, "redirect": 137}[kind], 0, 0, 0)
        if kind == "redirect": body += bytes(24)
    if six:
        pseudo = src + dst + struct.pack("!IHBB", len(body), 0, 0, number)
        at = 6 if number == 17 else 2
        body = body[:at] + struct.pack("!H", total(pseudo + body)) + body[at + 2:]
        head = struct.pack("!IHBB", 6 << 28, len(body), number, 255) + src + dst
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, number, 0) + src + dst
        head = head[:10] + struct.pack("!H", total(head)) + head[12:]
    return bytes.fromhex("eeeeeeeeeeee") + bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", 0x86dd if six else 0x0800) + head + body
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("eth0", 0))
for line in sys.stdin:
    sock.send(frame(*line.split()))
"""

# What arrives on a port until "end" does: one line a datagram, its source.
RECEIVER = r"""
import socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
sock.bind(("::", 7000))
print("ready", flush=True)
sock.settimeout(20)
while True:
    data, source = sock.recvfrom(100)
    print(source[0].removeprefix("::ffff:"), source[1], flush=True)
"""

# Floods every address of a subnet, without end: it is ended from outside.
FLOOD = r"""
import socket, sys
first, count = [int(part) for part in sys.argv[1].split(".")], int(sys.argv[2])
base = first[0] << 24 | first[1] << 16 | first[2] << 8 | first[3]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setblocking(False)
while True:
    for number in range(base, base + count):
        try:
            sock.sendto(b"flood", (socket.inet_ntoa(number.to_bytes(4, "big")), 9))
        except OSError:
            pass
"""


# What is there without any container: the pools and nodes of the cluster, for outgoing NAT.
PREFIXES = ("cluster4", "cluster6")


class Firewall(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn = Firn(self.host)
        self.firn.ctl("init", "--name", "h1", "--address", HOST)
        self.network = cni.Network(self.host, "net", list_config(ipam=SUBNETS))
        self.firn.start()
        wait_for("the table is in place", lambda: self.policy()["inPlace"])

    def policy(self):
        return self.ask('{"op":"status"}')["policy"]

    def ask(self, request):
        script = ('import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.settimeout(10); '
                  's.connect("/run/firn/routed.sock"); s.send(sys.argv[1].encode()); print(s.recv(1<<20).decode())')
        return self.host.json("python3", "-c", script, request)

    def attach(self, name):
        netns = self.host.netns(name)
        result = self.network.add(name, netns)
        return netns, result["interfaces"][1]["mac"], cni.addresses(result)

    def rx(self, netns):
        """IPv4 packets that came into a container. (Of IPv6 the host itself sends some, to its neighbours.)"""
        names, values = [line.split() for line in self.host.inside(netns, "cat", "/proc/net/snmp").stdout.splitlines() if line.startswith("Ip:")]
        return int(values[names.index("InReceives")])

    def test_only_its_own_addresses_and_mac(self):
        a, mac, (four, six) = self.attach("a")
        b, other_mac, (to4, to6) = self.attach("b")
        receiver = self.host.start("receiver", "nsenter", f"--net={b}", "python3", "-u", "-c", RECEIVER)
        wait_for("the receiver listens", lambda: "ready" in receiver.log())
        frames = [
            ("udp", mac, four, to4), ("udp", mac, "10.64.9.9", to4), ("udp", mac, to4, to4), ("udp", mac, "192.0.2.1", to4),
            ("udp", mac, "127.0.0.1", to4), ("udp", mac, "0.0.0.0", to4), ("udp", other_mac, four, to4), ("udp", "02:00:00:00:00:01", four, to4),
            ("udp", mac, six, to6), ("udp", mac, "fd00:64::99", to6), ("udp", mac, to6, to6), ("udp", other_mac, six, to6),
            ("udp", mac, "fe80::1", to6), ("advertisement", mac, "fe80::1", "ff02::1"), ("advertisement", mac, six, "fe80::ecee:eeff:feee:eeee"),
            ("redirect", mac, "fe80::ecee:eeff:feee:eeee", "fe80::ecee:eeff:feee:eeee"), ("redirect", mac, six, "fe80::ecee:eeff:feee:eeee"),
            ("udp", mac, four, to4), ("udp", mac, six, to6)]
        self.host.inside(a, "python3", "-c", SENDER, stdin="".join(" ".join(frame) + " 7000\n" for frame in frames))
        # The last ones passed behind all others on the same way.
        wait_for("the honest datagrams arrive", lambda: receiver.log().count(f"{four} ") == 2 and receiver.log().count(f"{six} ") == 2)
        self.assertEqual(len(receiver.log().split("\n")) - 2, 4, receiver.log())
        guard = self.host.out("nft", "list", "chain", "inet", "firn", "guard")
        self.assertEqual(int(re.search(r'packets (\d+) bytes \d+ drop comment "router', guard)[1]), 4, guard)
        # An address of the loopback net and none at all are martians: the kernel drops some of them before or behind the guard.
        self.assertGreaterEqual(int(re.search(r'packets (\d+) bytes \d+ drop comment "not an', guard)[1]), 9, guard)

    def test_further_sources_only_where_the_pool_permits_them(self):
        self.firn.ctl("pool", "create", "p", "10.70.0.0/24", "--extra-sources", "203.0.113.0/28,2001:db8:77::/64")
        self.network = cni.Network(self.host, "own", list_config(ipam={"type": "firn-ipam", "pools": ["p"]}))
        a, mac, (four,) = self.attach("a")
        b, _, (to,) = self.attach("b")
        receiver = self.host.start("receiver", "nsenter", f"--net={b}", "python3", "-u", "-c", RECEIVER)
        wait_for("the receiver listens", lambda: "ready" in receiver.log())

        def sources(*wanted):
            """Sends from each, and then from its own address; returns those of `wanted` that arrived."""
            before = len(receiver.log())
            frames = [("udp", mac, source, to) for source in (*wanted, four)]
            self.host.inside(a, "python3", "-c", SENDER, stdin="".join(" ".join(frame) + " 7000\n" for frame in frames))
            wait_for("its own arrives", lambda: f"{four} " in receiver.log()[before:])
            return [source for source in wanted if f"{source} " in receiver.log()[before:]]

        self.assertEqual(sources("203.0.113.5", "198.51.100.9"), [])
        self.firn.ctl("endpoint", "label", "a", "--annotation", "firn.io/extra-sources=203.0.113.5,198.51.100.9")
        wait_for("what the pool permits passes", lambda: sources("203.0.113.5", "198.51.100.9", "203.0.113.6") == ["203.0.113.5"])
        veth = re.search(r"dev (firn\w+)", self.host.out("ip", "route", "show", four))[1]
        strict = f"/proc/sys/net/ipv4/conf/{veth}/rp_filter"
        self.assertEqual(self.host.out("cat", strict).strip(), "0", "the table alone checks its sources")
        # Withdrawn while nobody looks: the next daemon sees to the kernel's own check again.
        self.firn.routed.kill()
        self.firn.ctl("pool", "set", "p", "--extra-sources", "")
        self.firn.start()
        wait_for("nothing does any more", lambda: sources("203.0.113.5", "198.51.100.9") == [])
        wait_for("the kernel checks again", lambda: self.host.out("cat", strict).strip() == "1")

    def test_settings_that_cannot_be_read_open_nothing(self):
        self.attach("a")
        self.assertNotIn("drop", self.host.out("nft", "list", "map", "inet", "firn", "ingress"))
        self.firn.routed.kill()
        self.host.run("rm", "-f", "/var/lib/firn/policy.copy")
        self.host.run("python3", "-c", 'import sqlite3; s = sqlite3.connect("/var/lib/firn/cluster.db"); '
                      'r = s.execute("select max(rev) from log").fetchone()[0] + 1; '
                      's.execute("insert or replace into kv(key, value, created, modified) values (?, ?, ?, ?)", ("policy/settings", b"{", r, r)); '
                      's.execute("insert into log(rev, keys) values (?, ?)", (r, "policy/settings")); s.commit()')
        self.firn.start()
        wait_for("who cannot know denies", lambda: "drop" in self.host.out("nft", "list", "map", "inet", "firn", "ingress"))

    def test_nobody_else_passes_for_the_host(self):
        """The host may speak with its containers; whoever sends from its address through it may not. (IPv4 knows that by itself.)"""
        self.host.run("ip", "address", "add", "2001:db8:9::1/64", "dev", "eth0", "nodad")
        self.client.run("ip", "address", "add", "2001:db8:9::2/64", "dev", "eth0", "nodad")
        self.host.sysctl("net/ipv6/conf/all/forwarding", 1)
        self.firn.ctl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "firn/v1", "kind": "PolicySettings", "metadata": {"name": "default"},
                                                            "spec": {"default_deny": True}}))
        b, _, (_, to6) = self.attach("b")
        receiver = self.host.start("receiver", "nsenter", f"--net={b}", "python3", "-u", "-c", RECEIVER)
        wait_for("the receiver listens", lambda: "ready" in receiver.log())
        wait_for("the default is in force", lambda: "drop" in self.host.out("nft", "list", "map", "inet", "firn", "ingress"))
        mac = self.client.json("ip", "-j", "link", "show", "eth0")[0]["address"]
        target = self.host.json("ip", "-j", "link", "show", "eth0")[0]["address"]
        frames = [("udp", mac, "2001:db8:9::1", to6), ("udp", mac, "2001:db8:9::2", to6)]
        self.client.run("python3", "-c", SENDER.replace("eeeeeeeeeeee", target.replace(":", "")),
                        stdin="".join(" ".join(frame) + " 7000\n" for frame in frames))
        own = "import socket,sys; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 7000))"
        self.host.run("python3", "-c", own, to6)
        wait_for("the host's own arrives", lambda: len(receiver.log().split("\n")) > 2)
        self.assertEqual(len(receiver.log().split("\n")) - 2, 1, receiver.log())

    def test_another_interface_is_not_touched(self):
        far = self.host.netns("far")
        self.host.run("ip", "link", "add", "firnfar", "type", "veth", "peer", "name", "eth0", "netns", "far")
        self.host.run("ip", "address", "add", "198.51.100.1/24", "dev", "firnfar")
        self.host.run("ip", "link", "set", "firnfar", "up")
        self.host.inside(far, "ip", "address", "add", "198.51.100.2/24", "dev", "eth0")
        self.host.inside(far, "ip", "link", "set", "eth0", "up")
        self.assertTrue(self.host.pings("198.51.100.2"))

    def test_add_waits_and_a_dead_daemon_opens_nothing(self):
        a, _, (four, _) = self.attach("a")
        self.assertTrue(self.client.pings(four))
        before = self.host.out("nft", "list", "table", "inet", "firn")
        self.firn.routed.kill()
        strip = lambda text: re.sub(r"counter packets \d+ bytes \d+", "counter", text)
        self.assertEqual(strip(self.host.out("nft", "list", "table", "inet", "firn")), strip(before), "the rules stay")
        self.assertTrue(self.client.pings(four))
        netns = self.host.netns("late")
        with self.assertRaises(cni.CniError) as refused:
            self.network.add("late", netns)
        self.assertIn('"code":11', refused.exception.reply)
        self.assertEqual(self.host.inside(netns, "ip", "-o", "link", "show", "type", "veth").stdout, "", "the attach is undone")
        self.firn.start()
        self.assertTrue(self.client.pings(cni.addresses(self.network.add("late", netns))[0]))
        self.network.delete("late", netns)
        self.network.delete("a", a)
        wait_for("nothing of them is left", lambda: not any(count for name, count in self.elements().items() if name not in PREFIXES))

    def test_a_link_without_the_group_gets_it(self):
        """As those of a version that knew of no groups."""
        _, _, (four, _) = self.attach("a")
        link = self.firn.endpoints()[0]["host_ifname"]
        for how in ("default", "4242"):
            self.host.run("ip", "link", "set", link, "group", how)
            wait_for("it is in the group", lambda: str(0x6669726c) in self.host.out("ip", "link", "show", link))
        self.assertTrue(self.client.pings(four))

    def test_a_dead_firn_nft_is_started_again(self):
        _, _, (four, _) = self.attach("a")
        self.host.run("kill", "-KILL", self.nft_pid())
        wait_for("the hold table is back", lambda: self.policy()["held"] and self.policy()["childStarts"] == 2)
        self.assertIn("firn_hold", self.host.out("nft", "list", "tables"))
        _, _, (other, _) = self.attach("b")
        self.assertTrue(self.client.pings(other) and self.client.pings(four))

    def nft_pid(self):
        """firn-nft of this host, as the host counts its processes."""
        for entry in self.host.out("ls", "/proc").split():
            if entry.isdigit() and self.host.run("cat", f"/proc/{entry}/comm", check=False).stdout.strip() == "firn-nft":
                return entry
        raise AssertionError("no firn-nft runs")

    def test_switched_off_it_leaves_no_table(self):
        self.attach("a")
        self.firn.routed.terminate()
        self.host.write("/etc/firn/routed.json", '{"policy":false}')
        self.firn.start()
        wait_for("both tables are gone", lambda: "firn" not in self.host.out("nft", "list", "tables"))
        self.firn.routed.kill()
        # Nothing waits for a daemon that need not be there.
        wait_for("without daemon as well", lambda: self.attach("b"))

    def test_repair(self):
        _, _, (four, _) = self.attach("a")
        self.attach("b")
        whole = self.elements()
        harm = ["flush ruleset", "delete table inet firn", "flush map inet firn ingress", "flush chain inet firn egress_hook",
                "add rule inet firn ingress_hook accept", "flush set inet firn guard4"]
        for number in range(REPAIRS):
            what = harm[number % len(harm)]
            repairs = self.policy()["repairs"]
            self.host.run("nft", what)
            wait_for(f"it is repaired after {what}", lambda r=repairs: self.policy()["repairs"] > r and self.policy()["inPlace"], interval=0.002)
            self.assertEqual(self.elements(), whole, what)
            self.assertNotIn("accept", [line.strip() for line in self.host.out("nft", "list", "chain", "inet", "firn", "ingress_hook").splitlines()])
        self.assertTrue(self.client.pings(four))

    def elements(self):
        found = json.loads(self.host.out("nft", "-j", "list", "table", "inet", "firn"))["nftables"]
        return {part["name"]: len(part.get("elem", [])) for kind in ("set", "map") for part in (entry.get(kind) for entry in found) if part}

    def test_nothing_passes_while_the_table_is_away(self):
        netns, _, (four, _) = self.attach("a")
        # A stopped daemon repairs nothing; its firn-nft lives on, and holds.
        self.firn.routed.signal(19)
        self.host.run("nft", "flush", "ruleset")
        self.assertNotIn("table inet firn\n", self.host.out("nft", "list", "tables"))
        before = self.rx(netns)
        self.assertFalse(self.client.pings(four, count=3))
        self.assertEqual(self.rx(netns), before)
        self.firn.routed.signal(18)
        wait_for("it is repaired", lambda: self.client.pings(four))

    def test_nothing_arrives_before_policy(self):
        self.attach("first")
        self.put_default(True)
        wait_for("the default is deny", lambda: ": drop" in self.host.out("nft", "list", "map", "inet", "firn", "ingress"))
        flood = self.client.start("flood", "python3", "-c", FLOOD, "10.64.0.0", str(min(CONTAINERS + 50, 60_000)))
        seen = {}
        for number in range(CONTAINERS):
            netns, _, (four, _) = self.attach(f"c{number}")
            seen[netns] = four
            if number >= 20:  # few enough for a machine, many enough for every moment of an attach
                old = f"/run/netns/c{number - 20}"
                self.assertEqual(self.rx(old), 0, seen.pop(old))
                self.network.delete(f"c{number - 20}", old)
                self.host.run("ip", "netns", "delete", f"c{number - 20}")
        for netns, address in seen.items():
            self.assertEqual(self.rx(netns), 0, address)
        self.assertTrue(flood.alive())
        dropped = self.host.out("nft", "list", "chain", "inet", "firn", "ingress_hook") + self.host.out("nft", "list", "map", "inet", "firn", "ingress")
        self.assertGreater(sum(int(count) for count in re.findall(r"packets (\d+)", dropped)), 0, dropped)
        # And the flood is one: without the default it arrives.
        self.put_default(False)
        wait_for("the flood arrives", lambda: all(self.rx(netns) > 0 for netns in seen), deadline=30)

    def put_default(self, deny):
        self.apply("PolicySettings", "default", {"default_deny": deny})

    def apply(self, kind, name, spec):
        self.firn.ctl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "firn/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}))

    def test_log_and_counters(self):
        self.attach("a")
        _, _, (four, _) = self.attach("b")
        self.apply("GlobalNetworkPolicy", "watch", {"types": ["ingress"], "ingress": [{"action": "log", "protocol": "icmp"}, {"action": "allow"}]})
        wait_for("the rule is in the kernel", lambda: "GlobalNetworkPolicy watch in 1" in self.host.out("nft", "list", "table", "inet", "firn"))
        log = self.host.start("log", "firnctl", "policy", "log", "--count", "2")
        wait_for("a packet is told of", lambda: self.client.pings(four) and not log.alive())
        lines = log.log().splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertRegex(lines[0], rf"^\d\d:\d\d:\d\d\.\d\d\d  GlobalNetworkPolicy watch in 1  in eth0  out firn\w+  icmp \S+ > {four} type 8 code 0 84 bytes$")
        counters = self.firn.ask("policy", "counters", "watch")["rules"]
        self.assertEqual([rule["rule"] for rule in counters], ["GlobalNetworkPolicy watch in 1", "GlobalNetworkPolicy watch in 2"])
        self.assertTrue(all(rule["packets"] > 0 and rule["bytes"] == 84 * rule["packets"] for rule in counters), counters)
        self.assertIn("net/b/eth0", self.firn.ctl("policy", "counters"))
        self.assertFalse(self.host.ok("firnctl", "policy", "counters", "nothing"))

    def test_a_restart_opens_nothing(self):
        _, _, (four, _) = self.attach("a")
        self.apply("GlobalNetworkPolicy", "shut", {"selector": "all()", "types": ["ingress"], "ingress": [{"action": "deny"}]})
        wait_for("the policy shuts", lambda: not self.client.pings(four))
        traffic = Traffic(self.client, four, 600)
        for end in ("kill", "terminate"):
            getattr(self.firn.routed, end)()
            self.host.run("rm", "-f", "/var/lib/firn/policy.copy")
            self.firn.start()
            wait_for("the table is in place", lambda: self.policy()["inPlace"])
        self.firn.routed.signal(1)
        self.assertEqual(traffic.result(), (600, 0))

    def test_without_the_cluster_store_it_goes_by_its_copy(self):
        _, _, (four, _) = self.attach("a")
        self.apply("GlobalNetworkPolicy", "shut", {"selector": "all()", "types": ["ingress"], "ingress": [{"action": "deny"}]})
        wait_for("the policy shuts", lambda: not self.client.pings(four))
        wait_for("there is a copy", lambda: "shut" in self.host.out("cat", "/var/lib/firn/policy.copy"))
        self.assertEqual(self.host.out("stat", "-c", "%a", "/var/lib/firn/policy.copy").strip(), "600")
        self.firn.routed.kill()
        self.host.run("/bin/sh", "-c", "mkdir /var/away; mv /var/lib/firn/cluster.db* /var/away")
        self.host.run("nft", "flush", "ruleset")  # as after a reboot
        self.firn.start()
        wait_for("the table is in place", lambda: self.policy()["inPlace"])
        self.assertTrue(self.policy()["fromCopy"])
        self.assertFalse(self.client.pings(four))
        _, _, (other, _) = self.attach("b")
        self.assertFalse(self.client.pings(other))
        # With nothing to go by the old rules stay, and nobody comes in.
        self.firn.routed.kill()
        self.host.run("rm", "/var/lib/firn/policy.copy")
        self.firn.start()
        netns = self.host.netns("c")
        self.network.plugins[0]["policyTimeout"] = 300
        with self.assertRaises(cni.CniError) as refused:
            self.network.add("c", netns)
        self.assertIn("have not been read yet", refused.exception.reply)
        self.assertIn('"code":11', refused.exception.reply)
        self.assertFalse(self.client.pings(four))
        self.assertIn("gnp/shut/in", self.host.out("nft", "list", "table", "inet", "firn"))
        self.host.run("/bin/sh", "-c", "mv /var/away/* /var/lib/firn")
        wait_for("the cluster is read", lambda: self.policy()["inPlace"] and not self.policy()["fromCopy"])


if __name__ == "__main__":
    case.main()
