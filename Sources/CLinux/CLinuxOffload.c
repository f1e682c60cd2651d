#define _GNU_SOURCE
#include "CLinuxOffload.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// A kernel of many more features than today's 64 or so.
enum { most = 512 };

static int ask(int descriptor, const char *name, void *request) {
    struct ifreq interface = {.ifr_data = request};
    strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
    return ioctl(descriptor, SIOCETHTOOL, &interface) < 0 ? -errno : 0;
}

static int look(int descriptor, const char *name, const char *feature) {
    struct {
        struct ethtool_sset_info info;
        uint32_t count;
    } set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
    int code = ask(descriptor, name, &set);
    if (code < 0) return code;
    uint32_t count = set.info.sset_mask == 0 ? 0 : set.count;
    if (count == 0 || count > most) return 0;
    struct ethtool_gstrings *strings = calloc(1, sizeof *strings + count * ETH_GSTRING_LEN);
    struct ethtool_gfeatures *features =
        calloc(1, sizeof *features + (count + 31) / 32 * sizeof features->features[0]);
    code = strings == NULL || features == NULL ? -ENOMEM : 0;
    if (code == 0) {
        strings->cmd = ETHTOOL_GSTRINGS;
        strings->string_set = ETH_SS_FEATURES;
        strings->len = count;
        code = ask(descriptor, name, strings);
    }
    if (code == 0) {
        features->cmd = ETHTOOL_GFEATURES;
        features->size = (count + 31) / 32;
        code = ask(descriptor, name, features);
    }
    for (uint32_t bit = 0; code == 0 && bit < count; bit++) {
        const char *own = (const char *)strings->data + bit * ETH_GSTRING_LEN;
        if (strncmp(own, feature, ETH_GSTRING_LEN) == 0)
            code = features->features[bit / 32].active >> bit % 32 & 1;
    }
    free(strings);
    free(features);
    return code;
}

int sluice_link_feature(const char *name, const char *feature) {
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int code = look(descriptor, name, feature);
    close(descriptor);
    return code;
}
