/* Makes each request to write data through to the disk fail, while the file that KEYLEDGER_BROKEN_DISK names exists.
   Loaded into a PostgreSQL server with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int broken(void)
{
    const char *file = getenv("KEYLEDGER_BROKEN_DISK");
    return file != NULL && access(file, F_OK) == 0;
}

static int synchronised(const char *function, int file)
{
    if (broken()) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int)) dlsym(RTLD_NEXT, function))(file);
}

int fsync(int file) { return synchronised("fsync", file); }
int fdatasync(int file) { return synchronised("fdatasync", file); }
