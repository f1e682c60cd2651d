// Which features an interface has on, as ethtool(8) shows them.
#pragma once

// Whether the feature of this name ("hw-tc-offload") is on, in the calling thread's network namespace:
// 1, 0 where it is off or the interface knows no such feature, or a negative errno.
// ioctl(2) SIOCETHTOOL with ETHTOOL_GSTRINGS and ETHTOOL_GFEATURES; `ethtool -k NAME`
int sluice_link_feature(const char *name, const char *feature);
