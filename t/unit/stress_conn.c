
/*
 * What is in flight by key, under stress: never more of a key than its limit,
 * by a count that knows nothing of the table.
 *
 * keys: more of them than rows, so that rows are taken over all the time, at
 * the same moment as others come in, and as the same key is put in by two.
 * hot: one key, all at its limit.
 * Processes are killed at any moment, what they held is given back as
 * sluice_slot_reclaim() does it, and the clock runs so fast that whoever is
 * not on the CPU for a moment is taken for dead.
 *
 *   stress_conn [SECONDS [threads|processes|both]], prints TAP
 *
 * conn.c is included for its statics.
 */

#include "conn.c"
#include "util.h"

#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_WORKERS  4
#define STRESS_BUCKETS  3
#define STRESS_ROWS     (STRESS_BUCKETS * SLUICE_CONN_BUCKET)
#define STRESS_KEYS     40
#define STRESS_MAX      3
#define STRESS_HOLDS    6               /* at a time, by one worker          */

#define load(p)         __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store(p, v)     __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define add(p, v)       __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)


typedef struct {
    uint64_t                clock;
    uint64_t                stop;
    uint64_t                over;
    uint64_t                kills;

    /* a byte for each worker: what is in flight, all of them at one moment */
    uint64_t                count[STRESS_KEYS];

    sluice_conn_control_t   control;
    sluice_conn_column_t    column[SLUICE_SLOTS];
    sluice_conn_row_t       row[STRESS_ROWS];
} stress_shared_t;


static stress_shared_t  *stress;
static unsigned          stress_tests;
static unsigned          stress_keys;

/* the workers' slots: two in one word of four columns, the first, the last */
static const unsigned    stress_slot[STRESS_WORKERS] = { 0, 1, 100, 255 };


static uint64_t
stress_clock(void)
{
    return load(&stress->clock);
}


static void
stress_attach(sluice_conn_t *conn)
{
    memset(conn, 0, sizeof(sluice_conn_t));
    memset(conn->file.header.key, 0x5a, 16);
    conn->control = &stress->control;
    conn->columns = stress->column;
    conn->rows = stress->row;
    conn->nbuckets = STRESS_BUCKETS;
    conn->clock = stress_clock;
}


static uint32_t
stress_max(uint64_t key)
{
    return 1 + (key + 2) % STRESS_MAX;
}


static unsigned
stress_sum(uint64_t count)
{
    unsigned  i, sum;

    for (sum = 0, i = 0; i < STRESS_WORKERS; i++) {
        sum += (unsigned) (count >> 8 * i) & 0xff;
    }

    return sum;
}


static void
stress_worker(unsigned number)
{
    unsigned             k, n;
    uint64_t             seed, key, one;
    sluice_conn_t        conn;

    struct {
        uint64_t            key;
        sluice_conn_hold_t  hold;
    } held[STRESS_HOLDS];

    stress_attach(&conn);
    seed = util_seed() + number + (uint64_t) getpid();
    one = 1ull << 8 * number;
    n = 0;

    while (!load(&stress->stop) || n > 0) {

        if (n == STRESS_HOLDS || load(&stress->stop)
            || (n > 0 && util_random(&seed) % 2 == 0))
        {
            k = (unsigned) (util_random(&seed) % n);

            /* never counted for longer than it is held */

            __atomic_fetch_sub(&stress->count[held[k].key], one,
                               __ATOMIC_SEQ_CST);
            sluice_conn_give(&conn, stress_slot[number], &held[k].hold);
            held[k] = held[--n];
            continue;
        }

        if (util_random(&seed) % 16 == 0) {
            add(&stress->clock, 250);
        }

        key = util_random(&seed) % stress_keys;

        if (sluice_conn_take(&conn, sluice_conn_hash(&conn, &key, sizeof(key)),
                             stress_max(key), stress_slot[number],
                             &held[n].hold)
            != SLUICE_CONN_PASSED)
        {
            continue;
        }

        if (stress_sum(add(&stress->count[key], one)) > stress_max(key)) {
            add(&stress->over, 1);
        }

        if (util_random(&seed) % 8 == 0) {
            sched_yield();
        }

        held[n++].key = key;
    }
}


static void *
stress_thread(void *data)
{
    stress_worker(*(unsigned *) data);

    return NULL;
}


static int
stress_process(void *data)
{
    stress_worker(*(unsigned *) data);

    return 0;
}


/* as the reclaimer does it: nobody writes a dead slot's columns meanwhile */

static void
stress_forget(unsigned number)
{
    unsigned  i;

    for (i = 0; i < stress_keys; i++) {
        __atomic_fetch_and(&stress->count[i], ~(0xffull << 8 * number),
                           __ATOMIC_SEQ_CST);
    }

    for (i = 0; i < STRESS_ROWS; i++) {
        __atomic_store_n(&stress->row[i].in_flight[stress_slot[number]], 0,
                         __ATOMIC_SEQ_CST);
    }
}


static void
stress_kill(double seconds, pid_t *pid, unsigned *number)
{
    double    end;
    unsigned  i;
    uint64_t  seed;

    seed = util_seed();
    end = util_now() + seconds;

    while (util_now() < end) {
        usleep((useconds_t) (500 + util_random(&seed) % 3000));

        i = (unsigned) (util_random(&seed) % STRESS_WORKERS);

        kill(pid[i], SIGKILL);
        util_check(util_wait(pid[i]) == -1);
        stress_forget(i);
        stress->kills++;

        pid[i] = util_fork(stress_process, &number[i]);
    }
}


static void
stress_run(const char *what, unsigned keys, bool fork, double seconds)
{
    pid_t                  pid[STRESS_WORKERS];
    unsigned               i, number[STRESS_WORKERS];
    uint64_t               k, left;
    pthread_t              thread[STRESS_WORKERS];
    sluice_conn_t          conn;
    sluice_conn_hold_t     hold[STRESS_MAX + 1];
    sluice_conn_column_t   sum;

    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    util_check(stress != MAP_FAILED);

    stress->clock = 100000;
    stress_keys = keys;

    for (i = 0; i < STRESS_WORKERS; i++) {
        number[i] = i;

        if (fork) {
            pid[i] = util_fork(stress_process, &number[i]);
        } else {
            util_check(pthread_create(&thread[i], NULL, stress_thread,
                                      &number[i]) == 0);
        }
    }

    if (fork) {
        stress_kill(seconds, pid, number);
    } else {
        usleep((useconds_t) (seconds * 1e6));
    }

    store(&stress->stop, 1);

    for (i = 0; i < STRESS_WORKERS; i++) {
        if (fork) {
            util_check(util_wait(pid[i]) == 0);
        } else {
            pthread_join(thread[i], NULL);
        }
    }

    memset(&sum, 0, sizeof(sum));

    for (i = 0; i < STRESS_WORKERS; i++) {
        sum.passed += stress->column[stress_slot[i]].passed;
        sum.refused += stress->column[stress_slot[i]].refused;
        sum.full += stress->column[stress_slot[i]].full;
        sum.contended += stress->column[stress_slot[i]].contended;
        sum.inserted += stress->column[stress_slot[i]].inserted;
    }

    /* nothing is left in flight, and two seconds later all is to be had */

    for (left = 0, i = 0; i < STRESS_ROWS; i++) {
        left += sluice_conn_in_flight(&stress->row[i]);
    }

    stress_attach(&conn);
    stress->clock += 2000;

    for (k = 0; k < keys; k++) {
        for (i = 0; i <= stress_max(k); i++) {
            util_check(sluice_conn_take(&conn,
                                        sluice_conn_hash(&conn, &k, sizeof(k)),
                                        stress_max(k), 77, &hold[i])
                       == (i < stress_max(k) ? SLUICE_CONN_PASSED
                                             : SLUICE_CONN_REFUSED));
        }

        while (i-- > 1) {
            sluice_conn_give(&conn, 77, &hold[i - 1]);
        }
    }

    printf("# %s, %s: %llu passed, %llu refused, %llu full, %llu contended, "
           "%llu inserted, %llu killed, over %llu, left %llu\n", what,
           fork ? "processes" : "threads",
           (unsigned long long) sum.passed, (unsigned long long) sum.refused,
           (unsigned long long) sum.full, (unsigned long long) sum.contended,
           (unsigned long long) sum.inserted,
           (unsigned long long) stress->kills,
           (unsigned long long) stress->over, (unsigned long long) left);

    util_check(stress->over == 0);
    util_check(left == 0);
    util_check(sum.passed > 1000);
    util_check(sum.refused > 100);
    util_check(keys <= STRESS_ROWS || sum.inserted > sum.passed / 10);
    util_check(keys <= STRESS_ROWS || sum.full > 0);
    util_check(sum.contended < (sum.passed + sum.refused) / 100 + 1);

    printf("ok %u - %s, %s\n", ++stress_tests, what,
           fork ? "processes" : "threads");

    munmap(stress, sizeof(stress_shared_t));
}


int
main(int argc, char **argv)
{
    int          fork;
    double       seconds;
    const char  *mode;

    seconds = (argc > 1) ? atof(argv[1]) : 10;
    mode = (argc > 2) ? argv[2] : UTIL_STRESS_MODE;
    seconds /= (strcmp(mode, "both") == 0) ? 4 : 2;

    for (fork = 0; fork < 2; fork++) {
        if (strcmp(mode, fork ? "threads" : "processes") == 0) {
            continue;
        }

        stress_run("keys", STRESS_KEYS, fork, seconds);
        stress_run("hot", 1, fork, seconds);
    }

    printf("1..%u\n", stress_tests);

    return 0;
}
