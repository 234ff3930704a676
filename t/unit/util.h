
/*
 * What the tests of shm/ share: a directory on tmpfs for each of them,
 * children that are killed, random numbers that can be repeated.
 */

#ifndef SLUICE_UTIL_H
#define SLUICE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <cmocka.h>

#include "cas16.h"
#include "file.h"


typedef struct {
    sluice_dir_t  dir;
    char          path[64];
} util_dir_t;


/* for cmocka: the state of a test is its util_dir_t */
int util_setup(void **state);
int util_teardown(void **state);

#define util_test(f)  cmocka_unit_test_setup_teardown(f, util_setup,          \
                                                      util_teardown)

/* for programs without cmocka; false: errno says why */
bool util_dir_make(util_dir_t *d);

/* removes the directory and the files in it */
void util_dir_remove(util_dir_t *d);

/* how many names begin so; the last one found goes to `name`, unless NULL */
unsigned util_dir_count(const sluice_dir_t *dir, const char *prefix,
    char name[SLUICE_FILE_NAME_MAX]);

/* xorshift64*; a seed of SLUICE_SEED, unless that is not set */
uint64_t util_seed(void);
uint64_t util_random(uint64_t *seed);

/* open descriptors and mappings of this process: a leak shows in them */
unsigned util_fds(void);
unsigned util_maps(void);

/* runs f in a child that ends with its answer as the exit code */
pid_t util_fork(int (*f)(void *data), void *data);

/* the exit code, or -1: it was killed */
int util_wait(pid_t pid);

/* seconds, monotonic */
double util_now(void);

/*
 * TSan has a lock of the process's own for an atomic of sixteen bytes: under
 * it the stress of several processes would fail, and tell nothing.
 */
#if defined(SLUICE_TSAN)
#define UTIL_STRESS_MODE  "threads"
#else
#define UTIL_STRESS_MODE  "both"
#endif

/* in a child or a thread, where cmocka's asserts do not work */
#define util_check(x)                                                         \
    do {                                                                      \
        if (!(x)) {                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);           \
            _exit(1);                                                         \
        }                                                                     \
    } while (0)


#endif /* SLUICE_UTIL_H */
