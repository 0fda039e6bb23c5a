"""Hosts in boxes: several complete hosts on one machine, for tests with real daemons.

A Host is a network, mount, UTS and PID namespace held by one process. It has its own /run, /etc, /var and /opt (the machine's
files show through, nothing is written to them), empty state directories, its own host name and its own process tree.
Links join hosts; nothing ever touches the machine's own network.

Cleaning up is the kernel's work: when the holder of a PID namespace dies, every process in it dies, and with the processes go
the namespaces, links and mounts. The holder ends when its standard input closes, so this holds even when the test is killed
with SIGKILL. Lab.close() also checks that nothing is left, and says what is.

Needs root. Only the standard library. Not thread safe."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

BOX = pathlib.Path(__file__).resolve().with_name("box.sh")
_open_labs = []


class LabError(AssertionError):
    """Something the lab needs did not happen; the message says what."""


def wait_for(what, condition, deadline=15.0, interval=0.02):
    """Polls until condition() is true and returns its value; fails with `what` (and the last exception) after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        error = None
        try:
            value = condition()
            if value:
                return value
        except (LabError, OSError, KeyError, IndexError, ValueError) as caught:
            error = caught
        if time.monotonic() > end:
            raise LabError(f"not within {deadline:g} s: {what}" + (f" ({error})" if error else ""))
        time.sleep(interval)


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError):
                fields = pathlib.Path("/proc", entry, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append(int(entry))
    return found


class Process:
    """A daemon started in a host. `pid` is the machine's number for it; it is ended by that number and nothing else."""

    def __init__(self, host, name, argv, env):
        self.name = name
        self.log_path = host.lab.dir / f"{host.name}-{name}-{next(host.lab.numbers)}.log"
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(host.enter(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                          env=host.environment(env), cwd="/")
        # nsenter forks into the PID namespace; its child is the program.
        self.pid = wait_for(f"{name} starts on {host.name}", self._program, deadline=5)

    def _program(self):
        if self.popen.poll() is not None:
            raise LabError(f"{self.name} ended at once with {self.popen.returncode}: {self.log()[-2000:]}")
        children = children_of(self.popen.pid)
        return children[0] if children else None

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def signal(self, number):
        os.kill(self.pid, number)
        if number in (signal.SIGCONT, signal.SIGKILL):
            self.wake()

    def wake(self):
        """nsenter stops when its child does, does not go on with it, and while it is stopped nobody buries the child."""
        if self.alive():
            self.popen.send_signal(signal.SIGCONT)

    def wait(self, deadline=15.0):
        try:
            return self.popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {deadline:g} s") from None

    def kill(self):
        """SIGKILL, and wait until it is gone."""
        if self.alive():
            self.signal(signal.SIGKILL)
        return self.wait()

    def terminate(self, deadline=15.0):
        """SIGTERM, and wait until it is gone; returns its exit status."""
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait(deadline)


class Traffic:
    """`count` packets, one every 10 ms, from a host, or from a container of it, to an address that answers. See also probe.py."""

    def __init__(self, host, address, count, netns=None):
        inside = ["nsenter", f"--net={netns}"] if netns else []
        self.process = host.start("ping", *inside, "ping", "-n", "-q", "-i", "0.01", "-c", count, address)

    def result(self):
        """(sent, received), when the last answer is there."""
        self.process.wait(60)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", self.process.log())
        if not found:
            raise LabError(f"ping: {self.process.log()}")
        return int(found[1]), int(found[2])


class Host:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
             "/bin/sh", BOX, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
        lab.hosts[name] = self
        if self.holder.stdout.readline() != b"ready\n":
            raise LabError(f"lab host {name}: {self.holder.stderr.read().decode(errors='replace').strip()} (the lab needs root)")
        self.pid = children_of(self.holder.pid)[0]
        # Held open, for the kernel gives the number of a namespace that is gone to the next one, which may be another lab's.
        self.namespaces = {kind: os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt", "pid", "uts")}

    def enter(self, argv):
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-p", "--wd=/", "--", *map(str, argv)]

    def environment(self, extra=None):
        base = {"PATH": f"{self.lab.bin}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        base.update(extra or {})
        return base

    def run(self, *argv, check=True, stdin=None, env=None, deadline=60):
        """Runs a command in this host; returns its CompletedProcess with text output."""
        try:
            done = subprocess.run(self.enter(argv), input=stdin if stdin is not None else "", capture_output=True, text=True,
                                  env=self.environment(env), timeout=deadline, cwd="/", check=False)
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{self.name}: {' '.join(map(str, argv))}: not done within {deadline} s: {late.stderr}") from None
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def out(self, *argv, **options):
        return self.run(*argv, **options).stdout

    def json(self, *argv, **options):
        text = self.out(*argv, **options)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise LabError(f"{self.name}: {' '.join(map(str, argv))}: no JSON ({error}): {text[:500]}") from None

    def ok(self, *argv, **options):
        return self.run(*argv, check=False, **options).returncode == 0

    def start(self, name, *argv, env=None):
        process = Process(self, name, argv, env)
        self.lab.processes.append(process)
        return process

    def write(self, path, text, mode=0o644):
        """Writes a file as this host sees it."""
        self.run("/bin/sh", "-c", 'umask 077; mkdir -p "${1%/*}"; cat >"$1"; chmod "$2" "$1"', "sh", path, oct(mode)[2:], stdin=text)

    def sysctl(self, key, value):
        """key: with slashes, such as net/ipv4/ip_forward."""
        self.run("/bin/sh", "-c", 'printf %s "$2" >"/proc/sys/$1"', "sh", key, value)

    def pings(self, address, count=1, timeout=1):
        return self.ok("ping", "-n", "-q", "-c", str(count), "-W", str(timeout), address)

    def fetch(self, url):
        """The page behind a URL, asked for from this host."""
        return self.out("python3", "-c", "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=2).read().decode(), end='')", url)

    def netns(self, name):
        """A container without a runtime: a named network namespace of this host. Returns its path."""
        self.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def inside(self, netns, *argv, **options):
        return self.run("nsenter", f"--net={netns}", *argv, **options)

    def close(self):
        if self.holder.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(getattr(self, "pid", self.holder.pid), signal.SIGKILL)
        for stream in (self.holder.stdin, self.holder.stdout, self.holder.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        self.holder.wait(30)

    def forget(self):
        """After close(): the namespaces themselves go."""
        while getattr(self, "namespaces", None):
            os.close(self.namespaces.popitem()[1])


class Lab:
    """Owns hosts, their processes and a temporary directory; use it in a `with`, or call close()."""

    def __init__(self, bin_dir):
        self.bin = pathlib.Path(bin_dir).resolve()
        self.hosts, self.processes, self.numbers = {}, [], itertools.count(1)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="firn-t-"))
        # The name of everything that is global to the machine, such as control groups. containerd takes no underscore at the end.
        self.name = f"firn-t-{os.getpid()}-{os.urandom(4).hex()}"
        _open_labs.append(self)
        signal.signal(signal.SIGTERM, _on_signal)
        signal.signal(signal.SIGHUP, _on_signal)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def host(self, name):
        return Host(self, name)

    def link(self, one, one_if, two, two_if, one_addresses=(), two_addresses=()):
        """A cable: a veth pair whose ends are created in the two hosts, with addresses, up."""
        # By a process that has the machine's process numbers: they name the other host's namespace.
        made = subprocess.run(["nsenter", "-t", str(one.pid), "-n", "ip", "link", "add", one_if, "type", "veth",
                               "peer", "name", two_if, "netns", str(two.pid)], capture_output=True, text=True, check=False, cwd="/")
        if made.returncode != 0:
            raise LabError(f"link {one.name}:{one_if} to {two.name}:{two_if}: {made.stderr.strip()}")
        for host, interface, addresses in ((one, one_if, one_addresses), (two, two_if, two_addresses)):
            for address in addresses:
                host.run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
            # A router must know its link-local address at once, not a second later.
            host.sysctl(f"net/ipv6/conf/{interface}/accept_dad", 0)
            host.run("ip", "link", "set", interface, "up")

    def logs(self):
        """The ends of all daemons' logs, for the report of a failed test."""
        parts = []
        for process in self.processes:
            with contextlib.suppress(OSError):
                parts.append(f"--- {process.log_path.name}\n{process.log()[-4000:]}")
        return "\n".join(parts)

    def close(self):
        if self not in _open_labs:
            return
        _open_labs.remove(self)
        for process in self.processes:
            process.wake()
        for host in self.hosts.values():
            host.close()
        for process in self.processes:
            process.wait()
        left = []
        for host in self.hosts.values():
            with contextlib.suppress(LabError):
                wait_for("every process of the host is gone", lambda h=host: not self._users(h), deadline=10)
            left += [f"{host.name}: process {user}" for user in self._users(host)]
            host.forget()
        left += self._remove_cgroups()
        shutil.rmtree(self.dir)
        if left:
            raise LabError("the lab left behind: " + ", ".join(left))

    @staticmethod
    def _users(host):
        users = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                for kind, namespace in getattr(host, "namespaces", {}).items():
                    with contextlib.suppress(OSError):
                        if os.path.samestat(os.stat(f"/proc/{entry}/ns/{kind}"), os.fstat(namespace)):
                            users.append(f"{entry} ({kind})")
        return users

    def _remove_cgroups(self):
        """Runtimes make control groups, which belong to no namespace; those of this lab have its name."""
        left = []
        for root in itertools.chain(pathlib.Path("/sys/fs/cgroup").glob(self.name), pathlib.Path("/sys/fs/cgroup").glob("*/" + self.name)):
            for folder, _, _ in os.walk(root, topdown=False):
                try:
                    wait_for(f"{folder} is empty", lambda f=folder: os.rmdir(f) or True, deadline=5)
                except LabError as error:
                    left.append(str(error))
        return left


def _on_signal(number, _frame):
    for lab in list(_open_labs):
        with contextlib.suppress(Exception):
            lab.close()
    os._exit(128 + number)
