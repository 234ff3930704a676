
/*
 * What it costs to choose one of 256 keys, all well: lines of "name value".
 *
 *   pick [N]
 *
 * Nanoseconds to take one and give it back, of a pool that eight workers have
 * requests in flight with; the least of several runs of N.  Each method has
 * weights all alike and weights all different, and the worse of them is told.
 * "idle" is a worker that has a request a millisecond, so that each adds up
 * anew what the others have in flight.
 */

#define _GNU_SOURCE

#include "balance.h"
#include "clock.h"
#include "table.h"


#define PICK_RUNS     25
#define PICK_WORKERS  8
#define PICK_HELD     64                /* in flight, of ours                */


static sluice_pool_t            pick_pool;
static sluice_balance_conf_t    pick_conf[SLUICE_BALANCE_MAX];
static char                     pick_id[SLUICE_BALANCE_MAX][16];

static const char  *pick_names[] = {
    "round_robin", "least_used", "random", "hash"
};


static double
pick_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static void
pick_open(void)
{
    char            path[64];
    unsigned        i, slot;
    uint64_t        seed, k;
    sluice_dir_t    dir;
    sluice_error_t  error;

    snprintf(path, sizeof(path), "/dev/shm/sluice-bench.%d", (int) getpid());

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK
        || sluice_pool_open(&dir, SLUICE_POOL_KEYS, "bench", &pick_pool, &error)
           != SLUICE_OK)
    {
        table_fail(&error);
    }

    for (i = 0; i < SLUICE_BALANCE_MAX; i++) {
        snprintf(pick_id[i], sizeof(pick_id[i]), "key%u", i);
        pick_conf[i].id = pick_id[i];

        if (sluice_pool_member(&pick_pool, i + 1, pick_id[i], 1,
                               &pick_conf[i].line, &error) != SLUICE_OK)
        {
            table_fail(&error);
        }
    }

    /* the map outlives its name */

    (void) sluice_file_retire(&dir, &pick_pool.file);
    sluice_dir_close(&dir);
    rmdir(path);

    seed = 1;

    for (slot = 1; slot < PICK_WORKERS; slot++) {
        for (k = 0; k < PICK_HELD; k++) {
            i = (unsigned) table_random(&seed, SLUICE_BALANCE_MAX);
            sluice_pool_take(&pick_pool, pick_conf[i].line, slot);
        }
    }
}


static void
pick_weights(bool alike)
{
    unsigned  i;

    for (i = 0; i < SLUICE_BALANCE_MAX; i++) {
        pick_conf[i].weight = alike ? 1 : 1 + (i * 7919) % SLUICE_WEIGHT_MAX;
    }
}


/* ns each; idle: the clock moves on every time */

static double
pick_method(sluice_balance_method_t method, bool idle, uint64_t n)
{
    int                     run;
    double                  ns, best;
    uint64_t                i, k, now, retry;
    sluice_balance_t       *balance;
    sluice_balance_set_t    had;
    sluice_balance_hold_t   hold[PICK_HELD];

    balance = aligned_alloc(64, sluice_balance_size(SLUICE_BALANCE_MAX));

    if (balance == NULL) {
        exit(1);
    }

    balance = sluice_balance_init(balance, &pick_pool, method, pick_conf,
                                  SLUICE_BALANCE_MAX);
    sluice_balance_start(balance, 0, 1);

    best = 1e18;
    now = 1000000;

    for (run = 0; run < PICK_RUNS; run++) {
        ns = pick_ns();

        for (i = 0; i < n + PICK_HELD; i++) {
            k = i % PICK_HELD;

            if (i >= PICK_HELD) {
                sluice_balance_give(balance, &hold[k]);
            }

            if (i >= n) {
                continue;
            }

            now += idle;
            memset(&had, 0, sizeof(had));

            if (sluice_balance_take(balance, &had, SLUICE_BALANCE_MAX,
                                    table_mix(i), 0, 1000, true, now,
                                    &hold[k], &retry)
                != SLUICE_BALANCE_TAKEN)
            {
                fprintf(stderr, "pick: none was taken\n");
                exit(1);
            }
        }

        ns = (pick_ns() - ns) / (double) n;
        best = (ns < best) ? ns : best;
    }

    free(balance);

    return best;
}


int
main(int argc, char **argv)
{
    double    alike, differ, idle, worst;
    uint64_t  n;
    unsigned  method;

    n = (argc > 1) ? strtoull(argv[1], NULL, 10) : 20000;

    if (n < PICK_HELD) {
        fprintf(stderr, "pick: see the head of its source\n");
        return 2;
    }

    n -= n % PICK_HELD;
    worst = 0;

    pick_open();

    for (method = 0; method <= SLUICE_BALANCE_HASH; method++) {
        pick_weights(true);
        alike = pick_method(method, false, n);
        pick_weights(false);
        differ = pick_method(method, false, n);
        idle = pick_method(method, true, n);

        alike = (differ > alike) ? differ : alike;
        worst = (alike > worst) ? alike : worst;

        printf("keys.pick_256_%s_ns %.1f\n", pick_names[method], alike);
        printf("keys.pick_256_%s_idle_ns %.1f\n", pick_names[method], idle);
    }

    printf("keys.pick_256_ns %.1f\n", worst);

    sluice_pool_close(NULL, &pick_pool);

    return 0;
}
