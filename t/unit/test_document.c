
/*
 * The document: every value of a record is there under its name, what came
 * from outside is valid UTF-8, and nothing that is not known is there.
 */

#include "document.h"
#include "tunnel.h"
#include "util.h"


typedef union {
    sluice_record_t  record;
    uint8_t          bytes[SLUICE_RECORD_MAX];
} test_room_t;


static const uint8_t  test_uuid[16] = "0123456789abcdef";


#include "sidecar_ids.c"
#include "sidecar_insert.c"
#include "sidecar_lines.c"
#include "sidecar_log.c"


static bson_iter_t
test_at(const bson_t *document, const char *path)
{
    bson_iter_t  iter, found;

    memset(&found, 0, sizeof(found));

    if (!bson_iter_init(&iter, document)
        || !bson_iter_find_descendant(&iter, path, &found))
    {
        memset(&found, 0, sizeof(found));
    }

    return found;
}


static bool
test_has(const bson_t *document, const char *path)
{
    bson_iter_t  iter = test_at(document, path);

    return iter.raw != NULL;
}


static const char *
test_text(const bson_t *document, const char *path)
{
    bson_iter_t  iter = test_at(document, path);

    return iter.raw != NULL && BSON_ITER_HOLDS_UTF8(&iter)
           ? bson_iter_utf8(&iter, NULL) : "(no text)";
}


static int64_t
test_number(const bson_t *document, const char *path)
{
    bson_iter_t  iter = test_at(document, path);

    return iter.raw != NULL ? bson_iter_as_int64(&iter) : -1;
}


static void
test_valid(const bson_t *document)
{
    assert_true(bson_validate(document,
                              BSON_VALIDATE_UTF8|BSON_VALIDATE_DOLLAR_KEYS
                              |BSON_VALIDATE_DOT_KEYS
                              |BSON_VALIDATE_EMPTY_KEYS, NULL));
}


static void
test_whole(void **state)
{
    bson_t               document;
    uint8_t              uuid[16];
    uint64_t             sequence;
    bson_iter_t          iter;
    test_room_t          room;
    sluice_record_try_t  t = { 1, 2, SLUICE_UNKNOWN_MS, 502, 0, 300, 400 };

    (void) state;

    sluice_record_init(&room.record, 42, 1700000000123456);
    room.record.outcome = SLUICE_OUTCOME_LIMIT;
    room.record.status = 429;
    room.record.request_time = 1500;
    room.record.bytes_in = 10;
    room.record.bytes_out = 20;
    room.record.tries = 1;

    sluice_record_add(&room.record, SLUICE_ITEM_CLIENT, "c0ffee", 6);
    sluice_record_add(&room.record, SLUICE_ITEM_ZONE, "rpm", 3);
    sluice_record_add(&room.record, SLUICE_ITEM_KEY, "a", 1);
    sluice_record_add(&room.record, SLUICE_ITEM_KEY, "b", 1);
    sluice_record_add_try(&room.record, &t, "a", 1, "127.0.0.1:80", 12);
    sluice_record_add_field(&room.record, "team", 4, "red", 3);

    bson_init(&document);
    sluice_document_make(&document, &room.record, test_uuid, "host");
    test_valid(&document);

    /* the order of _id's members is part of its value */

    assert_true(bson_iter_init(&iter, &document) && bson_iter_next(&iter));
    assert_string_equal(bson_iter_key(&iter), "_id");
    assert_true(bson_iter_recurse(&iter, &iter) && bson_iter_next(&iter));
    assert_string_equal(bson_iter_key(&iter), "lane");
    assert_true(bson_iter_next(&iter));
    assert_string_equal(bson_iter_key(&iter), "seq");

    assert_true(sluice_document_id(&document, uuid, &sequence));
    assert_memory_equal(uuid, test_uuid, 16);
    assert_int_equal(sequence, 42);

    assert_int_equal(test_number(&document, "time_us"), 1700000000123456);
    iter = test_at(&document, "time");
    assert_true(BSON_ITER_HOLDS_DATE_TIME(&iter));
    assert_int_equal(bson_iter_date_time(&iter), 1700000000123);

    assert_string_equal(test_text(&document, "node"), "host");
    assert_string_equal(test_text(&document, "outcome"), "limit");
    assert_string_equal(test_text(&document, "client"), "c0ffee");
    assert_string_equal(test_text(&document, "zone"), "rpm");
    assert_string_equal(test_text(&document, "key"), "b");
    assert_string_equal(test_text(&document, "fields.team"), "red");
    assert_string_equal(test_text(&document, "upstream.0.addr"),
                        "127.0.0.1:80");
    assert_int_equal(test_number(&document, "status"), 429);
    assert_int_equal(test_number(&document, "request_time_us"), 1500);
    assert_int_equal(test_number(&document, "bytes_in"), 10);
    assert_int_equal(test_number(&document, "bytes_out"), 20);
    assert_int_equal(test_number(&document, "tries"), 1);
    assert_int_equal(test_number(&document, "upstream.0.status"), 502);
    assert_int_equal(test_number(&document, "upstream.0.connect_ms"), 1);
    assert_int_equal(test_number(&document, "upstream.0.bytes_sent"), 400);

    /* what is not known is not there */

    assert_false(test_has(&document, "upstream.0.response_ms"));
    assert_false(test_has(&document, "first_byte_us"));
    assert_false(test_has(&document, "aborted"));
    assert_false(test_has(&document, "pool"));
    assert_false(test_has(&document, "tokens"));
    assert_false(test_has(&document, "cut"));
    assert_false(test_has(&document, "repaired"));

    bson_destroy(&document);
}


static void
test_repaired(void **state)
{
    char         host[300];
    bson_t       document;
    test_room_t  room;

    (void) state;

    memset(host, 'h', sizeof(host));

    sluice_record_init(&room.record, 1, 1);
    room.record.flags |= SLUICE_RECORD_ABORTED;

    sluice_record_add(&room.record, SLUICE_ITEM_METHOD, "G\0T", 3);
    sluice_record_add(&room.record, SLUICE_ITEM_URI, "/\xff\xc3\xa9\xc3", 5);
    sluice_record_add(&room.record, SLUICE_ITEM_HOST, host, sizeof(host));
    sluice_record_add_field(&room.record, "$a.b", 4, "\xed\xa0\x80", 3);

    bson_init(&document);
    sluice_document_make(&document, &room.record, test_uuid, "n\xfe");
    test_valid(&document);

    assert_string_equal(test_text(&document, "method"), "G\xef\xbf\xbdT");
    assert_string_equal(test_text(&document, "uri"),
                        "/\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
    assert_int_equal(strlen(test_text(&document, "host")), 255);
    assert_string_equal(test_text(&document, "cut.0"), "host");
    assert_true(test_has(&document, "fields._a_b"));
    assert_true(test_has(&document, "repaired.0"));
    assert_true(test_has(&document, "aborted"));

    bson_destroy(&document);
}


/* a try has its proxies, in order; one that never got to an origin as well */

static void
test_tunnels(void **state)
{
    bson_t                   document;
    unsigned                 i;
    test_room_t              room;
    sluice_record_try_t      t;
    sluice_record_tunnel_t   tunnels[] = {
        { 3, 0, SLUICE_TUNNEL_UNREACHABLE, { 0, 0 } },
        { 41, 0, SLUICE_TUNNEL_CONNECTED, { 0, 0 } },
        { SLUICE_UNKNOWN_MS, 1, SLUICE_TUNNEL_DIRECT, { 0, 0 } },
        { 60000, 2, SLUICE_TUNNEL_TIMEOUT, { 0, 0 } }
    };

    static const char  *ids[] = { "eu1", "eu\377", "", "eu3" };

    (void) state;

    memset(&t, 0, sizeof(t));

    sluice_record_init(&room.record, 1, 1);
    room.record.outcome = SLUICE_OUTCOME_PROXY;
    sluice_record_add(&room.record, SLUICE_ITEM_PROXY, "eu3", 3);

    for (i = 0; i < 4; i++) {
        assert_true(sluice_record_add_tunnel(&room.record, &tunnels[i],
                                             ids[i], strlen(ids[i])));
    }

    sluice_record_add_try(&room.record, &t, NULL, 0, "127.0.0.1:80", 12);
    sluice_record_add_try(&room.record, &t, NULL, 0, "127.0.0.1:81", 12);

    bson_init(&document);
    sluice_document_make(&document, &room.record, test_uuid, "host");
    test_valid(&document);

    assert_string_equal(test_text(&document, "outcome"), "no_proxy");
    assert_string_equal(test_text(&document, "proxy"), "eu3");

#define tunnel(path, id, name, time)                                          \
    assert_string_equal(test_text(&document, path ".proxy"), id);             \
    assert_string_equal(test_text(&document, path ".result"), name);          \
    assert_int_equal(test_number(&document, path ".time_ms"), time)

    tunnel("upstream.0.proxies.0", "eu1", "unreachable", 3);
    tunnel("upstream.0.proxies.1", "eu\357\277\275", "connected", 41);
    tunnel("upstream.1.proxies.0", "(no text)", "direct", -1);
    tunnel("upstream.2.proxies.0", "eu3", "timeout", 60000);

#undef tunnel

    assert_string_equal(test_text(&document, "upstream.1.addr"),
                        "127.0.0.1:81");
    assert_false(test_has(&document, "upstream.0.proxies.2"));
    assert_false(test_has(&document, "upstream.1.proxies.1"));
    assert_false(test_has(&document, "upstream.2.addr"));
    assert_false(test_has(&document, "upstream.3"));
    assert_false(test_has(&document, "proxies"));
    assert_false(test_has(&document, "cut"));
    assert_string_equal(test_text(&document, "repaired.0"), "proxies");

    bson_destroy(&document);

    /* of more than are described it is said that there were */

    room.record.flags = 0;

    for (i = 0; i < 4; i++) {
        assert_true(sluice_record_add_tunnel(&room.record, &tunnels[3], "a",
                                             1));
    }

    assert_false(sluice_record_add_tunnel(&room.record, &tunnels[3], "a", 1));

    bson_init(&document);
    sluice_document_make(&document, &room.record, test_uuid, "host");
    test_valid(&document);
    assert_true(test_has(&document, "upstream.2.proxies.4"));
    assert_string_equal(test_text(&document, "cut.0"), "*");
    bson_destroy(&document);
}


/* any record that passes the check makes a document that MongoDB takes */

static void
test_random(void **state)
{
    int                      n, items;
    bson_t                   document;
    uint8_t                  bytes[512];
    unsigned                 i, tag, len, name;
    uint64_t                 seed;
    test_room_t              room;
    sluice_record_try_t      t;
    sluice_record_tunnel_t   tunnel;

    (void) state;

    seed = util_seed();

    for (n = 0; n < 20000; n++) {
        sluice_record_init(&room.record, util_random(&seed),
                           util_random(&seed));
        room.record.flags = (uint16_t) util_random(&seed);
        room.record.outcome = (uint8_t) (util_random(&seed)
                                         % SLUICE_OUTCOME_COUNT);
        room.record.request_time = util_random(&seed);

        for (items = (int) (util_random(&seed) % 40); items > 0; items--) {
            for (i = 0; i < sizeof(bytes); i++) {
                bytes[i] = (uint8_t) util_random(&seed);
            }

            tag = 1 + (unsigned) (util_random(&seed) % (SLUICE_ITEM_TAGS - 1));
            len = (unsigned) (util_random(&seed) % 300);

            if (tag == SLUICE_ITEM_TRY) {
                memcpy(&t, bytes, sizeof(t));
                sluice_record_add_try(&room.record, &t, bytes, len % 48,
                                      bytes + 64, len);

            } else if (tag == SLUICE_ITEM_TUNNEL) {
                memcpy(&tunnel, bytes, sizeof(tunnel));
                tunnel.try %= SLUICE_RECORD_TRIES + 1;
                tunnel.result %= SLUICE_TUNNEL_RESULTS;
                sluice_record_add_tunnel(&room.record, &tunnel, bytes + 64,
                                         len);

            } else if (tag == SLUICE_ITEM_FIELD) {
                name = 1 + (unsigned) (util_random(&seed)
                                       % SLUICE_FIELD_NAME_MAX);
                sluice_record_add_field(&room.record, bytes, name, bytes + 64,
                                        len);

            } else {
                sluice_record_add(&room.record, tag, bytes, len);
            }
        }

        assert_null(sluice_record_check(&room.record, SLUICE_RECORD_MAX));

        bson_init(&document);
        sluice_document_make(&document, &room.record, test_uuid, "host");
        test_valid(&document);
        bson_destroy(&document);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_tunnels),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_ids_empty),
        cmocka_unit_test(test_ids_found),
        cmocka_unit_test(test_ids_foreign),
        cmocka_unit_test(test_insert_judged),
        util_test(test_lines_foreign),
        util_test(test_lines_short),
        util_test(test_lines_locked),
        cmocka_unit_test(test_log_many),
        cmocka_unit_test(test_log_query),
        cmocka_unit_test(test_log_long),
        cmocka_unit_test(test_log_within),
        cmocka_unit_test(test_log_cut)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
