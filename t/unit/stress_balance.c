
/*
 * Many balances over one pool, under stress: never more of a member than its
 * max_conns, and in no window more than its limits, in requests and in tokens,
 * by counts that know nothing of the pool.
 *
 * Workers choose by different methods, hold some tries, give them back in any
 * order, settle to less than was charged, and have answers that open breakers;
 * processes are killed at any moment, and what they held is given back as
 * sluice_slot_reclaim() does it.  The clock is one that all share.
 *
 *   stress_balance [SECONDS [threads|processes|both]], prints TAP
 */

#include "balance.h"
#include "util.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_WORKERS   4
#define STRESS_MEMBERS   6
#define STRESS_HOLDS     5                      /* at a time, by one worker  */
#define STRESS_WINDOW    1000u
#define STRESS_WINDOWS   65536u
#define STRESS_REQUESTS  40u
#define STRESS_TOKENS    1000u
#define STRESS_BEGIN     1000000u
#define STRESS_PROBE     200u

#define load(p)          __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store(p, v)      __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define add(p, v)        __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)


typedef struct {
    uint64_t  clock;
    uint64_t  stop;
    uint64_t  over;                             /* places                    */
    uint64_t  above;                            /* windows                   */
    uint64_t  taken;
    uint64_t  refused;
    uint64_t  probes;
    uint64_t  kills;

    /* a byte for each worker: what is in flight, all of them at one moment */
    uint64_t  count[STRESS_MEMBERS];

    /* by window: what was admitted in it */
    uint32_t  requests[STRESS_MEMBERS][STRESS_WINDOWS];
    uint32_t  tokens[STRESS_MEMBERS][STRESS_WINDOWS];
} stress_shared_t;


static stress_shared_t         *stress;
static unsigned                 stress_tests;
static bool                     stress_forks;
static sluice_pool_t            stress_pool;
static sluice_balance_conf_t    stress_conf[STRESS_MEMBERS];

static const unsigned  stress_slot[STRESS_WORKERS] = { 0, 1, 100, 255 };

static const sluice_member_policy_t  stress_policy = {
    .cool = 20, .cool_max = 200, .denied = 0, .exhausted = 100,
    .errors = 2, .window = 1000, .open = 30, .open_max = 100,
    .probe = STRESS_PROBE
};


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
stress_admit(unsigned number, const sluice_balance_hold_t *hold)
{
    unsigned  m;
    uint32_t  index;

    m = hold->member;

    if (stress_conf[m].max_conns != 0
        && stress_sum(add(&stress->count[m], 1ull << 8 * number))
           > stress_conf[m].max_conns)
    {
        add(&stress->over, 1);
    }

    if (stress_conf[m].nlimits != 0) {
        index = hold->window[0].index % STRESS_WINDOWS;

        if (add(&stress->requests[m][index], 1) > STRESS_REQUESTS) {
            add(&stress->above, 1);
        }

        index = hold->window[1].index % STRESS_WINDOWS;

        if (add(&stress->tokens[m][index], (uint32_t) hold->tokens)
            > STRESS_TOKENS)
        {
            add(&stress->above, 1);
        }
    }

    if (hold->try.probe != 0) {
        add(&stress->probes, 1);
    }
}


static void
stress_finish(sluice_balance_t *balance, unsigned number, uint64_t *seed,
    const sluice_balance_hold_t *hold)
{
    unsigned         m, luck;
    uint64_t         now, actual;
    sluice_answer_t  answer;

    m = hold->member;
    now = load(&stress->clock);

    luck = (unsigned) (util_random(seed) % 100);
    answer = (luck < 80) ? SLUICE_ANSWER_WELL
             : (luck < 96) ? SLUICE_ANSWER_ERROR
             : (luck < 98) ? SLUICE_ANSWER_COOL : SLUICE_ANSWER_EXHAUSTED;

    (void) sluice_member_answer(sluice_pool_line(&stress_pool,
                                                 stress_conf[m].line),
                                &stress_policy, &hold->try, answer,
                                SLUICE_REASON_STATUS, 500, 10, now);

    /* counted for no longer than it is charged, or held */

    if (stress_conf[m].nlimits != 0 && luck < 50) {
        actual = util_random(seed) % (hold->tokens + 1);
        __atomic_fetch_sub(&stress->tokens[m][hold->window[1].index
                                              % STRESS_WINDOWS],
                           (uint32_t) (hold->tokens - actual),
                           __ATOMIC_SEQ_CST);
        sluice_balance_settle(balance, hold, actual, now);
    }

    if (stress_conf[m].max_conns != 0) {
        __atomic_fetch_sub(&stress->count[m], 1ull << 8 * number,
                           __ATOMIC_SEQ_CST);
    }

    sluice_balance_give(balance, hold);
}


static void
stress_worker(unsigned number)
{
    void                   *memory;
    unsigned                k, n;
    uint64_t                seed, now, retry;
    sluice_balance_t       *balance;
    sluice_balance_set_t    had;
    sluice_balance_hold_t   held[STRESS_HOLDS];

    seed = util_seed() + number + (uint64_t) getpid();
    n = 0;

    memory = aligned_alloc(64, sluice_balance_size(STRESS_MEMBERS));
    util_check(memory != NULL);
    balance = sluice_balance_init(memory, &stress_pool, number % 4,
                                  stress_conf, STRESS_MEMBERS);
    sluice_balance_start(balance, stress_slot[number], seed);

    while (!load(&stress->stop) || n > 0) {

        if (n == STRESS_HOLDS || load(&stress->stop)
            || (n > 0 && util_random(&seed) % 2 == 0))
        {
            k = (unsigned) (util_random(&seed) % n);
            stress_finish(balance, number, &seed, &held[k]);
            held[k] = held[--n];
            continue;
        }

        now = (util_random(&seed) % 8 == 0) ? add(&stress->clock, 1)
                                            : load(&stress->clock);
        memset(&had, 0, sizeof(had));

        if (sluice_balance_take(balance, &had, SLUICE_BALANCE_MAX,
                                util_random(&seed),
                                1 + util_random(&seed) % 90, STRESS_PROBE,
                                true, now, &held[n], &retry)
            != SLUICE_BALANCE_TAKEN)
        {
            add(&stress->refused, 1);
            continue;
        }

        stress_admit(number, &held[n++]);
        add(&stress->taken, 1);

        if (util_random(&seed) % 8 == 0) {
            sched_yield();
        }
    }

    free(memory);
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


static void
stress_kill(const sluice_dir_t *dir, double seconds, pid_t *pid,
    unsigned *number)
{
    double    end;
    unsigned  i, m;
    uint64_t  seed;

    seed = util_seed();
    end = util_now() + seconds;

    while (util_now() < end) {
        usleep((useconds_t) (500 + util_random(&seed) % 3000));

        i = (unsigned) (util_random(&seed) % STRESS_WORKERS);

        kill(pid[i], SIGKILL);
        util_check(util_wait(pid[i]) == -1);

        for (m = 0; m < STRESS_MEMBERS; m++) {
            __atomic_fetch_and(&stress->count[m], ~(0xffull << 8 * i),
                               __ATOMIC_SEQ_CST);
        }

        util_check(sluice_pool_forget_slot(dir, stress_slot[i]));
        stress->kills++;

        pid[i] = util_fork(stress_process, &number[i]);
    }
}


static void
stress_open(const sluice_dir_t *dir)
{
    unsigned        i;
    sluice_error_t  error;

    static const char  *id[STRESS_MEMBERS] = { "a", "b", "c", "d", "e", "f" };

    util_check(sluice_pool_open(dir, SLUICE_POOL_KEYS,
                                stress_forks ? "f" : "t", &stress_pool, &error)
               == SLUICE_OK);
    memset(stress_conf, 0, sizeof(stress_conf));

    for (i = 0; i < STRESS_MEMBERS; i++) {
        stress_conf[i].id = id[i];
        stress_conf[i].weight = 1 + i % 3;
        stress_conf[i].max_conns = (i % 3 == 2) ? 0 : 1 + i;
        stress_conf[i].backup = (i == 5);

        util_check(sluice_pool_member(&stress_pool, i + 1, id[i], 1,
                                      &stress_conf[i].line, &error)
                   == SLUICE_OK);

        if (i % 2 == 0) {
            stress_conf[i].nlimits = 2;
            stress_conf[i].limit[0].counts = SLUICE_COUNTS_REQUESTS;
            stress_conf[i].limit[0].window = STRESS_WINDOW;
            stress_conf[i].limit[0].max = STRESS_REQUESTS;
            stress_conf[i].limit[1].counts = SLUICE_COUNTS_TOKENS;
            stress_conf[i].limit[1].window = STRESS_WINDOW;
            stress_conf[i].limit[1].max = STRESS_TOKENS;
            util_check(sluice_member_limit_init(&stress_conf[i].limit[0]));
            util_check(sluice_member_limit_init(&stress_conf[i].limit[1]));
        }
    }
}


static void
stress_run(double seconds)
{
    pid_t       pid[STRESS_WORKERS];
    unsigned    i, left, full, number[STRESS_WORKERS];
    uint64_t    k;
    pthread_t   thread[STRESS_WORKERS];
    util_dir_t  d;

    util_check(util_dir_make(&d));

    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    util_check(stress != MAP_FAILED);

    stress->clock = STRESS_BEGIN;
    stress_open(&d.dir);

    for (i = 0; i < STRESS_WORKERS; i++) {
        number[i] = i;

        if (stress_forks) {
            pid[i] = util_fork(stress_process, &number[i]);
        } else {
            util_check(pthread_create(&thread[i], NULL, stress_thread,
                                      &number[i]) == 0);
        }
    }

    if (stress_forks) {
        stress_kill(&d.dir, seconds, pid, number);
    } else {
        usleep((useconds_t) (seconds * 1e6));
    }

    store(&stress->stop, 1);

    for (i = 0; i < STRESS_WORKERS; i++) {
        if (stress_forks) {
            util_check(util_wait(pid[i]) == 0);
        } else {
            pthread_join(thread[i], NULL);
        }
    }

    for (left = 0, i = 0; i < STRESS_MEMBERS; i++) {
        left += sluice_pool_in_flight(&stress_pool, stress_conf[i].line);
    }

    /* windows that had all they may: or nothing was tried */

    for (full = 0, k = 0; k < STRESS_WINDOWS; k++) {
        full += (stress->requests[0][k] == STRESS_REQUESTS
                 || stress->tokens[0][k] > STRESS_TOKENS - 90);
    }

    printf("# %s: %llu taken, %llu refused, %llu probes, %llu killed, over "
           "%llu, above %llu, left %u, %u windows full of %llu\n",
           stress_forks ? "processes" : "threads",
           (unsigned long long) stress->taken,
           (unsigned long long) stress->refused,
           (unsigned long long) stress->probes,
           (unsigned long long) stress->kills,
           (unsigned long long) stress->over,
           (unsigned long long) stress->above, left, full,
           (unsigned long long) (stress->clock - STRESS_BEGIN)
           / STRESS_WINDOW);

    util_check(stress->clock - STRESS_BEGIN
               < (uint64_t) STRESS_WINDOWS * STRESS_WINDOW);
    util_check(stress->over == 0);
    util_check(stress->above == 0);
    util_check(left == 0);
    util_check(stress->taken > 1000);
    util_check(stress->refused > 100);
    util_check(stress->probes > 10);
    util_check(full > 0);

    printf("ok %u - %s\n", ++stress_tests,
           stress_forks ? "processes" : "threads");

    munmap(stress, sizeof(stress_shared_t));
    sluice_pool_close(&d.dir, &stress_pool);
    util_dir_remove(&d);
}


int
main(int argc, char **argv)
{
    int          fork;
    double       seconds;
    const char  *mode;

    seconds = (argc > 1) ? atof(argv[1]) : 10;
    mode = (argc > 2) ? argv[2] : UTIL_STRESS_MODE;
    seconds /= (strcmp(mode, "both") == 0) ? 2 : 1;

    for (fork = 0; fork < 2; fork++) {
        if (strcmp(mode, fork ? "threads" : "processes") == 0) {
            continue;
        }

        stress_forks = fork;
        stress_run(seconds);
    }

    printf("1..%u\n", stress_tests);

    return 0;
}
