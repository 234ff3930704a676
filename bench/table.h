
/* a limit table in a directory of its own, gone with its process; and keys */

#ifndef SLUICE_TABLE_H
#define SLUICE_TABLE_H

#include "limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


static inline void
table_fail(const sluice_error_t *error)
{
    fprintf(stderr, "bench: %s\n", error->text);
    exit(1);
}


/* size in bytes, window in ms; exits on failure */
static inline void
table_open(sluice_limit_t *limit, uint64_t size, uint32_t window)
{
    char                 path[64];
    sluice_dir_t         dir;
    sluice_error_t       error;
    sluice_limit_t       former;
    sluice_limit_conf_t  conf;

    snprintf(path, sizeof(path), "/dev/shm/sluice-bench.%d", (int) getpid());

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK)
    {
        table_fail(&error);
    }

    memset(&conf, 0, sizeof(sluice_limit_conf_t));
    conf.size = (size < 65536) ? 65536 : size;
    conf.window = window;
    conf.scale = 1;

    if (sluice_limit_open(&dir, "bench", &conf, limit, &former, &error)
        != SLUICE_OK)
    {
        table_fail(&error);
    }

    limit->own = &limit->columns[0];

    /* the map outlives its name */

    (void) sluice_file_retire(&dir, &limit->file);
    sluice_dir_close(&dir);
    rmdir(path);
}


static inline void
table_close(sluice_limit_t *limit)
{
    /* a published file needs no directory to be closed */

    sluice_limit_close(NULL, limit);
}


/*
 * The n-th key as if by a keyed hash, without memory: an array of them would
 * be a cache miss of its own in every decision.  splitmix64 (Steele, Lea and
 * Flood, OOPSLA 2014).
 */

static inline uint64_t
table_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;

    return x ^ (x >> 31);
}


static inline sluice_hash_t
table_key(uint64_t n)
{
    sluice_hash_t  hash;

    hash.lo = table_mix((2 * n + 1) * 0x9e3779b97f4a7c15ull);
    hash.hi = table_mix((2 * n + 2) * 0x9e3779b97f4a7c15ull);

    return hash;
}


/* a number below n, which is at most 2^32 */
static inline uint64_t
table_random(uint64_t *seed, uint64_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;

    return ((*seed >> 32) * n) >> 32;
}


#endif /* SLUICE_TABLE_H */
