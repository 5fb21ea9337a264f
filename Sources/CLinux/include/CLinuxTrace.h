#pragma once

// The fence for looking into another process: ptrace, wait, pidfd, its memory, and bpf. Every call returns its
// result or -errno. No policy.

#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

// Options of PTRACE_SEIZE and PTRACE_SETOPTIONS.
static const unsigned long clinux_option_sysgood = 1;
static const unsigned long clinux_option_fork = 2;
static const unsigned long clinux_option_vfork = 4;
static const unsigned long clinux_option_clone = 8;
static const unsigned long clinux_option_exec = 16;
static const unsigned long clinux_option_exit = 64;
static const unsigned long clinux_option_suspend_seccomp = 1UL << 21;

// The ways to let a stopped thread go, by their PTRACE_ numbers.
static const int clinux_go_free = 7;
static const int clinux_go_detach = 17;
static const int clinux_go_syscall = 24;
static const int clinux_go_listen = 0x4208;

static const int clinux_event_fork = 1;
static const int clinux_event_vfork = 2;
static const int clinux_event_clone = 3;
static const int clinux_event_exec = 4;
static const int clinux_event_exit = 6;
static const int clinux_event_stop = 128;

// PTRACE_GET_SYSCALL_INFO, the part that is asked for. `op`: 0 none, 1 entry, 2 exit, 3 seccomp.
struct clinux_syscall_info {
    uint8_t op;
    uint32_t arch;
    uint64_t number;
    uint64_t arguments[6];
    int64_t result; // of an exit; -errno where it failed
};

int clinux_ptrace_seize(int thread, unsigned long options);
int clinux_ptrace_options(int thread, unsigned long options);
int clinux_ptrace_interrupt(int thread);
// `how` is one of clinux_go_*; `signal` is delivered first, 0 for none.
int clinux_ptrace_go(int how, int thread, int signal);
int clinux_ptrace_get_registers(int thread, struct user_regs_struct *registers);
int clinux_ptrace_set_registers(int thread, const struct user_regs_struct *registers);
// Of an event of fork, vfork or clone: the new thread.
int clinux_ptrace_event_message(int thread, unsigned long *message);
int clinux_ptrace_get_signal_mask(int thread, uint64_t *mask);
int clinux_ptrace_set_signal_mask(int thread, uint64_t mask);
int clinux_ptrace_syscall_info(int thread, struct clinux_syscall_info *info);
// waitpid(thread, status, __WALL): the thread, 0 if `block` is 0 and there is nothing to say, or -errno.
int clinux_wait(int thread, int *status, int block);
// waitid(P_PID, thread) for the next stop of one that is traced; its end is left for others to take: the thread, 0 once it
// has ended, or -errno. *status is as waitpid's.
int clinux_wait_traced(int thread, int *status);

int clinux_pidfd_open(int process);
int clinux_pidfd_getfd(int pidfd, int descriptor);
// kcmp(KCMP_FILE) of two descriptors of a process: 1 where they are one open file, 0 where not, or -errno.
int clinux_same_file(int process, int first, int second);
// process_vm_readv and process_vm_writev of one range: bytes, or -errno.
long clinux_process_read(int process, uint64_t address, void *buffer, size_t count);
long clinux_process_write(int process, uint64_t address, const void *buffer, size_t count);
// mmap(MAP_SHARED): 0 and *address, or -errno.
int clinux_map_shared(int descriptor, size_t size, int writable, void **address);
int clinux_unmap(void *address, size_t size);

// memmem(): where `needle` first is, or NULL.
const void *clinux_find(const void *bytes, size_t count, const void *needle, size_t needle_count);

// A pair of SOCK_SEQPACKET sockets, close-on-exec: 0, or -errno.
int clinux_socket_pair(int sockets[2]);
// send and recv of one message; MSG_NOSIGNAL. `block` 0: -EAGAIN where it would wait.
long clinux_send(int socket, const void *bytes, size_t count);
long clinux_receive(int socket, void *bytes, size_t count, int block);
// Starts `path` in a session of its own, with `socket` as its descriptor 3, `shared`, if it is not -1, as its
// descriptor 4, and nothing else of ours: the pid.
int clinux_spawn_detached(const char *path, const char *const arguments[], int socket, int shared);
// Memory that processes share by its descriptor (memfd_create), close-on-exec, all zeros: the descriptor, or -errno.
int clinux_shared_memory(const char *name, size_t size);
// Waits for a child to end: its status, or -errno; within a time, or -ETIMEDOUT.
int clinux_reap(int process);
int clinux_reap_within(int process, int milliseconds);
// Starts a program that the caller traces from its first instruction on, with `options` of PTRACE_SEIZE. Its standard
// input is read from the file `input`, its output and errors go to the end of the file `output`; it has no other
// descriptor. `arguments` ends with NULL; the first is looked for in PATH. The pid, or -errno of what failed, exec
// included.
int clinux_launch(
    const char *const arguments[], const char *input, const char *output, unsigned long options);
int clinux_kill(int process, int signal);

// Makes SIGCHLD and SIGIO wait to be taken by clinux_next_signal, and ignores those that would end the caller; SIGTERM
// is remembered.
int clinux_hold_signals(void);
// Whether SIGTERM has come since.
int clinux_end_is_asked(void);
// SIGIO to this thread when `socket` has something to read, or its other end is gone.
int clinux_signal_on_data(int socket);
// The signal taken, -EAGAIN after `nanoseconds`, or -errno.
int clinux_next_signal(uint64_t nanoseconds);

// A byte that other processes and the kernel use at the same time.
static inline void clinux_or_byte(volatile void *byte, uint8_t bits) {
    if (byte) __atomic_fetch_or((volatile uint8_t *)byte, bits, __ATOMIC_SEQ_CST);
}
static inline void clinux_and_byte(volatile void *byte, uint8_t bits) {
    if (byte) __atomic_fetch_and((volatile uint8_t *)byte, bits, __ATOMIC_SEQ_CST);
}

// Takes the lock (flock) on /proc/PROCESS/mem, which one process of the host can have at a time, until it closes the
// descriptor or ends: the descriptor, or -errno; -EWOULDBLOCK where another one has it. Only who may trace the process
// can open that file, so nobody else can keep a debugger off it.
int clinux_claim(int process);

struct clinux_bpf_instruction {
    uint8_t code;
    uint8_t registers;  // destination in bits 0-3, source in bits 4-7
    int16_t offset;
    int32_t immediate;
};
static const int clinux_bpf_syscall_program = 31;
static const int clinux_bpf_tracing_program = 26;
static const int clinux_bpf_trace_iterator = 28;
static const int clinux_bpf_sleepable = 1 << 4;
// BPF_PROG_LOAD, license GPL: the descriptor, or -errno.
int clinux_bpf_load(
    int type, int attach, uint32_t btf, uint32_t flags, const struct clinux_bpf_instruction *instructions,
    uint32_t count, char *log, uint32_t log_size);
// BPF_LINK_CREATE of an iterator over one process, then BPF_ITER_CREATE: a descriptor to read, or -errno.
int clinux_bpf_iterate(int program, int process);
// BPF_PROG_TEST_RUN with a context: 0, or -errno.
int clinux_bpf_run(int program, void *context, uint32_t size);
