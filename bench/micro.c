
/*
 * What one operation costs: a limit's decision, a place in flight, a record's
 * push.
 *
 *   micro [N]            lines of "name value"
 *   micro [N] growth     a line for each of 1k to 10M keys
 *
 * N operations a run.  Nanoseconds an operation, the least of several runs, as
 * nothing makes a run faster than the code is.  The bare compare-and-swap over
 * the same memory is run in turn with it, to compare with on any machine.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "conn.h"
#include "lane.h"
#include "limit.h"
#include "table.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define MICRO_RUNS    9
#define MICRO_WINDOW  (31u * 86400 * 1000)


typedef struct {
    sluice_limit_t  limit;
    uint64_t        nkeys;
    uint64_t        n;
    uint64_t        seed;
    uint64_t        passed;
} micro_load_t;


/* ns, the least of the runs */
typedef struct {
    double  many;
    double  swap_many;
    double  alone;
    double  swap_alone;
} micro_cost_t;


static double
micro_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


/*
 * Many at a time, as the CPU overlaps decisions that do not wait for each
 * other; or one after the other: the next key is known when the last count
 * was seen, so each pays for its own cache misses, as a request's does.
 */

static inline void
micro_decide(micro_load_t *load, bool chained)
{
    uint64_t               i, now;
    sluice_hash_t          key;
    sluice_limit_state_t   state;

    now = sluice_clock_ms();

    for (i = 0; i < load->n; i++) {
        key = table_key(table_random(&load->seed, load->nkeys));

        load->passed += sluice_limit_charge(&load->limit, key, now,
                                            SLUICE_LIMIT_UNITS_MAX, 1, &state)
                        == SLUICE_LIMIT_PASSED;

        if (chained) {
            load->seed += state.seen.current;
        }
    }
}


/*
 * The least that any exact decision could cost over this memory.  It writes
 * what it has read, so the table remains one.
 */

static inline void
micro_swap(micro_load_t *load, bool chained)
{
    uint64_t        i, bucket;
    sluice_hash_t   key;
    sluice_u128_t  *slot, v;

    for (i = 0; i < load->n; i++) {
        key = table_key(table_random(&load->seed, load->nkeys));
        bucket = ((key.lo & 0xffffffff) * load->limit.nbuckets) >> 32;
        slot = &load->limit.buckets[bucket].slot[key.hi
                                                 % SLUICE_LIMIT_BUCKET];
        v = sluice_load16(slot);

        /* of what was loaded: not even a decision waits for its swap */

        if (chained) {
            load->seed += (uint32_t) v & 0xffffff;
        }

        load->passed += sluice_cas16(slot, &v, v);
    }
}


static void
micro_many(micro_load_t *load)
{
    micro_decide(load, false);
}


static void
micro_alone(micro_load_t *load)
{
    micro_decide(load, true);
}


static void
micro_swap_many(micro_load_t *load)
{
    micro_swap(load, false);
}


static void
micro_swap_alone(micro_load_t *load)
{
    micro_swap(load, true);
}


static void *
micro_thread(void *load)
{
    micro_many(load);

    return NULL;
}


/* two thirds full, all keys in it */

static void
micro_open(micro_load_t *load, uint64_t nkeys)
{
    uint64_t              i;
    sluice_limit_state_t  state;

    memset(load, 0, sizeof(micro_load_t));

    table_open(&load->limit, nkeys * sizeof(sluice_u128_t) * 3 / 2,
               MICRO_WINDOW);

    load->nkeys = nkeys;
    load->seed = 1;

    for (i = 0; i < nkeys; i++) {
        (void) sluice_limit_charge(&load->limit, table_key(i),
                                   sluice_clock_ms(), 1, 1, &state);
    }
}


static void
micro_time(micro_load_t *load, void (*run)(micro_load_t *load), double *best)
{
    double  ns;

    ns = micro_ns();
    run(load);
    ns = (micro_ns() - ns) / (double) load->n;

    if (*best == 0 || ns < *best) {
        *best = ns;
    }
}


static void
micro_limits(uint64_t nkeys, uint64_t n, micro_cost_t *cost)
{
    int           i;
    uint64_t      most;
    micro_load_t  load;

    memset(cost, 0, sizeof(micro_cost_t));
    micro_open(&load, nkeys);

    /* a key has at most UNITS_MAX, and a refusal swaps nothing */

    most = nkeys * (SLUICE_LIMIT_UNITS_MAX / 4 / MICRO_RUNS);
    load.n = (n < most) ? n : most;

    for (i = 0; i < MICRO_RUNS; i++) {
        micro_time(&load, micro_many, &cost->many);
        micro_time(&load, micro_swap_many, &cost->swap_many);
        micro_time(&load, micro_alone, &cost->alone);
        micro_time(&load, micro_swap_alone, &cost->swap_alone);
    }

    if (load.passed != 4 * load.n * MICRO_RUNS) {
        fprintf(stderr, "micro: not all passed\n");
        exit(1);
    }

    table_close(&load.limit);
}


static void
micro_growth(uint64_t n)
{
    uint64_t      nkeys;
    micro_cost_t  cost;

    printf("# keys; ns: a decision, a bare load and compare-and-swap; "
           "the two one after the other\n");

    for (nkeys = 1000; nkeys <= 10000000; nkeys *= 10) {
        micro_limits(nkeys, n, &cost);
        printf("%-9llu %6.1f %6.1f %6.1f %6.1f\n",
               (unsigned long long) nkeys, cost.many, cost.swap_many,
               cost.alone, cost.swap_alone);
        fflush(stdout);
    }
}


static void
micro_figures(const char *name, uint64_t nkeys, uint64_t n)
{
    micro_cost_t  cost;

    micro_limits(nkeys, n, &cost);

    printf("limit.%s_ns %.2f\n", name, cost.many);
    printf("limit.%s_vs_cas %.2f\n", name, cost.many / cost.swap_many);
    printf("limit.%s_alone_ns %.2f\n", name, cost.alone);
    printf("limit.%s_alone_vs_cas %.2f\n", name,
           cost.alone / cost.swap_alone);
}


static void
micro_limits_two(uint64_t n)
{
    int           i;
    double        start, ns, best;
    pthread_t     thread;
    micro_load_t  load, other;

    micro_open(&load, 1000);
    load.n = n;
    best = 1e18;

    for (i = 0; i < MICRO_RUNS; i++) {
        other = load;
        other.limit.own = &other.limit.columns[1];
        other.seed = 2;

        start = micro_ns();

        if (pthread_create(&thread, NULL, micro_thread, &other) != 0) {
            exit(1);
        }

        micro_many(&load);
        pthread_join(thread, NULL);

        ns = (micro_ns() - start) / (double) n;
        best = (ns < best) ? ns : best;
    }

    printf("limit.2threads_ns %.2f\n", best);

    table_close(&load.limit);
}


/* a place taken and given back, keys at random, of a table half full */

static void
micro_conn(uint64_t n)
{
    int                  i;
    char                 path[64];
    double               start, ns, best;
    uint64_t             j, seed;
    sluice_dir_t         dir;
    sluice_conn_t        conn, former;
    sluice_error_t       error;
    sluice_conn_hold_t   hold;

    snprintf(path, sizeof(path), "/dev/shm/sluice-micro.%d", (int) getpid());

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK
        || sluice_conn_open(&dir, "bench", 2 * 1024 * sizeof(sluice_conn_row_t),
                            &conn, &former, &error)
           != SLUICE_OK)
    {
        table_fail(&error);
    }

    best = 1e18;
    seed = 1;

    for (i = 0; i < MICRO_RUNS; i++) {
        start = micro_ns();

        for (j = 0; j < n; j++) {

            if (sluice_conn_take(&conn, table_key(table_random(&seed, 1024)),
                                 1, 0, &hold)
                != SLUICE_CONN_PASSED)
            {
                fprintf(stderr, "micro: no place in flight\n");
                exit(1);
            }

            sluice_conn_give(&conn, 0, &hold);
        }

        ns = (micro_ns() - start) / (double) n;
        best = (ns < best) ? ns : best;
    }

    printf("conn.take_give_ns %.2f\n", best);

    (void) sluice_file_retire(&dir, &conn.file);
    sluice_conn_close(&dir, &conn);
    sluice_dir_close(&dir);
    rmdir(path);
}


static void
micro_lane(uint64_t n)
{
    int                  i;
    char                 path[64];
    double               start, ns, best;
    uint64_t             j;
    sluice_dir_t         dir;
    sluice_lane_t        lane;
    sluice_error_t       error;
    sluice_entry_t      *entry;
    struct mallinfo2     before, after;
    sluice_lane_conf_t   conf = { 8 * 1024 * 1024, 512, 0, "bench" };
    sluice_record_try_t  t = { 1, 5, 9, 200, 0, 1200, 600 };

    snprintf(path, sizeof(path), "/dev/shm/sluice-micro.%d", (int) getpid());

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK
        || sluice_lane_create(&dir, &conf, &lane, &error) != SLUICE_OK)
    {
        table_fail(&error);
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
            sluice_record_add_try(&entry->record, &t, "a", 1,
                                  "10.0.0.1:443", 12);
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

    sluice_lane_close(&dir, &lane);
    sluice_dir_close(&dir);
    rmdir(path);
}


int
main(int argc, char **argv)
{
    uint64_t  n;

    n = (argc > 1) ? strtoull(argv[1], NULL, 10) : 4000000;

    if (argc > 2) {
        micro_growth(n);
        return 0;
    }

    micro_figures("hot", 1, n);
    micro_figures("1k", 1000, n);
    micro_figures("1m", 1000000, n);
    micro_limits_two(n);
    micro_conn(n / 4);
    micro_lane(n / 4);

    return 0;
}
