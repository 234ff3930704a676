
/*
 * The limit table, one thread: the decision to the millisecond, against a
 * model without a table, and what insertion does with what it finds there.
 * limit.c is included for its statics.
 */

#include "limit.c"
#include "util.h"


#define TEST_WINDOW  1000u


static uint64_t        test_times[4];       /* the clock: each read takes one */
static unsigned        test_reads;
static sluice_error_t  test_error;


static uint64_t
test_clock(void)
{
    return test_times[test_reads < 3 ? test_reads++ : 3];
}


static void
test_set_clock(uint64_t now)
{
    unsigned  i;

    for (i = 0; i < 4; i++) {
        test_times[i] = now;
    }

    test_reads = 0;
}


static void
test_open(util_dir_t *d, sluice_limit_t *limit, uint64_t buckets,
    uint32_t window)
{
    sluice_limit_t       former;
    sluice_limit_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.size = buckets * sizeof(sluice_limit_bucket_t);
    conf.window = window;
    conf.scale = 1;

    assert_int_equal(sluice_limit_open(&d->dir, "z", &conf, limit, &former,
                                       &test_error), SLUICE_OK);
    limit->clock = test_clock;
    limit->own = &limit->columns[5];
}


static sluice_hash_t
test_key(const sluice_limit_t *limit, uint64_t n)
{
    return sluice_limit_hash(limit, &n, sizeof(n));
}


static sluice_limit_result_t
test_charge(sluice_limit_t *limit, uint64_t key, uint64_t now, uint32_t max,
    uint32_t n, sluice_limit_state_t *state)
{
    sluice_limit_state_t  unused;

    test_set_clock(now);

    return sluice_limit_charge(limit, test_key(limit, key), now, max, n,
                               state != NULL ? state : &unused);
}


#define passes(key, now, max, n)                                              \
    assert_int_equal(test_charge(&limit, key, now, max, n, NULL),             \
                     SLUICE_LIMIT_PASSED)
#define refuses(key, now, max, n)                                             \
    assert_int_equal(test_charge(&limit, key, now, max, n, NULL),             \
                     SLUICE_LIMIT_REFUSED)


/* how many slots hold the key, and the one that does */

static unsigned
test_slots(const sluice_limit_t *limit, uint64_t key, sluice_u128_t **at)
{
    unsigned               b, i, n;
    sluice_limit_place_t   place;

    sluice_limit_locate(limit, test_key(limit, key), &place);
    n = 0;

    for (b = 0; b < 2; b++) {
        for (i = 0; i < SLUICE_LIMIT_BUCKET; i++) {
            if (sluice_slot_tag(place.bucket[b]->slot[i])
                == place.fingerprint)
            {
                n++;

                if (at != NULL) {
                    *at = &place.bucket[b]->slot[i];
                }
            }
        }
    }

    return n;
}


static void
test_edges(void **state)
{
    util_dir_t            *d = *state;
    size_t                 i;
    uint64_t               now;
    sluice_limit_t         limit;
    sluice_limit_state_t   s;

    static const uint64_t  idle[] = { 65535, 65536, 65537, 131072, 1 << 24,
                                      (1 << 24) + 1 };

    test_open(d, &limit, 64, TEST_WINDOW);

    /* ten in the last millisecond of window 7 */

    passes(1, 7999, 10, 4);
    passes(1, 7999, 10, 6);
    refuses(1, 7999, 10, 1);

    /* the first of window 8: previous counts whole */

    refuses(1, 8000, 10, 1);

    /* 10 * (1 - e/1000) + 1 <= 10 from e = 100 on, not before */

    refuses(1, 8099, 10, 1);
    assert_int_equal(test_charge(&limit, 1, 8100, 10, 1, &s),
                     SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.index, 8);
    assert_int_equal(s.seen.previous, 10);
    assert_int_equal(s.seen.current, 0);
    assert_int_equal(s.seen.elapsed, 100);
    refuses(1, 8100, 10, 1);
    refuses(1, 8199, 10, 1);
    passes(1, 8200, 10, 1);

    /* the last of window 8: 10 * 1/1000 of a unit still counts */

    refuses(1, 8999, 10, 8);
    passes(1, 8999, 10, 7);
    refuses(1, 8999, 10, 1);

    /* window 9: previous is 9 */

    assert_int_equal(test_charge(&limit, 1, 9000, 10, 1, &s),
                     SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.previous, 9);
    refuses(1, 9000, 10, 1);

    /* two windows later nothing counts */

    assert_int_equal(test_charge(&limit, 1, 11000, 10, 10, &s),
                     SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.previous, 0);
    assert_int_equal(s.seen.current, 0);
    refuses(1, 11999, 10, 1);

    /* no more than there is, nothing if there is nothing */

    refuses(2, 11999, 0, 1);
    refuses(2, 11999, 5, 6);
    assert_int_equal(test_slots(&limit, 2, NULL), 0);

    /* a clock that was read in a window before: as if this had just begun */

    passes(3, 20500, 10, 3);
    assert_int_equal(test_charge(&limit, 3, 19999, 10, 3, &s),
                     SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.index, 20);
    assert_int_equal(s.seen.current, 3);
    assert_int_equal(s.seen.elapsed, 0);
    refuses(3, 19000, 10, 5);

    /* idle until an index of fewer bits is as it was; then the clock stops */

    now = 21000;
    passes(4, now, 10, 10);

    for (i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
        now += idle[i] * TEST_WINDOW;

        passes(4, now, 10, 4);
        refuses(4, now, 10, 7);
        passes(4, now, 10, 6);
        refuses(4, now, 10, 1);
    }

    assert_int_equal(limit.own->passed, 22);
    assert_int_equal(limit.own->refused, 24);
    assert_int_equal(limit.own->evicted, 0);
    assert_int_equal(limit.own->inserted, 3);

    sluice_limit_close(&d->dir, &limit);
}


/* the first windows after the boot */

static void
test_boot(void **state)
{
    util_dir_t      *d = *state;
    sluice_limit_t   limit;

    test_open(d, &limit, 64, TEST_WINDOW);

    passes(1, 0, 2, 2);
    refuses(1, 999, 2, 1);
    assert_int_equal(test_slots(&limit, 1, NULL), 1);
    refuses(1, 1000, 2, 1);
    passes(1, 1500, 2, 1);
    passes(2, 1500, 2, 2);
    passes(1, 3000, 2, 2);

    sluice_limit_close(&d->dir, &limit);
}


static void
test_largest(void **state)
{
    uint64_t               now;
    util_dir_t            *d = *state;
    sluice_limit_t         limit;
    sluice_limit_state_t   s;

    const uint32_t  max = SLUICE_LIMIT_UNITS_MAX;
    const uint64_t  w = SLUICE_LIMIT_WINDOW_MAX;

    test_open(d, &limit, 64, SLUICE_LIMIT_WINDOW_MAX);

    now = 3 * w + w - 1;
    passes(1, now, max, max);
    assert_int_equal(test_charge(&limit, 1, now, max, 1, &s),
                     SLUICE_LIMIT_REFUSED);
    assert_int_equal(s.seen.current, max);

    /* one unit is there again w/max after the window's beginning */

    assert_true(sluice_limit_retry(&limit, &s, max, 1) == 1 + w - (max - 1) * w
                                                                  / max);
    now += sluice_limit_retry(&limit, &s, max, 1);
    refuses(1, now - 1, max, 1);
    passes(1, now, max, 1);
    refuses(1, now, max, 1);

    /* 24 bits hold what a limit and a weight can add up to */

    assert_int_equal(test_charge(&limit, 1, 4 * w + w - 1, max, max - 1, &s),
                     SLUICE_LIMIT_REFUSED);
    assert_int_equal(test_charge(&limit, 1, 4 * w + w - 1, max, max - 2, &s),
                     SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.previous, max);
    passes(2, 4 * w, max, 1);
    passes(2, 4 * w, max, max - 1);
    refuses(2, 4 * w, max, max);

    sluice_limit_close(&d->dir, &limit);
}


/* a state as a charge of the key would leave it now */

static void
test_mark(const sluice_limit_t *limit, uint64_t key,
    sluice_limit_state_t *state)
{
    sluice_u128_t  *at;

    at = limit->buckets->slot;
    (void) test_slots(limit, key, &at);
    sluice_limit_mark(limit, at, state);
}


static void
test_refund(void **state)
{
    util_dir_t            *d = *state;
    sluice_limit_t         limit;
    sluice_limit_state_t   s;

    test_open(d, &limit, 64, TEST_WINDOW);

#define refund(key, of, n)                                                    \
    s.seen.index = of;                                                        \
    test_mark(&limit, key, &s);                                               \
    sluice_limit_refund(&limit, test_key(&limit, key), &s, n)
#define seen(key, now, p, c)                                                  \
    sluice_limit_peek(&limit, test_key(&limit, key), now, 100, 1, &s);        \
    assert_int_equal(s.seen.previous, p);                                     \
    assert_int_equal(s.seen.current, c)

    passes(1, 5000, 100, 60);
    refund(1, 5, 20);
    seen(1, 5000, 0, 40);
    refund(1, 5, 100);                      /* no less than nothing */
    seen(1, 5000, 0, 0);

    passes(1, 5000, 100, 60);
    passes(1, 6999, 100, 30);
    refund(1, 5, 10);
    seen(1, 6999, 50, 30);
    refund(1, 6, 10);
    seen(1, 6999, 50, 20);
    refund(1, 4, 10);                       /* a window that is gone */
    refund(1, 7, 10);                       /* one that never was */
    seen(1, 6999, 50, 20);
    refund(1, 5, 51);
    seen(1, 6999, 0, 20);

    passes(1, 8000, 100, 5);
    refund(1, 6, 10);
    seen(1, 8000, 0, 5);

    refund(99, 8, 10);                      /* a key that does not stand */
    assert_int_equal(test_slots(&limit, 99, NULL), 0);

#undef refund
#undef seen

    sluice_limit_close(&d->dir, &limit);
}


/*
 * Retry-After is the first moment at which it passes: not a millisecond less,
 * and it would not have passed at any moment before.
 */

/*
 * A zone that evicts: a refund is dropped if the charge may have gone with
 * its slot, and made if only slots of other buckets went.
 */

static uint64_t
test_flood(sluice_limit_t *limit, const sluice_limit_state_t *apart, uint64_t i)
{
    uint64_t               n;
    unsigned               bucket;
    sluice_limit_place_t   place;

    bucket = apart->slot / SLUICE_LIMIT_BUCKET;

    for (n = 0; n < 4000; i++) {
        sluice_limit_locate(limit, test_key(limit, i), &place);

        if (place.bucket[0] != &limit->buckets[bucket]
            && place.bucket[1] != &limit->buckets[bucket])
        {
            test_charge(limit, i, 20000, 100, 100, NULL);
            n++;
        }
    }

    return i;
}


static void
test_refund_evicted(void **state)
{
    uint64_t               i;
    util_dir_t            *d = *state;
    sluice_u128_t          other, *at;
    sluice_limit_t         limit;
    sluice_limit_place_t   place;
    sluice_limit_state_t   s, t;

    test_open(d, &limit, 64, TEST_WINDOW);

#define refund(key, n)                                                        \
    sluice_limit_refund(&limit, test_key(&limit, key), &s, n)
#define seen(key, c)                                                          \
    sluice_limit_peek(&limit, test_key(&limit, key), 20000, 100, 1, &t);      \
    assert_int_equal(t.seen.current, c)

    test_charge(&limit, 1, 20000, 100, 60, &s);
    i = test_flood(&limit, &s, 1000);
    assert_true(limit.own->evicted > 2000);
    refund(1, 40);
    seen(1, 20);

    /* of its own bucket one went, which could have been this one */

    for ( ;; i++) {
        t = s;
        test_mark(&limit, 1, &t);

        if (t.evicted != s.evicted) {
            break;
        }

        test_charge(&limit, i, 20000, 100, 100, NULL);
        assert_true(i < 900000);
    }

    test_charge(&limit, 1, 20000, 100, 30, NULL);
    sluice_limit_peek(&limit, test_key(&limit, 1), 20000, 100, 1, &t);
    refund(1, 20);
    seen(1, t.seen.current);

    /*
     * Put over it was an entry whose writer died, and the key came back to
     * where that one was: by taking it, or after its own key took it out.
     */

    for (other = 0; other < 2; other++) {
        test_charge(&limit, 2, 20000, 100, 60, &s);
        assert_int_equal(test_slots(&limit, 2, &at), 1);
        assert_int_equal(at - limit.buckets->slot, s.slot);

        for (i = 1000000; ; i++) {
            sluice_limit_locate(&limit, test_key(&limit, i), &place);

            if (at >= place.bucket[1]->slot
                && at < place.bucket[1]->slot + SLUICE_LIMIT_BUCKET
                && test_slots(&limit, i, NULL) == 0)
            {
                break;
            }
        }

        *at = sluice_limit_tentative(&limit, place.fingerprint,
                                     other ? 20000 : 1000);

        if (other) {
            assert_true(sluice_limit_alone(&limit, &place,
                                           place.bucket[0]->slot));
            assert_true(*at == 0);
        }

        test_charge(&limit, 2, 20000, 100, 60, NULL);
        assert_int_equal(test_slots(&limit, 2, &at), 1);
        assert_int_equal(at - limit.buckets->slot, s.slot);
        refund(2, 50);
        seen(2, 60);
        *at = 0;
    }

#undef refund
#undef seen

    sluice_limit_close(&d->dir, &limit);
}


/* what was used is known afterwards, and counts whatever the limit is */

static void
test_settle(void **state)
{
    uint64_t               i;
    util_dir_t            *d = *state;
    sluice_limit_t         limit;
    sluice_limit_state_t   s, t;

    test_open(d, &limit, SLUICE_LIMIT_BUCKETS_MIN, TEST_WINDOW);

#define settle(key, now, n, actual)                                           \
    test_set_clock(now);                                                      \
    sluice_limit_settle(&limit, test_key(&limit, key), &s, now, n, actual)
#define seen(key, now, p, c)                                                  \
    sluice_limit_peek(&limit, test_key(&limit, key), now, 100, 1, &t);        \
    assert_int_equal(t.seen.previous, p);                                     \
    assert_int_equal(t.seen.current, c)

    test_charge(&limit, 1, 5000, 100, 60, &s);
    settle(1, 5999, 60, 25);
    seen(1, 5999, 0, 25);
    settle(1, 5999, 60, 60);
    seen(1, 5999, 0, 25);

    /* less goes back to where it was charged, more to where we are */

    test_charge(&limit, 1, 5999, 100, 20, &s);
    settle(1, 6500, 20, 5);
    seen(1, 6500, 30, 0);
    settle(1, 6500, 5, 300);
    seen(1, 6500, 30, 295);
    refuses(1, 6500, 300, 1);
    assert_int_equal(sluice_limit_used(TEST_WINDOW, &t), 310);
    assert_int_equal(sluice_limit_reset(TEST_WINDOW, &t), 1500);
    seen(1, 7999, 295, 0);
    assert_int_equal(sluice_limit_used(TEST_WINDOW, &t), 1);
    assert_int_equal(sluice_limit_reset(TEST_WINDOW, &t), 1);
    seen(1, 8000, 0, 0);
    assert_int_equal(sluice_limit_used(TEST_WINDOW, &t), 0);
    assert_int_equal(sluice_limit_reset(TEST_WINDOW, &t), 0);

    /* none are a look: refused by what others have, and inserting nothing */

    refuses(1, 6500, 300, 0);
    passes(1, 6500, 325, 0);
    passes(50, 6500, 0, 0);
    assert_int_equal(test_slots(&limit, 50, NULL), 0);

    /* two windows later nothing is left to be given back */

    test_charge(&limit, 2, 5000, 100, 60, &s);
    settle(2, 7000, 60, 0);
    seen(2, 7000, 0, 0);
    passes(2, 7000, 100, 10);
    settle(2, 7000, 60, 0);
    seen(2, 7000, 0, 10);

    /* the count saturates, of a key that stands and of one that does not */

    test_set_clock(7000);
    sluice_limit_add(&limit, test_key(&limit, 3), 7000, UINT32_MAX);
    seen(3, 7000, 0, SLUICE_UNITS_MASK);
    sluice_limit_add(&limit, test_key(&limit, 3), 7000, 5);
    seen(3, 7000, 0, SLUICE_UNITS_MASK);
    refuses(3, 8000, SLUICE_LIMIT_UNITS_MAX, 1);

    /* its slot went to others, and it came back: the refund is not its own */

    test_charge(&limit, 4, 20000, 100, 60, &s);

    for (i = 1000; test_slots(&limit, 4, NULL) != 0; i++) {
        passes(i, 20000, 100, 100);
        assert_true(i < 100000);
    }

    passes(4, 20000, 100, 30);
    settle(4, 20000, 60, 0);
    seen(4, 20000, 0, 30);

#undef settle
#undef seen

    sluice_limit_close(&d->dir, &limit);
}


static void
test_retry(void **state)
{
    uint64_t               seed, wait, t, w;
    uint32_t               max, n;
    unsigned               i, j;
    sluice_u128_t          v;
    sluice_limit_t         limit;
    sluice_limit_state_t   s, unused;

    (void) state;

    memset(&limit, 0, sizeof(limit));
    seed = util_seed();

    for (i = 0; i < 200000; i++) {
        w = (i % 3 == 0) ? 1000 + util_random(&seed) % 50
                         : 1000 + util_random(&seed)
                                  % (SLUICE_LIMIT_WINDOW_MAX - 999);
        limit.window = (uint32_t) w;

        max = (uint32_t) (util_random(&seed)
                          % (i % 2 ? 20 : SLUICE_LIMIT_UNITS_MAX + 1));
        n = 1 + (uint32_t) (util_random(&seed)
                            % (i % 2 ? 5 : SLUICE_LIMIT_UNITS_MAX));

        v = sluice_slot_pack(1, 100, (uint32_t) (util_random(&seed)
                                                 % (max + 2)),
                             (uint32_t) (util_random(&seed) % (max + 2)));
        t = (100 + util_random(&seed) % 3) * w + util_random(&seed) % w;

        if (sluice_limit_decide(v, t, limit.window, max, n, &s)) {
            assert_int_equal(sluice_limit_retry(&limit, &s, max, n), 0);
            continue;
        }

        wait = sluice_limit_retry(&limit, &s, max, n);

        if (n > max) {
            assert_true(wait == UINT64_MAX);
            continue;
        }

        assert_true(wait > 0 && wait <= 2 * w);
        assert_true(sluice_limit_decide(v, t + wait, limit.window, max, n,
                                        &unused));
        assert_false(sluice_limit_decide(v, t + wait - 1, limit.window, max, n,
                                         &unused));

        for (j = 0; j < 4; j++) {
            assert_false(sluice_limit_decide(v,
                                             t + util_random(&seed) % wait,
                                             limit.window, max, n, &unused));
        }
    }
}


/*
 * Against a model that forgets nothing: what each key was charged in each
 * window.  The table must decide alike, every time.
 */

#define TEST_KEYS        300
#define TEST_WINDOWS     20480
#define TEST_OPERATIONS  1000000

static void
test_model(void **state)
{
    bool                    pass;
    uint32_t                max, n, e, before, actual;
    uint64_t                seed, now, i, key, w, index, window;
    unsigned                kind, settled;
    util_dir_t             *d = *state;
    sluice_limit_t          limit;
    unsigned __int128       have;
    sluice_limit_state_t    s;
    sluice_limit_result_t   rc;

    static uint32_t  model[TEST_KEYS][TEST_WINDOWS];

    memset(model, 0, sizeof(model));
    test_open(d, &limit, 1024, TEST_WINDOW);

    w = TEST_WINDOW;
    now = 2 * w;
    seed = util_seed();
    kind = 0;
    settled = 0;

    for (i = 0; i < TEST_OPERATIONS; i++) {

        switch (util_random(&seed) % 200) {
        case 0:
            now += util_random(&seed) % (3 * w);
            break;
        case 1:
            now += w - now % w - 1;         /* the last of the window */
            break;
        case 2:
            now += w - now % w;             /* the first of the next */
            break;
        default:
            now += util_random(&seed) % 3;
            break;
        }

        index = now / w;
        e = (uint32_t) (now % w);

        if (index + 2 > TEST_WINDOWS) {
            break;
        }

        key = util_random(&seed) % (i % 5 ? 6 : TEST_KEYS);
        max = (uint32_t) (util_random(&seed) % 60);
        n = 1 + (uint32_t) (util_random(&seed) % 9);

        before = model[key][index];
        have = (unsigned __int128) model[key][index - 1] * (w - e)
               + (unsigned __int128) (before + n) * w;
        pass = (have <= (unsigned __int128) max * w);

        switch (util_random(&seed) % 8) {

        case 0:
            rc = sluice_limit_peek(&limit, test_key(&limit, key), now, max, n,
                                   &s);
            break;

        case 1:

            /* a refund, of the last window or of some other */

            window = index - util_random(&seed) % 3;
            n = (uint32_t) (util_random(&seed) % 12);
            s.seen.index = (uint32_t) window;
            test_mark(&limit, key, &s);
            sluice_limit_refund(&limit, test_key(&limit, key), &s, n);
            model[key][window] -= (n < model[key][window])
                                  ? n : model[key][window];
            continue;

        case 2:

            /* a charge, and what it really was, now or in a later window */

            rc = test_charge(&limit, key, now, max, n, &s);

            if (!pass || rc != SLUICE_LIMIT_PASSED) {
                break;
            }

            assert_int_equal(s.seen.current, before);

            model[key][index] += n;
            actual = (uint32_t) (util_random(&seed) % 20);
            now += (util_random(&seed) % 16 == 0) ? util_random(&seed) % (2 * w)
                                                 : 0;
            window = now / w;
            test_set_clock(now);
            sluice_limit_settle(&limit, test_key(&limit, key), &s, now, n,
                                actual);

            if (actual > n) {
                model[key][window] += actual - n;

            } else if (window <= index + 1) {
                model[key][index] -= n - actual;
            }

            settled++;
            continue;

        default:
            rc = test_charge(&limit, key, now, max, n, &s);

            if (pass) {
                model[key][index] += n;
                kind |= 1;
            } else {
                kind |= 2;
            }
            break;
        }

        if (rc != (pass ? SLUICE_LIMIT_PASSED : SLUICE_LIMIT_REFUSED)) {
            fail_msg("seed %llu, operation %llu, key %llu at %llu: %d",
                     (unsigned long long) util_seed(), (unsigned long long) i,
                     (unsigned long long) key, (unsigned long long) now, rc);
        }

        assert_int_equal(s.seen.index, index);
        assert_int_equal(s.seen.elapsed, e);
        assert_int_equal(s.seen.previous, model[key][index - 1]);
        assert_int_equal(s.seen.current, before);
        assert_true(test_slots(&limit, key, NULL) <= 1);
    }

    assert_int_equal(kind, 3);
    assert_int_equal(i, TEST_OPERATIONS);
    assert_true(settled > 20000);
    assert_int_equal(limit.own->evicted, 0);

    sluice_limit_close(&d->dir, &limit);
}


static void
test_evicted(void **state)
{
    uint64_t               i, live;
    uint32_t               least, count;
    unsigned               b, k;
    util_dir_t            *d = *state;
    sluice_u128_t          before[2][SLUICE_LIMIT_BUCKET];
    sluice_limit_t         limit;
    sluice_limit_place_t   place;

    test_open(d, &limit, SLUICE_LIMIT_BUCKETS_MIN, TEST_WINDOW);

    for (i = 0; i < 4000; i++) {
        sluice_limit_locate(&limit, test_key(&limit, i), &place);

        least = UINT32_MAX;

        for (b = 0; b < 2; b++) {
            for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
                before[b][k] = place.bucket[b]->slot[k];
                count = before[b][k] != 0
                        ? sluice_slot_current(before[b][k]) : 0;
                least = (count < least) ? count : least;
            }
        }

        passes(i, 9000 + i / 4, 100, 1 + (uint32_t) (i * 7 % 50));

        /* a free slot if there was one, else the least: and only one went */

        count = 0;

        for (b = 0; b < 2; b++) {
            for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
                if (before[b][k] != place.bucket[b]->slot[k]) {
                    count++;
                    assert_int_equal(before[b][k] != 0
                                     ? sluice_slot_current(before[b][k]) : 0,
                                     least);
                }
            }
        }

        assert_int_equal(count, 1);
    }

    live = 0;

    for (i = 0; i < limit.nbuckets * SLUICE_LIMIT_BUCKET; i++) {
        live += sluice_limit_slot_live(limit.buckets->slot[i], 9999,
                                       TEST_WINDOW);
    }

    assert_in_range(live, 200, SLUICE_LIMIT_BUCKETS_MIN * SLUICE_LIMIT_BUCKET);
    assert_int_equal(limit.own->inserted, 4000);
    assert_int_equal(limit.own->evicted, 4000 - live);

    /* what is two windows old is free: nothing more is evicted */

    count = (uint32_t) limit.own->evicted;

    for (i = 10000; i < 10100; i++) {
        passes(i, 11999, 100, 1);
    }

    assert_int_equal(limit.own->evicted, count);
    assert_false(sluice_limit_slot_live(0, 0, TEST_WINDOW));

    sluice_limit_close(&d->dir, &limit);
}


/* what counts of a slot, whole: a window of its two that is over is nothing */

static uint64_t
test_counts(sluice_u128_t v, uint64_t index)
{
    uint64_t  n;

    n = 0;

    if (sluice_slot_index(v) + 1 >= index) {
        n += sluice_slot_current(v);
    }

    if (sluice_slot_index(v) >= index) {
        n += sluice_slot_previous(v);
    }

    return n;
}


/*
 * A count that is over protects nobody.  The keys of a full table were charged
 * 60 in one window and 1 in the next; in that after it others use up a limit
 * of 10 and one-time keys come, which push out those with the 1, not them.
 */

static void
test_evicted_before(void **state)
{
    uint64_t               i, least, before[2][SLUICE_LIMIT_BUCKET];
    unsigned               b, k, gone;
    util_dir_t            *d = *state;
    sluice_u128_t          slot[2][SLUICE_LIMIT_BUCKET];
    sluice_limit_t         limit;
    sluice_limit_place_t   place;

    test_open(d, &limit, SLUICE_LIMIT_BUCKETS_MIN, TEST_WINDOW);

    for (i = 0; i < 400; i++) {
        passes(i, 9000, 100, 60);
    }

    for (i = 0; i < 400; i++) {
        passes(i, 10000, 100, 1);
    }

    for (i = 1000; i < 1140; i++) {
        sluice_limit_locate(&limit, test_key(&limit, i), &place);

        least = UINT64_MAX;

        for (b = 0; b < 2; b++) {
            for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
                slot[b][k] = place.bucket[b]->slot[k];
                before[b][k] = test_counts(slot[b][k], 11);
                least = (before[b][k] < least) ? before[b][k] : least;
            }
        }

        passes(i, 11000 + i % 1000, 10, i < 1040 ? 10 : 1);

        gone = 0;

        for (b = 0; b < 2; b++) {
            for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
                if (slot[b][k] != place.bucket[b]->slot[k]) {
                    gone++;
                    assert_int_equal(before[b][k], least);
                }
            }
        }

        assert_int_equal(gone, 1);
    }

    for (i = 1000; i < 1040; i++) {
        refuses(i, 11999, 10, 1);
    }

    sluice_limit_close(&d->dir, &limit);
}


/*
 * The key's own line is taken while its bucket has three free slots, else the
 * emptier bucket: so most keys stand in their line, and none is evicted early.
 */

static void
test_emptier(void **state)
{
    bool                   room;
    uint64_t               i, own;
    unsigned               b, k, used[2], line;
    util_dir_t            *d = *state;
    sluice_u128_t         *at, *last;
    sluice_limit_t         limit;
    sluice_limit_place_t   place;

    test_open(d, &limit, 64, TEST_WINDOW);
    own = 0;

    for (i = 0; i < 700; i++) {
        sluice_limit_locate(&limit, test_key(&limit, i), &place);
        assert_ptr_not_equal(place.bucket[0], place.bucket[1]);
        assert_in_range(place.line - place.bucket[0]->slot, 0,
                        SLUICE_LIMIT_BUCKET - SLUICE_LIMIT_LINE);
        assert_int_equal((uintptr_t) place.line % 64, 0);

        for (b = 0; b < 2; b++) {
            used[b] = 0;

            for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
                used[b] += (place.bucket[b]->slot[k] != 0);
            }
        }

        line = 0;
        last = &place.bucket[0]->slot[SLUICE_LIMIT_BUCKET - 1];

        for (k = 0; k < SLUICE_LIMIT_LINE; k++) {
            line += (place.line[k] != 0 || &place.line[k] == last);
        }

        passes(i, 9000, 10, 1);

        assert_int_equal(test_slots(&limit, i, &at), 1);

        b = (used[0] > SLUICE_LIMIT_BUCKET - 3 && used[1] < used[0]);
        assert_true(at >= place.bucket[b]->slot
                    && at < place.bucket[b]->slot + SLUICE_LIMIT_BUCKET);

        /* the bucket's last slot is nobody's own */

        room = (b == 0 && line < SLUICE_LIMIT_LINE);
        assert_true(!room || (at >= place.line
                              && at < place.line + SLUICE_LIMIT_LINE
                              && at != last));
        own += room;
    }

    assert_in_range(own, 500, 690);
    assert_int_equal(limit.own->evicted, 0);

    sluice_limit_close(&d->dir, &limit);
}


/* keys of one line whose fingerprints begin alike */

static void
test_alike(void **state)
{
    uint64_t               i;
    util_dir_t            *d = *state;
    sluice_hash_t          key;
    sluice_limit_t         limit;
    sluice_limit_state_t   s;

    test_open(d, &limit, 64, TEST_WINDOW);
    test_set_clock(9000);

    key = test_key(&limit, 1);

    for (i = 0; i < 30; i++) {
        key.hi = (key.hi & ~0xfe0000ull) | (i % 10) << 17;

        assert_int_equal(sluice_limit_charge(&limit, key, 9000, 100, 7, &s),
                         SLUICE_LIMIT_PASSED);
        assert_int_equal(s.seen.current, i / 10 * 7);
    }

    assert_int_equal(limit.own->inserted, 10);

    sluice_limit_close(&d->dir, &limit);
}


/* what a process that died between the two phases leaves */

static void
test_tentative(void **state)
{
    unsigned               b, k;
    util_dir_t            *d = *state;
    sluice_u128_t          dead, *at;
    sluice_limit_t         limit;
    sluice_limit_place_t   place;
    sluice_limit_state_t   s;

    test_open(d, &limit, 64, TEST_WINDOW);

    /* of the key itself: whoever comes next takes it out */

    sluice_limit_locate(&limit, test_key(&limit, 1), &place);
    dead = sluice_limit_tentative(&limit, place.fingerprint, 50000);
    place.bucket[1]->slot[3] = dead;

    assert_int_equal(sluice_limit_peek(&limit, test_key(&limit, 1), 50000, 5,
                                       5, &s), SLUICE_LIMIT_PASSED);
    passes(1, 50000, 5, 5);
    refuses(1, 50000, 5, 1);
    assert_int_equal(test_slots(&limit, 1, &at), 1);
    assert_true(sluice_slot_final(*at, place.fingerprint));
    assert_int_equal((uint64_t) place.bucket[1]->slot[3], 0);

    /* of others: theirs for two seconds, then free for anybody */

    sluice_limit_locate(&limit, test_key(&limit, 2), &place);

    for (b = 0; b < 2; b++) {
        for (k = 0; k < SLUICE_LIMIT_BUCKET; k++) {
            dead = sluice_limit_tentative(&limit, 0x1111, 50999);
            place.bucket[b]->slot[k] = dead;
        }
    }

    memset(&s, 0xa5, sizeof(s));

    assert_int_equal(test_charge(&limit, 2, 51999, 5, 1, &s),
                     SLUICE_LIMIT_CONTENDED);
    assert_int_equal(limit.own->contended, 1);

    /* nothing could be decided, but the state is one */

    assert_int_equal(s.seen.index, 51);
    assert_int_equal(s.seen.elapsed, 999);
    assert_int_equal(s.seen.previous, 0);
    assert_int_equal(s.seen.current, 0);

    passes(2, 52000, 5, 1);
    assert_int_equal(test_slots(&limit, 2, NULL), 1);
    assert_int_equal(limit.own->evicted, 0);

    sluice_limit_close(&d->dir, &limit);
}


/*
 * A process that was stopped for two windows while it inserted has charged
 * the past: the charge is made again, and it is in the window of now.
 */

static void
test_late(void **state)
{
    util_dir_t            *d = *state;
    sluice_u128_t         *at;
    sluice_limit_t         limit;
    sluice_limit_state_t   s;

    test_open(d, &limit, 64, TEST_WINDOW);

    test_times[0] = 5000;                   /* before the insertion */
    test_times[1] = 9300;                   /* and after it */
    test_times[2] = test_times[3] = 9300;
    test_reads = 0;

    assert_int_equal(sluice_limit_charge(&limit, test_key(&limit, 1), 4000, 3,
                                         2, &s), SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.index, 9);
    assert_int_equal(s.seen.elapsed, 300);
    assert_int_equal(test_slots(&limit, 1, &at), 1);
    assert_int_equal(sluice_slot_index(*at), 9);
    assert_int_equal(sluice_slot_previous(*at), 0);
    assert_int_equal(sluice_slot_current(*at), 2);
    refuses(1, 9300, 3, 2);

    /* one window late counts as it is */

    test_times[0] = 20000;
    test_times[1] = test_times[2] = test_times[3] = 21999;
    test_reads = 0;

    assert_int_equal(sluice_limit_charge(&limit, test_key(&limit, 2), 20000, 3,
                                         2, &s), SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.index, 20);
    refuses(2, 21000, 3, 2);

    /* a clock read long before the decision does not count for an insert */

    test_set_clock(30000);
    assert_int_equal(sluice_limit_charge(&limit, test_key(&limit, 3), 1000, 3,
                                         3, &s), SLUICE_LIMIT_PASSED);
    assert_int_equal(s.seen.index, 30);
    refuses(3, 30000, 3, 1);

    sluice_limit_close(&d->dir, &limit);
}


/* no two attempts look alike: other views, later runs, other forks */

static int
test_nonce_order(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


#define TEST_RUN  (3u << SLUICE_EPOCH_SHIFT)

static void
test_nonces(void **state)
{
    uint64_t        *all, n;
    unsigned         i;
    util_dir_t      *d = *state;
    sluice_limit_t   limit, other;

    test_open(d, &limit, 64, TEST_WINDOW);
    other = limit;

    all = malloc(2 * TEST_RUN * sizeof(uint64_t));
    assert_non_null(all);

    for (n = 0, i = 0; i < TEST_RUN; i++) {
        all[n++] = (uint64_t) sluice_limit_tentative(&limit, 1, 0)
                   & ((1ull << SLUICE_NONCE_BITS) - 1);
        all[n++] = (uint64_t) sluice_limit_tentative(&other, 1, 0)
                   & ((1ull << SLUICE_NONCE_BITS) - 1);
    }

    qsort(all, n, sizeof(uint64_t), test_nonce_order);

    while (--n > 0) {
        assert_int_not_equal(all[n], all[n - 1]);
    }

    free(all);
    sluice_limit_close(&d->dir, &limit);
}


static void
test_buckets(void **state)
{
    (void) state;

    assert_int_equal(sluice_limit_buckets(0), 0);
    assert_int_equal(sluice_limit_buckets(16 * 256 - 1), 0);
    assert_int_equal(sluice_limit_buckets(16 * 256), 16);
    assert_int_equal(sluice_limit_buckets(16 * 256 + 255), 16);
    assert_int_equal(sluice_limit_buckets((1ull << 27) * 256), 1 << 27);
    assert_int_equal(sluice_limit_buckets(((1ull << 27) + 1) * 256), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_edges),
        util_test(test_boot),
        util_test(test_largest),
        util_test(test_refund),
        util_test(test_refund_evicted),
        util_test(test_settle),
        cmocka_unit_test(test_retry),
        util_test(test_model),
        util_test(test_evicted),
        util_test(test_evicted_before),
        util_test(test_emptier),
        util_test(test_alike),
        util_test(test_tentative),
        util_test(test_late),
        util_test(test_nonces),
        cmocka_unit_test(test_buckets)
    };

    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
