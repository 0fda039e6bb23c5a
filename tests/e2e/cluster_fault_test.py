#!/usr/bin/env python3
"""What becomes of a cluster when its etcd fails: leader killed, quorum lost, one host cut off, history compacted, database full, an old
snapshot restored, another cluster in its place. Always: containers that are there go on and packets flow, new ones are attached from the
blocks of the host, and what changed meanwhile is in force everywhere once etcd is back. No address is given out twice."""

import signal

import case
from lab import wait_for
from probe import Probe
from racks import Racks

HOSTS = {"a": "r1", "b": "r1", "c": "r2"}
REFUSED = 6
QUOTA = 16 << 20


class Faults(case.LabCase):
    def found(self, *etcd_arguments):
        self.racks = Racks(self.lab, HOSTS, etcd_arguments=etcd_arguments)
        self.etcd = self.racks.etcd
        self.racks.found("--mode", "vxlan")
        self.addresses = self.racks.start(bgp=False)
        for member in self.racks.members:
            wait_for(f"{member.name} has its spare blocks and a way to all others",
                     lambda m=member: len(m.firn.blocks()) == 4 and len(m.routes()) == 4 * (len(HOSTS) - 1), deadline=30)
        self.a, self.b, self.c = self.racks.members
        self.racks.all_reach_all(self.addresses)
        self.probe = Probe(self.a.place("c1"), self.c.place("c1"), self.addresses["c"][0])
        self.seen = {address for of in self.addresses.values() for address in of}

    def attach(self, name, members=None):
        """A container of that name on every host, from blocks that the host has; every address is a new one."""
        found = {member.name: member.attach(name) for member in members or self.racks.members}
        for of in found.values():
            for address in of:
                self.assertNotIn(address, self.seen, "given out twice")
                self.seen.add(address)
        return found

    def check_containers(self, found):
        """Those containers are reached from every c1."""
        for member in self.racks.members:
            for name, of in found.items():
                for address in of:
                    if name != member.name:
                        wait_for(f"{member.name} reaches {address} on {name}", lambda m=member, a=address: m.reaches("c1", a), deadline=30)

    def check_etcd_goes_on(self, pool):
        """A change that is made now is in force on every host, and none is in trouble any more."""
        wait_for("firnctl can change the cluster", lambda: self.a.host.ok("firnctl", "pool", "create", pool, f"172.{16 + len(pool)}.0.0/16"), deadline=60)
        for member in self.racks.members:
            wait_for(f"{member.name} knows the pool {pool}", lambda m=member: pool in m.host.out("firnctl", "ipam", "dump", "pool/"), deadline=90)
        for member in self.racks.members:
            wait_for(f"{member.name} is settled", member.is_settled, deadline=60)

    def check_no_loss(self):
        result = self.probe.stop()
        print(f"\n  {self.id().rpartition('.')[2]}: {result}", flush=True)
        self.assertEqual(result.lost, 0)
        for member in self.racks.members:
            done = member.host.run("firnctl", "ipam", "check", check=False)
            self.assertEqual(done.returncode, 0, f"{member.name}: {done.stdout}{done.stderr}")

    # ------------------------------------------------------------------------------------------------------------------------

    def test_the_leader_is_killed(self):
        self.found()
        for number in range(2):
            leader = self.etcd.leader()
            self.etcd.kill(leader)
            self.check_containers(self.attach(f"d{number}"))
            self.check_etcd_goes_on("x" * (number + 1))
            self.etcd.start(leader)
            self.etcd.wait_healthy()
        self.check_no_loss()

    def test_quorum_is_lost(self):
        self.found()
        self.etcd.kill(0)
        self.etcd.kill(1)
        self.check_containers(self.attach("d1"))
        self.a.detach("d1")
        done = self.a.host.run("firnctl", "pool", "create", "x", "172.16.0.0/16", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, "etcd did not serve the request in time: .*198.51.100.1.*198.51.100.3", "each member says why")
        # A daemon that starts now has its own store, and leaves what leads to other hosts as it is.
        before = self.b.kernel()
        self.b.firn.routed.kill()
        self.b.firn.start()
        self.check_containers(self.attach("d2"))
        self.assertLessEqual({line for line in before if "via" in line}, self.b.kernel())
        self.etcd.start(0)
        self.etcd.start(1)
        self.etcd.wait_healthy()
        self.check_etcd_goes_on("x")
        self.check_no_loss()

    def test_one_host_is_cut_off_from_etcd(self):
        self.found()
        self.a.part_from_etcd()
        self.b.firn.ctl("pool", "create", "meanwhile", "172.30.0.0/16")
        wait_for("the others go on", lambda: "meanwhile" in self.c.host.out("firnctl", "ipam", "dump", "pool/"), deadline=60)
        self.check_containers(self.attach("d1"))
        self.a.detach("d1")
        self.a.rejoin_etcd()
        wait_for("the host catches up", lambda: "meanwhile" in self.a.host.out("firnctl", "ipam", "dump", "pool/"), deadline=90)
        self.check_etcd_goes_on("x")
        self.check_no_loss()

    def test_history_is_compacted_under_a_stalled_watcher(self):
        self.found()
        self.a.firn.routed.signal(signal.SIGSTOP)
        for number in range(5):
            self.b.firn.ctl("pool", "create", f"gone{number}", f"172.{20 + number}.0.0/16")
            self.b.firn.ctl("pool", "delete", f"gone{number}")
        self.b.firn.ctl("pool", "create", "stays", "172.30.0.0/16")
        # On the host itself nothing is attached while its firn-routed stands: nobody would open it.
        found = self.attach("d1", [member for member in self.racks.members if member is not self.a])
        self.etcd.ctl("compact", "--physical", self.etcd.revision())
        self.a.firn.routed.signal(signal.SIGCONT)
        wait_for("the watcher lists everything again", lambda: "stays" in self.a.host.out("firnctl", "ipam", "dump", "pool/"), deadline=90)
        self.assertNotIn("gone", self.a.host.out("firnctl", "ipam", "dump", "pool/"))
        self.check_containers(found)
        self.check_etcd_goes_on("x")
        self.check_no_loss()

    def test_the_database_is_full(self):
        self.found("--quota-backend-bytes", QUOTA)
        block = "x" * (1 << 20)
        for number in range(40):
            if not self.etcd.hosts[0].ok("/bin/sh", "-c", f"ETCDCTL_API=3 etcdctl --endpoints {self.etcd.url(0)} put filler/{number}", stdin=block):
                break
        self.assertIn("NOSPACE", self.etcd.ctl("alarm", "list"))
        done = self.a.host.run("firnctl", "pool", "create", "x", "172.16.0.0/16", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, "(?i)full|no space|quota")
        status = self.a.host.run("firnctl", "cluster", "status", check=False)
        self.assertIn("NOSPACE", status.stdout)
        self.assertNotEqual(status.returncode, 0)
        self.check_containers(self.attach("d1"))
        # What docs/troubleshooting.md says an administrator does.
        self.etcd.ctl("del", "--prefix", "filler/")
        self.etcd.ctl("compact", "--physical", self.etcd.revision())
        for member in range(3):
            self.etcd.ctl("defrag", member=member)
        self.etcd.ctl("alarm", "disarm")
        self.check_etcd_goes_on("x")
        self.check_no_loss()

    def put_another_in_its_place(self, token):
        """etcd goes back to a snapshot, with that token; nobody takes it for what it was before every host has accepted it."""
        self.found()
        snapshot = str(self.lab.dir / "snapshot.db")
        self.etcd.ctl("snapshot", "save", snapshot)
        for number in range(3):
            self.a.firn.ctl("pool", "create", f"later{number}", f"172.{20 + number}.0.0/16")
        for member in self.racks.members:
            wait_for(f"{member.name} has seen the last change", lambda m=member: "later2" in m.host.out("firnctl", "ipam", "dump", "pool/"), deadline=60)
        self.etcd.restore(snapshot, token)
        for member in self.racks.members:
            done = member.host.run("firnctl", "pool", "list", check=False)
            self.assertEqual(done.returncode, REFUSED, f"{member.name}: {done.stdout}{done.stderr}")
            self.assertIn("firnctl cluster accept", done.stderr)
            wait_for(f"the daemon of {member.name} refuses it aloud", lambda m=member: "firnctl cluster accept" in m.firn.routed.log(), deadline=90)
        self.check_containers(self.attach("d1"))
        self.a.firn.routed.kill()
        self.a.firn.start()
        self.check_containers(self.attach("d2"))
        for member in self.racks.members:
            self.assertEqual(member.firn.routed.terminate(), 0)
            member.firn.ctl("cluster", "accept")
            member.host.run("firnctl", "ipam", "check", "--fix", check=False)
            member.firn.start()
        self.check_etcd_goes_on("x")
        self.check_containers(self.attach("d3"))
        self.check_no_loss()

    def test_an_old_snapshot_is_restored(self):
        self.put_another_in_its_place("lab")

    def test_another_cluster_answers(self):
        self.put_another_in_its_place("another")


if __name__ == "__main__":
    case.main()
