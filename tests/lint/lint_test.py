#!/usr/bin/env python3
"""The linter must find what it is there to find: each rule is broken once in a small tree, and must be reported."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
CASES = {
    "upward include": ("lib/base/a.cpp", '#include "ipam/b.hpp"\n', "lib/base may not include ipam"),
    "foreign header": ("ipam/a.cpp", "#include <sqlite3.h>\n", "may be used in lib/kv/sqlite alone"),
    "shell": ("cli/a.cpp", "int f() { return system(g); }\n", "starts a shell"),
    "sleep": ("ipam/a.cpp", "void f() { usleep(1); }\n", "wait for the event"),
    "exception": ("ipam/a.cpp", "void f() { throw 1; }\n", "rooms return Result"),
    "promise": ("ipam/a.cpp", "// TO" + "DO: later\n", "an open promise"),
    "no room": ("lib/new/a.cpp", "\n", "belongs to no room"),
    "header without purpose": ("ipam/a.hpp", "#pragma once\n", "says what it is for"),
    "skipped test": ("tests/unit/a.cpp", "void f() { GTEST_" + "SKIP(); }\n", "does not run"),
}


class LintTest(unittest.TestCase):
    def run_on(self, path, text):
        with tempfile.TemporaryDirectory() as top:
            table = (HERE / "rooms.txt").read_text(encoding="utf-8")
            for name, content in ((path, text), ("ipam/b.hpp", "// A header.\n#pragma once\n"), ("tests/lint/rooms.txt", table)):
                file = pathlib.Path(top) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content, encoding="utf-8")
            return subprocess.run([sys.executable, HERE / "lint.py", top], capture_output=True, text=True, check=False)

    def test_each_rule(self):
        for name, (path, text, expected) in CASES.items():
            with self.subTest(name):
                result = self.run_on(path, text)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn(expected, result.stdout)

    def test_a_sleep_with_its_reason_is_accepted(self):
        result = self.run_on("ipam/a.cpp", "// Sleeps because the lock has no event to wait for.\nvoid f() { usleep(1); }\n")
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_words_in_comments_and_strings_are_no_calls(self):
        result = self.run_on("ipam/a.cpp", '// system( throw\nconst char* f() { return "popen(x) throw"; }\n')
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    unittest.main()
