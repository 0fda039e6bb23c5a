#!/usr/bin/env python3
"""containerd attaches containers through firn: `ctr run --cni`, and pods by the Container Runtime Interface, the way of a
kubelet."""

import json

import case
from firnhost import HOST, Firn, list_config, uplink
from cri import Cri
from lab import LabError, wait_for
from runtimes import Containerd

PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"


class ContainerdContainers(case.LabCase):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("h1")
        self.client = uplink(self.lab, self.host)
        self.firn = Firn(self.host)
        plugins = list_config(PORTMAP, capabilities={ANNOTATIONS: True})
        self.host.write("/etc/cni/net.d/10-firn.conflist", json.dumps({"cniVersion": "1.0.0", "name": "firn", "plugins": plugins}))
        self.containerd = Containerd(self.host)
        self.cri = Cri(self.containerd.socket)

    def run_pod(self, name, **options):
        return self.cri.run_pod(name, f"uid-of-{name}", f"/{self.lab.name}", **options)

    def test_containers_have_addresses_and_give_them_back(self):
        runs = {name: self.containerd.start(name) for name in ("a", "b")}
        addresses = {e["container_id"].rpartition("-")[2]: e["addresses"][0] for e in self.firn.endpoints()}
        self.assertEqual(set(addresses), {"a", "b"})
        self.assertIn(f"inet {addresses['a']}/32", self.containerd.exec("a", "ip", "address", "show", "eth0"))
        self.assertIn("1 packets received", self.containerd.exec("a", "ping", "-c", "1", "-W", "2", addresses["b"]))
        self.assertTrue(self.host.pings(addresses["a"]) and self.host.pings(addresses["b"]))
        self.containerd.stop("a", runs["a"])
        self.assertEqual([e["addresses"] for e in self.firn.endpoints()], [[addresses["b"]]])
        self.containerd.stop("b", runs["b"])
        self.assertEqual(self.firn.traces(), [])

    def test_pods_as_a_kubelet_runs_them(self):
        wait_for("the network is ready", lambda: self.cri.conditions()["NetworkReady"])
        pods = {name: self.run_pod(name, annotations={"team": "blue"}) for name in ("a", "b")}
        addresses = {name: self.cri.pod_addresses(sandbox)[0] for name, sandbox in pods.items()}
        recorded = {e["pod_name"]: e for e in self.firn.endpoints()}
        self.assertEqual({name: e["addresses"][0] for name, e in recorded.items()}, addresses)
        self.assertEqual((recorded["a"]["pod_namespace"], recorded["a"]["pod_uid"]), ("default", "uid-of-a"))
        self.assertEqual(recorded["a"]["annotations"]["team"], "blue")
        self.assertEqual(recorded["a"]["container_id"], pods["a"])
        for address in addresses.values():
            self.assertTrue(self.host.pings(address))
        self.assertEqual(self.host.inside(recorded["a"]["netns"], "ping", "-n", "-c", "1", "-W", "2", addresses["b"]).returncode, 0)
        for sandbox in pods.values():
            self.cri.stop_pod(sandbox)
            # A kubelet repeats itself.
            self.cri.stop_pod(sandbox)
            self.cri.remove_pod(sandbox)
        self.assertEqual(self.firn.traces(), [])

    def test_a_host_port_leads_to_the_pod(self):
        sandbox = self.run_pod("web", ports=[(8080, 80)])
        netns = self.firn.endpoints()[0]["netns"]
        (self.lab.dir / "index.html").write_text("hello\n", encoding="utf-8")
        self.host.start("httpd", "nsenter", f"--net={netns}", "busybox", "httpd", "-f", "-p", "80", "-h", self.lab.dir)
        page = wait_for("the host port answers", lambda: self.client.fetch(f"http://{HOST}:8080/index.html"))
        self.assertEqual(page, "hello\n")
        self.cri.stop_pod(sandbox)
        self.cri.remove_pod(sandbox)

    def test_a_pod_is_refused_when_no_address_is_left(self):
        plugins = list_config(PORTMAP, ipam={"type": "firn-ipam", "subnet": "10.66.0.0/32"})
        self.host.write("/etc/cni/net.d/10-firn.conflist.new", json.dumps({"cniVersion": "1.0.0", "name": "firn", "plugins": plugins}))
        self.host.run("mv", "/etc/cni/net.d/10-firn.conflist.new", "/etc/cni/net.d/10-firn.conflist")
        first = wait_for("containerd has read the new list", self.first_of_the_small_pool)
        with self.assertRaises(LabError):
            self.run_pod("second")
        self.assertIn("no free address", self.containerd.daemon.log())
        self.assertEqual(len(self.firn.endpoints()), 1)
        self.cri.stop_pod(first)
        self.cri.remove_pod(first)
        self.assertEqual(self.firn.traces(), [])

    def first_of_the_small_pool(self):
        sandbox = self.run_pod(f"first-{next(self.lab.numbers)}")
        if self.cri.pod_addresses(sandbox) == ["10.66.0.0"]:
            return sandbox
        self.cri.stop_pod(sandbox)
        self.cri.remove_pod(sandbox)
        return None


if __name__ == "__main__":
    case.main()
