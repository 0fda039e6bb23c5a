#!/usr/bin/env python3
"""Checks the house rules a machine can check: who includes whom (rooms.txt), where foreign headers may appear, calls that have
no place here, sizes of files, and what the short-lived programs link. Prints one line a finding; exit code 1 when there is any.

usage: lint.py SOURCE_DIR [BIN_DIR]"""

import os
import pathlib
import re
import subprocess
import sys

SOURCE_ROOTS = ("lib", "ipam", "cni-plugin", "routed", "cli")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SLEEPS = "sleeps: wait for the event, or say in the line above why there is none ('sleeps because ...')"
BANNED = [
    (re.compile(r"\b(system|popen)\s*\("), "starts a shell"),
    (re.compile(r"\bsleep_for\b|\busleep\s*\(|(?<![\w.])sleep\s*\("), SLEEPS),
    (re.compile(r"\bthrow\b"), "throws: rooms return Result"),
    (re.compile(r"#\s*if\s+0\b"), "disabled code"),
    (re.compile(r"/(work|farm)/"), "a path of some machine"),
]
TEST_BANNED = [
    (re.compile(r"GTEST_SKIP|DISABLED_"), "a test that does not run"),
    (re.compile(r"/(work|farm)/"), "a path of some machine"),
]
TODO = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# Largest size of each short-lived program, bytes. They are loaded from disk at every attach; grow this with a reason.
STATIC_PROGRAMS = {"firn": 3_200_000, "firn-ipam": 2_800_000}
MAX_HEADER, MAX_SOURCE = 260, 520


class Findings:
    def __init__(self):
        self.lines = []

    def add(self, where, text):
        self.lines.append(f"{where}: {text}")


def read_table(path):
    rooms, headers = {}, {}
    for number, line in enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        left, separator, right = line.partition(":")
        if not separator:
            raise SystemExit(f"{path}:{number}: no ':'")
        if left.startswith("header "):
            headers[left[len("header "):].strip()] = right.split()
        else:
            rooms[left.strip()] = set(right.split())
    return rooms, headers


def room_of(path, rooms):
    folder = os.path.dirname(path)
    while folder:
        if folder in rooms:
            return folder
        folder = os.path.dirname(folder)
    return None


def source_files(top, roots, endings=(".cpp", ".hpp")):
    for root in roots:
        for folder, _, names in os.walk(os.path.join(top, root)):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), top)


def without_strings_and_comments(text):
    text = re.sub(r'R"(\w*)\((.*?)\)\1"', lambda m: '""' + "\n" * m.group(0).count("\n"), text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)


def check_includes(top, rooms, headers, findings):
    for path in source_files(top, SOURCE_ROOTS):
        room = room_of(path, rooms)
        if room is None:
            findings.add(path, "belongs to no room of tests/lint/rooms.txt")
            continue
        for number, line in enumerate(pathlib.Path(top, path).read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            kind, name = match.groups()
            where = f"{path}:{number}"
            if kind == '"':
                target = room_of(name, rooms)
                if target is None or not os.path.exists(os.path.join(top, name)):
                    findings.add(where, f'"{name}" is not the path of a header from the top of the source tree')
                elif target != room and target not in rooms[room]:
                    findings.add(where, f"{room} may not include {target}")
            for start, allowed in headers.items():
                if name.startswith(start) and room not in allowed:
                    findings.add(where, f"<{name}> may be used in {' '.join(allowed)} alone")


def check_text(top, findings):
    for roots, banned in ((SOURCE_ROOTS, BANNED), (("tests", "bench"), TEST_BANNED)):
        for path in source_files(top, roots):
            text = pathlib.Path(top, path).read_text(encoding="utf-8")
            for number, line in enumerate(text.splitlines(), 1):
                if TODO.search(line):
                    findings.add(f"{path}:{number}", "an open promise: " + line.strip())
            raw = text.splitlines()
            for number, line in enumerate(without_strings_and_comments(text).splitlines(), 1):
                for pattern, why in banned:
                    explained = why is SLEEPS and "sleeps because" in " ".join(raw[max(0, number - 4):number]).lower()
                    if pattern.search(line) and not explained:
                        findings.add(f"{path}:{number}", why)
            if roots is SOURCE_ROOTS:
                lines = text.count("\n")
                limit = MAX_HEADER if path.endswith(".hpp") else MAX_SOURCE
                if lines > limit:
                    findings.add(path, f"{lines} lines: is this still one room? (limit {limit})")
                if path.endswith(".hpp") and not text.startswith("//"):
                    findings.add(path, "a header opens with a comment that says what it is for")


def check_no_test_code_in_products(top, findings):
    for path in source_files(top, SOURCE_ROOTS, ("CMakeLists.txt",)):
        text = pathlib.Path(top, path).read_text(encoding="utf-8")
        if "tests/" in text or "firn_test" in text or "GTest" in text:
            findings.add(path, "a product target may not link test code")


def check_programs(bin_dir, findings):
    for name, limit in STATIC_PROGRAMS.items():
        path = os.path.join(bin_dir, name)
        if not os.path.exists(path):
            findings.add(path, "is missing: build it first")
            continue
        dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"NEEDED.*\[(.*?)\]", dynamic)
        if needed:
            findings.add(path, f"links shared libraries: {' '.join(needed)}")
        size = os.path.getsize(path)
        if size > limit:
            findings.add(path, f"has {size} bytes, the limit is {limit}")
        print(f"{name}: static, {size} bytes of at most {limit}")


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    top = sys.argv[1]
    findings = Findings()
    rooms, headers = read_table(os.path.join(top, "tests/lint/rooms.txt"))
    check_includes(top, rooms, headers, findings)
    check_text(top, findings)
    check_no_test_code_in_products(top, findings)
    if len(sys.argv) == 3:
        check_programs(sys.argv[2], findings)
    for line in findings.lines:
        print(line)
    print(f"lint: {len(findings.lines)} findings")
    return 1 if findings.lines else 0


if __name__ == "__main__":
    sys.exit(main())
