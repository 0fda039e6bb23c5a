#!/usr/bin/env python3
"""Policies on two hosts in two racks, on a real etcd: connections that are there when a policy comes, and the hosts' own interfaces."""

import json
import sys

import case
import cni
from lab import wait_for
from racks import Racks, bare, RACKS, ROUTER

PORTS = (80, 8080)

# Answers with its name on every port, IPv4 and IPv6, and keeps connections that are made on 8080.
SERVER = r"""
import socketserver, sys, threading
class Talk(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(100):
                self.request.sendall(data)
        except OSError:
            pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, address_family = True, True, 10
servers = [Server(("::", int(port)), Talk) for port in sys.argv[1:]]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
servers[0].serve_forever()
"""

# Asks each "ADDRESS PORT" of its arguments at once; prints those that answered.
ASK = r"""
import json, socket, sys, concurrent.futures as f
def ask(one):
    address, port = one.split()
    try:
        with socket.create_connection((address, int(port)), timeout=0.6) as s:
            s.sendall(b"hello")
            return s.recv(100) == b"hello"
    except OSError:
        return False
with f.ThreadPoolExecutor(64) as pool:
    print(json.dumps([one for one, good in zip(sys.argv[1:], pool.map(ask, sys.argv[1:])) if good]))
"""

# One connection that speaks whenever a line comes, and says whether it was answered.
KEEP = r"""
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
print("connected", flush=True)
s.settimeout(0.5)
for number in range(10000):
    try:
        s.sendall(b"%d " % number)
        print("alive" if s.recv(1000) else "closed", number, flush=True)
    except TimeoutError:
        print("silent", number, flush=True)
    except OSError as error:
        print("closed", error, flush=True)
        break
    time.sleep(0.1)
"""

# name: (host, namespace, labels)
PODS = {
    "web": ("a", "default", {"app": "web", "role": "server"}),
    "near": ("a", "default", {"app": "client"}),
    "far": ("b", "default", {"app": "client"}),
    "other": ("b", "default", {"app": "other"}),
}


def network_policy(spec, namespace="default"):
    return json.dumps({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                       "metadata": {"name": "recipe", "namespace": namespace}, "spec": spec})


WEB = {"matchLabels": {"app": "web"}}
CLIENT = {"podSelector": {"matchLabels": {"app": "client"}}}


class Policy(case.LabCase):
    def setUp(self):
        super().setUp()
        self.racks = Racks(self.lab, {"a": "r1", "b": "r2"})
        self.racks.found()
        self.racks.start()
        self.first = self.racks.members[0].firn
        self.pods = {name: self.pod(name, *what) for name, what in PODS.items()}
        self.outside = self.racks.tors["r1"]
        self.serve("outside", self.outside, None)
        self.pods["outside"] = [bare(form.format(ROUTER)) for form in RACKS["r1"][:2]]

    def pod(self, name, host, namespace, labels):
        member = self.racks.member(host)
        config = {"type": "firn", "ipam": {"type": "firn-ipam"}, "capabilities": {"io.kubernetes.cri.pod-annotations": True},
                  "args": {"cni": {"labels": [{"key": key, "value": value} for key, value in labels.items()]}}}
        network = cni.Network(member.host, "web", [config])
        result = network.add(name, member.host.netns(name), args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}",
                             **{"io.kubernetes.cri.pod-annotations": {"firn.io/ports": "http=80/tcp"}})
        self.serve(name, member.host, f"/run/netns/{name}")
        return sorted(cni.addresses(result), key=lambda address: ":" in address)

    def inside(self, netns):
        return ["nsenter", f"--net={netns}"] if netns else []

    def place(self, name):
        return (self.outside, None) if name == "outside" else (self.racks.member(PODS[name][0]).host, f"/run/netns/{name}")

    def serve(self, name, host, netns):
        server = host.start(f"serve-{name}", *self.inside(netns), sys.executable, "-c", SERVER, *map(str, PORTS))
        wait_for(f"{name} serves", lambda: "ready" in server.log())

    def apply(self, text):
        self.first.ctl("apply", "-f", "-", stdin=text)

    def answers(self, source, targets):
        """Those of [(target, port)] that answer in both families; one family alone is an error."""
        host, netns = self.place(source)
        asked = {f"{address} {port}": (target, port) for target, port in targets for address in self.pods[target]}
        good = json.loads(host.out(*self.inside(netns), sys.executable, "-c", ASK, *asked))
        both = {one for one in targets if sum(asked[line] == one for line in good) == 2}
        if {asked[line] for line in good} != both:
            raise AssertionError(f"{source}: one family alone: {good}")
        return both

    def test_connections_that_a_policy_forbids_are_ended(self):
        policy = network_policy({"podSelector": WEB, "ingress": [{"from": [CLIENT]}]})
        # Containers are known on other hosts a second or so after their start.
        self.apply(policy)
        reached = {("web", port) for port in PORTS}
        wait_for("far is known on the other host", lambda: self.answers("far", sorted(reached)) == reached, deadline=20)
        self.first.ctl("delete", "-f", "-", stdin=policy)
        kept = {}
        for name in ("near", "far", "other"):
            host, netns = self.place(name)
            kept[name] = host.start(f"keep-{name}", *self.inside(netns), sys.executable, "-c", KEEP, self.pods["web"][0], "8080")
            wait_for(f"{name} is connected", lambda n=name: "alive" in kept[n].log(), deadline=20)
        self.apply(policy)
        wait_for("the one that is not allowed any more is silent", lambda: "silent" in kept["other"].log() or "closed" in kept["other"].log())
        for name in ("near", "far"):
            self.assertNotIn("silent", kept[name].log(), name)
            before = len(kept[name].log())
            wait_for(f"{name} still talks", lambda n=name, b=before: "alive" in kept[n].log()[b:])
        # A label on the other host changes the members of a set alone.
        member = self.racks.member("b")
        member.firn.ctl("endpoint", "label", "far", "app=gone")
        wait_for("far is silent", lambda: "silent" in kept["far"].log() or "closed" in kept["far"].log())
        self.assertNotIn("silent", kept["near"].log())

    def test_host_endpoints_keep_their_failsafe(self):
        member = self.racks.member("a")
        host = bare(RACKS["r1"][0].format(11))
        server = member.host.start("serve-host", sys.executable, "-c", SERVER, "22", "8080")
        wait_for("the host serves", lambda: "ready" in server.log())
        self.pods["host"] = [host, bare(RACKS["r1"][1].format(11))]
        both = {("host", 22), ("host", 8080)}
        wait_for("the host is open", lambda: self.answers("outside", sorted(both)) == both)
        policy = json.dumps({"apiVersion": "firn/v1", "kind": "GlobalNetworkPolicy", "metadata": {"name": "hosts"},
                             "spec": {"selector": "role == 'uplink'", "types": ["ingress", "egress"]}})
        self.apply(json.dumps({"apiVersion": "firn/v1", "kind": "HostEndpoint", "metadata": {"name": "uplink", "node": "a", "labels": {"role": "uplink"}},
                               "spec": {"interface": "eth0"}}) + "\n---\n" + policy)
        wait_for("only the failsafe is left", lambda: self.answers("outside", sorted(both)) == {("host", 22)})
        # Routes, the cluster store and what containers do go on.
        self.racks.wait_established()
        self.assertTrue(wait_for("containers talk", lambda: self.answers("far", [("web", 80)]) == {("web", 80)}))
        self.first.ctl("delete", "-f", "-", stdin=policy)
        wait_for("the host is open again", lambda: self.answers("outside", sorted(both)) == both)


if __name__ == "__main__":
    case.main()
