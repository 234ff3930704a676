
/*
 * The limit table under stress: no number of a window is given out twice.
 * A key that stood in two slots, or whose count was lost, would do that.
 *
 * windows: keys come, go stale and come back while the clock goes on.
 * full: every slot is a live window, so that each insertion evicts one; the
 * keys are the least counts of their buckets, and all processes insert the
 * same one at once.  Whoever evicted his own key would lose its count.
 *
 *   stress_limit [SECONDS [threads|processes|both]], prints TAP
 *
 * limit.c is included for its statics.
 */

#include "limit.c"
#include "util.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_WORKERS  4
#define STRESS_BUCKETS  32
#define STRESS_KEYS     40
#define STRESS_INDICES  100000
#define STRESS_LIMIT    6
#define STRESS_WINDOW   1000u
#define STRESS_STEP     100             /* ms that the clock goes at a time  */
#define STRESS_HOT      3

#define load(p)         __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store(p, v)     __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define add(p, v)       __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)


typedef struct {
    uint64_t                clock;
    uint64_t                at[STRESS_WORKERS];     /* UINT64_MAX: nowhere   */
    uint64_t                stop;
    uint64_t                twice;
    uint64_t                over;
    uint64_t                operations;
    uint64_t                contended;

    uint64_t                rounds;                 /* full: barriers        */
    uint64_t                arrived;
    uint64_t                ending;
    uint64_t                passed[STRESS_HOT];
    uint64_t                fought[STRESS_HOT];

    sluice_limit_column_t   column[STRESS_WORKERS];
    sluice_limit_control_t  control;
    sluice_limit_bucket_t   bucket[STRESS_BUCKETS];
    uint8_t                 seen[STRESS_KEYS][STRESS_INDICES][STRESS_LIMIT];
} stress_shared_t;


static stress_shared_t  *stress;
static uint64_t          stress_hot[STRESS_HOT];
static unsigned          stress_tests;


static uint64_t
stress_clock(void)
{
    return load(&stress->clock);
}


static void
stress_attach(sluice_limit_t *limit, unsigned number)
{
    memset(limit, 0, sizeof(sluice_limit_t));
    memset(limit->file.header.key, 0x5a, 16);
    limit->control = &stress->control;
    limit->buckets = stress->bucket;
    limit->nbuckets = STRESS_BUCKETS;
    limit->window = STRESS_WINDOW;
    limit->own = &stress->column[number];
    limit->clock = stress_clock;
}


static sluice_hash_t
stress_hash(const sluice_limit_t *limit, uint64_t key)
{
    return sluice_limit_hash(limit, &key, sizeof(key));
}


/* a number that was let through: is it the first of its kind? */

static void
stress_number(uint64_t key, const sluice_limit_state_t *state)
{
    if (state->seen.current >= STRESS_LIMIT) {
        add(&stress->over, 1);
        return;
    }

    if (state->seen.index < STRESS_INDICES
        && __atomic_exchange_n(&stress->seen[key][state->seen.index]
                                            [state->seen.current], 1,
                               __ATOMIC_RELAXED))
    {
        add(&stress->twice, 1);
    }
}


static void
stress_windows(unsigned number)
{
    unsigned               i;
    uint64_t               seed, now, key, other, n;
    sluice_limit_t         limit;
    sluice_limit_state_t   state;

    stress_attach(&limit, number);
    seed = util_seed() + number;

    for (n = 0; !load(&stress->stop); n++) {

        /* who is at work holds the clock back: nobody is a window late */

        do {
            now = load(&stress->clock);
            store(&stress->at[number], now);
        } while (load(&stress->clock) != now);

        if (util_random(&seed) % 32 == 0) {
            for (i = 0; i < STRESS_WORKERS; i++) {
                other = load(&stress->at[i]);

                if (other + STRESS_WINDOW - STRESS_STEP <= now) {
                    break;
                }
            }

            if (i == STRESS_WORKERS) {
                other = now;
                __atomic_compare_exchange_n(&stress->clock, &other,
                                            now + STRESS_STEP, false,
                                            __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST);
            }
        }

        /* eight keys at a time: the others go stale */

        key = now / (4 * STRESS_WINDOW) % 5 * 8 + util_random(&seed) % 8;

        switch (sluice_limit_charge(&limit, stress_hash(&limit, key), now,
                                    STRESS_LIMIT, 1, &state))
        {
        case SLUICE_LIMIT_PASSED:
            stress_number(key, &state);
            break;

        case SLUICE_LIMIT_CONTENDED:
            add(&stress->contended, 1);
            break;

        default:
            break;
        }

        store(&stress->at[number], UINT64_MAX / 2);
    }

    add(&stress->operations, n);
}


/* every slot but the hot keys' own is a live window with a large count */

static void
stress_refill(void)
{
    unsigned  i;

    for (i = 0; i < STRESS_BUCKETS * SLUICE_LIMIT_BUCKET; i++) {
        stress->bucket[i / SLUICE_LIMIT_BUCKET].slot[i % SLUICE_LIMIT_BUCKET]
            = sluice_slot_pack(2 * (i + 1), (uint32_t) (stress->clock
                                                        / STRESS_WINDOW),
                               0, 1000 + i);
    }
}


/* keys whose buckets are apart: none of them can evict another */

static void
stress_choose_hot(const sluice_limit_t *limit)
{
    unsigned               n, i, b, c;
    uint64_t               key;
    sluice_limit_place_t   place, other;

    for (n = 0, key = 0; n < STRESS_HOT; key++) {
        sluice_limit_locate(limit, stress_hash(limit, key), &place);

        for (i = 0; i < n; i++) {
            sluice_limit_locate(limit, stress_hash(limit, stress_hot[i]),
                                &other);

            for (b = 0; b < 2; b++) {
                for (c = 0; c < 2; c++) {
                    if (place.bucket[b] == other.bucket[c]) {
                        goto next;
                    }
                }
            }
        }

        stress_hot[n++] = key;

    next:

        continue;
    }
}


/* false: that was all.  The last to come checks the round, begins another */

static bool
stress_barrier(uint64_t *round)
{
    unsigned  k;

    (*round)++;

    if (add(&stress->arrived, 1) == STRESS_WORKERS * *round) {

        for (k = 0; k < STRESS_HOT; k++) {

            /* each number once, and all of them, unless some gave up */

            if (stress->passed[k] > STRESS_LIMIT) {
                stress->over++;
            }

            if (stress->passed[k] < STRESS_LIMIT && stress->fought[k] == 0) {
                stress->over++;
            }

            stress->passed[k] = 0;
            stress->fought[k] = 0;
            memset(stress->seen[k][0], 0, STRESS_LIMIT);
        }

        stress_refill();
        stress->ending = load(&stress->stop);
        store(&stress->rounds, *round);
    }

    while (load(&stress->rounds) < *round) {
        sched_yield();
    }

    return !stress->ending;
}


static void
stress_full(unsigned number)
{
    unsigned               i, k;
    uint64_t               round;
    sluice_limit_t         limit;
    sluice_limit_state_t   state;

    stress_attach(&limit, number);
    round = 0;

    while (stress_barrier(&round)) {

        for (i = 0; i < STRESS_LIMIT * STRESS_HOT; i++) {
            k = (i + (number & 1)) % STRESS_HOT;

            switch (sluice_limit_charge(&limit,
                                        stress_hash(&limit, stress_hot[k]),
                                        stress->clock, STRESS_LIMIT, 1,
                                        &state))
            {
            case SLUICE_LIMIT_PASSED:
                add(&stress->passed[k], 1);
                state.seen.index = 0;
                stress_number(k, &state);
                break;

            case SLUICE_LIMIT_CONTENDED:
                add(&stress->fought[k], 1);
                add(&stress->contended, 1);
                break;

            default:
                break;
            }
        }
    }

    add(&stress->operations, round * STRESS_LIMIT * STRESS_HOT);
}


typedef struct {
    void      (*run)(unsigned number);
    unsigned    number;
} stress_job_t;


static void *
stress_thread(void *data)
{
    stress_job_t  *job = data;

    job->run(job->number);

    return NULL;
}


static int
stress_process(void *data)
{
    (void) stress_thread(data);

    return 0;
}


static void
stress_run(const char *what, void (*run)(unsigned number), bool fork,
    double seconds)
{
    pid_t            pid[STRESS_WORKERS];
    unsigned         i;
    uint64_t         evicted, inserted;
    pthread_t        thread[STRESS_WORKERS];
    stress_job_t     job[STRESS_WORKERS];
    sluice_limit_t   limit;

    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0);
    util_check(stress != MAP_FAILED);

    stress->clock = 10 * STRESS_WINDOW;
    stress_attach(&limit, 0);
    stress_choose_hot(&limit);

    for (i = 0; i < STRESS_WORKERS; i++) {
        stress->at[i] = UINT64_MAX / 2;
    }

    if (run == stress_full) {
        for (i = 0; i < STRESS_HOT; i++) {
            stress->passed[i] = STRESS_LIMIT;       /* of the round before */
        }
    }

    for (i = 0; i < STRESS_WORKERS; i++) {
        job[i].run = run;
        job[i].number = i;

        if (fork) {
            pid[i] = util_fork(stress_process, &job[i]);
        } else {
            util_check(pthread_create(&thread[i], NULL, stress_thread,
                                      &job[i]) == 0);
        }
    }

    usleep((useconds_t) (seconds * 1e6));
    store(&stress->stop, 1);

    for (i = 0; i < STRESS_WORKERS; i++) {
        if (fork) {
            util_check(util_wait(pid[i]) == 0);
        } else {
            pthread_join(thread[i], NULL);
        }
    }

    evicted = 0;
    inserted = 0;

    for (i = 0; i < STRESS_WORKERS; i++) {
        evicted += stress->column[i].evicted;
        inserted += stress->column[i].inserted;
    }

    printf("# %s, %s: %llu operations, %llu inserted, %llu evicted, %llu "
           "contended, clock %llu, twice %llu, over %llu\n", what,
           fork ? "processes" : "threads",
           (unsigned long long) stress->operations,
           (unsigned long long) inserted, (unsigned long long) evicted,
           (unsigned long long) stress->contended,
           (unsigned long long) stress->clock,
           (unsigned long long) stress->twice,
           (unsigned long long) stress->over);

    util_check(stress->twice == 0);
    util_check(stress->over == 0);
    util_check(inserted > 0);
    util_check(run == stress_full ? evicted >= inserted : evicted == 0);
    util_check(stress->contended < stress->operations / 1000 + 1);

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

        stress_run("windows", stress_windows, fork, seconds);
        stress_run("full", stress_full, fork, seconds);
    }

    printf("1..%u\n", stress_tests);

    return 0;
}
