
/*
 * A collection of records in MongoDB: what it must not be, and its indexes.
 * No I/O: commands are made here and answers read, both as documents; any
 * thread.
 */

#ifndef SLUICE_COLLECTION_H
#define SLUICE_COLLECTION_H

#include <bson/bson.h>

#include <stdbool.h>
#include <stdint.h>


typedef enum {
    SLUICE_INDEX_TIME = 0,              /* its TTL is the retention          */
    SLUICE_INDEX_CLIENT,
    SLUICE_INDEX_REQUEST,
    SLUICE_INDEXES
} sluice_index_t;


/*
 * Of the answer of listCollections: why records cannot be kept in it, for
 * after "is"; NULL: they can.
 */
const char *sluice_collection_unfit(const bson_t *info);

const char *sluice_collection_index_name(sluice_index_t index);

/*
 * The command that makes an index; `retention` is in seconds, 0: for ever.
 * The caller destroys it.
 */
bson_t *sluice_collection_index(const char *collection, sluice_index_t index,
    int64_t retention);

/* the command that gives the index of times, as it is, another retention */
bson_t *sluice_collection_retain(const char *collection, int64_t retention);

/* of the answer of listIndexes: whether it removes records, `*after` seconds */
bool sluice_collection_expires(const bson_t *info, int64_t *after);


#endif /* SLUICE_COLLECTION_H */
