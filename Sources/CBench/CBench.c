#define _GNU_SOURCE
#include "CBench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// The measure that everything is held against: the fewest calls that KVM allows, with nothing around them.

enum { MEMORY = 1 << 20, ENTRY = 0x7C00, COPIES = 0x20000, MACHINES = 4 };

static struct machine {
    enum cbench_guest guest;
    int vm, vcpu;
    void *memory;
    /// What each exit copies into the guest's memory at COPIES, and how much of it.
    void *source;
    size_t copied;
    struct kvm_run *run;
    size_t run_size;
} machines[MACHINES];

static const uint8_t step_code[] = {
    0xFF, 0x06, 0x00, 0x20, // inc word [0x2000]
    0x40,                   // inc ax
    0xEB, 0xF9,             // jmp to the start
};
static const uint8_t port_code[] = {
    0xBA, 0x80, 0x00, // mov dx, 0x80
    0xEE,             // out dx, al
    0x66, 0x49,       // dec ecx
    0x75, 0xFB,       // jnz to the out
    0xF4,             // hlt
};

static const uint8_t write_code[] = {
    0xA3, 0x00, 0x20, // mov [0x2000], ax
    0x66, 0x49,       // dec ecx
    0x75, 0xF9,       // jnz to the mov
    0xF4,             // hlt
};

const uint8_t *cbench_code(enum cbench_guest guest, uint64_t *length) {
    switch (guest) {
    case CBENCH_PORT_OUT: *length = sizeof port_code; return port_code;
    case CBENCH_WRITE: *length = sizeof write_code; return write_code;
    default: *length = sizeof step_code; return step_code;
    }
}

/// All of the memory in one slot, or with one read-only page.
static int map(struct machine *m) {
    uint64_t page = CBENCH_WRITE_PAGE, size = 4096, base = (uint64_t)(uintptr_t)m->memory;
    struct kvm_userspace_memory_region whole[] = {{.memory_size = MEMORY, .userspace_addr = base}};
    struct kvm_userspace_memory_region split[] = {
        {.memory_size = page, .userspace_addr = base},
        {.slot = 1, .flags = KVM_MEM_READONLY, .guest_phys_addr = page, .memory_size = size,
         .userspace_addr = base + page},
        {.slot = 2, .guest_phys_addr = page + size, .memory_size = MEMORY - page - size,
         .userspace_addr = base + page + size},
    };
    struct kvm_userspace_memory_region *regions = m->guest == CBENCH_WRITE ? split : whole;
    for (int i = 0; i < (m->guest == CBENCH_WRITE ? 3 : 1); i++)
        if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &regions[i])) return -errno;
    return 0;
}

uint64_t cbench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int prepare(struct machine *m) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) return -errno;
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int error = errno;
    close(kvm);
    if (m->vm < 0) return -error;
    if (size < (int)sizeof(struct kvm_run)) return -EPROTO;
    m->run_size = (size_t)size;

    m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m->memory == MAP_FAILED) return -errno;
    int status = map(m);
    if (status) return status;
    uint64_t length;
    const uint8_t *code = cbench_code(m->guest, &length);
    memcpy((uint8_t *)m->memory + ENTRY, code, length);

    m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
    if (m->vcpu < 0) return -errno;
    m->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (m->run == MAP_FAILED) return -errno;

    struct kvm_sregs sregs;
    if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs)) return -errno;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs)) return -errno;
    // ECX is how often the port loop goes round: as good as for ever.
    struct kvm_regs regs = {.rip = ENTRY, .rflags = 2, .rcx = 0xFFFFFFFF};
    if (ioctl(m->vcpu, KVM_SET_REGS, &regs)) return -errno;
    if (m->guest == CBENCH_STEP) {
        struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
        if (ioctl(m->vcpu, KVM_SET_GUEST_DEBUG, &debug)) return -errno;
    }
    m->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    return 0;
}

int cbench_open(enum cbench_guest guest) {
    for (int i = 0; i < MACHINES; i++) {
        if (machines[i].vm) continue;
        machines[i] = (struct machine){.guest = guest, .vm = -1, .vcpu = -1};
        int status = prepare(&machines[i]);
        if (status == 0) return i;
        cbench_close(i);
        return status;
    }
    return -EMFILE;
}

static int run_breaks(struct machine *m, uint64_t count) {
    struct kvm_guest_debug at = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
                                 .arch.debugreg = {[0] = CBENCH_BREAK_AT, [7] = 0x402}};
    struct kvm_guest_debug past = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
    for (uint64_t i = 0; i < count; i++) {
        if (ioctl(m->vcpu, KVM_SET_GUEST_DEBUG, &at)) return -errno;
        if (ioctl(m->vcpu, KVM_RUN, 0)) return -errno;
        if (m->run->exit_reason != KVM_EXIT_DEBUG || m->run->s.regs.regs.rip != CBENCH_BREAK_AT) return -EPROTO;
        // The condition, which is false.
        if (m->run->s.regs.regs.rcx == 1) return -EPROTO;
        if (ioctl(m->vcpu, KVM_SET_GUEST_DEBUG, &past)) return -errno;
        if (ioctl(m->vcpu, KVM_RUN, 0)) return -errno;
        if (m->run->exit_reason != KVM_EXIT_DEBUG) return -EPROTO;
    }
    return 0;
}

int cbench_copy(int number, uint64_t count) {
    struct machine *m = &machines[number];
    if (count > MEMORY - COPIES) return -EINVAL;
    if (!m->source) m->source = malloc(MEMORY - COPIES);
    if (!m->source) return -ENOMEM;
    memset(m->source, 1, MEMORY - COPIES);
    m->copied = count;
    return 0;
}

int cbench_run(int number, uint64_t count, uint64_t *nanoseconds) {
    struct machine *m = &machines[number];
    unsigned expected = m->guest == CBENCH_STEP      ? KVM_EXIT_DEBUG
                        : m->guest == CBENCH_PORT_OUT ? KVM_EXIT_IO
                                                      : KVM_EXIT_MMIO;
    volatile uint64_t sink = 0;
    uint64_t start = cbench_now();
    if (m->guest == CBENCH_BREAK) {
        int status = run_breaks(m, count);
        *nanoseconds = cbench_now() - start;
        return status;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (ioctl(m->vcpu, KVM_RUN, 0)) return -errno;
        if (m->run->exit_reason != expected) return -EPROTO;
        sink += m->run->s.regs.regs.rip + m->run->s.regs.sregs.cs.base;
        if (m->copied) memcpy((uint8_t *)m->memory + COPIES, m->source, m->copied);
    }
    *nanoseconds = cbench_now() - start;
    return 0;
}

void cbench_close(int number) {
    struct machine *m = &machines[number];
    if (m->run && m->run != MAP_FAILED) munmap(m->run, m->run_size);
    if (m->memory && m->memory != MAP_FAILED) munmap(m->memory, MEMORY);
    free(m->source);
    if (m->vcpu >= 0) close(m->vcpu);
    if (m->vm >= 0) close(m->vm);
    *m = (struct machine){0};
}

int cbench_spawn(const char *path, char *const arguments[], int columns, int rows, int *terminal) {
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    pid_t child = forkpty(terminal, NULL, NULL, &size);
    if (child < 0) return -errno;
    if (child == 0) {
        setenv("TERM", "xterm-256color", 1);
        execv(path, arguments);
        _exit(127);
    }
    return child;
}

int64_t cbench_find(uint64_t address, uint64_t count, const uint8_t *needle, uint64_t length,
                    uint64_t *nanoseconds) {
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)address;
    uint64_t start = cbench_now();
    const uint8_t *found = memmem(bytes, count, needle, length);
    *nanoseconds = cbench_now() - start;
    return found ? found - bytes : -1;
}

enum { ROOT = 0x1000, LEVELS = 4, PAGE = 4096, PRESENT = 7 };

const uint8_t *cbench_tables(uint64_t *length) {
    static uint64_t tables[LEVELS][PAGE / 8];
    for (int level = 0; level + 1 < LEVELS; level++) tables[level][0] = (uint64_t)(ROOT + (level + 1) * PAGE) | PRESENT;
    for (int page = 0; page < PAGE / 8; page++) tables[LEVELS - 1][page] = (uint64_t)page * PAGE | PRESENT;
    *length = sizeof tables;
    return (const uint8_t *)tables;
}

int cbench_open_paged(void) {
    int number = cbench_open(CBENCH_STEP);
    if (number < 0) return number;
    struct machine *m = &machines[number];
    uint64_t length;
    const uint8_t *tables = cbench_tables(&length);
    memcpy((uint8_t *)m->memory + ROOT, tables, length);

    struct kvm_sregs sregs;
    int status = ioctl(m->vcpu, KVM_GET_SREGS, &sregs) ? -errno : 0;
    sregs.cr3 = ROOT;
    sregs.cr4 = 0x20;       // PAE
    sregs.cr0 = 0x80000011; // PG, ET, PE
    sregs.efer = 0x500;     // LME, LMA
    if (!status && ioctl(m->vcpu, KVM_SET_SREGS, &sregs)) status = -errno;
    if (!status) return number;
    cbench_close(number);
    return status;
}

int cbench_translate(int number, uint64_t count, uint64_t *nanoseconds, uint64_t *sum) {
    struct machine *m = &machines[number];
    *sum = 0;
    uint64_t start = cbench_now();
    for (uint64_t i = 0; i < count; i++) {
        struct kvm_translation translation = {.linear_address = i * 0x1001 & 0x1FFFFF};
        if (ioctl(m->vcpu, KVM_TRANSLATE, &translation)) return -errno;
        if (!translation.valid) return -EPROTO;
        *sum += translation.physical_address;
    }
    *nanoseconds = cbench_now() - start;
    return 0;
}
