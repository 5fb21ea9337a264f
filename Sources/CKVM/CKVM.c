#define _GNU_SOURCE
#include "CKVM.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// RunLayout.swift reads struct kvm_run at these offsets.
#define AT(field, offset) _Static_assert(offsetof(struct kvm_run, field) == offset, "kvm_run." #field)
AT(request_interrupt_window, 0);
AT(immediate_exit, 1);
AT(exit_reason, 8);
AT(ready_for_interrupt_injection, 12);
AT(if_flag, 13);
AT(flags, 14);
AT(cr8, 16);
AT(apic_base, 24);
AT(hw.hardware_exit_reason, 32);
AT(fail_entry.hardware_entry_failure_reason, 32);
AT(fail_entry.cpu, 40);
AT(ex.exception, 32);
AT(ex.error_code, 36);
AT(io.direction, 32);
AT(io.size, 33);
AT(io.port, 34);
AT(io.count, 36);
AT(io.data_offset, 40);
AT(debug.arch.exception, 32);
AT(debug.arch.pc, 40);
AT(debug.arch.dr6, 48);
AT(debug.arch.dr7, 56);
AT(mmio.phys_addr, 32);
AT(mmio.data, 40);
AT(mmio.len, 48);
AT(mmio.is_write, 52);
AT(hypercall.nr, 32);
AT(hypercall.args, 40);
AT(hypercall.ret, 88);
AT(hypercall.longmode, 96);
AT(tpr_access.rip, 32);
AT(tpr_access.is_write, 40);
AT(internal.suberror, 32);
AT(internal.ndata, 36);
AT(internal.data, 40);
AT(emulation_failure.flags, 40);
AT(emulation_failure.insn_size, 48);
AT(emulation_failure.insn_bytes, 49);
AT(system_event.type, 32);
AT(system_event.ndata, 36);
AT(system_event.data, 40);
AT(eoi.vector, 32);
AT(hyperv.type, 32);
AT(hyperv.u.synic.control, 48);
AT(hyperv.u.hcall.params, 56);
AT(hyperv.u.syndbg.pending_page, 80);
AT(xen.type, 32);
AT(xen.u.hcall.longmode, 40);
AT(xen.u.hcall.input, 48);
AT(xen.u.hcall.params, 64);
AT(msr.error, 32);
AT(msr.reason, 40);
AT(msr.index, 44);
AT(msr.data, 48);
AT(notify.flags, 32);
AT(kvm_valid_regs, 288);
AT(kvm_dirty_regs, 296);
AT(s.regs.regs, 304);
AT(s.regs.sregs, 448);
AT(s.regs.events, 760);
AT(s.regs.regs.rip, 432);
_Static_assert(sizeof(struct kvm_sync_regs) == 520, "kvm_sync_regs");
_Static_assert(sizeof(struct kvm_run) == 2352, "kvm_run");

_Static_assert(sizeof(struct kvm_regs) == 144, "kvm_regs");
_Static_assert(sizeof(struct kvm_sregs) == 312, "kvm_sregs");
_Static_assert(sizeof(struct kvm_guest_debug) == 72, "kvm_guest_debug");
_Static_assert(offsetof(struct kvm_guest_debug, control) == 0, "kvm_guest_debug.control");
_Static_assert(sizeof(struct kvm_userspace_memory_region) == 32, "kvm_userspace_memory_region");
_Static_assert(sizeof(struct kvm_vcpu_events) == 64, "kvm_vcpu_events");
_Static_assert(sizeof(struct kvm_fpu) == 416, "kvm_fpu");
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "kvm_msr_entry");
_Static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "kvm_cpuid_entry2");
_Static_assert(sizeof(struct kvm_lapic_state) == 1024, "kvm_lapic_state");
_Static_assert(offsetof(struct kvm_dirty_log, dirty_bitmap) == 8, "kvm_dirty_log");
_Static_assert(offsetof(struct kvm_clear_dirty_log, dirty_bitmap) == 16, "kvm_clear_dirty_log");
_Static_assert(sizeof(struct kvm_stats_header) == 24, "kvm_stats_header");
_Static_assert(sizeof(struct kvm_stats_desc) == 16, "kvm_stats_desc");

_Static_assert(sizeof(struct kvm_irq_routing) == 8, "kvm_irq_routing");
_Static_assert(sizeof(struct kvm_irq_routing_entry) == 48, "kvm_irq_routing_entry");
_Static_assert(offsetof(struct kvm_irq_routing_entry, u) == 16, "kvm_irq_routing_entry.u");
_Static_assert(sizeof(struct kvm_irqfd) == 32, "kvm_irqfd");
_Static_assert(sizeof(struct kvm_ioeventfd) == 64, "kvm_ioeventfd");
_Static_assert(sizeof(struct kvm_create_device) == 12, "kvm_create_device");
_Static_assert(offsetof(struct kvm_device_attr, addr) == 16, "kvm_device_attr.addr");
_Static_assert(sizeof(struct kvm_nested_state) == 128, "kvm_nested_state");
_Static_assert(offsetof(struct kvm_nested_state, size) == 4, "kvm_nested_state.size");
_Static_assert(offsetof(struct kvm_nested_state, hdr) == 8, "kvm_nested_state.hdr");
_Static_assert(sizeof(struct kvm_dirty_gfn) == 16, "kvm_dirty_gfn");
_Static_assert(KVM_DIRTY_LOG_PAGE_OFFSET == 64, "KVM_DIRTY_LOG_PAGE_OFFSET");
// Numbers that the kernel's ABI cannot change: a header that has another is not the kernel's.
_Static_assert(KVM_RUN == 0xAE80 && KVM_CREATE_VM == 0xAE01 && KVM_CREATE_VCPU == 0xAE41, "requests");
_Static_assert((KVM_SET_USER_MEMORY_REGION2 & 0xFFFFFFFF) == 0x40A0AE49, "KVM_SET_USER_MEMORY_REGION2");

int ckvm_ioctl_value(int descriptor, unsigned long request, unsigned long value) {
    int result = ioctl(descriptor, request, value);
    return result < 0 ? -errno : result;
}

int ckvm_ioctl_pointer(int descriptor, unsigned long request, void *argument) {
    int result = ioctl(descriptor, request, argument);
    return result < 0 ? -errno : result;
}

int ckvm_ioctl_indirect(int descriptor, unsigned long request, void *argument, size_t offset, void *indirect) {
    memcpy((char *)argument + offset, &indirect, sizeof indirect);
    return ckvm_ioctl_pointer(descriptor, request, argument);
}

int ckvm_open(const char *path) {
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

void ckvm_close(int descriptor) { close(descriptor); }

long ckvm_pread(int descriptor, void *buffer, size_t count, uint64_t offset) {
    ssize_t result = pread(descriptor, buffer, count, (off_t)offset);
    return result < 0 ? -errno : result;
}

int ckvm_eventfd(void) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int ckvm_eventfd_add(int descriptor, uint64_t count) {
    return write(descriptor, &count, sizeof count) < 0 ? -errno : 0;
}

int ckvm_eventfd_take(int descriptor, uint64_t *count) {
    return read(descriptor, count, sizeof *count) < 0 ? -errno : 0;
}

static int map(int descriptor, size_t size, uint64_t offset, int flags, void **address) {
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, descriptor, (off_t)offset);
    if (mapped == MAP_FAILED) return -errno;
    *address = mapped;
    return 0;
}

int ckvm_map_descriptor(int descriptor, size_t size, uint64_t offset, void **address) {
    return map(descriptor, size, offset, MAP_SHARED, address);
}

int ckvm_map_anonymous(size_t size, void **address) {
    return map(-1, size, 0, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, address);
}

int ckvm_clear_anonymous(void *address, size_t size) {
    return madvise(address, size, MADV_REMOVE) == 0 ? 0 : -errno;
}

void ckvm_unmap(void *address, size_t size) { munmap(address, size); }

uint64_t ckvm_monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
