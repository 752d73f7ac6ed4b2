/* A disk that is slow for a while: preloaded into the hub, it makes every flush wait as many milliseconds as the file
   named by SLOW_SYNC says; without the file, none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_if_slow(void) {
    const char *name = getenv("SLOW_SYNC");
    FILE *file = name ? fopen(name, "r") : NULL;
    int milliseconds = 0;
    if (!file)
        return;
    if (fscanf(file, "%d", &milliseconds) == 1 && milliseconds > 0)
        usleep((useconds_t)milliseconds * 1000);
    fclose(file);
}

int fsync(int fd) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_if_slow();
    return next(fd);
}

int fdatasync(int fd) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_if_slow();
    return next(fd);
}
