#!/usr/bin/env python3
"""Kubernetes' recipes of network policies as a table: who reaches whom, by real connections over both families, and the same by
`firnctl policy explain`; on one host, and over two on etcd. Every recipe is stated twice: as the documents that are applied, and as
what must come of them."""

import json
from concurrent.futures import ThreadPoolExecutor

import case
import cni
from firnhost import HOST, Firn, list_config, uplink
from lab import LabError, wait_for
from racks import Racks

SUBNETS = {"type": "firn-ipam", "ranges": [[{"subnet": "10.64.0.0/16"}], [{"subnet": "fd00:64::/112"}]]}
PODS = {  # name: namespace, labels
    "db": ("default", {"role": "db"}),
    "front": ("default", {"role": "frontend"}),
    "plain": ("default", {}),
    "project": ("myproject", {"role": "frontend"}),
    "other": ("other", {"role": "client"}),
}
OUTSIDE = "outside"
SERVICES = ("tcp/80", "tcp/8080", "udp/53")

SERVER = r"""
import selectors, socket
wait = selectors.DefaultSelector()
for kind, ports in ((socket.SOCK_STREAM, (80, 8080)), (socket.SOCK_DGRAM, (53,))):
    for port in ports:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        if kind == socket.SOCK_STREAM: sock.listen(100)
        wait.register(sock, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in wait.select():
        if key.fileobj.type == socket.SOCK_STREAM: key.fileobj.accept()[0].close()
        else: key.fileobj.sendto(*key.fileobj.recvfrom(10))
"""

# Asks all of "KIND ADDRESS PORT" at once; prints which answered.
PROBE = r"""
import json, selectors, socket, sys, time
wait, reached = selectors.DefaultSelector(), []
for line in sys.stdin:
    kind, address, port = line.split()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setblocking(False)
    failed = sock.connect_ex((address, int(port)))
    if kind == "udp":
        try: sock.send(b"x")
        except OSError: continue
    wait.register(sock, selectors.EVENT_WRITE if kind == "tcp" else selectors.EVENT_READ, line.strip())
end = time.monotonic() + float(sys.argv[1])
while wait.get_map() and time.monotonic() < end:
    for key, _ in wait.select(end - time.monotonic()):
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0: reached.append(key.data)
        wait.unregister(key.fileobj)
print(json.dumps(reached))
"""


def policy(name, spec, namespace="default"):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pods(**labels):
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels):
    return {"namespaceSelector": {"matchLabels": labels}}


DB, EVERYBODY = pods(role="db"), {"podSelector": {}}
IN_DEFAULT = ("db", "front", "plain")

# What is applied, and whether `source` reaches `destination` at a service then.
RECIPES = {
    "no policy": ([], lambda s, d, at: True),
    "deny all to an application": ([policy("p", {**DB, "ingress": []})], lambda s, d, at: d != "db"),
    "default deny ingress": ([policy("p", {**EVERYBODY, "policyTypes": ["Ingress"]})], lambda s, d, at: d not in IN_DEFAULT),
    "limit to an application": (
        [policy("p", {**DB, "ingress": [{"from": [pods(role="frontend")]}]})],
        lambda s, d, at: d != "db" or s == "front"),
    "allow all over a deny": (
        [policy("p", {**EVERYBODY, "policyTypes": ["Ingress"]}), policy("q", {**DB, "ingress": [{}]})],
        lambda s, d, at: d not in ("front", "plain")),
    "deny from other namespaces": (
        [policy("p", {**EVERYBODY, "ingress": [{"from": [{"podSelector": {}}]}]})],
        lambda s, d, at: d not in IN_DEFAULT or s in IN_DEFAULT),
    "allow from all namespaces": (
        [policy("p", {**DB, "ingress": [{"from": [{"namespaceSelector": {}}]}]})],
        lambda s, d, at: d != "db" or s != OUTSIDE),
    "allow from a namespace": (
        [policy("p", {**DB, "ingress": [{"from": [namespaces(project="myproject")]}]})],
        lambda s, d, at: d != "db" or s == "project"),
    "pods of a namespace": (
        [policy("p", {**DB, "ingress": [{"from": [{**namespaces(project="myproject"), **pods(role="client")}]}]})],
        lambda s, d, at: d != "db"),
    "pods or a namespace": (
        [policy("p", {**DB, "ingress": [{"from": [namespaces(project="myproject"), pods(role="frontend")]}]})],
        lambda s, d, at: d != "db" or s in ("front", "project")),
    "by the name of the namespace": (
        [policy("p", {**DB, "ingress": [{"from": [namespaces(**{"kubernetes.io/metadata.name": "other"})]}]})],
        lambda s, d, at: d != "db" or s == "other"),
    "one port": (
        [policy("p", {**DB, "ingress": [{"from": [pods(role="frontend")], "ports": [{"port": 80}]}]})],
        lambda s, d, at: d != "db" or (s == "front" and at == "tcp/80")),
    "a range and another protocol": (
        [policy("p", {**DB, "ingress": [{"ports": [{"port": 8000, "endPort": 8100}, {"protocol": "UDP", "port": 53}]}]})],
        lambda s, d, at: d != "db" or at != "tcp/80"),
    "a named port": (
        [policy("p", {**DB, "ingress": [{"ports": [{"port": "http"}]}]})],
        lambda s, d, at: d != "db" or at == "tcp/8080"),
    "a block with an exception": (
        [policy("p", {**DB, "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.64.0.0/16", "10.66.0.0/16"]}},
                                                  {"ipBlock": {"cidr": "::/0", "except": ["fd00:64::/112", "fd66::/64"]}}]}]})],
        lambda s, d, at: d != "db" or s == OUTSIDE),
    "deny egress": ([policy("p", {**pods(role="frontend"), "policyTypes": ["Egress"]})], lambda s, d, at: s != "front"),
    "egress to an application and to a port": (
        [policy("p", {**EVERYBODY, "policyTypes": ["Egress"], "egress": [{"to": [DB]}, {"ports": [{"protocol": "UDP", "port": 53}]}]})],
        lambda s, d, at: s not in IN_DEFAULT or d == "db" or at == "udp/53"),
    "both ends decide": (
        [policy("p", {**pods(role="frontend"), "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 80}]}]}),
         policy("q", {**DB, "ingress": [{"from": [pods(role="frontend")]}]})],
        lambda s, d, at: (s != "front" or at == "tcp/80") and (d != "db" or s == "front")),
    "expressions": (
        [policy("p", {"podSelector": {"matchExpressions": [{"key": "role", "operator": "In", "values": ["db", "frontend"]}]},
                      "ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "role", "operator": "DoesNotExist"}]}}]}]})],
        lambda s, d, at: d not in ("db", "front") or s == "plain"),
}


class Recipes:
    """client: outside; outside: its addresses. homes: where the pods are, one after the other, each with `host`, `firn` and `network`."""

    def populate(self, client, outside, homes):
        self.client, self.homes = client, homes
        self.host = homes[0].host
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "myproject", "labels": {"project": "myproject"}}}])
        self.netns, self.addresses = {}, {OUTSIDE: outside}
        self.home = {}
        for number, (name, (namespace, labels)) in enumerate(PODS.items()):
            home = self.home[name] = homes[number % len(homes)]
            self.netns[name] = home.host.netns(name)
            result = home.network.add(name, self.netns[name], args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}")
            self.addresses[name] = sorted(cni.addresses(result), key=lambda address: ":" in address)
            handle = f"{home.network.name}/{name}/eth0"
            if labels:
                home.firn.ctl("endpoint", "label", handle, *[f"{key}={value}" for key, value in labels.items()])
            home.firn.ctl("endpoint", "label", handle, "--annotation", "firn.io/ports=http=8080/tcp,dns=53/udp")
            server = home.host.start(f"server-{name}", "nsenter", f"--net={self.netns[name]}", "python3", "-u", "-c", SERVER)
            wait_for("the server listens", lambda server=server: "ready" in server.log())

        # What explain goes by on a host of another's containers.
        wait_for("every host's containers are published as they are now", self.published)

    def published(self):
        found = {one["endpoint"].get("pod_name"): one["endpoint"] for one in self.homes[-1].firn.ask("endpoint", "list", "--all")}
        return all(found[name].get("labels", {}) == labels and "annotations" in found[name] for name, (_, labels) in PODS.items())

    def apply(self, objects):
        self.host.run("firnctl", "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def reached_from(self, source):
        """{(source, destination, service, family, whether it answered)}"""
        asked = {}
        for destination in PODS:
            for service in SERVICES:
                kind, port = service.split("/")
                for address in self.addresses[destination]:
                    if source != destination:
                        asked[f"{kind} {address} {port}"] = (destination, service)
        host, inside = (self.client, ()) if source == OUTSIDE else (self.home[source].host, ("nsenter", f"--net={self.netns[source]}"))
        answered = host.json(*inside, "python3", "-c", PROBE, "0.7", stdin="".join(f"{line}\n" for line in asked))
        return {(source, *asked[line], "6" if ":" in line else "4", line in answered) for line in asked}

    def reached(self):
        with ThreadPoolExecutor() as pool:
            return set().union(*pool.map(self.reached_from, [*PODS, OUTSIDE]))

    def explained(self, source, destination, service):
        kind, port = service.split("/")
        found = []
        # Of two pods both families are told at once.
        for position in (0, 1) if source == OUTSIDE else (0,):
            ends = [self.addresses[OUTSIDE][position] if end == OUTSIDE else f"{PODS[end][0]}/{end}" for end in (source, destination)]
            done = self.homes[-1].host.run("firnctl", "policy", "explain", "--from", ends[0], "--to", ends[1], "--port", f"{port}/{kind}", check=False)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            found.append(done.returncode == 0)
        self.assertEqual(len(set(found)), 1, found)
        return found[0]

    def check_recipes(self):
        before = []
        for recipe, (objects, reaches) in RECIPES.items():
            with self.subTest(recipe):
                if before:
                    self.host.run("firnctl", "delete", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": before}))
                before = objects
                if objects:
                    self.apply(objects)
                wanted = {(s, d, at, family, reaches(s, d, at)) for s in [*PODS, OUTSIDE] for d in PODS if s != d for at in SERVICES for family in "46"}
                last = set()

                def settled():
                    nonlocal last
                    last = self.reached()
                    return last == wanted

                try:
                    wait_for("the policies are in force", settled, 30)
                except LabError:
                    self.fail(f"{recipe}: not as it should be: {sorted(last - wanted)}")
                for source, destination, service, family, should in sorted(wanted):
                    if family == "4" and destination in ("db", "plain"):
                        self.assertEqual(self.explained(source, destination, service), should, f"{recipe}: {source} to {destination} {service}")


class OneHost(Recipes, case.LabCase):
    def test_recipes(self):
        self.host = self.lab.host("h1")
        client = uplink(self.lab, self.host)
        self.host.run("ip", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
        client.run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
        client.run("ip", "route", "add", "fd00:64::/112", "via", "2001:db8::2")
        self.firn = Firn(self.host)
        self.firn.ctl("init", "--name", "h1", "--address", HOST)
        self.network = cni.Network(self.host, "net", list_config(ipam=SUBNETS))
        self.firn.start_with_table()
        self.populate(client, ["192.0.2.1", "2001:db8::1"], [self])
        self.check_recipes()


class TwoHosts(Recipes, case.LabCase):
    def test_recipes(self):
        racks = Racks(self.lab, {"a": "r1", "b": "r1"})
        racks.found("--mode", "direct")
        racks.start(bgp=False)
        self.populate(racks.tors["r1"], ["192.0.2.254", "2001:db8:1::254"], racks.members)
        for name, home in self.home.items():
            for address, via in zip(self.addresses[name], home.addresses):
                self.client.run("ip", "route", "add", address, "via", via)
        self.check_recipes()


if __name__ == "__main__":
    case.main()
