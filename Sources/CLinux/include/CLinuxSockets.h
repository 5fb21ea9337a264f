#pragma once

// The fence for sockets that others connect to: all are closed on exec and never block. Every call returns its result or
// -errno. No policy.

#include <stddef.h>
#include <stdint.h>

// A TCP socket that listens at a host's name or number. -EADDRNOTAVAIL for a host that is none of this machine's, or
// unknown.
int clinux_listen_tcp(const char *host, uint16_t port);

// A socket of the file system that listens; the file's mode is 0600 from the start.
int clinux_listen_unix(const char *path);

// Whether a socket of the file system has somebody listening: 0, or -errno (-ECONNREFUSED for one that is left over).
int clinux_probe_unix(const char *path);

// The next connection, with no delay for small packets; `name` becomes the other side's, "127.0.0.1:40000", or empty.
int clinux_accept(int socket, char *name, size_t size);

// The port that a TCP socket has.
int clinux_socket_port(int socket);

// Makes a descriptor never block.
int clinux_set_nonblocking(int descriptor);

// read(2) and write(2); a write to a socket or pipe whose reader is gone is -EPIPE, and no signal.
long clinux_read(int descriptor, void *bytes, size_t count);
long clinux_write(int descriptor, const void *bytes, size_t count);

// An epoll descriptor: readable while any of its members is ready.
int clinux_poll_set(void);

// Watches `descriptor` in a set for input (bit 0), for room for output (bit 1), or no more (0).
int clinux_poll_set_change(int set, int descriptor, int wanted);
