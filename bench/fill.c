
/*
 * How full a table may be, and what a flood of keys does to it.
 *
 *   fill [KEYS]          "limit.bytes_per_key VALUE": bytes of buckets for a
 *                        live key, in a table so full that 1e-5 of the keys
 *                        put into it have evicted a live window
 *   fill [KEYS] flood [N]
 *                        KEYS that come N times each, once unless told,
 *                        against zones of several sizes, in each of which
 *                        others have their windows
 *
 * Hashes are the table's own; each table has a key of its own, so runs differ
 * as zones do.  The fullest table is the least full of several.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "limit.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define FILL_RUNS     5
#define FILL_WINDOW   (31u * 86400 * 1000)
#define FILL_SHARE    100000        /* one eviction in so many               */

#define FLOOD_OTHERS  20000


/* what the others have been charged, a quarter of them each */
static const uint32_t  flood_counts[] = { 1, 2, 10, 60 };

#define FLOOD_KINDS   (sizeof(flood_counts) / sizeof(flood_counts[0]))


static void
fill_charge(sluice_limit_t *limit, uint64_t key, uint32_t n)
{
    sluice_limit_state_t  state;

    if (sluice_limit_charge(limit,
                            sluice_limit_hash(limit, &key, sizeof(key)),
                            limit->clock(), SLUICE_LIMIT_UNITS_MAX, n, &state)
        != SLUICE_LIMIT_PASSED)
    {
        fprintf(stderr, "fill: a charge was refused\n");
        exit(1);
    }
}


/* live keys of the fullest state in which evictions were rare enough */

static uint64_t
fill_live(sluice_limit_t *limit)
{
    uint64_t  n, live, slots;

    slots = limit->nbuckets * SLUICE_LIMIT_BUCKET;
    live = 0;

    for (n = 1; n <= slots; n++) {
        fill_charge(limit, n, 1);

        if (limit->own->evicted * FILL_SHARE <= n) {
            live = n - limit->own->evicted;
        }
    }

    return live;
}


static void
fill_fullest(uint64_t keys)
{
    int             i;
    double          bytes, most;
    sluice_limit_t  limit;

    most = 0;

    for (i = 0; i < FILL_RUNS; i++) {

        /* three quarters of the slots are about as many as will do */

        table_open(&limit, keys * sizeof(sluice_u128_t) * 4 / 3, FILL_WINDOW);

        bytes = (double) (limit.nbuckets * sizeof(sluice_limit_bucket_t))
                / (double) fill_live(&limit);
        most = (bytes > most) ? bytes : most;

        table_close(&limit);
    }

    printf("limit.bytes_per_key %.2f\n", most);
}


static void
fill_flood(uint64_t size, uint64_t keys, uint32_t times)
{
    uint32_t              max;
    uint64_t              n, gone[FLOOD_KINDS], all;
    sluice_hash_t         hash;
    sluice_limit_t        limit;
    sluice_limit_state_t  state;

    table_open(&limit, size, FILL_WINDOW);
    memset(gone, 0, sizeof(gone));

    for (n = 0; n < FLOOD_OTHERS; n++) {
        fill_charge(&limit, n, flood_counts[n % FLOOD_KINDS]);
    }

    all = limit.own->evicted;

    for (n = 0; n < keys; n++) {
        fill_charge(&limit, FLOOD_OTHERS + n, times);
    }

    all = limit.own->evicted - all;
    max = SLUICE_LIMIT_UNITS_MAX;

    for (n = 0; n < FLOOD_OTHERS; n++) {
        hash = sluice_limit_hash(&limit, &n, sizeof(n));
        (void) sluice_limit_peek(&limit, hash, limit.clock(), max, 1, &state);

        if (state.seen.current != flood_counts[n % FLOOD_KINDS]) {
            gone[n % FLOOD_KINDS]++;
        }
    }

    printf("%6lluk %9llu %9llu", (unsigned long long) (size / 1024),
           (unsigned long long) (size / sizeof(sluice_u128_t)),
           (unsigned long long) all);

    all = 0;

    for (n = 0; n < FLOOD_KINDS; n++) {
        all += gone[n];
        printf(" %8.2f%%", 100.0 * (double) gone[n] * FLOOD_KINDS
                           / FLOOD_OTHERS);
    }

    printf(" %9.1e\n", (double) all / (double) keys);

    table_close(&limit);
}


static void
fill_floods(uint64_t keys, uint32_t times)
{
    uint64_t  size;
    unsigned  i;

    printf("%llu keys, %u times each, against %d others\n\n",
           (unsigned long long) keys, times, FLOOD_OTHERS);
    printf("%7s %9s %9s", "zone", "slots", "evicted");

    for (i = 0; i < FLOOD_KINDS; i++) {
        printf("  count %-2u", flood_counts[i]);
    }

    printf(" %9s\n", "per key");

    for (size = 1024 * 1024; size <= 32 * 1024 * 1024; size *= 2) {
        fill_flood(size, keys, times);
    }
}


int
main(int argc, char **argv)
{
    uint64_t  keys;

    keys = (argc > 1) ? strtoull(argv[1], NULL, 10) : 1500000;

    if (argc > 2) {
        fill_floods(keys, (argc > 3) ? (uint32_t) strtoul(argv[3], NULL, 10)
                                     : 1);

    } else {
        fill_fullest(keys);
    }

    return 0;
}
