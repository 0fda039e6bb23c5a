#!/usr/bin/env python3
"""Kills the plugin (SIGKILL), and separately fails its system call, at every system call of ADD and of DEL, one run for each
point. Afterwards the runtime recovers as runtimes do (repeat the verb, or DEL, or GC) and nothing may be left: no lease, no
endpoint, no link, no route, and `firnctl ipam check` finds nothing. The same with another IPAM plugin (host-local), whose addresses
must not be lost either: the system calls are firn's own, not those of that plugin.

usage: crash_sweep_test.py BIN_DIR"""

import collections
import json
import re
import sys
import unittest

import faultlib

BIN = faultlib.bin_dir(sys.argv)
ERRORS = ("EIO", "ENOSPC", "ENOMEM", "EPERM", "EAGAIN")
MAX_POINTS = 3000
# Calls whose injected failure strace cannot deliver to a living program, or that cannot fail at all.
UNFAILING = {"execve", "exit_group", "exit", "arch_prctl", "set_tid_address", "brk", "rt_sigreturn", "getpid"}


class CrashSweep(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        faultlib.enter_private_namespaces()

    unfailing = UNFAILING
    follow = ("-f",)  # strace: every process of the call
    call = re.compile(r"\d+\s+(\w+)\(")
    families = 2
    ways = 3

    def make_host(self):
        host = faultlib.Host(BIN)
        limit = {"Rate": 80_000_000, "Burst": 8_000_000}
        host.more = {"runtimeConfig": {"bandwidth": {side + name: value for side in ("ingress", "egress") for name, value in limit.items()}}}
        return host

    def setUp(self):
        self.host = self.make_host()
        # The store exists already, with a neighbour that must survive everything.
        self.bystander = self.host.make_netns("bystander")
        code, out, err = self.host.run("ADD", "bystander", self.bystander)
        self.assertEqual(code, 0, out + err)
        self.before = (set(faultlib.links()), set(faultlib.routes()), self.held())

    def tearDown(self):
        self.host.close()
        faultlib.wait_until(lambda: not faultlib.links(), 10, "links of dropped namespaces gone")

    def held(self):
        """What says that an address is given out."""
        return set(self.host.keys("lease/"))

    def settle(self):
        """Waits until nothing that a killed call had started is at work any more."""

    def trace(self, inject):
        return ("strace", *self.follow, "-qq", "-o", str(self.host.top / "trace"), "-e", "trace=all", *inject)

    def calls(self, verb, container, netns):
        """The names of the system calls of one undisturbed run, in order."""
        code, out, err = self.host.run(verb, container, netns, prefix=self.trace(()))
        self.assertEqual(code, 0, out + err)
        lines = (self.host.top / "trace").read_text(encoding="utf-8", errors="replace").splitlines()
        return [match.group(1) for match in (self.call.match(line) for line in lines) if match]

    def assert_clean(self, where):
        links, routes, held = self.before
        faultlib.wait_until(lambda: set(faultlib.links()) <= links, 5, f"{where}: links left {set(faultlib.links()) - links}")
        self.assertEqual(set(faultlib.routes()), routes, where)
        self.assertEqual(self.held(), held, where)
        self.assertEqual(len(self.host.keys("endpoint/")), 1, where)

    def assert_true_success(self, verb, container, netns, out, where):
        """A run that says it succeeded in spite of the failure must have done all of it."""
        if verb == "ADD":
            code, words, err = self.host.run("CHECK", container, netns, prevResult=json.loads(out))
            self.assertEqual(code, 0, f"{where}: CHECK: {words}{err}")
        else:
            self.assertEqual(self.held(), self.before[2], where)

    def recover(self, point, verb, container, netns, where):
        """As runtimes do: by turns the same verb again, DEL alone, or nothing but the garbage collection."""
        way = point % self.ways
        if way == 0 and verb == "ADD":
            code, out, err = self.host.run("ADD", container, netns)
            self.assertEqual(code, 0, f"{where}: ADD again: {out}{err}")
            holders = self.held() - self.before[2]
            self.assertEqual(len(holders), self.families, f"{where}: one address a family: {holders}")
        if way in (0, 1):
            code, out, err = self.host.run("DEL", container, netns)
            self.assertEqual(code, 0, f"{where}: DEL: {out}{err}")
        self.host.drop_netns(netns)
        if way == 2:
            code, out, err = self.host.run("GC", "", "", **{"cni.dev/valid-attachments": [{"containerID": "bystander", "ifname": "eth0"}]})
            self.assertEqual(code, 0, f"{where}: GC: {out}{err}")

    def undisturbed(self, verb):
        """The system calls of a run. An ADD that must wait until its link is ready asks again and again, so: of the shortest of some."""
        runs = []
        for _ in range(5):
            probe = self.host.make_netns("probe")
            if verb == "DEL":
                self.assertEqual(self.host.run("ADD", "probe", probe)[0], 0)
            runs.append(self.calls(verb, "probe", probe))
            self.assertEqual(self.host.run("DEL", "probe", probe)[0], 0)
            self.host.drop_netns(probe)
        return min(runs, key=len)

    def sweep(self, verb, inject_of):
        names = self.undisturbed(verb)
        self.assertLess(len(names), MAX_POINTS)
        points = failures = 0
        seen = collections.Counter()
        for point, name in enumerate(names, 1):
            # strace counts the calls of each name by themselves: this is the seen[name]-th `name`.
            seen[name] += 1
            inject = inject_of(point, name, seen[name])
            if inject is None:
                continue
            where = f"{verb} at system call {point} ({name}), {inject}"
            container = f"victim{point}"
            netns = self.host.make_netns(container)
            if verb == "DEL":
                code, out, err = self.host.run("ADD", container, netns)
                self.assertEqual(code, 0, out + err)
            code, out, err = self.host.run(verb, container, netns, prefix=self.trace(("-e", inject)))
            points += 1
            failures += code != 0
            self.settle()
            if code not in (0, -9, 137):
                # An honest failure says so, in the words of the CNI spec; one that cannot go on at all (it cannot come back
                # from the container's namespace) on stderr. Before main() and in write() there are no words.
                self.assertTrue(out.startswith("{") or err or name == "write" or point < 20, f"{where}: exit {code}: {out!r} {err!r}")
            if code == 0:
                self.assert_true_success(verb, container, netns, out, where)
            self.recover(point, verb, container, netns, where)
            self.assert_clean(where)
        code, words = self.host.check_store()
        self.assertEqual(code, 0, words)
        print(f"{verb}: {points} of {len(names)} system calls, {failures} runs failed, nothing left", flush=True)
        if inject_of == self.killing and self.follow:
            # The last calls of a run may vary by one or two from run to run; nearly all must have been killed.
            self.assertGreater(failures, 0.95 * points, "the injection did nothing")

    def killing(self, point, name, count):
        return f"inject={name}:signal=KILL:when={count}"

    def test_kill_at_every_call_of_add(self):
        self.sweep("ADD", self.killing)

    def test_kill_at_every_call_of_del(self):
        self.sweep("DEL", self.killing)

    def test_failure_of_every_call_of_add(self):
        self.sweep("ADD", self.failing)

    def test_failure_of_every_call_of_del(self):
        self.sweep("DEL", self.failing)

    def failing(self, point, name, count):
        return None if name in self.unfailing else f"inject={name}:error={ERRORS[point % len(ERRORS)]}:when={count}"


class OfAnotherIpamPlugin(CrashSweep):
    # A close() that fails closes all the same, but not under strace: firn would wait a minute for the end of a pipe that it holds itself.
    unfailing = UNFAILING | {"close"}
    follow = ()
    call = re.compile(r"(\w+)\(")
    families = 1
    ways = 2  # Debian's host-local does not speak 1.1.0, which GC needs

    def make_host(self):
        host = faultlib.Host(BIN)
        self.data = host.top / "host-local"
        host.version = "1.0.0"
        host.ipam = {"type": "host-local", "dataDir": str(self.data), "subnet": "10.66.0.0/16"}
        return host

    def held(self):
        return {path.name for path in self.data.glob("*/10.66.*")}

    def settle(self):
        faultlib.wait_until(lambda: not faultlib.running("host-local"), 10, "host-local has ended")


if __name__ == "__main__":
    unittest.main(verbosity=2)
