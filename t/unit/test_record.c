
/*
 * The record: what is put in comes out, what is too much is cut and marked,
 * and what is malformed is refused with the right words.
 */

#include "record.h"
#include "tunnel.h"
#include "util.h"


typedef union {
    sluice_record_t  record;
    uint8_t          bytes[SLUICE_RECORD_MAX + 64];
} test_room_t;


static const uint8_t  test_uuid[16] = "0123456789abcdef";


static void
test_build(void **state)
{
    size_t                  offset;
    unsigned                tag;
    test_room_t             room;
    sluice_item_t           item;
    sluice_record_try_t     t;
    sluice_record_tunnel_t  tunnel = { 17, 7, SLUICE_TUNNEL_ORIGIN, { 0, 0 } };

    (void) state;

    memset(&room, 0xa5, sizeof(room));
    sluice_record_init(&room.record, 7, 1234567);

    assert_int_equal(room.record.sequence, 7);
    assert_int_equal(room.record.time, 1234567);
    assert_int_equal(room.record.outcome, SLUICE_OUTCOME_OPEN);
    assert_true(room.record.request_time == SLUICE_UNKNOWN_US);
    assert_true(room.record.first_byte == SLUICE_UNKNOWN_US);
    assert_int_equal(room.record.flags, 0);
    assert_null(sluice_record_check(&room.record, sizeof(sluice_record_t)));

    for (tag = 1; tag < SLUICE_ITEM_TRY; tag++) {
        assert_true(sluice_record_add(&room.record, tag,
                                      sluice_item_name(tag),
                                      strlen(sluice_item_name(tag))));
        assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));
    }

    memset(&t, 0x11, sizeof(t));
    t.status = 502;

    assert_true(sluice_record_add_try(&room.record, &t, "a", 1,
                                      "127.0.0.1:80", 12));
    assert_true(sluice_record_add_field(&room.record, "team", 4, "red", 3));
    assert_true(sluice_record_add_field(&room.record, "none", 4, NULL, 0));
    assert_true(sluice_record_add(&room.record, SLUICE_ITEM_PROXY, "eu1", 3));
    assert_true(sluice_record_add_tunnel(&room.record, &tunnel, "eu1", 3));
    tunnel.try = 0;
    tunnel.result = SLUICE_TUNNEL_DIRECT;
    assert_true(sluice_record_add_tunnel(&room.record, &tunnel, NULL, 0));
    assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));

    offset = 0;

    for (tag = 1; tag < SLUICE_ITEM_TRY; tag++) {
        assert_true(sluice_record_next(&room.record, &offset, &item));
        assert_int_equal(item.tag, tag);
        assert_int_equal(item.flags, 0);
        assert_int_equal(item.length, strlen(sluice_item_name(tag)));
        assert_memory_equal(item.data, sluice_item_name(tag), item.length);
    }

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.tag, SLUICE_ITEM_TRY);
    assert_int_equal(item.length, sizeof(t) + 1 + 12);
    assert_memory_equal(item.data, &t, sizeof(t));
    assert_int_equal(t.key_len, 1);
    assert_memory_equal(item.data + sizeof(t), "a127.0.0.1:80", 1 + 12);

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.tag, SLUICE_ITEM_FIELD);
    assert_int_equal(item.length, 8);
    assert_memory_equal(item.data, "\4teamred", 8);

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.length, 5);
    assert_memory_equal(item.data, "\4none", 5);

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.tag, SLUICE_ITEM_PROXY);
    assert_int_equal(item.length, 3);
    assert_memory_equal(item.data, "eu1", 3);

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.tag, SLUICE_ITEM_TUNNEL);
    assert_int_equal(item.length, sizeof(tunnel) + 3);
    assert_memory_equal(item.data, "\21\0\0\0\7\11\0\0eu1", 11);

    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.length, sizeof(tunnel));
    assert_memory_equal(item.data, &tunnel, sizeof(tunnel));

    assert_false(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(offset, room.record.length);
}


static void
test_names(void **state)
{
    unsigned  i;

    (void) state;

    for (i = 1; i < SLUICE_ITEM_TAGS; i++) {
        assert_non_null(sluice_item_name(i));
        assert_in_range(sluice_item_max(i), 1, 1024);
    }

    assert_null(sluice_item_name(0));
    assert_null(sluice_item_name(SLUICE_ITEM_TAGS));
    assert_null(sluice_item_name(255));

    for (i = 0; i < SLUICE_OUTCOME_COUNT; i++) {
        assert_non_null(sluice_outcome_name(i));
    }

    assert_null(sluice_outcome_name(SLUICE_OUTCOME_COUNT));
}


/* of each tag: the longest value is whole, one byte more is cut and marked */

static void
test_caps(void **state)
{
    size_t               offset, max;
    uint8_t              value[2048];
    unsigned             tag;
    test_room_t          room;
    sluice_item_t        item;
    sluice_record_try_t  t;

    (void) state;

    memset(value, 'v', sizeof(value));
    memset(&t, 0, sizeof(t));

    for (tag = 1; tag < SLUICE_ITEM_TRY; tag++) {
        max = sluice_item_max(tag);
        assert_true(max >= SLUICE_ITEM_SHORT);

        sluice_record_init(&room.record, 1, 1);
        assert_true(sluice_record_add(&room.record, tag, value, max));
        assert_int_equal(room.record.flags, 0);
        assert_true(sluice_record_add(&room.record, tag, value, max + 1));
        assert_int_equal(room.record.flags, SLUICE_RECORD_CUT);
        assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));

        offset = 0;
        assert_true(sluice_record_next(&room.record, &offset, &item));
        assert_int_equal(item.length, max);
        assert_int_equal(item.flags, 0);
        assert_true(sluice_record_next(&room.record, &offset, &item));
        assert_int_equal(item.length, max);
        assert_int_equal(item.flags, SLUICE_ITEM_CUT);
    }

    sluice_record_init(&room.record, 1, 1);
    assert_true(sluice_record_add_try(&room.record, &t, value,
                                      SLUICE_RECORD_KEY_MAX, value, 65));
    assert_true(sluice_record_add_field(&room.record, value,
                                        SLUICE_FIELD_NAME_MAX, value, 999));
    assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));

    offset = 0;
    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.length, sizeof(t) + SLUICE_RECORD_KEY_MAX + 64);
    assert_int_equal(item.flags, SLUICE_ITEM_CUT);
    assert_true(sluice_record_next(&room.record, &offset, &item));
    assert_int_equal(item.length, sluice_item_max(SLUICE_ITEM_FIELD));
    assert_int_equal(item.data[0], SLUICE_FIELD_NAME_MAX);
    assert_int_equal(item.flags, SLUICE_ITEM_CUT);
}


/*
 * However much is said in fields, early and late: who paid, and by which ways
 * it went, has room behind them, all of it at its longest.
 */

static void
test_kept(void **state)
{
    size_t                  i, len;
    uint8_t                 value[1100];
    test_room_t             room;
    sluice_record_try_t     t;
    sluice_record_tunnel_t  tunnel;

    static const sluice_item_tag_t  once[] = {
        SLUICE_ITEM_POOL, SLUICE_ITEM_KEY, SLUICE_ITEM_ZONE, SLUICE_ITEM_PROXY
    };

    (void) state;

    memset(value, 'v', sizeof(value));
    memset(&t, 0, sizeof(t));
    memset(&tunnel, 0, sizeof(tunnel));

    for (len = 0, i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        len += 4 + sluice_item_max(once[i]);
    }

    len += SLUICE_RECORD_TRIES * (4 + sluice_item_max(SLUICE_ITEM_TRY)
                                  + 4 + sluice_item_max(SLUICE_ITEM_TUNNEL));
    assert_int_equal(len, SLUICE_RECORD_KEPT);

    sluice_record_init(&room.record, 1, 1);

    for (i = SLUICE_ITEM_REQUEST_ID; i <= SLUICE_ITEM_URI; i++) {
        assert_true(sluice_record_add(&room.record, i, value,
                                      sluice_item_max(i)));
    }

    assert_true(sluice_record_add_field(&room.record, "f", 1, value, 255));

    while (sluice_record_add_field(&room.record, "f", 1, value, 255)
           || sluice_record_add_field(&room.record, "f", 1, value, 1))
    {
        /* void */
    }

    assert_in_range(room.record.length,
                    SLUICE_RECORD_MAX - SLUICE_RECORD_KEPT - 6,
                    SLUICE_RECORD_MAX - SLUICE_RECORD_KEPT);
    room.record.flags = 0;

    for (i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        assert_true(sluice_record_add(&room.record, once[i], value,
                                      sluice_item_max(once[i])));
    }

    for (i = 0; i < SLUICE_RECORD_TRIES; i++) {
        assert_true(sluice_record_add_try(&room.record, &t, value,
                                          SLUICE_RECORD_KEY_MAX, value, 64));
        assert_true(sluice_record_add_tunnel(&room.record, &tunnel, value,
                                             SLUICE_RECORD_KEY_MAX));
    }

    assert_int_equal(room.record.flags, 0);
    assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));
}


/* not more of them than are described, and of none that is not */

static void
test_tunnels(void **state)
{
    unsigned                i;
    uint32_t                length;
    test_room_t             room;
    sluice_record_tunnel_t  tunnel;

    (void) state;

    memset(&tunnel, 0, sizeof(tunnel));

    sluice_record_init(&room.record, 1, 1);
    tunnel.try = SLUICE_RECORD_TRIES;
    assert_false(sluice_record_add_tunnel(&room.record, &tunnel, "a", 1));
    assert_int_equal(room.record.flags, SLUICE_RECORD_CUT);
    assert_int_equal(room.record.length, sizeof(sluice_record_t));

    sluice_record_init(&room.record, 1, 1);
    tunnel.try = 0;

    for (i = 0; i < SLUICE_RECORD_TRIES; i++) {
        assert_true(sluice_record_add(&room.record, SLUICE_ITEM_PROXY, "a",
                                      1));
        assert_true(sluice_record_add_tunnel(&room.record, &tunnel, "a", 1));
    }

    assert_int_equal(room.record.flags, 0);
    length = room.record.length;
    assert_false(sluice_record_add_tunnel(&room.record, &tunnel, "a", 1));
    assert_int_equal(room.record.flags, SLUICE_RECORD_CUT);
    assert_int_equal(room.record.length, length);
    assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));
}


/* a record that is full stays one, and not a byte behind it is touched */

static void
test_full(void **state)
{
    bool                 added;
    size_t               i, len, name;
    uint8_t              value[1100];
    uint32_t             length;
    uint64_t             seed;
    test_room_t          room;
    sluice_record_try_t  t;

    (void) state;

    seed = util_seed();
    memset(value, 'v', sizeof(value));
    memset(&t, 0, sizeof(t));

    for (i = 0; i < 3000; i++) {
        memset(&room, 0xa5, sizeof(room));
        sluice_record_init(&room.record, 1, 1);

        do {
            length = room.record.length;
            len = util_random(&seed) % sizeof(value);

            switch (util_random(&seed) % 3) {

            case 0:
                added = sluice_record_add_try(&room.record, &t, value,
                                              len % 48, value, len % 65);
                break;

            case 1:
                name = 1 + len % SLUICE_FIELD_NAME_MAX;
                added = sluice_record_add_field(&room.record, value, name,
                                                value, len % 256);
                break;

            default:
                added = sluice_record_add(&room.record, SLUICE_ITEM_URI,
                                          value, len);
                break;
            }

            assert_true(room.record.length <= SLUICE_RECORD_MAX);
            assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));

        } while (added);

        assert_int_equal(room.record.length, length);
        assert_true(room.record.flags & SLUICE_RECORD_CUT);

        while (sluice_record_add(&room.record, SLUICE_ITEM_KEY, "k", 1)) {
            assert_true(room.record.length <= SLUICE_RECORD_MAX);
        }

        assert_in_range(room.record.length, SLUICE_RECORD_MAX - 4,
                        SLUICE_RECORD_MAX);

        sluice_record_seal(&room.record, test_uuid, 0);
        assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));
        assert_in_range(sluice_record_size(&room.record), 4088, 4096);

        for (len = SLUICE_RECORD_MAX; len < sizeof(room); len++) {
            assert_int_equal(room.bytes[len], 0xa5);
        }
    }
}


static void
test_refused(void **state)
{
    size_t                   i;
    uint8_t                 *p;
    uint16_t                 n;
    test_room_t              room, bad;
    sluice_record_t         *r;
    sluice_record_try_t      t;
    sluice_record_tunnel_t   tunnel;

    (void) state;

    memset(&room, 0, sizeof(room));
    memset(&tunnel, 0, sizeof(tunnel));
    sluice_record_init(&room.record, 1, 1);
    assert_true(sluice_record_add(&room.record, SLUICE_ITEM_KEY, "key", 3));

    r = &bad.record;
    p = bad.bytes + sizeof(sluice_record_t);

#define refused(size, words)                                                  \
    assert_string_equal(sluice_record_check(r, size), words)

    /* every size that is too small for it */

    bad = room;

    for (i = 0; i < sizeof(sluice_record_t); i++) {
        refused(i, "shorter than a record");
    }

    for ( /* void */ ; i < room.record.length; i++) {
        refused(i, "impossible length");
    }

    assert_null(sluice_record_check(r, i));

    r->length = SLUICE_RECORD_MAX + 1;
    refused(sizeof(bad), "impossible length");

    r->length = 0xfffffff8;
    refused(SIZE_MAX, "impossible length");

    r->length = 0;
    refused(sizeof(bad), "impossible length");

    r->length = sizeof(sluice_record_t) - 1;
    refused(sizeof(bad), "impossible length");

    bad = room;
    r->type = 0;
    refused(sizeof(bad), "unknown type");

    bad = room;
    r->version++;
    refused(sizeof(bad), "unknown version");

    bad = room;
    r->outcome = SLUICE_OUTCOME_COUNT;
    refused(sizeof(bad), "unknown outcome");

    /* the record ends within an item's head, and within its bytes */

    for (i = 1; i < 7; i++) {
        bad = room;
        r->length = sizeof(sluice_record_t) + (uint32_t) i;
        refused(sizeof(bad), i < 4 ? "torn item" : "item past the end");
    }

    for (i = 4; i < 65536; i++) {
        bad = room;
        n = (uint16_t) i;
        memcpy(p + 2, &n, 2);
        refused(sizeof(bad), "item past the end");
    }

    bad = room;
    p[0] = SLUICE_ITEM_TRY;
    refused(sizeof(bad), "short try");

    bad = room;
    p[0] = SLUICE_ITEM_FIELD;               /* "key": a name of 107 bytes */
    refused(sizeof(bad), "field without a name");

    p[4] = 0;
    refused(sizeof(bad), "field without a name");

    p[4] = 3;
    refused(sizeof(bad), "field without a name");

    p[4] = 2;
    assert_null(sluice_record_check(r, sizeof(bad)));

    sluice_record_init(r, 1, 1);
    memset(p, 'x', 300);
    p[0] = SLUICE_ITEM_FIELD;
    p[1] = 0;
    n = 100;
    memcpy(p + 2, &n, 2);
    p[4] = SLUICE_FIELD_NAME_MAX + 1;
    r->length += 104;
    refused(sizeof(bad), "field without a name");

    p[4] = SLUICE_FIELD_NAME_MAX;
    assert_null(sluice_record_check(r, sizeof(bad)));

    /* a tunnel that is not whole, of no try, of no result */

    sluice_record_init(r, 1, 1);
    assert_true(sluice_record_add_tunnel(r, &tunnel, "a", 1));
    assert_null(sluice_record_check(r, sizeof(bad)));

    p[8] = SLUICE_RECORD_TRIES - 1;
    p[9] = SLUICE_TUNNEL_RESULTS - 1;
    assert_null(sluice_record_check(r, sizeof(bad)));

    p[9] = SLUICE_TUNNEL_RESULTS;
    refused(sizeof(bad), "impossible tunnel");

    p[8] = SLUICE_RECORD_TRIES;
    p[9] = 0;
    refused(sizeof(bad), "impossible tunnel");

    p[8] = 0;
    n = 7;
    memcpy(p + 2, &n, 2);
    r->length -= 2;
    refused(sizeof(bad), "short tunnel");

    /* a key that is as long as its try's item, and longer */

    sluice_record_init(&room.record, 1, 1);
    memset(&t, 0, sizeof(t));
    assert_true(sluice_record_add_try(&room.record, &t, "abc", 3, NULL, 0));
    bad = room;
    assert_null(sluice_record_check(r, sizeof(bad)));

    t.key_len = 4;
    memcpy(p + 4, &t, sizeof(t));
    refused(sizeof(bad), "key past its try");

    t.key_len = 65535;
    memcpy(p + 4, &t, sizeof(t));
    refused(sizeof(bad), "key past its try");

#undef refused
}


/* another lane, another position, or any bit but the CRC's own */

static void
test_crc(void **state)
{
    size_t       i, size;
    uint8_t      other[16];
    uint32_t     crc;
    uint64_t     position;
    test_room_t  room, bad;

    (void) state;

    memset(&room, 0xa5, sizeof(room));
    sluice_record_init(&room.record, 1, 1);
    sluice_record_add(&room.record, SLUICE_ITEM_KEY, "12345", 5);
    position = 0x123456789a0;

    sluice_record_seal(&room.record, test_uuid, position);
    size = sluice_record_size(&room.record);
    crc = room.record.crc;

    assert_int_equal(size, room.record.length + 7);

    for (i = room.record.length; i < size; i++) {
        assert_int_equal(room.bytes[i], 0);
    }

    assert_int_equal(room.bytes[size], 0xa5);
    assert_int_equal(crc, sluice_record_crc(&room.record, test_uuid,
                                            position));

    for (i = 3; i < 64; i++) {
        assert_int_not_equal(crc, sluice_record_crc(&room.record, test_uuid,
                                                    position ^ 1ull << i));
    }

    for (i = 0; i < 16; i++) {
        memcpy(other, test_uuid, 16);
        other[i] ^= 1;
        assert_int_not_equal(crc, sluice_record_crc(&room.record, other,
                                                    position));
    }

    for (i = 0; i < size * 8; i++) {
        bad = room;
        bad.bytes[i / 8] ^= (uint8_t) (1 << i % 8);

        if (i / 8 >= 4 && i / 8 < 8) {
            continue;
        }

        if (bad.record.length > SLUICE_RECORD_MAX) {
            continue;
        }

        assert_int_not_equal(crc, sluice_record_crc(&bad.record, test_uuid,
                                                    position));
    }
}


#define TEST_ITEMS  64

static void
test_random(void **state)
{
    bool           ok;
    size_t         offset, len, n, i;
    uint8_t        value[1200];
    unsigned       turn;
    uint64_t       seed;
    test_room_t    room;
    sluice_item_t  item;

    struct {
        uint8_t   tag;
        uint8_t   flags;
        uint16_t  length;
    } model[TEST_ITEMS];

    (void) state;

    seed = util_seed();

    for (turn = 0; turn < 100000; turn++) {
        sluice_record_init(&room.record, turn, seed);

        for (n = 0; n < TEST_ITEMS; n++) {
            if (util_random(&seed) % 12 == 0) {
                break;
            }

            model[n].tag = (uint8_t) (1 + util_random(&seed)
                                          % (SLUICE_ITEM_TRY - 1));
            len = util_random(&seed) % (util_random(&seed) % 8 ? 40 : 1200);
            memset(value, (int) n + 1, len);

            offset = room.record.length;
            ok = sluice_record_add(&room.record, model[n].tag, value, len);

            if (!ok) {
                assert_int_equal(room.record.length, offset);
                break;
            }

            model[n].length = (uint16_t) (room.record.length - offset - 4);
            model[n].flags = (model[n].length < len) ? SLUICE_ITEM_CUT : 0;
        }

        sluice_record_seal(&room.record, test_uuid, turn * 8);

        assert_null(sluice_record_check(&room.record,
                                        sluice_record_size(&room.record)));
        assert_int_equal(room.record.crc,
                         sluice_record_crc(&room.record, test_uuid,
                                           turn * 8));
        offset = 0;

        for (i = 0; i < n; i++) {
            assert_true(sluice_record_next(&room.record, &offset, &item));
            assert_int_equal(item.tag, model[i].tag);
            assert_int_equal(item.flags, model[i].flags);
            assert_int_equal(item.length, model[i].length);
            assert_true(item.length <= sluice_item_max(item.tag));

            for (len = 0; len < item.length; len++) {
                if (item.data[len] != i + 1) {
                    fail_msg("seed %llu turn %u",
                             (unsigned long long) util_seed(), turn);
                }
            }
        }

        assert_false(sluice_record_next(&room.record, &offset, &item));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_tunnels),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_random)
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
