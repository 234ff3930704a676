
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


bool
util_dir_make(util_dir_t *d)
{
    sluice_error_t  error;

    snprintf(d->path, sizeof(d->path), "%s/sluice-test.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");

    if (mkdtemp(d->path) == NULL) {
        return false;
    }

    if (sluice_dir_open(&d->dir, d->path, geteuid(), getegid(), true, &error)
        != SLUICE_OK)
    {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }

    return true;
}


void
util_dir_remove(util_dir_t *d)
{
    int             fd;
    DIR            *dp;
    struct dirent  *e;

    fd = open(d->path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dp = (fd != -1) ? fdopendir(fd) : NULL;

    if (dp != NULL) {
        while ((e = readdir(dp)) != NULL) {
            unlinkat(fd, e->d_name, 0);
        }

        closedir(dp);
    }

    rmdir(d->path);
    sluice_dir_close(&d->dir);
}


int
util_setup(void **state)
{
    util_dir_t  *d;

    d = calloc(1, sizeof(util_dir_t));

    if (d == NULL || !util_dir_make(d)) {
        free(d);
        return -1;
    }

    *state = d;

    return 0;
}


int
util_teardown(void **state)
{
    util_dir_t  *d = *state;

    util_dir_remove(d);
    free(d);

    return 0;
}


typedef struct {
    const char  *prefix;
    char        *name;
    unsigned     count;
} util_count_t;


static int
util_count_one(const char *name, void *data)
{
    util_count_t  *count = data;

    if (strncmp(name, count->prefix, strlen(count->prefix)) == 0) {
        count->count++;

        if (count->name != NULL) {
            snprintf(count->name, SLUICE_FILE_NAME_MAX, "%s", name);
        }
    }

    return 0;
}


unsigned
util_dir_count(const sluice_dir_t *dir, const char *prefix,
    char name[SLUICE_FILE_NAME_MAX])
{
    util_count_t    count;
    sluice_error_t  error;

    count.prefix = prefix;
    count.name = name;
    count.count = 0;

    (void) sluice_dir_walk(dir, util_count_one, &count, &error);

    return count.count;
}


uint64_t
util_seed(void)
{
    uint64_t     seed;
    const char  *env;

    env = getenv("SLUICE_SEED");
    seed = (env != NULL) ? strtoull(env, NULL, 0) : 0;

    return (seed != 0) ? seed : 0x9e3779b97f4a7c15ull;
}


uint64_t
util_random(uint64_t *seed)
{
    uint64_t  x;

    x = *seed;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;

    return x * 0x2545f4914f6cdd1dull;
}


unsigned
util_fds(void)
{
    DIR       *dp;
    unsigned   n;

    n = 0;
    dp = opendir("/proc/self/fd");

    if (dp != NULL) {
        while (readdir(dp) != NULL) {
            n++;
        }

        closedir(dp);
    }

    return n;
}


unsigned
util_maps(void)
{
    int        c;
    FILE      *fp;
    unsigned   n;

    n = 0;
    fp = fopen("/proc/self/maps", "r");

    if (fp != NULL) {
        while ((c = getc(fp)) != EOF) {
            n += (c == '\n');
        }

        fclose(fp);
    }

    return n;
}


pid_t
util_fork(int (*f)(void *data), void *data)
{
    pid_t  pid, parent;

    fflush(NULL);
    parent = getpid();
    pid = fork();

    if (pid == 0) {

        /* a test that failed must not leave it behind */

        prctl(PR_SET_PDEATHSIG, SIGKILL);

        _exit(getppid() == parent ? f(data) : 1);
    }

    return pid;
}


int
util_wait(pid_t pid)
{
    int  status;

    while (waitpid(pid, &status, 0) == -1) {
        if (errno != EINTR) {
            return -1;
        }
    }

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}


double
util_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}
