
/*
 * What is in flight by key: the decision, rows that are taken over, and, one
 * thread after the other, what happens when a rival comes in between.
 *
 * conn.c is included for its statics, and with its fault points, which are
 * where the rivals come in here.
 */

#define SLUICE_FAULTS

#include "conn.c"
#include "util.h"

#include <unistd.h>


#define TEST_SLOT  3
#define TEST_MAX   3


static uint64_t        test_now;
static sluice_error_t  test_error;

/* a rival: comes once, at that point */
static const char     *test_point;
static void          (*test_rival)(void);
static sluice_conn_t  *test_conn;


void
sluice_fault_pass(const char *name)
{
    if (test_point != NULL && strcmp(test_point, name) == 0) {
        test_point = NULL;
        test_rival();
    }
}


static void
test_at(sluice_conn_t *conn, const char *point, void (*rival)(void))
{
    test_conn = conn;
    test_point = point;
    test_rival = rival;
}


/* it is read between the search for the key and the one for a row */

static uint64_t
test_clock(void)
{
    sluice_fault_pass("clock");

    return test_now;
}


static void
test_open(util_dir_t *d, sluice_conn_t *conn)
{
    sluice_conn_t  former;

    assert_int_equal(sluice_conn_open(&d->dir, "c", SLUICE_CONN_BUCKETS_MIN
                                      * SLUICE_CONN_BUCKET
                                      * sizeof(sluice_conn_row_t),
                                      conn, &former, &test_error), SLUICE_OK);

    /* where the keys stand is the same each time */

    memset(conn->file.header.key, 0x5a, 16);
    conn->clock = test_clock;
    test_now = 50000;
    test_point = NULL;
}


static sluice_hash_t
test_key(const sluice_conn_t *conn, uint64_t n)
{
    return sluice_conn_hash(conn, &n, sizeof(n));
}


static sluice_conn_result_t
test_take(sluice_conn_t *conn, uint64_t key, uint32_t max, unsigned slot,
    sluice_conn_hold_t *hold)
{
    sluice_conn_hold_t  unused;

    return sluice_conn_take(conn, test_key(conn, key), max, slot,
                            hold != NULL ? hold : &unused);
}


#define passes(key, max, slot, hold)                                          \
    assert_int_equal(test_take(&conn, key, max, slot, hold),                  \
                     SLUICE_CONN_PASSED)
#define refuses(key, max, slot)                                               \
    assert_int_equal(test_take(&conn, key, max, slot, NULL),                  \
                     SLUICE_CONN_REFUSED)


/* how many rows have the key's fingerprint, and the one that does */

static unsigned
test_rows(const sluice_conn_t *conn, uint64_t key, sluice_conn_row_t **at)
{
    unsigned             i, n;
    sluice_conn_row_t   *row;
    sluice_conn_place_t  place;

    sluice_conn_locate(conn, test_key(conn, key), &place);
    n = 0;

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        row = sluice_conn_row(&place, i);

        if (row->word != 0 && sluice_conn_fp(row->word) == place.fingerprint)
        {
            n++;

            if (at != NULL) {
                *at = row;
            }
        }
    }

    return n;
}


static uint64_t
test_sum(const sluice_conn_t *conn)
{
    uint64_t  i, sum;

    sum = 0;

    for (i = 0; i < conn->nbuckets * SLUICE_CONN_BUCKET; i++) {
        sum += sluice_conn_in_flight(&conn->rows[i]);
    }

    return sum;
}


/* every row of the key's but `left` of them is another one's, in use */

static void
test_fill(sluice_conn_t *conn, uint64_t key, unsigned left)
{
    unsigned             i;
    sluice_conn_row_t   *row;
    sluice_conn_place_t  place;

    sluice_conn_locate(conn, test_key(conn, key), &place);

    for (i = left; i < SLUICE_CONN_PLACES; i++) {
        row = sluice_conn_row(&place, i);
        row->word = sluice_conn_pack(1000 + i, SLUICE_CONN_FINAL, 0, 0);
        row->in_flight[200] = 1;
    }
}


static void
test_exact(void **state)
{
    unsigned            i;
    util_dir_t         *d = *state;
    sluice_conn_t       conn;
    sluice_conn_hold_t  hold[SLUICE_SLOTS], other;

    test_open(d, &conn);

    /* over all slots, the first and the last one too */

    for (i = 0; i < SLUICE_SLOTS; i++) {
        passes(1, SLUICE_SLOTS, i, &hold[i]);
        assert_int_equal(hold[i].seen, i + 1);
        assert_int_equal(hold[i].row, hold[0].row);
    }

    for (i = 0; i < SLUICE_SLOTS; i++) {
        refuses(1, SLUICE_SLOTS, i);
    }

    assert_int_equal(test_take(&conn, 1, 7, 0, &other), SLUICE_CONN_REFUSED);
    assert_int_equal(other.seen, SLUICE_SLOTS);

    /* another key has a limit of its own */

    passes(2, 1, 0, &other);
    refuses(2, 1, 9);
    assert_int_not_equal(other.row, hold[0].row);

    /* one given back is one to be had, by whoever it is */

    sluice_conn_give(&conn, 17, &hold[17]);
    passes(1, SLUICE_SLOTS, 255, &hold[17]);
    refuses(1, SLUICE_SLOTS, 17);
    assert_int_equal(conn.rows[hold[0].row].in_flight[255], 2);
    assert_int_equal(conn.rows[hold[0].row].in_flight[17], 0);
    sluice_conn_give(&conn, 255, &hold[17]);

    for (i = 0; i < SLUICE_SLOTS; i++) {
        if (i != 17) {
            sluice_conn_give(&conn, i, &hold[i]);
        }
    }

    assert_int_equal(test_sum(&conn), 1);
    sluice_conn_give(&conn, 0, &other);
    assert_int_equal(test_sum(&conn), 0);

    /* none less than none */

    sluice_conn_give(&conn, 0, &other);
    assert_int_equal(test_sum(&conn), 0);

    /* nobody's column would be the next row's word */

    other.row = 0;
    conn.rows[1].word = 7;
    sluice_conn_give(&conn, SLUICE_SLOTS, &other);
    assert_true(conn.rows[1].word == 7);
    conn.rows[1].word = 0;

    /* a plan that allows nothing takes no row either */

    refuses(3, 0, 0);
    assert_int_equal(test_rows(&conn, 3, NULL), 0);

    assert_int_equal(conn.columns[0].passed, 2);
    assert_int_equal(conn.columns[0].refused, 3);
    assert_int_equal(conn.columns[0].inserted, 2);
    assert_int_equal(conn.columns[255].passed, 2);
    assert_int_equal(conn.columns[17].refused, 2);
    assert_int_equal(conn.columns[17].contended, 0);
    assert_int_equal(conn.columns[17].full, 0);

    sluice_conn_close(&d->dir, &conn);
}


/* columns are added up without running into each other */

static void
test_sums(void **state)
{
    uint32_t           sum;
    uint64_t           seed;
    unsigned           turn, i;
    sluice_conn_row_t  row;

    (void) state;

    seed = util_seed();
    memset(&row, 0, sizeof(row));

    for (turn = 0; turn < 2000; turn++) {
        sum = 0;

        for (i = 0; i < SLUICE_SLOTS; i++) {
            row.in_flight[i] = (turn == 0) ? UINT16_MAX
                               : util_random(&seed) % 3 == 0
                               ? (uint16_t) util_random(&seed) : 0;
            sum += row.in_flight[i];
        }

        assert_int_equal(sluice_conn_in_flight(&row), sum);
    }
}


/* against a model that has a row for each key */

#define TEST_KEYS   24
#define TEST_HOLDS  40

static void
test_model(void **state)
{
    uint64_t            seed, i, key;
    unsigned            slot, n, k, kinds, count[TEST_KEYS];
    uint32_t            max;
    util_dir_t         *d = *state;
    sluice_conn_t       conn;
    sluice_conn_hold_t  hold;

    struct {
        uint64_t            key;
        unsigned            slot;
        sluice_conn_hold_t  hold;
    } held[TEST_HOLDS];

    test_open(d, &conn);
    conn.nbuckets = 16;
    memset(count, 0, sizeof(count));
    seed = util_seed();
    kinds = 0;
    n = 0;

    for (i = 0; i < 200000; i++) {

        if (n == TEST_HOLDS || (n > 0 && util_random(&seed) % 2 == 0)) {
            k = (unsigned) (util_random(&seed) % n);
            sluice_conn_give(&conn, held[k].slot, &held[k].hold);
            count[held[k].key]--;
            held[k] = held[--n];
            continue;
        }

        key = util_random(&seed) % (i % 3 == 0 ? 3 : TEST_KEYS);
        max = (uint32_t) (util_random(&seed) % 5);
        slot = (unsigned) (util_random(&seed) % SLUICE_SLOTS);

        switch (test_take(&conn, key, max, slot, &hold)) {

        case SLUICE_CONN_PASSED:
            assert_true(count[key] < max);
            count[key]++;
            assert_int_equal(hold.seen, count[key]);
            held[n].key = key;
            held[n].slot = slot;
            held[n++].hold = hold;
            kinds |= 1;
            break;

        case SLUICE_CONN_REFUSED:
            assert_true(count[key] >= max);
            kinds |= 2;
            break;

        default:
            fail_msg("seed %llu, operation %llu",
                     (unsigned long long) util_seed(),
                     (unsigned long long) i);
        }

        assert_true(test_rows(&conn, key, NULL) <= 1);
        assert_int_equal(test_sum(&conn), n);
    }

    assert_int_equal(kinds, 3);

    sluice_conn_close(&d->dir, &conn);
}


/* a row that is in use is its key's; one that is not may be taken over */

static void
test_reused(void **state)
{
    uint64_t             key;
    unsigned             i;
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_row_t   *row, *again;
    sluice_conn_hold_t   hold, other;
    sluice_conn_place_t  place;

    test_open(d, &conn);

    passes(1, TEST_MAX, TEST_SLOT, &hold);
    passes(1, TEST_MAX, 8, &other);
    row = &conn.rows[hold.row];

    /* many more keys than rows, one after the other */

    for (key = 100; key < 3000; key++) {
        passes(key, 1, TEST_SLOT, &other);
        assert_ptr_not_equal(&conn.rows[other.row], row);
        sluice_conn_give(&conn, TEST_SLOT, &other);
    }

    assert_int_equal(conn.columns[TEST_SLOT].inserted, 2901);
    assert_int_equal(test_rows(&conn, 1, &again), 1);
    assert_ptr_equal(again, row);
    assert_int_equal(sluice_conn_in_flight(row), 2);
    passes(1, TEST_MAX, 9, &other);
    refuses(1, TEST_MAX, 9);

    /* given back to the same row, and that one is free for others then */

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sluice_conn_give(&conn, i, &hold);
    }

    assert_int_equal(test_sum(&conn), 0);
    sluice_conn_locate(&conn, test_key(&conn, 1), &place);

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        assert_int_not_equal((uint64_t) sluice_conn_row(&place, i)->word, 0);
    }

    for (key = 3000; test_rows(&conn, 1, NULL) == 1; key++) {
        assert_in_range(key, 3000, 6000);
        passes(key, 1, TEST_SLOT, &other);
        sluice_conn_give(&conn, TEST_SLOT, &other);
    }

    passes(1, 1, TEST_SLOT, &hold);

    sluice_conn_close(&d->dir, &conn);
}


/* free ones first, of the emptier bucket */

static void
test_emptier(void **state)
{
    uint64_t             key;
    unsigned             b, i, used[2];
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_hold_t   hold;
    sluice_conn_place_t  place;

    test_open(d, &conn);

    for (key = 0; key < 40; key++) {
        sluice_conn_locate(&conn, test_key(&conn, key), &place);
        assert_ptr_not_equal(place.bucket[0], place.bucket[1]);

        for (b = 0; b < 2; b++) {
            for (used[b] = 0, i = 0; i < SLUICE_CONN_BUCKET; i++) {
                used[b] += (place.bucket[b][i].word != 0);
            }
        }

        passes(key, 1, TEST_SLOT, &hold);

        if (used[0] != used[1]) {
            b = (used[1] < used[0]);
            assert_true(&conn.rows[hold.row] >= place.bucket[b]
                        && &conn.rows[hold.row]
                           < place.bucket[b] + SLUICE_CONN_BUCKET);
        }
    }

    sluice_conn_close(&d->dir, &conn);
}


static void
test_full(void **state)
{
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_row_t   *row;
    sluice_conn_hold_t   hold;
    sluice_conn_place_t  place;

    test_open(d, &conn);
    test_fill(&conn, 1, 0);

    assert_int_equal(test_take(&conn, 1, 5, TEST_SLOT, &hold),
                     SLUICE_CONN_FULL);
    assert_int_equal(conn.columns[TEST_SLOT].full, 1);
    assert_int_equal(conn.columns[TEST_SLOT].contended, 0);
    assert_int_equal(test_sum(&conn), SLUICE_CONN_PLACES);
    assert_int_equal(test_rows(&conn, 1, NULL), 0);

    /* in whichever row there is room again */

    sluice_conn_locate(&conn, test_key(&conn, 1), &place);
    row = sluice_conn_row(&place, 6);
    row->in_flight[200] = 0;

    passes(1, 1, TEST_SLOT, &hold);
    assert_ptr_equal(&conn.rows[hold.row], row);

    /* a free word over a column of somebody's is no place either */

    sluice_conn_give(&conn, TEST_SLOT, &hold);
    row->word = 0;
    row->in_flight[77] = 1;
    assert_int_equal(test_take(&conn, 1, 5, TEST_SLOT, &hold),
                     SLUICE_CONN_FULL);

    sluice_conn_close(&d->dir, &conn);
}


static void
test_saturated(void **state)
{
    unsigned            i;
    util_dir_t         *d = *state;
    sluice_conn_t       conn;
    sluice_conn_hold_t  hold;

    test_open(d, &conn);

    passes(1, UINT32_MAX, TEST_SLOT, &hold);
    conn.rows[hold.row].in_flight[TEST_SLOT] = UINT16_MAX - 1;
    passes(1, UINT32_MAX, TEST_SLOT, &hold);
    assert_int_equal(hold.seen, UINT16_MAX);
    refuses(1, UINT32_MAX, TEST_SLOT);
    assert_int_equal(conn.rows[hold.row].in_flight[TEST_SLOT], UINT16_MAX);

    /* the others' columns have room */

    passes(1, UINT32_MAX, 4, &hold);
    assert_int_equal(hold.seen, 65536);

    sluice_conn_give(&conn, TEST_SLOT, &hold);
    passes(1, UINT32_MAX, TEST_SLOT, &hold);

    /* all of them full: as far as it counts */

    for (i = 0; i < SLUICE_SLOTS; i++) {
        conn.rows[hold.row].in_flight[i] = UINT16_MAX;
    }

    assert_int_equal(sluice_conn_in_flight(&conn.rows[hold.row]),
                     SLUICE_SLOTS * UINT16_MAX);
    refuses(1, UINT32_MAX, 9);

    sluice_conn_close(&d->dir, &conn);
}


/* what a process that died at work on a row leaves there */

static void
test_leaving(void **state)
{
    util_dir_t           *d = *state;
    sluice_u128_t         dead;
    sluice_conn_t         conn;
    sluice_conn_row_t    *row;
    sluice_conn_hold_t    hold, other;
    sluice_conn_place_t   place;

    test_open(d, &conn);

    /* of a key with two in flight: they count, and it is the key's again */

    passes(1, TEST_MAX, 8, &hold);
    passes(1, TEST_MAX, 9, &hold);
    row = &conn.rows[hold.row];
    dead = sluice_conn_unfinished(&conn, sluice_conn_fp(row->word),
                                  SLUICE_CONN_LEAVING, test_now);
    row->word = dead;

    passes(1, TEST_MAX, TEST_SLOT, &other);
    assert_ptr_equal(&conn.rows[other.row], row);
    assert_int_equal(sluice_conn_state(row->word), SLUICE_CONN_FINAL);
    refuses(1, TEST_MAX, TEST_SLOT);

    row->word = dead;
    sluice_conn_give(&conn, 8, &hold);
    passes(1, TEST_MAX, TEST_SLOT, &other);
    refuses(1, TEST_MAX, TEST_SLOT);
    assert_int_equal(test_rows(&conn, 1, NULL), 1);

    /* of another: not to be had for two seconds, nor ever if it is in use */

    test_fill(&conn, 2, 1);
    sluice_conn_locate(&conn, test_key(&conn, 2), &place);
    row = sluice_conn_row(&place, 0);
    dead = sluice_conn_unfinished(&conn, 0x1111, SLUICE_CONN_LEAVING, 50999);
    row->word = dead;

    test_now = 51999;
    assert_int_equal(test_take(&conn, 2, 5, TEST_SLOT, &hold),
                     SLUICE_CONN_CONTENDED);
    assert_int_equal(conn.columns[TEST_SLOT].contended, 1);
    assert_true(row->word == dead);

    test_now = 52000;
    row->in_flight[100] = 1;
    assert_int_equal(test_take(&conn, 2, 5, TEST_SLOT, &hold),
                     SLUICE_CONN_FULL);
    assert_true(row->word == dead);

    row->in_flight[100] = 0;
    passes(2, 5, TEST_SLOT, &hold);
    assert_ptr_equal(&conn.rows[hold.row], row);

    sluice_conn_close(&d->dir, &conn);
}


static void
test_tentative(void **state)
{
    unsigned              i;
    util_dir_t           *d = *state;
    sluice_u128_t         dead;
    sluice_conn_t         conn;
    sluice_conn_row_t    *row;
    sluice_conn_hold_t    hold;
    sluice_conn_place_t   place;

    test_open(d, &conn);

    /* of the key itself: whoever comes next takes it out */

    sluice_conn_locate(&conn, test_key(&conn, 1), &place);
    row = sluice_conn_row(&place, 7);
    row->word = sluice_conn_unfinished(&conn, place.fingerprint,
                                       SLUICE_CONN_TENTATIVE, test_now);
    passes(1, 1, TEST_SLOT, &hold);
    refuses(1, 1, 9);
    assert_int_equal(test_rows(&conn, 1, NULL), 1);
    assert_true(row->word == 0);

    /* of others: theirs for two seconds, then free for anybody */

    test_fill(&conn, 2, 0);
    sluice_conn_locate(&conn, test_key(&conn, 2), &place);

    for (i = 0; i < SLUICE_CONN_PLACES; i++) {
        row = sluice_conn_row(&place, i);
        dead = sluice_conn_unfinished(&conn, 0x1111 + i,
                                      SLUICE_CONN_TENTATIVE, 50999);
        row->word = dead;
        row->in_flight[200] = 0;
    }

    test_now = 51999;
    assert_int_equal(test_take(&conn, 2, 5, TEST_SLOT, &hold),
                     SLUICE_CONN_CONTENDED);
    test_now = 52000;
    passes(2, 5, TEST_SLOT, &hold);
    assert_int_equal(test_rows(&conn, 2, NULL), 1);

    /* a word that nobody writes is as good as a dead one's */

    passes(3, 1, TEST_SLOT, &hold);
    row = &conn.rows[hold.row];
    sluice_conn_give(&conn, TEST_SLOT, &hold);
    test_fill(&conn, 3, 0);
    row->word |= (sluice_u128_t) 0xff << 56;
    row->in_flight[200] = 0;
    passes(3, 1, TEST_SLOT, &hold);
    assert_ptr_equal(&conn.rows[hold.row], row);

    sluice_conn_close(&d->dir, &conn);
}


/* key 3, by decree, may have the rows of key 1 and no others */

static sluice_conn_result_t
test_take_beside(sluice_conn_t *conn, uint32_t max, unsigned slot)
{
    sluice_hash_t       key;
    sluice_conn_hold_t  hold;

    key = test_key(conn, 1);
    key.hi = 3;

    return sluice_conn_take(conn, key, max, slot, &hold);
}


/*
 * Between the search for the key's row and the raise it becomes another's:
 * the count must not stay there.
 */

static sluice_conn_row_t  *test_row;

static void
test_rival_renames(void)
{
    sluice_u128_t  v;

    v = test_row->word;
    assert_true(sluice_conn_evict(test_conn, test_row, &v, test_now));
    test_row->word = sluice_conn_pack(0xbeef, SLUICE_CONN_FINAL, 0, 0);
}

static void
test_rival_renames_used(void)
{
    test_rival_renames();
    test_row->in_flight[8] = 1;
}


static sluice_conn_result_t  test_result;

static void
test_rival_beside(void)
{
    test_result = test_take_beside(test_conn, 1, 8);
}


static void
test_row_lost(void **state)
{
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_hold_t   hold;

    test_open(d, &conn);

    passes(1, 1, TEST_SLOT, &hold);
    sluice_conn_give(&conn, TEST_SLOT, &hold);
    test_row = &conn.rows[hold.row];

    test_at(&conn, "conn.take.found", test_rival_renames);
    passes(1, 1, TEST_SLOT, &hold);
    assert_null(test_point);
    assert_ptr_not_equal(&conn.rows[hold.row], test_row);
    assert_int_equal(sluice_conn_in_flight(test_row), 0);
    assert_int_equal(sluice_conn_in_flight(&conn.rows[hold.row]), 1);
    refuses(1, 1, 9);

    /* refused by what was another key's count: it is looked at again */

    sluice_conn_give(&conn, TEST_SLOT, &hold);
    test_row = &conn.rows[hold.row];
    test_at(&conn, "conn.take.found", test_rival_renames_used);
    passes(1, 1, TEST_SLOT, &hold);
    assert_null(test_point);
    assert_int_equal(sluice_conn_in_flight(test_row), 1);

    /* raised by then: the row stays the key's */

    sluice_conn_give(&conn, TEST_SLOT, &hold);
    test_row = &conn.rows[hold.row];
    test_fill(&conn, 1, 0);
    test_row->word = sluice_conn_pack(test_key(&conn, 1).hi,
                                      SLUICE_CONN_FINAL, 0, 0);
    test_row->in_flight[200] = 0;

    test_at(&conn, "conn.take.raised", test_rival_beside);
    passes(1, 1, TEST_SLOT, &hold);
    assert_null(test_point);
    assert_int_equal(test_result, SLUICE_CONN_FULL);
    assert_ptr_equal(&conn.rows[hold.row], test_row);

    sluice_conn_close(&d->dir, &conn);
}


/* somebody comes in while the row's key is being put out: he stays */

static sluice_conn_hold_t  test_hold;

static void
test_rival_enters(void)
{
    assert_int_equal(test_take(test_conn, 1, TEST_MAX, 8, &test_hold),
                     SLUICE_CONN_PASSED);
}


/* he has raised and not looked yet: he is the one who must be seen */

static void
test_rival_raises(void)
{
    test_row->in_flight[8]++;
}


static void
test_not_empty(void **state)
{
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_row_t   *row;
    sluice_conn_hold_t   hold;

    test_open(d, &conn);

    passes(1, TEST_MAX, TEST_SLOT, &hold);
    sluice_conn_give(&conn, TEST_SLOT, &hold);
    row = &conn.rows[hold.row];
    test_row = row;

    test_fill(&conn, 2, 0);
    test_fill(&conn, 1, 0);
    row->word = sluice_conn_pack(test_key(&conn, 1).hi, SLUICE_CONN_FINAL, 0,
                                 0);
    row->in_flight[200] = 0;

    /* for another key there would be room in this row only */

    test_at(&conn, "conn.insert.leaving", test_rival_raises);
    assert_int_equal(test_take_beside(&conn, 1, TEST_SLOT),
                     SLUICE_CONN_FULL);
    assert_null(test_point);
    assert_int_equal(sluice_conn_state(row->word), SLUICE_CONN_FINAL);
    assert_int_equal(test_rows(&conn, 1, NULL), 1);
    row->in_flight[8] = 0;

    test_at(&conn, "conn.insert.leaving", test_rival_enters);
    assert_int_equal(test_take_beside(&conn, 1, TEST_SLOT),
                     SLUICE_CONN_FULL);
    assert_null(test_point);
    assert_ptr_equal(&conn.rows[test_hold.row], row);
    assert_int_equal(sluice_conn_in_flight(row), 1);
    assert_int_equal(sluice_conn_state(row->word), SLUICE_CONN_FINAL);

    sluice_conn_close(&d->dir, &conn);
}


/* the same key came into another row before it could see ours */

static unsigned  test_state;

static void
test_rival_stands(void)
{
    sluice_conn_place_t  place;

    sluice_conn_locate(test_conn, test_key(test_conn, 1), &place);
    test_row = sluice_conn_row(&place, 6);
    test_row->in_flight[8] = 1;
    test_row->word = sluice_conn_pack(place.fingerprint, test_state, 50, 1);

    if (test_state == SLUICE_CONN_FINAL) {
        test_row->word = sluice_conn_pack(place.fingerprint, test_state, 0, 0);
    }
}


/* the same key comes in at every point of our own insertion */

static void
test_same_key(void **state)
{
    unsigned             i;
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_hold_t   hold;

    static const char  *points[] = {
        "clock", "conn.insert.tentative", "conn.insert.looked",
        "conn.insert.raised", "conn.insert.final"
    };

    for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        test_open(d, &conn);

        test_at(&conn, points[i], test_rival_enters);
        passes(1, TEST_MAX, TEST_SLOT, &hold);
        assert_null(test_point);
        assert_int_equal(test_rows(&conn, 1, NULL), 1);
        assert_int_equal(hold.row, test_hold.row);
        assert_int_equal(test_sum(&conn), 2);
        passes(1, TEST_MAX, 10, NULL);
        refuses(1, TEST_MAX, 10);

        sluice_conn_close(&d->dir, &conn);
        assert_int_equal(unlinkat(d->dir.fd, "conn.c.1", 0), 0);
    }

    for (test_state = SLUICE_CONN_FINAL;
         test_state <= SLUICE_CONN_LEAVING;
         test_state++)
    {
        test_open(d, &conn);
        test_at(&conn, "conn.insert.tentative", test_rival_stands);
        passes(1, 2, TEST_SLOT, &hold);
        assert_null(test_point);
        assert_ptr_equal(&conn.rows[hold.row], test_row);
        assert_int_equal(test_rows(&conn, 1, NULL), 1);
        refuses(1, 2, 9);
        sluice_conn_close(&d->dir, &conn);
        assert_int_equal(unlinkat(d->dir.fd, "conn.c.1", 0), 0);
    }
}


/*
 * The key came, and went out again, before a row is chosen: the one where it
 * stands is not to be taken from it.
 */

static void
test_rival_comes(void)
{
    test_row->word = sluice_conn_pack(test_key(test_conn, 1).hi,
                                      SLUICE_CONN_FINAL, 0, 0);
}


static void
test_own_row(void **state)
{
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_hold_t   hold;
    sluice_conn_place_t  place;

    test_open(d, &conn);
    test_fill(&conn, 1, 1);
    sluice_conn_locate(&conn, test_key(&conn, 1), &place);
    test_row = sluice_conn_row(&place, 0);

    test_at(&conn, "clock", test_rival_comes);
    passes(1, 1, TEST_SLOT, &hold);
    assert_null(test_point);
    assert_ptr_equal(&conn.rows[hold.row], test_row);
    assert_int_equal(conn.columns[TEST_SLOT].inserted, 0);

    sluice_conn_close(&d->dir, &conn);
}


/* at the edge: one is in, or both are out, never both in */

static void
test_rival_takes(void)
{
    test_result = test_take(test_conn, 1, 1, 8, &test_hold);
}


static void
test_edge(void **state)
{
    unsigned             i;
    util_dir_t          *d = *state;
    sluice_conn_t        conn;
    sluice_conn_hold_t   hold;
    sluice_conn_result_t result;

    static const char  *points[] = {
        "conn.insert.tentative", "conn.insert.looked", "conn.insert.raised",
        "conn.insert.final", "conn.take.found", "conn.take.raised"
    };

    for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        test_open(d, &conn);

        if (i >= 4) {
            passes(1, 1, TEST_SLOT, &hold);
            sluice_conn_give(&conn, TEST_SLOT, &hold);
        }

        test_at(&conn, points[i], test_rival_takes);
        result = test_take(&conn, 1, 1, TEST_SLOT, &hold);
        assert_null(test_point);
        assert_true(result == SLUICE_CONN_PASSED
                    || result == SLUICE_CONN_REFUSED);
        assert_true(test_result == SLUICE_CONN_PASSED
                    || test_result == SLUICE_CONN_REFUSED);
        assert_int_equal(test_sum(&conn),
                         (result == SLUICE_CONN_PASSED)
                         + (test_result == SLUICE_CONN_PASSED));
        assert_true(test_sum(&conn) <= 1);

        sluice_conn_close(&d->dir, &conn);
        assert_int_equal(unlinkat(d->dir.fd, "conn.c.1", 0), 0);
    }

    /* another has raised, too, and not added up yet: he will see us as well */

    test_open(d, &conn);
    passes(1, 1, TEST_SLOT, &hold);
    sluice_conn_give(&conn, TEST_SLOT, &hold);
    test_row = &conn.rows[hold.row];

    test_at(&conn, "conn.take.raised", test_rival_raises);
    refuses(1, 1, TEST_SLOT);
    assert_null(test_point);
    assert_int_equal(test_row->in_flight[TEST_SLOT], 0);

    /* who is refused anyway does not even pass */

    test_at(&conn, "conn.take.raised", test_rival_raises);
    refuses(1, 1, TEST_SLOT);
    assert_non_null(test_point);
    test_point = NULL;
    sluice_conn_close(&d->dir, &conn);
    assert_int_equal(unlinkat(d->dir.fd, "conn.c.1", 0), 0);

    /* the row that the key is given at first */

    test_open(d, &conn);
    test_row = &conn.rows[hold.row];
    test_at(&conn, "conn.insert.final", test_rival_raises);
    refuses(1, 1, TEST_SLOT);
    assert_null(test_point);
    assert_int_equal(test_row->in_flight[TEST_SLOT], 0);
    assert_int_equal(test_row->in_flight[8], 1);
    sluice_conn_close(&d->dir, &conn);
}


/*
 * Stopped in the middle of an insertion for so long that another has had the
 * row, and a third: what was written then must not be taken for one's own.
 */

static void
test_rival_late(void)
{
    sluice_conn_t  other;

    test_now += 3000;
    other = *test_conn;
    test_row->word = sluice_conn_unfinished(&other,
                                            sluice_conn_fp(test_row->word),
                                            sluice_conn_state(test_row->word),
                                            test_now);
}


static void
test_late(void **state)
{
    util_dir_t           *d = *state;
    sluice_conn_t         conn;
    sluice_conn_hold_t    hold;
    sluice_conn_place_t   place;

    test_open(d, &conn);
    test_fill(&conn, 1, 1);
    sluice_conn_locate(&conn, test_key(&conn, 1), &place);
    test_row = sluice_conn_row(&place, 0);

    /* ours was taken out and the same key is tentative again, by another */

    test_at(&conn, "conn.insert.raised", test_rival_late);
    assert_int_equal(test_take(&conn, 1, 1, TEST_SLOT, &hold),
                     SLUICE_CONN_CONTENDED);
    assert_null(test_point);
    assert_int_equal(sluice_conn_state(test_row->word),
                     SLUICE_CONN_TENTATIVE);
    assert_int_equal(sluice_conn_in_flight(test_row), 0);

    sluice_conn_close(&d->dir, &conn);
}


/* no two unfinished words look alike: other views, later runs */

static int
test_nonce_order(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


#define TEST_RUN  (3u << SLUICE_CONN_EPOCH_SHIFT)

static void
test_nonces(void **state)
{
    uint64_t       *all, n;
    unsigned        i;
    util_dir_t     *d = *state;
    sluice_conn_t   conn, other;

    test_open(d, &conn);
    other = conn;

    all = malloc(2 * TEST_RUN * sizeof(uint64_t));
    assert_non_null(all);

    for (n = 0, i = 0; i < TEST_RUN; i++) {
        all[n++] = (uint64_t) sluice_conn_unfinished(&conn, 1,
                                                 SLUICE_CONN_LEAVING, 0);
        all[n++] = (uint64_t) sluice_conn_unfinished(&other, 1,
                                                 SLUICE_CONN_LEAVING, 0);
    }

    qsort(all, n, sizeof(uint64_t), test_nonce_order);

    while (--n > 0) {
        assert_int_not_equal(all[n], all[n - 1]);
    }

    free(all);
    sluice_conn_close(&d->dir, &conn);
}


/* a file full of noise: answers, whatever they are, and an end of each */

static void
test_noise(void **state)
{
    uint64_t            seed, i, k;
    unsigned            turn;
    uint8_t            *p;
    util_dir_t         *d = *state;
    sluice_conn_t       conn;
    sluice_conn_hold_t  hold;

    test_open(d, &conn);
    seed = util_seed();

    for (turn = 0; turn < 50; turn++) {

        for (i = 0; i < conn.nbuckets * SLUICE_CONN_BUCKET; i++) {
            p = (uint8_t *) &conn.rows[i];

            for (k = 0; k < sizeof(sluice_conn_row_t); k++) {
                p[k] = (turn % 2 && k >= 64) ? 0
                                             : (uint8_t) util_random(&seed);
            }
        }

        conn.control->epoch = util_random(&seed);

        for (i = 0; i < 500; i++) {
            test_now += 100;

            if (test_take(&conn, i % 50, 1 + i % 3, (unsigned) i % 256, &hold)
                == SLUICE_CONN_PASSED)
            {
                assert_in_range(hold.row, 0, conn.nbuckets
                                             * SLUICE_CONN_BUCKET - 1);
                sluice_conn_give(&conn, (unsigned) i % 256, &hold);
            }
        }
    }

    sluice_conn_close(&d->dir, &conn);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_exact),
        cmocka_unit_test(test_sums),
        util_test(test_model),
        util_test(test_reused),
        util_test(test_emptier),
        util_test(test_full),
        util_test(test_saturated),
        util_test(test_leaving),
        util_test(test_tentative),
        util_test(test_row_lost),
        util_test(test_not_empty),
        util_test(test_same_key),
        util_test(test_own_row),
        util_test(test_edge),
        util_test(test_late),
        util_test(test_nonces),
        util_test(test_noise)
    };

    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
