
/*
 * What an answer makes of a member, a test a rule; its windows, against a
 * model that keeps every charge; clocks that differ, and policies that nobody
 * should have.
 */

#include "member.h"
#include "util.h"


#define T  100000               /* ms, when each test begins                 */


static sluice_member_t         m;
static sluice_member_policy_t  policy;


static int
test_begin(void **state)
{
    (void) state;

    memset(&m, 0, sizeof(m));

    policy = (sluice_member_policy_t) {
        .cool = 1000, .cool_max = 60000,
        .denied = 3,
        .exhausted = 3600000,
        .errors = 3, .window = 10000, .open = 5000, .open_max = 40000,
        .probe = 2000
    };

    return 0;
}


static int
answer(sluice_answer_t answer, uint64_t began, uint64_t probe, uint64_t hint,
    uint64_t now)
{
    sluice_member_try_t  try = { .began = began, .probe = probe };

    static const unsigned  status[SLUICE_ANSWERS] = {
        [SLUICE_ANSWER_WELL] = 200, [SLUICE_ANSWER_CLIENT] = 400,
        [SLUICE_ANSWER_COOL] = 429, [SLUICE_ANSWER_DENIED] = 401,
        [SLUICE_ANSWER_EXHAUSTED] = 402, [SLUICE_ANSWER_ERROR] = 500
    };

    return sluice_member_answer(&m, &policy, &try, answer,
                                SLUICE_REASON_STATUS, status[answer], hint,
                                now);
}


#define say(what, began, now)                                                 \
    answer(SLUICE_ANSWER_##what, began, 0, SLUICE_NEVER, now)
#define hinted(what, began, hint, now)                                        \
    answer(SLUICE_ANSWER_##what, began, 0, hint, now)
#define probed(what, began, probe, now)                                       \
    answer(SLUICE_ANSWER_##what, began, probe, SLUICE_NEVER, now)


static sluice_member_status_t
status(void)
{
    sluice_member_status_t  s;

    sluice_member_status(sluice_load16(&m.state), &s);

    return s;
}


#define is(st, u)                                                             \
    assert_int_equal(status().state, SLUICE_MEMBER_##st);                     \
    assert_true(status().until == (u))


static uint64_t
recovery(uint64_t now, bool half)
{
    bool      got;
    uint64_t  when;

    when = sluice_member_recovery(&m, now, &got);
    assert_int_equal(got, half);

    return when;
}


/* half open, for the reason given: the probe's number */

static uint64_t
test_probe(uint64_t now)
{
    uint64_t  number;

    number = sluice_member_probe(&m, now, policy.probe);
    assert_true(number != 0);
    is(PROBING, now + policy.probe);

    return number;
}


static void
test_open_breaker(uint64_t now)
{
    assert_int_equal(say(ERROR, now - 5, now), -1);
    assert_int_equal(say(TIMEOUT, now - 5, now), -1);
    assert_int_equal(say(CONNECT, now - 5, now), SLUICE_MEMBER_COOLING);
    is(COOLING, now + 5000);
}


static void
test_zero_is_healthy(void **state)
{
    (void) state;

    assert_true(sluice_member_healthy(&m));
    is(HEALTHY, 0);
    assert_int_equal(status().level, 0);
    assert_false(status().probe);
    assert_int_equal(recovery(T, false), 0);
    assert_int_equal(sluice_member_probe(&m, T, 1000), 0);
    assert_int_equal(sluice_member_state(&(sluice_member_status_t) {
                         .state = SLUICE_MEMBER_HEALTHY }, T),
                     SLUICE_MEMBER_HEALTHY);
}


/* nothing is written: the line stays in the caches of all workers */

static void
test_well_is_no_write(void **state)
{
    sluice_member_t  copy;

    (void) state;

    copy = m;
    assert_int_equal(say(WELL, T, T + 5), -1);
    assert_memory_equal(&m, &copy, sizeof(m));
}


static void
test_cool_until_the_hint(void **state)
{
    (void) state;

    assert_int_equal(hinted(COOL, T, 2500, T + 10), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 2510);
    assert_int_equal(status().reason, SLUICE_REASON_STATUS);
    assert_int_equal(status().status, 429);
    assert_int_equal(status().since, T + 10);
    assert_false(status().probe);

    assert_false(sluice_member_healthy(&m));
    assert_int_equal(recovery(T + 2509, false), T + 2510);
    assert_int_equal(recovery(T + 2510, false), 0);
    assert_int_equal(sluice_member_probe(&m, T + 2510, 1000), 0);
}


static void
test_cool_hint_is_capped(void **state)
{
    (void) state;

    hinted(COOL, T, 400ull * 86400 * 1000, T);
    is(COOLING, T + 60000);
}


static void
test_cool_hint_of_no_time_is_a_moment(void **state)
{
    (void) state;

    hinted(COOL, T, 0, T);
    is(COOLING, T + SLUICE_MEMBER_REST_MIN);
    hinted(COOL, T, SLUICE_MEMBER_REST_MIN + 1, T);
    is(COOLING, T + SLUICE_MEMBER_REST_MIN + 1);
}


static void
test_cool_grows_with_repetition(void **state)
{
    unsigned  i;
    uint64_t  now;

    static const uint64_t  times[] = {
        1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000
    };

    (void) state;

    for (now = T, i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        say(COOL, now, now + 1);
        is(COOLING, now + 1 + times[i]);
        assert_int_equal(status().level, i);
        now += 1 + times[i];
    }

    for (i = 0; i < 40; i++) {
        now += 60001;
        say(COOL, now, now);
        is(COOLING, now + 60000);
    }
}


/*
 * Who says how long is kept to, and may say so any number of times: that is
 * no repetition of a time of ours.
 */

static void
test_cool_hint_is_no_repetition(void **state)
{
    unsigned  i;
    uint64_t  now;

    (void) state;

    for (now = T, i = 0; i < 10; i++) {
        hinted(COOL, now, 300, now);
        is(COOLING, now + 300);
        assert_int_equal(status().level, 0);
        now += 300;
    }

    /* the first of ours, and the second */

    say(COOL, now, now);
    is(COOLING, now + 1000);
    now += 1000;
    say(COOL, now, now);
    is(COOLING, now + 2000);
    now += 2000;

    /* said again: begun anew */

    hinted(COOL, now, 300, now);
    now += 300;
    say(COOL, now, now);
    is(COOLING, now + 1000);
    now += 1000;

    /* it asked for as long as ours would have been, and was not well then */

    hinted(COOL, now, 1000, now);
    now += 1000;
    say(COOL, now, now);
    is(COOLING, now + 2000);
}


static void
test_cool_burst_is_one(void **state)
{
    unsigned  i;

    (void) state;

    /* all began before the first was answered, some come late */

    for (i = 0; i < 20; i++) {
        say(COOL, T, T + 10 + i);
    }

    is(COOLING, T + 1029);
    assert_int_equal(status().level, 0);

    say(COOL, T, T + 2000);
    is(COOLING, T + 3000);
    assert_int_equal(status().level, 0);

    /* nor one that began in between, and failed before it is over */

    say(COOL, T + 2500, T + 2600);
    is(COOLING, T + 3600);
    assert_int_equal(status().level, 0);
}


static void
test_cool_later_deadline_stays(void **state)
{
    (void) state;

    assert_int_equal(hinted(COOL, T, 5000, T), SLUICE_MEMBER_COOLING);
    assert_int_equal(hinted(COOL, T, 3000, T + 1), -1);
    is(COOLING, T + 5000);
    assert_int_equal(status().since, T);
    assert_int_equal(hinted(COOL, T, 5000, T), -1);
    assert_int_equal(hinted(COOL, T, 5000, T + 1), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 5001);

    /* of the two kinds, too */

    assert_int_equal(hinted(EXHAUSTED, T, 4000, T + 2), -1);
    is(COOLING, T + 5001);
    assert_int_equal(hinted(EXHAUSTED, T, 6000, T + 2),
                     SLUICE_MEMBER_EXHAUSTED);
    is(EXHAUSTED, T + 6002);
    assert_int_equal(hinted(COOL, T, 5000, T + 3), -1);
    assert_int_equal(hinted(COOL, T, 7000, T + 3), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 7003);
    assert_true(status().probe);

    /* one that is over does not count */

    hinted(COOL, T, 100, T + 7003);
    is(COOLING, T + 7103);
}


static void
test_success_that_began_before_does_not_clear(void **state)
{
    (void) state;

    say(COOL, T, T + 10);
    assert_int_equal(say(WELL, T + 5, T + 20), -1);
    is(COOLING, T + 1010);
    assert_int_equal(say(WELL, T + 9, T + 5000), -1);
    is(COOLING, T + 1010);
    assert_int_equal(say(WELL, T + 10, T + 5000), -1);
    is(COOLING, T + 1010);
}


static void
test_success_ends_what_is_over(void **state)
{
    (void) state;

    say(COOL, T, T);
    assert_int_equal(say(WELL, T + 500, T + 999), -1);
    is(COOLING, T + 1000);
    assert_int_equal(say(WELL, T + 1000, T + 1005), SLUICE_MEMBER_HEALTHY);
    assert_true(sluice_member_healthy(&m));

    /* and its growth */

    say(COOL, T + 2000, T + 2000);
    is(COOLING, T + 3000);
}


static void
test_client_errors_say_nothing(void **state)
{
    sluice_member_t  copy;

    (void) state;

    say(ERROR, T, T);
    say(ERROR, T, T);
    say(DENIED, T, T);
    copy = m;

    assert_int_equal(say(CLIENT, T + 1, T + 1), -1);
    assert_int_equal(say(NONE, T + 1, T + 1), -1);
    assert_memory_equal(m.row, copy.row, sizeof(m.row));
    assert_true(sluice_member_healthy(&m));

    /* they do not break a row, either */

    say(ERROR, T + 2, T + 2);
    is(COOLING, T + 5002);
}


static void
test_answers_are_counted(void **state)
{
    unsigned  i, k;

    (void) state;

    for (i = 0; i < SLUICE_ANSWERS; i++) {
        for (k = 0; k <= i; k++) {
            answer((sluice_answer_t) i, T, 0, SLUICE_NEVER, T + i);
        }
    }

    assert_int_equal(m.answers[SLUICE_ANSWER_WELL], 0);

    for (i = 1; i < SLUICE_ANSWERS; i++) {
        assert_int_equal(m.answers[i], i + 1);
    }
}


static void
test_denied_in_a_row_disable(void **state)
{
    (void) state;

    assert_int_equal(say(DENIED, T, T + 1), -1);
    assert_int_equal(say(DENIED, T + 2, T + 3), -1);
    assert_true(sluice_member_healthy(&m));
    assert_int_equal(say(DENIED, T + 4, T + 5), SLUICE_MEMBER_DISABLED);
    is(DISABLED, SLUICE_NEVER);
    assert_int_equal(status().reason, SLUICE_REASON_STATUS);
    assert_int_equal(status().status, 401);
    assert_int_equal(status().since, T + 5);
    assert_true(recovery(T + 6, false) == SLUICE_NEVER);
    assert_true(recovery(UINT64_MAX, false) == SLUICE_NEVER);

    /* whatever else it was until then */

    test_begin(NULL);
    policy.exhausted = SLUICE_NEVER;
    say(EXHAUSTED, T, T);
    is(EXHAUSTED, SLUICE_NEVER);
    say(DENIED, T, T + 1);
    say(DENIED, T + 2, T + 3);
    assert_int_equal(say(DENIED, T + 4, T + 5), SLUICE_MEMBER_DISABLED);
    is(DISABLED, SLUICE_NEVER);
}


static void
test_denied_at_once_are_one(void **state)
{
    (void) state;

    say(DENIED, T, T + 5);
    say(DENIED, T, T + 6);
    say(DENIED, T + 1, T + 7);
    say(DENIED, T + 4, T + 8);
    assert_true(sluice_member_healthy(&m));

    /* the second and the third: of those that came after the one before */

    assert_int_equal(say(DENIED, T + 5, T + 9), -1);
    assert_int_equal(say(DENIED, T + 8, T + 10), -1);
    assert_int_equal(say(DENIED, T + 9, T + 11), SLUICE_MEMBER_DISABLED);
}


static void
test_success_ends_a_row(void **state)
{
    (void) state;

    say(DENIED, T, T + 1);
    say(DENIED, T + 2, T + 3);
    say(ERROR, T, T + 1);
    say(ERROR, T, T + 3);
    assert_int_equal(say(WELL, T + 4, T + 6), -1);
    assert_true(m.row[SLUICE_ROW_DENIED] == 0);
    assert_true(m.row[SLUICE_ROW_ERRORS] == 0);

    say(DENIED, T + 10, T + 11);
    say(DENIED, T + 12, T + 13);
    say(ERROR, T + 10, T + 11);
    say(ERROR, T + 10, T + 13);
    assert_true(sluice_member_healthy(&m));

    /* one that began before the last of them does not */

    say(WELL, T + 12, T + 20);
    assert_true(m.row[SLUICE_ROW_DENIED] != 0);
    assert_true(m.row[SLUICE_ROW_ERRORS] != 0);
    say(DENIED, T + 21, T + 22);
    is(DISABLED, SLUICE_NEVER);
}


static void
test_doubts(void **state)
{
    (void) state;

    assert_int_equal(sluice_member_doubted(&m), 0);
    assert_true(sluice_member_fine(&m));

    sluice_member_doubt(&m, T);
    sluice_member_doubt(&m, T + 20);
    sluice_member_doubt(&m, T + 10);
    assert_int_equal(sluice_member_doubted(&m), T + 20);
    assert_false(sluice_member_fine(&m));
    assert_true(sluice_member_healthy(&m));

    /* a success ends it that began no sooner */

    say(WELL, T + 19, T + 30);
    assert_int_equal(sluice_member_doubted(&m), T + 20);
    say(CLIENT, T + 25, T + 30);
    assert_int_equal(sluice_member_doubted(&m), T + 20);
    say(WELL, T + 20, T + 30);
    assert_int_equal(sluice_member_doubted(&m), 0);
    assert_true(sluice_member_fine(&m));

    /* it counts for nothing, before a strike or between two */

    sluice_member_doubt(&m, T + 40);
    say(DENIED, T + 35, T + 41);
    sluice_member_doubt(&m, T + 42);
    say(DENIED, T + 42, T + 43);
    assert_true(sluice_member_healthy(&m));
    assert_int_equal(sluice_member_doubted(&m), T + 43);
    assert_int_equal(say(DENIED, T + 44, T + 45), SLUICE_MEMBER_DISABLED);

    sluice_member_enable(&m);
    assert_int_equal(sluice_member_doubted(&m), 0);

    /* nor does it keep a strike from counting, or from being forgiven */

    say(DENIED, T + 50, T + 60);
    sluice_member_doubt(&m, T + 75);
    say(DENIED, T + 61, T + 80);
    sluice_member_doubt(&m, T + 95);
    assert_int_equal(say(DENIED, T + 81, T + 100), SLUICE_MEMBER_DISABLED);

    sluice_member_enable(&m);
    say(DENIED, T + 150, T + 160);
    say(DENIED, T + 161, T + 170);
    sluice_member_doubt(&m, T + 180);
    say(WELL, T + 172, T + 190);
    assert_int_equal(sluice_member_doubted(&m), T + 180);
    say(DENIED, T + 181, T + 191);
    say(DENIED, T + 192, T + 193);
    assert_true(sluice_member_healthy(&m));
}


static void
test_denied_never_disables_if_told_so(void **state)
{
    unsigned  i;

    (void) state;

    policy.denied = 0;

    for (i = 0; i < 100; i++) {
        assert_int_equal(say(DENIED, T + i, T + i), -1);
    }

    assert_true(sluice_member_healthy(&m));
    assert_true(m.row[SLUICE_ROW_DENIED] == 0);
}


static void
test_disabled_is_left_by_the_operator_alone(void **state)
{
    unsigned  i, k;

    (void) state;

    sluice_member_disable(&m, T);

    for (i = 0; i < SLUICE_ANSWERS; i++) {
        for (k = 0; k < 4; k++) {
            assert_int_equal(answer((sluice_answer_t) i, T + 1 + k, 0,
                                    SLUICE_NEVER, T + 1 + k), -1);
        }
    }

    sluice_member_cool(&m, T + 10, T + 20);
    assert_int_equal(sluice_member_probe(&m, T + 86400000, 1000), 0);
    is(DISABLED, SLUICE_NEVER);
    assert_int_equal(status().reason, SLUICE_REASON_OPERATOR);
    assert_int_equal(status().since, T);

    sluice_member_enable(&m);
    assert_true(sluice_member_healthy(&m));

    /* with nothing against it */

    assert_int_equal(say(DENIED, T + 30, T + 30), -1);
    assert_int_equal(say(ERROR, T + 30, T + 30), -1);
    assert_int_equal(say(ERROR, T + 30, T + 30), -1);
    assert_true(sluice_member_healthy(&m));
}


static void
test_operator_cools(void **state)
{
    (void) state;

    hinted(COOL, T, 50000, T);
    sluice_member_cool(&m, T + 1, T + 100);
    is(COOLING, T + 100);
    assert_int_equal(status().reason, SLUICE_REASON_OPERATOR);
    assert_int_equal(recovery(T + 100, false), 0);

    /* that was no repetition */

    say(COOL, T + 200, T + 200);
    is(COOLING, T + 1200);
    assert_int_equal(status().level, 0);

    sluice_member_cool(&m, T + 300, SLUICE_NEVER);
    assert_true(recovery(T + 400, false) == SLUICE_NEVER);
    sluice_member_enable(&m);

    /* one that is to be probed still is */

    say(EXHAUSTED, T, T + 500);
    sluice_member_cool(&m, T + 501, T + 600);
    assert_int_equal(recovery(T + 600, true), 0);
}


static void
test_exhausted_is_half_open_afterwards(void **state)
{
    uint64_t  probe;

    (void) state;

    assert_int_equal(say(EXHAUSTED, T, T + 1), SLUICE_MEMBER_EXHAUSTED);
    is(EXHAUSTED, T + 3600001);
    assert_int_equal(status().status, 402);
    assert_true(status().probe);
    assert_int_equal(recovery(T + 2, false), T + 3600001);

    /* no success but a probe's ends it */

    assert_int_equal(say(WELL, T + 10, T + 3600005), -1);
    assert_int_equal(sluice_member_probe(&m, T + 3600000, 2000), 0);
    assert_int_equal(recovery(T + 3600001, true), 0);

    probe = test_probe(T + 3600001);
    assert_int_equal(probed(EXHAUSTED, T + 3600001, probe, T + 3600010),
                     SLUICE_MEMBER_EXHAUSTED);
    is(EXHAUSTED, T + 7200010);
}


static void
test_exhausted_until_the_hint(void **state)
{
    (void) state;

    hinted(EXHAUSTED, T, 5000, T);
    is(EXHAUSTED, T + 5000);
    hinted(EXHAUSTED, T, SLUICE_NEVER - 1, T);
    is(EXHAUSTED, T + 3600000);
}


static void
test_errors_in_a_row_open_the_breaker(void **state)
{
    (void) state;

    test_open_breaker(T);
    assert_int_equal(status().reason, SLUICE_REASON_ERRORS);
    assert_true(status().probe);
    assert_true(m.row[SLUICE_ROW_ERRORS] == 0);
    assert_int_equal(recovery(T + 5000, true), 0);
}


static void
test_errors_long_ago_do_not_count(void **state)
{
    (void) state;

    say(ERROR, T, T);
    say(ERROR, T, T + 100);
    say(ERROR, T, T + 10101);
    say(ERROR, T, T + 20101);
    assert_true(sluice_member_healthy(&m));
    say(ERROR, T, T + 20102);
    assert_true(sluice_member_healthy(&m));
    say(ERROR, T, T + 20103);
    is(COOLING, T + 25103);
}


/* the first is too long ago, the three last ones are not */

static void
test_errors_count_from_the_last(void **state)
{
    (void) state;

    say(ERROR, T, T);
    say(ERROR, T, T + 9000);
    assert_int_equal(say(ERROR, T, T + 10001), -1);
    assert_int_equal(say(ERROR, T, T + 10002), SLUICE_MEMBER_COOLING);
}


/*
 * Of any errors: the breaker opens on no fewer within the window than it should
 * have, and at the latest on twice as many but three.
 */

static void
test_errors_against_all_of_them(void **state)
{
    unsigned  i, n, within, rounds;
    uint64_t  seed, now, time[256];

    (void) state;

    seed = 1;

    for (rounds = 0; rounds < 20000; rounds++) {
        memset(&m, 0, sizeof(m));
        policy.errors = 3 + (uint32_t) (util_random(&seed) % 5);
        now = T;
        n = 0;
        within = 0;

        while (sluice_member_healthy(&m) && n < 256) {
            now += util_random(&seed)
                   % (util_random(&seed) % 2 ? 400 : 12000);
            time[n++] = now;

            for (within = 0, i = 0; i < n; i++) {
                within += (now - time[i] <= policy.window);
            }

            say(ERROR, T, now);

            assert_true(sluice_member_healthy(&m)
                        ? within < 2 * policy.errors - 3
                        : within >= policy.errors);
        }
    }
}


/* well by its header, and cut short: its own beginning ends no such row */

static void
test_cut(void **state)
{
    uint64_t             probe;
    sluice_member_try_t  try = { .began = T };

    (void) state;

#define cut(what, now)                                                        \
    sluice_member_cut(&m, &policy, &try, SLUICE_ANSWER_##what, 200, now)

    say(WELL, T, T + 1);
    assert_int_equal(cut(TIMEOUT, T + 2), -1);
    say(WELL, T + 10, T + 11);
    assert_int_equal(cut(ERROR, T + 12), -1);
    assert_false(sluice_member_fine(&m));
    assert_int_equal(m.answers[SLUICE_ANSWER_TIMEOUT], 1);
    assert_int_equal(m.answers[SLUICE_ANSWER_ERROR], 1);

    /* one that comes whole does, whenever it began */

    sluice_member_whole(&m);
    assert_true(sluice_member_fine(&m));
    assert_int_equal(cut(ERROR, T + 22), -1);
    say(WELL, T + 30, T + 31);
    assert_int_equal(say(ERROR, T + 32, T + 33), -1);
    assert_int_equal(cut(ERROR, T + 34), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 5034);
    assert_int_equal(status().status, 200);
    assert_true(m.row[SLUICE_ROW_ERRORS] == 0);

    /* of a row without such it ends nothing: it may have begun before */

    sluice_member_enable(&m);
    say(ERROR, T + 40, T + 41);
    sluice_member_whole(&m);
    assert_true(m.row[SLUICE_ROW_ERRORS] != 0);

    /* nor is one that was long ago any sign */

    say(WELL, T + 42, T + 43);
    assert_int_equal(cut(ERROR, T + 44), -1);
    assert_int_equal(say(ERROR, T + 20000, T + 20001), -1);
    say(WELL, T + 20002, T + 20003);
    assert_true(sluice_member_fine(&m));

    /* a probe's opens the breaker at once, and the operator forgets all */

    test_open_breaker(T + 30000);
    probe = test_probe(T + 35000);
    probed(WELL, T + 35000, probe, T + 35100);
    assert_true(sluice_member_healthy(&m));
    try.probe = probe;
    assert_int_equal(cut(TIMEOUT, T + 35200), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 40200);

    sluice_member_enable(&m);
    try.probe = 0;
    assert_int_equal(cut(ERROR, T + 50000), -1);
    sluice_member_enable(&m);
    assert_true(sluice_member_fine(&m));

    /* where nothing opens it */

    policy.errors = 0;
    assert_int_equal(cut(ERROR, T + 50001), -1);
    assert_true(sluice_member_fine(&m));

#undef cut
}


static void
test_errors_never_open_it_if_told_so(void **state)
{
    unsigned  i;
    uint64_t  probe;

    (void) state;

    policy.errors = 0;

    for (i = 0; i < 100; i++) {
        assert_int_equal(say(ERROR, T, T + i), -1);
    }

    assert_true(sluice_member_healthy(&m));
    assert_true(m.row[SLUICE_ROW_ERRORS] == 0);

    /* not a probe's, either: who was exhausted is so still */

    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(probed(ERROR, T + 1000, probe, T + 1100), -1);
    is(EXHAUSTED, T + 1000);
    assert_int_equal(recovery(T + 1100, true), 0);
}


static void
test_one_probe_at_a_time(void **state)
{
    uint64_t  probe, other;

    (void) state;

    test_open_breaker(T);
    assert_int_equal(sluice_member_probe(&m, T + 4999, 2000), 0);
    probe = test_probe(T + 5000);
    assert_int_equal(sluice_member_probe(&m, T + 5000, 2000), 0);
    assert_int_equal(sluice_member_probe(&m, T + 6999, 2000), 0);
    assert_int_equal(recovery(T + 6999, false), T + 7000);

    /* past its deadline another may; then its own result is nobody's */

    assert_int_equal(recovery(T + 7000, true), 0);
    other = test_probe(T + 7000);
    assert_true(other != probe);
    assert_int_equal(probed(WELL, T + 5000, probe, T + 7001), -1);
    is(PROBING, T + 9000);
    assert_int_equal(probed(NONE, T + 5000, probe, T + 7001), -1);
    assert_int_equal(probed(DENIED, T + 5000, probe, T + 7001), -1);
    is(PROBING, T + 9000);
    assert_int_equal(probed(WELL, T + 7000, other, T + 7002),
                     SLUICE_MEMBER_HEALTHY);
}


static void
test_probe_well_after_its_deadline(void **state)
{
    uint64_t  probe;

    (void) state;

    test_open_breaker(T);
    probe = test_probe(T + 5000);
    assert_int_equal(probed(WELL, T + 5000, probe, T + 60000),
                     SLUICE_MEMBER_HEALTHY);
    assert_true(m.state == 0);
}


static void
test_probe_that_fails_opens_it_for_longer(void **state)
{
    unsigned  i;
    uint64_t  now, probe, open;

    (void) state;

    test_open_breaker(T);
    now = T + 5000;

    for (open = 10000, i = 1; i < 40; i++) {
        probe = test_probe(now);
        assert_int_equal(probed(TIMEOUT, now, probe, now + 100),
                         SLUICE_MEMBER_COOLING);
        is(COOLING, now + 100 + open);
        assert_int_equal(status().reason, SLUICE_REASON_ERRORS);
        assert_int_equal(status().level, i < 31 ? i : 31);

        now += 100 + open;
        open = (open * 2 < 40000) ? open * 2 : 40000;
    }

    probe = test_probe(now);
    probed(WELL, now, probe, now + 1);
    test_open_breaker(now + 10);
}


static void
test_errors_of_others_are_no_level(void **state)
{
    (void) state;

    /* many in flight when it opens: they fail, too */

    test_open_breaker(T);
    say(ERROR, T - 5, T + 1);
    say(ERROR, T - 5, T + 1);
    assert_int_equal(say(ERROR, T - 5, T + 1), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 5001);
    assert_int_equal(status().level, 0);
}


static void
test_probe_given_back(void **state)
{
    uint64_t  probe;

    (void) state;

    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(probed(CLIENT, T + 1000, probe, T + 1010), -1);
    is(EXHAUSTED, T + 1000);
    assert_int_equal(status().status, 402);
    assert_int_equal(recovery(T + 1000, true), 0);

    /* nobody has it now: it cannot be given back twice, nor succeed */

    assert_true(test_probe(T + 1010) != probe);
    assert_int_equal(probed(NONE, T + 1000, probe, T + 1011), -1);
    assert_int_equal(probed(WELL, T + 1000, probe, T + 1011), -1);
    is(PROBING, T + 3010);

    test_begin(NULL);
    test_open_breaker(T);
    probe = test_probe(T + 5000);
    assert_int_equal(probed(ERROR, T + 5000, probe, T + 5100),
                     SLUICE_MEMBER_COOLING);
    probe = test_probe(T + 15100);
    assert_int_equal(probed(NONE, T + 15100, probe, T + 15110), -1);
    is(COOLING, T + 15100);
    assert_int_equal(status().reason, SLUICE_REASON_ERRORS);
    assert_int_equal(status().level, 1);
    assert_int_equal(recovery(T + 15110, true), 0);
}


static void
test_what_will_not_be_is_not_counted(void **state)
{
    uint64_t             before[SLUICE_ANSWERS];
    sluice_member_try_t  try = { .began = T };

    (void) state;

    sluice_member_forgo(&m, &try);

    test_open_breaker(T);
    try.began = T + 5000;
    try.probe = test_probe(T + 5000);

    memcpy(before, m.answers, sizeof(before));

    sluice_member_forgo(&m, &try);

    assert_memory_equal(before, m.answers, sizeof(before));
    is(COOLING, T + 5000);
    (void) test_probe(T + 5000);
}


static void
test_probe_denied_is_a_strike(void **state)
{
    uint64_t  probe;

    (void) state;

    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(probed(DENIED, T + 1000, probe, T + 1010), -1);
    is(EXHAUSTED, T + 1000);
    probe = test_probe(T + 1010);
    assert_int_equal(probed(DENIED, T + 1010, probe, T + 1020), -1);
    probe = test_probe(T + 1020);
    assert_int_equal(probed(DENIED, T + 1020, probe, T + 1030),
                     SLUICE_MEMBER_DISABLED);
    is(DISABLED, SLUICE_NEVER);

    /* that it never disables does not keep the probe */

    test_begin(NULL);
    policy.denied = 0;
    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(probed(DENIED, T + 1000, probe, T + 1010), -1);
    is(EXHAUSTED, T + 1000);
}


static void
test_probe_cooled(void **state)
{
    uint64_t  probe;

    (void) state;

    /* it is half open still: nobody has seen that it works */

    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(probed(COOL, T + 1000, probe, T + 1010),
                     SLUICE_MEMBER_COOLING);
    is(COOLING, T + 2010);
    assert_int_equal(recovery(T + 2010, true), 0);

    probe = test_probe(T + 2010);
    probed(COOL, T + 2010, probe, T + 2020);
    is(COOLING, T + 4020);
    assert_int_equal(status().level, 1);
}


static void
test_failure_ends_a_probe_of_others(void **state)
{
    uint64_t  probe;

    (void) state;

    test_open_breaker(T);
    probe = test_probe(T + 5000);

    /* an earlier deadline than the probe's, too */

    assert_int_equal(hinted(COOL, T, 100, T + 5001), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 5101);
    assert_int_equal(probed(WELL, T + 5000, probe, T + 5002), -1);
    is(COOLING, T + 5101);
    assert_int_equal(recovery(T + 5101, true), 0);

    probe = test_probe(T + 5101);
    assert_int_equal(say(EXHAUSTED, T, T + 5102), SLUICE_MEMBER_EXHAUSTED);
    assert_int_equal(probed(WELL, T + 5101, probe, T + 5103), -1);
    is(EXHAUSTED, T + 5102 + 3600000);

    /* a single error is no failure yet */

    test_begin(NULL);
    test_open_breaker(T);
    probe = test_probe(T + 5000);
    assert_int_equal(say(ERROR, T, T + 5001), -1);
    is(PROBING, T + 7000);
    say(ERROR, T, T + 5001);
    assert_int_equal(say(ERROR, T, T + 5001), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 10001);

    sluice_member_disable(&m, T + 5002);
    assert_int_equal(probed(WELL, T + 5000, probe, T + 5003), -1);
    is(DISABLED, SLUICE_NEVER);
}


static void
test_probes_are_told_apart(void **state)
{
    unsigned  i, k;
    uint64_t  number[3000];

    (void) state;

    /* all in one millisecond, with other states in between */

    for (i = 0; i < 3000; i++) {
        m.state = 0;
        hinted(EXHAUSTED, 0, 100, T - 100);
        number[i] = test_probe(T);

        if (i % 2) {
            probed(WELL, T, number[i], T);
        }
    }

    for (i = 0; i < 3000; i++) {
        for (k = 0; k < i; k++) {
            assert_true(number[i] != number[k]);
        }
    }

    /* the same serial comes again, not in the same millisecond */

    m.state = 0;
    hinted(EXHAUSTED, 0, 100, T);
    m.probes -= 2;
    assert_true(test_probe(T + 200) != number[2998]);
}


/* of all that rest, those until a time that nobody but us has said */

static void
test_rests_that_are_guessed(void **state)
{
    unsigned  i;

    (void) state;

    assert_int_equal(sluice_member_rested(&m, T), 0);

    policy.cool = 10000;
    say(COOL, T, T);
    assert_true(status().guess);
    assert_int_equal(sluice_member_rested(&m, T + 999), 0);
    assert_int_equal(sluice_member_rested(&m, T + 1000), 100);
    assert_int_equal(sluice_member_rested(&m, T + 9999), 999);
    assert_int_equal(sluice_member_rested(&m, T + 10000), 0);
    assert_int_equal(sluice_member_early(&m, T + 10000), 0);

    test_begin(NULL);
    test_open_breaker(T);
    assert_true(status().guess);
    assert_int_equal(sluice_member_rested(&m, T + 2500), 500);

    for (i = 0; i < 6; i++) {
        test_begin(NULL);

        switch (i) {

        case 0:
            hinted(COOL, T, 1000, T);
            break;

        case 1:
            say(EXHAUSTED, T, T);
            break;

        case 2:
            say(COOL, T, T);
            sluice_member_cool(&m, T, T + 1000);
            break;

        case 3:
            say(COOL, T, T);
            sluice_member_disable(&m, T);
            break;

        case 4:
            hinted(EXHAUSTED, T, 1, T);
            (void) test_probe(T + 100);
            break;

        default:
            say(COOL, T, T);
            hinted(COOL, T, 2000, T);
            break;
        }

        assert_false(status().guess);
        assert_int_equal(sluice_member_early(&m, T + 500), 0);
    }
}


static uint64_t
test_early(uint64_t now)
{
    uint64_t  number, until;

    until = status().until;
    number = sluice_member_early(&m, now);
    assert_true(number != 0);
    is(COOLING, until);
    assert_int_equal(recovery(now, false), until);
    assert_true(sluice_member_out(&m, now));
    assert_false(sluice_member_out(&m, now + 1));

    return number;
}


static void
test_early_well(void **state)
{
    uint64_t  early, second;

    (void) state;

    say(COOL, T, T);
    early = test_early(T + 100);

    /* no other's success, before it or after */

    assert_int_equal(say(WELL, T + 50, T + 150), -1);
    assert_int_equal(say(WELL, T + 150, T + 150), -1);
    is(COOLING, T + 1000);

    assert_int_equal(probed(WELL, T + 100, early, T + 200),
                     SLUICE_MEMBER_HEALTHY);
    assert_true(sluice_member_healthy(&m));

    /* a breaker's needs no probe afterwards */

    test_open_breaker(T + 300);
    early = test_early(T + 400);
    assert_int_equal(probed(WELL, T + 400, early, T + 500),
                     SLUICE_MEMBER_HEALTHY);

    /* the next one ends it */

    test_open_breaker(T + 600);
    early = test_early(T + 1600);
    assert_int_equal(sluice_member_rested(&m, T + 2599), 0);
    assert_int_equal(sluice_member_rested(&m, T + 3600), 500);
    second = test_early(T + 3600);
    assert_int_equal(probed(WELL, T + 1600, early, T + 3700), -1);
    assert_int_equal(probed(NONE, T + 1600, early, T + 3700), -1);
    assert_true(sluice_member_out(&m, T + 3600));
    assert_int_equal(probed(WELL, T + 3600, second, T + 3700),
                     SLUICE_MEMBER_HEALTHY);
}


/* what it was before, as if it had begun with this answer */

static void
test_early_that_fails(void **state)
{
    uint64_t  early;

    (void) state;

    say(COOL, T, T);
    early = test_early(T + 100);
    assert_int_equal(probed(COOL, T + 100, early, T + 200),
                     SLUICE_MEMBER_COOLING);
    is(COOLING, T + 1200);
    assert_int_equal(status().level, 0);
    assert_true(status().guess);
    assert_false(sluice_member_out(&m, T + 100));

    /* the same when it was over would have been a repetition */

    say(COOL, T + 1200, T + 1200);
    is(COOLING, T + 3200);
    assert_int_equal(status().level, 1);

    /* an error is one of a row, but opens no breaker at once */

    early = test_early(T + 2000);
    assert_int_equal(probed(ERROR, T + 2000, early, T + 2100), -1);
    is(COOLING, T + 3200);
    assert_int_equal(status().level, 1);
    assert_false(sluice_member_out(&m, T + 2000));
    assert_int_equal(probed(WELL, T + 2000, early, T + 2200), -1);

    /* nor does a guess that would be a shorter one change anything */

    test_begin(NULL);
    test_open_breaker(T);
    early = test_early(T + 500);
    assert_int_equal(probed(COOL, T + 500, early, T + 600), -1);
    is(COOLING, T + 5000);
    assert_int_equal(status().reason, SLUICE_REASON_ERRORS);
    assert_true(status().probe);
    assert_false(sluice_member_out(&m, T + 500));

    /* a strike */

    early = test_early(T + 700);
    assert_int_equal(probed(DENIED, T + 700, early, T + 700), -1);
    assert_false(sluice_member_out(&m, T + 700));
    early = test_early(T + 800);
    assert_int_equal(probed(DENIED, T + 800, early, T + 800), -1);
    early = test_early(T + 900);
    assert_int_equal(probed(DENIED, T + 900, early, T + 900),
                     SLUICE_MEMBER_DISABLED);

    /* and who says nothing gives it back */

    test_begin(NULL);
    say(COOL, T, T);
    early = test_early(T + 100);
    assert_int_equal(probed(NONE, T + 100, early, T + 200), -1);
    is(COOLING, T + 1000);
    assert_false(sluice_member_out(&m, T + 100));
    assert_int_equal(probed(WELL, T + 100, early, T + 300), -1);

    /* a guess that was kept to, though tried meanwhile, is one of ours */

    say(COOL, T + 1000, T + 1000);
    is(COOLING, T + 3000);
    assert_int_equal(status().level, 1);
}


/* what an upstream asks for is kept, whatever is guessed before and after */

static void
test_hints_and_guesses(void **state)
{
    uint64_t  early;

    (void) state;

    /* one that is shorter: not before it is over */

    say(COOL, T, T);
    early = test_early(T + 100);
    assert_int_equal(hinted(COOL, T, 300, T + 150), -1);
    is(COOLING, T + 1000);
    assert_int_equal(probed(WELL, T + 100, early, T + 200), -1);
    assert_int_equal(sluice_member_early(&m, T + 450), 0);

    assert_int_equal(hinted(COOL, T, 200, T + 151), -1);
    assert_int_equal(sluice_member_early(&m, T + 450), 0);
    (void) test_early(T + 451);

    /* an early try's own is what there is to know */

    test_begin(NULL);
    say(COOL, T, T);
    early = test_early(T + 100);
    assert_int_equal(answer(SLUICE_ANSWER_COOL, T + 100, early, 300, T + 150),
                     SLUICE_MEMBER_COOLING);
    is(COOLING, T + 450);
    assert_false(status().guess);

    test_begin(NULL);
    test_open_breaker(T);
    early = test_early(T + 100);
    assert_int_equal(answer(SLUICE_ANSWER_EXHAUSTED, T + 100, early, 300,
                            T + 150), SLUICE_MEMBER_EXHAUSTED);
    is(EXHAUSTED, T + 450);

    /* a guess that is longer, over one: not before that is over */

    test_begin(NULL);
    hinted(COOL, T, 300, T);
    assert_int_equal(say(COOL, T, T + 10), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 1010);
    assert_int_equal(say(COOL, T, T + 20), SLUICE_MEMBER_COOLING);
    is(COOLING, T + 1020);
    assert_int_equal(sluice_member_early(&m, T + 300), 0);
    (void) test_early(T + 301);

    /* one that is shorter changes nothing */

    test_begin(NULL);
    hinted(COOL, T, 1500, T);
    assert_int_equal(say(COOL, T, T + 10), -1);
    is(COOLING, T + 1500);
    assert_false(status().guess);
}


static void
test_clocks_differ(void **state)
{
    uint64_t  probe;

    (void) state;

    /* another process has read its clock before, and comes after */

    hinted(COOL, T, 1000, T);
    assert_int_equal(hinted(COOL, T - 50, 1000, T - 20), -1);
    is(COOLING, T + 1000);
    assert_int_equal(say(WELL, T - 10, T - 5), -1);
    is(COOLING, T + 1000);

    say(ERROR, T, T);
    say(ERROR, T - 30, T - 20);
    assert_int_equal(say(ERROR, T - 30, T - 20), SLUICE_MEMBER_COOLING);
    is(COOLING, T - 20 + 5000);
    say(DENIED, T, T);
    say(DENIED, T - 30, T - 20);
    assert_int_equal(say(DENIED, T, T - 1), -1);
    assert_int_equal(say(DENIED, T, T), SLUICE_MEMBER_DISABLED);

    test_begin(NULL);
    hinted(EXHAUSTED, T, 1000, T);
    probe = test_probe(T + 1000);
    assert_int_equal(recovery(T + 500, false), T + 3000);
    assert_int_equal(probed(EXHAUSTED, T + 990, probe, T + 995),
                     SLUICE_MEMBER_EXHAUSTED);
    is(EXHAUSTED, T + 995 + 3600000);

    /* the first millisecond, and past the last one that a word can hold */

    test_begin(NULL);
    say(COOL, 0, 0);
    is(COOLING, 1000);
    say(ERROR, 0, 0);
    say(ERROR, 0, 0);
    say(ERROR, 0, 0);
    is(COOLING, 5000);

    test_begin(NULL);
    say(COOL, UINT64_MAX, UINT64_MAX);
    assert_int_equal(status().state, SLUICE_MEMBER_COOLING);
    assert_true(status().until != SLUICE_NEVER);
    say(ERROR, UINT64_MAX, UINT64_MAX);
    say(WELL, UINT64_MAX, UINT64_MAX);
    assert_true(m.row[SLUICE_ROW_ERRORS] == 0);
}


static void
test_absurd_policies(void **state)
{
    unsigned  i;
    uint64_t  probe;

    (void) state;

    /* no time is a millisecond: a word never ends as it begins */

    memset(&policy, 0, sizeof(policy));
    say(COOL, T, T);
    is(COOLING, T + 1);
    hinted(COOL, T, 5000, T + 1);
    is(COOLING, T + 2);
    say(EXHAUSTED, T, T + 2);
    is(EXHAUSTED, T + 3);
    hinted(EXHAUSTED, T, 5000, T + 3);
    is(EXHAUSTED, T + 4);
    probe = sluice_member_probe(&m, T + 4, 0);
    assert_true(probe != 0);
    is(PROBING, T + 5);

    test_begin(NULL);
    policy.errors = 1;
    policy.window = 0;
    policy.open = 0;
    policy.open_max = 0;
    say(ERROR, T, T);
    is(COOLING, T + 1);

    test_begin(NULL);
    policy.errors = 2;
    policy.window = 0;
    say(ERROR, T, T);
    say(ERROR, T, T + 1);
    assert_true(sluice_member_healthy(&m));
    say(ERROR, T, T + 1);
    is(COOLING, T + 5001);

    /* without end, and too much for a word */

    test_begin(NULL);
    policy.cool = SLUICE_NEVER;
    policy.cool_max = SLUICE_NEVER;
    say(COOL, T, T);
    is(COOLING, SLUICE_NEVER);
    assert_true(recovery(UINT64_MAX - 1, false) == SLUICE_NEVER);

    test_begin(NULL);
    policy.cool = 1ull << 60;
    policy.cool_max = SLUICE_NEVER - 1;
    policy.open = policy.cool;
    policy.open_max = policy.cool_max;
    policy.exhausted = policy.cool;

    for (i = 0; i < 40; i++) {
        say(COOL, T, T);
        assert_int_equal(status().state, SLUICE_MEMBER_COOLING);
        assert_true(status().until > T && status().until != SLUICE_NEVER);
        sluice_member_enable(&m);
    }

    say(EXHAUSTED, T, T);
    assert_true(status().until > T && status().until != SLUICE_NEVER);

    /* many times, and no shift too far: the word is COOLING, level 31 */

    test_begin(NULL);
    policy.cool = 1ull << 40;
    policy.cool_max = 1ull << 43;
    m.state = (sluice_u128_t) (31 << 5 | SLUICE_REASON_STATUS << 2) << 64
              | SLUICE_MEMBER_COOLING;
    assert_int_equal(status().level, 31);
    say(COOL, T, T);
    is(COOLING, T + policy.cool_max);

    /* less at most than at first */

    test_begin(NULL);
    policy.cool_max = 10;
    say(COOL, T, T);
    is(COOLING, T + 10);
}


/* a word that nobody has written is not well, and does no harm */

static void
test_unknown_words(void **state)
{
    bool                     half;
    unsigned                 i;
    uint64_t                 seed;
    sluice_u128_t            word;
    sluice_member_status_t   s;

    (void) state;

    m.state = SLUICE_MEMBER_STATES;
    assert_false(sluice_member_healthy(&m));
    assert_true(recovery(UINT64_MAX, false) == SLUICE_NEVER);
    assert_int_equal(sluice_member_probe(&m, UINT64_MAX, 5), 0);
    assert_null(sluice_member_state_name(status().state));

    seed = util_seed();

    for (i = 0; i < 100000; i++) {
        word = (sluice_u128_t) util_random(&seed) << 64 | util_random(&seed);
        m.state = word;
        sluice_member_status(word, &s);
        (void) sluice_member_recovery(&m, T, &half);
        (void) sluice_member_state(&s, T);
        assert_true(sluice_member_rested(&m, T) < SLUICE_MEMBER_PARTS);
        (void) sluice_member_early(&m, T);
        answer((sluice_answer_t) (util_random(&seed) % SLUICE_ANSWERS), T, 0,
               util_random(&seed), T);
        sluice_member_status(m.state, &s);
        assert_true(s.until == SLUICE_NEVER || s.until < 1ull << 44);
    }
}


static void
test_for_display(void **state)
{
    unsigned                i;
    sluice_member_status_t  s;

    (void) state;

    hinted(COOL, T, 1000, T);
    s = status();
    assert_int_equal(sluice_member_state(&s, T + 999), SLUICE_MEMBER_COOLING);
    assert_int_equal(sluice_member_state(&s, T + 1000),
                     SLUICE_MEMBER_HEALTHY);

    hinted(EXHAUSTED, T, 2000, T);
    s = status();
    assert_int_equal(sluice_member_state(&s, T + 1999),
                     SLUICE_MEMBER_EXHAUSTED);
    assert_int_equal(sluice_member_state(&s, T + 2000),
                     SLUICE_MEMBER_PROBING);

    sluice_member_disable(&m, T);
    s = status();
    assert_int_equal(sluice_member_state(&s, UINT64_MAX),
                     SLUICE_MEMBER_DISABLED);

    assert_string_equal(sluice_member_state_name(0), "healthy");
    assert_string_equal(sluice_member_state_name(4), "disabled");
    assert_null(sluice_member_state_name(SLUICE_MEMBER_STATES));
    assert_string_equal(sluice_member_reason_name(4), "operator");
    assert_null(sluice_member_reason_name(SLUICE_REASONS));
    assert_string_equal(sluice_answer_name(3), "rate_limited");
    assert_null(sluice_answer_name(SLUICE_ANSWERS));

    for (i = 0; i < SLUICE_ANSWERS; i++) {
        assert_non_null(sluice_answer_name(i));
    }
}


/* windows */

static sluice_member_limit_t
test_limit(sluice_counts_t counts, uint32_t window, uint64_t max)
{
    sluice_member_limit_t  limit;

    limit.counts = counts;
    limit.window = window;
    limit.max = max;
    assert_true(sluice_member_limit_init(&limit));

    return limit;
}


static void
test_limits_that_can_be(void **state)
{
    unsigned               i;
    sluice_member_limit_t  limit;

    static const struct {
        uint32_t  window;
        uint64_t  max;
        uint32_t  scale;                /* 0: it cannot be                   */
    } cases[] = {
        { 1000, 0, 1 },
        { 1000, 1u << 23, 1 },
        { 60000, (1u << 23) + 1, 2 },
        { 60000, 1u << 24, 2 },
        { 31u * 86400 * 1000, (1ull << 54) | 1, 1u << 31 },
        { 60000, (1ull << 54) + (1ull << 31), 0 },
        { 60000, UINT64_MAX, 0 },
        { 31u * 86400 * 1000 + 1000, 5, 0 },
        { 999, 5, 0 },
        { 1500, 5, 0 },
        { 0, 5, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        limit.counts = SLUICE_COUNTS_TOKENS;
        limit.window = cases[i].window;
        limit.max = cases[i].max;

        assert_int_equal(sluice_member_limit_init(&limit),
                         cases[i].scale != 0);

        if (cases[i].scale != 0) {
            assert_int_equal(limit.scale, cases[i].scale);
        }
    }

    limit = test_limit(SLUICE_COUNTS_REQUESTS, 1000, 5);
    limit.counts = SLUICE_COUNTS;
    assert_false(sluice_member_limit_init(&limit));
}


static void
test_charges(void **state)
{
    unsigned               i;
    uint64_t               retry, used, most;
    uint32_t               window;
    sluice_counts_t        counts;
    sluice_window_t        w;
    sluice_member_limit_t  limit, tokens, shown[4];

    (void) state;

    limit = test_limit(SLUICE_COUNTS_REQUESTS, 1000, 3);
    tokens = test_limit(SLUICE_COUNTS_TOKENS, 1000, 1u << 25);
    assert_int_equal(tokens.scale, 4);

    for (i = 0; i < 3; i++) {
        assert_true(sluice_member_fits(&m, &limit, T + 200, 1, &retry));
        assert_true(sluice_member_charge(&m, &limit, T + 200, 1, &w, &retry));
    }

    assert_false(sluice_member_fits(&m, &limit, T + 200, 1, &retry));
    assert_int_equal(retry, 800 + 334);
    assert_false(sluice_member_charge(&m, &limit, T + 200, 1, &w, &retry));
    assert_int_equal(retry, 800 + 334);
    assert_false(sluice_member_charge(&m, &limit, T + 1333, 1, &w, &retry));
    assert_true(sluice_member_charge(&m, &limit, T + 1334, 1, &w, &retry));

    /* nothing is always had, more than there is never */

    assert_true(sluice_member_charge(&m, &limit, T + 1334, 0, &w, &retry));
    assert_false(sluice_member_charge(&m, &limit, T + 9000, 4, &w, &retry));
    assert_true(retry == SLUICE_NEVER);
    assert_false(sluice_member_fits(&m, &tokens, T, UINT64_MAX, &retry));
    assert_true(retry == SLUICE_NEVER);

    /* in units, rounded up: beside the other one */

    assert_true(sluice_member_charge(&m, &tokens, T + 1334, 1, &w, &retry));
    assert_true(sluice_member_charge(&m, &tokens, T + 1334, 5, &w, &retry));

    assert_true(sluice_member_window(&m, 0, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(counts, SLUICE_COUNTS_REQUESTS);
    assert_int_equal(window, 1000);
    assert_int_equal(used, 3);
    assert_int_equal(most, 0);
    assert_true(sluice_member_window(&m, 1, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(counts, SLUICE_COUNTS_TOKENS);
    assert_int_equal(used, 12);
    assert_int_equal(most, 0);
    assert_false(sluice_member_window(&m, 2, T + 1334, &counts, &window,
                                      &used, &most));
    assert_false(sluice_member_window(&m, 1, T + 3000, &counts, &window,
                                      &used, &most));

    /* of how much: by what it counts and its length, in any order */

    shown[0] = test_limit(SLUICE_COUNTS_TOKENS, 2678400000u, 1ull << 54);
    shown[1] = tokens;
    shown[2] = test_limit(SLUICE_COUNTS_REQUESTS, 2000, 9);
    shown[3] = limit;
    sluice_member_limits(&m, shown, 4);
    assert_true(sluice_member_window(&m, 0, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(most, 3);
    assert_true(sluice_member_window(&m, 1, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(most, 1u << 25);

    /* the next configuration has only one of them */

    sluice_member_limits(&m, shown, 2);
    assert_true(sluice_member_window(&m, 0, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(most, 0);
    assert_true(sluice_member_window(&m, 1, T + 1334, &counts, &window,
                                     &used, &most));
    assert_int_equal(most, 1u << 25);

    assert_true(sluice_member_charge(&m, &shown[0], T + 1334, 1ull << 54, &w,
                                     &retry));
    assert_true(sluice_member_window(&m, 2, T + 1334, &counts, &window,
                                     &used, &most));
    assert_true(used == 1ull << 54 && most == 1ull << 54);
}


static void
test_settling(void **state)
{
    uint64_t               retry, used, most;
    uint32_t               window;
    sluice_counts_t        counts;
    sluice_window_t        w;
    sluice_member_limit_t  limit;

    (void) state;

    limit = test_limit(SLUICE_COUNTS_TOKENS, 1000, 100);

#define used_is(now, n)                                                       \
    assert_true(sluice_member_window(&m, 0, now, &counts, &window, &used,     \
                                     &most));                                 \
    assert_int_equal(used, n)

    assert_true(sluice_member_charge(&m, &limit, T, 50, &w, &retry));
    sluice_member_settle(&m, &limit, &w, T + 10, 50, 50);
    used_is(T + 10, 50);
    sluice_member_settle(&m, &limit, &w, T + 10, 50, 20);
    used_is(T + 10, 20);

    /* to the window that was charged, also when that is the previous one */

    sluice_member_settle(&m, &limit, &w, T + 1500, 50, 45);
    used_is(T + 1500, 15 / 2 + 1);
    sluice_member_settle(&m, &limit, &w, T + 1500, 50, 70);
    used_is(T + 1500, 28);
    sluice_member_settle(&m, &limit, &w, T + 1500, 50, 0);
    used_is(T + 1500, 20);

    /* none if that is gone; what is more than the limit, and saturates */

    assert_true(sluice_member_charge(&m, &limit, T + 4000, 50, &w, &retry));
    w.index -= 3;
    sluice_member_settle(&m, &limit, &w, T + 4000, 50, 0);
    used_is(T + 4000, 50);
    sluice_member_settle(&m, &limit, &w, T + 4000, 0, 200);
    used_is(T + 4000, 250);
    sluice_member_settle(&m, &limit, &w, T + 4000, 0, UINT64_MAX);
    sluice_member_settle(&m, &limit, &w, T + 4000, 0, UINT64_MAX);
    used_is(T + 4000, (1u << 24) - 1);

    /* used though nothing stands there any more */

    sluice_member_settle(&m, &limit, &w, T + 9000, 0, 5);
    used_is(T + 9000, 5);
}


static void
test_words_are_shared_out(void **state)
{
    unsigned               i;
    uint64_t               retry;
    sluice_window_t        w;
    sluice_member_limit_t  limit[6];

    (void) state;

    for (i = 0; i < 6; i++) {
        limit[i] = test_limit((sluice_counts_t) (i % 2),
                              1000 * (1 + i / 2), 10);
    }

    for (i = 0; i < 4; i++) {
        assert_true(sluice_member_charge(&m, &limit[i], T, 1, &w, &retry));
    }

    /* live ones are not evicted */

    assert_false(sluice_member_fits(&m, &limit[4], T, 1, &retry));
    assert_false(sluice_member_charge(&m, &limit[4], T, 1, &w, &retry));
    assert_int_equal(retry, 1000);
    sluice_member_settle(&m, &limit[4], &w, T, 0, 5);

    /* those of a second are dead now, those of two are not */

    assert_true(sluice_member_charge(&m, &limit[4], T + 2000, 1, &w, &retry));
    assert_true(sluice_member_charge(&m, &limit[5], T + 2000, 1, &w, &retry));
    assert_false(sluice_member_charge(&m, &limit[0], T + 2000, 1, &w,
                                      &retry));
    assert_true(sluice_member_charge(&m, &limit[2], T + 2000, 9, &w, &retry));
    assert_false(sluice_member_charge(&m, &limit[2], T + 2000, 10, &w,
                                      &retry));

    /* the same time and another scale is another window */

    test_begin(NULL);
    limit[0] = test_limit(SLUICE_COUNTS_TOKENS, 1000, 1u << 24);
    limit[1] = test_limit(SLUICE_COUNTS_TOKENS, 1000, 1u << 23);
    assert_true(sluice_member_charge(&m, &limit[0], T, 1u << 24, &w, &retry));
    assert_true(sluice_member_charge(&m, &limit[1], T, 1u << 23, &w, &retry));
    assert_true(m.window[1] != 0);
}


/* one that was killed while it put a window in is in nobody's way for long */

static void
test_tentative_words(void **state)
{
    uint64_t               tag, retry;
    sluice_window_t        w;
    sluice_member_limit_t  limit, other;

    (void) state;

    limit = test_limit(SLUICE_COUNTS_REQUESTS, 60000, 10);
    other = test_limit(SLUICE_COUNTS_REQUESTS, 1000, 10);
    assert_true(sluice_member_charge(&m, &limit, T, 1, &w, &retry));
    tag = sluice_slot_tag(m.window[0]);

    /* the same one has it at once */

    m.window[0] = sluice_slot_tentative(tag, T, 77);
    assert_true(sluice_member_charge(&m, &limit, T, 1, &w, &retry));
    assert_true(sluice_slot_final(m.window[0], tag));

    m.window[0] = 0;
    m.window[3] = sluice_slot_tentative(tag, T, 77);
    assert_true(sluice_member_charge(&m, &limit, T, 1, &w, &retry));
    assert_true(sluice_slot_final(m.window[0], tag));
    assert_true(m.window[3] == 0);

    /* others two seconds later */

    m.window[0] = sluice_slot_tentative(tag + 1, T, 77);
    m.window[1] = m.window[0];
    m.window[2] = m.window[0];
    m.window[3] = m.window[0];
    assert_false(sluice_member_charge(&m, &other, T + 1999, 1, &w, &retry));
    assert_true(sluice_member_charge(&m, &other, T + 2000, 1, &w, &retry));
    assert_true(sluice_slot_index(m.window[0]) != SLUICE_TENTATIVE);
}


/* what a hostile file may have: no division by zero, no shift too far */

static void
test_unknown_windows(void **state)
{
    unsigned               i, n;
    uint64_t               seed, used, most, retry;
    uint32_t               window;
    sluice_counts_t        counts;
    sluice_window_t        w;
    sluice_member_limit_t  limit;

    (void) state;

    seed = util_seed();
    limit = test_limit(SLUICE_COUNTS_REQUESTS, 60000, 10);

    for (i = 0; i < 100000; i++) {
        for (n = 0; n < SLUICE_MEMBER_WINDOWS; n++) {
            m.window[n] = (sluice_u128_t) util_random(&seed) << 64
                          | util_random(&seed);
        }

        for (n = 0; n < SLUICE_MEMBER_WINDOWS; n++) {
            m.limit[n] = util_random(&seed);

            if (sluice_member_window(&m, n, T, &counts, &window, &used,
                                     &most))
            {
                assert_true(counts < SLUICE_COUNTS && window != 0);
            }
        }

        (void) sluice_member_charge(&m, &limit, T, 1, &w, &retry);
    }
}


/*
 * The model: each charge of each window, by index.  Some limits more than
 * there are words for are in turn, so that words change hands.
 */

#define MODEL_LIMITS   6
#define MODEL_WINDOWS  4096

static void
test_windows_against_a_model(void **state)
{
    bool                    fits, got;
    unsigned                i, k, n;
    uint64_t                seed, now, retry, index, e, amount;
    uint64_t                left, max, passed, refused, changed;
    sluice_window_t         w;
    sluice_member_limit_t   limit[MODEL_LIMITS], *l;

    static uint64_t         model[MODEL_LIMITS][MODEL_WINDOWS];

    (void) state;

    memset(model, 0, sizeof(model));
    seed = util_seed();
    passed = 0;
    refused = 0;
    changed = 0;

    for (i = 0; i < MODEL_LIMITS; i++) {
        limit[i] = test_limit((sluice_counts_t) (i % 2), 1000 * (1 + i),
                              i % 2 ? 1u << 25 : 20);
    }

    for (now = T, n = 0; n < 400000 && now / 1000 < MODEL_WINDOWS; n++) {

        now += (util_random(&seed) % 3 == 0) ? util_random(&seed) % 20 : 0;

        /* some rest, so that their words can be had */

        i = (unsigned) (util_random(&seed) % 3 + 2 * (now / 20000 % 3))
            % MODEL_LIMITS;
        l = &limit[i];
        max = l->max / l->scale;
        index = now / l->window;
        e = now % l->window;
        amount = 1 + util_random(&seed) % (i % 2 ? 1u << 22 : 5);
        k = (unsigned) ((amount + l->scale - 1) / l->scale);

        left = model[i][index - 1] * (l->window - e)
               + (model[i][index] + k) * l->window;
        fits = left <= max * l->window;

        got = sluice_member_charge(&m, l, now, amount, &w, &retry);

        if (got != fits) {

            /* the one reason: there is no word */

            assert_true(fits && retry == 1000);
            assert_int_equal(model[i][index] + model[i][index - 1], 0);
            changed++;
            continue;
        }

        if (!got) {
            refused++;
            continue;
        }

        passed++;
        assert_int_equal(w.current, model[i][index]);
        assert_int_equal(w.previous, model[i][index - 1]);
        model[i][index] += k;

        if (util_random(&seed) % 4 == 0) {
            sluice_member_settle(&m, l, &w, now, amount, 0);
            model[i][index] -= k;
        }
    }

    assert_true(passed > 1000);
    assert_true(refused > 1000);
    assert_true(changed > 10);
}


int
main(void)
{
#define test(f)  cmocka_unit_test_setup(f, test_begin)

    const struct CMUnitTest  tests[] = {
        test(test_zero_is_healthy),
        test(test_well_is_no_write),
        test(test_cool_until_the_hint),
        test(test_cool_hint_is_capped),
        test(test_cool_hint_of_no_time_is_a_moment),
        test(test_cool_grows_with_repetition),
        test(test_cool_hint_is_no_repetition),
        test(test_cool_burst_is_one),
        test(test_cool_later_deadline_stays),
        test(test_success_that_began_before_does_not_clear),
        test(test_success_ends_what_is_over),
        test(test_client_errors_say_nothing),
        test(test_answers_are_counted),
        test(test_denied_in_a_row_disable),
        test(test_denied_at_once_are_one),
        test(test_success_ends_a_row),
        test(test_doubts),
        test(test_denied_never_disables_if_told_so),
        test(test_disabled_is_left_by_the_operator_alone),
        test(test_operator_cools),
        test(test_exhausted_is_half_open_afterwards),
        test(test_exhausted_until_the_hint),
        test(test_errors_in_a_row_open_the_breaker),
        test(test_errors_long_ago_do_not_count),
        test(test_errors_count_from_the_last),
        test(test_errors_against_all_of_them),
        test(test_cut),
        test(test_errors_never_open_it_if_told_so),
        test(test_one_probe_at_a_time),
        test(test_probe_well_after_its_deadline),
        test(test_probe_that_fails_opens_it_for_longer),
        test(test_errors_of_others_are_no_level),
        test(test_probe_given_back),
        test(test_what_will_not_be_is_not_counted),
        test(test_probe_denied_is_a_strike),
        test(test_probe_cooled),
        test(test_failure_ends_a_probe_of_others),
        test(test_probes_are_told_apart),
        test(test_rests_that_are_guessed),
        test(test_early_well),
        test(test_early_that_fails),
        test(test_hints_and_guesses),
        test(test_clocks_differ),
        test(test_absurd_policies),
        test(test_unknown_words),
        test(test_for_display),
        test(test_limits_that_can_be),
        test(test_charges),
        test(test_settling),
        test(test_words_are_shared_out),
        test(test_tentative_words),
        test(test_unknown_windows),
        test(test_windows_against_a_model)
    };

    return cmocka_run_group_tests_name("member", tests, NULL, NULL);
}
