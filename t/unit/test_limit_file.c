
/*
 * Which table a zone uses: the same geometry shares one, another one makes
 * the next and counts the former as a second limit until that is over.
 */

#include "limit.h"
#include "clock.h"
#include "series.h"
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>


#define TEST_WINDOW  60000u


static uint32_t        test_unit;
static sluice_error_t  test_error;


static sluice_status_t
test_open(util_dir_t *d, unsigned buckets, uint32_t window, uint32_t scale,
    sluice_limit_t *limit, sluice_limit_t *former)
{
    sluice_limit_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.size = buckets * sizeof(sluice_limit_bucket_t);
    conf.window = window;
    conf.scale = scale;
    conf.unit = test_unit;

    return sluice_limit_open(&d->dir, "rpm", &conf, limit, former,
                             &test_error);
}


static void
test_close(util_dir_t *d, sluice_limit_t *limit)
{
    sluice_limit_close(&d->dir, limit);
    assert_int_equal(limit->file.fd, -1);
}


/* the one charge that a user of both tables makes: all or none */

static bool
test_charge(sluice_limit_t *limit, sluice_limit_t *former, uint32_t max)
{
    uint64_t               now;
    sluice_limit_state_t   s, f;

    now = sluice_clock_ms();

    if (sluice_limit_charge(limit, sluice_limit_hash(limit, "k", 1), now, max,
                            1, &s) != SLUICE_LIMIT_PASSED)
    {
        return false;
    }

    if (sluice_limit_former_counts(limit, former)
        && sluice_limit_charge(former, sluice_limit_hash(former, "k", 1), now,
                               max, 1, &f) != SLUICE_LIMIT_PASSED)
    {
        sluice_limit_refund(limit, sluice_limit_hash(limit, "k", 1), &s, 1);
        return false;
    }

    return true;
}


static void
test_same(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   a, b, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &a, &former), SLUICE_OK);
    assert_string_equal(a.file.name, "zone.rpm.1");
    assert_int_equal(a.number, 1);
    assert_null(former.buckets);
    assert_false(sluice_limit_former_counts(&a, &former));
    assert_true(test_charge(&a, &former, 2));

    /* a reload, and a restart: the same table with what it holds */

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &b, &former), SLUICE_OK);
    assert_string_equal(b.file.name, "zone.rpm.1");
    assert_null(former.buckets);
    assert_true(test_charge(&b, &former, 2));
    assert_false(test_charge(&a, &former, 2));

    /* who came by the reload is a user of it as well */

    test_close(d, &a);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &a, &former),
                     SLUICE_OK);
    assert_true(sluice_limit_former_used(&former));
    test_close(d, &b);
    assert_false(sluice_limit_former_used(&former));
    assert_int_equal(unlinkat(d->dir.fd, a.file.name, 0), 0);
    test_close(d, &a);
    test_close(d, &former);

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &a, &former), SLUICE_OK);
    assert_string_equal(a.file.name, "zone.rpm.1");
    assert_false(test_charge(&a, &former, 2));
    test_close(d, &a);
}


static void
test_resized(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, again, former, none, third;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &none), SLUICE_OK);
    assert_true(test_charge(&one, &none, 4));
    assert_true(test_charge(&one, &none, 4));

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    assert_string_equal(former.file.name, "zone.rpm.1");
    assert_true(sluice_limit_former_counts(&two, &former));
    assert_true(sluice_limit_former_used(&former));

    /* old and new workers together let no more than four through */

    assert_true(test_charge(&two, &former, 4));
    assert_true(test_charge(&one, &none, 4));
    assert_false(test_charge(&two, &former, 4));
    assert_false(test_charge(&one, &none, 4));

    /* a reload with the new size finds both */

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &again, &third),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.2");
    assert_string_equal(third.file.name, "zone.rpm.1");
    test_close(d, &again);
    test_close(d, &third);

    /* a third size is too many */

    assert_int_equal(test_open(d, 256, TEST_WINDOW, 1, &again, &third),
                     SLUICE_BUSY);
    assert_non_null(strstr(test_error.text, "two tables"));
    assert_int_equal(again.file.fd, -1);
    assert_int_equal(third.file.fd, -1);
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 2);

    /* its last user has gone: it counts until it is ended */

    test_close(d, &one);
    assert_false(sluice_limit_former_used(&former));
    assert_true(sluice_limit_former_counts(&two, &former));
    assert_false(test_charge(&two, &former, 4));

    assert_true(sluice_limit_former_end(&d->dir, &two, &former));
    assert_false(sluice_limit_former_counts(&two, &former));
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.1", NULL), 0);

    /* twice is once */

    assert_true(sluice_limit_former_end(&d->dir, &two, &former));

    /* alone, it has counted its own charge only: one, and the refunds */

    assert_true(test_charge(&two, &former, 4));
    test_close(d, &former);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &again, &third),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.2");
    assert_null(third.buckets);
    test_close(d, &again);

    /* now there is room for the third size */

    assert_int_equal(test_open(d, 256, TEST_WINDOW, 1, &again, &third),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.3");
    assert_string_equal(third.file.name, "zone.rpm.2");
    test_close(d, &again);
    test_close(d, &third);
    test_close(d, &two);
}


/* stopped, resized, started: what was charged before still counts */

static void
test_restarted(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_true(test_charge(&one, &former, 2));
    test_close(d, &one);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    assert_string_equal(former.file.name, "zone.rpm.1");
    assert_false(sluice_limit_former_used(&former));
    assert_true(test_charge(&two, &former, 2));
    assert_false(test_charge(&two, &former, 2));
    test_close(d, &two);
    test_close(d, &former);
}


/*
 * A change is taken back while those who have it are still there: the old
 * table lacks none of their charges, and is the newest again.
 */

static void
test_there_and_back(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, back, again, former, later, none;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &none), SLUICE_OK);
    assert_true(test_charge(&one, &none, 4));
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_true(test_charge(&two, &former, 4));

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &back, &later),
                     SLUICE_OK);
    assert_string_equal(back.file.name, "zone.rpm.1");
    assert_string_equal(later.file.name, "zone.rpm.2");
    assert_false(sluice_limit_former_counts(&back, &later));
    assert_true(sluice_limit_former_lasts(&back, &later));
    assert_true(test_charge(&back, &later, 4));
    assert_true(test_charge(&two, &former, 4));
    assert_false(test_charge(&back, &later, 4));
    assert_false(test_charge(&two, &former, 4));

    /* nobody ends what is the newest again */

    test_close(d, &one);
    assert_true(sluice_limit_former_used(&former));
    assert_true(sluice_limit_former_used(&former));
    assert_false(sluice_limit_former_end(&d->dir, &two, &former));

    /* and there once more: what the second lacks is in the first */

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &again, &none),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.2");
    assert_true(sluice_limit_former_counts(&again, &none));
    assert_false(test_charge(&again, &none, 4));
    assert_true(test_charge(&again, &none, 5));
    test_close(d, &again);
    test_close(d, &none);

    /* the later one goes with its last user, and its number with it */

    assert_false(sluice_limit_former_end(&d->dir, &back, &later));
    test_close(d, &two);
    test_close(d, &former);
    assert_true(sluice_limit_former_end(&d->dir, &back, &later));
    assert_false(sluice_limit_former_lasts(&back, &later));
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.2", NULL), 0);

    assert_int_equal(test_open(d, 256, TEST_WINDOW, 1, &again, &none),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.3");

    /* and twice is once, even if its name was another one's */

    assert_int_equal(linkat(d->dir.fd, "zone.rpm.3", d->dir.fd, "zone.rpm.2",
                            0), 0);
    assert_true(sluice_limit_former_end(&d->dir, &back, &later));
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.2", NULL), 1);
    test_close(d, &again);
    test_close(d, &none);
    test_close(d, &later);
    test_close(d, &back);
}


/* however short it was the newest: who waits for its end begins anew */

static void
test_used_between(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, back, former, later;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    test_close(d, &one);
    assert_false(sluice_limit_former_used(&former));

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &back, &later),
                     SLUICE_OK);
    assert_true(test_charge(&back, &later, 1));
    test_close(d, &back);
    test_close(d, &later);

    assert_false(sluice_limit_former_end(&d->dir, &two, &former));
    assert_true(sluice_limit_former_used(&former));
    assert_false(sluice_limit_former_used(&former));
    assert_false(test_charge(&two, &former, 1));
    assert_true(sluice_limit_former_end(&d->dir, &two, &former));
    test_close(d, &two);
    test_close(d, &former);
}


/*
 * Two workers that inherited one description: what one of them unlocks, as it
 * saw the table used, is not the other one's, who is about to end it.
 */

static void
test_siblings(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, back, former, sibling, later;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    test_close(d, &one);

    sibling = former;
    former.opened--;

    assert_false(sluice_file_locked(&sibling.file, SLUICE_LOCK_PRIMARY));
    assert_true(sluice_series_unused(&sibling.file));
    assert_false(sluice_limit_former_end(&d->dir, &two, &former));

    assert_true(test_charge(&two, &former, 1));
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &back, &later),
                     SLUICE_ABSENT);

    /* nor is a table left out that is not ended in the end */

    sluice_file_unlock(&sibling.file, SLUICE_LOCK_PRIMARY);
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &back, &later),
                     SLUICE_OK);
    assert_int_equal(back.number, 1);
    assert_false(test_charge(&back, &later, 1));

    test_close(d, &back);
    test_close(d, &later);
    test_close(d, &two);
    test_close(d, &former);
}


/* what another one has ended is not taken up again: it lacks what came since */

static void
test_ended_for_good(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, back, former, later;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    two.control->former_over = 1;
    test_close(d, &one);
    test_close(d, &former);
    assert_true(test_charge(&two, &former, 1));

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &back, &later),
                     SLUICE_OK);
    assert_string_equal(back.file.name, "zone.rpm.3");
    assert_string_equal(later.file.name, "zone.rpm.2");
    assert_false(test_charge(&back, &later, 1));
    test_close(d, &back);
    test_close(d, &later);
    test_close(d, &two);
}


/*
 * An upgrade with another size is taken back: the old configuration goes on
 * with its table, which has the charges of both.
 */

static void
test_taken_back(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, again, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_true(test_charge(&one, &former, 3));

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_true(test_charge(&two, &former, 3));
    test_close(d, &two);
    test_close(d, &former);

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &again, &former),
                     SLUICE_OK);
    assert_string_equal(again.file.name, "zone.rpm.1");
    assert_null(former.buckets);
    assert_true(test_charge(&again, &former, 3));
    assert_false(test_charge(&again, &former, 3));
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.2", NULL), 0);

    test_close(d, &again);
    test_close(d, &one);
}


/* a stop soon after a change of size, and a start with a third one */

static void
test_stopped_between(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, three, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_true(test_charge(&one, &former, 2));
    test_close(d, &one);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    test_close(d, &two);
    test_close(d, &former);

    assert_int_equal(test_open(d, 32, TEST_WINDOW, 1, &three, &former),
                     SLUICE_OK);
    assert_string_equal(former.file.name, "zone.rpm.1");
    assert_true(test_charge(&three, &former, 2));
    assert_false(test_charge(&three, &former, 2));

    test_close(d, &three);
    test_close(d, &former);
}


/*
 * What lies between two tables of a limit, of another window, hides neither:
 * the older one still counts if the younger one had not ended it.
 */

static void
test_between_others(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, other, three, former, none;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &none), SLUICE_OK);
    assert_true(test_charge(&one, &none, 2));
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_int_equal(test_open(d, 64, TEST_WINDOW * 2, 1, &other, &none),
                     SLUICE_OK);
    assert_string_equal(other.file.name, "zone.rpm.3");
    test_close(d, &one);
    test_close(d, &two);
    test_close(d, &former);

    /* once with a user of the other one, once without */

    assert_int_equal(test_open(d, 32, TEST_WINDOW, 1, &three, &former),
                     SLUICE_OK);
    assert_string_equal(former.file.name, "zone.rpm.1");
    assert_true(test_charge(&three, &former, 2));
    assert_false(test_charge(&three, &former, 2));
    test_close(d, &three);
    test_close(d, &former);
    test_close(d, &other);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &three, &former),
                     SLUICE_OK);
    assert_string_equal(former.file.name, "zone.rpm.1");
    assert_false(test_charge(&three, &former, 2));
    test_close(d, &three);
    test_close(d, &former);
}


/* the process that ended a table died before it unlinked it */

static void
test_half_ended(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    test_close(d, &one);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    two.control->former_over = 1;
    test_close(d, &former);
    test_close(d, &two);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_null(former.buckets);
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.1", NULL), 0);
    test_close(d, &two);
}


/* nor is it one too many while others of its kind have it mapped */

static void
test_half_ended_used(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, three, former, second;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    test_close(d, &one);
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    two.control->former_over = 1;

    assert_int_equal(test_open(d, 32, TEST_WINDOW, 1, &three, &second),
                     SLUICE_OK);
    assert_string_equal(three.file.name, "zone.rpm.3");
    assert_string_equal(second.file.name, "zone.rpm.2");
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.1", NULL), 0);

    test_close(d, &three);
    test_close(d, &second);
    test_close(d, &two);
    test_close(d, &former);
}


/* another window is another limit: no former one */

static void
test_other_limit(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_int_equal(test_open(d, 64, TEST_WINDOW * 2, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    assert_null(former.buckets);
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 2);
    test_close(d, &one);
    test_close(d, &two);

    assert_int_equal(test_open(d, 64, TEST_WINDOW * 4, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.3");
    assert_null(former.buckets);

    /* what nobody used any more went with it */

    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 1);
    test_close(d, &two);
}


/* tokens are no requests: none of them is a former of the other */

static void
test_other_unit(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_true(test_charge(&one, &former, 1));

    test_unit = 1;
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    assert_null(former.buckets);
    assert_true(test_charge(&two, &former, 1));
    test_close(d, &one);
    test_close(d, &two);

    /* nor is a newest that nobody uses dropped for one of another unit */

    test_unit = 2;
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_string_equal(one.file.name, "zone.rpm.3");
    assert_null(former.buckets);
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 1);
    test_close(d, &one);
    test_unit = 0;
}


/* with another scale the former table counts on, in units of its own */

static void
test_other_scale(void **state)
{
    uint64_t               now;
    util_dir_t            *d = *state;
    sluice_limit_t         one, two, former;
    sluice_limit_state_t   s;

    now = sluice_clock_ms();

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 10, &one, &former),
                     SLUICE_OK);
    assert_int_equal(one.scale, 10);

    assert_int_equal(sluice_limit_units(&one, 0), 0);
    assert_int_equal(sluice_limit_units(&one, 1), 1);
    assert_int_equal(sluice_limit_units(&one, 10), 1);
    assert_int_equal(sluice_limit_units(&one, 11), 2);
    assert_int_equal(sluice_limit_units(&one, 10ull * SLUICE_LIMIT_UNITS_MAX),
                     SLUICE_LIMIT_UNITS_MAX);
    assert_int_equal(sluice_limit_units(&one,
                                        10ull * SLUICE_LIMIT_UNITS_MAX + 1),
                     SLUICE_LIMIT_UNITS_MAX + 1);
    assert_int_equal(sluice_limit_units(&one, UINT64_MAX),
                     SLUICE_LIMIT_UNITS_MAX + 1);
    assert_int_equal(sluice_limit_max_units(&one, 9), 0);
    assert_int_equal(sluice_limit_max_units(&one, 19), 1);
    assert_int_equal(sluice_limit_max_units(&one, UINT64_MAX),
                     SLUICE_LIMIT_UNITS_MAX);

    assert_int_equal(sluice_limit_charge(&one, sluice_limit_hash(&one, "k", 1),
                                         now, 9, 7, &s),
                     SLUICE_LIMIT_PASSED);

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 100, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    assert_int_equal(two.scale, 100);
    assert_true(sluice_limit_former_counts(&two, &former));
    assert_int_equal(former.scale, 10);

    (void) sluice_limit_peek(&former, sluice_limit_hash(&former, "k", 1),
                             now, 9, 1, &s);
    assert_int_equal(s.seen.current, 7);

    test_close(d, &one);
    test_close(d, &former);
    test_close(d, &two);
}


static void
test_stale(void **state)
{
    int              fd;
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    assert_true(test_charge(&one, &former, 1));
    test_close(d, &one);

    d->dir.boot_id[0]++;                    /* as after a boot */

    fd = (int) util_fds();
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_null(former.buckets);
    assert_true(test_charge(&two, &former, 1));
    assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 1);
    test_close(d, &two);
    assert_int_equal(util_fds(), fd);
}


static void
test_damaged(void **state)
{
    int              fd;
    util_dir_t      *d = *state;
    sluice_limit_t   one, former;

    fd = openat(d->dir.fd, "zone.rpm.1", O_RDWR|O_CREAT, 0600);
    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(test_error.text, "zone.rpm.1"));
    assert_int_equal(one.file.fd, -1);
    close(fd);
}


/* a word that a worker has spoilt: no table under a name that none can have */

static void
test_spoilt(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, three, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    one.control->former_over = UINT64_MAX;
    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_string_equal(two.file.name, "zone.rpm.2");
    test_close(d, &two);
    test_close(d, &former);
    assert_int_equal(test_open(d, 32, TEST_WINDOW, 1, &three, &former),
                     SLUICE_OK);
    test_close(d, &three);
    test_close(d, &former);
    test_close(d, &one);
}


/* several masters at once come to the same table */

typedef struct {
    util_dir_t  *d;
    unsigned     buckets;
    int          go;
} test_rival_t;


static int
test_rival(void *data)
{
    char             c;
    test_rival_t    *rival = data;
    sluice_limit_t   limit, former;

    (void) read(rival->go, &c, 1);

    util_check(test_open(rival->d, rival->buckets, TEST_WINDOW, 1, &limit,
                         &former) == SLUICE_OK);
    util_check(limit.number == 1);
    util_check(former.buckets == NULL);

    return 0;
}


static void
test_rivals(void **state)
{
    int            go[2];
    pid_t          pid[6];
    unsigned       turn, i;
    util_dir_t    *d = *state;
    test_rival_t   rival;

    for (turn = 0; turn < 20; turn++) {
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        rival.d = d;
        rival.buckets = 64;
        rival.go = go[0];

        for (i = 0; i < 6; i++) {
            pid[i] = util_fork(test_rival, &rival);
        }

        assert_int_equal(write(go[1], "123456", 6), 6);

        for (i = 0; i < 6; i++) {
            assert_int_equal(util_wait(pid[i]), 0);
        }

        close(go[0]);
        close(go[1]);
        assert_int_equal(util_dir_count(&d->dir, "zone.rpm.", NULL), 1);
        assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
        assert_int_equal(unlinkat(d->dir.fd, "zone.rpm.1", 0), 0);
    }
}


/* a worker that inherited the master's lock is a user of the table */

static int
test_worker(void *data)
{
    pause();
    (void) data;
    return 0;
}


static void
test_forked(void **state)
{
    pid_t            pid;
    util_dir_t      *d = *state;
    sluice_limit_t   one, two, former;

    assert_int_equal(test_open(d, 64, TEST_WINDOW, 1, &one, &former),
                     SLUICE_OK);
    pid = util_fork(test_worker, NULL);
    test_close(d, &one);

    assert_int_equal(test_open(d, 128, TEST_WINDOW, 1, &two, &former),
                     SLUICE_OK);
    assert_true(sluice_limit_former_used(&former));

    kill(pid, SIGKILL);
    assert_int_equal(util_wait(pid), -1);
    assert_false(sluice_limit_former_used(&former));

    test_close(d, &two);
    test_close(d, &former);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_same),
        util_test(test_resized),
        util_test(test_restarted),
        util_test(test_there_and_back),
        util_test(test_used_between),
        util_test(test_siblings),
        util_test(test_ended_for_good),
        util_test(test_taken_back),
        util_test(test_stopped_between),
        util_test(test_between_others),
        util_test(test_half_ended),
        util_test(test_half_ended_used),
        util_test(test_other_limit),
        util_test(test_other_unit),
        util_test(test_other_scale),
        util_test(test_stale),
        util_test(test_damaged),
        util_test(test_spoilt),
        util_test(test_rivals),
        util_test(test_forked)
    };

    return cmocka_run_group_tests_name("limit_file", tests, NULL, NULL);
}
