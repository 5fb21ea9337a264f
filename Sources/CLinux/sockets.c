#define _GNU_SOURCE
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int failed(int descriptor) {
    int error = errno;
    if (descriptor >= 0) close(descriptor);
    return -error;
}

int clinux_listen_tcp(const char *host, uint16_t port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char service[8];
    struct addrinfo *found = NULL;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) return -EADDRNOTAVAIL;
    int result = -EADDRNOTAVAIL;
    for (struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        int one = 1;
        int made = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        // A port that was in use a moment ago may be used again.
        if (made >= 0 && setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
            bind(made, at->ai_addr, at->ai_addrlen) == 0 && listen(made, 8) == 0) {
            result = made;
            break;
        }
        result = failed(made);
    }
    freeaddrinfo(found);
    return result;
}

static int unix_address(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int clinux_listen_unix(const char *path) {
    struct sockaddr_un address;
    int result = unix_address(path, &address);
    if (result < 0) return result;
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The file gets the socket's own mode when it is bound (unix_bind in the kernel), so that it is never wider.
    if (made < 0 || fchmod(made, 0600) < 0 || bind(made, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(made, 8) < 0)
        return failed(made);
    return made;
}

int clinux_probe_unix(const char *path) {
    struct sockaddr_un address;
    int result = unix_address(path, &address);
    if (result < 0) return result;
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) return -errno;
    if (connect(made, (struct sockaddr *)&address, sizeof address) < 0) return failed(made);
    close(made);
    return 0;
}

int clinux_accept(int socket, char *name, size_t size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int made = accept4(socket, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (made < 0) return -errno;
    int one = 1;
    // A socket of the file system has no such option.
    (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char host[64], port[16];
    name[0] = 0;
    if (address.ss_family != AF_UNIX &&
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(name, size, "%s:%s", host, port);
    return made;
}

int clinux_socket_port(int socket) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &length) < 0) return -errno;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return -EAFNOSUPPORT;
}

int clinux_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return 0;
}

long clinux_read(int descriptor, void *bytes, size_t count) {
    ssize_t result = read(descriptor, bytes, count);
    return result < 0 ? -errno : result;
}

long clinux_write(int descriptor, const void *bytes, size_t count) {
    ssize_t result = send(descriptor, bytes, count, MSG_NOSIGNAL);
    if (result >= 0) return result;
    if (errno != ENOTSOCK) return -errno;
    // A pipe: SIGPIPE is held off for this thread, and one that came of it is taken.
    sigset_t pipe_signal, old;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    result = write(descriptor, bytes, count);
    int error = errno;
    if (result < 0 && error == EPIPE) {
        struct timespec none = {0, 0};
        while (sigtimedwait(&pipe_signal, NULL, &none) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result < 0 ? -error : result;
}

int clinux_poll_set(void) {
    int made = epoll_create1(EPOLL_CLOEXEC);
    return made < 0 ? -errno : made;
}

int clinux_poll_set_change(int set, int descriptor, int wanted) {
    struct epoll_event event = {.events = (wanted & 1 ? EPOLLIN : 0) | (wanted & 2 ? EPOLLOUT : 0),
                                .data.fd = descriptor};
    if (wanted == 0) {
        if (epoll_ctl(set, EPOLL_CTL_DEL, descriptor, NULL) < 0 && errno != ENOENT) return -errno;
        return 0;
    }
    if (epoll_ctl(set, EPOLL_CTL_MOD, descriptor, &event) == 0) return 0;
    if (errno != ENOENT) return -errno;
    return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}
