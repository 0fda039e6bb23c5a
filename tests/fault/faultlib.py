"""What the crash sweep and the storm share: a private network namespace for the whole test, container namespaces in it, the
plugin run as a runtime runs it, and a look at what is left in the kernel and in the store. Needs root; standard library only."""

import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PROTOCOL = "241"
LIBC = ctypes.CDLL(None, use_errno=True)


def enter_private_namespaces():
    """This process, and all it starts, leave the machine's own network and mounts."""
    if LIBC.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare: the fault tests need root")
    if LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount --make-rprivate /")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Host:
    """A host in the private namespace: state directory, container namespaces, and the plugin."""

    def __init__(self, bin_dir):
        self.bin = pathlib.Path(bin_dir)
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="firn-t-"))
        self.state = self.top / "state"
        self.network = "faulty"
        self.version = "1.1.0"
        self.ipam = {"type": "firn-ipam", "ranges": [[{"subnet": "10.64.0.0/16"}], [{"subnet": "fd64::/64"}]]}
        self.more = {}

    def close(self):
        for path in self.top.glob("ns-*"):
            self.drop_netns(path)
        shutil.rmtree(self.top)

    def make_netns(self, name):
        path = self.top / f"ns-{name}"
        path.touch()
        subprocess.run(["unshare", f"--net={path}", "true"], check=True)
        return path

    def drop_netns(self, path):
        LIBC.umount2(str(path).encode(), 2)
        path.unlink(missing_ok=True)

    def config(self, **more):
        return {"cniVersion": self.version, "name": self.network, "type": "firn", "mtu": 1500, "stateDir": str(self.state),
                "ipam": self.ipam, **self.more, **more}

    def environment(self, verb, container, netns):
        return {"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": str(netns or ""), "CNI_IFNAME": "eth0",
                "CNI_PATH": f"{self.bin}:/usr/lib/cni", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def start(self, verb, container, netns, prefix=(), **config):
        process = subprocess.Popen([*prefix, str(self.bin / "firn")], env=self.environment(verb, container, netns),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            process.stdin.write(json.dumps(self.config(**config)))
            process.stdin.close()
        except BrokenPipeError:
            pass  # killed before it read
        process.stdin = None
        return process

    def run(self, verb, container, netns, prefix=(), **config):
        process = self.start(verb, container, netns, prefix, **config)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def collect(self):
        """GC with no valid attachment: what a runtime does for a network that nobody uses any more."""
        return self.run("GC", "", "", **{"cni.dev/valid-attachments": []})

    # What is left ------------------------------------------------------------------------------------------------------
    def keys(self, prefix):
        if not (self.state / "node.db").exists():
            return {}
        return {record["key"]: record["value"] for record in json_of(self.bin / "firnctl", "--state-dir", self.state, "ipam", "dump", prefix)}

    def check_store(self):
        result = subprocess.run([self.bin / "firnctl", "--state-dir", self.state, "ipam", "check"], capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr


def running(name):
    """Whether a program of that name runs in this process's network namespace."""
    own = os.stat("/proc/self/ns/net").st_ino
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() == name and os.stat(entry / "ns/net").st_ino == own:
                return True
        except OSError:
            continue
    return False


def json_of(*command):
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(out) if out.strip() else []


def links():
    return [link["ifname"] for link in json_of("ip", "-j", "link") if link["ifname"] != "lo"]


def routes():
    found = json_of("ip", "-j", "route", "show", "proto", PROTOCOL) + json_of("ip", "-j", "-6", "route", "show", "proto", PROTOCOL)
    return [route["dst"] for route in found]


def wait_until(condition, seconds, what):
    """Polls because a namespace dies in the kernel's own time, without an event that names it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def bin_dir(argv):
    return argv.pop(1) if len(argv) > 1 and not argv[1].startswith("-") else os.environ["FIRN_BIN"]
