
/* what is asked about a collection, and what is asked of it */

#include "collection.h"

#include <string.h>


static const struct {
    const char  *name;
    const char  *first;
    const char  *second;
} sluice_collection_indexes[SLUICE_INDEXES] = {
    { "time_1", "time", NULL },
    { "client_1_time_-1", "client", "time" },
    { "request_id_1", "request_id", NULL }
};


/* a collection in which a record sent twice might stand twice, or vanish */

const char *
sluice_collection_unfit(const bson_t *info)
{
    bson_iter_t  iter, options;

    if (bson_iter_init_find(&iter, info, "type")
        && BSON_ITER_HOLDS_UTF8(&iter))
    {
        if (strcmp(bson_iter_utf8(&iter, NULL), "timeseries") == 0) {
            return "a time-series collection, which has no unique _id";
        }

        if (strcmp(bson_iter_utf8(&iter, NULL), "view") == 0) {
            return "a view";
        }
    }

    if (!bson_iter_init_find(&iter, info, "options")
        || !BSON_ITER_HOLDS_DOCUMENT(&iter))
    {
        return NULL;
    }

    if (bson_iter_recurse(&iter, &options)
        && bson_iter_find(&options, "timeseries"))
    {
        return "a time-series collection, which has no unique _id";
    }

    if (bson_iter_recurse(&iter, &options)
        && bson_iter_find(&options, "capped") && bson_iter_as_bool(&options))
    {
        return "a capped collection, which drops records on its own";
    }

    return NULL;
}


const char *
sluice_collection_index_name(sluice_index_t index)
{
    return sluice_collection_indexes[index].name;
}


bson_t *
sluice_collection_index(const char *collection, sluice_index_t index,
    int64_t retention)
{
    bson_t  *command, indexes, one, keys;

    command = bson_new();

    BSON_APPEND_UTF8(command, "createIndexes", collection);
    BSON_APPEND_ARRAY_BEGIN(command, "indexes", &indexes);
    BSON_APPEND_DOCUMENT_BEGIN(&indexes, "0", &one);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "key", &keys);
    BSON_APPEND_INT32(&keys, sluice_collection_indexes[index].first, 1);

    if (sluice_collection_indexes[index].second != NULL) {
        BSON_APPEND_INT32(&keys, sluice_collection_indexes[index].second, -1);
    }

    bson_append_document_end(&one, &keys);
    BSON_APPEND_UTF8(&one, "name", sluice_collection_indexes[index].name);

    if (index == SLUICE_INDEX_TIME && retention != 0) {
        BSON_APPEND_INT64(&one, "expireAfterSeconds", retention);
    }

    bson_append_document_end(&indexes, &one);
    bson_append_array_end(command, &indexes);

    return command;
}


bson_t *
sluice_collection_retain(const char *collection, int64_t retention)
{
    return BCON_NEW("collMod", BCON_UTF8(collection),
                    "index", "{",
                        "keyPattern", "{", "time", BCON_INT32(1), "}",
                        "expireAfterSeconds", BCON_INT64(retention),
                    "}");
}


bool
sluice_collection_expires(const bson_t *info, int64_t *after)
{
    bson_iter_t  iter, keys;

    if (!bson_iter_init_find(&iter, info, "key")
        || !BSON_ITER_HOLDS_DOCUMENT(&iter)
        || !bson_iter_recurse(&iter, &keys)
        || !bson_iter_find(&keys, "time")
        || !bson_iter_init_find(&iter, info, "expireAfterSeconds"))
    {
        return false;
    }

    *after = bson_iter_as_int64(&iter);

    return true;
}
