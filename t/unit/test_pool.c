
/*
 * A pool's members keep their lines and states over reloads, states are
 * merged so that the later deadline wins, and in flight is what the slots'
 * columns add up to.
 */

#include "pool.h"
#include "util.h"

#include <unistd.h>


static sluice_error_t  test_error;


static void
test_open(util_dir_t *d, sluice_pool_t *pool)
{
    assert_int_equal(sluice_pool_open(&d->dir, "p", pool, &test_error),
                     SLUICE_OK);
}


static unsigned
test_member(sluice_pool_t *pool, uint64_t fingerprint, const char *id)
{
    unsigned  line;

    assert_int_equal(sluice_pool_member(pool, fingerprint, id, &line,
                                        &test_error), SLUICE_OK);
    assert_string_equal(pool->members[line].id, id);

    return line;
}


static void
test_lines(void **state)
{
    unsigned        i;
    char            id[16];
    util_dir_t     *d = *state;
    sluice_pool_t   pool, again;

    test_open(d, &pool);
    assert_string_equal(pool.file.name, "pool.p.1");

    assert_int_equal(test_member(&pool, 101, "a"), 0);
    assert_int_equal(test_member(&pool, 102, "b"), 1);
    assert_int_equal(test_member(&pool, 103, "c"), 2);
    sluice_pool_disable(&pool, 1);
    sluice_pool_take(&pool, 2, 9);

    /* a reload: other order, one gone, one new, one with a new secret */

    test_open(d, &again);
    assert_int_equal(test_member(&again, 103, "c"), 2);
    assert_int_equal(test_member(&again, 104, "d"), 3);
    assert_int_equal(test_member(&again, 102, "b"), 1);
    assert_int_equal(test_member(&again, 105, "a"), 4);
    assert_false(sluice_pool_well(&again, 1, 0));
    assert_true(sluice_pool_well(&again, 4, 0));
    assert_int_equal(sluice_pool_in_flight(&again.members[2]), 1);

    for (i = 5; i < SLUICE_POOL_MEMBERS; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        assert_int_equal(test_member(&again, 1000 + i, id), i);
    }

    assert_int_equal(sluice_pool_member(&again, 99, "x", &i, &test_error),
                     SLUICE_FULL);
    assert_non_null(strstr(test_error.text, "pool.p.1"));
    assert_int_equal(test_member(&again, 101, "a"), 0);

    sluice_pool_close(&d->dir, &again);
    sluice_pool_close(&d->dir, &pool);

    /* nothing was lost by the last one's going */

    test_open(d, &pool);
    assert_int_equal(test_member(&pool, 104, "d"), 3);
    sluice_pool_close(&d->dir, &pool);
}


static void
test_in_flight(void **state)
{
    unsigned        i;
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");
    (void) test_member(&pool, 2, "b");

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sluice_pool_take(&pool, 0, i);
        sluice_pool_take(&pool, 0, i);
    }

    sluice_pool_take(&pool, 1, 255);

    assert_int_equal(sluice_pool_in_flight(&pool.members[0]), 512);
    assert_int_equal(sluice_pool_in_flight(&pool.members[1]), 1);
    assert_int_equal(pool.members[0].used, 512);

    sluice_pool_give(&pool, 0, 7);
    assert_int_equal(sluice_pool_in_flight(&pool.members[0]), 511);

    /* a column is no less than nothing, and does not run over */

    sluice_pool_give(&pool, 0, 7);
    sluice_pool_give(&pool, 0, 7);
    assert_int_equal(sluice_pool_in_flight(&pool.members[0]), 510);

    pool.members[0].in_flight[7] = UINT16_MAX;
    sluice_pool_take(&pool, 0, 7);
    assert_int_equal(pool.members[0].in_flight[7], UINT16_MAX);

    assert_true(sluice_pool_forget_slot(&d->dir, 7));
    assert_int_equal(sluice_pool_in_flight(&pool.members[0]), 510);
    assert_int_equal(sluice_pool_in_flight(&pool.members[1]), 1);
    assert_true(sluice_pool_forget_slot(&d->dir, 255));
    assert_int_equal(sluice_pool_in_flight(&pool.members[0]), 508);
    assert_int_equal(sluice_pool_in_flight(&pool.members[1]), 0);

    sluice_pool_close(&d->dir, &pool);
}


static void
test_states(void **state)
{
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");

    assert_true(sluice_pool_well(&pool, 0, 0));
    assert_int_equal(sluice_pool_recovery(&pool, 0, 5), 0);

    sluice_pool_cool(&pool, 0, 1000);
    assert_false(sluice_pool_well(&pool, 0, 999));
    assert_true(sluice_pool_well(&pool, 0, 1000));
    assert_int_equal(sluice_pool_recovery(&pool, 0, 5), 1000);
    assert_int_equal(sluice_member_state(pool.members[0].state),
                     SLUICE_MEMBER_COOLING);

    /* the later deadline wins, in either order */

    sluice_pool_cool(&pool, 0, 500);
    assert_int_equal(sluice_pool_recovery(&pool, 0, 5), 1000);
    sluice_pool_cool(&pool, 0, 2000);
    assert_int_equal(sluice_pool_recovery(&pool, 0, 5), 2000);

    /* disabled is disabled, until somebody enables it */

    sluice_pool_disable(&pool, 0);
    assert_true(sluice_pool_recovery(&pool, 0, UINT64_MAX) == UINT64_MAX);
    sluice_pool_cool(&pool, 0, 3000);
    assert_true(sluice_pool_recovery(&pool, 0, 5) == UINT64_MAX);
    sluice_pool_enable(&pool, 0);
    assert_true(sluice_pool_well(&pool, 0, 0));

    /* a deadline past what 56 bits hold does not change the state */

    sluice_pool_cool(&pool, 0, UINT64_MAX);
    assert_int_equal(sluice_member_state(pool.members[0].state),
                     SLUICE_MEMBER_COOLING);
    assert_false(sluice_pool_well(&pool, 0, 1ull << 55));

    /* a state that nobody knows is not well */

    pool.members[0].state = 77ull << 56;
    assert_false(sluice_pool_well(&pool, 0, 0));

    assert_string_equal(sluice_member_state_name(0), "healthy");
    assert_string_equal(sluice_member_state_name(2), "disabled");
    assert_null(sluice_member_state_name(SLUICE_MEMBER_STATES));

    sluice_pool_close(&d->dir, &pool);
}


static void
test_stale(void **state)
{
    unsigned        fds, maps;
    util_dir_t     *d = *state;
    sluice_pool_t   pool, again;

    test_open(d, &pool);
    (void) test_member(&pool, 1, "a");
    sluice_pool_disable(&pool, 0);

    d->dir.boot_id[0]++;

    /* it is in use, so another one is made beside it */

    test_open(d, &again);
    assert_string_equal(again.file.name, "pool.p.2");
    assert_int_equal(test_member(&again, 7, "z"), 0);
    assert_true(sluice_pool_well(&again, 0, 0));

    /* giving back what a slot held leaves nothing open of the old one */

    fds = util_fds();
    maps = util_maps();
    assert_true(sluice_pool_forget_slot(&d->dir, 1));
    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_maps(), maps);

    sluice_pool_close(&d->dir, &pool);
    sluice_pool_close(&d->dir, &again);
}


/* a name that cannot be: nothing is left behind */

static void
test_unpublished(void **state)
{
    unsigned        fds;
    util_dir_t     *d = *state;
    sluice_pool_t   pool;

    fds = util_fds();
    assert_int_equal(sluice_pool_open(&d->dir, "no/dir", &pool, &test_error),
                     SLUICE_FAILED);
    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_lines),
        util_test(test_in_flight),
        util_test(test_states),
        util_test(test_stale),
        util_test(test_unpublished)
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
