
/*
 * What one operation costs: a limit's decision, a record's push.
 *
 * Prints "name value" lines: nanoseconds an operation, the least of several
 * runs, as nothing makes a run faster than the code is.  The bare
 * compare-and-swap over the same memory is beside it, to compare with on any
 * machine.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "lane.h"
#include "limit.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define MICRO_RUNS  5


typedef struct {
    sluice_limit_t  limit;
    sluice_hash_t  *keys;
    uint64_t        nkeys;
    uint64_t        n;
    uint64_t        seed;
    uint64_t        passed;
} micro_load_t;


static sluice_dir_t    micro_dir;
static char            micro_path[64];
static sluice_error_t  micro_error;


static void
micro_fail(void)
{
    fprintf(stderr, "micro: %s\n", micro_error.text);
    exit(1);
}


static double
micro_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static inline uint64_t
micro_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;

    return *seed >> 33;
}


static void *
micro_charge(void *data)
{
    uint64_t               i, now;
    micro_load_t          *load = data;
    sluice_limit_state_t   state;

    now = sluice_clock_ms();

    for (i = 0; i < load->n; i++) {
        load->passed +=
            sluice_limit_charge(&load->limit,
                                load->keys[micro_next(&load->seed)
                                           % load->nkeys],
                                now, SLUICE_LIMIT_UNITS_MAX, 1, &state)
            == SLUICE_LIMIT_PASSED;
    }

    return NULL;
}


/* the least that any exact decision could cost over this memory */

static void *
micro_swap(void *data)
{
    uint64_t        i;
    micro_load_t   *load = data;
    sluice_u128_t  *slot, v;

    for (i = 0; i < load->n; i++) {
        slot = load->limit.buckets[load->keys[micro_next(&load->seed)
                                              % load->nkeys].lo
                                   % load->limit.nbuckets].slot;
        v = sluice_load16(slot);
        load->passed += sluice_cas16(slot, &v, v + 1);
    }

    return NULL;
}


static void
micro_open(micro_load_t *load, uint64_t nkeys)
{
    uint64_t             i;
    sluice_limit_t       former;
    sluice_limit_conf_t  conf;

    memset(load, 0, sizeof(micro_load_t));

    /* two thirds full */

    conf.size = nkeys * sizeof(sluice_u128_t) * 3 / 2;
    conf.window = 31u * 86400 * 1000;
    conf.scale = 1;

    if (conf.size < 65536) {
        conf.size = 65536;
    }

    if (sluice_limit_open(&micro_dir, "micro", &conf, &load->limit, &former,
                          &micro_error)
        != SLUICE_OK)
    {
        micro_fail();
    }

    load->keys = malloc(nkeys * sizeof(sluice_hash_t));
    load->nkeys = nkeys;
    load->seed = 1;

    if (load->keys == NULL) {
        exit(1);
    }

    for (i = 0; i < nkeys; i++) {
        load->keys[i] = sluice_limit_hash(&load->limit, &i, sizeof(i));
    }
}


static void
micro_close(micro_load_t *load)
{
    (void) sluice_file_retire(&micro_dir, &load->limit.file);
    sluice_limit_close(&micro_dir, &load->limit);
    free(load->keys);
}


static double
micro_time(micro_load_t *load, void *(*run)(void *), uint64_t n)
{
    int     i;
    double  start, ns, best;

    best = 1e18;
    load->n = n;

    for (i = 0; i < MICRO_RUNS; i++) {
        start = micro_ns();
        run(load);
        ns = (micro_ns() - start) / (double) n;
        best = (ns < best) ? ns : best;
    }

    return best;
}


static void
micro_limits(const char *name, uint64_t nkeys, uint64_t n)
{
    double        charge, swap;
    micro_load_t  load;

    micro_open(&load, nkeys);

    /* all keys are in before the clock starts */

    for (load.n = 0; load.n < nkeys; load.n++) {
        sluice_limit_state_t  state;

        (void) sluice_limit_charge(&load.limit, load.keys[load.n],
                                   sluice_clock_ms(), 1u << 20, 1, &state);
    }

    charge = micro_time(&load, micro_charge, n);

    if (load.passed == 0) {
        fprintf(stderr, "micro: nothing passed\n");
        exit(1);
    }

    swap = micro_time(&load, micro_swap, n);

    printf("limit.%s_ns %.2f\n", name, charge);
    printf("limit.%s_vs_cas %.2f\n", name, charge / swap);

    micro_close(&load);
}


static void
micro_limits_two(uint64_t n)
{
    int           i;
    double        start, ns, best;
    pthread_t     thread;
    micro_load_t  load, other;

    micro_open(&load, 1000);
    best = 1e18;

    for (i = 0; i < MICRO_RUNS; i++) {
        load.n = n;
        other = load;
        other.seed = 2;

        start = micro_ns();

        if (pthread_create(&thread, NULL, micro_charge, &other) != 0) {
            exit(1);
        }

        micro_charge(&load);
        pthread_join(thread, NULL);

        ns = (micro_ns() - start) / (double) n;
        best = (ns < best) ? ns : best;
    }

    printf("limit.2threads_ns %.2f\n", best);

    micro_close(&load);
}


static void
micro_lane(uint64_t n)
{
    int                  i;
    double               start, ns, best;
    uint64_t             j;
    sluice_lane_t        lane;
    sluice_entry_t      *entry;
    struct mallinfo2     before, after;
    sluice_lane_conf_t   conf = { 8 * 1024 * 1024, 512, 0, "bench" };
    sluice_record_try_t  t = { 1, 5, 9, 200, 0, 1200, 600 };

    if (sluice_lane_create(&micro_dir, &conf, &lane, &micro_error)
        != SLUICE_OK)
    {
        micro_fail();
    }

    best = 1e18;
    before = mallinfo2();

    for (i = 0; i < MICRO_RUNS; i++) {
        start = micro_ns();

        for (j = 0; j < n; j++) {
            entry = sluice_lane_admit(&lane, 1);

            if (entry == NULL) {
                fprintf(stderr, "micro: the ring is full\n");
                exit(1);
            }

            sluice_record_add(&entry->record, SLUICE_ITEM_REQUEST_ID,
                              "0123456789abcdef0123456789abcdef", 32);
            sluice_record_add(&entry->record, SLUICE_ITEM_CLIENT,
                              "0123456789abcdef0123456789abcdef", 32);
            sluice_record_add(&entry->record, SLUICE_ITEM_METHOD, "POST", 4);
            sluice_record_add(&entry->record, SLUICE_ITEM_HOST,
                              "api.example.com", 15);
            sluice_record_add(&entry->record, SLUICE_ITEM_URI,
                              "/v1/chat/completions", 20);
            sluice_lane_open(entry);
            sluice_record_add(&entry->record, SLUICE_ITEM_POOL, "openai", 6);
            sluice_record_add(&entry->record, SLUICE_ITEM_KEY, "a", 1);
            sluice_record_add_try(&entry->record, &t, "10.0.0.1:443", 12);
            sluice_record_add_field(&entry->record, "team", 4, "red", 3);
            sluice_lane_push(&lane, entry);

            /* the consumer, for nothing */
            lane.control->tail = lane.head;
        }

        ns = (micro_ns() - start) / (double) n;
        best = (ns < best) ? ns : best;
    }

    after = mallinfo2();

    printf("lane.push_ns %.2f\n", best);
    printf("lane.push_allocated %zu\n", after.uordblks - before.uordblks);

    sluice_lane_close(&micro_dir, &lane);
}


int
main(int argc, char **argv)
{
    uint64_t  n;

    n = (argc > 1) ? strtoull(argv[1], NULL, 10) : 4000000;

    snprintf(micro_path, sizeof(micro_path), "/dev/shm/sluice-micro.%d",
             (int) getpid());

    if (sluice_dir_open(&micro_dir, micro_path, geteuid(), getegid(), true,
                        &micro_error)
        != SLUICE_OK)
    {
        micro_fail();
    }

    micro_limits("hot", 1, n);
    micro_limits("1k", 1000, n);
    micro_limits("1m", 1000000, n);
    micro_limits_two(n);
    micro_lane(n / 4);

    sluice_dir_close(&micro_dir);
    rmdir(micro_path);

    return 0;
}
