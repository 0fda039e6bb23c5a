#!/usr/bin/env python3
"""Hosts for which a pool has no block left borrow single addresses of another host's block: routers learn the /32 and the /128 of the
borrower beside the block, and every container reaches every other across the racks."""

import ipaddress

import case
from lab import wait_for
from racks import Racks

HOSTS = {"a": "r1", "b": "r1", "c": "r2"}


class Borrow(case.LabCase):
    def test_an_address_is_borrowed_across_racks(self):
        racks = Racks(self.lab, HOSTS, pools=("10.66.0.0/25", "fd66::/121"))
        racks.found()
        addresses = racks.start()
        a, b, c = racks.members
        blocks = {block: member for member in (a, b, c) for block in member.firn.blocks()}
        for family, whole, single in ((4, 26, 32), (6, 122, 128)):
            # Of the two blocks one host may have taken both, one of them ahead of its need.
            found = {block: member for block, member in blocks.items() if ipaddress.ip_network(block).version == family}
            owners = [member.name for block, member in found.items() if ipaddress.ip_network(block).prefixlen == whole]
            borrowers = sorted(member.name for block, member in found.items() if ipaddress.ip_network(block).prefixlen == single)
            self.assertEqual(len(owners), 2, f"{blocks}")
            self.assertEqual(borrowers, sorted({"a", "b", "c"} - set(owners)), f"who has no block has borrowed one address: {blocks}")
        racks.all_reach_all(addresses, deadline=60)
        for block, member in blocks.items():
            for rack, router in racks.routers.items():
                wait_for(f"tor-{rack} has {block} of {member.name}", lambda r=router, p=block: r.fib(p), deadline=30)
        racks.check_announcements()


if __name__ == "__main__":
    case.main()
