
/*
 * Slots and in-flight counts under kill -9: no slot has two living owners,
 * nobody loses what he holds to a reclaimer, and when all are dead what they
 * held is given back by the next look, within a second.
 *
 *   stress_workers [SECONDS], prints TAP
 */

#include "pool.h"
#include "util.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_WORKERS  8
#define STRESS_MEMBERS  5
#define STRESS_LIVES    100000


typedef struct {
    uint32_t  life;                     /* the last one started              */
    uint32_t  owner[SLUICE_SLOTS];      /* a life                            */
    uint8_t   over[STRESS_LIVES];       /* told before it is killed or gives
                                           its slot back                     */
    uint64_t  claims;
    uint64_t  reclaims;
} stress_shared_t;


static util_dir_t        stress_dir;
static stress_shared_t  *stress;


/* claims, takes and gives, reclaims; sometimes it gives the slot back */

static int
stress_work(void *data)
{
    unsigned           slot, line, i, n, k;
    uint32_t           life, former;
    uint64_t           seed;
    unsigned           held[STRESS_MEMBERS];
    sluice_pool_t      pool;
    sluice_error_t     error;
    sluice_workers_t   workers;

    life = (uint32_t) (uintptr_t) data;
    seed = util_seed() + life;

    util_check(sluice_workers_open(&stress_dir.dir, &workers, &error)
               == SLUICE_OK);
    util_check(sluice_pool_open(&stress_dir.dir, SLUICE_POOL_KEYS, "p", &pool,
                                &error)
               == SLUICE_OK);

    for (i = 0; i < STRESS_MEMBERS; i++) {
        util_check(sluice_pool_member(&pool, i + 1, "m", 1, &line,
                                      &error)
                   == SLUICE_OK);
        util_check(line == i);
    }

    util_check(sluice_slot_claim(&stress_dir.dir, &workers, &slot, &error)
               == SLUICE_OK);
    __atomic_add_fetch(&stress->claims, 1, __ATOMIC_RELAXED);

    former = __atomic_exchange_n(&stress->owner[slot], life,
                                 __ATOMIC_SEQ_CST);

    util_check(former == 0
               || __atomic_load_n(&stress->over[former], __ATOMIC_SEQ_CST));

    memset(held, 0, sizeof(held));

    for (i = 0; i < STRESS_MEMBERS; i++) {
        util_check(pool.columns[slot][i] == 0);
    }

    for (n = 0; n < 20000; n++) {
        k = (unsigned) (util_random(&seed) % STRESS_MEMBERS);

        util_check(pool.columns[slot][k] == held[k]);

        if (held[k] != 0 && util_random(&seed) % 2) {
            held[k]--;
            sluice_pool_give(&pool, k, slot);

        } else if (held[k] < 30) {
            held[k]++;
            sluice_pool_take(&pool, k, slot);
        }

        if (util_random(&seed) % 256 == 0) {
            __atomic_add_fetch(&stress->reclaims,
                               sluice_slot_reclaim(&stress_dir.dir, &workers,
                                                   slot),
                               __ATOMIC_RELAXED);
        }
    }

    __atomic_store_n(&stress->over[life], 1, __ATOMIC_SEQ_CST);
    sluice_slot_release(&stress_dir.dir, &workers, slot);

    return 0;
}


static pid_t
stress_start(unsigned *life)
{
    *life = ++stress->life;
    util_check(*life < STRESS_LIVES);

    return util_fork(stress_work, (void *) (uintptr_t) *life);
}


static void
stress_kill(pid_t pid, unsigned life)
{
    __atomic_store_n(&stress->over[life], 1, __ATOMIC_SEQ_CST);

    kill(pid, SIGKILL);
    util_check(util_wait(pid) != 1);
}


/* with everybody dead, one look gives everything back */

static void
stress_check_free(sluice_workers_t *workers, sluice_pool_t *pool)
{
    double    begin;
    unsigned  i;

    begin = util_now();
    (void) sluice_slot_reclaim(&stress_dir.dir, workers, SLUICE_SLOTS);
    util_check(util_now() - begin < 1.0);

    for (i = 0; i < SLUICE_SLOTS; i++) {
        util_check(workers->slots[i].state == SLUICE_SLOT_FREE);
    }

    for (i = 0; i < STRESS_MEMBERS; i++) {
        util_check(sluice_pool_in_flight(pool, i) == 0);
    }
}


int
main(int argc, char **argv)
{
    int                status;
    pid_t              pid[STRESS_WORKERS];
    double             end, next;
    unsigned           i, turns, life[STRESS_WORKERS], most;
    uint64_t           seed;
    sluice_pool_t      pool;
    sluice_error_t     error;
    sluice_workers_t   workers;

    if (strcmp(UTIL_STRESS_MODE, "threads") == 0) {
        printf("1..0 # SKIP it has processes only\n");
        return 0;
    }

    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    util_check(stress != MAP_FAILED);
    util_check(util_dir_make(&stress_dir));
    util_check(sluice_workers_open(&stress_dir.dir, &workers, &error)
               == SLUICE_OK);
    util_check(sluice_pool_open(&stress_dir.dir, SLUICE_POOL_KEYS, "p", &pool,
                                &error)
               == SLUICE_OK);

    seed = util_seed();
    end = util_now() + (argc > 1 ? atof(argv[1]) : 10);
    turns = 0;
    most = 0;

    do {
        for (i = 0; i < STRESS_WORKERS; i++) {
            pid[i] = stress_start(&life[i]);
        }

        next = util_now() + 0.5;

        while (util_now() < next) {
            usleep(2000);

            for (i = 0; i < STRESS_WORKERS; i++) {
                if (waitpid(pid[i], &status, WNOHANG) == pid[i]) {
                    util_check(status == 0);
                    pid[i] = stress_start(&life[i]);
                }
            }

            i = (unsigned) (util_random(&seed) % STRESS_WORKERS);
            stress_kill(pid[i], life[i]);
            pid[i] = stress_start(&life[i]);

            for (i = 0; i < STRESS_MEMBERS; i++) {
                if (sluice_pool_in_flight(&pool, i) > most) {
                    most = sluice_pool_in_flight(&pool, i);
                }
            }
        }

        for (i = 0; i < STRESS_WORKERS; i++) {
            stress_kill(pid[i], life[i]);
        }

        stress_check_free(&workers, &pool);
        turns++;

    } while (util_now() < end);

    util_check(most > 0);
    util_check(stress->reclaims > 0);

    printf("ok 1 - workers: %u turns, %u lives, %llu claims, %llu reclaimed, "
           "at most %u in flight\n", turns, stress->life,
           (unsigned long long) stress->claims,
           (unsigned long long) stress->reclaims, most);
    printf("1..1\n");

    sluice_pool_close(&stress_dir.dir, &pool);
    sluice_workers_close(&stress_dir.dir, &workers);
    util_dir_remove(&stress_dir);

    return 0;
}
