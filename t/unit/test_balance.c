
/*
 * Which member a try goes to, one thread: each method's distribution, who is
 * passed over and why, what a try that did not come to be gives back.
 * balance.c is included for its statics, and to let rivals be faster.
 */

#include "pool.h"

static uint64_t test_pool_early(sluice_pool_t *pool, unsigned line,
    uint64_t now, uint64_t timeout);
static uint64_t test_member_probe(sluice_member_t *member, uint64_t now,
    uint64_t timeout);
static bool test_member_charge(sluice_member_t *member,
    const sluice_member_limit_t *limit, uint64_t now, uint64_t amount,
    sluice_window_t *state, uint64_t *retry);

#define sluice_member_probe   test_member_probe
#define sluice_member_charge  test_member_charge
#define sluice_pool_early     test_pool_early

#include "balance.c"

#undef sluice_member_probe
#undef sluice_member_charge
#undef sluice_pool_early

#include "util.h"


#define TEST_NOW      100000u
#define TEST_PROBE    5000u
#define TEST_COOLING  (-1)
#define TEST_NONE     (-2)
#define TEST_FULL     (-3)


static sluice_pool_t            test_pool;
static sluice_balance_conf_t    test_conf[SLUICE_BALANCE_MAX];
static char                     test_id[SLUICE_BALANCE_MAX][16];
static unsigned                 test_n;
static sluice_balance_hold_t    test_hold;      /* the last one taken        */
static uint64_t                 test_retry;
static sluice_balance_result_t  test_look;      /* before it was             */
static bool                     test_may_early = true;
static sluice_error_t           test_error;

/* what a rival does right before us, once */
static bool                     test_rival_probes;
static bool                     test_rival_early;
static uint64_t                 test_rival_charges;

static const sluice_member_policy_t  test_policy = {
    .cool = 60000, .cool_max = 600000, .denied = 3, .exhausted = 86400000,
    .errors = 1, .window = 10000, .open = 1000, .open_max = 60000,
    .probe = TEST_PROBE
};


static uint64_t
test_member_probe(sluice_member_t *member, uint64_t now, uint64_t timeout)
{
    if (test_rival_probes) {
        test_rival_probes = false;
        assert_true(sluice_member_probe(member, now, timeout) != 0);
    }

    return sluice_member_probe(member, now, timeout);
}


static uint64_t
test_pool_early(sluice_pool_t *pool, unsigned line, uint64_t now,
    uint64_t timeout)
{
    if (test_rival_early) {
        test_rival_early = false;
        assert_true(sluice_pool_early(pool, line, now, timeout) != 0);
    }

    return sluice_pool_early(pool, line, now, timeout);
}


static bool
test_member_charge(sluice_member_t *member, const sluice_member_limit_t *limit,
    uint64_t now, uint64_t amount, sluice_window_t *state, uint64_t *retry)
{
    uint64_t         rival, unused;
    sluice_window_t  window;

    if (test_rival_charges != 0 && limit->counts == SLUICE_COUNTS_TOKENS) {
        rival = test_rival_charges;
        test_rival_charges = 0;
        assert_true(sluice_member_charge(member, limit, now, rival, &window,
                                         &unused));
    }

    return sluice_member_charge(member, limit, now, amount, state, retry);
}


/* n members "a", "b"..., all alike */

static void
test_open(util_dir_t *d, unsigned n)
{
    unsigned  i;

    assert_int_equal(sluice_pool_open(&d->dir, SLUICE_POOL_KEYS, "p",
                                      &test_pool, &test_error), SLUICE_OK);
    memset(test_conf, 0, sizeof(test_conf));
    test_n = n;

    for (i = 0; i < n; i++) {
        if (i < 26) {
            snprintf(test_id[i], sizeof(test_id[i]), "%c", 'a' + i);
        } else {
            snprintf(test_id[i], sizeof(test_id[i]), "m%u", i);
        }

        test_conf[i].id = test_id[i];
        test_conf[i].weight = 1;

        assert_int_equal(sluice_pool_member(&test_pool, 1000 + i, test_id[i],
                                            1, &test_conf[i].line,
                                            &test_error), SLUICE_OK);
    }
}


static sluice_balance_t *
test_balance(sluice_balance_method_t method, unsigned slot)
{
    void              *memory;
    sluice_balance_t  *balance;

    memory = aligned_alloc(64, sluice_balance_size(test_n));
    assert_non_null(memory);

    balance = sluice_balance_init(memory, &test_pool, method, test_conf,
                                  test_n);
    sluice_balance_start(balance, slot, 0);

    return balance;
}


static void
test_close(util_dir_t *d)
{
    sluice_pool_close(&d->dir, &test_pool);
}


static void
test_limit(unsigned member, sluice_counts_t counts, uint32_t window,
    uint64_t max)
{
    sluice_member_limit_t  *limit;

    limit = &test_conf[member].limit[test_conf[member].nlimits++];
    limit->counts = counts;
    limit->window = window;
    limit->max = max;
    assert_true(sluice_member_limit_init(limit));
}


static sluice_member_t *
test_member(unsigned member)
{
    return sluice_pool_line(&test_pool, test_conf[member].line);
}


static void
test_answer(unsigned member, sluice_answer_t answer, uint64_t now,
    uint64_t hint)
{
    sluice_member_try_t  try = { now, 0 };

    (void) sluice_member_answer(test_member(member), &test_policy, &try,
                                answer, SLUICE_REASON_STATUS, 0, hint, now);
}


/* the member; TEST_COOLING, TEST_NONE, TEST_FULL */

static int
test_take(sluice_balance_t *balance, sluice_balance_set_t *had,
    unsigned prefer, uint64_t hash, uint64_t tokens, uint64_t now)
{
    uint64_t                 retry;
    sluice_balance_set_t     none;
    sluice_balance_result_t  rc;

    memset(&none, 0, sizeof(none));
    had = (had != NULL) ? had : &none;

    test_look = sluice_balance_look(balance, had, tokens, TEST_PROBE, now,
                                    &retry);

    rc = sluice_balance_take(balance, had, prefer, hash, tokens, TEST_PROBE,
                             test_may_early, now, &test_hold, &test_retry);

    /* rivals may come in between, but none gives anything back here */

    assert_true(test_look == rc || test_look == SLUICE_BALANCE_TAKEN);

    if (rc == SLUICE_BALANCE_TAKEN) {
        assert_true(sluice_balance_has(had, test_hold.member));
        assert_true(test_hold.try.began == now);
        return (int) test_hold.member;
    }

    assert_true(test_look == SLUICE_BALANCE_TAKEN || retry == test_retry);

    return (rc == SLUICE_BALANCE_COOLING) ? TEST_COOLING
           : (rc == SLUICE_BALANCE_NONE) ? TEST_NONE : TEST_FULL;
}


static int
test_any(sluice_balance_t *balance, uint64_t now)
{
    return test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 0, now);
}


static void
test_sequence(sluice_balance_t *balance, const char *expected, uint64_t now)
{
    char      seen[64];
    unsigned  i;

    for (i = 0; i < strlen(expected); i++) {
        seen[i] = (char) ('a' + test_any(balance, now));
        sluice_balance_give(balance, &test_hold);
    }

    seen[i] = '\0';

    assert_string_equal(seen, expected);
}


/* sum of (seen - expected)^2 / expected, for members by weight */

static double
test_chi_square(const unsigned *seen, unsigned total)
{
    double    expected, sum;
    unsigned  i, weights;

    for (weights = 0, i = 0; i < test_n; i++) {
        weights += test_conf[i].weight;
    }

    for (sum = 0, i = 0; i < test_n; i++) {
        expected = (double) total * test_conf[i].weight / weights;
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
    }

    return sum;
}


static void
test_round_robin(void **state)
{
    unsigned           i, k, sum, seen[9];
    uint64_t           seed;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, 3);
    test_conf[0].weight = 5;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    test_sequence(balance, "aabacaaaabacaa", TEST_NOW);

    /* without b, from its turn on, as if there were none; then as before */

    sluice_member_disable(test_member(1), TEST_NOW);
    test_sequence(balance, "aacaaaaacaaa", TEST_NOW);
    sluice_member_enable(test_member(1));
    test_sequence(balance, "abaacaaabaacaa", TEST_NOW);

    /* workers begin at different places of it */

    sluice_balance_start(balance, 3, 3);
    test_sequence(balance, "acaaaab", TEST_NOW);
    sluice_balance_start(balance, 3, SLUICE_BALANCE_ROUNDS + 3);
    test_sequence(balance, "acaaaab", TEST_NOW);
    free(balance);
    test_close(d);

    /* any weights: each has them exactly, every time round */

    test_open(d, 9);
    seed = util_seed();
    sum = 0;

    for (i = 0; i < test_n; i++) {
        test_conf[i].weight = (i == 0) ? SLUICE_WEIGHT_MAX
                                       : 1 + util_random(&seed) % 50;
        sum += test_conf[i].weight;
    }

    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    for (k = 0; k < 3; k++) {
        memset(seen, 0, sizeof(seen));

        for (i = 0; i < sum; i++) {
            seen[test_any(balance, TEST_NOW)]++;
            sluice_balance_give(balance, &test_hold);
        }

        for (i = 0; i < test_n; i++) {
            assert_int_equal(seen[i], test_conf[i].weight);
        }
    }

    free(balance);
    test_close(d);
}


/* first tries stay even, and so do others, where one member always fails */

static void
test_round_robin_again(void **state)
{
    int                    member;
    unsigned               n, i, first[5], other[5];
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

    for (n = 2; n < 5; n++) {
        test_open(d, n);
        balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
        memset(first, 0, sizeof(first));
        memset(other, 0, sizeof(other));

        for (i = 0; i < n * (n - 1) * 100; i++) {
            memset(&had, 0, sizeof(had));
            member = test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                               TEST_NOW);
            first[member]++;
            sluice_balance_give(balance, &test_hold);

            if (member == 0) {
                member = test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                                   TEST_NOW);
                other[member]++;
                sluice_balance_give(balance, &test_hold);
            }
        }

        assert_int_equal(other[0], 0);

        for (i = 0; i < n; i++) {
            assert_in_range(first[i], (n - 1) * 100 - 2, (n - 1) * 100 + 2);
            assert_in_range(other[i], i ? 98 : 0, i ? 102 : 0);
        }

        free(balance);
        test_close(d);
    }
}


/* a rival fills the window of the one whose turn it is: others keep theirs */

static void
test_round_robin_failed(void **state)
{
    int                seen[4];
    unsigned           i;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, 4);
    test_conf[0].weight = 5;
    test_conf[1].weight = 3;
    test_limit(0, SLUICE_COUNTS_TOKENS, 60000, 100);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    test_rival_charges = 100;
    assert_int_equal(test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 10,
                               TEST_NOW), 1);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[0].line), 0);

    /* on as if a had never been there */

    for (i = 0; i < 4; i++) {
        seen[i] = test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 10,
                            TEST_NOW);
    }

    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 3);
    assert_int_equal(seen[3], 1);

    free(balance);
    test_close(d);
}


/* by weight all the same, over many changes from one way to the other */

static void
test_round_robin_even(void **state)
{
    int                    member;
    double                 share;
    unsigned               i, k, at, since, fails, seen[8];
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

    static const unsigned  weight[][4] = {
        { 1, 1, 1, 1 }, { 5, 1, 1, 1 }, { 4, 3, 2, 1 }
    };

    for (k = 0; k < 3; k++) {
        for (fails = 0; fails < 4; fails++) {
            test_open(d, 4);

            for (i = 0, at = 0; i < 4; i++) {
                test_conf[i].weight = weight[k][i];
                at += weight[k][i];
            }

            balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
            memset(seen, 0, sizeof(seen));
            since = 0;

            /* one fails now and then, after it has been calm for a while */

            for (i = 0; i < 100000; i++) {
                memset(&had, 0, sizeof(had));
                member = test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                                   TEST_NOW);
                seen[member]++;
                sluice_balance_give(balance, &test_hold);

                if ((unsigned) member == fails
                    && ++since > SLUICE_BALANCE_CALM * weight[k][fails] + 1)
                {
                    since = 0;
                    member = test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                                       TEST_NOW);
                    sluice_balance_give(balance, &test_hold);
                }
            }

            for (i = 0; i < 4; i++) {
                share = (double) seen[i] * at / weight[k][i] / 100000;
                assert_true(share > 0.95 && share < 1.05);
            }

            free(balance);
            test_close(d);
        }
    }
}


/* the quick way: the same turns, and nothing where more must be asked */

static void
test_next(void **state)
{
    unsigned               i, method, seen[4];
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

#define next(expected)                                                        \
    assert_int_equal(sluice_balance_next(balance, TEST_NOW, &test_hold)       \
                     ? (int) test_hold.member : -1, expected)

    /* by weight, backups left out; a backup first, so places are not indices */

    test_open(d, 4);
    test_conf[0].backup = true;
    test_conf[1].weight = 20;
    test_conf[2].weight = 10;
    test_conf[3].weight = 10;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    memset(&test_hold, 0xff, sizeof(test_hold));
    next(1);
    assert_true(test_hold.try.began == TEST_NOW && test_hold.try.probe == 0);
    assert_true(test_hold.tokens == 0);
    assert_int_equal(test_hold.line, test_conf[1].line);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[1].line), 1);
    sluice_balance_give(balance, &test_hold);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[1].line), 0);

    /* the two ways share the turns: 1 2 3 1, again and again */

    assert_int_equal(test_any(balance, TEST_NOW), 2);
    next(3);
    assert_int_equal(test_any(balance, TEST_NOW), 1);
    next(1);

    /* whoever is not well is for the other way to say, and it stays its turn */

    test_answer(2, SLUICE_ANSWER_COOL, TEST_NOW, 1000);
    next(-1);
    next(-1);
    assert_int_equal(test_any(balance, TEST_NOW + 1000), 2);
    sluice_member_enable(test_member(2));

    /* from there on all are asked each time, until it is calm */

    for (i = 0; i < SLUICE_BALANCE_CALM; i++) {
        next(-1);
        assert_int_equal(test_any(balance, TEST_NOW), 3);
        next(-1);
        assert_int_equal(test_any(balance, TEST_NOW), 1);
        assert_int_equal(test_any(balance, TEST_NOW), 1);
        assert_int_equal(test_any(balance, TEST_NOW), 2);
    }

    next(2);
    next(3);

    /* a second try is asked of all, too */

    memset(&had, 0, sizeof(had));
    sluice_balance_set(&had, 3);
    assert_int_equal(test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                               TEST_NOW), 1);
    next(-1);
    assert_int_equal(test_any(balance, TEST_NOW), 1);
    free(balance);

    /*
     * When a try began matters where something has failed before: then the
     * clock must be read, but the turns go on.
     */

    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    sluice_member_doubt(test_member(1), TEST_NOW);
    next(-1);
    assert_int_equal(test_any(balance, TEST_NOW), 1);
    next(2);
    next(3);
    next(-1);
    sluice_member_enable(test_member(1));
    next(1);
    free(balance);

    /* windows and places must be asked for, of the backup as well */

    test_limit(0, SLUICE_COUNTS_REQUESTS, 10000, 2);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    next(-1);
    free(balance);
    test_conf[0].nlimits = 0;
    test_conf[3].max_conns = 1;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    next(-1);
    free(balance);
    test_conf[3].max_conns = 0;

    for (method = SLUICE_BALANCE_LEAST_USED; method <= SLUICE_BALANCE_HASH;
         method++)
    {
        balance = test_balance(method, 3);
        next(-1);
        free(balance);
    }

    /* a round of too many turns is not worked out, and as even */

    test_conf[1].weight = SLUICE_WEIGHT_MAX;
    test_conf[2].weight = 21;
    test_conf[3].weight = 4;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    next(-1);

    for (i = 0; i < 4; i++) {
        assert_int_equal(test_any(balance, TEST_NOW), 1);
    }

    free(balance);

    /* of as many as there is room for it is */

    test_conf[3].weight = 3;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    memset(seen, 0, sizeof(seen));

    for (i = 0; i < SLUICE_BALANCE_TURNS; i++) {
        assert_true(sluice_balance_next(balance, TEST_NOW, &test_hold));
        seen[test_hold.member]++;
    }

#undef next

    for (i = 1; i < test_n; i++) {
        assert_int_equal(seen[i], test_conf[i].weight);
    }

    free(balance);

    /* nobody's turn, where there are backups only */

    for (i = 0; i < test_n; i++) {
        test_conf[i].backup = true;
    }

    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    assert_false(sluice_balance_next(balance, TEST_NOW, &test_hold));
    assert_int_equal(test_any(balance, TEST_NOW), 1);
    free(balance);
    test_close(d);
}


static void
test_least_used(void **state)
{
    unsigned           i, k, m, seen[3] = { 0, 0, 0 };
    util_dir_t        *d = *state;
    sluice_balance_t  *balance, *other;

    test_open(d, 3);
    test_conf[0].weight = 3;
    test_conf[1].weight = 2;
    balance = test_balance(SLUICE_BALANCE_LEAST_USED, 3);
    other = test_balance(SLUICE_BALANCE_LEAST_USED, 200);

    /* idle: round robin by weight */

    test_sequence(balance, "abacbaabacba", TEST_NOW);

    /* never one that has more than another for its weight */

    for (i = 0; i < 600; i++) {
        m = (unsigned) test_any(balance, TEST_NOW);

        for (k = 0; k < 3; k++) {
            assert_true(seen[m] * test_conf[k].weight
                        <= seen[k] * test_conf[m].weight);
        }

        seen[m]++;
    }

    assert_int_equal(seen[0], 300);
    assert_int_equal(seen[1], 200);
    assert_int_equal(seen[2], 100);

    /* one less than its share is the next one, at once */

    test_hold.line = test_conf[1].line;
    sluice_balance_give(balance, &test_hold);
    assert_int_equal(test_any(balance, TEST_NOW), 1);

    /* the other worker knows it a millisecond later */

    for (i = 0; i < 50; i++) {
        test_hold.line = test_conf[0].line;
        sluice_balance_give(balance, &test_hold);
    }

    (void) sluice_balance_look(other, NULL, 0, TEST_PROBE, TEST_NOW,
                               &test_retry);

    for (i = 0; i < 10; i++) {
        assert_int_equal(test_any(other, TEST_NOW), 0);
    }

    for (i = 0; i < 50; i++) {
        assert_int_equal(test_any(balance, TEST_NOW), 0);
    }

    assert_int_equal(test_any(other, TEST_NOW), 0);
    assert_int_not_equal(test_any(other, TEST_NOW + 1), 0);
    assert_int_not_equal(test_any(balance, TEST_NOW + 1), 0);

    free(other);
    free(balance);
    test_close(d);
}


static void
test_random(void **state)
{
    double             chi;
    unsigned           i, least, most, seen[8];
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    /* idle, so that the first drawn has it: by weight */

    test_open(d, 4);
    memset(seen, 0, sizeof(seen));

    for (i = 0; i < 4; i++) {
        test_conf[i].weight = i + 1;
    }

    balance = test_balance(SLUICE_BALANCE_RANDOM, 3);
    sluice_balance_start(balance, 3, 42);

    for (i = 0; i < 40000; i++) {
        seen[test_any(balance, TEST_NOW)]++;
        sluice_balance_give(balance, &test_hold);
    }

    chi = test_chi_square(seen, 40000);
    print_message("# random, by weight: chi-square %.2f of 3\n", chi);
    assert_true(chi < 16.27);                   /* 1 of 1000 */

    /* the one that has more loses against any: two are two */

    for (i = 0; i < 10; i++) {
        test_hold.line = test_conf[3].line;
        sluice_pool_take(&test_pool, test_conf[3].line, 3);
    }

    for (i = 0; i < 1000; i++) {
        assert_int_not_equal(test_any(balance, TEST_NOW), 3);
        sluice_balance_give(balance, &test_hold);
    }

    free(balance);
    test_close(d);

    /* two choices: the most loaded has little more than the least */

    test_open(d, 8);
    memset(seen, 0, sizeof(seen));
    balance = test_balance(SLUICE_BALANCE_RANDOM, 3);

    for (i = 0; i < 8000; i++) {
        seen[test_any(balance, TEST_NOW)]++;
    }

    least = seen[0];
    most = seen[0];

    for (i = 0; i < 8; i++) {
        least = (seen[i] < least) ? seen[i] : least;
        most = (seen[i] > most) ? seen[i] : most;
    }

    print_message("# random, held: %u to %u of 1000\n", least, most);
    assert_true(most - least <= 12);

    /* another seed, other draws */

    sluice_balance_start(balance, 3, 43);
    assert_int_equal(balance->seed, 43);

    free(balance);
    test_close(d);
}


#define TEST_VALUES  50000u

static void
test_hash(void **state)
{
    double             chi;
    unsigned           i, moved, seen[16], weight;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    static uint8_t   owner[TEST_VALUES], again;
    static unsigned  order[16];

    test_open(d, 10);
    memset(seen, 0, sizeof(seen));
    balance = test_balance(SLUICE_BALANCE_HASH, 3);

    for (i = 0; i < TEST_VALUES; i++) {
        owner[i] = (uint8_t) test_take(balance, NULL, SLUICE_BALANCE_MAX,
                                       i * 77777ull, 0, TEST_NOW);
        seen[owner[i]]++;
        sluice_balance_give(balance, &test_hold);
    }

    chi = test_chi_square(seen, TEST_VALUES);
    print_message("# hash: chi-square %.2f of 9\n", chi);
    assert_true(chi < 27.88);

    /* fixed for good by the id: a restart or an upgrade moves nobody */

    assert_int_equal(owner[0], 6);
    assert_int_equal(owner[1], 1);
    assert_int_equal(owner[2], 4);
    assert_int_equal(owner[3], 3);
    assert_int_equal(owner[4], 8);

    /* a member leaves: only its values move */

    sluice_member_disable(test_member(4), TEST_NOW);

    for (moved = 0, i = 0; i < TEST_VALUES; i++) {
        again = (uint8_t) test_take(balance, NULL, SLUICE_BALANCE_MAX,
                                    i * 77777ull, 0, TEST_NOW);
        moved += (again != owner[i]);
        assert_true(again == owner[i] || owner[i] == 4);
        sluice_balance_give(balance, &test_hold);
    }

    assert_int_equal(moved, seen[4]);
    sluice_member_enable(test_member(4));
    free(balance);

    /* another order of the same members, in another configuration */

    for (i = 0; i < test_n; i++) {
        order[i] = (i * 3 + 1) % test_n;
        test_conf[i].id = test_id[order[i]];
        test_conf[i].line = order[i];
    }

    balance = test_balance(SLUICE_BALANCE_HASH, 3);

    for (i = 0; i < TEST_VALUES; i++) {
        again = (uint8_t) test_take(balance, NULL, SLUICE_BALANCE_MAX,
                                    i * 77777ull, 0, TEST_NOW);
        assert_int_equal(order[again], owner[i]);
        sluice_balance_give(balance, &test_hold);
    }

    free(balance);
    test_close(d);

    /* by weight; a member that gains weight takes, and gives nothing */

    test_open(d, 5);

    for (weight = 1; weight <= 16; weight *= 4) {
        memset(seen, 0, sizeof(seen));
        test_conf[0].weight = 3;
        test_conf[1].weight = 7;
        test_conf[2].weight = weight;
        test_conf[3].weight = 20;
        balance = test_balance(SLUICE_BALANCE_HASH, 3);

        for (i = 0; i < TEST_VALUES; i++) {
            again = (uint8_t) test_take(balance, NULL, SLUICE_BALANCE_MAX,
                                        i * 77777ull, 0, TEST_NOW);
            assert_true(weight == 1 || again == owner[i] || again == 2);
            owner[i] = again;
            seen[again]++;
            sluice_balance_give(balance, &test_hold);
        }

        chi = test_chi_square(seen, TEST_VALUES);
        print_message("# hash, by weight: chi-square %.2f of 4\n", chi);
        assert_true(chi < 18.47);
        free(balance);
    }

    test_close(d);
}


static double
test_distance(double a, double b)
{
    return (a > b) ? a - b : b - a;
}


static void
test_minus_ln(void **state)
{
    int       i;
    double    u, e, ln2;
    uint64_t  seed;

    (void) state;

    ln2 = 0x1.62e42fefa39efp-1;

    assert_true(sluice_balance_minus_ln(1) == 0);
    assert_true(test_distance(sluice_balance_minus_ln(0x1p-53), 53 * ln2)
                < 1e-9);
    assert_true(test_distance(sluice_balance_minus_ln(0.1),
                              2.302585092994046) < 1e-7);
    assert_true(test_distance(sluice_balance_minus_ln(0.7071067811865475),
                              ln2 / 2) < 1e-7);

    seed = util_seed();

    for (i = 0; i < 1000000; i++) {
        u = (double) ((util_random(&seed) >> 11) + 1) * 0x1p-53;

        /* ln(u^2) = 2 ln(u) */

        assert_true(test_distance(sluice_balance_minus_ln(u * u),
                                  2 * sluice_balance_minus_ln(u)) < 1e-7);

        /* ln(1 - e) = -e - e^2 / 2 - e^3 / 3..., and no less than what
           rendezvous rules members out by */

        e = (double) ((util_random(&seed) >> 19) + 1) * 0x1p-53;
        assert_true(test_distance(sluice_balance_minus_ln(1 - e) / e,
                                  1 + e / 2 + e * e / 3 + e * e * e / 4)
                    < 1e-8);
        assert_true(sluice_balance_minus_ln(1 - e) >= e * (1 - 1e-15));
    }
}


static void
test_had(void **state)
{
    unsigned               i, method;
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

    test_open(d, 130);
    test_conf[5].backup = true;

    for (method = 0; method <= SLUICE_BALANCE_HASH; method++) {
        balance = test_balance(method, 3);
        memset(&had, 0, sizeof(had));

        /* test_take() looks that it is in it: each once, the backup last */

        for (i = 0; i < test_n; i++) {
            assert_true(test_take(balance, &had, SLUICE_BALANCE_MAX, 7, 0,
                                  TEST_NOW) >= 0);
            assert_true((test_hold.member == 5) == (i == 129));
            sluice_balance_give(balance, &test_hold);
        }

        /* they are well, but not for this request */

        assert_int_equal(test_take(balance, &had, SLUICE_BALANCE_MAX, 7, 0,
                                   TEST_NOW), TEST_NONE);
        assert_true(test_retry == 0);

        for (i = 0; i < test_n; i++) {
            assert_true(sluice_balance_has(&had, i));
        }

        free(balance);
    }

    /* two of them have been tried, and that is why they cool */

    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    for (i = 0; i < test_n; i++) {
        test_answer(i, SLUICE_ANSWER_COOL, TEST_NOW, 2000 + i);
    }

    assert_int_equal(test_take(balance, &had, SLUICE_BALANCE_MAX, 7, 0,
                               TEST_NOW), TEST_COOLING);
    assert_true(test_retry == 2000);

    free(balance);
    test_close(d);
}


/* another try goes to who is not doubted, or was denied the longest ago */

static void
test_doubted(void **state)
{
    unsigned               method;
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

    test_open(d, 5);
    test_conf[4].backup = true;

#define another()                                                             \
    test_take(balance, &had, SLUICE_BALANCE_MAX, 7, 0, TEST_NOW)

    for (method = 0; method <= SLUICE_BALANCE_HASH; method++) {
        balance = test_balance(method, 0);

        sluice_member_doubt(test_member(0), TEST_NOW - 10);
        sluice_member_doubt(test_member(1), TEST_NOW - 40);
        test_answer(2, SLUICE_ANSWER_DENIED, TEST_NOW - 20, SLUICE_NEVER);
        sluice_member_doubt(test_member(3), TEST_NOW - 30);

        /* the first is as if there were no doubts */

        memset(&had, 0, sizeof(had));
        assert_in_range(another(), 0, 3);

        memset(&had, 0, sizeof(had));
        sluice_balance_set(&had, 1);
        assert_int_equal(another(), 4);
        assert_int_equal(another(), 3);
        assert_int_equal(another(), 2);
        assert_int_equal(another(), 0);
        assert_int_equal(another(), TEST_NONE);

        /* one that cannot be had is passed over */

        memset(&had, 0, sizeof(had));
        sluice_balance_set(&had, 4);
        sluice_member_cool(test_member(1), TEST_NOW, TEST_NOW + 1000);
        assert_int_equal(another(), 3);
        sluice_member_enable(test_member(1));

        /* nor is a backup doubted the last */

        memset(&had, 0, sizeof(had));
        sluice_balance_set(&had, 1);
        sluice_member_doubt(test_member(4), TEST_NOW - 50);
        assert_int_equal(another(), 3);
        sluice_member_enable(test_member(4));
        sluice_member_enable(test_member(2));

        assert_true(sluice_pool_forget_slot(&d->dir, 0));
        free(balance);
    }

#undef another

    test_close(d);
}


static void
test_prefer(void **state)
{
    util_dir_t            *d = *state;
    sluice_balance_t      *balance;
    sluice_balance_set_t   had;

    test_open(d, 4);
    test_conf[0].backup = true;
    test_conf[2].max_conns = 1;
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    memset(&had, 0, sizeof(had));

#define prefer(member, had)                                                   \
    test_take(balance, had, member, 0, 0, TEST_NOW)

    assert_int_equal(prefer(2, &had), 2);
    assert_int_equal(prefer(2, &had), 1);       /* had                       */
    assert_int_equal(prefer(1, &had), 3);
    assert_int_equal(prefer(2, NULL), 3);       /* no place                  */
    assert_int_equal(prefer(0, NULL), 0);       /* a backup is well, too     */
    sluice_member_disable(test_member(0), TEST_NOW);
    assert_int_equal(prefer(0, NULL), 1);
    assert_int_equal(prefer(4, NULL), 3);       /* no such one               */
    assert_int_equal(prefer(4, &had), TEST_FULL);
    assert_int_equal(test_look, SLUICE_BALANCE_FULL);

#undef prefer

    free(balance);
    test_close(d);
}


static void
test_backups(void **state)
{
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, 4);
    test_conf[1].backup = true;
    test_conf[3].backup = true;
    test_limit(0, SLUICE_COUNTS_REQUESTS, 60000, 100);
    test_limit(2, SLUICE_COUNTS_REQUESTS, 60000, 2);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    test_sequence(balance, "acac", TEST_NOW);
    test_sequence(balance, "aa", TEST_NOW);
    test_answer(0, SLUICE_ANSWER_COOL, TEST_NOW, 5000);
    test_sequence(balance, "bdbd", TEST_NOW);
    test_sequence(balance, "aaa", TEST_NOW + 5000);
    sluice_member_disable(test_member(0), TEST_NOW);
    sluice_member_disable(test_member(1), TEST_NOW);
    test_sequence(balance, "dd", TEST_NOW);
    test_answer(3, SLUICE_ANSWER_COOL, TEST_NOW, 7000);

    /* limited, all that are in the pool: a window here, the backup there */

    assert_int_equal(test_any(balance, TEST_NOW), TEST_COOLING);
    assert_true(test_retry == 7000);

    free(balance);
    test_close(d);
}


static void
test_max_conns(void **state)
{
    unsigned                i;
    util_dir_t             *d = *state;
    sluice_balance_t       *balance, *other;
    sluice_balance_hold_t   first;

    for (i = 0; i <= SLUICE_BALANCE_HASH; i++) {
        test_open(d, 2);
        test_conf[0].max_conns = 1;
        test_conf[1].max_conns = 2;
        balance = test_balance(i, 3);
        other = test_balance(i, 200);

        assert_true(test_any(balance, TEST_NOW) >= 0);
        first = test_hold;
        assert_true(test_any(other, TEST_NOW) >= 0);
        assert_true(test_any(balance, TEST_NOW) >= 0);
        assert_int_equal(sluice_pool_in_flight(&test_pool,
                                               test_conf[0].line), 1);
        assert_int_equal(sluice_pool_in_flight(&test_pool,
                                               test_conf[1].line), 2);

        /* nobody knows when one is given back */

        assert_int_equal(test_any(balance, TEST_NOW), TEST_FULL);
        assert_true(test_retry == SLUICE_NEVER);
        assert_int_equal(test_any(other, TEST_NOW), TEST_FULL);

        /* known to the other one in the same millisecond */

        sluice_balance_give(balance, &first);
        assert_int_equal(test_any(other, TEST_NOW), first.member);
        assert_int_equal(test_any(balance, TEST_NOW), TEST_FULL);

        free(other);
        free(balance);
        assert_true(sluice_pool_forget_slot(&d->dir, 3));
        assert_true(sluice_pool_forget_slot(&d->dir, 200));
        test_close(d);
    }
}


/* how much the member's window of that kind has */

static uint64_t
test_used(unsigned member, sluice_counts_t counts, uint64_t now)
{
    unsigned         n;
    uint32_t         window;
    uint64_t         used, most;
    sluice_counts_t  kind;

    for (n = 0; n < SLUICE_MEMBER_WINDOWS; n++) {
        if (sluice_member_window(test_member(member), n, now, &kind, &window,
                                 &used, &most)
            && kind == counts)
        {
            return used;
        }
    }

    return 0;
}


static void
test_again(void **state)
{
    util_dir_t             *d = *state;
    sluice_balance_t       *balance;
    sluice_balance_hold_t   hold;

    test_open(d, 1);
    test_limit(0, SLUICE_COUNTS_REQUESTS, 60000, 2);
    test_limit(0, SLUICE_COUNTS_TOKENS, 60000, 100);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    assert_int_equal(test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 30,
                               TEST_NOW), 0);

    /* a request and its tokens, in the same place */

    assert_true(sluice_balance_again(balance, &test_hold, TEST_NOW));
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, TEST_NOW), 2);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, TEST_NOW), 60);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[0].line), 1);

    /* one does not fit: none is charged, and the hold is the last one's */

    hold = test_hold;
    assert_false(sluice_balance_again(balance, &test_hold, TEST_NOW));
    assert_memory_equal(&hold, &test_hold, sizeof(hold));
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, TEST_NOW), 60);

    sluice_balance_refund(balance, &test_hold, TEST_NOW);
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, TEST_NOW), 1);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, TEST_NOW), 30);

    free(balance);
    test_close(d);
}


static void
test_limits(void **state)
{
    uint64_t                now;
    util_dir_t             *d = *state;
    sluice_balance_t       *balance;
    sluice_balance_hold_t   hold;

    test_open(d, 2);
    test_limit(0, SLUICE_COUNTS_REQUESTS, 10000, 2);
    test_limit(0, SLUICE_COUNTS_TOKENS, 60000, 100);
    test_limit(1, SLUICE_COUNTS_TOKENS, 60000, 1000);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    now = 600000;

#define take(tokens)                                                          \
    test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, tokens, now)

    /* a full one is skipped, not refused */

    assert_int_equal(take(60), 0);
    hold = test_hold;
    assert_int_equal(take(60), 1);
    assert_int_equal(take(60), 1);

    /* 60 were too much: 90 more fit */

    sluice_balance_settle(balance, &hold, 10, now);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, now), 10);
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, now), 1);
    assert_int_equal(take(90), 0);
    hold = test_hold;
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, now), 100);

    /* nothing was sent: a request and its tokens */

    sluice_balance_refund(balance, &hold, now);
    sluice_balance_give(balance, &hold);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, now), 10);
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, now), 1);

    /* more than the estimate counts, too */

    assert_int_equal(take(1), 1);
    assert_int_equal(take(1), 0);
    sluice_balance_settle(balance, &test_hold, 500, now);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, now), 510);

    /* the second request is its last, and what would fit the other does not */

    assert_int_equal(take(0), 1);
    assert_int_equal(take(0), 1);
    assert_int_equal(take(880), TEST_COOLING);
    assert_true(test_retry != 0 && test_retry != SLUICE_NEVER);

    /* nobody ever has so many */

    assert_int_equal(take(1001), TEST_NONE);
    assert_true(test_retry == SLUICE_NEVER);
    assert_int_equal(take(101), 1);

    free(balance);
    test_close(d);
}


/* the retry is the first millisecond at which there is one */

static void
test_limits_retry(void **state)
{
    unsigned           i;
    uint64_t           now, wait;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, 3);
    test_limit(0, SLUICE_COUNTS_REQUESTS, 10000, 3);
    test_limit(1, SLUICE_COUNTS_REQUESTS, 7000, 2);
    test_limit(2, SLUICE_COUNTS_REQUESTS, 60000, 4);
    test_limit(2, SLUICE_COUNTS_REQUESTS, 1000, 2);
    balance = test_balance(SLUICE_BALANCE_LEAST_USED, 3);
    now = 6000000;

    for (i = 0; i < 200; i++) {

        while (test_any(balance, now) >= 0) {
            sluice_balance_give(balance, &test_hold);
        }

        wait = test_retry;
        assert_true(wait > 0 && wait <= 10000);
        assert_int_equal(test_any(balance, now + wait - 1), TEST_COOLING);
        assert_true(test_retry == 1);
        now += wait;
        assert_true(test_any(balance, now) >= 0);
        sluice_balance_give(balance, &test_hold);
    }

    free(balance);
    test_close(d);
}


/* who fails in the last step gives back the others */

static void
test_undo(void **state)
{
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, 1);
    test_conf[0].max_conns = 5;
    test_limit(0, SLUICE_COUNTS_REQUESTS, 60000, 10);
    test_limit(0, SLUICE_COUNTS_TOKENS, 60000, 100);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    test_rival_charges = 50;
    assert_int_equal(test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 60,
                               TEST_NOW), TEST_COOLING);
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, TEST_NOW), 0);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, TEST_NOW), 50);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[0].line), 0);

    test_answer(0, SLUICE_ANSWER_ERROR, TEST_NOW, SLUICE_NEVER);
    test_rival_probes = true;
    assert_int_equal(test_take(balance, NULL, SLUICE_BALANCE_MAX, 0, 20,
                               TEST_NOW + 1000), TEST_NONE);
    assert_true(test_retry == TEST_PROBE);
    assert_int_equal(test_used(0, SLUICE_COUNTS_REQUESTS, TEST_NOW + 1000), 0);
    assert_int_equal(test_used(0, SLUICE_COUNTS_TOKENS, TEST_NOW + 1000), 50);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[0].line), 0);

    free(balance);
    test_close(d);
}


static void
test_probes(void **state)
{
    uint64_t                now;
    util_dir_t             *d = *state;
    sluice_balance_t       *balance, *other;
    sluice_balance_hold_t   probe;

    test_open(d, 2);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    other = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 200);
    now = TEST_NOW;

    test_answer(0, SLUICE_ANSWER_ERROR, now, SLUICE_NEVER);
    test_answer(1, SLUICE_ANSWER_ERROR, now, SLUICE_NEVER);

    /*
     * Both breakers are open: that is nothing a slower client could mend.  No
     * early try comes in between, the last one is of now.
     */

    test_pool.control->early = (uint64_t) now << 20;
    assert_int_equal(test_any(balance, now + 999), TEST_NONE);
    assert_true(test_retry == 1);

    /* half open: one try each, over both */

    now += 1000;
    assert_int_equal(test_any(balance, now), 0);
    assert_true(test_hold.try.probe != 0);
    probe = test_hold;
    assert_int_equal(test_any(other, now), 1);
    assert_true(test_hold.try.probe != 0);
    assert_int_equal(test_any(balance, now), TEST_NONE);
    assert_int_equal(test_any(other, now + TEST_PROBE - 1), TEST_NONE);
    assert_true(test_retry == 1);

    /* its answer makes it well, for all */

    (void) sluice_member_answer(test_member(0), &test_policy, &probe.try,
                                SLUICE_ANSWER_WELL, 0, 200, SLUICE_NEVER,
                                now + 10);
    assert_int_equal(test_any(balance, now + 10), 0);
    assert_int_equal(test_any(other, now + 10), 0);
    assert_true(test_hold.try.probe == 0);

    /* the other one's never came: past its deadline another may try */

    sluice_member_disable(test_member(0), now);
    assert_int_equal(test_any(other, now + TEST_PROBE), 1);
    assert_true(test_hold.try.probe != 0);
    assert_int_equal(test_any(balance, now + TEST_PROBE), TEST_NONE);

    free(other);
    free(balance);
    test_close(d);
}


/* one that rests for as long as we have guessed, when there is no other */

static void
test_early(void **state)
{
    uint64_t                now;
    util_dir_t             *d = *state;
    sluice_balance_t       *balance, *other;
    sluice_balance_set_t    had;
    sluice_balance_hold_t   early;

    test_open(d, 4);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);
    other = test_balance(SLUICE_BALANCE_LEAST_USED, 200);
    now = TEST_NOW;

    /* "b" and "c" by a guess, the others because they were asked to */

    test_answer(0, SLUICE_ANSWER_COOL, now, 59000);
    test_answer(1, SLUICE_ANSWER_COOL, now, SLUICE_NEVER);
    test_answer(2, SLUICE_ANSWER_COOL, now + 1000, SLUICE_NEVER);
    sluice_member_cool(test_member(3), now, now + 58000);

    /* a tenth of it at least, and Retry-After knows of none */

    assert_int_equal(test_any(balance, now + 5999), TEST_COOLING);
    assert_true(test_retry == 58000 - 5999);

    /* the one that has rested longest: one at a time, over all workers */

    now += 7001;
    assert_int_equal(test_any(balance, now), 1);
    assert_true(test_hold.try.probe != 0);
    early = test_hold;
    assert_int_equal(test_any(balance, now), TEST_COOLING);
    assert_int_equal(test_any(other, now + SLUICE_POOL_EARLY), TEST_COOLING);
    assert_int_equal(test_any(other, now + TEST_PROBE - 1), TEST_COOLING);

    /* its time is over: the next */

    assert_int_equal(test_any(other, now + TEST_PROBE), 2);
    sluice_balance_give(other, &test_hold);

    /* answered, and then no more often than that */

    now += TEST_PROBE;
    (void) sluice_member_answer(test_member(2), &test_policy, &test_hold.try,
                                SLUICE_ANSWER_NONE, 0, 0, SLUICE_NEVER, now);
    assert_int_equal(test_any(balance, now + SLUICE_POOL_EARLY - 1),
                     TEST_COOLING);

    /* nor one that this request has had, or that has rested too little since */

    memset(&had, 0, sizeof(had));
    sluice_balance_set(&had, 1);
    assert_int_equal(test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                               now + SLUICE_POOL_EARLY), TEST_COOLING);

    /* the first has brought its answer at last: well, for all */

    (void) sluice_member_answer(test_member(1), &test_policy, &early.try,
                                SLUICE_ANSWER_WELL, 0, 200, SLUICE_NEVER, now);
    sluice_balance_give(balance, &early);
    assert_int_equal(test_any(balance, now), 1);
    assert_true(test_hold.try.probe == 0);
    sluice_balance_give(balance, &test_hold);
    assert_int_equal(test_any(other, now + 30000), 1);
    assert_true(test_hold.try.probe == 0);
    sluice_balance_give(other, &test_hold);

    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[1].line), 0);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[2].line), 0);

    free(other);
    free(balance);
    test_close(d);
}


/* with a place, and room in its windows: what a rival was faster with is not */

static void
test_early_has_room(void **state)
{
    util_dir_t             *d = *state;
    sluice_balance_t       *balance;
    sluice_balance_hold_t   first;

    test_open(d, 3);
    test_conf[0].max_conns = 1;
    test_limit(1, SLUICE_COUNTS_REQUESTS, 60000, 1);
    balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

    assert_int_equal(test_any(balance, TEST_NOW), 0);
    first = test_hold;
    assert_int_equal(test_any(balance, TEST_NOW), 1);
    assert_int_equal(test_any(balance, TEST_NOW), 2);
    sluice_balance_give(balance, &test_hold);

    test_answer(0, SLUICE_ANSWER_COOL, TEST_NOW, SLUICE_NEVER);
    test_answer(1, SLUICE_ANSWER_COOL, TEST_NOW + 1, SLUICE_NEVER);
    test_answer(2, SLUICE_ANSWER_COOL, TEST_NOW + 2, SLUICE_NEVER);

    /* a rival has had it just before */

    test_rival_early = true;
    assert_int_equal(test_any(balance, TEST_NOW + 20000), TEST_COOLING);
    assert_true(test_retry == 40000);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[2].line), 0);

    test_may_early = false;
    assert_int_equal(test_any(balance, TEST_NOW + 30000), TEST_COOLING);
    test_may_early = true;
    assert_int_equal(test_any(balance, TEST_NOW + 30000), 2);
    sluice_member_disable(test_member(2), TEST_NOW + 30000);
    assert_int_equal(test_any(balance, TEST_NOW + 31000), TEST_COOLING);
    assert_true(test_retry == 29000);

    sluice_balance_give(balance, &first);
    assert_int_equal(test_any(balance, TEST_NOW + 31000), 0);
    assert_int_equal(sluice_pool_in_flight(&test_pool, test_conf[0].line), 1);

    free(balance);
    test_close(d);
}


/* what is said when there is none, and until when */

static void
test_results(void **state)
{
    unsigned           i, k;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    enum { WELL, COOL, OPERATOR, OPEN, SPENT, OFF, FULL, NO_PLACE, TRIED };

    static const struct {
        int       state[3];
        int       result;
        uint64_t  retry;
    } cases[] = {
        { { COOL, COOL, COOL },         TEST_COOLING, 4000 },
        { { COOL, FULL, COOL },         TEST_COOLING, 4000 },
        { { FULL, FULL, FULL },         TEST_COOLING, 20000 },
        { { OFF, COOL, OFF },           TEST_COOLING, 4000 },
        { { SPENT, FULL, OFF },         TEST_COOLING, 20000 },
        { { OPERATOR, FULL, OFF },      TEST_COOLING, 7000 },
        { { OFF, OFF, OFF },            TEST_NONE, SLUICE_NEVER },
        { { SPENT, SPENT, SPENT },      TEST_NONE, 86400000 },
        { { OPERATOR, OFF, SPENT },     TEST_NONE, 7000 },
        { { COOL, OPEN, COOL },         TEST_NONE, 1000 },
        { { NO_PLACE, NO_PLACE, OFF },  TEST_FULL, SLUICE_NEVER },
        { { NO_PLACE, COOL, FULL },     TEST_FULL, 4000 },
        { { TRIED, COOL, COOL },        TEST_NONE, 0 },
        { { TRIED, OFF, WELL },         2, 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sluice_window_t        window;
        sluice_balance_set_t   had;

        memset(&had, 0, sizeof(had));
        test_open(d, 3);
        (void) sluice_pool_forget_slot(&d->dir, 9);

        for (k = 0; k < 3; k++) {
            sluice_member_enable(test_member(k));
            memset(test_member(k)->window, 0, sizeof(test_member(k)->window));

            switch (cases[i].state[k]) {

            case COOL:
                test_answer(k, SLUICE_ANSWER_COOL, 120000, 4000);
                break;

            case OPERATOR:
                sluice_member_cool(test_member(k), 120000, 127000);
                break;

            case OPEN:
                test_answer(k, SLUICE_ANSWER_ERROR, 120000, SLUICE_NEVER);
                break;

            case SPENT:
                test_answer(k, SLUICE_ANSWER_EXHAUSTED, 120000, SLUICE_NEVER);
                break;

            case OFF:
                sluice_member_disable(test_member(k), 120000);
                break;

            case FULL:
                test_limit(k, SLUICE_COUNTS_REQUESTS, 60000, 3);
                assert_true(sluice_member_charge(test_member(k),
                                                 &test_conf[k].limit[0],
                                                 119999, 3, &window,
                                                 &test_retry));
                break;

            case NO_PLACE:
                test_conf[k].max_conns = 1;
                sluice_pool_take(&test_pool, test_conf[k].line, 9);
                break;

            case TRIED:
                sluice_balance_set(&had, k);
                break;

            default:
                break;
            }
        }

        balance = test_balance(SLUICE_BALANCE_ROUND_ROBIN, 3);

        assert_int_equal(test_take(balance, &had, SLUICE_BALANCE_MAX, 0, 0,
                                   120000), cases[i].result);

        if (cases[i].result < 0) {
            assert_true(test_retry == cases[i].retry);
            assert_true(test_look != SLUICE_BALANCE_TAKEN);
        }

        free(balance);
        test_close(d);
    }
}


/* as many as there may be: the bits of `had`, the list, all methods */

static void
test_most(void **state)
{
    unsigned           i, method;
    util_dir_t        *d = *state;
    sluice_balance_t  *balance;

    test_open(d, SLUICE_BALANCE_MAX);

    for (i = 0; i < test_n; i++) {
        test_conf[i].weight = SLUICE_WEIGHT_MAX;
        test_conf[i].max_conns = 2;
        test_limit(i, SLUICE_COUNTS_REQUESTS, 60000, 2);
    }

    for (method = 0; method <= SLUICE_BALANCE_HASH; method++) {
        balance = test_balance(method, method);

        for (i = 0; i < 2 * test_n; i++) {
            assert_true(test_take(balance, NULL, SLUICE_BALANCE_MAX, i, 0,
                                  60000 * (2 * method + 2)) >= 0);
        }

        assert_int_equal(test_any(balance, 60000 * (2 * method + 2)),
                         TEST_COOLING);
        assert_true(sluice_pool_forget_slot(&d->dir, method));
        free(balance);
    }

    test_close(d);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_round_robin),
        util_test(test_round_robin_again),
        util_test(test_round_robin_failed),
        util_test(test_round_robin_even),
        util_test(test_next),
        util_test(test_least_used),
        util_test(test_random),
        util_test(test_hash),
        cmocka_unit_test(test_minus_ln),
        util_test(test_had),
        util_test(test_doubted),
        util_test(test_prefer),
        util_test(test_backups),
        util_test(test_max_conns),
        util_test(test_limits),
        util_test(test_limits_retry),
        util_test(test_again),
        util_test(test_undo),
        util_test(test_probes),
        util_test(test_early),
        util_test(test_early_has_room),
        util_test(test_results),
        util_test(test_most)
    };

    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
