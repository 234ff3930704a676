
/*
 * Process slots: who has the lock has the slot, and what a dead owner held
 * is given back by the next one who looks.
 */

#include "pool.h"
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>


static sluice_error_t  test_error;


static void
test_open(util_dir_t *d, sluice_workers_t *workers)
{
    assert_int_equal(sluice_workers_open(&d->dir, workers, &test_error),
                     SLUICE_OK);
}


static unsigned
test_claim(util_dir_t *d, sluice_workers_t *workers)
{
    unsigned  slot;

    assert_int_equal(sluice_slot_claim(&d->dir, workers, &slot, &test_error),
                     SLUICE_OK);
    assert_int_equal(workers->slots[slot].state, SLUICE_SLOT_TAKEN);
    assert_int_equal(workers->slots[slot].pid, getpid());

    return slot;
}


/* a worker of its own: claims a slot, takes a key, says so, waits */

typedef struct {
    util_dir_t  *d;
    int          said[2];
    pid_t        pid;
    unsigned     slot;
} test_worker_t;


static int
test_worker(void *data)
{
    unsigned           slot, line;
    test_worker_t     *w = data;
    sluice_pool_t      pool;
    sluice_error_t     error;
    sluice_workers_t   workers;

    util_check(sluice_workers_open(&w->d->dir, &workers, &error)
               == SLUICE_OK);
    util_check(sluice_slot_claim(&w->d->dir, &workers, &slot, &error)
               == SLUICE_OK);
    util_check(sluice_pool_open(&w->d->dir, SLUICE_POOL_KEYS, "p", &pool,
                                &error)
               == SLUICE_OK);
    util_check(sluice_pool_member(&pool, 1, "a", 1, &line, &error)
               == SLUICE_OK);

    sluice_pool_take(&pool, line, slot);
    sluice_pool_take(&pool, line, slot);
    sluice_stat_add(workers.slots[slot].stat, SLUICE_STAT_ADMITTED, 2);

    util_check(write(w->said[1], &slot, sizeof(slot)) == sizeof(slot));

    for ( ;; ) {
        pause();
    }

    return 0;
}


static void
test_start(util_dir_t *d, test_worker_t *w)
{
    w->d = d;
    assert_int_equal(pipe2(w->said, O_CLOEXEC), 0);
    w->pid = util_fork(test_worker, w);
    assert_int_equal(read(w->said[0], &w->slot, sizeof(w->slot)),
                     sizeof(w->slot));
}


static void
test_kill(test_worker_t *w)
{
    kill(w->pid, SIGKILL);
    assert_int_equal(util_wait(w->pid), -1);
    close(w->said[0]);
    close(w->said[1]);
}


static void
test_claim_release(void **state)
{
    unsigned           a, b;
    util_dir_t        *d = *state;
    sluice_workers_t   one, two;

    test_open(d, &one);
    test_open(d, &two);

    a = test_claim(d, &one);
    b = test_claim(d, &two);
    assert_int_equal(a, 0);
    assert_int_equal(b, 1);

    /* neither takes the other's, nor its own, for a dead one's */

    assert_int_equal(sluice_slot_reclaim(&d->dir, &one, a), 0);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &two, b), 0);

    sluice_stat_add(one.slots[a].stat, SLUICE_STAT_RECORDED, 5);
    sluice_slot_release(&d->dir, &one, a);
    assert_int_equal(two.slots[a].state, SLUICE_SLOT_FREE);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &two, b), 0);

    /* the lowest free one again, and its counters go on */

    assert_int_equal(test_claim(d, &one), a);
    assert_int_equal(one.slots[a].stat[SLUICE_STAT_RECORDED], 5);

    sluice_workers_close(&d->dir, &one);
    sluice_workers_close(&d->dir, &two);
}


static void
test_death(void **state)
{
    util_dir_t        *d = *state;
    test_worker_t      w;
    sluice_pool_t      pool;
    sluice_workers_t   workers;

    test_open(d, &workers);
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p", &pool,
                                      &test_error), SLUICE_OK);

    test_start(d, &w);
    assert_int_equal(w.slot, 0);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS), 0);

    /* stopped is not dead */

    kill(w.pid, SIGSTOP);
    usleep(20000);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS), 0);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);

    test_kill(&w);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS), 1);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 0);
    assert_int_equal(workers.slots[0].state, SLUICE_SLOT_FREE);
    assert_int_equal(workers.slots[0].stat[SLUICE_STAT_ADMITTED], 2);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS), 0);

    /* the next one to claim it gives it back as well */

    test_start(d, &w);
    test_kill(&w);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);
    assert_int_equal(test_claim(d, &workers), 0);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 0);

    sluice_pool_close(&d->dir, &pool);
    sluice_workers_close(&d->dir, &workers);
}


/* its own columns go with a release, another's stay */

static void
test_release_holds(void **state)
{
    unsigned           slot, line;
    util_dir_t        *d = *state;
    test_worker_t      w;
    sluice_pool_t      pool;
    sluice_workers_t   workers;

    test_open(d, &workers);
    test_start(d, &w);
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p", &pool,
                                      &test_error), SLUICE_OK);
    slot = test_claim(d, &workers);
    assert_int_equal(slot, 1);
    assert_int_equal(sluice_pool_member(&pool, 1, "a", 1, &line, &test_error),
                     SLUICE_OK);
    sluice_pool_take(&pool, line, slot);
    assert_int_equal(sluice_pool_in_flight(&pool, line), 3);

    sluice_slot_release(&d->dir, &workers, slot);
    assert_int_equal(sluice_pool_in_flight(&pool, line), 2);

    test_kill(&w);
    sluice_pool_close(&d->dir, &pool);
    sluice_workers_close(&d->dir, &workers);
}


/* every slot taken: the last one is told so; it gets the one that dies */

static void
test_full(void **state)
{
    unsigned           i, slot;
    util_dir_t        *d = *state;
    test_worker_t      w;
    sluice_workers_t   all[SLUICE_SLOTS], last;

    test_start(d, &w);
    assert_int_equal(w.slot, 0);

    for (i = 1; i < SLUICE_SLOTS; i++) {
        test_open(d, &all[i]);
        assert_int_equal(test_claim(d, &all[i]), i);
    }

    test_open(d, &last);
    assert_int_equal(sluice_slot_claim(&d->dir, &last, &slot, &test_error),
                     SLUICE_FULL);
    assert_non_null(strstr(test_error.text, "256"));

    test_kill(&w);
    assert_int_equal(test_claim(d, &last), 0);

    for (i = 1; i < SLUICE_SLOTS; i++) {
        sluice_workers_close(&d->dir, &all[i]);
    }

    /* closed without a release is dead */

    assert_int_equal(sluice_slot_reclaim(&d->dir, &last, 0), SLUICE_SLOTS - 1);
    sluice_workers_close(&d->dir, &last);
}


/*
 * Out of descriptors, the pools cannot be opened: then the slot stays marked,
 * and what stands there is given back when they can.
 */

static void
test_no_descriptors(void **state)
{
    int                fd[512];
    unsigned           n, slot;
    util_dir_t        *d = *state;
    test_worker_t      w;
    sluice_pool_t      pool;
    struct rlimit      old, few;
    sluice_workers_t   workers, other;

    test_open(d, &workers);
    test_open(d, &other);
    test_start(d, &w);
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p", &pool,
                                      &test_error), SLUICE_OK);
    test_kill(&w);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 500;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);

    for (n = 0; (fd[n] = dup(0)) != -1; n++) { /* void */ }

    /* not one for the directory; one for that, but none for a file in it */

    for (slot = 0; slot < 2; slot++) {
        assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS),
                         0);
        assert_int_equal(workers.slots[0].state, SLUICE_SLOT_TAKEN);
        close(fd[--n]);
    }

    fd[n] = dup(0);
    assert_int_not_equal(fd[n++], -1);

    /* nor is it claimed with what it holds: the next one is */

    assert_int_equal(sluice_slot_claim(&d->dir, &workers, &slot, &test_error),
                     SLUICE_OK);
    assert_int_equal(slot, 1);

    while (n > 0) {
        close(fd[--n]);
    }

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &other, SLUICE_SLOTS), 1);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 0);

    sluice_pool_close(&d->dir, &pool);
    sluice_workers_close(&d->dir, &other);
    sluice_workers_close(&d->dir, &workers);
}


static int
test_master(void *data)
{
    pid_t              pid;
    test_worker_t     *w = data;
    sluice_error_t     error;
    sluice_workers_t   workers;

    /* a master has the file open for itself, and has no slot */

    util_check(sluice_workers_open(&w->d->dir, &workers, &error)
               == SLUICE_OK);
    pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return test_worker(w);
    }

    util_check(write(w->said[1], &pid, sizeof(pid)) == sizeof(pid));

    for ( ;; ) {
        pause();
    }

    return 0;
}


/* the slot is the worker's own: it is free although its master lives */

static void
test_master_forks(void **state)
{
    pid_t              pid;
    unsigned           got[2], i, slot;
    util_dir_t        *d = *state;
    test_worker_t      w;
    sluice_workers_t   workers;

    test_open(d, &workers);
    w.d = d;
    assert_int_equal(pipe2(w.said, O_CLOEXEC), 0);
    w.pid = util_fork(test_master, &w);

    for (i = 0; i < 2; i++) {
        assert_int_equal(read(w.said[0], &got[i], sizeof(unsigned)),
                         sizeof(unsigned));
    }

    /* the slot is a small number, the pid is the other */

    slot = (got[0] < SLUICE_SLOTS && workers.slots[got[0]].pid == got[1])
           ? got[0] : got[1];
    pid = (pid_t) (slot == got[0] ? got[1] : got[0]);

    assert_int_equal(workers.slots[slot].pid, pid);
    assert_int_equal(sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS), 0);

    kill(pid, SIGKILL);

    for (i = 0; i < 200; i++) {
        if (sluice_slot_reclaim(&d->dir, &workers, SLUICE_SLOTS) == 1) {
            break;
        }

        usleep(5000);
    }

    assert_int_equal(workers.slots[slot].state, SLUICE_SLOT_FREE);
    assert_int_equal(kill(w.pid, 0), 0);

    test_kill(&w);
    sluice_workers_close(&d->dir, &workers);
}


static void
test_stale(void **state)
{
    util_dir_t        *d = *state;
    sluice_workers_t   workers;

    test_open(d, &workers);
    sluice_stat_add(workers.slots[3].stat, SLUICE_STAT_ADMITTED, 7);
    sluice_workers_close(&d->dir, &workers);

    d->dir.boot_id[5]++;
    test_open(d, &workers);
    assert_int_equal(workers.slots[3].stat[SLUICE_STAT_ADMITTED], 0);
    sluice_workers_close(&d->dir, &workers);
}


static void
test_damaged(void **state)
{
    int                fd;
    unsigned           fds;
    util_dir_t        *d = *state;
    sluice_workers_t   workers;

    fds = util_fds();
    fd = openat(d->dir.fd, SLUICE_WORKERS_NAME, O_RDWR|O_CREAT, 0600);
    close(fd);

    assert_int_equal(sluice_workers_open(&d->dir, &workers, &test_error),
                     SLUICE_CORRUPT);
    assert_int_equal(util_fds(), fds);
}


static void
test_stats(void **state)
{
    unsigned  i;
    uint64_t  column[SLUICE_STAT_MAX] = { 0 };

    (void) state;

    for (i = 0; i < SLUICE_STAT_COUNT; i++) {
        assert_true(strlen(sluice_stat_name(i)) > 0);
        assert_true(strlen(sluice_stat_text(i)) > 0);
        sluice_stat_add(column, i, i);
        sluice_stat_add(column, i, 1);
        assert_int_equal(column[i], i + 1);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_claim_release),
        util_test(test_death),
        util_test(test_release_holds),
        util_test(test_full),
        util_test(test_no_descriptors),
        util_test(test_master_forks),
        util_test(test_stale),
        util_test(test_damaged),
        cmocka_unit_test(test_stats)
    };

    return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}
