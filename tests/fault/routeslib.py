"""A firn-routed that leads to many blocks of another host: a direct pool in a cluster store written here, as docs/ipam.md says. For the
flap test and the measurements in bench/whole/routed_routes. Enter private namespaces (faultlib) first."""

import ipaddress
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time

PROTOCOL = "241"
OWNER = "192.0.2.2"


def ip(*arguments, stdin=None):
    return subprocess.run(["ip", *arguments], input=stdin, capture_output=True, text=True, check=True).stdout


def batch(lines):
    """Many changes by one ip process, as fast as it can; what fails is no matter to it."""
    subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)


def blocks(count):
    """The first /28 blocks of 10.0.0.0/8."""
    return [str(ipaddress.ip_network((0x0a000000 + 16 * n, 28))) for n in range(count)]


class Daemon:
    """firn-routed on a link that it shares with the owner of `count` blocks."""

    def __init__(self, bin_dir, count, receive_buffer=None):
        self.bin, self.count = pathlib.Path(bin_dir), count
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="firn-t-"))
        ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
        ip("link", "set", "up1", "up")
        ip("address", "add", "192.0.2.1/24", "dev", "up0")
        ip("link", "set", "up0", "up")
        self.ctl("init", "--name", "a", "--address", "192.0.2.1", "--pool", "far=10.0.0.0/8,block-size=28")
        self.ctl("pool", "set", "far", "--mode", "direct")
        self._write_cluster()
        config = self.top / "routed.json"
        config.write_text(json.dumps({"receiveBuffer": receive_buffer} if receive_buffer else {}), encoding="utf-8")
        self.log = open(self.top / "log", "wb")
        self.process = subprocess.Popen([self.bin / "firn-routed", "--state-dir", self.top / "state", "--run-dir", self.top / "run",
                                         "--config", config, "--metrics", "off"], stdout=self.log, stderr=self.log)

    def ctl(self, *arguments):
        return subprocess.run([self.bin / "firnctl", "--state-dir", self.top / "state", "--socket", self.top / "run/routed.sock", *arguments],
                              capture_output=True, text=True, check=False).stdout

    def _write_cluster(self):
        """Node b and its claims in one transaction; a log row without keys means: list everything again."""
        connection = sqlite3.connect(self.top / "state/cluster.db", timeout=10)
        with connection:
            revision = connection.execute("select max(rev) from log").fetchone()[0] + 1
            node = {"v": 1, "name": "b", "machine_id": "b", "addresses": [OWNER], "joined_at": 1}
            rows = [("node/b", json.dumps(node))]
            for block in blocks(self.count):
                key = f"4-{int(ipaddress.ip_network(block).network_address):08x}-1c"
                rows.append((f"claim/far/{key}", json.dumps({"v": 1, "prefix": block, "pool": "far", "node": "b", "use": "routed", "claimed_at": 1})))
            connection.executemany("insert into kv(key, value, created, modified) values (?, ?, ?, ?)",
                                   [(key, value.encode(), revision, revision) for key, value in rows])
            connection.execute("insert into log(rev, keys) values (?, null)", (revision,))
        connection.close()

    def status(self):
        try:
            return json.loads(self.ctl("status", "-o", "json"))["daemon"]
        except (ValueError, KeyError):
            return {}

    def routes(self):
        """How many routes of firn lead to the owner, by the kernel's word."""
        return sum(f"via {OWNER}" in line for line in ip("-4", "route", "show", "proto", PROTOCOL).splitlines())

    def is_settled(self):
        status = self.status()
        return status.get("ready", False) and status["routes"]["pending"] == 0 and status["routes"]["desired"] >= self.count and \
            self.routes() == self.count

    def settle(self, deadline):
        """Seconds until everything is as wanted."""
        began = time.monotonic()
        while not self.is_settled():
            if self.process.poll() is not None:
                raise AssertionError(f"firn-routed ended with {self.process.returncode}: {(self.top / 'log').read_text()[-2000:]}")
            if time.monotonic() - began > deadline:
                raise AssertionError(f"not within {deadline} s: {self.count} routes; kernel {self.routes()}, {self.status()}\n"
                                     f"{(self.top / 'log').read_text()[-3000:]}")
            time.sleep(0.02)
        return time.monotonic() - began

    def memory(self):
        """(resident, highest resident) in MB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))

    def cpu(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        ip("link", "del", "up0")
        shutil.rmtree(self.top)


class Monitor:
    """The kernel's route events with their times, from `ip monitor`."""

    def __init__(self):
        self.process = subprocess.Popen(["ip", "-ts", "-4", "monitor", "route"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def stop(self):
        """[(seconds, deleted, protocol is firn's, destination)]"""
        time.sleep(0.2)  # the last lines are in the pipe of a process that is about to be ended
        self.process.terminate()
        found = []
        for line in self.process.communicate()[0].splitlines():
            parts = re.match(r"\[\S+T(\d+):(\d+):([\d.]+)\] (Deleted )?(?:blackhole )?(\S+)", line)
            if parts:
                seconds = int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3])
                found.append((seconds, bool(parts[4]), f"proto {PROTOCOL}" in line and f"via {OWNER}" in line, parts[5]))
        return found


def repair_times(count, rounds):
    """Deletes or replaces one route after the other and takes the time until firn's is back; sorted, in milliseconds."""
    destinations = blocks(count)
    monitor = Monitor()
    time.sleep(0.3)  # ip subscribes; it does not say when
    for number in range(rounds):
        block = destinations[number * 7919 % count]
        if number % 2 == 0:
            ip("route", "del", block)
        else:
            ip("route", "replace", "blackhole", block, "proto", "static")
        time.sleep(0.005)
    time.sleep(1)
    harmed, times = {}, []
    for seconds, deleted, ours, destination in monitor.stop():
        if not ours or deleted:
            harmed.setdefault(destination, seconds)
        elif destination in harmed:
            times.append((seconds - harmed.pop(destination)) * 1000)
    if harmed:
        raise AssertionError(f"not repaired within a second: {sorted(harmed)[:5]}")
    return sorted(times)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]
