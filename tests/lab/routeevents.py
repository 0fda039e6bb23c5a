"""When a route came or went, by the kernel's own events: `ip monitor` in a lab host, running while the object lives."""

import datetime
import re

from lab import wait_for


class RouteEvents:
    def __init__(self, host):
        self.host = host
        self.process = host.start("ip-monitor", "ip", "-ts", "monitor", "route")
        # It does not say when it listens: a route of ours does.
        mark = "192.0.2.255/32"

        def listens():
            host.run("ip", "route", "add", "blackhole", mark)
            host.run("ip", "route", "del", "blackhole", mark)
            return mark.partition("/")[0] in self.process.log()

        wait_for("ip monitor tells of routes", listens, interval=0.05)

    def times(self, prefix, removed=False):
        """Seconds since the epoch of every event of the route: that it is there (again), or that it is gone."""
        found = []
        for line in self.process.log().splitlines():
            parts = re.match(r"\[(\S+)\] (Deleted )?(?:\S+ )?" + re.escape(prefix) + " ", line)
            if parts and bool(parts[2]) == removed:
                found.append(datetime.datetime.fromisoformat(parts[1]).timestamp())
        return found

    def wait(self, prefix, since, removed=False, deadline=30):
        """How long after `since` the first such event came, in seconds."""
        times = wait_for(f"{self.host.name}: {prefix} is {'gone' if removed else 'there'}",
                         lambda: [t for t in self.times(prefix, removed) if t >= since], deadline=deadline)
        return times[0] - since
