#pragma once

// The fence over <linux/kvm.h>: the layouts that Swift relies on, request numbers as constants (Swift does not
// import the _IOR family of macros), and the system calls that Swift cannot make. No policy.

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

// Exit reasons newer than the oldest header that this builds with (Debian 12 has that of Linux 6.1).
#ifndef KVM_EXIT_LOONGARCH_IOCSR
#define KVM_EXIT_LOONGARCH_IOCSR 38
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef KVM_EXIT_TDX
#define KVM_EXIT_TDX 40
#endif
#ifndef KVM_EXIT_SNP_REQ_CERTS
#define KVM_EXIT_SNP_REQ_CERTS 43
#endif

// Calls and capabilities newer than that header.
#ifndef KVM_SET_USER_MEMORY_REGION2
struct ckvm_userspace_memory_region2 {
    struct kvm_userspace_memory_region region;
    uint64_t guest_memfd_offset;
    uint32_t guest_memfd;
    uint32_t pad1;
    uint64_t pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct ckvm_userspace_memory_region2)
#endif

// Request numbers, by the name of the call.
#define CKVM_REQUEST(lower, upper) static const unsigned long ckvm_##lower = upper
CKVM_REQUEST(get_api_version, KVM_GET_API_VERSION);
CKVM_REQUEST(create_vm, KVM_CREATE_VM);
CKVM_REQUEST(get_msr_index_list, KVM_GET_MSR_INDEX_LIST);
CKVM_REQUEST(check_extension, KVM_CHECK_EXTENSION);
CKVM_REQUEST(get_vcpu_mmap_size, KVM_GET_VCPU_MMAP_SIZE);
CKVM_REQUEST(get_supported_cpuid, KVM_GET_SUPPORTED_CPUID);
CKVM_REQUEST(create_vcpu, KVM_CREATE_VCPU);
CKVM_REQUEST(get_dirty_log, KVM_GET_DIRTY_LOG);
CKVM_REQUEST(clear_dirty_log, KVM_CLEAR_DIRTY_LOG);
CKVM_REQUEST(set_user_memory_region, KVM_SET_USER_MEMORY_REGION);
CKVM_REQUEST(set_user_memory_region2, KVM_SET_USER_MEMORY_REGION2);
CKVM_REQUEST(reset_dirty_rings, KVM_RESET_DIRTY_RINGS);
CKVM_REQUEST(set_gsi_routing, KVM_SET_GSI_ROUTING);
CKVM_REQUEST(irqfd, KVM_IRQFD);
CKVM_REQUEST(ioeventfd, KVM_IOEVENTFD);
CKVM_REQUEST(create_device, KVM_CREATE_DEVICE);
CKVM_REQUEST(set_device_attr, KVM_SET_DEVICE_ATTR);
CKVM_REQUEST(get_device_attr, KVM_GET_DEVICE_ATTR);
CKVM_REQUEST(has_device_attr, KVM_HAS_DEVICE_ATTR);
CKVM_REQUEST(set_tss_addr, KVM_SET_TSS_ADDR);
CKVM_REQUEST(set_identity_map_addr, KVM_SET_IDENTITY_MAP_ADDR);
CKVM_REQUEST(set_boot_cpu_id, KVM_SET_BOOT_CPU_ID);
CKVM_REQUEST(create_irqchip, KVM_CREATE_IRQCHIP);
CKVM_REQUEST(get_irqchip, KVM_GET_IRQCHIP);
CKVM_REQUEST(set_irqchip, KVM_SET_IRQCHIP);
CKVM_REQUEST(create_pit2, KVM_CREATE_PIT2);
CKVM_REQUEST(get_pit2, KVM_GET_PIT2);
CKVM_REQUEST(set_pit2, KVM_SET_PIT2);
CKVM_REQUEST(irq_line, KVM_IRQ_LINE);
CKVM_REQUEST(signal_msi, KVM_SIGNAL_MSI);
CKVM_REQUEST(get_clock, KVM_GET_CLOCK);
CKVM_REQUEST(set_clock, KVM_SET_CLOCK);
CKVM_REQUEST(enable_cap, KVM_ENABLE_CAP);
CKVM_REQUEST(get_stats_fd, KVM_GET_STATS_FD);
CKVM_REQUEST(set_msr_filter, KVM_X86_SET_MSR_FILTER);
CKVM_REQUEST(run, KVM_RUN);
CKVM_REQUEST(get_regs, KVM_GET_REGS);
CKVM_REQUEST(set_regs, KVM_SET_REGS);
CKVM_REQUEST(get_sregs, KVM_GET_SREGS);
CKVM_REQUEST(set_sregs, KVM_SET_SREGS);
CKVM_REQUEST(get_fpu, KVM_GET_FPU);
CKVM_REQUEST(set_fpu, KVM_SET_FPU);
CKVM_REQUEST(get_xsave, KVM_GET_XSAVE);
CKVM_REQUEST(get_xsave2, KVM_GET_XSAVE2);
CKVM_REQUEST(set_xsave, KVM_SET_XSAVE);
CKVM_REQUEST(get_xcrs, KVM_GET_XCRS);
CKVM_REQUEST(set_xcrs, KVM_SET_XCRS);
CKVM_REQUEST(get_debugregs, KVM_GET_DEBUGREGS);
CKVM_REQUEST(set_debugregs, KVM_SET_DEBUGREGS);
CKVM_REQUEST(get_msrs, KVM_GET_MSRS);
CKVM_REQUEST(set_msrs, KVM_SET_MSRS);
CKVM_REQUEST(get_cpuid2, KVM_GET_CPUID2);
CKVM_REQUEST(set_cpuid2, KVM_SET_CPUID2);
CKVM_REQUEST(get_lapic, KVM_GET_LAPIC);
CKVM_REQUEST(set_lapic, KVM_SET_LAPIC);
CKVM_REQUEST(get_mp_state, KVM_GET_MP_STATE);
CKVM_REQUEST(set_mp_state, KVM_SET_MP_STATE);
CKVM_REQUEST(get_vcpu_events, KVM_GET_VCPU_EVENTS);
CKVM_REQUEST(set_vcpu_events, KVM_SET_VCPU_EVENTS);
CKVM_REQUEST(get_tsc_khz, KVM_GET_TSC_KHZ);
CKVM_REQUEST(set_tsc_khz, KVM_SET_TSC_KHZ);
CKVM_REQUEST(translate, KVM_TRANSLATE);
CKVM_REQUEST(interrupt, KVM_INTERRUPT);
CKVM_REQUEST(nmi, KVM_NMI);
CKVM_REQUEST(smi, KVM_SMI);
CKVM_REQUEST(get_nested_state, KVM_GET_NESTED_STATE);
CKVM_REQUEST(set_nested_state, KVM_SET_NESTED_STATE);
CKVM_REQUEST(set_guest_debug, KVM_SET_GUEST_DEBUG);
#undef CKVM_REQUEST

// ioctl(descriptor, request, value): the result, or -errno.
int ckvm_ioctl_value(int descriptor, unsigned long request, unsigned long value);
// ioctl(descriptor, request, argument): the result, or -errno.
int ckvm_ioctl_pointer(int descriptor, unsigned long request, void *argument);
// The same with the address of `indirect` stored at `offset` in `argument` first.
int ckvm_ioctl_indirect(int descriptor, unsigned long request, void *argument, size_t offset, void *indirect);

// open(path, O_RDWR | O_CLOEXEC): the descriptor, or -errno.
int ckvm_open(const char *path);
void ckvm_close(int descriptor);
// pread(): bytes read, or -errno.
long ckvm_pread(int descriptor, void *buffer, size_t count, uint64_t offset);

// eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK): the descriptor, or -errno.
int ckvm_eventfd(void);
// write() of a count to an eventfd: 0, or -errno.
int ckvm_eventfd_add(int descriptor, uint64_t count);
// read() of an eventfd: 0 and *count, or -errno; -EAGAIN where the count is 0.
int ckvm_eventfd_take(int descriptor, uint64_t *count);

// mmap(MAP_SHARED, read and write) of `descriptor` from `offset`: 0 and *address, or -errno.
int ckvm_map_descriptor(int descriptor, size_t size, uint64_t offset, void **address);
// mmap(MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, read and write): 0 and *address, or -errno.
int ckvm_map_anonymous(size_t size, void **address);
// madvise(MADV_REMOVE) of a mapping that ckvm_map_anonymous made: all of it reads as zeroes. 0 or -errno.
int ckvm_clear_anonymous(void *address, size_t size);
void ckvm_unmap(void *address, size_t size);

// CLOCK_MONOTONIC, nanoseconds.
uint64_t ckvm_monotonic(void);

// Accesses to bytes that another thread, or the kernel, uses at the same time.
static inline uint8_t ckvm_load_byte(const volatile void *byte) {
    return __atomic_load_n((const volatile uint8_t *)byte, __ATOMIC_SEQ_CST);
}
static inline void ckvm_or_byte(volatile void *byte, uint8_t bits) {
    __atomic_fetch_or((volatile uint8_t *)byte, bits, __ATOMIC_SEQ_CST);
}
static inline void ckvm_and_byte(volatile void *byte, uint8_t bits) {
    __atomic_fetch_and((volatile uint8_t *)byte, bits, __ATOMIC_SEQ_CST);
}
// The flags of a dirty ring's entry, which say whose the rest of it is.
static inline uint32_t ckvm_load_acquire(const volatile void *word) {
    return __atomic_load_n((const volatile uint32_t *)word, __ATOMIC_ACQUIRE);
}
static inline void ckvm_store_release(volatile void *word, uint32_t value) {
    __atomic_store_n((volatile uint32_t *)word, value, __ATOMIC_RELEASE);
}
