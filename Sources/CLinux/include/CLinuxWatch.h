#pragma once

// The fence for watching the host: BPF maps, and tracepoints that run BPF programs. Every call returns its result or
// -errno. No policy.

#include <stdint.h>

// RLIMIT_MEMLOCK without a limit, where that is permitted: kernels before 5.11 count maps as locked memory. 0.
int clinux_unlimit_locked_memory(void);

// BPF_MAP_CREATE: the descriptor.
int clinux_bpf_map_create(int type, uint32_t key_size, uint32_t value_size, uint32_t entries);
static const int clinux_bpf_map_hash = 1;
static const int clinux_bpf_map_array = 2;
int clinux_bpf_map_lookup(int map, const void *key, void *value);
int clinux_bpf_map_update(int map, const void *key, const void *value);
int clinux_bpf_map_delete(int map, const void *key);
// BPF_MAP_GET_NEXT_KEY; `key` NULL gives the first. -ENOENT after the last.
int clinux_bpf_map_next(int map, const void *key, void *next);
// BPF_MAP_LOOKUP_BATCH: up to *count entries from `*position` on (0 at first), which is moved on. Sets *count to how many
// there were. 0; -ENOENT where these are the last; -ENOSPC where not even one bucket has room in `keys`.
int clinux_bpf_map_batch(
    int map, int is_first, uint32_t *position, void *keys, void *values, uint32_t *count);

// perf_event_open of a tracepoint, for a program alone: it runs on every CPU. The descriptor.
int clinux_tracepoint_open(uint64_t id);
// PERF_EVENT_IOC_SET_BPF and PERF_EVENT_IOC_ENABLE.
int clinux_tracepoint_run(int event, int program);

// The inode of this process's PID namespace and its device, in the kernel's own numbers, which bpf_get_ns_current_pid_tgid
// wants: 0.
int clinux_pid_namespace(uint64_t *device, uint64_t *inode);

// fsopen, fsconfig and fsmount: a file system that is mounted nowhere, as a folder's descriptor; it is gone when that is
// closed.
int clinux_detached_mount(const char *type);

// perf_event_open of a tracepoint on one CPU, whose records go to a ring: raw records with their thread and CLOCK_MONOTONIC,
// and how many were lost. The descriptor, which is readable once so many bytes are there; it counts nothing before
// clinux_ring_start.
int clinux_ring_open(uint64_t id, int cpu, uint32_t wakeup);
// PERF_EVENT_IOC_SET_OUTPUT: its records go to another event's ring.
int clinux_ring_share(int event, int ring);
int clinux_ring_start(int event);
// How far the kernel has written into a ring, by its first page; what is before that can be read after the call.
uint64_t clinux_ring_head(const void *page);
// How far the ring has been read: what is before that may be written over.
void clinux_ring_release(void *page, uint64_t tail);
// Where the records are, from the start of the mapping: 0 for the page after the first, as old kernels have it.
uint64_t clinux_ring_offset(const void *page);
