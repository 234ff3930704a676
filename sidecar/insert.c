
/* an insert: what is sent, and what is read out of the reply */

#include "insert.h"
#include "codes.h"
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define SLUICE_DUPLICATE  11000


/* of which index a key is a duplicate */
typedef enum {
    SLUICE_INDEX_ID,
    SLUICE_INDEX_OTHER,
    SLUICE_INDEX_UNTOLD
} sluice_insert_index_t;


static void sluice_insert_again(const sluice_insert_t *insert,
    sluice_batch_t *batch);
static sluice_sink_answer_t sluice_insert_judge_one(
    const sluice_insert_t *insert, sluice_batch_t *batch,
    const bson_t *written, sluice_error_t *error);
static bool sluice_insert_array(const bson_t *reply, const char *name,
    bson_iter_t *array, uint32_t *n);
static sluice_insert_index_t sluice_insert_duplicate(const bson_t *written);


bool
sluice_insert_build(sluice_insert_t *insert, const sluice_batch_t *batch)
{
    bson_t                      *document;
    uint32_t                     i, n;
    bson_writer_t               *w;
    const sluice_batch_lane_t   *lane;

    if (insert->room < batch->size) {
        free(insert->documents);
        free(insert->list);
        free(insert->index);
        free(insert->offset);

        /* bson_t is aligned to 128 bytes */

        insert->documents = aligned_alloc(128, batch->size * sizeof(bson_t));
        insert->list = malloc(batch->size * sizeof(bson_t *));
        insert->index = malloc(batch->size * sizeof(uint32_t));
        insert->offset = malloc(batch->size * sizeof(size_t));
        insert->room = batch->size;

        if (insert->documents == NULL || insert->list == NULL
            || insert->index == NULL || insert->offset == NULL)
        {
            insert->room = 0;
            return false;
        }
    }

    w = bson_writer_new(&insert->data, &insert->size, 0, bson_realloc_ctx,
                        NULL);
    n = 0;

    for (i = 0; i < batch->count; i++) {

        if (batch->records[i].state != SLUICE_BATCH_PENDING) {
            continue;
        }

        insert->index[n] = i;
        insert->offset[n] = bson_writer_get_length(w);
        n++;

        lane = sluice_batch_lane(batch, i);

        bson_writer_begin(w, &document);
        sluice_document_make(document, sluice_batch_record(batch, i),
                             lane->uuid, lane->node);
        bson_writer_end(w);
    }

    /* the buffer may have moved until now */

    for (i = 0; i < n; i++) {
        (void) bson_init_static(&insert->documents[i],
                                insert->data + insert->offset[i],
                                (i + 1 < n ? insert->offset[i + 1]
                                           : bson_writer_get_length(w))
                                - insert->offset[i]);

        insert->list[i] = &insert->documents[i];
    }

    bson_writer_destroy(w);

    insert->count = n;

    return true;
}


void
sluice_insert_done(const sluice_insert_t *insert, sluice_batch_t *batch)
{
    uint32_t  i;

    for (i = 0; i < insert->count; i++) {
        batch->records[insert->index[i]].state = SLUICE_BATCH_DONE;
    }
}


bool
sluice_insert_concern(const bson_t *reply, bson_error_t *be)
{
    bson_t          error;
    uint32_t        len, n;
    bson_iter_t     iter;
    const uint8_t  *data;

    if (!sluice_insert_array(reply, "writeConcernErrors", &iter, &n)
        || !bson_iter_next(&iter) || !BSON_ITER_HOLDS_DOCUMENT(&iter))
    {
        return false;
    }

    bson_iter_document(&iter, &len, &data);
    memset(be, 0, sizeof(bson_error_t));
    snprintf(be->message, sizeof(be->message), "a write concern error");

    if (bson_init_static(&error, data, len)) {
        if (bson_iter_init_find(&iter, &error, "code")) {
            be->code = (uint32_t) bson_iter_as_int64(&iter);
        }

        if (bson_iter_init_find(&iter, &error, "errmsg")
            && BSON_ITER_HOLDS_UTF8(&iter))
        {
            snprintf(be->message, sizeof(be->message), "%s",
                     bson_iter_utf8(&iter, NULL));
        }
    }

    return true;
}


bool
sluice_insert_accounted(const sluice_insert_t *insert, const bson_t *reply)
{
    uint32_t     errors;
    bson_iter_t  iter;

    return sluice_insert_array(reply, "writeErrors", &iter, &errors)
           && bson_iter_init_find(&iter, reply, "insertedCount")
           && (uint64_t) bson_iter_as_int64(&iter) + errors == insert->count;
}


sluice_sink_answer_t
sluice_insert_judge(const sluice_insert_t *insert, sluice_batch_t *batch,
    const bson_t *reply, sluice_error_t *error)
{
    bool                   whole;
    bson_t                 written;
    uint32_t               len, errors;
    bson_iter_t            array;
    const uint8_t         *data;
    sluice_sink_answer_t   answer, one;

    (void) sluice_insert_array(reply, "writeErrors", &array, &errors);

    /* those that have an error are pending again, or rejected; the rest */

    sluice_insert_done(insert, batch);

    answer = SLUICE_SINK_DONE;

    while (bson_iter_next(&array)) {

        whole = false;

        if (BSON_ITER_HOLDS_DOCUMENT(&array)) {
            bson_iter_document(&array, &len, &data);
            whole = bson_init_static(&written, data, len);
        }

        if (whole) {
            one = sluice_insert_judge_one(insert, batch, &written, error);

        } else {
            sluice_insert_again(insert, batch);
            sluice_error(error, SLUICE_FAILED, "insert: an error that is no "
                         "document");
            one = SLUICE_SINK_FAILED;
        }

        if (one > answer) {
            answer = one;
        }
    }

    return answer;
}


/*
 * Of which record an error tells nobody knows: then of any, but not of one
 * that was refused for good, which has its dead letter.
 */

static void
sluice_insert_again(const sluice_insert_t *insert, sluice_batch_t *batch)
{
    uint32_t                i;
    sluice_batch_record_t  *r;

    for (i = 0; i < insert->count; i++) {
        r = &batch->records[insert->index[i]];

        if (r->state != SLUICE_BATCH_REJECTED) {
            r->state = SLUICE_BATCH_PENDING;
        }
    }
}


static sluice_sink_answer_t
sluice_insert_judge_one(const sluice_insert_t *insert, sluice_batch_t *batch,
    const bson_t *written, sluice_error_t *error)
{
    int32_t         code;
    int64_t         at;
    uint32_t        i;
    const char     *text;
    bson_iter_t     iter;
    sluice_code_t   class;

    at = -1;
    code = 0;
    text = "an error without a text";

    if (bson_iter_init_find(&iter, written, "index")
        && BSON_ITER_HOLDS_NUMBER(&iter))
    {
        at = bson_iter_as_int64(&iter);
    }

    if (bson_iter_init_find(&iter, written, "code")) {
        code = (int32_t) bson_iter_as_int64(&iter);
    }

    if (bson_iter_init_find(&iter, written, "errmsg")
        && BSON_ITER_HOLDS_UTF8(&iter) && *bson_iter_utf8(&iter, NULL) != '\0')
    {
        text = bson_iter_utf8(&iter, NULL);
    }

    if (at < 0 || at >= insert->count) {
        sluice_insert_again(insert, batch);
        sluice_error(error, SLUICE_FAILED, "insert: %s (%d)", text, code);
        return SLUICE_SINK_FAILED;
    }

    i = insert->index[at];

    if (batch->records[i].state == SLUICE_BATCH_REJECTED) {
        return SLUICE_SINK_DONE;
    }

    class = sluice_code_class(code);

    if (code == SLUICE_DUPLICATE) {
        switch (sluice_insert_duplicate(written)) {

        case SLUICE_INDEX_ID:
            return SLUICE_SINK_DONE;

        case SLUICE_INDEX_OTHER:
            class = SLUICE_CODE_REJECTED;
            break;

        default:        /* a long reply has no texts at its end: once more */
            class = SLUICE_CODE_TRANSIENT;
            break;
        }
    }

    if (class == SLUICE_CODE_REJECTED
        && sluice_batch_reject(batch, i, code, text))
    {
        return SLUICE_SINK_DONE;
    }

    batch->records[i].state = SLUICE_BATCH_PENDING;

    sluice_error(error, SLUICE_FAILED, "insert: %s (%d)", text, code);

    return (class == SLUICE_CODE_TRANSIENT) ? SLUICE_SINK_RETRY
                                            : SLUICE_SINK_FAILED;
}


static bool
sluice_insert_array(const bson_t *reply, const char *name,
    bson_iter_t *array, uint32_t *n)
{
    bson_iter_t  iter, count;

    *n = 0;

    if (!bson_iter_init_find(&iter, reply, name)
        || !BSON_ITER_HOLDS_ARRAY(&iter)
        || !bson_iter_recurse(&iter, array)
        || !bson_iter_recurse(&iter, &count))
    {
        return false;
    }

    while (bson_iter_next(&count)) {
        (*n)++;
    }

    return *n != 0;
}


/*
 * By keyPattern, which servers tell since 4.2, else by the name of the index
 * in the message, one of:
 *
 *   E11000 duplicate key error collection: a.b index: _id_ dup key: {...}
 *   E11000 duplicate key error index: a.b.$_id_ dup key: {...}
 */

static sluice_insert_index_t
sluice_insert_duplicate(const bson_t *written)
{
    bool          own;
    size_t        len;
    const char   *p, *name;
    bson_iter_t   iter, keys;

    if (bson_iter_init_find(&iter, written, "keyPattern")
        && BSON_ITER_HOLDS_DOCUMENT(&iter)
        && bson_iter_recurse(&iter, &keys))
    {
        own = bson_iter_next(&keys)
              && strcmp(bson_iter_key(&keys), "_id") == 0
              && !bson_iter_next(&keys);

        return own ? SLUICE_INDEX_ID : SLUICE_INDEX_OTHER;
    }

    if (!bson_iter_init_find(&iter, written, "errmsg")
        || !BSON_ITER_HOLDS_UTF8(&iter)
        || (p = strstr(bson_iter_utf8(&iter, NULL), "index: ")) == NULL)
    {
        return SLUICE_INDEX_UNTOLD;
    }

    name = p + sizeof("index: ") - 1;
    len = strcspn(name, " ");

    for (p = name + len; p > name && p[-1] != '$'; p--) { /* void */ }

    own = (size_t) (name + len - p) == 4 && memcmp(p, "_id_", 4) == 0;

    return own ? SLUICE_INDEX_ID : SLUICE_INDEX_OTHER;
}


void
sluice_insert_free(sluice_insert_t *insert)
{
    bson_free(insert->data);
    free(insert->documents);
    free(insert->list);
    free(insert->index);
    free(insert->offset);
    memset(insert, 0, sizeof(sluice_insert_t));
}
