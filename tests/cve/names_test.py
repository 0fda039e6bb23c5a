#!/usr/bin/env python3
"""Hostile text in names and records (rows 3, 10, 11 of README.md), with firn and with the reference plugins."""

import json

import case
import cni
import peers
from firnhost import HOST, Firn

UP = "../../../../tmp/planted"


class Names(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.host.run("mkdir", "-p", "/tmp/plugins")
        # Leaves a trace when anybody runs it.
        self.host.write("/tmp/planted", "#!/bin/sh\ntouch /tmp/ran\necho '{}'\n", mode=0o755)

    def ran(self):
        return self.host.ok("test", "-e", "/tmp/ran")

    def call(self, config, container="a", ifname="eth0", **options):
        netns = self.host.netns("c" + str(len(self.host.out("ls", "/run/netns").split()))) if self.host.ok("test", "-d", "/run/netns") else self.host.netns("c0")
        return peers.tried(lambda: cni.call(self.host, "ADD", config, container, netns, ifname, **options))

    def test_row_3_names_are_no_paths(self):
        plain = {"cniVersion": "1.0.0", "name": "net", "type": "firn", "ipam": {"type": "firn-ipam", "subnet": "10.64.0.0/24"}}
        for kind in (UP, "/tmp/planted", "..", ".", "a/b", "a\0b", "", "host-local;touch /tmp/ran"):
            self.assertNotEqual(self.call({**plain, "ipam": {"type": kind}}), "", f"ipam.type {kind!r}")
        for name in (UP, "..", "a/b", "$(touch /tmp/ran)", "a b"):
            self.assertNotEqual(self.call({**plain, "name": name}), "", f"name {name!r}")
            self.assertNotEqual(self.call(plain, container=name), "", f"container {name!r}")
            self.assertNotEqual(self.call(plain, ifname=name), "", f"interface {name!r}")
        for pool in (UP, "a/b"):
            self.assertNotEqual(self.call({**plain, "ipam": {"type": "firn-ipam", "pools": [pool]}}), "")
        self.assertNotEqual(self.call({**plain, "hostPrefix": "../x"}), "")
        self.assertFalse(self.ran())

    def test_row_3_reference(self):
        words = self.call({**peers.BRIDGE, "cniVersion": "1.0.0", "name": "reference", "ipam": {"type": UP}})
        peers.say(3, ("they run it: " if self.ran() else "they refuse it: ") + " ".join(words.split())[:160])

    def test_row_10_nobody_else_reads_what_is_kept(self):
        firn = Firn(self.host)
        firn.ctl("init", "--name", "h1", "--address", HOST)
        secret = "hunter2-is-no-password"
        firn.peer("r1", "192.0.2.1", 64500, secret)
        firn.start()
        firn.ctl("bgp", "peer", "list")
        open_files = self.host.out("find", "/var/lib/firn", "/etc/firn", "/run/firn", "-type", "f", "-perm", "/027")
        self.assertEqual(open_files, "", "readable by others")
        self.assertNotIn(secret, firn.routed.log())
        for command in (("bgp", "peer", "show", "r1"), ("bgp", "peer", "list", "-o", "json"), ("status",), ("get", "bgppeers", "-o", "yaml")):
            done = self.host.run("firnctl", *command, check=False)
            self.assertNotIn(secret, done.stdout + done.stderr, command)
        self.assertFalse(any(secret in line for line in self.host.out("ps", "axww", "-o", "args").splitlines()))

    def test_row_11_records_reach_no_shell(self):
        firn = Firn(self.host)
        firn.ctl("init", "--name", "h1", "--address", HOST)
        evil = "x; touch /tmp/ran #$(touch /tmp/ran)`touch /tmp/ran`"
        network = cni.Network(self.host, "net", [{"type": "firn", "ipam": {"type": "firn-ipam", "subnet": "10.64.0.0/24"},
                                                  "capabilities": {"io.kubernetes.cri.pod-annotations": True}}])
        firn.start()
        netns = self.host.netns("a")
        network.add("a", netns, **{"io.kubernetes.cri.pod-annotations": {"kubernetes.io/egress-bandwidth": evil, "firn.io/ports": evil, evil: evil}})
        network.check("a", netns)
        network.delete("a", netns)
        firn.ctl("node", "set", "h1", "--label", "x=" + evil.replace(",", ""), check=False)
        firn.ctl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "firn/v1", "kind": "GlobalNetworkPolicy", "metadata": {"name": "a"},
                                                       "spec": {"applies_ingress": True, "note": evil, "selector": f"x == '{evil}'"}}), check=False)
        firn.start() if not firn.routed.alive() else None
        self.assertFalse(self.ran())
        programs = [str(self.host.lab.bin / name) for name in ("firn", "firnctl", "firn-routed", "firn-nft", "firn-ipam")]
        for program in programs:
            symbols = self.host.run("nm", "-D", program, check=False).stdout.split()
            self.assertFalse({"system", "popen"} & {symbol.partition("@")[0] for symbol in symbols}, program)


if __name__ == "__main__":
    case.main()
