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
    *holder = 0;
    if (length + 1 > sizeof address.sun_path) return -ENAMETOOLONG;
    // A leading NUL: a name with no file, which goes with its socket.
    memcpy(address.sun_path + 1, name, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    if (bind(descriptor, (struct sockaddr *)&address, size) == 0 && listen(descriptor, 1) == 0) return descriptor;
    int error = errno;
    if (error == EADDRINUSE && connect(descriptor, (struct sockaddr *)&address, size) == 0) {
        struct ucred peer;
        socklen_t peer_size = sizeof peer;
        if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0) *holder = peer.pid;
    }
    close(descriptor);
    return -error;
}
