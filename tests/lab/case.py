"""What every end-to-end test begins with: a lab of its own for each test, closed and checked at its end; when the test fails,
the daemons' last words are printed. FIRN_BIN names the directory of the programs under test (or the first argument)."""

import os
import pathlib
import sys
import unittest

from lab import Lab

PROGRAMS = ("firn", "firn-ipam", "firnctl", "firn-routed", "firn-nft")


def bin_dir():
    folder = pathlib.Path(os.environ.get("FIRN_BIN", ""))
    missing = [program for program in PROGRAMS if not os.access(folder / program, os.X_OK)]
    if missing:
        raise SystemExit(f"FIRN_BIN={folder}: no {', '.join(missing)} there; give the directory of the built programs")
    return folder


class LabCase(unittest.TestCase):
    longMessage = True
    maxDiff = None

    def setUp(self):
        self.lab = Lab(bin_dir())
        self.addCleanup(self._close)

    def _close(self):
        result = self._outcome.result
        if any(test is self for test, _ in result.failures + result.errors):
            print(f"\n=== daemons of {self.id()}\n{self.lab.logs()}", file=sys.stderr)
        self.lab.close()


def main():
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        os.environ["FIRN_BIN"] = sys.argv.pop(1)
    unittest.main()
