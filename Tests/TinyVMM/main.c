// A VMM of the tests' own, for being attached to:
// `TinyVMM LOG VCPUS [filter] [kick] [image=FILE] [stay] [bits32] [wide] [slots=N] [prompt] [mortal]
// [busy] [probe] [heir] [pause=N]`.
//
// LOG is a file that it maps and keeps true: every return of KVM_RUN that a vCPU's thread sees is counted there by
// kind, and every result of the guest's arithmetic is checked against the same arithmetic done here. `filter` puts
// a seccomp filter on the vCPU threads that allows the ioctl KVM_RUN and nothing else that matters; `kick` sends
// them a signal every `pause` microseconds (3000), whose EINTR is theirs; with `mask` it is one that is open in
// KVM_RUN alone (KVM_SET_SIGNAL_MASK), and is taken by sigtimedwait(). `image` runs another guest instead: the file at 0000:7C00, in
// real mode, on a machine whose ports answer 0xFF and whose HLT lasts a millisecond. SIGUSR2 plugs in one more
// vCPU. It runs until it is killed, or until who started it ends, unless `stay` is given. `bits32` makes a VM as a
// 32-bit program would, before its own. `wide` maps far more of `kvm_run` than KVM has. `slots` adds so
// many memslots of a page from 1 GiB on, each a page from the next. `mortal` ends it when its
// guest shuts down. `busy` makes the thread of its last vCPU go round in the VMM's own code after some exits, until
// SIGUSR1. `probe` makes a VM with no vCPU before its own. `heir` forks a process that has all its descriptors and does
// nothing.
//
// Odd ones, at each SIGUSR1: `loop` makes the `syscall` instruction of its KVM_RUN an endless loop, and the next time a
// `syscall` again; `thief` has the main thread run vCPU 0, until the next one; `exec` has vCPU 0's thread become
// `sleep`, and the main thread at SIGUSR2; `fork` has it make a child that sleeps, whose pid is the log's `halts`. `relay`
// sends it on to vCPU 0. `sync` is a VMM that lets KVM leave
// registers in `kvm_run` for itself, checks what it gets, and gives them back changed. With `late` a vCPU that is plugged
// in waits for SIGUSR1 before it runs. With `vfork` SIGUSR2 has the main thread wait four seconds for a child, or as many as `vfork=N` says. `harden` puts the
// filter on at SIGUSR1, and has `halts` 1 then. `freeze` has it never run a vCPU again after an exit that it does
// not know, as QEMU does after an internal error; with `refused` that exit is made a failed entry first. `scribble` has a thread of its own write over vCPU 0's `kvm_run` all the time.
//
// `TinyVMM run-with PARENT PROGRAM ARGUMENTS` is another program, which ends with the process that has started it.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { max_vcpus = 8, slots = 3 };

// The layout of the log, which the tests read.
struct vcpu_log {
    uint64_t thread;
    uint64_t returns;
    uint64_t io;
    uint64_t interrupted;
    uint64_t debug;
    uint64_t other;
    uint64_t other_reason;
    uint64_t rounds;
    uint64_t wrong;
    uint64_t commands;
    uint64_t last_command;
    uint64_t signals;
    uint64_t halts;
    // EINTR with no signal to the thread in that KVM_RUN.
    uint64_t unexplained;
};
struct slot_log {
    uint64_t gpa, size, hva, flags;
};
struct log {
    uint64_t ready;
    struct slot_log slot[slots];
    struct vcpu_log vcpu[max_vcpus];
    uint64_t heir;
    // Signals that none of the vCPUs' threads has taken.
    uint64_t elsewhere;
};

static struct log *logged;
static int kvm;
static int vm;
static size_t run_size;
static int with_filter;
static int with_image;
static int with_freeze, with_scribble, with_loop, with_thief, with_exec, with_fork, with_sync, with_late, with_vfork, with_harden,
    with_relay, with_mask, with_refused;
static int first_vcpu;
// mov eax, 16; syscall; ret
static volatile uint8_t *run_code;
static int with_mortal;
static uint64_t busy_vcpu = UINT64_MAX;
static volatile sig_atomic_t more;
static volatile sig_atomic_t pokes;
static volatile sig_atomic_t begun = 1;
static volatile sig_atomic_t released;
static pthread_mutex_t prompt = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t on_begin = PTHREAD_COND_INITIALIZER;
static __thread struct vcpu_log *mine;

// Real mode, at 0x1000. ESI holds the state; each round takes a number from port 0x11, mixes 64 times, and gives
// the state to port 0x10. A BX that is not 0 is given to port 0x12, and cleared.
static const uint8_t guest[] = {
    0x66, 0xED,                                // start: in eax, dx
    0x66, 0x01, 0xC6,                          //        add esi, eax
    0x66, 0xB9, 0x40, 0x00, 0x00, 0x00,        //        mov ecx, 64
    0x66, 0x69, 0xF6, 0x0D, 0x66, 0x19, 0x00,  // again: imul esi, esi, 1664525
    0x66, 0x81, 0xC6, 0x5F, 0xF3, 0x6E, 0x3C,  //        add esi, 1013904223
    0x66, 0x49,                                //        dec ecx
    0x75, 0xEE,                                //        jnz again
    0x66, 0x89, 0xF0,                          //        mov eax, esi
    0xBA, 0x10, 0x00,                          //        mov dx, 0x10
    0x66, 0xEF,                                //        out dx, eax
    0x85, 0xDB,                                //        test bx, bx
    0x74, 0x08,                                //        jz quiet
    0x89, 0xD8,                                //        mov ax, bx
    0xBA, 0x12, 0x00,                          //        mov dx, 0x12
    0xEF,                                      //        out dx, ax
    0x31, 0xDB,                                //        xor bx, bx
    0xBA, 0x11, 0x00,                          // quiet: mov dx, 0x11
    0xEB, 0xCA,                                //        jmp start
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void on_signal(int number) {
    if (number == SIGUSR2) more = 1;
    if (number == SIGUSR1) begun = released = 1, pokes++;
    if (mine) mine->signals++;
    else __atomic_fetch_add(&logged->elsewhere, 1, __ATOMIC_SEQ_CST);
}

static void install_filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        fail("seccomp");
    }
}

// What the host can do; without it a guest has no 64-bit mode.
static void set_cpuid(int vcpu) {
    enum { most = 256 };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + most * sizeof *cpuid->entries);
    if (!cpuid) fail("calloc");
    cpuid->nent = most;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid)) fail("KVM_GET_SUPPORTED_CPUID");
    if (ioctl(vcpu, KVM_SET_CPUID2, cpuid)) fail("KVM_SET_CPUID2");
    free(cpuid);
}

static int run_once(int vcpu) {
    if (!run_code) return ioctl(vcpu, KVM_RUN, 0);
    long result = ((long (*)(long, long, long))(uintptr_t)run_code)(vcpu, KVM_RUN, 0);
    if (result < 0) errno = (int)-result;
    return result < 0 ? -1 : (int)result;
}

// With registers from each exit: their RSI is the state. BX is used for a number of its own, which has to come back.
static void check_synchronised(struct kvm_run *run, struct vcpu_log *log, uint64_t *own, uint32_t state) {
    struct kvm_regs *regs = &run->s.regs.regs;
    if (run->io.port != 0x10) return;
    if (regs->rflags == 0 || (uint32_t)regs->rsi != state || (*own && regs->r15 != *own)) log->wrong++;
    regs->r15 = ++*own;
    run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

// SIGUSR1 ends KVM_RUN, and is nowhere else delivered.
static void open_in_run_alone(int vcpu) {
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &kick, NULL);
    // struct kvm_signal_mask: the length of the kernel's set, and the set, which is empty.
    uint8_t mask[sizeof(uint32_t) + 8] = {8};
    if (ioctl(vcpu, KVM_SET_SIGNAL_MASK, mask)) fail("KVM_SET_SIGNAL_MASK");
}

static void take_kicks(struct vcpu_log *log) {
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, SIGUSR1);
    while (sigtimedwait(&kick, NULL, &(struct timespec){0, 0}) == SIGUSR1) log->signals++;
}

// What the VMM's own bugs may do to kvm_run, again and again: immediate_exit is taken back, and the reason is wrong.
static void *scribble(void *run) {
    volatile uint8_t *bytes = run;
    for (;;) {
        bytes[offsetof(struct kvm_run, immediate_exit)] = 0;
        *(volatile uint32_t *)(bytes + offsetof(struct kvm_run, exit_reason)) = 0xA5A5A5A5;
    }
    return NULL;
}

static void *run_vcpu(void *argument) {
    uint64_t id = (uint64_t)(uintptr_t)argument;
    struct vcpu_log *log = &logged->vcpu[id];
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, id);
    if (vcpu < 0) fail("KVM_CREATE_VCPU");
    struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) fail("mmap kvm_run");
    if (with_image) set_cpuid(vcpu);
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    memset(&regs, 0, sizeof regs);
    ioctl(vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = 0;
    ioctl(vcpu, KVM_SET_SREGS, &sregs);
    uint32_t state = 12345 + (uint32_t)id, given = 1;
    regs.rip = with_image ? 0x7C00 : 0x1000;
    regs.rflags = 2;
    regs.rsi = state;
    regs.rdx = 0x11;
    regs.rsp = with_image ? 0x7000 - id * 0x400 : 0x8000;
    ioctl(vcpu, KVM_SET_REGS, &regs);
    if (id == 0) first_vcpu = vcpu;
    pthread_t scribbler;
    if (id == 0 && with_scribble) pthread_create(&scribbler, NULL, scribble, run);
    if (with_sync) run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    uint64_t own = 0;
    mine = log;
    log->thread = (uint64_t)gettid();
    __atomic_fetch_add(&logged->ready, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&prompt);
    while (!begun) pthread_cond_wait(&on_begin, &prompt);
    pthread_mutex_unlock(&prompt);
    int is_hardened = 0;
    while (with_late && id > 0 && !pokes) usleep(1000);
    if (with_mask) open_in_run_alone(vcpu);
    if (with_filter) install_filter();
    for (;;) {
        while (id == busy_vcpu && log->rounds >= 10 && !released) {
        }
        uint64_t signals = log->signals;
        int result = run_once(vcpu);
        log->returns++;
        if (with_exec && pokes && id == 0) execl("/bin/sleep", "sleep", "60", NULL);
        if (with_harden && pokes && !is_hardened) {
            is_hardened = 1;
            install_filter();
            log->halts = 1;
        }
        if (with_fork && pokes && id == 0) {
            pokes = 0;
            pid_t child = fork();
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                sleep(60);
                _exit(0);
            }
            log->halts = (uint64_t)child;
        }
        if (result < 0) {
            if (errno == EINTR && with_mask) {
                take_kicks(log);
                errno = EINTR;
            }
            if (errno == EINTR) log->interrupted++, log->unexplained += log->signals == signals;
            else log->other++, log->other_reason = (uint64_t)errno << 32;
            continue;
        }
        if (run->exit_reason == KVM_EXIT_DEBUG) {
            log->debug++;
            continue;
        }
        if (with_image && run->exit_reason == KVM_EXIT_HLT) {
            log->halts++;
            usleep(1000);
            continue;
        }
        if (with_image && run->exit_reason == KVM_EXIT_IO) {
            log->io++;
            if (run->io.direction == KVM_EXIT_IO_IN) {
                memset((char *)run + run->io.data_offset, 0xFF, (size_t)run->io.size * run->io.count);
            }
            continue;
        }
        if (run->exit_reason != KVM_EXIT_IO) {
            if (with_refused) {
                run->exit_reason = KVM_EXIT_FAIL_ENTRY;
                run->fail_entry.hardware_entry_failure_reason = 0x80000021;
                run->fail_entry.cpu = 1;
            }
            log->other++;
            log->other_reason = run->exit_reason;
            if (with_mortal && run->exit_reason == KVM_EXIT_SHUTDOWN) exit(0);
            while (with_freeze) pause();
            continue;
        }
        log->io++;
        uint32_t *data = (uint32_t *)((char *)run + run->io.data_offset);
        if (run->io.port == 0x11) {
            given = given * 69069 + 1;
            *data = given;
            state += given;
            for (int i = 0; i < 64; i++) state = state * 1664525u + 1013904223u;
        } else if (run->io.port == 0x10) {
            if (*data == state) log->rounds++;
            else log->wrong++, state = *data;
            if (with_sync) check_synchronised(run, log, &own, state);
        } else if (run->io.port == 0x12) {
            log->last_command = *(uint16_t *)data;
            log->commands++;
        } else {
            // None of its guest's own.
            log->other++;
            log->other_reason = (uint64_t)run->io.port << 16;
        }
    }
    return NULL;
}

// A process that has the descriptors, which KVM does not let it use.
static void fork_heir(void) {
    pid_t heir = fork();
    if (heir < 0) fail("fork");
    if (heir == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    logged->heir = (uint64_t)heir;
}

// KVM_CREATE_VM through the calls of 32-bit programs: ioctl is 54 there.
static void create_vm_as_32_bit(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(54), "b"(kvm), "c"(KVM_CREATE_VM), "d"(0) : "memory");
    if (result < 0) fail("KVM_CREATE_VM by int 0x80");
}

// Another program in our place, which ends with the process that has started us: run-with PARENT PROGRAM ARGUMENTS.
static int become(char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != atoi(arguments[2])) return 1;
    execvp(arguments[3], arguments + 3);
    fail(arguments[3]);
    return 1;
}

int main(int count, char **arguments) {
    if (count > 3 && !strcmp(arguments[1], "run-with")) return become(arguments);
    if (count < 3) return 2;
    unsigned vcpus = (unsigned)atoi(arguments[2]);
    int with_kick = 0, with_stay = 0;
    useconds_t pause_between_kicks = 3000;
    for (int i = 3; i < count; i++) {
        if (!strcmp(arguments[i], "filter")) with_filter = 1;
        if (!strcmp(arguments[i], "kick")) with_kick = 1;
        if (!strncmp(arguments[i], "pause=", 6)) pause_between_kicks = (useconds_t)atoi(arguments[i] + 6);
        if (!strcmp(arguments[i], "loop")) with_loop = 1;
        if (!strcmp(arguments[i], "thief")) with_thief = 1;
        if (!strcmp(arguments[i], "relay")) with_relay = 1;
        if (!strcmp(arguments[i], "mask")) with_mask = 1;
        if (!strcmp(arguments[i], "exec")) with_exec = 1;
        if (!strcmp(arguments[i], "fork")) with_fork = 1;
        if (!strcmp(arguments[i], "sync")) with_sync = 1;
        if (!strcmp(arguments[i], "late")) with_late = 1;
        if (!strcmp(arguments[i], "harden")) with_harden = 1;
        if (!strcmp(arguments[i], "vfork")) with_vfork = 4;
        if (!strncmp(arguments[i], "vfork=", 6)) with_vfork = atoi(arguments[i] + 6);
        if (!strcmp(arguments[i], "scribble")) with_scribble = 1;
        if (!strcmp(arguments[i], "freeze")) with_freeze = 1;
        if (!strcmp(arguments[i], "refused")) with_refused = 1;
        if (!strncmp(arguments[i], "image=", 6)) with_image = open(arguments[i] + 6, O_RDONLY | O_CLOEXEC);
    }
    int with_prompt = 0, with_heir = 0;
    for (int i = 3; i < count; i++) with_prompt |= !strcmp(arguments[i], "prompt");
    for (int i = 3; i < count; i++) {
        if (!strcmp(arguments[i], "busy")) busy_vcpu = vcpus - 1;
    }
    begun = !with_prompt;
    if (with_image < 0) fail("image");
    if (vcpus < 1 || vcpus > max_vcpus) return 2;
    for (int i = 3; i < count; i++) {
        if (!strcmp(arguments[i], "stay")) with_stay = 1;
        if (!strcmp(arguments[i], "mortal")) with_mortal = 1;
        if (!strcmp(arguments[i], "bits32")) create_vm_as_32_bit();
    }
    if (!with_stay) prctl(PR_SET_PDEATHSIG, SIGKILL);
    int file = open(arguments[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, sizeof *logged)) fail("log");
    logged = mmap(NULL, sizeof *logged, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (logged == MAP_FAILED) fail("map log");

    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) fail("/dev/kvm");
    run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    for (int i = 3; i < count; i++) {
        if (!strcmp(arguments[i], "probe") && ioctl(kvm, KVM_CREATE_VM, 0) < 0) fail("KVM_CREATE_VM");
        if (!strcmp(arguments[i], "heir")) with_heir = 1;
        if (!strcmp(arguments[i], "wide")) run_size = (size_t)8 << 30;
    }
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) fail("KVM_CREATE_VM");
    static const struct slot_log plan[slots] = {
        {0, 0x100000, 0, 0}, {0x100000, 0x10000, 0, KVM_MEM_READONLY}, {0x200000, 0x200000, 0, 0}};
    for (unsigned i = 0; i < slots; i++) {
        char *memory = mmap(NULL, plan[i].size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) fail("mmap");
        if (i == 0) memcpy(memory + 0x1000, guest, sizeof guest);
        if (i == 0 && with_image && read(with_image, memory + 0x7C00, 0x8400) < 0) fail("image");
        if (i == 1) memcpy(memory, "read only", 9);
        logged->slot[i] = plan[i];
        logged->slot[i].hva = (uint64_t)(uintptr_t)memory;
        struct kvm_userspace_memory_region region = {
            i, (uint32_t)plan[i].flags, plan[i].gpa, plan[i].size, (uint64_t)(uintptr_t)memory};
        if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region)) fail("KVM_SET_USER_MEMORY_REGION");
    }
    unsigned more_slots = 0;
    for (int i = 3; i < count; i++) {
        if (!strncmp(arguments[i], "slots=", 6)) more_slots = (unsigned)atoi(arguments[i] + 6);
    }
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < more_slots; i++) {
        struct kvm_userspace_memory_region region = {
            slots + i, 0, (1ull << 30) + i * 8192ull, 4096, (uint64_t)(uintptr_t)page};
        if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region)) fail("KVM_SET_USER_MEMORY_REGION");
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    // Who starts it may have blocked any.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    if (with_loop) {
        static const uint8_t code[] = {0xB8, SYS_ioctl, 0, 0, 0, 0x0F, 0x05, 0xC3};
        uint8_t *page = mmap(
            NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) fail("mmap");
        memcpy(page, code, sizeof code);
        run_code = page;
    }
    pthread_t thread[max_vcpus];
    int poked = 0;
    uint64_t relayed = 0;
    for (unsigned i = 0; i < vcpus; i++) pthread_create(&thread[i], NULL, run_vcpu, (void *)(uintptr_t)i);
    if (with_heir) {
        while (__atomic_load_n(&logged->ready, __ATOMIC_SEQ_CST) < vcpus) usleep(1000);
        fork_heir();
    }
    for (unsigned i = 0;; i++) {
        usleep(with_kick ? pause_between_kicks : 1000000);
        if (with_loop && pokes != poked) {
            poked = pokes;
            // jmp $
            *(volatile uint16_t *)(run_code + 5) = pokes & 1 ? 0xFEEB : 0x050F;
        }
        for (; with_relay && relayed < logged->elsewhere; relayed++) pthread_kill(thread[0], SIGUSR1);
        while (with_thief && pokes & 1) ioctl(first_vcpu, KVM_RUN, 0);
        if (with_prompt && begun) {
            pthread_mutex_lock(&prompt);
            pthread_cond_broadcast(&on_begin);
            pthread_mutex_unlock(&prompt);
        }
        if (more && with_exec) execl("/bin/sleep", "sleep", "60", NULL);
        if (more && with_vfork) {
            more = 0;
            // The child has no other thread to come to: it is the kernel that keeps this one.
            if (vfork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                nanosleep(&(struct timespec){with_vfork, 0}, NULL);
                _exit(0);
            }
        }
        if (more && vcpus < max_vcpus) {
            more = 0;
            pthread_create(&thread[vcpus], NULL, run_vcpu, (void *)(uintptr_t)vcpus);
            vcpus++;
        }
        if (with_kick && __atomic_load_n(&logged->ready, __ATOMIC_SEQ_CST) == vcpus) {
            pthread_kill(thread[i % vcpus], SIGUSR1);
        }
    }
}
