#define _GNU_SOURCE
#include "CLinuxWatch.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

_Static_assert(BPF_MAP_TYPE_HASH == 1 && BPF_MAP_TYPE_ARRAY == 2, "");

static int call(int command, union bpf_attr *attributes) {
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int)result;
}

int clinux_unlimit_locked_memory(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ? -errno : 0;
}

int clinux_bpf_map_create(int type, uint32_t key_size, uint32_t value_size, uint32_t entries) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = (uint32_t)type;
    attributes.key_size = key_size;
    attributes.value_size = value_size;
    attributes.max_entries = entries;
    return call(BPF_MAP_CREATE, &attributes);
}

// What each command on one key takes; `other` is where a value is, or where the next key goes.
static int on_key(int command, int map, const void *key, const void *other) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)key;
    attributes.value = (uintptr_t)other;
    return call(command, &attributes);
}

int clinux_bpf_map_lookup(int map, const void *key, void *value) {
    return on_key(BPF_MAP_LOOKUP_ELEM, map, key, value);
}

int clinux_bpf_map_update(int map, const void *key, const void *value) {
    return on_key(BPF_MAP_UPDATE_ELEM, map, key, value);
}

int clinux_bpf_map_delete(int map, const void *key) { return on_key(BPF_MAP_DELETE_ELEM, map, key, NULL); }

int clinux_bpf_map_next(int map, const void *key, void *next) {
    return on_key(BPF_MAP_GET_NEXT_KEY, map, key, next);
}

int clinux_bpf_map_batch(
    int map, int is_first, uint32_t *position, void *keys, void *values, uint32_t *count) {
    uint32_t next = *position;
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.batch.in_batch = is_first ? 0 : (uintptr_t)position;
    attributes.batch.out_batch = (uintptr_t)&next;
    attributes.batch.keys = (uintptr_t)keys;
    attributes.batch.values = (uintptr_t)values;
    attributes.batch.count = *count;
    attributes.batch.map_fd = (uint32_t)map;
    int result = call(BPF_MAP_LOOKUP_BATCH, &attributes);
    *position = next;
    // What the kernel has filled in where it has an error is not to be relied on, but for the end.
    *count = result == 0 || result == -ENOENT ? attributes.batch.count : 0;
    return result;
}

int clinux_tracepoint_open(uint64_t id) {
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = id;
    attributes.disabled = 1;
    // A program of a tracepoint runs wherever that fires: the CPU that the event is opened on does not matter.
    long result = syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
    return result < 0 ? -errno : (int)result;
}

int clinux_tracepoint_run(int event, int program) {
    if (ioctl(event, PERF_EVENT_IOC_SET_BPF, program) < 0) return -errno;
    return ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0 ? -errno : 0;
}

int clinux_pid_namespace(uint64_t *device, uint64_t *inode) {
    struct stat status;
    if (stat("/proc/self/ns/pid", &status) < 0) return -errno;
    // new_encode_dev() is what stat(2) gives; MKDEV of 12 and 20 bits what the kernel compares with.
    *device = (uint64_t)major(status.st_dev) << 20 | minor(status.st_dev);
    *inode = status.st_ino;
    return 0;
}

int clinux_detached_mount(const char *type) {
    int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0) return -errno;
    int result = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        result = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    if (result < 0) result = -errno;
    close(context);
    return result;
}

int clinux_ring_open(uint64_t id, int cpu, uint32_t wakeup) {
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = id;
    attributes.sample_period = 1;
    attributes.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW;
    // Records of what was lost have a time as well.
    attributes.sample_id_all = 1;
    attributes.use_clockid = 1;
    attributes.clockid = CLOCK_MONOTONIC;
    attributes.watermark = 1;
    attributes.wakeup_watermark = wakeup;
    attributes.disabled = 1;
    long result = syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    return result < 0 ? -errno : (int)result;
}

int clinux_ring_share(int event, int ring) {
    return ioctl(event, PERF_EVENT_IOC_SET_OUTPUT, ring) < 0 ? -errno : 0;
}

int clinux_ring_start(int event) { return ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0 ? -errno : 0; }

uint64_t clinux_ring_head(const void *page) {
    const struct perf_event_mmap_page *ring = page;
    return ring ? __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE) : 0;
}

void clinux_ring_release(void *page, uint64_t tail) {
    struct perf_event_mmap_page *ring = page;
    if (ring) __atomic_store_n(&ring->data_tail, tail, __ATOMIC_RELEASE);
}

uint64_t clinux_ring_offset(const void *page) {
    const struct perf_event_mmap_page *ring = page;
    return ring ? ring->data_offset : 0;
}
