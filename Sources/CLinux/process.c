#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int result_of(long result) { return result < 0 ? -errno : (int)result; }

int clinux_pidfd_open(int process) { return result_of(syscall(SYS_pidfd_open, process, 0)); }

int clinux_pidfd_getfd(int pidfd, int descriptor) {
    return result_of(syscall(SYS_pidfd_getfd, pidfd, descriptor, 0));
}

int clinux_same_file(int process, int first, int second) {
    int result = result_of(syscall(SYS_kcmp, process, process, KCMP_FILE, first, second));
    // 1 and 2 say how two that differ are ordered.
    return result < 0 ? result : result == 0;
}

long clinux_process_read(int process, uint64_t address, void *buffer, size_t count) {
    struct iovec here = {buffer, count};
    struct iovec there = {(void *)(uintptr_t)address, count};
    ssize_t result = process_vm_readv(process, &here, 1, &there, 1, 0);
    return result < 0 ? -errno : result;
}

long clinux_process_write(int process, uint64_t address, const void *buffer, size_t count) {
    struct iovec here = {(void *)buffer, count};
    struct iovec there = {(void *)(uintptr_t)address, count};
    ssize_t result = process_vm_writev(process, &here, 1, &there, 1, 0);
    return result < 0 ? -errno : result;
}

int clinux_map_shared(int descriptor, size_t size, int writable, void **address) {
    void *result = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, descriptor, 0);
    if (result == MAP_FAILED) return -errno;
    *address = result;
    return 0;
}

int clinux_unmap(void *address, size_t size) { return result_of(munmap(address, size)); }

const void *clinux_find(const void *bytes, size_t count, const void *needle, size_t needle_count) {
    return memmem(bytes, count, needle, needle_count);
}

int clinux_socket_pair(int sockets[2]) {
    return result_of(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
}

long clinux_send(int socket, const void *bytes, size_t count) {
    ssize_t result;
    do {
        result = send(socket, bytes, count, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

long clinux_receive(int socket, void *bytes, size_t count, int block) {
    ssize_t result;
    do {
        result = recv(socket, bytes, count, block ? 0 : MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

int clinux_spawn_detached(const char *path, const char *const arguments[], int socket, int shared) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t child = 0;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, socket, 3);
    if (shared >= 0) posix_spawn_file_actions_adddup2(&actions, shared, 4);
    posix_spawn_file_actions_addclosefrom_np(&actions, shared >= 0 ? 5 : 4);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawn(&child, path, &actions, &attributes, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error ? -error : child;
}

// Above the numbers that a program which is started finds its own at.
static int raised(int descriptor) {
    if (descriptor < 0) return -errno;
    int result = result_of(fcntl(descriptor, F_DUPFD_CLOEXEC, 16));
    close(descriptor);
    return result;
}

int clinux_shared_memory(const char *name, size_t size) {
    int descriptor = raised(memfd_create(name, MFD_CLOEXEC));
    if (descriptor < 0 || ftruncate(descriptor, (off_t)size) == 0) return descriptor;
    int error = errno;
    close(descriptor);
    return -error;
}

int clinux_reap(int process) {
    int status, result;
    do {
        result = waitpid(process, &status, 0);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : status;
}

int clinux_reap_within(int process, int milliseconds) {
    int pidfd = clinux_pidfd_open(process);
    if (pidfd < 0) return pidfd;
    struct pollfd ended = {pidfd, POLLIN, 0};
    while (poll(&ended, 1, milliseconds) < 0 && errno == EINTR) {}
    close(pidfd);
    return ended.revents ? clinux_reap(process) : -ETIMEDOUT;
}

static volatile sig_atomic_t end_is_asked;

static void ask_for_end(int number) { end_is_asked = number; }

int clinux_end_is_asked(void) { return end_is_asked != 0; }

int clinux_hold_signals(void) {
    static const int ignored[] = {SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
    struct sigaction ask = {.sa_handler = ask_for_end, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &ask, NULL);
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGCHLD);
    sigaddset(&held, SIGIO);
    return -pthread_sigmask(SIG_BLOCK, &held, NULL);
}

int clinux_signal_on_data(int socket) {
    struct f_owner_ex owner = {F_OWNER_TID, gettid()};
    if (fcntl(socket, F_SETOWN_EX, &owner) < 0) return -errno;
    int flags = fcntl(socket, F_GETFL);
    if (flags < 0) return -errno;
    return result_of(fcntl(socket, F_SETFL, flags | O_ASYNC));
}

int clinux_next_signal(uint64_t nanoseconds) {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGCHLD);
    sigaddset(&held, SIGIO);
    struct timespec limit = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
    int result = sigtimedwait(&held, NULL, &limit);
    return result < 0 ? -errno : result;
}
