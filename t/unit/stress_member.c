
/*
 * A pool's member under stress, threads and processes that are killed at any
 * moment, by counts that know nothing of it.
 *
 * answers: all kinds of them, probes, and an operator who disables and
 * enables: nobody takes the member before the latest deadline that was asked
 * for, and while the operator has it disabled it is.
 * early: the same with guesses, and early tries of them: what was asked for is
 * kept, whatever was guessed.
 * probes: one at a time until its deadline, as long as none of them fails.
 * places: never more in flight than max_conns, and none when all are dead.
 * windows: more kinds than words, so that words change hands all the time:
 * never more in a window than its limit.
 *
 *   stress_member [SECONDS [threads|processes|both]], prints TAP
 *
 * member.c is included for its statics.
 */

#include "member.c"
#include "pool.h"
#include "util.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_WORKERS  4
#define STRESS_LINES    5
#define STRESS_HOLDS    6               /* at a time, by one worker          */
#define STRESS_KINDS    6
#define STRESS_INDICES  (1u << 20)
#define STRESS_LIMIT    3

#define load(p)         __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store(p, v)     __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define add(p, v)       __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)


typedef struct {
    uint64_t               clock;
    uint64_t               stop;
    uint64_t               wrong;
    uint64_t               kills;
    uint64_t               done;        /* of what the run is about          */
    uint64_t               refused;
    uint64_t               early;

    uint64_t               epoch;       /* odd: the operator is at work      */
    uint64_t               deadline;    /* the epoch's: epoch:24, ms:40      */
    uint64_t               probe;       /* who is out: worker:8, until:56    */

    /* a byte for each worker: what is in flight, all of them at one moment */
    uint64_t               count[STRESS_LINES];
    uint32_t               charged[STRESS_KINDS][STRESS_INDICES];

    sluice_pool_control_t  control;
    sluice_member_t        member[STRESS_LINES];
    uint16_t               column[SLUICE_SLOTS][SLUICE_POOL_MEMBERS];
} stress_shared_t;


static stress_shared_t  *stress;
static unsigned          stress_tests;

/* the workers' slots: next to each other, the first, the last */
static const unsigned    stress_slot[STRESS_WORKERS] = { 0, 1, 100, 255 };

static const sluice_member_policy_t  stress_policy = {
    .cool = 100, .cool_max = 2000,
    .denied = 3,
    .exhausted = 400,
    .errors = 4, .window = 1000, .open = 100, .open_max = 800,
    .probe = 50
};


static void
stress_pass(uint64_t *seed)
{
    if (util_random(seed) % 8 == 0) {
        add(&stress->clock, 1 + util_random(seed) % 20);
    }

    if (util_random(seed) % 32 == 0) {
        sched_yield();
    }
}


/* answers */

static void
stress_ask(uint64_t epoch, uint64_t until)
{
    uint64_t  old, new;

    new = epoch << 40 | until;
    old = load(&stress->deadline);

    while (old < new
           && !__atomic_compare_exchange_n(&stress->deadline, &old, new, false,
                                           __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST))
    {
        /* void */
    }
}


/* the member is to be had: it must not be before what was asked for */

static void
stress_taken(uint64_t deadline, uint64_t epoch)
{
    if (epoch % 2 == 0 && deadline >> 40 == epoch
        && load(&stress->clock) < (deadline & ((1ull << 40) - 1))
        && load(&stress->epoch) == epoch)
    {
        add(&stress->wrong, 1);
    }
}


static void
stress_try(uint64_t *seed, bool guesses)
{
    int                   brought;
    bool                  guess, half;
    uint64_t              deadline, epoch, now, hint;
    sluice_answer_t       answer;
    sluice_member_t      *m;
    sluice_member_try_t   try;

    static const sluice_answer_t  answers[16] = {
        SLUICE_ANSWER_WELL, SLUICE_ANSWER_WELL, SLUICE_ANSWER_WELL,
        SLUICE_ANSWER_WELL, SLUICE_ANSWER_WELL, SLUICE_ANSWER_WELL,
        SLUICE_ANSWER_COOL, SLUICE_ANSWER_COOL, SLUICE_ANSWER_EXHAUSTED,
        SLUICE_ANSWER_ERROR, SLUICE_ANSWER_ERROR, SLUICE_ANSWER_TIMEOUT,
        SLUICE_ANSWER_CONNECT, SLUICE_ANSWER_CLIENT, SLUICE_ANSWER_NONE,
        SLUICE_ANSWER_DENIED
    };

    m = &stress->member[0];

    epoch = load(&stress->epoch);
    deadline = load(&stress->deadline);
    now = load(&stress->clock);

    try.began = now;
    try.probe = 0;

    if (sluice_member_recovery(m, now, &half) != 0) {

        if (guesses && util_random(seed) % 4 == 0) {
            try.probe = sluice_member_early(m, now);
        }

        if (try.probe == 0) {
            add(&stress->clock, 1);
            return;
        }

        add(&stress->early, 1);

    } else if (half) {
        try.probe = sluice_member_probe(m, now, stress_policy.probe);

        if (try.probe == 0) {
            return;
        }
    }

    stress_taken(deadline, epoch);
    stress_pass(seed);

    answer = answers[util_random(seed) % 16];
    hint = SLUICE_MEMBER_REST_MIN + util_random(seed) % 200;
    guess = guesses && util_random(seed) % 2 == 0
            && answer == SLUICE_ANSWER_COOL;

    epoch = load(&stress->epoch);
    now = load(&stress->clock);

    brought = sluice_member_answer(m, &stress_policy, &try, answer,
                                   SLUICE_REASON_STATUS, 500,
                                   guess ? SLUICE_NEVER : hint, now);

    if (answer == SLUICE_ANSWER_COOL || answer == SLUICE_ANSWER_EXHAUSTED) {

        if (!guess) {
            stress_ask(epoch, now + hint);
        }

    } else if (brought == SLUICE_MEMBER_COOLING && !guesses) {
        stress_ask(epoch, now + stress_policy.open);
    }

    add(&stress->done, brought != -1);
}


static void
stress_operate(uint64_t *seed)
{
    unsigned                 i;
    sluice_member_t         *m;
    sluice_member_status_t   status;

    m = &stress->member[0];

    add(&stress->epoch, 1);
    sluice_member_disable(m, load(&stress->clock));

    for (i = (unsigned) (util_random(seed) % 200); i > 0; i--) {
        sluice_member_status(sluice_load16(&m->state), &status);

        if (status.state != SLUICE_MEMBER_DISABLED) {
            add(&stress->wrong, 1);
        }
    }

    /* what somebody asks for meanwhile is of an odd epoch */

    sluice_member_enable(m);
    add(&stress->epoch, 1);
}


static void
stress_all(unsigned number, uint64_t *seed, bool guesses)
{
    if (number == 0) {

        /* its former life may have ended in an odd one */

        if (load(&stress->epoch) % 2 != 0) {
            sluice_member_enable(&stress->member[0]);
            add(&stress->epoch, 1);
        }

        if (util_random(seed) % 64 == 0) {
            stress_operate(seed);
            return;
        }
    }

    stress_try(seed, guesses);
}


static void
stress_answers(unsigned number, uint64_t *seed)
{
    stress_all(number, seed, false);
}


static void
stress_early(unsigned number, uint64_t *seed)
{
    stress_all(number, seed, true);
}


/* probes */

static void
stress_probes(unsigned number, uint64_t *seed)
{
    bool                  half;
    uint64_t              now, clock, mine, old;
    sluice_u128_t         healthy;
    sluice_member_t      *m;
    sluice_member_try_t   try;
    sluice_member_word_t  exhausted = {
        .s = { .state = SLUICE_MEMBER_EXHAUSTED, .probe = true }
    };

    m = &stress->member[0];
    now = load(&stress->clock);

    if (sluice_member_recovery(m, now, &half) != 0) {
        add(&stress->clock, 1);
        add(&stress->refused, 1);
        return;
    }

    /* a failure would end others' probes: from HEALTHY, by a compare */

    if (!half) {
        exhausted.s.since = now;
        exhausted.s.until = now + 1;
        healthy = 0;
        (void) sluice_cas16(&m->state, &healthy,
                            sluice_member_pack(&exhausted));
        return;
    }

    try.began = now;
    try.probe = sluice_member_probe(m, now, 30);

    if (try.probe == 0) {
        add(&stress->refused, 1);
        return;
    }

    mine = (uint64_t) (number + 1) << 56 | (now + 30);
    old = __atomic_exchange_n(&stress->probe, mine, __ATOMIC_SEQ_CST);

    /* two at one moment, or the time of one was over */

    clock = load(&stress->clock);

    if (now + 30 > clock && (old & ((1ull << 56) - 1)) > clock) {
        add(&stress->wrong, 1);
    }

    stress_pass(seed);
    add(&stress->done, 1);

    /* told before it ends */

    (void) __atomic_compare_exchange_n(&stress->probe, &mine, 0, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

    (void) sluice_member_answer(m, &stress_policy, &try,
                                util_random(seed) % 4 != 0
                                ? SLUICE_ANSWER_NONE : SLUICE_ANSWER_WELL,
                                SLUICE_REASON_NONE, 0, SLUICE_NEVER,
                                load(&stress->clock));
}


/* places */

static void
stress_attach(sluice_pool_t *pool)
{
    memset(pool, 0, sizeof(sluice_pool_t));
    pool->control = &stress->control;
    pool->members = stress->member;
    pool->columns = stress->column;
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
stress_places(unsigned number, uint64_t *seed)
{
    unsigned       k, n, line, held[STRESS_HOLDS];
    uint64_t       one;
    sluice_pool_t  pool;

    stress_attach(&pool);
    one = 1ull << 8 * number;
    n = 0;

    while (!load(&stress->stop) || n > 0) {

        if (n == STRESS_HOLDS || load(&stress->stop)
            || (n > 0 && util_random(seed) % 2 == 0))
        {
            k = (unsigned) (util_random(seed) % n);

            /* never counted for longer than it is held */

            __atomic_fetch_sub(&stress->count[held[k]], one,
                               __ATOMIC_SEQ_CST);
            sluice_pool_give(&pool, held[k], stress_slot[number]);
            held[k] = held[--n];
            continue;
        }

        line = (unsigned) (util_random(seed) % STRESS_LINES);

        if (!sluice_pool_take_max(&pool, line, stress_slot[number],
                                  1 + line / 2))
        {
            add(&stress->refused, 1);
            continue;
        }

        if (stress_sum(add(&stress->count[line], one)) > 1 + line / 2) {
            add(&stress->wrong, 1);
        }

        held[n++] = line;
        add(&stress->done, 1);
        stress_pass(seed);
    }
}


/* windows */

static void
stress_windows(unsigned number, uint64_t *seed)
{
    unsigned               kind;
    uint32_t               n;
    uint64_t               now, retry;
    sluice_window_t        w;
    sluice_member_limit_t  limit;

    (void) number;

    /* four at a time, so that the words of the others fall free */

    now = load(&stress->clock);
    kind = (unsigned) (util_random(seed) % 4 + now / 8000 % 3)
           % STRESS_KINDS;

    limit.counts = (sluice_counts_t) (kind % 2);
    limit.window = 1000 * (1 + kind / 2);
    limit.max = STRESS_LIMIT;
    limit.scale = 1;

    n = 1 + (uint32_t) (util_random(seed) % 2);

    if (!sluice_member_charge(&stress->member[0], &limit, now, n, &w, &retry))
    {
        add(&stress->refused, 1);

    /* what was charged to the past is lost: see member.h */

    } else if (load(&stress->clock) / limit.window <= w.index + 1
               && w.index < STRESS_INDICES)
    {
        add(&stress->done, 1);

        if (add(&stress->charged[kind][w.index], n) > STRESS_LIMIT) {
            add(&stress->wrong, 1);
        }
    }

    /* now and then all are over at once, and all are put in again */

    if (util_random(seed) % 32 == 0) {
        add(&stress->clock,
            util_random(seed) % (util_random(seed) % 8 == 0 ? 5000 : 200));
    }
}


typedef struct {
    const char  *name;
    void       (*step)(unsigned number, uint64_t *seed);
} stress_run_t;

static const stress_run_t  *stress_of;

static const stress_run_t   stress_runs[] = {
    { "answers", stress_answers },
    { "early", stress_early },
    { "probes", stress_probes },
    { "places", stress_places },
    { "windows", stress_windows }
};


static void
stress_worker(unsigned number)
{
    uint64_t  seed;

    seed = util_seed() + number + (uint64_t) getpid();

    while (!load(&stress->stop)) {
        stress_of->step(number, &seed);
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

    for (i = 0; i < STRESS_LINES; i++) {
        __atomic_fetch_and(&stress->count[i], ~(0xffull << 8 * number),
                           __ATOMIC_SEQ_CST);
        __atomic_store_n(&stress->column[stress_slot[number]][i], 0,
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
stress_run(const stress_run_t *of, bool fork, double seconds)
{
    pid_t          pid[STRESS_WORKERS];
    unsigned       i, left, number[STRESS_WORKERS];
    pthread_t      thread[STRESS_WORKERS];
    sluice_pool_t  pool;

    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    util_check(stress != MAP_FAILED);

    stress->clock = 5000;
    stress_of = of;

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

    stress_attach(&pool);

    for (left = 0, i = 0; i < STRESS_LINES; i++) {
        left += sluice_pool_in_flight(&pool, i);
    }

    printf("# %s, %s: %llu done, %llu refused, %llu probes, %llu "
           "early, %llu of the operator, %llu killed, wrong %llu, left %u\n",
           of->name, fork ? "processes" : "threads",
           (unsigned long long) stress->done,
           (unsigned long long) stress->refused,
           (unsigned long long) stress->member[0].probes,
           (unsigned long long) stress->early,
           (unsigned long long) stress->epoch / 2,
           (unsigned long long) stress->kills,
           (unsigned long long) stress->wrong, left);

    util_check(stress->wrong == 0);
    util_check(left == 0);
    util_check(stress->done > 1000);

    if (of->step == stress_answers || of->step == stress_early) {
        util_check(stress->epoch > 20);
        util_check(stress->member[0].probes - stress->early > 100);
        util_check(of->step == stress_answers || stress->early > 100);

    } else {
        util_check(stress->refused > 10);
    }

    printf("ok %u - %s, %s\n", ++stress_tests, of->name,
           fork ? "processes" : "threads");

    munmap(stress, sizeof(stress_shared_t));
}


int
main(int argc, char **argv)
{
    int          fork;
    double       seconds;
    unsigned     i, n;
    const char  *mode;

    n = sizeof(stress_runs) / sizeof(stress_runs[0]);

    seconds = (argc > 1) ? atof(argv[1]) : 10;
    mode = (argc > 2) ? argv[2] : UTIL_STRESS_MODE;
    seconds /= (strcmp(mode, "both") == 0) ? 2 * n : n;

    for (fork = 0; fork < 2; fork++) {
        if (strcmp(mode, fork ? "threads" : "processes") == 0) {
            continue;
        }

        for (i = 0; i < n; i++) {
            stress_run(&stress_runs[i], fork, seconds);
        }
    }

    printf("1..%u\n", stress_tests);

    return 0;
}
