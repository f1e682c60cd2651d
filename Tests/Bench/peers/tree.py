# The tree of a shape rung by pyroute2 (an ifb with an htb of three classes, two filters below it and a
# redirect to it), made and removed: prints the nanoseconds of each making and each removal.
import sys
import time

from pyroute2 import IPRoute

port, rounds = sys.argv[1], int(sys.argv[2])
route = IPRoute()
index = route.link_lookup(ifname=port)[0]
MATCH = ["0x00160000/0xffff0000+20"]
for _ in range(rounds):
    begin = time.monotonic_ns()
    route.link("add", ifname="peer-ifb", kind="ifb", num_tx_queues=1)
    ifb = route.link_lookup(ifname="peer-ifb")[0]
    route.tc("add", "htb", ifb, 0x7A010000, default=3)
    for number in (1, 2, 3):
        route.tc("add-class", "htb", ifb, 0x7A010000 + number, parent=0x7A010000,
                 rate="20mbit", burst=30000, ceil="20mbit", cburst=30000)
    route.tc("add", "tbf", ifb, 0x7A020000, parent=0x7A010003, rate="20mbit", burst=30000,
             limit=1000000)
    for pref, flow in ((11, 1), (12, 2)):
        route.tc("add-filter", "u32", ifb, parent=0x7A010000, prio=pref, protocol=3,
                 target=0x7A010000 + flow, keys=MATCH)
    route.link("set", index=ifb, state="up")
    route.tc("add", "ingress", index, 0xFFFF0000)
    route.tc("add-filter", "u32", index, parent=0xFFFF0000, prio=13, protocol=3,
             target=0x10000, keys=["0x0/0x0+0"],
             action={"kind": "mirred", "direction": "egress", "action": "redirect",
                     "ifindex": ifb})
    made = time.monotonic_ns()
    route.tc("del", "ingress", index, 0xFFFF0000)
    route.link("del", index=ifb)
    print(made - begin, time.monotonic_ns() - made)
