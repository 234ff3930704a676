
/*
 * How long an upstream asks to be left alone, as the headers of its answer
 * say it.  In the order in which they are believed:
 *
 *   retry-after-ms           milliseconds
 *   Retry-After              seconds (a fraction too), or an HTTP date
 *   x-ratelimit-reset-NAME, anthropic-ratelimit-NAME-reset, x-ratelimit-reset,
 *   ratelimit-reset          when that limit is whole again, if what the same
 *                            limit has remaining is 0; of several the latest
 *
 * An answer that says that a limit is spent, and not which, means one of those
 * that are not whole yet: it is the one that is so first, of those of which it
 * does not say what remains; else of all, if that is sooner than what would be
 * guessed.
 *
 * A reset is a duration ("6m0s", "12ms", "1.5s"), seconds, a Unix time in
 * seconds or milliseconds, or a time as in RFC 3339.  What is said twice is as
 * long as the longer one; what cannot be understood leaves the word to what
 * comes next.
 *
 * No I/O; names and values are hostile: of any bytes and length, without NUL.
 */

#ifndef SLUICE_HINT_H
#define SLUICE_HINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SLUICE_HINT_MAX     (400ull * 86400 * 1000)    /* ms: more is absurd */
#define SLUICE_HINT_LEAST   1000ull     /* ms: of a limit that may be meant  */
#define SLUICE_HINT_LIMITS  16


/* what the headers of one answer have said so far */
typedef struct {
    uint64_t    now;                    /* wall clock, us                    */
    uint64_t    retry_ms;               /* UINT64_MAX: not said              */
    uint64_t    retry_after;

    struct {
        uint32_t  name;                 /* a hash of it                      */
        bool      spent;                /* nothing remains                   */
        bool      left;                 /* something does                    */
        uint64_t  reset;                /* ms; UINT64_MAX: not said          */
    } limit[SLUICE_HINT_LIMITS];

    unsigned    n;
} sluice_hints_t;


void sluice_hints_init(sluice_hints_t *hints, uint64_t now);

/* any header; those that are none of these are passed over quickly */
void sluice_hints_add(sluice_hints_t *hints, const char *name,
    size_t name_len, const char *value, size_t len);

/*
 * Milliseconds to wait, rounded up, SLUICE_HINT_MAX at most; 0 for a time that
 * is past; UINT64_MAX: they do not say, or what they say is not to be
 * understood, or negative.  limited: the answer is that some limit is spent;
 * guess: how long one would wait who is told nothing, ms.
 */
uint64_t sluice_hints_wait(const sluice_hints_t *hints, bool limited,
    uint64_t guess);


#endif /* SLUICE_HINT_H */
