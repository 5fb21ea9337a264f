#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int clinux_claim(const char *name, int *holder) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (holder) *holder = 0;
    if (length + 1 > sizeof address.sun_path) return -ENAMETOOLONG;
    // A leading NUL: a name with no file, which goes with its socket.
    memcpy(address.sun_path + 1, name, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    // One that asks who has it must not wait to be accepted: nobody does that.
    int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    if (bind(descriptor, (struct sockaddr *)&address, size) == 0 && listen(descriptor, SOMAXCONN) == 0) return descriptor;
    int error = errno;
    if (error == EADDRINUSE && holder && connect(descriptor, (struct sockaddr *)&address, size) == 0) {
        struct ucred peer;
        socklen_t peer_size = sizeof peer;
        if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0) *holder = peer.pid;
    }
    close(descriptor);
    return -error;
}
