"""Container runtimes in lab hosts: Podman 4.3 with its CNI backend and containerd 1.6 with ctr, both with an image made of
busybox-static (no registry is needed)."""

import hashlib
import io
import json
import tarfile

from lab import LabError, wait_for

IMAGE = "localhost/busybox:lab"
APPLETS = ("sh", "sleep", "ping", "ip", "cat", "httpd", "nc", "wget", "hostname")


def image_root(path):
    """A root file system in a tar: busybox and its names."""
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        page = b"hello from the container\n"
        entry = tarfile.TarInfo("www/index.html")
        entry.size, entry.mode = len(page), 0o644
        tar.addfile(entry, io.BytesIO(page))


def link_plugins(host, folder="/opt/cni/bin"):
    """The plugin directory of this host: the programs under test and the reference plugins."""
    host.run("/bin/sh", "-c", f'for p in "$1"/firn "$1"/firn-ipam /usr/lib/cni/*; do if [ -x "$p" ]; then ln -sf "$p" {folder}/; fi; done',
             "sh", host.lab.bin)


class Podman:
    def __init__(self, host):
        self.host = host
        link_plugins(host)
        # default_ulimits: Podman raises limits, which a machine without CAP_SYS_RESOURCE refuses.
        host.write("/etc/containers/containers.conf", """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
cgroups = "enabled"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
""")
        host.write("/etc/containers/storage.conf", """
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
""")
        host.write("/etc/containers/policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}')
        image_root(host.lab.dir / "root.tar")
        self("import", host.lab.dir / "root.tar", IMAGE)

    def __call__(self, *arguments, **options):
        return self.host.out("podman", *arguments, **options).strip()

    def network(self, name, plugins):
        """Writes the list as an administrator does: beside, then renamed into place."""
        text = json.dumps({"cniVersion": "0.4.0", "name": name, "plugins": plugins}, indent=2)
        path = f"/etc/cni/net.d/{name}.conflist"
        self.host.write(path + ".new", text)
        self.host.run("mv", path + ".new", path)

    def start(self, name, network, *options, command=("sleep", "1000")):
        self("run", "-d", "--name", name, "--network", network, "--cgroup-parent", f"/{self.host.lab.name}",
             "--cap-add", "NET_RAW", *options, IMAGE, *command)

    def networks(self, name):
        """{network: addresses} of a container, as `podman inspect` shows them."""
        settings = json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"]
        return {network: [a for a in (entry.get("IPAddress"), entry.get("GlobalIPv6Address")) if a] for network, entry in settings.items()}


class Containerd:
    """containerd with its CRI service: `ctr` containers and the pods of a kubelet."""

    def __init__(self, host):
        self.host = host
        link_plugins(host)
        # restrict_oom_score_adj: as default_ulimits above.
        host.write("/etc/containerd/config.toml", f"""
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
""")
        self.daemon = host.start("containerd", "containerd", "--log-level", "warn")
        wait_for("containerd answers", lambda: host.ok("ctr", "version"))
        image_root(host.lab.dir / "root.tar")
        self._import_image()
        # The socket's path as the machine sees it: through the host's first process.
        self.socket = f"/proc/{host.pid}/root/run/containerd/containerd.sock"

    def _import_image(self):
        """An OCI image archive around the root file system."""
        folder = self.host.lab.dir / "image"
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def blob(data, media):
            digest = hashlib.sha256(data).hexdigest()
            (blobs / digest).write_bytes(data)
            return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

        layer = blob((self.host.lab.dir / "root.tar").read_bytes(), "layer.v1.tar")
        config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"]},
                                  "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode(), "config.v1+json")
        manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
        manifest["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "lab"}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}), encoding="utf-8")
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
        archive = self.host.lab.dir / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, ".")
        for namespace in (self.host.lab.name, "k8s.io"):
            self.host.run("ctr", "-n", namespace, "images", "import", archive)

    def __call__(self, *arguments, **options):
        # The namespace is also the parent control group.
        return self.host.out("ctr", "-n", self.host.lab.name, *arguments, **options).strip()

    def start(self, name, *options, command=("sleep", "1000")):
        """`ctr run` in the foreground: it calls the plugins, waits for the container, and calls them again when it has ended."""
        run = self.host.start(f"ctr-run-{name}", "ctr", "-n", self.host.lab.name, "run", "--rm", "--cni", *options, IMAGE, name, *command)
        wait_for(f"container {name} runs", lambda: self._state(name) == "RUNNING" or not run.alive())
        if not run.alive():
            raise LabError(f"ctr run {name}: {run.log()}")
        return run

    def _state(self, name):
        for line in self("task", "list").splitlines()[1:]:
            task, _, state = line.split()
            if task == name:
                return state
        return None

    def exec(self, name, *command, **options):
        return self("task", "exec", "--exec-id", f"lab-{next(self.host.lab.numbers)}", name, *command, **options)

    def stop(self, name, run):
        self("task", "kill", "-s", "SIGKILL", name)
        run.wait()
