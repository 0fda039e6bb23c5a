#!/usr/bin/env python3
"""What an administrator installs: `cmake --install` and the .deb have the same files in the same places, the programs in them run, and
systemd has nothing to say against the unit."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else os.environ["FIRN_BIN"]).resolve().parent
PROGRAMS = {"lib/cni/firn", "lib/cni/firn-ipam", "bin/firnctl", "sbin/firn-routed", "libexec/firn/firn-nft"}
UNIT = "lib/systemd/system/firn-routed.service"
COMPLETION = "share/bash-completion/completions/firnctl"
DOCUMENTS = {"README.md", "CHANGELOG.md", "LICENSE", "LICENSE.firn-nft", "cni.md", "ipam.md", "bgp.md", "routing.md", "control.md", "firnctl.md",
             "architecture.md", "cluster.md", "nodes.md", "objects.md", "performance.md", "policy.md", "troubleshooting.md", "cni/10-firn.conflist", "cni/10-firn-pools.conflist",
             "cni/10-firn-dual-stack.conflist", "cni/podman-firn.conflist"}
LAYOUT = PROGRAMS | {UNIT, COMPLETION} | {f"share/doc/firn/{name}" for name in DOCUMENTS}


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Package(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="firn-t-")
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name)

    def assert_installed(self, root, named):
        """`root` is what is /usr or the like on the host; `named`: what the unit calls it."""
        files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        self.assertEqual(files, LAYOUT)
        for path in files:
            self.assertEqual(bool((root / path).stat().st_mode & 0o111), path in PROGRAMS, path)
            self.assertEqual((root / path).stat().st_mode & 0o7022, 0, f"{path}: no set-id bit, and written by root alone")
        for program in PROGRAMS:
            self.assertIn("0.1.0", run(root / program, "--version"))
        unit = root / UNIT
        self.assertIn(f"ExecStart={named}/sbin/firn-routed\n", unit.read_text(encoding="utf-8"))
        return unit

    def test_install_into_a_prefix(self):
        prefix = self.top / "prefix"
        run("cmake", "--install", BUILD, "--prefix", prefix)
        unit = self.assert_installed(prefix, prefix)
        # The program that the unit names is there, so systemd looks at all of it.
        self.assertEqual(run("systemd-analyze", "verify", "--man=no", unit), "")

    def test_the_debian_package(self):
        run("cpack", "-G", "DEB", "-B", self.top, cwd=BUILD)
        package = next(self.top.glob("*.deb"))
        root = self.top / "root"
        run("dpkg", "-x", package, root)
        self.assertEqual([path.name for path in root.iterdir()], ["usr"])
        unit = self.assert_installed(root / "usr", "/usr")
        # systemd wants to see the program: the unit as it would read if the root were /.
        unit.write_text(unit.read_text(encoding="utf-8").replace("=/usr/sbin/", f"={root}/usr/sbin/"), encoding="utf-8")
        self.assertEqual(run("systemd-analyze", "verify", "--man=no", unit), "")
        field = lambda name: run("dpkg-deb", "-f", package, name).strip()
        self.assertEqual(field("Package"), "firn")
        self.assertIn("libc6", field("Depends"))
        self.assertEqual(field("Recommends"), "bird2")


if __name__ == "__main__":
    unittest.main()
