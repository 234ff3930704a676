
/*
 * What upstreams say about when to come again: as they really say it, and as
 * none should.  2026-01-27T12:00:00Z is when all of it is said.
 */

#include "hint.h"
#include "util.h"

#include <time.h>


#define TEST_NOW      1769515200000000ull       /* us                        */
#define TEST_SECOND   1000ull
#define TEST_MINUTE   (60 * TEST_SECOND)
#define TEST_HOUR     (60 * TEST_MINUTE)
#define TEST_DAY      (24 * TEST_HOUR)
#define TEST_GUESS    TEST_MINUTE
#define TEST_NONE     UINT64_MAX


typedef struct {
    const char  *headers;       /* "name: value", by lines                   */
    uint64_t     wait;          /* ms                                        */
} test_case_t;


/* by itself, so that ASan sees a byte too many */

static char *
test_copy(const char *from, size_t len)
{
    char  *copy;

    copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, from, len);

    return copy;
}


static uint64_t
test_said(const sluice_hints_t *hints)
{
    return sluice_hints_wait(hints, false, TEST_GUESS);
}


static uint64_t
test_wait(const char *headers, uint64_t now, bool limited)
{
    char            *name, *value;
    size_t           name_len, len;
    const char      *p;
    sluice_hints_t   hints;

    sluice_hints_init(&hints, now);

    for (p = headers; *p != '\0'; p += len + (p[len] == '\n')) {

        name_len = strcspn(p, ":");
        name = test_copy(p, name_len);

        p += name_len + 2;
        len = strcspn(p, "\n");
        value = test_copy(p, len);

        sluice_hints_add(&hints, name, name_len, value, len);

        free(name);
        free(value);
    }

    return sluice_hints_wait(&hints, limited, TEST_GUESS);
}


static void
test_cases(const test_case_t *cases, uint64_t now, bool limited)
{
    uint64_t            wait;
    const test_case_t  *c;

    for (c = cases; c->headers != NULL; c++) {
        wait = test_wait(c->headers, now, limited);

        if (wait != c->wait) {
            fail_msg("\"%s\" is %lld, not %lld", c->headers,
                     (long long) wait, (long long) c->wait);
        }
    }
}


static void
test_upstreams(void **state)
{
    static const test_case_t  cases[] = {

        /* OpenAI, and Azure's */

        { "x-ratelimit-limit-requests: 500\n"
          "x-ratelimit-limit-tokens: 30000\n"
          "x-ratelimit-remaining-requests: 0\n"
          "x-ratelimit-remaining-tokens: 29990\n"
          "x-ratelimit-reset-requests: 120ms\n"
          "x-ratelimit-reset-tokens: 6m0s", 120 },
        { "x-ratelimit-remaining-requests: 499\n"
          "x-ratelimit-remaining-tokens: 0\n"
          "x-ratelimit-reset-requests: 120ms\n"
          "x-ratelimit-reset-tokens: 6m0s", 6 * TEST_MINUTE },
        { "x-ratelimit-reset-requests: 1s\n"
          "x-ratelimit-remaining-requests: 0", TEST_SECOND },
        { "x-ratelimit-remaining-requests: 0\n"
          "x-ratelimit-remaining-tokens: 0\n"
          "x-ratelimit-reset-requests: 8.64s\n"
          "x-ratelimit-reset-tokens: 17h58m3.344s",
          17 * TEST_HOUR + 58 * TEST_MINUTE + 3344 },
        { "retry-after-ms: 1351\nretry-after: 2", 1351 },
        { "Retry-After: 2\nRetry-After-Ms: 1351", 1351 },
        { "retry-after: 20\n"
          "x-ratelimit-remaining-requests: 0\n"
          "x-ratelimit-reset-requests: 1s", 20 * TEST_SECOND },
        { "x-ratelimit-remaining-requests: 9\n"
          "x-ratelimit-remaining-tokens: -1\n"
          "x-ratelimit-reset-tokens: 10", 10 * TEST_SECOND },

        /* Anthropic */

        { "anthropic-ratelimit-requests-limit: 50\n"
          "anthropic-ratelimit-requests-remaining: 0\n"
          "anthropic-ratelimit-requests-reset: 2026-01-27T12:00:07Z\n"
          "anthropic-ratelimit-input-tokens-remaining: 20000\n"
          "anthropic-ratelimit-input-tokens-reset: 2026-01-27T13:00:00Z\n"
          "anthropic-ratelimit-output-tokens-remaining: 0\n"
          "anthropic-ratelimit-output-tokens-reset: 2026-01-27T12:00:30Z",
          30 * TEST_SECOND },
        { "anthropic-ratelimit-requests-remaining: 0\n"
          "anthropic-ratelimit-requests-reset: 2026-01-27T12:00:00Z", 0 },
        { "anthropic-ratelimit-requests-remaining: 0\n"
          "anthropic-ratelimit-requests-reset: 2026-01-27T11:59:59Z", 0 },
        { "retry-after: 17\n"
          "anthropic-ratelimit-unified-reset: 1769518800", 17000 },

        /* GitHub: a Unix time; OpenRouter: one in milliseconds */

        { "X-RateLimit-Limit: 60\n"
          "X-RateLimit-Remaining: 0\n"
          "X-RateLimit-Reset: 1769515230", 30 * TEST_SECOND },
        { "X-RateLimit-Limit: 60\n"
          "X-RateLimit-Remaining: 1\n"
          "X-RateLimit-Reset: 1769515230", TEST_NONE },
        { "X-RateLimit-Remaining: 0\n"
          "X-RateLimit-Reset: 1769515230123", 30123 },
        { "X-RateLimit-Remaining: 0\n"
          "X-RateLimit-Reset: 1769515199", 0 },

        /* Groq, Mistral, Cerebras */

        { "retry-after: 2\n"
          "x-ratelimit-remaining-requests: 14370\n"
          "x-ratelimit-remaining-tokens: 0\n"
          "x-ratelimit-reset-requests: 2m59.56s\n"
          "x-ratelimit-reset-tokens: 7.66s", 2 * TEST_SECOND },
        { "x-ratelimit-remaining-tokens: 0\n"
          "x-ratelimit-reset-requests: 2m59.56s\n"
          "x-ratelimit-reset-tokens: 7.66s", 7660 },
        { "x-ratelimit-limit-req-minute: 720\n"
          "x-ratelimit-remaining-req-minute: 0\n"
          "x-ratelimit-tokens-query-cost: 52", TEST_NONE },
        { "x-ratelimit-remaining-requests-day: 0\n"
          "x-ratelimit-reset-requests-day: 33011.382867", 33011383 },

        /* the names of IETF's draft, up to 06 */

        { "RateLimit-Limit: 100\nRateLimit-Remaining: 0\nRateLimit-Reset: 50",
          50 * TEST_SECOND },

        /* a limit that has the same name elsewhere is another one */

        { "ratelimit-remaining: 0\nx-ratelimit-reset: 50", TEST_NONE },
        { "x-ratelimit-remaining-a: 0\nx-ratelimit-reset-b: 50", TEST_NONE },
        { "x-ratelimit-remaining-A: 0\nX-Ratelimit-Reset-a: 50",
          50 * TEST_SECOND },

        { "", TEST_NONE },
        { "server: nginx\nx-request-id: 1\nage: 5\nx: y", TEST_NONE },

        { NULL, 0 }
    };

    (void) state;

    test_cases(cases, TEST_NOW, false);
}


static void
test_after(void **state)
{
    static const test_case_t  cases[] = {
        { "retry-after: 0", 0 },
        { "retry-after: 1", TEST_SECOND },
        { "retry-after: 0.5", 500 },
        { "retry-after: 1.0001", 1001 },
        { "retry-after: 1.000000000000000000001", 1001 },
        { "retry-after: 0.0000000000", 0 },
        { "retry-after: 000000000000000000000000000005", 5000 },
        { "retry-after:  5 ", 5000 },
        { "retry-after: \t5\t", 5000 },

        { "Retry-After: Tue, 27 Jan 2026 12:01:00 GMT", TEST_MINUTE },
        { "Retry-After: Tuesday, 27-Jan-26 12:01:00 GMT", TEST_MINUTE },
        { "Retry-After: Tue Jan 27 12:01:00 2026", TEST_MINUTE },
        { "Retry-After: Sun Feb  1 12:00:00 2026", 5 * TEST_DAY },
        { "Retry-After: Fri, 29 Jan 2027 12:00:00 GMT", 367 * TEST_DAY },
        { "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", 0 },
        { "Retry-After: Sunday, 06-Nov-94 08:49:37 GMT", 0 },
        { "Retry-After: Sun Nov  6 08:49:37 1994", 0 },
        { "Retry-After: Sun, 06 Nov 0194 08:49:37 GMT", 0 },
        { "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT", 0 },

        /* two digits: of the next fifty years, or past */

        { "Retry-After: Tuesday, 26-Jan-76 12:00:00 GMT", SLUICE_HINT_MAX },
        { "Retry-After: Tuesday, 28-Feb-76 12:00:00 GMT", 0 },

        /* a year, a day, a leap second that are there, or not */

        { "Retry-After: Tue, 31 Mar 2026 00:00:60 GMT",
          62 * TEST_DAY + 12 * TEST_HOUR + TEST_MINUTE },
        { "Retry-After: Tue, 29 Feb 2028 00:00:00 GMT", SLUICE_HINT_MAX },
        { "Retry-After: Tue, 29 Feb 2026 00:00:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 29 Feb 2100 00:00:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 29 Feb 2400 00:00:00 GMT", SLUICE_HINT_MAX },
        { "Retry-After: Tue, 31 Apr 2026 00:00:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 00 Apr 2026 00:00:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 32 Dec 2026 00:00:00 GMT", TEST_NONE },
        { "Retry-After: Thu, 31 Dec 9999 23:59:59 GMT", SLUICE_HINT_MAX },
        { "Retry-After: Tue, 27 Jan 2026 24:00:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:60:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:00:61 GMT", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:01:00 CET", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:01:00", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:01:00 GM", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:01:00 GMT+1", TEST_NONE },
        { "Retry-After: Tue, 27 Jam 2026 12:01:00 GMT", TEST_NONE },
        { "Retry-After: Tu, 27 Jan 2026 12:01:00 GMT", TEST_NONE },
        { "Retry-After: Tue, 27 Jan 2026 12:01:00 GMT, 5", TEST_NONE },

        /* the longer one of two */

        { "retry-after: 5\nretry-after: 7\nretry-after: 6", 7000 },
        { "retry-after-ms: 5\nretry-after-ms: 7.2\nretry-after-ms: 6", 8 },

        /* what cannot be understood leaves the word to the next */

        { "retry-after-ms: soon\nretry-after: 3", 3000 },
        { "retry-after-ms: -1\nretry-after: 3", 3000 },
        { "retry-after: soon\nx-ratelimit-remaining: 0\n"
          "x-ratelimit-reset: 4", 4000 },
        { "retry-after: -1\nretry-after: 3", 3000 },
        { "retry-after-ms: Tue, 27 Jan 2026 12:01:00 GMT", TEST_NONE },

        /* names that only begin alike */

        { "retry-after-m: 5", TEST_NONE },
        { "retry-after-msx: 5", TEST_NONE },
        { "retry-afterx: 5", TEST_NONE },
        { "retry-afte: 5", TEST_NONE },
        { "xretry-after: 5", TEST_NONE },

        { NULL, 0 }
    };

    (void) state;

    test_cases(cases, TEST_NOW, false);
}


/* each as what resets a limit of which nothing remains */

static void
test_reset(void **state)
{
    char                text[256];
    uint64_t            wait;
    const test_case_t  *c;

    static const test_case_t  cases[] = {
        { "1s", TEST_SECOND },
        { "6m0s", 6 * TEST_MINUTE },
        { "120ms", 120 },
        { "1h2m3.5s", TEST_HOUR + 2 * TEST_MINUTE + 3500 },
        { "1.5s", 1500 },
        { "1.5h", 90 * TEST_MINUTE },
        { "2d1h", 49 * TEST_HOUR },
        { "0s", 0 },
        { "1ns", 1 },
        { "999us", 1 },
        { "1001us", 2 },
        { "500\302\265s500\316\274s", 1 },
        { "0.000000001h", 1 },
        { "59.9999s", 60000 },

        { "5", 5000 },
        { "0.25", 250 },
        { "999999999", SLUICE_HINT_MAX },
        { "1000000000", 0 },
        { "1769515200.5", 500 },
        { "99999999999", SLUICE_HINT_MAX },
        { "1769515200001", 1 },
        { "1769515200000.25", 1 },
        { "100000000000", 0 },

        { "2026-01-27T12:00:00Z", 0 },
        { "2026-01-27T12:00:01Z", 1000 },
        { "2026-01-27T12:00:01.5Z", 1500 },
        { "2026-01-27T12:00:01.0000001Z", 1001 },
        { "2026-01-27T12:00:00.9999999999999Z", 1000 },
        { "2026-01-27t12:00:01z", 1000 },
        { "2026-01-27 12:00:01Z", 1000 },
        { "2026-01-27T13:00:01+01:00", 1000 },
        { "2026-01-27T07:30:01.25-04:30", 1250 },
        { "2026-01-28T00:00:00+12:00", 0 },
        { "2026-02-27T12:00:00+00:00", 31 * TEST_DAY },
        { "9999-12-31T23:59:59-23:59", SLUICE_HINT_MAX },
        { "0000-01-01T00:00:00+23:59", 0 },
        { "1970-01-01T00:00:00+00:01", 0 },

        { "2026-01-27T12:00:01", TEST_NONE },
        { "2026-01-27T12:00:01.Z", TEST_NONE },
        { "2026-01-27T12:00:01+1:00", TEST_NONE },
        { "2026-01-27T12:00:01+24:00", TEST_NONE },
        { "2026-01-27T12:00:01+01:60", TEST_NONE },
        { "2026-01-27T12:00:01+0100", TEST_NONE },
        { "2026-01-27T12:00:01ZZ", TEST_NONE },
        { "2026-13-27T12:00:01Z", TEST_NONE },
        { "2026-00-27T12:00:01Z", TEST_NONE },
        { "20260127T120001Z", TEST_NONE },
        { "2026-01-27", TEST_NONE },

        /* absurd ones */

        { "", TEST_NONE },
        { "-1", TEST_NONE },
        { "-5s", TEST_NONE },
        { "+5", TEST_NONE },
        { "5s ago", TEST_NONE },
        { "5 s", TEST_NONE },
        { "s", TEST_NONE },
        { "5.", TEST_NONE },
        { ".5", TEST_NONE },
        { "5.s", TEST_NONE },
        { "1.2.3", TEST_NONE },
        { "1,5", TEST_NONE },
        { "1e300", TEST_NONE },
        { "0x10", TEST_NONE },
        { "NaN", TEST_NONE },
        { "nan", TEST_NONE },
        { "inf", TEST_NONE },
        { "null", TEST_NONE },
        { "5S", TEST_NONE },
        { "5ss", TEST_NONE },
        { "5sec", TEST_NONE },
        { "5s5", TEST_NONE },
        { "\377\376", TEST_NONE },
        { "5\302s", TEST_NONE },
        { "18446744073709551615", SLUICE_HINT_MAX },
        { "18446744073709551616", SLUICE_HINT_MAX },
        { "99999999999999999999999999999999999999999", SLUICE_HINT_MAX },
        { "99999999999999999999999999999999999999999s", SLUICE_HINT_MAX },
        { "99999999999999999999999999999999999999999ns", SLUICE_HINT_MAX },
        { "18446744073709551615ns1ns", SLUICE_HINT_MAX },
        { "18446744074s", SLUICE_HINT_MAX },            /* 0.29s in 64 bits */
        { "213503d213503d", SLUICE_HINT_MAX },
        { "400d", SLUICE_HINT_MAX },
        { "399d", 399 * TEST_DAY },

        { NULL, 0 }
    };

    (void) state;

    for (c = cases; c->headers != NULL; c++) {
        snprintf(text, sizeof(text), "x-ratelimit-reset: %s\n"
                 "x-ratelimit-remaining: 0", c->headers);

        wait = test_wait(text, TEST_NOW, false);

        if (wait != c->wait) {
            fail_msg("\"%s\" is %lld, not %lld", c->headers,
                     (long long) wait, (long long) c->wait);
        }
    }
}


static void
test_remaining(void **state)
{
    char      text[256];
    unsigned  i;

    static const struct {
        const char  *value;
        bool         spent;
    } cases[] = {
        { "0", true },
        { "00", true },
        { "0.0", true },
        { " 0 ", true },
        { "-1", true },
        { "-0", true },
        { "-1500", true },

        { "1", false },
        { "0.1", false },
        { "0.00000000000000000000001", false },
        { "18446744073709551616", false },
        { "", false },
        { "-", false },
        { "--1", false },
        { "+0", false },
        { "0x", false },
        { "none", false },
        { NULL, false }
    };

    (void) state;

    for (i = 0; cases[i].value != NULL; i++) {
        snprintf(text, sizeof(text), "x-ratelimit-remaining-a: %s\n"
                 "x-ratelimit-reset-a: 5s", cases[i].value);

        if (test_wait(text, TEST_NOW, false)
            != (cases[i].spent ? 5000 : TEST_NONE)) {
            fail_msg("\"%s\" is taken for the contrary", cases[i].value);
        }
    }
}


/* an answer that some limit is spent, which does not say of any that it is */

static void
test_limited(void **state)
{
    const test_case_t  *c;

    static const test_case_t  cases[] = {

        /* what is the only limit, or may be */

        { "x-ratelimit-reset-requests: 20s", 20 * TEST_SECOND },
        { "x-ratelimit-reset: 1769515230", 30 * TEST_SECOND },
        { "anthropic-ratelimit-requests-reset: 2026-01-27T12:01:00Z",
          TEST_MINUTE },
        { "anthropic-ratelimit-unified-status: rejected\n"
          "anthropic-ratelimit-unified-reset: 1769518800", TEST_HOUR },
        { "anthropic-ratelimit-unified-7d-reset: 1769688000\n"
          "anthropic-ratelimit-unified-5h-reset: 1769518800", TEST_HOUR },

        /* before one of which something is left, even one that is sooner */

        { "x-ratelimit-remaining-requests: 9\n"
          "x-ratelimit-reset-requests: 2s\n"
          "x-ratelimit-reset-tokens: 10m", 10 * TEST_MINUTE },
        { "x-ratelimit-remaining-tokens: some\n"
          "x-ratelimit-reset-tokens: 10m", 10 * TEST_MINUTE },

        /* of which too little is left, perhaps; no longer than is guessed */

        { "x-ratelimit-remaining-tokens: 3\n"
          "x-ratelimit-reset-tokens: 6.24s", 6240 },
        { "x-ratelimit-reset-tokens: 6.24s\n"
          "x-ratelimit-reset-requests: 7s\n"
          "x-ratelimit-remaining-requests: 499\n"
          "x-ratelimit-remaining-tokens: 3", 6240 },
        { "X-RateLimit-Remaining: 1\nX-RateLimit-Reset: 59.999", 59999 },
        { "X-RateLimit-Remaining: 1\nX-RateLimit-Reset: 60", TEST_NONE },
        { "X-RateLimit-Remaining: 1\nX-RateLimit-Reset: 1769518800",
          TEST_NONE },

        /* what is whole is not meant, and what nearly is perhaps not */

        { "x-ratelimit-reset: 0", TEST_NONE },
        { "x-ratelimit-reset: 1769515199", TEST_NONE },
        { "x-ratelimit-reset-requests: 0s\n"
          "x-ratelimit-reset-tokens: 4s", 4 * TEST_SECOND },
        { "x-ratelimit-reset-requests: 120ms\n"
          "x-ratelimit-reset-tokens: 4s", TEST_SECOND },
        { "x-ratelimit-remaining-requests: 499\n"
          "x-ratelimit-reset-requests: 1ns", TEST_SECOND },

        /* what is said is not asked for elsewhere */

        { "retry-after: 17\n"
          "anthropic-ratelimit-unified-reset: 1769518800", 17000 },
        { "x-ratelimit-remaining-requests: 0\n"
          "x-ratelimit-reset-requests: 120ms\n"
          "x-ratelimit-reset-tokens: 6m0s", 120 },
        { "x-ratelimit-remaining-requests: 0\n"
          "x-ratelimit-reset-requests: 0s\n"
          "x-ratelimit-reset-tokens: 6m0s", 0 },
        { "x-ratelimit-remaining-a: 0\nx-ratelimit-reset-b: 5", TEST_NONE },
        { "x-ratelimit-remaining-a: 0\nx-ratelimit-remaining-b: 1\n"
          "x-ratelimit-reset-b: 5", TEST_NONE },
        { "x-ratelimit-remaining-a: 5", TEST_NONE },
        { "", TEST_NONE },

        { NULL, 0 }
    };

    (void) state;

    test_cases(cases, TEST_NOW, true);

    /* any other answer has them by the way */

    for (c = cases; c->headers != NULL; c++) {
        if (strstr(c->headers, "retry-after") == NULL
            && strstr(c->headers, "requests: 0\n") == NULL)
        {
            assert_int_equal(test_wait(c->headers, TEST_NOW, false),
                             TEST_NONE);
        }
    }
}


/* more limits than there is room for, and lengths that no header has */

static void
test_much(void **state)
{
    char            *text, name[80];
    size_t           i;
    sluice_hints_t   hints;

    (void) state;

    sluice_hints_init(&hints, TEST_NOW);

    for (i = 1; i <= 3 * SLUICE_HINT_LIMITS; i++) {
        snprintf(name, sizeof(name), "x-ratelimit-remaining-%zu", i);
        sluice_hints_add(&hints, name, strlen(name), "0", 1);
        snprintf(name, sizeof(name), "x-ratelimit-reset-%zu", i);
        sluice_hints_add(&hints, name, strlen(name), "30s", 2 + (i != 1));
    }

    assert_int_equal(hints.n, SLUICE_HINT_LIMITS);
    assert_int_equal(test_said(&hints), 30000);

    /* all of them with something left */

    sluice_hints_init(&hints, TEST_NOW);

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "x-ratelimit-remaining-%zu", i);
        sluice_hints_add(&hints, name, strlen(name), "7", 1);
    }

    assert_int_equal(hints.n, SLUICE_HINT_LIMITS);
    assert_int_equal(sluice_hints_wait(&hints, true, TEST_GUESS), TEST_NONE);

    text = malloc(65536);
    assert_non_null(text);

    memset(text, '9', 65536);
    memcpy(text, "retry-after", 11);

    for (i = 0; i <= 65536; i += (i < 300) ? 1 : 997) {
        sluice_hints_init(&hints, TEST_NOW);
        sluice_hints_add(&hints, text, i, "5", 1);
        assert_int_equal(test_said(&hints), i == 11 ? 5000 : TEST_NONE);
    }

    memset(text, '9', 65536);

    for (i = 1; i <= 65536; i += (i < 300) ? 1 : 997) {
        sluice_hints_init(&hints, TEST_NOW);
        sluice_hints_add(&hints, "retry-after", 11, text, i);

        if (i >= 8 && i <= 128) {
            assert_int_equal(test_said(&hints), SLUICE_HINT_MAX);

        } else if (i > 128) {
            assert_int_equal(test_said(&hints), TEST_NONE);
        }
    }

    sluice_hints_init(&hints, TEST_NOW);
    sluice_hints_add(&hints, "retry-after", 11, "5\0" "5", 3);
    sluice_hints_add(&hints, "retry-after\0", 12, "5", 1);
    assert_int_equal(test_said(&hints), TEST_NONE);

    free(text);
}


/* every day of four centuries, as libc has it */

static void
test_calendar(void **state)
{
    char       text[128], form[64];
    time_t     t;
    uint64_t   wait;
    struct tm  tm;

    (void) state;

    for (t = 86400; t < 400ll * 365 * 86400; t += 86400 + 61) {

        assert_non_null(gmtime_r(&t, &tm));

        strftime(form, sizeof(form), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        snprintf(text, sizeof(text), "Retry-After: %s", form);

        wait = test_wait(text, (uint64_t) (t - 86399) * 1000000, false);
        assert_int_equal(wait, 86399000);

        strftime(form, sizeof(form), "%a %b %e %H:%M:%S %Y", &tm);
        snprintf(text, sizeof(text), "Retry-After: %s", form);

        wait = test_wait(text, (uint64_t) (t - 5) * 1000000 + 1,
                         false);
        assert_int_equal(wait, 5000);

        strftime(form, sizeof(form), "%A, %d-%b-%y %H:%M:%S GMT", &tm);
        snprintf(text, sizeof(text), "Retry-After: %s", form);

        wait = test_wait(text, (uint64_t) (t - 5) * 1000000 + 999,
                         false);
        assert_int_equal(wait, 5000);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_upstreams),
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_remaining),
        cmocka_unit_test(test_limited),
        cmocka_unit_test(test_much),
        cmocka_unit_test(test_calendar)
    };

    return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
