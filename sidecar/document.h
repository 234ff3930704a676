
/*
 * A record as a document, the same for MongoDB and for JSON lines; its
 * fields are described in docs/records.md.  No I/O; any thread.
 */

#ifndef SLUICE_DOCUMENT_H
#define SLUICE_DOCUMENT_H

#include "record.h"

#include <bson/bson.h>


#define SLUICE_DOCUMENT_VERSION  1
#define SLUICE_DOCUMENT_FIELDS   64     /* of the operator's own, at most    */


/*
 * Appends the record's fields to an empty document.  The record has passed
 * sluice_record_check(); uuid is its lane's, node the name of its machine.
 */
void sluice_document_make(bson_t *document, const sluice_record_t *record,
    const uint8_t uuid[16], const char *node);

/*
 * Reads the _id of a document that was made so.  false: it has none of ours.
 */
bool sluice_document_id(const bson_t *document, uint8_t uuid[16],
    uint64_t *sequence);

/* appends a text from outside; true: it had to be repaired */
bool sluice_document_text(bson_t *document, const char *name,
    const void *text, size_t len);


#endif /* SLUICE_DOCUMENT_H */
