
/*
 * A lane from both sides: what is admitted has its room, what is pushed is
 * read once, in order and byte for byte, and a reader that finds anything
 * else says so and goes on.
 */

#include "guard.h"
#include "lane_reader.h"
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>


#define TEST_RING  SLUICE_LANE_RING_MIN


typedef struct {
    sluice_lane_t         lane;
    sluice_lane_reader_t  reader;
    sluice_error_t        error;
} test_lane_t;


static _Alignas(16) uint8_t  test_copy[SLUICE_RECORD_MAX];


static void
test_open(util_dir_t *d, test_lane_t *t, uint32_t entries)
{
    sluice_lane_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = TEST_RING;
    conf.entries = entries;
    conf.slot = 3;
    conf.node = "node";

    assert_int_equal(sluice_lane_create(&d->dir, &conf, &t->lane, &t->error),
                     SLUICE_OK);
    assert_int_equal(sluice_lane_reader_open(&d->dir, t->lane.file.name,
                                             &t->reader, &t->error),
                     SLUICE_OK);
}


static void
test_close(util_dir_t *d, test_lane_t *t)
{
    sluice_lane_reader_close(&d->dir, &t->reader);
    sluice_lane_close(&d->dir, &t->lane);
}


/* fills a record up to `size` bytes in the ring, a multiple of 8 from 104 */

static void
test_fill(sluice_record_t *record, size_t size)
{
    size_t   n;
    uint8_t  value[256];

    memset(value, (int) record->sequence, sizeof(value));

    while (record->length < size) {
        n = size - record->length;

        if (n > 256) {
            n = 128;
        }

        assert_true(n > 4);
        assert_true(sluice_record_add(record, SLUICE_ITEM_HOST, value, n - 4));
    }

    assert_int_equal(sluice_record_size(record), size);
}


static uint64_t
test_push(test_lane_t *t, size_t size)
{
    uint64_t         sequence;
    sluice_entry_t  *entry;

    entry = sluice_lane_admit(&t->lane, 1);
    assert_non_null(entry);

    sluice_lane_open(entry);
    test_fill(&entry->record, size);
    sequence = entry->sequence;
    sluice_lane_push(&t->lane, entry);

    return sequence;
}


static sluice_read_t
test_next(test_lane_t *t, const sluice_record_t **record, uint64_t *end)
{
    return sluice_lane_reader_next(&t->reader, record, end, &t->error);
}


/* the next record is this one, byte for byte */

static void
test_expect(test_lane_t *t, uint64_t sequence, size_t size)
{
    uint64_t                end;
    const sluice_record_t  *record;

    assert_int_equal(test_next(t, &record, &end), SLUICE_READ_RECORD);
    assert_int_equal(record->sequence, sequence);
    assert_int_equal(sluice_record_size(record), size);
    assert_int_equal(end, t->reader.position);

    sluice_record_init((sluice_record_t *) test_copy, sequence, 1);
    test_fill((sluice_record_t *) test_copy, size);
    sluice_record_seal((sluice_record_t *) test_copy,
                       t->lane.file.header.uuid, end - size);

    assert_memory_equal(record, test_copy, size);
    assert_true(sluice_lane_reader_advance(&t->reader, end));
}


static void
test_expect_empty(test_lane_t *t)
{
    uint64_t                end;
    const sluice_record_t  *record;

    assert_int_equal(test_next(t, &record, &end), SLUICE_READ_EMPTY);
}


static void
test_ring_write(void **state)
{
    size_t    i;
    uint8_t   ring[64], data[64];
    uint64_t  offset, len;

    (void) state;

    for (i = 0; i < 64; i++) {
        data[i] = (uint8_t) (i + 1);
    }

    for (offset = 0; offset < 64; offset++) {
        for (len = 0; len <= 64; len++) {
            memset(ring, 0, sizeof(ring));
            sluice_ring_write(ring, 64, offset, data, len);

            for (i = 0; i < 64; i++) {
                assert_int_equal(ring[(offset + i) % 64],
                                 i < len ? data[i] : 0);
            }
        }
    }
}


static void
test_made(void **state)
{
    test_lane_t   t;
    util_dir_t   *d = *state;

    test_open(d, &t, 8);

    assert_string_equal(t.reader.node, "node");
    assert_int_equal(t.reader.pid, getpid());
    assert_int_equal(t.lane.control->slot, 3);
    assert_int_equal(t.reader.ring_size, TEST_RING);
    assert_int_equal(t.reader.nentries, 8);
    assert_false(sluice_lane_reader_own(&t.reader));
    test_expect_empty(&t);

    test_close(d, &t);
}


static void
test_admit(void **state)
{
    unsigned         i;
    test_lane_t      t;
    util_dir_t      *d = *state;
    sluice_entry_t  *entry[8];

    test_open(d, &t, 8);

    for (i = 0; i < 8; i++) {
        entry[i] = sluice_lane_admit(&t.lane, 1);
        assert_non_null(entry[i]);
        assert_int_equal(entry[i]->sequence, 0);
        assert_int_equal(entry[i]->record.sequence, i + 1);
        assert_int_equal(entry[i]->record.time, 1);
        assert_int_equal(t.lane.control->open, i + 1);
        assert_int_equal(t.lane.control->reserved,
                         (i + 1) * SLUICE_RECORD_MAX);
        sluice_lane_open(entry[i]);
        assert_int_equal(entry[i]->sequence, i + 1);
    }

    assert_null(sluice_lane_admit(&t.lane, 1));
    assert_int_equal(t.lane.control->refused, 1);
    assert_int_equal(t.lane.control->sequence, 8);

    /* cancelled or pushed, its number is not given out again */

    sluice_lane_cancel(&t.lane, entry[3]);
    assert_int_equal(entry[3]->sequence, 0);
    sluice_lane_push(&t.lane, entry[5]);
    assert_int_equal(entry[5]->sequence, 0);

    entry[3] = sluice_lane_admit(&t.lane, 1);
    assert_int_equal(entry[3]->record.sequence, 9);
    assert_int_equal(entry[3]->mark, 0);
    sluice_lane_cancel(&t.lane, entry[3]);          /* that was never open */

    test_expect(&t, 6, sizeof(sluice_record_t));
    test_expect_empty(&t);

    for (i = 0; i < 8; i++) {
        if (i != 3 && i != 5) {
            sluice_lane_push(&t.lane, entry[i]);
        }
    }

    assert_int_equal(t.lane.control->open, 0);
    assert_int_equal(t.lane.control->reserved, 0);
    assert_int_equal(t.lane.control->pushed, 7);

    test_close(d, &t);
}


/* 511 words are odd, so the pushes begin at each of the ring's offsets */

static void
test_wrap(void **state)
{
    uint64_t      i, sequence;
    test_lane_t   t;
    util_dir_t   *d = *state;

    test_open(d, &t, 4);

    for (i = 0; i < TEST_RING / 8; i++) {
        assert_int_equal(t.lane.head % TEST_RING, t.lane.offset);
        assert_int_equal(t.lane.head, i * 4088);
        sequence = test_push(&t, 4088);
        test_expect(&t, sequence, 4088);
    }

    assert_int_equal(t.lane.offset, 0);
    test_expect_empty(&t);

    test_close(d, &t);
}


static void
test_full(void **state)
{
    unsigned         i, n;
    test_lane_t      t;
    util_dir_t      *d = *state;
    sluice_entry_t  *entry;

    test_open(d, &t, 8);

    for (n = 0; sluice_lane_room(&t.lane) >= SLUICE_RECORD_MAX; n++) {
        test_push(&t, 4096);
    }

    assert_int_equal(n, TEST_RING / 4096);
    assert_int_equal(sluice_lane_room(&t.lane), 0);
    assert_null(sluice_lane_admit(&t.lane, 1));
    assert_int_equal(t.lane.control->refused, 1);

    /* a byte less than the largest record is not enough room for one */

    __atomic_store_n(&t.lane.control->tail, 4088, __ATOMIC_RELEASE);
    assert_null(sluice_lane_admit(&t.lane, 1));

    __atomic_store_n(&t.lane.control->tail, 4096, __ATOMIC_RELEASE);
    entry = sluice_lane_admit(&t.lane, 1);
    assert_non_null(entry);
    assert_null(sluice_lane_admit(&t.lane, 1));
    sluice_lane_cancel(&t.lane, entry);

    __atomic_store_n(&t.lane.control->tail, 0, __ATOMIC_RELEASE);

    for (i = 1; i <= n; i++) {
        test_expect(&t, i, 4096);
    }

    test_expect_empty(&t);

    assert_true(sluice_lane_room(&t.lane) >= SLUICE_RECORD_MAX);
    assert_int_equal(test_push(&t, 4096), n + 2);
    test_expect(&t, n + 2, 4096);

    test_close(d, &t);
}


/*
 * The promise of admission: whatever is done in whatever order, an open
 * entry's push has room: it never reaches what was not taken over.
 */

#define TEST_OPEN  24

static void
test_reserved(void **state)
{
    size_t           size;
    uint64_t         seed, turn, taken, end, used;
    unsigned         n, i;
    test_lane_t      t;
    util_dir_t      *d = *state;
    sluice_read_t    rc;
    sluice_entry_t  *open[TEST_OPEN];

    const sluice_record_t  *record;

    static uint16_t  sizes[200001];         /* by sequence; 0: not pushed */

    test_open(d, &t, TEST_OPEN);
    seed = util_seed();
    memset(sizes, 0, sizeof(sizes));
    n = 0;
    taken = 0;

    for (turn = 0; turn < 200000; turn++) {

        switch (util_random(&seed) % 5) {

        case 0:
        case 1:
        case 2:
            open[n] = sluice_lane_admit(&t.lane, 1);

            if (open[n] != NULL) {
                sluice_lane_open(open[n]);
                n++;
            } else {
                assert_true(n == TEST_OPEN
                            || t.lane.head - t.lane.control->tail
                               + (n + 1) * 4096 > TEST_RING);
            }

            break;

        case 3:
            if (n != 0) {
                i = (unsigned) (util_random(&seed) % n);
                size = 104 + 8 * (util_random(&seed) % 500);

                if (util_random(&seed) % 8 == 0) {
                    sluice_lane_cancel(&t.lane, open[i]);

                } else {
                    size = (size < 112 && size > 104) ? 104 : size;
                    sizes[open[i]->sequence] = (uint16_t) size;
                    test_fill(&open[i]->record, size);
                    sluice_lane_push(&t.lane, open[i]);
                }

                open[i] = open[--n];
            }
            break;

        default:

            /* some records are read, of these some are taken over */

            for (i = util_random(&seed) % 6; i > 0; i--) {
                rc = test_next(&t, &record, &end);

                if (rc == SLUICE_READ_EMPTY) {
                    break;
                }

                assert_int_equal(rc, SLUICE_READ_RECORD);
                assert_int_equal(sluice_record_size(record),
                                 sizes[record->sequence]);
                assert_int_equal(record->crc,
                                 sluice_record_crc(record,
                                                   t.lane.file.header.uuid,
                                                   end - sizes[record
                                                               ->sequence]));
                sizes[record->sequence] = 0;
                taken = end;
            }

            if (util_random(&seed) % 2) {
                assert_true(sluice_lane_reader_advance(&t.reader, taken));
            }
        }

        used = t.lane.head - t.lane.control->tail;
        assert_true(used + t.lane.reserved <= TEST_RING);
        assert_int_equal(t.lane.reserved, n * 4096ull);
        assert_int_equal(t.lane.nfree, TEST_OPEN - n);
    }

    while (n != 0) {
        sluice_lane_cancel(&t.lane, open[--n]);
    }

    while (test_next(&t, &record, &end) == SLUICE_READ_RECORD) {
        assert_int_equal(sluice_record_size(record), sizes[record->sequence]);
        sizes[record->sequence] = 0;
    }

    /* every one that was pushed was read */

    for (turn = 0; turn < 200001; turn++) {
        assert_int_equal(sizes[turn], 0);
    }

    test_close(d, &t);
}


static void
test_impossible_tail(void **state)
{
    test_lane_t      t;
    util_dir_t      *d = *state;
    sluice_entry_t  *entry, *other;

    test_open(d, &t, 16);

    while (sluice_lane_room(&t.lane) >= 2 * SLUICE_RECORD_MAX) {
        test_push(&t, 4096);
    }

    entry = sluice_lane_admit(&t.lane, 1);
    sluice_lane_open(entry);

    /* a tail past the head, and one that went back */

    __atomic_store_n(&t.lane.control->tail, t.lane.head + 8,
                     __ATOMIC_RELEASE);
    assert_int_equal(sluice_lane_room(&t.lane), 0);
    assert_null(sluice_lane_admit(&t.lane, 1));

    __atomic_store_n(&t.lane.control->tail, UINT64_MAX, __ATOMIC_RELEASE);
    assert_null(sluice_lane_admit(&t.lane, 1));

    __atomic_store_n(&t.lane.control->tail, 4096, __ATOMIC_RELEASE);
    other = sluice_lane_admit(&t.lane, 1);
    assert_non_null(other);

    __atomic_store_n(&t.lane.control->tail, 0, __ATOMIC_RELEASE);
    assert_null(sluice_lane_admit(&t.lane, 1));

    /* both have had their room all the time */

    test_fill(&other->record, 4096);
    sluice_lane_push(&t.lane, other);
    test_fill(&entry->record, 4096);
    sluice_lane_push(&t.lane, entry);
    assert_int_equal(t.lane.head, TEST_RING + 4096);

    test_close(d, &t);
}


/* one byte of a record in the middle: it is skipped, the next one is found */

static void
test_damaged(void **state)
{
    size_t                  i, size;
    uint8_t                 raw[512];
    uint64_t                end, from, first, last;
    test_lane_t             t;
    util_dir_t             *d = *state;
    const sluice_record_t  *record;

    test_open(d, &t, 4);

    size = 160;

    for (i = 0; i < size; i++) {
        first = test_push(&t, 200);
        from = t.lane.offset;
        test_push(&t, size);
        last = test_push(&t, 336);

        t.lane.ring[(from + i) % TEST_RING] ^= 0x40;

        test_expect(&t, first, 200);

        assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_DAMAGED);
        assert_int_equal(t.reader.damage.position, t.reader.position - size);
        assert_int_equal(t.reader.damage.len, size);
        assert_non_null(t.reader.damage.reason);
        assert_int_equal(t.reader.skipped, (i + 1) * size);

        assert_true(sluice_lane_reader_raw(&t.reader,
                                           t.reader.damage.position, raw,
                                           t.reader.damage.len));
        assert_int_equal(raw[i], t.lane.ring[(from + i) % TEST_RING]);

        test_expect(&t, last, 336);
        assert_int_equal(t.lane.control->skipped, (i + 1) * size);
        test_expect_empty(&t);
    }

    test_close(d, &t);
}


/* a whole ring of noise: it is skipped, counted, and the lane goes on */

static void
test_noise(void **state)
{
    uint64_t                seed, end, skipped, i;
    test_lane_t             t;
    util_dir_t             *d = *state;
    sluice_read_t           rc;
    const sluice_record_t  *record;

    test_open(d, &t, 16);
    seed = util_seed();

    while (sluice_lane_room(&t.lane) >= SLUICE_RECORD_MAX) {
        test_push(&t, 4096);
    }

    for (i = 0; i < TEST_RING; i++) {
        t.lane.ring[i] = (uint8_t) util_random(&seed);
    }

    skipped = 0;

    while ((rc = test_next(&t, &record, &end)) == SLUICE_READ_DAMAGED) {
        skipped += t.reader.damage.len;
    }

    assert_int_equal(rc, SLUICE_READ_EMPTY);
    assert_int_equal(skipped, TEST_RING);
    assert_int_equal(t.reader.position, t.lane.head);
    assert_true(sluice_lane_reader_advance(&t.reader, t.reader.position));

    test_expect(&t, test_push(&t, 104), 104);

    test_close(d, &t);
}


/* whole records of the lap before do not validate at their place in this */

static void
test_former_lap(void **state)
{
    uint64_t                end, lap;
    test_lane_t             t;
    util_dir_t             *d = *state;
    const sluice_record_t  *record;

    test_open(d, &t, 4);

    for (lap = 0; lap < TEST_RING / 128; lap++) {
        test_expect(&t, test_push(&t, 128), 128);
    }

    assert_int_equal(t.lane.offset, 0);

    /* as if head were published before its bytes */

    __atomic_store_n(&t.lane.control->head, t.lane.head + 512,
                     __ATOMIC_RELEASE);

    assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_DAMAGED);
    assert_int_equal(t.reader.damage.len, 512);
    assert_string_equal(t.reader.damage.reason, "wrong checksum");

    test_close(d, &t);
}


static void
test_impossible_head(void **state)
{
    uint64_t                end, head, heads[4];
    unsigned                i;
    test_lane_t             t;
    util_dir_t             *d = *state;
    const sluice_record_t  *record;

    test_open(d, &t, 4);

    test_expect(&t, test_push(&t, 104), 104);
    test_expect(&t, test_push(&t, 104), 104);
    head = t.lane.head;

    heads[0] = head - 8;
    heads[1] = head + TEST_RING + 8;
    heads[2] = head + 4;
    heads[3] = UINT64_MAX - 7;

    for (i = 0; i < 4; i++) {
        __atomic_store_n(&t.lane.control->head, heads[i], __ATOMIC_RELEASE);
        assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_BROKEN);
        assert_non_null(strstr(t.error.text, "impossible head"));
        assert_int_equal(t.reader.position, head);
    }

    __atomic_store_n(&t.lane.control->head, head, __ATOMIC_RELEASE);
    test_expect(&t, test_push(&t, 104), 104);
    test_expect_empty(&t);

    test_close(d, &t);
}


/*
 * An impossible head at the time of opening.  One that is no multiple of 8
 * let the reader step past it and on through its own memory.
 */

static void
test_impossible_head_at_open(void **state)
{
    unsigned               i;
    uint64_t               head;
    test_lane_t            t;
    util_dir_t            *d = *state;
    sluice_status_t        status;
    sluice_lane_reader_t   reader;

    test_open(d, &t, 4);
    test_push(&t, 104);
    head = t.lane.head;

    for (i = 1; i < 8; i++) {
        __atomic_store_n(&t.lane.control->head, head + i, __ATOMIC_RELEASE);
        status = sluice_lane_reader_open(&d->dir, t.lane.file.name, &reader,
                                         &t.error);
        assert_int_equal(status, SLUICE_CORRUPT);
        assert_non_null(strstr(t.error.text, "impossible head"));
        assert_int_equal(reader.file.fd, -1);
    }

    __atomic_store_n(&t.lane.control->head, head, __ATOMIC_RELEASE);
    test_close(d, &t);
}


/* reading begins a ring before the head, and what was taken comes again */

static void
test_impossible_tail_at_open(void **state)
{
    unsigned      i, n;
    uint64_t      tails[3];
    test_lane_t   t;
    util_dir_t   *d = *state;

    test_open(d, &t, 16);

    for (n = 1; n <= TEST_RING / 4096 + 3; n++) {
        test_expect(&t, test_push(&t, 4096), 4096);
    }

    tails[0] = t.lane.head + 8;
    tails[1] = t.lane.head - TEST_RING - 8;
    tails[2] = t.lane.head - 4;

    for (i = 0; i < 3; i++) {
        sluice_lane_reader_close(&d->dir, &t.reader);
        __atomic_store_n(&t.lane.control->tail, tails[i], __ATOMIC_RELEASE);
        assert_int_equal(sluice_lane_reader_open(&d->dir, t.lane.file.name,
                                                 &t.reader, &t.error),
                         SLUICE_OK);

        for (n = 4; n <= TEST_RING / 4096 + 3; n++) {
            test_expect(&t, n, 4096);
        }

        test_expect_empty(&t);
    }

    test_close(d, &t);
}


/* more than the reader copies at a time */

static void
test_windows(void **state)
{
    uint64_t             first;
    unsigned             i, n, lap;
    test_lane_t          t;
    util_dir_t          *d = *state;
    sluice_lane_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = 1024 * 1024;
    conf.entries = 4;
    conf.node = "";

    assert_int_equal(sluice_lane_create(&d->dir, &conf, &t.lane, &t.error),
                     SLUICE_OK);
    assert_int_equal(sluice_lane_reader_open(&d->dir, t.lane.file.name,
                                             &t.reader, &t.error),
                     SLUICE_OK);

    for (lap = 0; lap < 5; lap++) {
        first = t.lane.sequence + 1;

        for (n = 0; sluice_lane_room(&t.lane) >= SLUICE_RECORD_MAX; n++) {
            test_push(&t, 104 + 64 * (n % 60));
        }

        for (i = 0; i < n; i++) {
            test_expect(&t, first + i, 104 + 64 * (i % 60));
        }

        test_expect_empty(&t);
    }

    test_close(d, &t);
}


static void
test_truncated(void **state)
{
    int                     fd;
    uint64_t                end;
    test_lane_t             t;
    util_dir_t             *d = *state;
    sluice_lane_reader_t    reader;
    const sluice_record_t  *record;

    sluice_guard_init();                    /* cmocka has handlers of its own */

    test_open(d, &t, 4);
    test_push(&t, 104);

    fd = openat(d->dir.fd, t.lane.file.name, O_RDWR);
    assert_int_not_equal(fd, -1);

    /* the ring is gone, then the control */

    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_BROKEN);
    assert_non_null(strstr(t.error.text, "truncated"));
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0,
                                              (sluice_record_t *) test_copy),
                     SLUICE_READ_DAMAGED);
    assert_int_equal(sluice_lane_reader_open(&d->dir, t.lane.file.name,
                                             &reader, &t.error),
                     SLUICE_CORRUPT);

    assert_int_equal(ftruncate(fd, 0), 0);
    t.reader.position = t.reader.head;
    assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_BROKEN);
    assert_false(sluice_lane_reader_advance(&t.reader, 0));
    assert_int_equal(sluice_lane_reader_retire(&d->dir, &t.reader),
                     SLUICE_BUSY);
    assert_int_equal(sluice_lane_reader_open(&d->dir, t.lane.file.name,
                                             &reader, &t.error),
                     SLUICE_CORRUPT);

    close(fd);
    sluice_lane_reader_close(&d->dir, &t.reader);
    sluice_file_close(&d->dir, &t.lane.file);
    free(t.lane.free);
}


/* what each moment of an entry's life leaves to the reader of a dead lane */

static void
test_entries(void **state)
{
    uint64_t          end;
    test_lane_t       t;
    util_dir_t       *d = *state;
    sluice_entry_t   *entry;
    sluice_record_t  *copy;

    const sluice_record_t  *record;

    copy = (sluice_record_t *) test_copy;
    test_open(d, &t, 2);

    /* admitted, not open: no trace */

    entry = sluice_lane_admit(&t.lane, 77);
    assert_ptr_equal(entry, &t.lane.entries[0]);
    sluice_record_add(&entry->record, SLUICE_ITEM_KEY, "k", 1);
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_EMPTY);

    /* open: aborted, with what was known */

    sluice_lane_open(entry);
    entry->record.status = 200;

    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_RECORD);
    assert_int_equal(copy->flags, SLUICE_RECORD_ABORTED);
    assert_int_equal(copy->sequence, 1);
    assert_int_equal(copy->time, 77);
    assert_int_equal(copy->status, 200);
    assert_int_equal(copy->length, 109);
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 1, copy),
                     SLUICE_READ_EMPTY);

    /* being pushed, the head unmoved: it is final */

    entry->mark = t.lane.head + 1;
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_RECORD);
    assert_int_equal(copy->flags, 0);

    /* published, not yet free: it is in the ring */

    sluice_lane_push(&t.lane, entry);
    entry->sequence = 1;
    assert_int_equal(test_next(&t, &record, &end), SLUICE_READ_RECORD);
    assert_int_equal(record->sequence, 1);
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_EMPTY);
    entry->sequence = 0;
    assert_true(sluice_lane_reader_advance(&t.reader, end));

    /* taken again: the mark of its former life does not count */

    entry = sluice_lane_admit(&t.lane, 78);
    assert_ptr_equal(entry, &t.lane.entries[0]);
    sluice_lane_open(entry);
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_RECORD);
    assert_int_equal(copy->flags, SLUICE_RECORD_ABORTED);
    assert_int_equal(copy->sequence, 2);

    /* damaged ones */

    entry->record.length = 50;
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_DAMAGED);
    assert_string_equal(t.reader.damage.reason, "impossible length");

    entry->record.length = sizeof(sluice_record_t);
    entry->record.sequence = 9;
    assert_int_equal(sluice_lane_reader_entry(&t.reader, 0, copy),
                     SLUICE_READ_DAMAGED);
    assert_string_equal(t.reader.damage.reason, "another sequence number");

    sluice_lane_cancel(&t.lane, entry);
    test_close(d, &t);
}


/* an entry is a record at any moment of its being built */

static void
test_entry_always_whole(void **state)
{
    unsigned         i;
    uint64_t         seed;
    test_lane_t      t;
    util_dir_t      *d = *state;
    sluice_entry_t  *entry;

    test_open(d, &t, 1);
    seed = util_seed();

    for (i = 0; i < 200; i++) {
        entry = sluice_lane_admit(&t.lane, 1);
        sluice_lane_open(entry);

        do {
            assert_int_equal(sluice_lane_reader_entry(&t.reader, 0,
                                                (sluice_record_t *) test_copy),
                             SLUICE_READ_RECORD);

        } while (sluice_record_add(&entry->record, SLUICE_ITEM_URI, test_copy,
                                   util_random(&seed) % 800));

        assert_int_equal(sluice_lane_reader_entry(&t.reader, 0,
                                               (sluice_record_t *) test_copy),
                         SLUICE_READ_RECORD);
        sluice_lane_cancel(&t.lane, entry);
    }

    test_close(d, &t);
}


static void
test_retire(void **state)
{
    char                   name[SLUICE_FILE_NAME_MAX];
    test_lane_t            t;
    util_dir_t            *d = *state;
    sluice_entry_t        *entry;
    sluice_lane_reader_t   other;

    test_open(d, &t, 2);
    strcpy(name, t.lane.file.name);

    entry = sluice_lane_admit(&t.lane, 1);
    sluice_lane_open(entry);
    test_push(&t, 104);

    /* its owner goes as a dead one does */

    sluice_file_close(&d->dir, &t.lane.file);
    free(t.lane.free);
    t.lane.file.map = NULL;

    assert_true(sluice_lane_reader_own(&t.reader));

    assert_int_equal(sluice_lane_reader_open(&d->dir, name, &other, &t.error),
                     SLUICE_OK);
    assert_false(sluice_lane_reader_own(&other));

    /* not drained; an open entry; somebody else has it open */

    assert_int_equal(sluice_lane_reader_retire(&d->dir, &t.reader),
                     SLUICE_BUSY);
    assert_true(sluice_lane_reader_advance(&t.reader, t.reader.control->head));
    assert_int_equal(sluice_lane_reader_retire(&d->dir, &t.reader),
                     SLUICE_BUSY);
    assert_int_equal(sluice_lane_reader_done(&d->dir, &t.reader), SLUICE_BUSY);
    assert_int_equal(util_dir_count(&d->dir, name, NULL), 1);

    sluice_lane_reader_close(&d->dir, &other);
    assert_int_equal(sluice_lane_reader_done(&d->dir, &t.reader), SLUICE_OK);
    assert_int_equal(util_dir_count(&d->dir, name, NULL), 0);

    sluice_lane_reader_close(&d->dir, &t.reader);
}


/* a lane that holds nothing goes with its owner, another is left */

static void
test_closed(void **state)
{
    test_lane_t   t, other;
    util_dir_t   *d = *state;

    test_open(d, &other, 2);
    sluice_lane_reader_close(&d->dir, &other.reader);
    test_open(d, &t, 2);
    sluice_lane_reader_close(&d->dir, &t.reader);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 2);
    sluice_lane_close(&d->dir, &t.lane);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 1);

    test_open(d, &t, 2);
    sluice_lane_reader_close(&d->dir, &t.reader);
    test_push(&t, 104);
    sluice_lane_close(&d->dir, &t.lane);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 2);

    test_open(d, &t, 2);
    sluice_lane_reader_close(&d->dir, &t.reader);
    sluice_lane_open(sluice_lane_admit(&t.lane, 1));
    sluice_lane_close(&d->dir, &t.lane);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 3);

    /* while a consumer has it open, that one is to remove it */

    test_open(d, &t, 2);
    sluice_lane_close(&d->dir, &t.lane);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 4);
    assert_true(sluice_lane_reader_own(&t.reader));
    assert_int_equal(sluice_lane_reader_retire(&d->dir, &t.reader),
                     SLUICE_OK);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 3);
    sluice_lane_reader_close(&d->dir, &t.reader);

    sluice_lane_close(&d->dir, &other.lane);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 2);
}


static int
test_die_with_lane(void *data)
{
    util_dir_t          *d = data;
    sluice_lane_t        lane;
    sluice_error_t       error;
    sluice_lane_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = TEST_RING;
    conf.entries = 2;
    conf.node = "";

    util_check(sluice_lane_create(&d->dir, &conf, &lane, &error)
               == SLUICE_OK);
    raise(SIGKILL);

    return 1;
}


static void
test_bound(void **state)
{
    int                  fd;
    char                 name[64];
    unsigned             i;
    test_lane_t          t;
    util_dir_t          *d = *state;
    sluice_lane_t        none;
    sluice_lane_conf_t   conf;

    /* an empty one of a dead owner is removed before they are counted */

    assert_int_equal(util_wait(util_fork(test_die_with_lane, d)), -1);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), 1);

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = TEST_RING;
    conf.entries = 2;
    conf.node = "";

    for (i = 0; i < SLUICE_LANES_MAX - 1; i++) {
        snprintf(name, sizeof(name), "lane.%u", i);
        fd = openat(d->dir.fd, name, O_RDWR|O_CREAT, 0600);
        close(fd);
    }

    assert_int_equal(sluice_lane_create(&d->dir, &conf, &t.lane, &t.error),
                     SLUICE_OK);
    assert_int_equal(util_dir_count(&d->dir, "lane.", NULL), SLUICE_LANES_MAX);
    assert_int_equal(sluice_lane_create(&d->dir, &conf, &none, &t.error),
                     SLUICE_FULL);
    sluice_lane_close(&d->dir, &t.lane);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_ring_write),
        util_test(test_made),
        util_test(test_admit),
        util_test(test_wrap),
        util_test(test_full),
        util_test(test_reserved),
        util_test(test_impossible_tail),
        util_test(test_damaged),
        util_test(test_noise),
        util_test(test_former_lap),
        util_test(test_impossible_head),
        util_test(test_impossible_head_at_open),
        util_test(test_impossible_tail_at_open),
        util_test(test_windows),
        util_test(test_truncated),
        util_test(test_entries),
        util_test(test_entry_always_whole),
        util_test(test_retire),
        util_test(test_closed),
        util_test(test_bound)
    };

    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
