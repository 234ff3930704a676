
/*
 * One insert of MongoDB's: the documents that are sent, and what the reply
 * tells of each.
 *
 * When a record counts as done:
 *   - its batch was acknowledged with the write concern, or
 *   - its insert alone failed, as a duplicate of its own _id, and the rest
 *     of the reply tells of no write concern error: then it was inserted by
 *     a former try, and the server waited for the concern before it said so.
 *
 * A reply is believed only if it accounts for each document that was sent:
 * those inserted and those with an error of their own.  Else the command
 * failed as a whole, or in its middle, and all of them are sent again.
 *
 * No I/O; replies are in the form in which libmongoc gives them.  One thread
 * at a time.
 */

#ifndef SLUICE_INSERT_H
#define SLUICE_INSERT_H

#include "batch.h"
#include "error.h"
#include "sink.h"

#include <bson/bson.h>


/* zeroed at first; its memory is kept from batch to batch */
typedef struct {
    uint8_t        *data;               /* the documents, one after another  */
    size_t          size;
    bson_t         *documents;
    const bson_t  **list;
    uint32_t       *index;              /* in the batch                      */
    size_t         *offset;             /* in data                           */
    uint32_t        room;
    uint32_t        count;              /* of documents                      */
} sluice_insert_t;


/* documents of the batch's pending records; false: no memory */
bool sluice_insert_build(sluice_insert_t *insert,
    const sluice_batch_t *batch);

/* all that was sent is done */
void sluice_insert_done(const sluice_insert_t *insert, sluice_batch_t *batch);

/* whether the reply has a write concern error: its code and message, then */
bool sluice_insert_concern(const bson_t *reply, bson_error_t *be);

/* whether it has errors of documents and accounts for all that were sent */
bool sluice_insert_accounted(const sluice_insert_t *insert,
    const bson_t *reply);

/*
 * Notes down what an accounted reply without a write concern error tells of
 * each record.  Returns the worst of it, and its text.
 * What is not understood makes all pending but those refused for good.
 */
sluice_sink_answer_t sluice_insert_judge(const sluice_insert_t *insert,
    sluice_batch_t *batch, const bson_t *reply, sluice_error_t *error);

void sluice_insert_free(sluice_insert_t *insert);


#endif /* SLUICE_INSERT_H */
