
/*
 * A sliding window in one 16-byte slot: {tag:48, window index:32, previous:24,
 * current:24}.  The count at `elapsed` into a window is
 * previous * (1 - elapsed / window) + current, compared in integers, without
 * rounding.  Every transition is one 16-byte compare-and-swap.
 *
 * A limit table has many, found by the tag (limit.h); a pool's member has a
 * few of its own (member.h).  A tag may stand in one slot only, or it would
 * get two limits, so it comes in by two phases: a tentative slot with a nonce
 * that no other attempt has, a second look for the tag, then the final slot.
 *
 * Here is what a slot says and how it is counted; no memory but the caller's
 * own is looked at.
 */

#ifndef SLUICE_WINDOW_H
#define SLUICE_WINDOW_H

#include "cas16.h"

#include <stdbool.h>
#include <stdint.h>


#define SLUICE_WINDOW_UNITS_MAX  (1u << 23)     /* a limit's, and a charge's */
#define SLUICE_WINDOW_MIN        1000u          /* ms                        */
#define SLUICE_WINDOW_MAX        (31u * 86400 * 1000)

#define SLUICE_UNITS_MASK        0xffffffu      /* what a slot can count     */

/*
 * A tentative slot has, in place of its counts, the second it was made in
 * (8 bits) and the nonce.
 */
#define SLUICE_TENTATIVE         0xffffffffu    /* its index                 */
#define SLUICE_NONCE_BITS        40
#define SLUICE_DEAD_AFTER        2              /* seconds: it is free then  */


/* a slot as of a moment: enough for Retry-After, remaining, and a refund */
typedef struct {
    uint32_t  index;            /* the window                                */
    uint32_t  previous;         /* units                                     */
    uint32_t  current;          /* units                                     */
    uint32_t  elapsed;          /* ms of the window                          */
} sluice_window_t;


static inline sluice_u128_t
sluice_slot_pack(uint64_t tag, uint32_t index, uint32_t previous,
    uint32_t current)
{
    return (sluice_u128_t) tag << 80 | (sluice_u128_t) index << 48
           | (uint64_t) previous << 24 | current;
}


static inline uint64_t
sluice_slot_tag(sluice_u128_t v)
{
    return (uint64_t) (v >> 80);
}


static inline uint32_t
sluice_slot_index(sluice_u128_t v)
{
    return (uint32_t) (v >> 48);
}


static inline uint32_t
sluice_slot_previous(sluice_u128_t v)
{
    return (uint32_t) ((uint64_t) v >> 24) & SLUICE_UNITS_MASK;
}


static inline uint32_t
sluice_slot_current(sluice_u128_t v)
{
    return (uint32_t) v & SLUICE_UNITS_MASK;
}


static inline bool
sluice_slot_final(sluice_u128_t v, uint64_t tag)
{
    return sluice_slot_tag(v) == tag
           && sluice_slot_index(v) != SLUICE_TENTATIVE;
}


/* an entry that is not made final yet, or never will be */

static inline bool
sluice_slot_unfinished(sluice_u128_t v)
{
    return v != 0 && sluice_slot_index(v) == SLUICE_TENTATIVE;
}


static inline sluice_u128_t
sluice_slot_tentative(uint64_t tag, uint64_t now, uint64_t nonce)
{
    return sluice_slot_pack(tag, SLUICE_TENTATIVE, 0, 0)
           | (uint64_t) (uint8_t) (now / 1000) << SLUICE_NONCE_BITS
           | (nonce & ((1ull << SLUICE_NONCE_BITS) - 1));
}


/* of a tentative one: whether its writer has had its time */

static inline bool
sluice_slot_abandoned(sluice_u128_t v, uint64_t now)
{
    uint8_t  age;

    age = (uint8_t) (now / 1000)
          - (uint8_t) ((uint64_t) v >> SLUICE_NONCE_BITS);

    return age >= SLUICE_DEAD_AFTER;
}


/* whether something of it may count still; window in ms */

static inline bool
sluice_slot_live(sluice_u128_t v, uint64_t now, uint32_t window)
{
    return v != 0 && sluice_slot_index(v) != SLUICE_TENTATIVE
           && (uint64_t) sluice_slot_index(v) + 1 >= now / window;
}


/* v as of the window of `now`, and whether n more units fit */

static inline bool
sluice_window_decide(sluice_u128_t v, uint64_t now, uint32_t window,
    uint32_t max, uint32_t n, sluice_window_t *seen)
{
    uint32_t  index, elapsed, previous, current, of;

    index = (uint32_t) (now / window);
    elapsed = (uint32_t) (now % window);
    previous = sluice_slot_previous(v);
    current = sluice_slot_current(v);
    of = sluice_slot_index(v);

    if (of > index) {

        /* our clock was read before theirs: as if the window had just begun */

        index = of;
        elapsed = 0;

    } else if (of + 1 == index) {
        previous = current;
        current = 0;

    } else if (of != index) {
        previous = 0;
        current = 0;
    }

    seen->index = index;
    seen->elapsed = elapsed;
    seen->previous = previous;
    seen->current = current;

    return (uint64_t) previous * (window - elapsed)
           + (uint64_t) (current + n) * window
           <= (uint64_t) max * window;
}


/* the slot that was decided on, with n units more */

static inline sluice_u128_t
sluice_window_charge(uint64_t tag, const sluice_window_t *seen, uint32_t n)
{
    return sluice_slot_pack(tag, seen->index, seen->previous,
                            seen->current + n);
}


/* the same slot with n units more, whatever the limit: 24 bits saturate */
sluice_u128_t sluice_window_add(sluice_u128_t v, uint64_t now,
    uint32_t window, uint32_t n);

/*
 * The same slot with n units less in the window that was seen, none at least;
 * v itself if that window is gone.
 */
sluice_u128_t sluice_window_refund(sluice_u128_t v,
    const sluice_window_t *seen, uint32_t n);

/*
 * How long until n units would pass if nobody else charged: milliseconds
 * from the decision; UINT64_MAX: never.
 */
uint64_t sluice_window_retry(uint32_t window, const sluice_window_t *seen,
    uint32_t max, uint32_t n);

/* units that count at the moment of the state, rounded up */
uint32_t sluice_window_used(uint32_t window, const sluice_window_t *seen);

/* milliseconds until nothing of them counts, if nobody charges any more */
uint64_t sluice_window_reset(uint32_t window, const sluice_window_t *seen);


#endif /* SLUICE_WINDOW_H */
