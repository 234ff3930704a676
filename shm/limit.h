
/*
 * The limit table: sliding windows, exact over threads and processes,
 * without a lock.
 *
 * A slot is a sliding window (window.h), its tag the fingerprint of the key;
 * every transition of it is one 16-byte compare-and-swap, so deciding and
 * charging are one step.
 *
 * A key may stand in one slot only, or it would get two limits.  Inserting
 * has two phases, as in FASTER's hash index (Chandramouli et al., SIGMOD
 * 2018): a tentative entry with a nonce of its own, a second look for the
 * key, then the final entry.  A process that died in between leaves a
 * tentative entry that is free for anybody two seconds later.
 *
 * A slot whose window is over for two windows reads as empty, so nothing is
 * swept.  A key has two candidate buckets, and a cache line of its own in the
 * first: it goes there while that bucket has room, so that a decision costs
 * one cache miss nine times in ten, else into the emptier bucket; if both are
 * full of live windows, the one with the least count is evicted, and counted.
 *
 *   file "zone.NAME.N": header | control | columns | buckets
 *   geometry: buckets, window in ms, scale, slots a bucket, unit
 */

#ifndef SLUICE_LIMIT_H
#define SLUICE_LIMIT_H

#include "cas16.h"
#include "file.h"
#include "hash.h"
#include "window.h"
#include "workers.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif


#define SLUICE_LIMIT_PREFIX       "zone."
#define SLUICE_LIMIT_LINE         4             /* slots: a cache line       */
#define SLUICE_LIMIT_LINES        4
#define SLUICE_LIMIT_BUCKET       (SLUICE_LIMIT_LINES * SLUICE_LIMIT_LINE)
#define SLUICE_LIMIT_BUCKETS_MIN  16
#define SLUICE_LIMIT_BUCKETS_MAX  (1u << 27)
#define SLUICE_LIMIT_GROUPS       4096          /* of buckets: a power of 2  */
#define SLUICE_LIMIT_WINDOW_MIN   SLUICE_WINDOW_MIN
#define SLUICE_LIMIT_WINDOW_MAX   SLUICE_WINDOW_MAX
#define SLUICE_LIMIT_UNITS_MAX    SLUICE_WINDOW_UNITS_MAX
#define SLUICE_LIMIT_SCALE_MAX    1000000000u


typedef enum {
    SLUICE_LIMIT_PASSED = 0,
    SLUICE_LIMIT_REFUSED,
    SLUICE_LIMIT_CONTENDED      /* refused: too many rivals for one slot     */
} sluice_limit_result_t;


typedef struct {
    _Alignas(256) sluice_u128_t  slot[SLUICE_LIMIT_BUCKET];
} sluice_limit_bucket_t;

_Static_assert(sizeof(sluice_limit_bucket_t) == 256, "bucket");


typedef struct {
    uint64_t  epoch;            /* nonces are given out in runs, see limit.c */
    uint64_t  former_over;      /* tables up to this N no longer count       */
    uint64_t  opened;           /* how often, as somebody's newest           */
    uint8_t   reserved[104];

    /* how often a slot of the group's buckets has gone to another key */
    uint32_t  evicted[SLUICE_LIMIT_GROUPS];
} sluice_limit_control_t;

_Static_assert(sizeof(sluice_limit_control_t)
               == 128 + 4 * SLUICE_LIMIT_GROUPS, "zone control");


/* statistics of one process slot in this zone, written by its owner alone */
typedef struct {
    uint64_t  passed;
    uint64_t  refused;
    uint64_t  evicted;          /* live windows                              */
    uint64_t  contended;
    uint64_t  inserted;
    uint64_t  reserved[3];
} sluice_limit_column_t;

_Static_assert(sizeof(sluice_limit_column_t) == 64, "zone column");


typedef uint64_t (*sluice_clock_pt)(void);


/* one thread's view; after fork() a copy that has inserted nothing serves */
typedef struct {
    sluice_file_t             file;
    sluice_limit_control_t   *control;
    sluice_limit_column_t    *columns;          /* SLUICE_SLOTS of them      */
    sluice_limit_bucket_t    *buckets;
    uint64_t                  nbuckets;
    uint32_t                  window;           /* ms                        */
    uint32_t                  scale;            /* what one unit stands for  */
    uint32_t                  unit;             /* of what: the caller's own */
    unsigned                  number;           /* N of zone.NAME.N          */

    uint64_t                  opened;           /* as seen, of a former one  */
    sluice_limit_column_t    *own;              /* NULL: not counted         */
    uint64_t                  nonce;
    sluice_clock_pt           clock;            /* monotonic ms; tests       */
} sluice_limit_t;


/* what a decision saw: enough for Retry-After, remaining, and a refund */
typedef struct {
    sluice_window_t  seen;      /* before this charge                        */
    uint32_t         slot;      /* that was charged: its number              */
    uint32_t         evicted;   /* of its group, when it was charged         */
} sluice_limit_state_t;


typedef struct {
    uint64_t  size;             /* bytes, as the operator gave them          */
    uint32_t  window;           /* ms                                        */
    uint32_t  scale;
    uint32_t  unit;             /* what is counted, any number               */
} sluice_limit_conf_t;


/* how many buckets a zone of that size has; 0: too small or too large */
uint64_t sluice_limit_buckets(uint64_t size);

/*
 * Opens the zone's newest file if it has this geometry, else one that the
 * users of the newest charge as well, else makes the next.  `former` becomes
 * the newest other file of the same window and unit that somebody may still
 * have, or has no map: if it counts, both tables are charged, all or none.
 * BUSY: two tables of other geometries are live already.
 */
sluice_status_t sluice_limit_open(const sluice_dir_t *dir, const char *name,
    const sluice_limit_conf_t *conf, sluice_limit_t *limit,
    sluice_limit_t *former, sluice_error_t *error);

void sluice_limit_close(const sluice_dir_t *dir, sluice_limit_t *limit);

/*
 * Whether somebody charges that table as his newest, or has since the last
 * call.  One thread's, as all that changes a sluice_limit_t.
 */
bool sluice_limit_former_used(sluice_limit_t *former);

/*
 * To be called when nobody has for two windows: then this table alone holds
 * all that counts.  It tells the other users, and unlinks the former file;
 * those that still have it mapped lose nothing by it.  For a later table,
 * after a change that was taken back, it may be called at any time.  false:
 * somebody has it as his newest.
 */
bool sluice_limit_former_end(const sluice_dir_t *dir, sluice_limit_t *limit,
    const sluice_limit_t *former);

/* whether it is there and was not ended */
static inline bool
sluice_limit_former_lasts(const sluice_limit_t *limit,
    const sluice_limit_t *former)
{
    return former->buckets != NULL
           && __atomic_load_n(&limit->control->former_over, __ATOMIC_RELAXED)
              < former->number;
}

/*
 * Whether charges must go to it, too.  Not if it was made after this one: its
 * users charge this one as well, so that nothing is missing here.
 */
static inline bool
sluice_limit_former_counts(const sluice_limit_t *limit,
    const sluice_limit_t *former)
{
    return former->number < limit->number
           && sluice_limit_former_lasts(limit, former);
}


/* the key's place in this table; data of any length */
static inline sluice_hash_t
sluice_limit_hash(const sluice_limit_t *limit, const void *data, size_t len)
{
    return sluice_siphash(limit->file.header.key, data, len);
}

/*
 * The same for a key that is 128 bits which nobody could choose, as those of
 * a keyed hash: another hash would add nothing.  One key of a zone must
 * always come by the same of the two ways.
 */
static inline sluice_hash_t
sluice_limit_hash_id(const sluice_limit_t *limit, const uint8_t id[16])
{
    return sluice_hash_id(limit->file.header.key, id);
}

/* what an amount costs in units, rounded up; over UNITS_MAX: UNITS_MAX + 1 */
static inline uint32_t
sluice_limit_units(const sluice_limit_t *limit, uint64_t amount)
{
    if (limit->scale != 1) {
        amount = amount / limit->scale + (amount % limit->scale != 0);
    }

    return (amount <= SLUICE_LIMIT_UNITS_MAX) ? (uint32_t) amount
                                              : SLUICE_LIMIT_UNITS_MAX + 1;
}

/* how many units an amount allows, rounded down; UNITS_MAX at most */
static inline uint32_t
sluice_limit_max_units(const sluice_limit_t *limit, uint64_t amount)
{
    if (limit->scale != 1) {
        amount /= limit->scale;
    }

    return (amount <= SLUICE_LIMIT_UNITS_MAX) ? (uint32_t) amount
                                              : SLUICE_LIMIT_UNITS_MAX;
}

/*
 * The first one of the key, by its number.  Of other bits than the fingerprint,
 * in which two keys of one bucket differ.
 */

static inline uint64_t
sluice_limit_bucket(const sluice_limit_t *limit, sluice_hash_t key)
{
    return ((key.lo & 0xffffffff) * limit->nbuckets) >> 32;
}


/* the key's own, in that bucket */

static inline sluice_u128_t *
sluice_limit_line(const sluice_limit_t *limit, sluice_hash_t key,
    uint64_t bucket)
{
    return &limit->buckets[bucket].slot[key.hi % SLUICE_LIMIT_LINES
                                        * SLUICE_LIMIT_LINE];
}


static inline uint32_t *
sluice_limit_group(const sluice_limit_t *limit, uint64_t bucket)
{
    return &limit->control->evicted[bucket % SLUICE_LIMIT_GROUPS];
}


/*
 * The slots of a cache line that may hold the key, a bit each: those with the
 * upper 32 bits of its fingerprint.  Which one it is no branch could predict.
 */

#if defined(__x86_64__) && !defined(SLUICE_TSAN)

static inline unsigned
sluice_limit_match(const sluice_u128_t *line, uint64_t fp)
{
    __m128i        upper;
    const __m128i  *p = (const __m128i *) line;

    upper = _mm_unpackhi_epi64(_mm_unpackhi_epi32(p[0], p[1]),
                               _mm_unpackhi_epi32(p[2], p[3]));

    return (unsigned) _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(
               upper, _mm_set1_epi32((int) (uint32_t) (fp >> 16)))));
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
sluice_limit_match(const sluice_u128_t *line, uint64_t fp)
{
    unsigned  i, match;

    match = 0;

    for (i = 0; i < SLUICE_LIMIT_LINE; i++) {
        match |= (unsigned) (sluice_slot_upper(&line[i])
                             == (uint32_t) (fp >> 16))
                 << i;
    }

    return match;
}

#endif


/*
 * Any decision, with any number of misses.  Below, the same for a key that is
 * in its own line, far enough from its limit.
 */
sluice_limit_result_t sluice_limit_charge_any(sluice_limit_t *limit,
    sluice_hash_t key, uint64_t now, uint32_t max, uint32_t n,
    sluice_limit_state_t *state);

/*
 * Decides and charges n units against max (0 to UNITS_MAX) at `now`,
 * monotonic milliseconds.  UNITS_MAX + 1, the most that n may be, never pass;
 * none are a look that is counted.  O(1), bounded, no system call.  On PASSED
 * the charge stands; `state` is what was seen either way.
 *
 * Nine in ten need one cache line and no multiplication.  In line, and in few
 * instructions, as the CPU can overlap the misses of as many decisions as it
 * has room for, and a swap waits for the stores that came before it: a call's
 * saved registers, too.
 */
static inline __attribute__((always_inline)) sluice_limit_result_t
sluice_limit_charge(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t max, uint32_t n, sluice_limit_state_t *state)
{
    unsigned          match;
    uint64_t          bucket, tag, low, high, counts;
    sluice_u128_t    *slot;
    sluice_window_t   seen;

    tag = sluice_hash_fingerprint(key);
    bucket = sluice_limit_bucket(limit, key);
    slot = sluice_limit_line(limit, key, bucket);

    match = sluice_limit_match(slot, tag);

    if (match == 0) {
        return sluice_limit_charge_any(limit, key, now, max, n, state);
    }

    slot += __builtin_ctz(match);
    low = sluice_load16_low(slot);
    high = sluice_load16_high(slot);

    seen.index = (uint32_t) (now / limit->window);
    seen.elapsed = (uint32_t) (now % limit->window);

    /* the key's, and of this window: nothing is left of the index then */

    counts = low ^ (uint64_t) seen.index << 48;

    seen.previous = (uint32_t) (counts >> 24);
    seen.current = (uint32_t) counts & SLUICE_UNITS_MASK;

    /* what would fit if previous did not fade fits */

    if (high != (tag << 16 | seen.index >> 16) || counts >> 48 != 0
        || seen.previous + seen.current + n > max)
    {
        return sluice_limit_charge_any(limit, key, now, max, n, state);
    }

    state->seen = seen;
    state->slot = (uint32_t) (slot - limit->buckets->slot);
    state->evicted = __atomic_load_n(sluice_limit_group(limit, bucket),
                                     __ATOMIC_SEQ_CST);

    if (!__sync_bool_compare_and_swap(slot,
                                      (sluice_u128_t) high << 64 | low,
                                      (sluice_u128_t) high << 64 | (low + n)))
    {
        return sluice_limit_charge_any(limit, key, now, max, n, state);
    }

    if (limit->own != NULL) {
        limit->own->passed++;
    }

    return SLUICE_LIMIT_PASSED;
}

/* counts a refusal that was decided by peeking */
static inline void
sluice_limit_count_refused(sluice_limit_t *limit)
{
    if (limit->own != NULL) {
        limit->own->refused++;
    }
}

/* the same decision, nothing charged, nothing inserted */
sluice_limit_result_t sluice_limit_peek(sluice_limit_t *limit,
    sluice_hash_t key, uint64_t now, uint32_t max, uint32_t n,
    sluice_limit_state_t *state);

/*
 * Takes back n units of a charge that passed with that state, from the window
 * that was charged.  Dropped if the window is gone, or if its bucket's group
 * has evicted anything since: it may have been this key, which then stands
 * there anew without the charge.
 */
void sluice_limit_refund(sluice_limit_t *limit, sluice_hash_t key,
    const sluice_limit_state_t *state, uint32_t n);

/* charges n units whatever the limit: they were used; 24 bits saturate */
void sluice_limit_add(sluice_limit_t *limit, sluice_hash_t key, uint64_t now,
    uint32_t n);

/*
 * Settles a charge of n units that passed with that state: what was really
 * used is known now.  Less is refunded to the window that was charged, more
 * is added to the current one.
 */
void sluice_limit_settle(sluice_limit_t *limit, sluice_hash_t key,
    const sluice_limit_state_t *state, uint64_t now, uint32_t n,
    uint32_t actual);

/* as in window.h */
static inline uint64_t
sluice_limit_retry(const sluice_limit_t *limit,
    const sluice_limit_state_t *state, uint32_t max, uint32_t n)
{
    return sluice_window_retry(limit->window, &state->seen, max, n);
}

static inline uint32_t
sluice_limit_used(uint32_t window, const sluice_limit_state_t *state)
{
    return sluice_window_used(window, &state->seen);
}

static inline uint64_t
sluice_limit_reset(uint32_t window, const sluice_limit_state_t *state)
{
    return sluice_window_reset(window, &state->seen);
}


/* for a census of a copied table: whether this slot holds a live window */
bool sluice_limit_slot_live(sluice_u128_t slot, uint64_t now,
    uint32_t window);

/* and whose it is, and what counts of it now; false: it holds none */
bool sluice_limit_slot_state(sluice_u128_t slot, uint64_t now,
    uint32_t window, uint64_t *fingerprint, sluice_limit_state_t *state);


#endif /* SLUICE_LIMIT_H */
