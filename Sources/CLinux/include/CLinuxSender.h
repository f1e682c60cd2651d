// Packet sockets and a private network: what Swift's Glibc module cannot say (sockaddr_ll, unshare).
// Every function returns a value of 0 or more, or a negative errno.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The calling thread in a new, empty network namespace, which ends with its last thread and socket:
// unshare(2) with CLONE_NEWNET. Needs CAP_SYS_ADMIN.
int sluice_enter_private_network(void);

// A packet(7) socket (SOCK_RAW) on one interface that is given frames of this Ethernet type, in the
// host's order, after traffic control's ingress; 0: none. Never waits. Needs CAP_NET_RAW.
int sluice_packet_open(int interface, uint16_t type);

// Sends one whole frame through the interface's egress: -EAGAIN or -ENOBUFS where it takes no more.
int sluice_packet_send(int descriptor, const void *frame, size_t length);

// Takes one frame: its whole length, of which at most `capacity` bytes are copied; -EAGAIN where there
// is none.
int sluice_packet_receive(int descriptor, void *head, size_t capacity);
