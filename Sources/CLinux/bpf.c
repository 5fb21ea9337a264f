#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct clinux_bpf_instruction) == sizeof(struct bpf_insn), "");
_Static_assert(BPF_PROG_TYPE_SYSCALL == 31 && BPF_PROG_TYPE_TRACING == 26 && BPF_TRACE_ITER == 28, "");
_Static_assert(BPF_F_SLEEPABLE == 1 << 4, "");

static int call(int command, union bpf_attr *attributes) {
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int)result;
}

int clinux_bpf_load(
    int type, int attach, uint32_t btf, uint32_t flags, const struct clinux_bpf_instruction *instructions,
    uint32_t count, char *log, uint32_t log_size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = (uint32_t)type;
    attributes.expected_attach_type = (uint32_t)attach;
    attributes.attach_btf_id = btf;
    attributes.prog_flags = flags;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t) "GPL";
    if (log && log_size) {
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = log_size;
        attributes.log_level = 1;
    }
    return call(BPF_PROG_LOAD, &attributes);
}

int clinux_bpf_iterate(int program, int process) {
    union bpf_iter_link_info info;
    memset(&info, 0, sizeof info);
    info.task.pid = (uint32_t)process;
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.attach_type = BPF_TRACE_ITER;
    attributes.link_create.iter_info = (uintptr_t)&info;
    attributes.link_create.iter_info_len = sizeof info;
    int link = call(BPF_LINK_CREATE, &attributes);
    if (link < 0) return link;
    memset(&attributes, 0, sizeof attributes);
    attributes.iter_create.link_fd = (uint32_t)link;
    int iterator = call(BPF_ITER_CREATE, &attributes);
    close(link);
    return iterator;
}

int clinux_bpf_run(int program, void *context, uint32_t size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = (uint32_t)program;
    attributes.test.ctx_in = (uintptr_t)context;
    attributes.test.ctx_size_in = size;
    return call(BPF_PROG_TEST_RUN, &attributes);
}
