#!/usr/bin/env python3
"""The forwarding table of a GoBGP router: follows gobgpd's best paths into the kernel of its host, since gobgpd 3.10 crashes on the
messages of FRR 8.4's zebra. Routes carry protocol 186 (bgp). Runs until gobgp ends; a stale path stays, as graceful restart wants it."""

import json
import subprocess


def next_hop(path):
    hops = [attribute["nexthop"] for attribute in path["attrs"] if "nexthop" in attribute]
    return next((hop for hop in hops if hop not in ("0.0.0.0", "::")), None)


def main():
    monitor = subprocess.Popen(["gobgp", "-j", "monitor", "global", "rib", "--current"], stdout=subprocess.PIPE, text=True)
    for line in monitor.stdout:
        for path in json.loads(line):
            prefix, hop = path["nlri"]["prefix"], next_hop(path)
            if path.get("withdrawal"):
                command = ["ip", "route", "del", prefix, "proto", "bgp"]
            elif hop is None:
                continue
            else:
                command = ["ip", "route", "replace", prefix, "via", hop, "proto", "bgp"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            print(" ".join(command), done.returncode, done.stderr.strip(), flush=True)


main()
