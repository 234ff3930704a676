
/*
 * The decision: charging, refunding, inserting.  Files: limit_file.c.
 */

#include "limit.h"
#include "clock.h"
#include "fault.h"

#include <string.h>


#define SLUICE_TRIES          64                /* turns of any loop         */
#define SLUICE_LIMIT_ROOM     3                 /* free slots, see below     */

/*
 * A nonce is the epoch of its writer and a number of the writer's own.  An
 * epoch is given out once, by the zone's control line, so no two attempts
 * ever look alike, and one that was killed and put in again by another is not
 * made final by the first.
 */
#define SLUICE_EPOCH_SHIFT    20


typedef struct {
    uint64_t                fingerprint;
    sluice_limit_bucket_t  *bucket[2];
    sluice_u128_t          *line;           /* its own, of bucket[0]         */
} sluice_limit_place_t;


static inline void
sluice_limit_locate(const sluice_limit_t *limit, sluice_hash_t key,
    sluice_limit_place_t *place)
{
    uint64_t  a, b;

    a = sluice_limit_bucket(limit, key);
    b = ((key.lo >> 32) * limit->nbuckets) >> 32;

    if (b == a) {
        b = (a + 1 == limit->nbuckets) ? 0 : a + 1;
    }

    place->fingerprint = sluice_hash_fingerprint(key);
    place->bucket[0] = &limit->buckets[a];
    place->bucket[1] = &limit->buckets[b];
    place->line = sluice_limit_line(limit, key, a);
}


/* where the key stands, and in *v what was seen there */

static sluice_u128_t *
sluice_limit_find(const sluice_limit_place_t *place, sluice_u128_t *v)
{
    unsigned        b, i, match;
    sluice_u128_t  *slot;

    /* of both at once: misses one after the other would be twice as long */

    for (i = 0; i < SLUICE_LIMIT_BUCKET; i += SLUICE_LIMIT_LINE) {
        __builtin_prefetch(&place->bucket[1]->slot[i], 1);
    }

    for (b = 0; b < 2; b++) {
        match = 0;

        for (i = 0; i < SLUICE_LIMIT_BUCKET; i += SLUICE_LIMIT_LINE) {
            match |= sluice_limit_match(&place->bucket[b]->slot[i],
                                        place->fingerprint)
                     << i;
        }

        for ( /* void */ ; match != 0; match &= match - 1) {
            slot = &place->bucket[b]->slot[__builtin_ctz(match)];
            *v = sluice_load16(slot);

            if (sluice_slot_final(*v, place->fingerprint)) {
                return slot;
            }
        }
    }

    return NULL;
}


static inline uint32_t *
sluice_limit_slot_group(const sluice_limit_t *limit, uint32_t slot)
{
    return sluice_limit_group(limit, slot / SLUICE_LIMIT_BUCKET);
}


/* where a charge goes to: before it is made, see sluice_limit_refund() */

static inline void
sluice_limit_mark(const sluice_limit_t *limit, const sluice_u128_t *slot,
    sluice_limit_state_t *state)
{
    state->slot = (uint32_t) (slot - limit->buckets->slot);
    state->evicted = __atomic_load_n(sluice_limit_slot_group(limit,
                                                             state->slot),
                                     __ATOMIC_SEQ_CST);
}


/*
 * A slot changes hands.  Called before it may be made final or free again, by
 * whoever does that: so if a key stands in a slot anew, the group tells.
 */

static void
sluice_limit_moved(const sluice_limit_t *limit, const sluice_u128_t *slot)
{
    uint32_t  n;

    n = (uint32_t) (slot - limit->buckets->slot);

    (void) __atomic_add_fetch(sluice_limit_slot_group(limit, n), 1,
                              __ATOMIC_SEQ_CST);
}


/* v as of the window of `now`, and whether n more units fit */

static bool
sluice_limit_decide(sluice_u128_t v, uint64_t now, uint32_t window,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    return sluice_window_decide(v, now, window, max, n, &state->seen);
}


bool
sluice_limit_slot_live(sluice_u128_t slot, uint64_t now, uint32_t window)
{
    return sluice_slot_live(slot, now, window);
}


bool
sluice_limit_slot_state(sluice_u128_t slot, uint64_t now, uint32_t window,
    uint64_t *fingerprint, sluice_limit_state_t *state)
{
    if (!sluice_limit_slot_live(slot, now, window)) {
        return false;
    }

    *fingerprint = sluice_slot_tag(slot);
    state->slot = 0;
    state->evicted = 0;
    (void) sluice_limit_decide(slot, now, window, 0, 0, state);

    return true;
}


/* UINT64_MAX: not to be taken; 0: free; else the count that would be lost */

static uint64_t
sluice_limit_cost(sluice_u128_t v, uint64_t now, uint32_t window)
{
    if (v == 0) {
        return 0;
    }

    if (sluice_slot_index(v) == SLUICE_TENTATIVE) {
        return sluice_slot_abandoned(v, now) ? 0 : UINT64_MAX;
    }

    if (!sluice_limit_slot_live(v, now, window)) {
        return 0;
    }

    /* of the window before: its own previous one no longer counts */

    if ((uint64_t) sluice_slot_index(v) < now / window) {
        return 1 + (uint64_t) sluice_slot_current(v);
    }

    return 1 + (uint64_t) sluice_slot_previous(v) + sluice_slot_current(v);
}


/*
 * The slots of a bucket in the order in which they are taken: the first of
 * each line, then the second of each, and so on.
 */

static inline unsigned
sluice_limit_nth(unsigned n)
{
    return n % SLUICE_LIMIT_LINES * SLUICE_LIMIT_LINE
           + n / SLUICE_LIMIT_LINES;
}


/*
 * The slots that a key prefers: its own line, but for the bucket's last one,
 * which is what one-time keys push each other out of when all are taken.
 */

static inline bool
sluice_limit_preferred(const sluice_limit_place_t *place,
    const sluice_u128_t *slot)
{
    return slot >= place->line && slot < place->line + SLUICE_LIMIT_LINE
           && slot != &place->bucket[0]->slot[SLUICE_LIMIT_BUCKET - 1];
}


/*
 * Where to put the key: a free slot of its first bucket while there are three,
 * so that most keys stand in their own line, else one of the emptier bucket,
 * which keeps the table from evicting early; else the live window with the
 * least count.  Both buckets are looked through in any case.  false: the key
 * came since, or nothing may be taken; look again.
 */

static bool
sluice_limit_choose(const sluice_limit_place_t *place, uint64_t now,
    uint32_t window, sluice_u128_t **at, sluice_u128_t *seen, bool *evicts)
{
    bool            preferred, own;
    unsigned        b, i, room, most;
    uint64_t        cost, least;
    sluice_u128_t  *slot, *empty, v, empty_v;

    *at = NULL;
    least = UINT64_MAX;
    most = 0;

    for (b = 0; b < 2; b++) {
        empty = NULL;
        empty_v = 0;
        room = 0;
        own = false;

        for (i = 0; i < SLUICE_LIMIT_BUCKET; i++) {
            slot = &place->bucket[b]->slot[sluice_limit_nth(i)];
            v = sluice_load16(slot);

            /* evicting oneself would lose the count */

            if (sluice_slot_final(v, place->fingerprint)) {
                return false;
            }

            cost = sluice_limit_cost(v, now, window);

            if (cost == 0) {
                room++;
                preferred = sluice_limit_preferred(place, slot);

                if (empty == NULL || (preferred && !own)) {
                    empty = slot;
                    empty_v = v;
                    own = preferred;
                }

            /* of equals the last, which is not the one that came first */

            } else if (cost <= least && cost != UINT64_MAX && most == 0) {
                least = cost;
                *at = slot;
                *seen = v;
            }
        }

        if (room > most && most < SLUICE_LIMIT_ROOM) {
            most = room;
            *at = empty;
            *seen = empty_v;
        }
    }

    *evicts = (most == 0);

    return *at != NULL;
}


/*
 * The second look: with ours in place, another tentative entry of the key is
 * taken out, and a final one means that ours is not wanted.
 */

static bool
sluice_limit_alone(const sluice_limit_t *limit,
    const sluice_limit_place_t *place, const sluice_u128_t *at)
{
    unsigned        b, i, turn;
    sluice_u128_t  *slot, v;

    for (b = 0; b < 2; b++) {
        slot = place->bucket[b]->slot;

        for (i = 0; i < SLUICE_LIMIT_BUCKET; i++) {
            if (&slot[i] == at) {
                continue;
            }

            v = sluice_load16(&slot[i]);

            for (turn = 0; sluice_slot_tag(v) == place->fingerprint; turn++) {

                if (sluice_slot_index(v) != SLUICE_TENTATIVE
                    || turn == SLUICE_TRIES)
                {
                    return false;
                }

                /* it may have been put over a live window */

                sluice_limit_moved(limit, &slot[i]);

                if (sluice_cas16(&slot[i], &v, 0)) {
                    break;
                }
            }
        }
    }

    return true;
}


static sluice_u128_t
sluice_limit_tentative(sluice_limit_t *limit, uint64_t fp, uint64_t now)
{
    uint64_t  epoch;

    limit->nonce++;

    if ((limit->nonce & ((1u << SLUICE_EPOCH_SHIFT) - 1)) == 1) {
        epoch = __atomic_add_fetch(&limit->control->epoch, 1,
                                   __ATOMIC_RELAXED);
        limit->nonce = (epoch << SLUICE_EPOCH_SHIFT) | 1;
    }

    return sluice_slot_tentative(fp, now, limit->nonce);
}


/* the key's first charge; false: begin again from the search */

static bool
sluice_limit_insert(sluice_limit_t *limit, const sluice_limit_place_t *place,
    uint64_t *now, uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    bool            evicts;
    sluice_u128_t  *at, seen, mine, new;

    /* a clock read a window ago would count in one that is recycled */

    *now = limit->clock();

    (void) sluice_limit_decide(0, *now, limit->window, max, n, state);

    if (!sluice_limit_choose(place, *now, limit->window, &at, &seen, &evicts))
    {
        return false;
    }

    mine = sluice_limit_tentative(limit, place->fingerprint, *now);

    if (!sluice_cas16(at, &seen, mine)) {
        return false;
    }

    sluice_fault("limit.insert.tentative");

    /* a dead writer's entry may have been put over a live window as well */

    if (evicts || sluice_slot_unfinished(seen)) {
        sluice_limit_moved(limit, at);
    }

    if (evicts && limit->own != NULL) {
        limit->own->evicted++;
    }

    if (!sluice_limit_alone(limit, place, at)) {
        (void) sluice_cas16(at, &mine, 0);
        return false;
    }

    sluice_fault("limit.insert.looked");

    sluice_limit_mark(limit, at, state);

    new = sluice_slot_pack(place->fingerprint, state->seen.index, 0, n);

    if (!sluice_cas16(at, &mine, new)) {
        return false;
    }

    sluice_fault("limit.insert.final");

    if (limit->own != NULL) {
        limit->own->inserted++;
    }

    /*
     * Stopped for so long in between that it was charged to the past: what is
     * charged again must be so by the clock as it is now.
     */

    *now = limit->clock();

    return *now / limit->window <= (uint64_t) state->seen.index + 1;
}


/* the key has no slot yet, or not in its line, or somebody was faster */

static sluice_limit_result_t
sluice_limit_contend(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    unsigned               turn;
    sluice_u128_t         *slot, v, new;
    sluice_limit_place_t   place;

    sluice_limit_locate(limit, key, &place);

    state->slot = 0;
    state->evicted = 0;

    for (turn = 0; turn < SLUICE_TRIES; turn++) {

        slot = sluice_limit_find(&place, &v);

        if (slot == NULL) {

            /* what does not pass, or costs nothing, needs no slot */

            if (n > max || n == 0) {
                return sluice_limit_decide(0, now, limit->window, max, n,
                                           state)
                       ? SLUICE_LIMIT_PASSED : SLUICE_LIMIT_REFUSED;
            }

            if (sluice_limit_insert(limit, &place, &now, max, n, state)) {
                return SLUICE_LIMIT_PASSED;
            }

            continue;
        }

        sluice_limit_mark(limit, slot, state);

        while (sluice_slot_final(v, place.fingerprint)) {

            if (!sluice_limit_decide(v, now, limit->window, max, n, state)) {
                return SLUICE_LIMIT_REFUSED;
            }

            new = sluice_window_charge(place.fingerprint, &state->seen, n);

            if (sluice_cas16(slot, &v, new)) {
                return SLUICE_LIMIT_PASSED;
            }

            if (++turn >= SLUICE_TRIES) {
                break;
            }
        }
    }

    return SLUICE_LIMIT_CONTENDED;
}


sluice_limit_result_t
sluice_limit_charge_any(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    sluice_limit_result_t  result;

    result = sluice_limit_contend(limit, key, now, max, n, state);

    if (limit->own == NULL) {
        return result;
    }

    if (result == SLUICE_LIMIT_PASSED) {
        limit->own->passed++;

    } else if (result == SLUICE_LIMIT_REFUSED) {
        limit->own->refused++;

    } else {
        limit->own->contended++;
    }

    return result;
}


sluice_limit_result_t
sluice_limit_peek(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    sluice_u128_t          v;
    sluice_limit_place_t   place;

    sluice_limit_locate(limit, key, &place);

    state->slot = 0;
    state->evicted = 0;

    if (sluice_limit_find(&place, &v) == NULL) {
        v = 0;
    }

    return sluice_limit_decide(v, now, limit->window, max, n, state)
           ? SLUICE_LIMIT_PASSED : SLUICE_LIMIT_REFUSED;
}


void
sluice_limit_refund(sluice_limit_t *limit, sluice_hash_t key,
    const sluice_limit_state_t *state, uint32_t n)
{
    unsigned               turn;
    sluice_u128_t         *slot, v, new;
    sluice_limit_place_t   place;

    if (n == 0) {
        return;
    }

    sluice_limit_locate(limit, key, &place);

    /* the slot that was charged: elsewhere the key stands without the charge */

    slot = &limit->buckets->slot[state->slot];
    v = sluice_load16(slot);

    for (turn = 0;
         turn < SLUICE_TRIES && sluice_slot_final(v, place.fingerprint);
         turn++)
    {
        new = sluice_window_refund(v, &state->seen, n);

        /*
         * Looked at after the slot: what comes later has other counts, unless
         * the key was put in anew and charged to the very same ones meanwhile.
         */

        if (__atomic_load_n(sluice_limit_slot_group(limit, state->slot),
                            __ATOMIC_SEQ_CST)
            != state->evicted)
        {
            return;
        }

        if (new == v || sluice_cas16(slot, &v, new)) {
            return;
        }
    }
}


void
sluice_limit_add(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t n)
{
    unsigned               turn;
    sluice_u128_t         *slot, v, new;
    sluice_limit_place_t   place;
    sluice_limit_state_t   state;

    n = (n < SLUICE_UNITS_MASK) ? n : SLUICE_UNITS_MASK;

    if (n == 0) {
        return;
    }

    sluice_limit_locate(limit, key, &place);

    for (turn = 0; turn < SLUICE_TRIES; turn++) {

        slot = sluice_limit_find(&place, &v);

        if (slot == NULL) {
            if (sluice_limit_insert(limit, &place, &now, 0, n, &state)) {
                return;
            }

            continue;
        }

        while (sluice_slot_final(v, place.fingerprint)) {

            new = sluice_window_add(v, now, limit->window, n);

            if (sluice_cas16(slot, &v, new)) {
                return;
            }

            if (++turn >= SLUICE_TRIES) {
                break;
            }
        }
    }

    if (limit->own != NULL) {
        limit->own->contended++;
    }
}


void
sluice_limit_settle(sluice_limit_t *limit, sluice_hash_t key,
    const sluice_limit_state_t *state, uint64_t now, uint32_t n,
    uint32_t actual)
{
    if (actual < n) {
        sluice_limit_refund(limit, key, state, n - actual);

    } else {
        sluice_limit_add(limit, key, now, actual - n);
    }
}
