
/*
 * A pool's members keep their lines and states over reloads, a line that
 * nobody names goes to another when there is no other, and in flight is what
 * the slots' columns add up to.
 */

#include "pool.h"
#include "util.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>


#define TEST_RIVALS  6
#define TEST_COMMON  120


static sluice_error_t  test_error;
static uint64_t        test_now;        /* seconds                           */
static util_dir_t     *test_rival_dir;


static void
test_open(util_dir_t *d, sluice_pool_t *pool)
{
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p", pool,
                                      &test_error), SLUICE_OK);
}


static unsigned
test_member(sluice_pool_t *pool, uint64_t fingerprint, const char *id)
{
    unsigned  line;

    assert_int_equal(sluice_pool_member(pool, fingerprint, id, test_now, &line,
                                        &test_error), SLUICE_OK);
    assert_string_equal(pool->members[line].id, id);
    assert_int_equal(pool->members[line].fingerprint, fingerprint);
    assert_int_equal(pool->members[line].named, test_now);
    assert_true(sluice_pool_named(pool, line));

    return line;
}


/* a name by its number: its fingerprint is the number + 1 */

static unsigned
test_numbered(sluice_pool_t *pool, unsigned n)
{
    char  id[16];

    snprintf(id, sizeof(id), "m%u", n);

    return test_member(pool, 1 + n, id);
}


static void
test_lines(void **state)
{
    util_dir_t     *d = *state;
    sluice_pool_t   pool, again;

    test_open(d, &pool);
    assert_string_equal(pool.file.name, "pool.p.1");
    assert_true(sluice_pool_possible(&pool.file.header));

    assert_int_equal(test_member(&pool, 101, "a"), 0);
    assert_int_equal(test_member(&pool, 102, "b"), 1);
    assert_int_equal(test_member(&pool, 103, "c"), 2);
    assert_int_equal(test_member(&pool, 101, "a"), 0);
    sluice_member_disable(&pool.members[1], 5);
    sluice_pool_take(&pool, 2, 9);

    /* a reload: other order, one gone, one new, one with a new secret */

    test_open(d, &again);
    assert_int_equal(test_member(&again, 103, "c"), 2);
    assert_int_equal(test_member(&again, 104, "d"), 3);
    assert_int_equal(test_member(&again, 102, "b"), 1);
    assert_int_equal(test_member(&again, 105, "a"), 4);
    assert_false(sluice_member_healthy(&again.members[1]));
    assert_true(sluice_member_healthy(&again.members[4]));
    assert_int_equal(sluice_pool_in_flight(&again, 2), 1);

    /* both have b, each has one of its own, nobody the lines above */

    assert_true(sluice_pool_named(&pool, 3));
    assert_true(sluice_pool_named(&again, 0));
    assert_false(sluice_pool_named(&again, 5));
    sluice_pool_close(&d->dir, &pool);
    assert_false(sluice_pool_named(&again, 0));
    assert_true(sluice_pool_named(&again, 1));

    /* who names none himself sees those of others, found lines and new ones */

    test_open(d, &pool);
    assert_true(sluice_pool_named(&pool, 1));
    assert_true(sluice_pool_named(&pool, 4));
    assert_false(sluice_pool_named(&pool, 0));
    assert_int_equal(test_member(&pool, 105, "a"), 4);
    sluice_pool_close(&d->dir, &pool);
    sluice_pool_close(&d->dir, &again);

    /* nothing was lost by the last one's going */

    test_open(d, &pool);
    assert_false(sluice_pool_named(&pool, 3));
    assert_int_equal(test_member(&pool, 104, "d"), 3);
    assert_int_equal(test_member(&pool, 102, "b"), 1);
    assert_false(sluice_member_healthy(&pool.members[1]));
    sluice_pool_close(&d->dir, &pool);
}


/* the one that was named the longest ago, and nothing of it is left */

static void
test_reuse(void **state)
{
    unsigned                i, line;
    uint64_t                retry;
    util_dir_t             *d = *state;
    sluice_pool_t           former, pool;
    sluice_window_t         window;
    sluice_member_t        *m, zero;
    sluice_member_limit_t   limit;

    test_open(d, &former);

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        test_now = 1000 + (i == 700 ? 0 : 1 + i);
        assert_int_equal(test_numbered(&former, i), i);
    }

    /* as many as there are lines: there is no other */

    test_now = 5000;
    assert_int_equal(sluice_pool_member(&former, 9999, "x", test_now, &line,
                                        &test_error), SLUICE_FULL);
    assert_non_null(strstr(test_error.text, "pool.p.1"));

    test_open(d, &pool);
    assert_int_equal(sluice_pool_member(&pool, 9999, "x", test_now, &line,
                                        &test_error), SLUICE_FULL);
    assert_int_equal(test_numbered(&pool, 0), 0);

    m = &pool.members[700];
    limit.counts = SLUICE_COUNTS_REQUESTS;
    limit.window = 1000;
    limit.max = 5;
    assert_true(sluice_member_limit_init(&limit));
    assert_true(sluice_member_charge(m, &limit, 1000, 3, &window, &retry));
    sluice_member_disable(m, 5);
    m->row[0] = 1;
    m->row[1] = 1;
    sluice_pool_take(&pool, 700, 3);

    sluice_pool_close(&d->dir, &former);

    assert_int_equal(test_member(&pool, 9999, "x"), 700);
    memset(&zero, 0, sizeof(zero));
    snprintf(zero.id, sizeof(zero.id), "x");
    zero.fingerprint = 9999;
    zero.named = test_now;
    assert_memory_equal(m, &zero, sizeof(zero));

    /* what is in flight is for the slots' owners to take back */

    assert_int_equal(sluice_pool_in_flight(&pool, 700), 1);
    sluice_pool_give(&pool, 700, 3);

    /* never one that is named, and with the oldest one gone it begins anew */

    assert_int_equal(test_member(&pool, 9998, "y"), 1);
    assert_int_equal(test_numbered(&pool, 700), 2);
    assert_int_equal(test_member(&pool, 9999, "x"), 700);
    sluice_pool_close(&d->dir, &pool);
}


/* keys and proxies of one name: a file each, and a dead slot is in neither */

static void
test_kinds(void **state)
{
    util_dir_t      *d = *state;
    sluice_file_t    file;
    sluice_pool_t    keys, proxies;

    test_now = 1;
    test_open(d, &keys);
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_PROXIES, "p",
                                      &proxies, &test_error), SLUICE_OK);

    assert_string_equal(keys.file.name, "pool.p.1");
    assert_string_equal(proxies.file.name, "proxies.p.1");
    assert_int_equal(proxies.file.header.kind, SLUICE_FILE_PROXIES);
    assert_true(sluice_pool_possible(&proxies.file.header));

    assert_int_equal(test_member(&keys, 101, "a"), 0);
    assert_int_equal(test_member(&proxies, 102, "b"), 0);
    sluice_member_disable(&proxies.members[0], 5);
    assert_true(sluice_member_healthy(&keys.members[0]));

    sluice_pool_take(&keys, 0, 7);
    sluice_pool_take(&proxies, 0, 7);
    sluice_pool_take(&proxies, 0, 8);
    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_pool_in_flight(&keys, 0), 0);
    assert_int_equal(sluice_pool_in_flight(&proxies, 0), 1);

    sluice_pool_close(&d->dir, &proxies);
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_PROXIES, "p",
                                      &proxies, &test_error), SLUICE_OK);
    assert_string_equal(proxies.file.name, "proxies.p.1");
    assert_int_equal(test_member(&proxies, 102, "b"), 0);
    assert_false(sluice_member_healthy(&proxies.members[0]));

    /* one is not taken for the other, under whatever name */

    assert_int_equal(linkat(d->dir.fd, "pool.p.1", d->dir.fd, "proxies.q.1",
                            0), 0);
    assert_int_equal(sluice_file_open(&d->dir, "proxies.q.1",
                                      SLUICE_FILE_PROXIES, SLUICE_OPEN_WRITE,
                                      &file, &test_error), SLUICE_CORRUPT);

    sluice_pool_close(&d->dir, &keys);
    sluice_pool_close(&d->dir, &proxies);
}


static void
test_round(void **state)
{
    util_dir_t     *d = *state;
    sluice_pool_t   pool, other;

    test_open(d, &pool);
    test_open(d, &other);

    /* the first one at once, however short the machine has been up */

    assert_true(sluice_pool_round(&pool, 500, 30000));
    assert_false(sluice_pool_round(&pool, 500, 30000));
    assert_false(sluice_pool_round(&other, 30499, 30000));
    assert_true(sluice_pool_round(&other, 30500, 30000));
    assert_false(sluice_pool_round(&pool, 30501, 30000));

    /* an interval is the asker's; his clock may have been read before */

    assert_true(sluice_pool_round(&pool, 31500, 1000));
    assert_false(sluice_pool_round(&pool, 31499, 1000));
    assert_false(sluice_pool_round(&pool, 30500, 1000));

    /* a word that somebody has spoilt ends no probes for ever */

    pool.control->round = UINT64_MAX;
    assert_true(sluice_pool_round(&other, 40000, 1000));
    assert_int_equal(pool.control->round, 40000);

    sluice_pool_close(&d->dir, &pool);
    sluice_pool_close(&d->dir, &other);
}


/* all of them at once, again and again: each round is one's */

#define TEST_ROUNDS    20000
#define TEST_INTERVAL  1000

typedef struct {
    unsigned  arrived;
    unsigned  rounds[TEST_ROUNDS];
} test_rounds_t;

static test_rounds_t  *test_rounds;


static int
test_prober(void *data)
{
    unsigned        i;
    uint64_t        now;
    sluice_pool_t   pool;

    util_check(sluice_pool_open(&test_rival_dir->dir, SLUICE_POOL_KEYS, "p",
                                &pool, &test_error)
               == SLUICE_OK);

    for (i = 0; i < TEST_ROUNDS; i++) {
        now = (1 + i) * TEST_INTERVAL + *(unsigned *) data;

        __atomic_add_fetch(&test_rounds->arrived, 1, __ATOMIC_SEQ_CST);

        while (__atomic_load_n(&test_rounds->arrived, __ATOMIC_SEQ_CST)
               < (1 + i) * TEST_RIVALS)
        {
            sched_yield();
        }

        /* in time, and then too late, by whatever rival */

        if (sluice_pool_round(&pool, now, TEST_INTERVAL / 2)) {
            __atomic_add_fetch(&test_rounds->rounds[i], 1, __ATOMIC_SEQ_CST);
        }

        util_check(!sluice_pool_round(&pool, now + 1, TEST_INTERVAL / 2));
    }

    return 0;
}


static void
test_round_rivals(void **state)
{
    pid_t     pid[TEST_RIVALS];
    unsigned  i, number[TEST_RIVALS];

    test_rival_dir = *state;
    test_rounds = mmap(NULL, sizeof(test_rounds_t), PROT_READ|PROT_WRITE,
                       MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(test_rounds, MAP_FAILED);

    for (i = 0; i < TEST_RIVALS; i++) {
        number[i] = i;
        pid[i] = util_fork(test_prober, &number[i]);
    }

    for (i = 0; i < TEST_RIVALS; i++) {
        assert_int_equal(util_wait(pid[i]), 0);
    }

    for (i = 0; i < TEST_ROUNDS; i++) {
        assert_int_equal(test_rounds->rounds[i], 1);
    }

    munmap(test_rounds, sizeof(test_rounds_t));
}


/* one that is being given out is waited for, and not for ever */

static int
test_hold(void *data)
{
    util_dir_t      *d = data;
    sluice_pool_t    pool;

    util_check(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p", &pool,
                                &test_error)
               == SLUICE_OK);
    util_check(sluice_file_lock(&pool.file, SLUICE_LOCK_OWNER, true));
    usleep(200000);

    return 0;
}


static void
test_wait(void **state)
{
    pid_t           pid;
    double          begin;
    unsigned        line;
    util_dir_t     *d = *state;
    sluice_pool_t   pool, other;

    test_open(d, &pool);
    pid = util_fork(test_hold, d);

    while (!sluice_file_locked(&pool.file, SLUICE_LOCK_OWNER)) {
        usleep(1000);
    }

    begin = util_now();
    assert_int_equal(test_member(&pool, 1, "a"), 0);
    assert_true(util_now() - begin > 0.1);
    assert_int_equal(util_wait(pid), 0);

    test_open(d, &other);
    assert_true(sluice_file_lock(&other.file, SLUICE_LOCK_OWNER, true));
    assert_int_equal(sluice_pool_member(&pool, 2, "b", 1, &line, &test_error),
                     SLUICE_BUSY);
    assert_true(util_now() - begin < 20);
    sluice_pool_close(&d->dir, &other);

    /* it lets go of it whatever it answers */

    test_open(d, &other);
    assert_int_equal(test_member(&other, 2, "b"), 1);
    assert_int_equal(test_member(&pool, 3, "c"), 2);

    sluice_pool_close(&d->dir, &other);
    sluice_pool_close(&d->dir, &pool);
}


/* many masters at once, with members in common: each of them has one line */

static int
test_rival(void *data)
{
    char            id[16];
    unsigned        i, n, line;
    sluice_pool_t   pool;

    util_check(sluice_pool_open(&test_rival_dir->dir, SLUICE_POOL_KEYS, "p",
                                &pool, &test_error)
               == SLUICE_OK);

    for (i = 0; i < TEST_COMMON; i++) {
        n = (i * 7 + 13 * *(unsigned *) data) % TEST_COMMON;
        snprintf(id, sizeof(id), "m%u", n);
        util_check(sluice_pool_member(&pool, 5000 + n, id, 7, &line,
                                      &test_error) == SLUICE_OK);
        util_check(pool.members[line].fingerprint == 5000 + n);
        util_check(strcmp(pool.members[line].id, id) == 0);
    }

    /* what one holds the others leave alone */

    for (i = 0, n = 0; i < SLUICE_POOL_MEMBERS; i++) {
        n += pool.members[i].fingerprint >= 5000
             && sluice_pool_named(&pool, i);
    }

    util_check(n == TEST_COMMON);

    return 0;
}


static void
test_rivals(void **state)
{
    pid_t           pid[TEST_RIVALS];
    unsigned        i, n, number[TEST_RIVALS];
    sluice_pool_t   pool;

    test_rival_dir = *state;
    test_open(test_rival_dir, &pool);

    /* some lines are free at first, then there are only former members' */

    test_now = 1;

    for (i = 0; i < SLUICE_POOL_MEMBERS - TEST_COMMON / 2; i++) {
        (void) test_numbered(&pool, i);
    }

    sluice_pool_close(&test_rival_dir->dir, &pool);

    for (i = 0; i < TEST_RIVALS; i++) {
        number[i] = i;
        pid[i] = util_fork(test_rival, &number[i]);
    }

    for (i = 0; i < TEST_RIVALS; i++) {
        assert_int_equal(util_wait(pid[i]), 0);
    }

    test_open(test_rival_dir, &pool);

    for (i = 0, n = 0; i < SLUICE_POOL_MEMBERS; i++) {
        n += pool.members[i].fingerprint >= 5000;
    }

    assert_int_equal(n, TEST_COMMON);
    sluice_pool_close(&test_rival_dir->dir, &pool);
}


static void
test_in_flight(void **state)
{
    unsigned        i;
    uint16_t        lines[3] = { 1, 0, 1023 };
    uint32_t        sum[3];
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");
    (void) test_member(&pool, 2, "b");
    assert_int_equal(pool.control->slots, 0);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 0);

    sluice_pool_take(&pool, 0, 3);
    assert_int_equal(pool.control->slots, 4);
    sluice_pool_take(&pool, 0, 1);
    assert_int_equal(pool.control->slots, 4);
    sluice_pool_give(&pool, 0, 3);
    sluice_pool_give(&pool, 0, 1);

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sluice_pool_take(&pool, 0, i);
        sluice_pool_take(&pool, 0, i);
    }

    sluice_pool_take(&pool, 1, 255);

    assert_int_equal(pool.control->slots, SLUICE_SLOTS);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 512);
    assert_int_equal(sluice_pool_in_flight(&pool, 1), 1);

    /* what was taken may be given back without a try */

    assert_int_equal(pool.members[0].used, 0);
    sluice_member_use(&pool.members[0]);
    assert_int_equal(pool.members[0].used, 1);

    sluice_pool_others(&pool, 255, lines, 3, sum);
    assert_int_equal(sum[0], 0);
    assert_int_equal(sum[1], 510);
    assert_int_equal(sum[2], 0);
    sluice_pool_others(&pool, 7, lines, 2, sum);
    assert_int_equal(sum[0], 1);

    sluice_pool_give(&pool, 0, 7);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 511);

    /* a column is no less than nothing, and does not run over */

    sluice_pool_give(&pool, 0, 7);
    sluice_pool_give(&pool, 0, 7);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 510);

    pool.columns[7][0] = UINT16_MAX;
    sluice_pool_take(&pool, 0, 7);
    assert_int_equal(pool.columns[7][0], UINT16_MAX);
    assert_false(sluice_pool_take_max(&pool, 0, 7, UINT32_MAX));
    assert_int_equal(pool.columns[7][0], UINT16_MAX);

    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 510);
    assert_int_equal(sluice_pool_in_flight(&pool, 1), 1);
    assert_true(sluice_pool_forget_slot(&d->dir, 255));
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 508);
    assert_int_equal(sluice_pool_in_flight(&pool, 1), 0);

    /* what the file says of itself is not believed */

    pool.control->slots = UINT32_MAX;
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 508);
    sluice_pool_others(&pool, 0, lines, 3, sum);
    assert_int_equal(sum[1], 506);

    sluice_pool_close(&d->dir, &pool);
}


/* lines in any order, in rows of eight and others: as each by itself */

static void
test_others(void **state)
{
    unsigned        i, k, n, slot;
    uint16_t        line, lines[200];
    uint32_t        sum[200];
    uint64_t        seed;
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    test_open(d, &pool);
    seed = util_seed();

    for (slot = 0; slot < 40; slot += 3) {
        sluice_pool_take(&pool, 0, slot);

        for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
            pool.columns[slot][i] = (uint16_t) (util_random(&seed) | 0x8000);
        }
    }

    for (i = 0; i < 2000; i++) {
        n = 1 + (unsigned) (util_random(&seed) % 192);
        slot = (unsigned) (util_random(&seed) % 42);

        for (k = 0; k < 200; k++) {
            lines[k] = (k == 0 || util_random(&seed) % 20 == 0
                        || lines[k - 1] + 1u == SLUICE_POOL_MEMBERS)
                       ? (uint16_t) (util_random(&seed) % SLUICE_POOL_MEMBERS)
                       : (uint16_t) (lines[k - 1] + 1);
        }

        for (k = 1; k < 199; k += 1 + (unsigned) (util_random(&seed) % 30)) {
            line = lines[k];
            lines[k] = lines[k + 1];
            lines[k + 1] = line;
        }

        sum[n] = 77;
        sluice_pool_others(&pool, slot, lines, n, sum);

        for (k = 0; k < n; k++) {
            assert_int_equal(sum[k], sluice_pool_in_flight(&pool, lines[k])
                                     - pool.columns[slot][lines[k]]);
        }

        assert_int_equal(sum[n], 77);
    }

    sluice_pool_close(&d->dir, &pool);
}


static void
test_max(void **state)
{
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");

    assert_false(sluice_pool_take_max(&pool, 0, 4, 0));
    assert_int_equal(pool.control->slots, 0);

    assert_true(sluice_pool_take_max(&pool, 0, 4, 2));
    assert_true(sluice_pool_take_max(&pool, 0, 200, 2));
    assert_false(sluice_pool_take_max(&pool, 0, 4, 2));
    assert_false(sluice_pool_take_max(&pool, 0, 9, 2));
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 2);

    /* a lower one than are in flight, and those that ask for none */

    assert_false(sluice_pool_take_max(&pool, 0, 4, 1));
    sluice_pool_take(&pool, 0, 4);
    assert_int_equal(sluice_pool_in_flight(&pool, 0), 3);

    sluice_pool_give(&pool, 0, 4);
    sluice_pool_give(&pool, 0, 4);
    assert_true(sluice_pool_take_max(&pool, 0, 9, 2));
    assert_false(sluice_pool_take_max(&pool, 0, 9, 2));

    sluice_pool_close(&d->dir, &pool);
}


/* of who is killed with a probe: at once, if nobody else may have it */

static void
test_forget_probe(void **state)
{
    uint64_t               probe;
    util_dir_t            *d = *state;
    sluice_pool_t          pool, proxies;
    sluice_member_t       *m;
    sluice_member_try_t    try = { .began = 1000 };
    sluice_member_status_t  status;

    static const sluice_member_policy_t  policy = {
        .cool = 100000, .cool_max = 100000, .errors = 1, .window = 1000,
        .open = 1000, .open_max = 1000
    };

#define judge(answer)                                                         \
    (void) sluice_member_answer(m, &policy, &try, SLUICE_ANSWER_##answer,     \
                                SLUICE_REASON_STATUS, 0, SLUICE_NEVER, 1000)

    test_open(d, &pool);
    m = &pool.members[0];
    assert_int_equal(test_member(&pool, 1, "a"), 0);

    judge(ERROR);
    assert_int_equal(sluice_member_trying(m), 0);

    sluice_pool_take(&pool, 0, 7);
    probe = sluice_member_probe(m, 2000, 60000);
    assert_true(probe != 0 && sluice_member_trying(m) == probe);

    /* another one has a place: it may be his */

    sluice_pool_take(&pool, 0, 8);
    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_member_trying(m), probe);
    sluice_pool_give(&pool, 0, 8);

    /* nobody has, and whoever is reclaimed next finds it */

    assert_true(sluice_pool_forget_slot(&d->dir, 9));
    assert_int_equal(sluice_member_trying(m), 0);
    sluice_member_status(m->state, &status);
    assert_int_equal(status.state, SLUICE_MEMBER_COOLING);
    assert_true(status.probe && status.until == 2000);
    assert_true(sluice_member_probe(m, 2001, 60000) != 0);

    /* an early try, too: the rest remains, and another may be sent */

    sluice_member_enable(m);
    judge(COOL);
    sluice_pool_take(&pool, 0, 7);
    probe = sluice_pool_early(&pool, 0, 20000, 60000);
    assert_true(probe != 0 && sluice_member_trying(m) == probe);
    assert_false(sluice_pool_early_due(&pool, 22000, 60000));
    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_member_trying(m), 0);
    assert_true(sluice_pool_early_due(&pool, 22000, 60000));
    sluice_member_status(m->state, &status);
    assert_int_equal(status.state, SLUICE_MEMBER_COOLING);
    assert_int_equal(status.until, 101000);

    /* who probes a proxy has no place */

    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_PROXIES, "p",
                                      &proxies, &test_error), SLUICE_OK);
    m = &proxies.members[0];
    assert_int_equal(test_member(&proxies, 1, "a"), 0);
    judge(ERROR);
    probe = sluice_member_probe(m, 2000, 60000);
    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_member_trying(m), probe);

#undef judge

    sluice_pool_close(&d->dir, &pool);
    sluice_pool_close(&d->dir, &proxies);
}


static void
test_stale(void **state)
{
    unsigned        fds, maps;
    util_dir_t     *d = *state;
    sluice_pool_t   pool, again;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");
    sluice_member_disable(&pool.members[0], 5);

    d->dir.boot_id[0]++;

    /* it is in use, so another one is made beside it */

    test_open(d, &again);
    assert_string_equal(again.file.name, "pool.p.2");
    assert_int_equal(test_member(&again, 7, "z"), 0);
    assert_true(sluice_member_healthy(&again.members[0]));

    /* giving back what a slot held leaves nothing open of the old one */

    fds = util_fds();
    maps = util_maps();
    assert_true(sluice_pool_forget_slot(&d->dir, 1));
    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_maps(), maps);

    sluice_pool_close(&d->dir, &pool);
    sluice_pool_close(&d->dir, &again);
}


/* a file of another layout is left to those who have it, and then removed */

static void
test_layout(void **state)
{
    util_dir_t          *d = *state;
    sluice_file_t        file;
    sluice_pool_t        pool;
    sluice_file_spec_t   spec;

    memset(&spec, 0, sizeof(spec));
    spec.kind = SLUICE_FILE_POOL;
    spec.subject = "p";
    spec.geometry[0] = SLUICE_POOL_MEMBERS;
    spec.geometry[1] = SLUICE_SLOTS;
    spec.geometry[2] = 640;
    spec.section[0] = SLUICE_POOL_MEMBERS * 640;

    assert_int_equal(sluice_file_create(&d->dir, &spec, &file, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_publish(&d->dir, &file, "pool.p.1",
                                         &test_error), SLUICE_OK);
    assert_false(sluice_pool_possible(&file.header));
    memset(sluice_file_section(&file, 0), 0xff, SLUICE_POOL_MEMBERS * 640);

    test_open(d, &pool);
    assert_string_equal(pool.file.name, "pool.p.2");
    assert_true(sluice_pool_forget_slot(&d->dir, 2));
    assert_int_equal(*(uint16_t *) sluice_file_section(&file, 0), 0xffff);
    assert_int_equal(sluice_file_retire(&d->dir, &pool.file), SLUICE_OK);
    sluice_pool_close(&d->dir, &pool);

    sluice_file_close(&d->dir, &file);
    assert_int_equal(util_dir_count(&d->dir, "pool.", NULL), 1);
    test_open(d, &pool);
    assert_int_equal(util_dir_count(&d->dir, "pool.", NULL), 1);
    sluice_pool_close(&d->dir, &pool);
}


/* a name that cannot be: nothing is left behind */

static void
test_unpublished(void **state)
{
    unsigned        fds;
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    fds = util_fds();
    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "no/dir",
                                      &pool, &test_error), SLUICE_FAILED);
    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_lines),
        util_test(test_reuse),
        util_test(test_kinds),
        util_test(test_round),
        util_test(test_round_rivals),
        util_test(test_wait),
        util_test(test_rivals),
        util_test(test_in_flight),
        util_test(test_others),
        util_test(test_max),
        util_test(test_forget_probe),
        util_test(test_stale),
        util_test(test_layout),
        util_test(test_unpublished)
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
