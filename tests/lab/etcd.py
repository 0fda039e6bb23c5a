"""A real etcd of several members, each on a lab host of its own, with or without TLS. Members are ended by the process id they have."""

import json

from lab import LabError, wait_for

CLIENT, PEER = 2379, 2380
DATA = "/run/etcd"


class Authority:
    """Certificates for etcd's members and for its clients, PEM files in a directory of the test. They have no common name, which etcd's
    gateway would take for a user."""

    def __init__(self, host, folder, addresses):
        self.ca, self.certificate, self.key = f"{folder}/ca.pem", f"{folder}/leaf.pem", f"{folder}/leaf.key"
        names = ",".join(f"IP:{address}" for address in ["127.0.0.1", *addresses])
        host.write(f"{folder}/leaf.ext", f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        host.run("openssl", "req", "-x509", *ec, "-days", "2", "-subj", "/CN=lab", "-keyout", f"{folder}/ca.key", "-out", self.ca)
        host.run("openssl", "req", *ec, "-subj", "/O=lab", "-keyout", self.key, "-out", f"{folder}/leaf.csr")
        host.run("openssl", "x509", "-req", "-days", "2", "-in", f"{folder}/leaf.csr", "-CA", self.ca, "-CAkey", f"{folder}/ca.key",
                 "-CAcreateserial", "-extfile", f"{folder}/leaf.ext", "-out", self.certificate)


class Etcd:
    def __init__(self, hosts, addresses, tls_folder=None, arguments=()):
        """hosts, addresses: one of each for every member. tls_folder: a directory that every lab host sees."""
        self.hosts, self.addresses, self.arguments = hosts, addresses, list(arguments)
        self.authority = Authority(hosts[0], tls_folder, addresses) if tls_folder else None
        self.scheme = "https" if self.authority else "http"
        self.token = "lab"
        self.processes = [None] * len(hosts)
        for member in range(len(hosts)):
            self.start(member)
        self.wait_healthy()

    def url(self, member, port=CLIENT):
        return f"{self.scheme if port == CLIENT else 'http'}://{self.addresses[member]}:{port}"

    @property
    def urls(self):
        return ",".join(self.url(member) for member in range(len(self.hosts)))

    @property
    def firn_options(self):
        """For firnctl init, join and cluster migrate."""
        tls = self.authority
        return ["--etcd", self.urls] + (["--etcd-ca", tls.ca, "--etcd-cert", tls.certificate, "--etcd-key", tls.key] if tls else [])

    def _members(self):
        return ",".join(f"m{number}={self.url(number, PEER)}" for number in range(len(self.hosts)))

    def start(self, member):
        """One that has never run, or was killed; not waited for."""
        own, tls = self.url(member), self.authority
        arguments = ["etcd", "--name", f"m{member}", "--data-dir", DATA, "--listen-client-urls", own, "--advertise-client-urls", own,
                     "--listen-peer-urls", self.url(member, PEER), "--initial-advertise-peer-urls", self.url(member, PEER),
                     "--initial-cluster", self._members(), "--initial-cluster-token", self.token, "--logger", "zap", "--log-level", "warn",
                     *self.arguments]
        if tls:
            arguments += ["--cert-file", tls.certificate, "--key-file", tls.key, "--trusted-ca-file", tls.ca, "--client-cert-auth"]
        self.processes[member] = self.hosts[member].start(f"etcd-{member}", *arguments)

    def kill(self, member):
        self.processes[member].kill()

    def wait_healthy(self):
        for member in range(len(self.hosts)):
            wait_for(f"etcd member {member} is healthy", lambda m=member: self.status(m).get("leader"), deadline=60, interval=0.1)

    def ctl(self, *arguments, member=0):
        """etcdctl, asking one member; returns its output."""
        tls = self.authority
        options = ["--endpoints", self.url(member)] + (["--cacert", tls.ca, "--cert", tls.certificate, "--key", tls.key] if tls else [])
        return self.hosts[member].out("etcdctl", *options, *arguments, env={"ETCDCTL_API": "3"})

    def status(self, member=0):
        return json.loads(self.ctl("endpoint", "status", "-w", "json", member=member))[0]["Status"]

    def revision(self):
        return self.status()["header"]["revision"]

    def leader(self):
        for member, process in enumerate(self.processes):
            if process.alive():
                status = self.status(member)
                if status["leader"] == status["header"]["member_id"]:
                    return member
        raise LabError("etcd has no leader")

    def restore(self, snapshot, token="lab"):
        """Every member starts anew from a snapshot: with the same token as the same cluster, with another as another one."""
        for process in self.processes:
            process.kill()
        self.token = token
        for member, host in enumerate(self.hosts):
            host.run("rm", "-rf", DATA)
            host.run("etcdctl", "snapshot", "restore", snapshot, "--name", f"m{member}", "--data-dir", DATA, "--initial-cluster", self._members(),
                     "--initial-cluster-token", token, "--initial-advertise-peer-urls", self.url(member, PEER), env={"ETCDCTL_API": "3"})
        for member in range(len(self.hosts)):
            self.start(member)
        self.wait_healthy()
