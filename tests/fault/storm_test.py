#!/usr/bin/env python3
"""64 workers ADD, CHECK and DEL at once, each over its own container; some processes are killed at a random moment. A model
knows which addresses are held: no two containers may ever hold the same one, and at the end nothing may be left.

usage: storm_test.py BIN_DIR      FIRN_LONG=yes: 20 times as many operations; FIRN_SEED: repeat a run"""

import json
import os
import random
import signal
import sys
import threading
import time
import unittest

import faultlib

BIN = faultlib.bin_dir(sys.argv)
WORKERS = 64
ROUNDS = 200 if os.environ.get("FIRN_LONG") == "yes" else 10
SEED = int(os.environ.get("FIRN_SEED", str(int(time.time()))))


class Model:
    """Who holds which address. One lock; the check is made at the moment an ADD answers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.holder = {}
        self.problems = []

    def took(self, container, addresses):
        with self.lock:
            for address in addresses:
                other = self.holder.setdefault(address, container)
                if other != container:
                    self.problems.append(f"{address} is held by {other} and was given to {container}")

    def gives(self, container):
        """Called before the DEL starts: from then on another may get the address."""
        with self.lock:
            self.holder = {address: holder for address, holder in self.holder.items() if holder != container}

    def problem(self, text):
        with self.lock:
            self.problems.append(text)


class Worker(threading.Thread):
    def __init__(self, host, model, number):
        super().__init__()
        self.host, self.model, self.name_ = host, model, f"storm{number}"
        self.random = random.Random(SEED * 1000 + number)
        self.counts = {"ADD": 0, "DEL": 0, "CHECK": 0, "killed": 0}

    def call(self, verb, netns, may_kill, **config):
        process = self.host.start(verb, self.name_, netns, **config)
        if may_kill and self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.02)  # the moment of the kill is the input of this test
            process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        killed = process.returncode == -9
        self.counts["killed" if killed else verb] += 1
        if process.returncode != 0 and not killed:
            self.model.problem(f"{self.name_}: {verb}: {out}{err}")
        return process.returncode, out

    def run(self):
        netns = self.host.make_netns(self.name_)
        for _ in range(ROUNDS):
            code, out = self.call("ADD", netns, may_kill=True)
            if code == 0:
                result = json.loads(out)
                self.model.took(self.name_, [ip["address"] for ip in result["ips"]])
                if self.random.random() < 0.3:
                    self.call("CHECK", netns, may_kill=False, prevResult=result)
            self.model.gives(self.name_)
            while self.call("DEL", netns, may_kill=True)[0] != 0:
                pass
        self.host.drop_netns(netns)


class Storm(unittest.TestCase):
    def test_storm(self):
        faultlib.enter_private_namespaces()
        host = faultlib.Host(BIN)
        model = Model()
        workers = [Worker(host, model, number) for number in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        totals = {key: sum(worker.counts[key] for worker in workers) for key in workers[0].counts}
        print(f"storm: seed {SEED}, {totals}", flush=True)
        self.assertEqual(model.problems, [])
        self.assertGreater(totals["killed"], 0)
        faultlib.wait_until(lambda: not faultlib.links(), 20, f"links left: {faultlib.links()}")
        self.assertEqual(faultlib.routes(), [])
        self.assertEqual(list(host.keys("lease/")), [])
        self.assertEqual(list(host.keys("endpoint/")), [])
        code, words = host.check_store()
        self.assertEqual(code, 0, words)
        host.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
