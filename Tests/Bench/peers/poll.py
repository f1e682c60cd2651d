# One peer's way to read the counters of all links: prints the CPU nanoseconds of each read.
import sys
import time

peer, seconds, most = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if peer == "psutil":
    import psutil

    def read():
        return len(psutil.net_io_counters(pernic=True))
elif peer == "pyroute2":
    import pyroute2

    route = pyroute2.IPRoute()

    def read():
        return len([link.get_attr("IFLA_STATS64") for link in route.get_links()])
else:
    sys.exit(f"no peer {peer}")

end = time.monotonic() + seconds
for _ in range(most):
    begin = time.process_time_ns()
    if read() < 2:
        sys.exit("no links were read")
    print(time.process_time_ns() - begin)
    if time.monotonic() > end:
        break
