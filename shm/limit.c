
/*
 * The decision: charging, refunding, inserting.  Files: limit_file.c.
 */

#include "limit.h"
#include "clock.h"
#include "fault.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif


#define SLUICE_TRIES          64                /* turns of any loop         */
#define SLUICE_LIMIT_ROOM     (SLUICE_LIMIT_BUCKET / 2)

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
} sluice_limit_place_t;


static inline void
sluice_limit_locate(const sluice_limit_t *limit, sluice_hash_t key,
    sluice_limit_place_t *place)
{
    uint64_t  a, b;

    /* disjoint bits: two keys of one bucket differ in the fingerprint */

    a = ((key.lo & 0xffffffff) * limit->nbuckets) >> 32;
    b = ((key.lo >> 32) * limit->nbuckets) >> 32;

    if (b == a) {
        b = (a + 1 == limit->nbuckets) ? 0 : a + 1;
    }

    place->fingerprint = (key.hi >> 16) | 1;
    place->bucket[0] = &limit->buckets[a];
    place->bucket[1] = &limit->buckets[b];
}


/*
 * The slots of a bucket that may hold the key, a bit each: those with the
 * upper 32 bits of its fingerprint.  Which one it is no branch could predict,
 * and a long loop would keep the CPU from the misses of the next decision.
 */

#if defined(__x86_64__) && !defined(SLUICE_TSAN)

static inline __m128i
sluice_slot_uppers(const sluice_u128_t *slot)
{
    const __m128i  *p = (const __m128i *) slot;

    return _mm_unpackhi_epi64(_mm_unpackhi_epi32(p[0], p[1]),
                              _mm_unpackhi_epi32(p[2], p[3]));
}


static inline unsigned
sluice_limit_match(const sluice_limit_bucket_t *bucket, uint64_t fp)
{
    __m128i  want, a, b;

    want = _mm_set1_epi32((int) (uint32_t) (fp >> 16));

    a = _mm_cmpeq_epi32(sluice_slot_uppers(bucket->slot), want);
    b = _mm_cmpeq_epi32(sluice_slot_uppers(bucket->slot + 4), want);

    return (unsigned) _mm_movemask_epi8(
               _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_setzero_si128()));
}

#else

/* a load of 16 bytes may be a compare-and-swap here: looking must not write */

static inline uint32_t
sluice_slot_upper(const sluice_u128_t *slot)
{
    const uint32_t  *quarter = (const uint32_t *) slot;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    quarter += 3;
#endif

    return __atomic_load_n(quarter, __ATOMIC_RELAXED);
}


static inline unsigned
sluice_limit_match(const sluice_limit_bucket_t *bucket, uint64_t fp)
{
    unsigned  i, match;

    match = 0;

    for (i = 0; i < SLUICE_LIMIT_BUCKET; i++) {
        match |= (unsigned) (sluice_slot_upper(&bucket->slot[i])
                             == (uint32_t) (fp >> 16))
                 << i;
    }

    return match;
}

#endif


/*
 * Where the key stands, and in *v what was seen there.  The second bucket is
 * not touched for a key that is in the first one: see sluice_limit_choose().
 */

static inline sluice_u128_t *
sluice_limit_find(const sluice_limit_place_t *place, sluice_u128_t *v)
{
    unsigned        b, match;
    sluice_u128_t  *slot;

    for (b = 0; b < 2; b++) {

        for (match = sluice_limit_match(place->bucket[b], place->fingerprint);
             match != 0;
             match &= match - 1)
        {
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
sluice_limit_group(const sluice_limit_t *limit, uint32_t slot)
{
    return &limit->control->evicted[slot / SLUICE_LIMIT_BUCKET
                                    % SLUICE_LIMIT_GROUPS];
}


/* where a charge goes to: before it is made, see sluice_limit_refund() */

static inline void
sluice_limit_mark(const sluice_limit_t *limit, const sluice_u128_t *slot,
    sluice_limit_state_t *state)
{
    state->slot = (uint32_t) (slot - limit->buckets->slot);
    state->evicted = __atomic_load_n(sluice_limit_group(limit, state->slot),
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

    (void) __atomic_add_fetch(sluice_limit_group(limit, n), 1,
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

    return 1 + (uint64_t) sluice_slot_previous(v) + sluice_slot_current(v);
}


/*
 * Where to put the key: a free slot of its first bucket while half of that is
 * free, so that most keys cost one bucket to find, else of the emptier one,
 * which keeps the table from evicting early; else the live window with the
 * least count.  Both buckets are looked through in any case.  false: the key
 * came since, or nothing may be taken; look again.
 */

static bool
sluice_limit_choose(const sluice_limit_place_t *place, uint64_t now,
    uint32_t window, sluice_u128_t **at, sluice_u128_t *seen, bool *evicts)
{
    unsigned        b, i, room, most;
    uint64_t        cost, least;
    sluice_u128_t  *slot, *empty, v, empty_v;

    *at = NULL;
    least = UINT64_MAX;
    most = 0;

    for (b = 0; b < 2; b++) {
        slot = place->bucket[b]->slot;
        empty = NULL;
        empty_v = 0;
        room = 0;

        for (i = 0; i < SLUICE_LIMIT_BUCKET; i++) {
            v = sluice_load16(&slot[i]);

            /* evicting oneself would lose the count */

            if (sluice_slot_final(v, place->fingerprint)) {
                return false;
            }

            cost = sluice_limit_cost(v, now, window);

            if (cost == 0) {
                room++;

                if (empty == NULL) {
                    empty = &slot[i];
                    empty_v = v;
                }

            /* of equals the last, which is not the one that came first */

            } else if (cost <= least && cost != UINT64_MAX && most == 0) {
                least = cost;
                *at = &slot[i];
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


/*
 * The rare ways: the key has no slot yet, or somebody was faster.  Not
 * inlined, or the common way would carry its registers.
 */

static __attribute__((noinline)) sluice_limit_result_t
sluice_limit_contend(sluice_limit_t *limit, const sluice_limit_place_t *place,
    uint64_t now, uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    unsigned        turn;
    sluice_u128_t  *slot, v, new;

    for (turn = 0; turn < SLUICE_TRIES; turn++) {

        slot = sluice_limit_find(place, &v);

        if (slot == NULL) {

            /* what does not pass, or costs nothing, needs no slot */

            if (n > max || n == 0) {
                return sluice_limit_decide(0, now, limit->window, max, n,
                                           state)
                       ? SLUICE_LIMIT_PASSED : SLUICE_LIMIT_REFUSED;
            }

            if (sluice_limit_insert(limit, place, &now, max, n, state)) {
                return SLUICE_LIMIT_PASSED;
            }

            continue;
        }

        sluice_limit_mark(limit, slot, state);

        while (sluice_slot_final(v, place->fingerprint)) {

            if (!sluice_limit_decide(v, now, limit->window, max, n, state)) {
                return SLUICE_LIMIT_REFUSED;
            }

            new = sluice_window_charge(place->fingerprint, &state->seen, n);

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


static inline void
sluice_limit_count(sluice_limit_t *limit, sluice_limit_result_t result)
{
    if (limit->own == NULL) {
        return;
    }

    if (result == SLUICE_LIMIT_PASSED) {
        limit->own->passed++;

    } else if (result == SLUICE_LIMIT_REFUSED) {
        limit->own->refused++;

    } else {
        limit->own->contended++;
    }
}


sluice_limit_result_t
sluice_limit_charge(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    sluice_u128_t          *slot, v, new;
    sluice_limit_place_t    place;
    sluice_limit_result_t   result;

    sluice_limit_locate(limit, key, &place);

    state->slot = 0;
    state->evicted = 0;

    slot = sluice_limit_find(&place, &v);

    if (slot == NULL) {
        result = sluice_limit_contend(limit, &place, now, max, n, state);

    } else if (!sluice_limit_decide(v, now, limit->window, max, n, state)) {
        result = SLUICE_LIMIT_REFUSED;

    } else {
        sluice_limit_mark(limit, slot, state);

        new = sluice_window_charge(place.fingerprint, &state->seen, n);

        result = sluice_cas16(slot, &v, new)
                 ? SLUICE_LIMIT_PASSED
                 : sluice_limit_contend(limit, &place, now, max, n, state);
    }

    sluice_limit_count(limit, result);

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

        if (__atomic_load_n(sluice_limit_group(limit, state->slot),
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

    sluice_limit_count(limit, SLUICE_LIMIT_CONTENDED);
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
