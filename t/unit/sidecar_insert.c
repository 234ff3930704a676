
/*
 * What a reply tells of each record: whatever it holds, a record whose error
 * is not understood is sent again, and one that was refused for good has one
 * dead letter and is never sent again.
 */

#include "batch.c"
#include "codes.c"
#include "insert.c"


#define TEST_RECORDS  4

/* of a batch's records, in their order */
#define PENDING   "P"
#define DONE      "D"
#define REJECTED  "R"


static const struct {
    const char            *name;
    const char            *errors;
    sluice_sink_answer_t   answer;
    const char            *states;
} test_insert_replies[] = {

    { "one is refused for good",
      "{\"index\":1,\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_DONE, DONE REJECTED DONE DONE },

    { "one is there already",
      "{\"index\":1,\"code\":11000,\"keyPattern\":{\"_id\":1}}",
      SLUICE_SINK_DONE, DONE DONE DONE DONE },

    { "one has to wait",
      "{\"index\":3,\"code\":11600,\"errmsg\":\"no\"}",
      SLUICE_SINK_RETRY, DONE DONE DONE PENDING },

    { "one has an error that is in no list",
      "{\"index\":0,\"code\":13,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, PENDING DONE DONE DONE },

    { "an error that is no document",
      "7",
      SLUICE_SINK_FAILED, PENDING PENDING PENDING PENDING },

    { "the same, behind one that was refused",
      "{\"index\":1,\"code\":121,\"errmsg\":\"no\"},7",
      SLUICE_SINK_FAILED, PENDING REJECTED PENDING PENDING },

    { "the same, before it",
      "7,{\"index\":1,\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, PENDING REJECTED PENDING PENDING },

    { "an index out of range",
      "{\"index\":4,\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, PENDING PENDING PENDING PENDING },

    { "the same, behind one that was refused",
      "{\"index\":0,\"code\":121,\"errmsg\":\"no\"},"
      "{\"index\":-1,\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, REJECTED PENDING PENDING PENDING },

    { "no index",
      "{\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, PENDING PENDING PENDING PENDING },

    { "an index that is no number",
      "{\"index\":\"1\",\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_FAILED, PENDING PENDING PENDING PENDING },

    { "one is refused twice",
      "{\"index\":2,\"code\":121,\"errmsg\":\"no\"},"
      "{\"index\":2,\"code\":121,\"errmsg\":\"no\"}",
      SLUICE_SINK_DONE, DONE DONE REJECTED DONE },

    { "one is refused, and has to wait",
      "{\"index\":2,\"code\":121,\"errmsg\":\"no\"},"
      "{\"index\":2,\"code\":11600,\"errmsg\":\"no\"}",
      SLUICE_SINK_DONE, DONE DONE REJECTED DONE }
};


static sluice_batch_t *
test_insert_batch(void)
{
    uint32_t         lane, i;
    test_room_t      room;
    sluice_batch_t  *batch;

    batch = sluice_batch_create(TEST_RECORDS);
    assert_non_null(batch);

    lane = sluice_batch_join(batch, NULL, test_uuid,
                             (char [SLUICE_NODE_MAX]) { "host" });

    for (i = 0; i < TEST_RECORDS; i++) {
        sluice_record_init(&room.record, i, 1700000000123456);
        sluice_batch_add(batch, lane, &room.record);
    }

    return batch;
}


static void
test_insert_judged(void **state)
{
    char              json[512], states[TEST_RECORDS + 1];
    bson_t           *reply;
    size_t            n;
    uint32_t          i, rejected, pending;
    sluice_batch_t   *batch;
    sluice_error_t    error;
    sluice_insert_t   insert;

    (void) state;

    for (n = 0;
         n < sizeof(test_insert_replies) / sizeof(test_insert_replies[0]);
         n++)
    {
        batch = test_insert_batch();
        memset(&insert, 0, sizeof(sluice_insert_t));
        assert_true(sluice_insert_build(&insert, batch));
        assert_int_equal(insert.count, TEST_RECORDS);

        snprintf(json, sizeof(json), "{\"writeErrors\":[%s]}",
                 test_insert_replies[n].errors);
        reply = bson_new_from_json((uint8_t *) json, -1, NULL);
        assert_non_null(reply);

        memset(&error, 0, sizeof(sluice_error_t));
        assert_int_equal(sluice_insert_judge(&insert, batch, reply, &error),
                         test_insert_replies[n].answer);
        assert_true((error.text[0] != '\0')
                    == (test_insert_replies[n].answer != SLUICE_SINK_DONE));

        rejected = 0;
        pending = 0;

        for (i = 0; i < TEST_RECORDS; i++) {
            states[i] = "PDR"[batch->records[i].state];
            rejected += (states[i] == *REJECTED);
            pending += (states[i] == *PENDING);
        }

        states[i] = '\0';

        if (strcmp(states, test_insert_replies[n].states) != 0) {
            print_message("# %s\n", test_insert_replies[n].name);
        }

        assert_string_equal(states, test_insert_replies[n].states);

        /* a dead letter for each, and what is sent next is the rest */

        assert_int_equal(batch->nrejects, rejected);
        assert_true(sluice_insert_build(&insert, batch));
        assert_int_equal(insert.count, pending);

        bson_destroy(reply);
        sluice_insert_free(&insert);
        sluice_batch_destroy(batch);
    }
}
