
/*
 * Taking places and giving them back.  Files: conn_file.c.
 */

#include "conn.h"
#include "clock.h"
#include "fault.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif


#define SLUICE_CONN_PLACES      (2 * SLUICE_CONN_BUCKET)
#define SLUICE_CONN_TRIES       64              /* turns of any loop         */
#define SLUICE_CONN_DEAD_AFTER  2               /* seconds, unfinished one   */

/*
 * A row's word: fingerprint:64, state:8, second:8, nonce:48.  The fingerprint
 * is always of the key that the row is, or was, or may become:
 *
 *     0            nobody's
 *     FINAL        the key's; second and nonce are 0
 *     LEAVING      still the key's: somebody looks whether it can go
 *     TENTATIVE    nobody's yet: somebody looks whether the key may have it
 *
 * The unfinished ones have the second they were made in and a nonce: the
 * epoch of the writer, given out once by the control line, and a number of
 * the writer's own.  No two of them ever look alike, so whoever wrote one and
 * finds it unchanged knows that nobody has had the row in between.
 */
#define SLUICE_CONN_FINAL        1u
#define SLUICE_CONN_LEAVING      2u
#define SLUICE_CONN_TENTATIVE    3u

#define SLUICE_CONN_NONCE_BITS   48
#define SLUICE_CONN_EPOCH_SHIFT  20


typedef enum {
    SLUICE_CONN_ROW_FREE,
    SLUICE_CONN_ROW_STANDING,           /* some key's, in flight or not      */
    SLUICE_CONN_ROW_PENDING             /* somebody is at work on it         */
} sluice_conn_kind_t;


typedef struct {
    uint64_t            fingerprint;
    sluice_conn_row_t  *bucket[2];
} sluice_conn_place_t;


/* the columns, four at a time */
typedef uint64_t  sluice_conn_four_t __attribute__((may_alias));


static inline sluice_u128_t
sluice_conn_pack(uint64_t fp, unsigned state, uint64_t second, uint64_t nonce)
{
    return (sluice_u128_t) fp << 64 | (uint64_t) state << 56
           | (second & 0xff) << SLUICE_CONN_NONCE_BITS
           | (nonce & ((1ull << SLUICE_CONN_NONCE_BITS) - 1));
}


static inline uint64_t
sluice_conn_fp(sluice_u128_t v)
{
    return (uint64_t) (v >> 64);
}


static inline unsigned
sluice_conn_state(sluice_u128_t v)
{
    return (unsigned) ((uint64_t) v >> 56);
}


static inline bool
sluice_conn_standing(sluice_u128_t v, uint64_t fp)
{
    return sluice_conn_fp(v) == fp
           && (sluice_conn_state(v) == SLUICE_CONN_FINAL
               || sluice_conn_state(v) == SLUICE_CONN_LEAVING);
}


static sluice_conn_kind_t
sluice_conn_kind(sluice_u128_t v, uint64_t now)
{
    uint8_t  age;

    if (v == 0) {
        return SLUICE_CONN_ROW_FREE;
    }

    if (sluice_conn_state(v) == SLUICE_CONN_FINAL) {
        return SLUICE_CONN_ROW_STANDING;
    }

    age = (uint8_t) (now / 1000)
          - (uint8_t) ((uint64_t) v >> SLUICE_CONN_NONCE_BITS);

    /*
     * One that is left LEAVING is free, too: who finds it with nothing in
     * flight, and finds it unchanged afterwards, has done what its writer
     * had begun.
     */

    return (age < SLUICE_CONN_DEAD_AFTER) ? SLUICE_CONN_ROW_PENDING
                                          : SLUICE_CONN_ROW_FREE;
}


static sluice_u128_t
sluice_conn_unfinished(sluice_conn_t *conn, uint64_t fp, unsigned state,
    uint64_t now)
{
    uint64_t  epoch;

    conn->nonce++;

    if ((conn->nonce & ((1u << SLUICE_CONN_EPOCH_SHIFT) - 1)) == 1) {
        epoch = __atomic_add_fetch(&conn->control->epoch, 1,
                                   __ATOMIC_RELAXED);
        conn->nonce = (epoch << SLUICE_CONN_EPOCH_SHIFT) | 1;
    }

    return sluice_conn_pack(fp, state, now / 1000, conn->nonce);
}


static inline void
sluice_conn_locate(const sluice_conn_t *conn, sluice_hash_t key,
    sluice_conn_place_t *place)
{
    uint64_t  a, b;

    /* disjoint bits: two keys of one bucket differ in the fingerprint */

    a = ((key.lo & 0xffffffff) * conn->nbuckets) >> 32;
    b = ((key.lo >> 32) * conn->nbuckets) >> 32;

    if (b == a) {
        b = (a + 1 == conn->nbuckets) ? 0 : a + 1;
    }

    place->fingerprint = key.hi;
    place->bucket[0] = &conn->rows[a * SLUICE_CONN_BUCKET];
    place->bucket[1] = &conn->rows[b * SLUICE_CONN_BUCKET];
}


static inline sluice_conn_row_t *
sluice_conn_row(const sluice_conn_place_t *place, unsigned i)
{
    return &place->bucket[i / SLUICE_CONN_BUCKET][i % SLUICE_CONN_BUCKET];
}


/* a load of 16 bytes may be a compare-and-swap: looking must not write */

static inline uint64_t
sluice_conn_upper(const sluice_conn_row_t *row)
{
    const sluice_conn_four_t  *half;

    half = (const sluice_conn_four_t *) &row->word;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    half++;
#endif

    return __atomic_load_n(half, __ATOMIC_RELAXED);
}


/* where the key stands, and in *v what was seen there */

static inline sluice_conn_row_t *
sluice_conn_find(const sluice_conn_place_t *place, sluice_u128_t *v)
{
    unsigned            i;
    sluice_conn_row_t  *row;

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        row = sluice_conn_row(place, i);

        if (sluice_conn_upper(row) != place->fingerprint) {
            continue;
        }

        *v = sluice_load16(&row->word);

        if (sluice_conn_standing(*v, place->fingerprint)) {
            return row;
        }
    }

    return NULL;
}


/*
 * The loads come after the raise, or the compare-and-swap of the word, that
 * stands before them in the program: both are full barriers, and pair with
 * each other.  No column is torn: on x86-64 an aligned load of 16 bytes is no
 * worse than two of 8.
 */

#if defined(__x86_64__) && !defined(SLUICE_TSAN)

uint32_t
sluice_conn_in_flight(const sluice_conn_row_t *row)
{
    __m128i         x, sum, low;
    unsigned        i;
    const __m128i  *p;

    /* the compiler's barrier: the CPU does not reorder loads */

    __atomic_signal_fence(__ATOMIC_SEQ_CST);

    p = (const __m128i *) row->in_flight;
    low = _mm_set1_epi32(0xffff);
    sum = _mm_setzero_si128();

    for (i = 0; i < SLUICE_SLOTS / 8; i++) {
        x = _mm_load_si128(&p[i]);
        sum = _mm_add_epi32(sum, _mm_and_si128(x, low));
        sum = _mm_add_epi32(sum, _mm_srli_epi32(x, 16));
    }

    __atomic_signal_fence(__ATOMIC_SEQ_CST);

    sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1));

    return (uint32_t) _mm_cvtsi128_si32(sum);
}

#else

uint32_t
sluice_conn_in_flight(const sluice_conn_row_t *row)
{
    unsigned                   i;
    uint64_t                   four, even, odd;
    const sluice_conn_four_t  *p;

    p = (const sluice_conn_four_t *) row->in_flight;
    even = 0;
    odd = 0;

    for (i = 0; i < SLUICE_SLOTS / 4; i++) {
        four = __atomic_load_n(&p[i], __ATOMIC_SEQ_CST);
        even += four & 0x0000ffff0000ffffull;
        odd += (four >> 16) & 0x0000ffff0000ffffull;
    }

    return (uint32_t) even + (uint32_t) (even >> 32)
           + (uint32_t) odd + (uint32_t) (odd >> 32);
}

#endif


/* before anything is looked at that decides; false: no more can be counted */

static inline bool
sluice_conn_raise(sluice_conn_row_t *row, unsigned slot)
{
    uint16_t  n;

    n = __atomic_load_n(&row->in_flight[slot], __ATOMIC_RELAXED);

    if (n == UINT16_MAX) {
        return false;
    }

    __atomic_store_n(&row->in_flight[slot], (uint16_t) (n + 1),
                     __ATOMIC_SEQ_CST);

    return true;
}


static inline void
sluice_conn_lower(sluice_conn_row_t *row, unsigned slot)
{
    uint16_t  n;

    n = __atomic_load_n(&row->in_flight[slot], __ATOMIC_RELAXED);

    if (n != 0) {
        __atomic_store_n(&row->in_flight[slot], (uint16_t) (n - 1),
                         __ATOMIC_RELEASE);
    }
}


/* with our column raised in a row that is the key's: may it stay? */

static inline sluice_conn_result_t
sluice_conn_decide(sluice_conn_row_t *row, uint32_t max, unsigned slot,
    sluice_conn_hold_t *hold)
{
    hold->seen = sluice_conn_in_flight(row);

    if (hold->seen > max) {
        sluice_conn_lower(row, slot);
        return SLUICE_CONN_REFUSED;
    }

    return SLUICE_CONN_PASSED;
}


/* the key stands in that row.  CONTENDED: it no longer does, look again */

static sluice_conn_result_t
sluice_conn_enter(sluice_conn_row_t *row, sluice_u128_t v, uint32_t max,
    unsigned slot, sluice_conn_hold_t *hold)
{
    sluice_u128_t  final;

    final = sluice_conn_pack(sluice_conn_fp(v), SLUICE_CONN_FINAL, 0, 0);

    /* it need not go, whatever became of the one who looked */

    if (v != final && !sluice_cas16(&row->word, &v, final)) {
        return SLUICE_CONN_CONTENDED;
    }

    sluice_fault("conn.take.found");

    /* who is refused anyway writes nothing, and is in nobody's way */

    hold->seen = sluice_conn_in_flight(row);

    if (hold->seen >= max) {
        return (sluice_load16(&row->word) == final) ? SLUICE_CONN_REFUSED
                                                    : SLUICE_CONN_CONTENDED;
    }

    if (!sluice_conn_raise(row, slot)) {
        return SLUICE_CONN_REFUSED;
    }

    sluice_fault("conn.take.raised");

    if (sluice_load16(&row->word) != final) {
        sluice_conn_lower(row, slot);
        return SLUICE_CONN_CONTENDED;
    }

    return sluice_conn_decide(row, max, slot, hold);
}


/*
 * Which row the key may have: one that is free, of the bucket with more of
 * them, else one whose key has nothing in flight.  NULL: none, and *result
 * says whether that may change at once.
 */

static sluice_conn_row_t *
sluice_conn_choose(const sluice_conn_place_t *place, uint64_t now,
    unsigned turn, sluice_u128_t *seen, sluice_conn_result_t *result)
{
    unsigned             i, k, pass, room[2];
    sluice_u128_t        v[SLUICE_CONN_PLACES];
    sluice_conn_kind_t   kind[SLUICE_CONN_PLACES];

    *result = SLUICE_CONN_FULL;
    room[0] = 0;
    room[1] = 0;

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        v[i] = sluice_load16(&sluice_conn_row(place, i)->word);
        kind[i] = sluice_conn_kind(v[i], now);
        room[i / SLUICE_CONN_BUCKET] += (kind[i] == SLUICE_CONN_ROW_FREE);

        /* the key came since, or somebody is about to make room */

        if (sluice_conn_standing(v[i], place->fingerprint)) {
            *result = SLUICE_CONN_CONTENDED;
            return NULL;
        }

        if (kind[i] == SLUICE_CONN_ROW_PENDING) {
            *result = SLUICE_CONN_CONTENDED;
        }
    }

    i = (room[1] > room[0]) ? SLUICE_CONN_BUCKET : 0;

    for (pass = SLUICE_CONN_ROW_FREE; pass <= SLUICE_CONN_ROW_STANDING; pass++)
    {
        for (k = 0; k < SLUICE_CONN_PLACES; k++, i++) {
            i %= SLUICE_CONN_PLACES;

            if (kind[i] == pass
                && sluice_conn_in_flight(sluice_conn_row(place, i)) == 0)
            {
                *seen = v[i];
                return sluice_conn_row(place, i);
            }
        }

        /* not always the same one, for which all would fight */

        i = turn;
    }

    return NULL;
}


/*
 * Takes a row from the key that has it, if nothing is in flight there; *v
 * becomes what stands there then.  Who comes in from now on finds the word
 * changed; who had come in before is seen in the columns.
 */

static bool
sluice_conn_evict(sluice_conn_t *conn, sluice_conn_row_t *row,
    sluice_u128_t *v, uint64_t now)
{
    sluice_u128_t  leaving, final;

    leaving = sluice_conn_unfinished(conn, sluice_conn_fp(*v),
                                     SLUICE_CONN_LEAVING, now);

    if (!sluice_cas16(&row->word, v, leaving)) {
        return false;
    }

    sluice_fault("conn.insert.leaving");

    *v = leaving;

    if (sluice_conn_in_flight(row) == 0) {
        return true;
    }

    final = sluice_conn_pack(sluice_conn_fp(leaving), SLUICE_CONN_FINAL, 0, 0);

    (void) sluice_cas16(&row->word, &leaving, final);

    return false;
}


/*
 * The second look: with ours in place, another tentative entry of the key is
 * taken out, and a row where it stands means that ours is not wanted.
 */

static bool
sluice_conn_alone(const sluice_conn_place_t *place,
    const sluice_conn_row_t *at)
{
    unsigned            i, turn;
    sluice_u128_t       v;
    sluice_conn_row_t  *row;

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        row = sluice_conn_row(place, i);

        if (row == at) {
            continue;
        }

        v = sluice_load16(&row->word);

        for (turn = 0;
             v != 0 && sluice_conn_fp(v) == place->fingerprint;
             turn++)
        {
            if (sluice_conn_standing(v, place->fingerprint)
                || turn == SLUICE_CONN_TRIES)
            {
                return false;
            }

            if (sluice_cas16(&row->word, &v, 0)) {
                break;
            }
        }
    }

    return true;
}


/* the key stands nowhere.  CONTENDED: somebody was faster, look again */

static __attribute__((noinline)) sluice_conn_result_t
sluice_conn_insert(sluice_conn_t *conn, const sluice_conn_place_t *place,
    uint32_t max, unsigned slot, sluice_conn_row_t **at,
    sluice_conn_hold_t *hold)
{
    uint64_t               now;
    sluice_u128_t          seen, mine, final;
    sluice_conn_row_t     *row;
    sluice_conn_result_t   result;

    now = conn->clock();

    row = sluice_conn_choose(place, now, (unsigned) conn->nonce, &seen,
                             &result);
    if (row == NULL) {
        return result;
    }

    *at = row;

    if (sluice_conn_kind(seen, now) == SLUICE_CONN_ROW_STANDING
        && !sluice_conn_evict(conn, row, &seen, now))
    {
        return SLUICE_CONN_CONTENDED;
    }

    mine = sluice_conn_unfinished(conn, place->fingerprint,
                                  SLUICE_CONN_TENTATIVE, now);

    if (!sluice_cas16(&row->word, &seen, mine)) {
        return SLUICE_CONN_CONTENDED;
    }

    sluice_fault("conn.insert.tentative");

    if (!sluice_conn_alone(place, row)) {
        (void) sluice_cas16(&row->word, &mine, 0);
        return SLUICE_CONN_CONTENDED;
    }

    sluice_fault("conn.insert.looked");

    /* raised first, so that it is never final with nobody in it */

    if (!sluice_conn_raise(row, slot)) {
        (void) sluice_cas16(&row->word, &mine, 0);
        return SLUICE_CONN_REFUSED;
    }

    sluice_fault("conn.insert.raised");

    final = sluice_conn_pack(place->fingerprint, SLUICE_CONN_FINAL, 0, 0);

    if (!sluice_cas16(&row->word, &mine, final)) {
        sluice_conn_lower(row, slot);
        return SLUICE_CONN_CONTENDED;
    }

    sluice_fault("conn.insert.final");

    conn->columns[slot].inserted++;

    return sluice_conn_decide(row, max, slot, hold);
}


static inline void
sluice_conn_count(sluice_conn_column_t *column, sluice_conn_result_t result)
{
    switch (result) {

    case SLUICE_CONN_PASSED:
        column->passed++;
        break;

    case SLUICE_CONN_REFUSED:
        column->refused++;
        break;

    case SLUICE_CONN_FULL:
        column->full++;
        break;

    default:
        column->contended++;
        break;
    }
}


sluice_conn_result_t
sluice_conn_take(sluice_conn_t *conn, sluice_hash_t key, uint32_t max,
    unsigned slot, sluice_conn_hold_t *hold)
{
    unsigned               turn;
    sluice_u128_t          v;
    sluice_conn_row_t     *row;
    sluice_conn_place_t    place;
    sluice_conn_result_t   result;

    sluice_conn_locate(conn, key, &place);

    hold->row = 0;
    hold->seen = 0;
    result = (max != 0) ? SLUICE_CONN_CONTENDED : SLUICE_CONN_REFUSED;

    for (turn = 0;
         result == SLUICE_CONN_CONTENDED && turn < SLUICE_CONN_TRIES;
         turn++)
    {
        row = sluice_conn_find(&place, &v);

        result = (row != NULL)
                 ? sluice_conn_enter(row, v, max, slot, hold)
                 : sluice_conn_insert(conn, &place, max, slot, &row, hold);

        if (result == SLUICE_CONN_PASSED) {
            hold->row = (uint32_t) (row - conn->rows);
        }
    }

    sluice_conn_count(&conn->columns[slot], result);

    return result;
}


void
sluice_conn_give(sluice_conn_t *conn, unsigned slot,
    const sluice_conn_hold_t *hold)
{
    /* a slot that was released has given back all it held */

    if (slot >= SLUICE_SLOTS) {
        return;
    }

    /* our column is not zero until then: the row is no other key's */

    sluice_conn_lower(&conn->rows[hold->row], slot);
}
