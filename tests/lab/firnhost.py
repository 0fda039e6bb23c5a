"""firn on a lab host: its commands, its daemon and what the kernel shows of it."""

import ipaddress
import json
import re

from lab import LabError, wait_for

PROTOCOL = "241"
DEAD_GROUP = str(0x6669726e)
HOST, CLIENT = "192.0.2.2", "192.0.2.1"


def uplink(lab, host):
    """A neighbour of the host, which has a route to its containers. Returns the neighbour."""
    client = lab.host("client")
    lab.link(host, "eth0", client, "eth0", [f"{HOST}/30"], [f"{CLIENT}/30"])
    host.sysctl("net/ipv4/ip_forward", 1)
    client.run("ip", "route", "add", "10.64.0.0/14", "via", HOST)
    return client


class Firn:
    def __init__(self, host):
        self.host = host
        self.routed = None

    def ctl(self, *arguments, **options):
        return self.host.out("firnctl", *arguments, **options)

    def ask(self, *arguments):
        return self.host.json("firnctl", *arguments, "-o", "json")

    def peer(self, name, address, as_number, password=None, *options):
        if password:
            self.host.write("/etc/firn/peer-password", password + "\n", mode=0o600)
            options += ("--password-file", "/etc/firn/peer-password")
        self.ctl("bgp", "peer", "add", name, "--address", address, "--as", as_number, *options)

    def start(self, *options):
        """firn-routed, ready: it answers on its socket."""
        self.routed = self.host.start("firn-routed", "firn-routed", "--metrics", "off", *options)
        wait_for("firn-routed answers", lambda: self.routed.alive() and self.host.ok("firnctl", "bgp", "status"))
        return self.routed

    def start_with_table(self):
        """firn-routed, with its nftables table in the kernel."""
        self.start()
        script = ("import socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.settimeout(10); s.connect('/run/firn/routed.sock'); "
                  "s.send(b'{\"op\":\"status\"}'); print(s.recv(1<<20).decode())")
        wait_for("the table is in place", lambda: self.host.json("python3", "-c", script)["policy"]["inPlace"])

    def put_record(self, key, record):
        """A record of the cluster store, written as docs/ipam.md says: a log row without keys means that everything is listed again."""
        script = ("import sqlite3,sys; d=sqlite3.connect(sys.argv[1], timeout=10); r=d.execute('select max(rev) from log').fetchone()[0]+1; "
                  "d.execute('insert or replace into kv(key,value,created,modified) values(?,?,?,?)', (sys.argv[2], sys.argv[3].encode(), r, r)); "
                  "d.execute('insert into log(rev,keys) values(?,null)', (r,)); d.commit()")
        self.host.run("python3", "-c", script, "/var/lib/firn/cluster.db", key, json.dumps({"v": 1, **record}))

    def endpoints(self):
        return self.ask("endpoint", "list")

    def birdc(self, *command):
        return self.host.out("birdc", "-s", "/run/firn/bird/bird.ctl", *command)

    def sessions(self):
        """{BIRD's name of the session: since when it is in its state}, of established sessions."""
        found = {}
        for line in self.birdc("show", "protocols").splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "BGP" and fields[-1] == "Established":
                found[fields[0]] = " ".join(fields[4:-1])
        return found

    def bird_pid(self):
        """The number of the supervised BIRD, as this host counts its processes."""
        return int(self.host.out("cat", "/run/firn/bird/bird.pid"))

    def blocks(self):
        """Blackhole routes of firn in the kernel of this host."""
        found = []
        for family in ("-4", "-6"):
            for line in self.host.out("ip", family, "route", "show", "proto", PROTOCOL, "type", "blackhole").splitlines():
                found.append(line.split()[1] if line.startswith("blackhole") else line.split()[0])
        return found

    def block_of(self, address):
        for block in self.blocks():
            if ipaddress.ip_address(address) in ipaddress.ip_network(block):
                return block
        raise LabError(f"no block route holds {address}: {self.blocks()}")

    def traces(self):
        """What a detached container may not leave: host routes, neighbours, live links, endpoint records."""
        left = []
        for family in ("-4", "-6"):
            left += [r for r in self.host.out("ip", family, "route", "show", "proto", PROTOCOL).splitlines() if "blackhole" not in r]
        for link in json.loads(self.host.out("ip", "-j", "-d", "link") or "[]"):
            if re.match(r"firn", link.get("ifname", "")) and str(link.get("group")) not in (DEAD_GROUP, hex(int(DEAD_GROUP))):
                left.append(link["ifname"])
        return left + [json.dumps(e) for e in self.endpoints() or []]


def list_config(*behind, ipam=None, capabilities=None, **fields):
    """Plugins of a list: firn first, the given reference plugins behind it."""
    plugin = {"type": "firn", "ipam": ipam or {"type": "firn-ipam", "subnet": "10.64.0.0/16"}, **fields}
    if capabilities:
        plugin["capabilities"] = capabilities
    return [plugin, *behind]
