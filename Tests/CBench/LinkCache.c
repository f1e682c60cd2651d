// How programs on libnl read links: rtnl_link_alloc_cache and nl_cache_refill.
#include "CBench.h"

#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stddef.h>
#include <sys/socket.h>

int cbench_link_cache_refill(void) {
    static _Thread_local struct nl_sock *sock;
    static _Thread_local struct nl_cache *cache;
    if (!sock) {
        sock = nl_socket_alloc();
        if (!sock) return -NLE_NOMEM;
        int result = nl_connect(sock, NETLINK_ROUTE);
        if (result >= 0) result = rtnl_link_alloc_cache(sock, AF_UNSPEC, &cache);
        if (result < 0) {
            nl_socket_free(sock);
            sock = NULL;
            return result;
        }
        return nl_cache_nitems(cache);
    }
    int result = nl_cache_refill(sock, cache);
    return result < 0 ? result : nl_cache_nitems(cache);
}
