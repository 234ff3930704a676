
/*
 * What libmongoc does at best with the same documents: one client, one
 * thread, unordered bulk inserts, nothing around them.
 *
 *   insert_loop URI [records] [batch]
 *
 * The documents are made on the way, by the function that sluiced has for it.
 * The collection, "insert_loop", gets the indexes that sluiced makes, so that
 * the server has the same work.  Prints a line of JSON.
 */

#include "clock.h"
#include "document.h"
#include "sample.h"

#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static int
insert_batch(mongoc_collection_t *collection, uint64_t first, uint64_t n,
    const uint8_t uuid[16])
{
    int                       rc;
    bson_t                    opts, document;
    uint64_t                  i;
    bson_error_t              error;
    mongoc_bulk_operation_t  *bulk;

    _Alignas(8) uint8_t  bytes[SLUICE_RECORD_MAX];
    sluice_record_t     *record = (sluice_record_t *) bytes;

    bson_init(&opts);
    BSON_APPEND_BOOL(&opts, "ordered", false);

    bulk = mongoc_collection_create_bulk_operation_with_opts(collection,
                                                             &opts);
    bson_destroy(&opts);

    for (i = first; i < first + n; i++) {
        sluice_record_init(record, i + 1, sluice_clock_wall_us());
        sample_fill(record, i);

        bson_init(&document);
        sluice_document_make(&document, record, uuid, "bench");
        mongoc_bulk_operation_insert(bulk, &document);
        bson_destroy(&document);
    }

    rc = mongoc_bulk_operation_execute(bulk, NULL, &error) ? 0 : 1;

    if (rc != 0) {
        fprintf(stderr, "insert_loop: %s\n", error.message);
    }

    mongoc_bulk_operation_destroy(bulk);

    return rc;
}


static int
insert_indexes(mongoc_client_t *client, const char *database)
{
    int            rc;
    bson_t        *command;
    bson_error_t   error;

    command = BCON_NEW("createIndexes", "insert_loop", "indexes", "[",
                       "{", "key", "{", "time", BCON_INT32(1), "}",
                            "name", "time_1", "}",
                       "{", "key", "{", "client", BCON_INT32(1),
                            "time", BCON_INT32(-1), "}",
                            "name", "client_1_time_-1", "}",
                       "{", "key", "{", "request_id", BCON_INT32(1), "}",
                            "name", "request_id_1", "}", "]");

    rc = mongoc_client_write_command_with_opts(client, database, command,
                                               NULL, NULL, &error) ? 0 : 1;
    if (rc != 0) {
        fprintf(stderr, "insert_loop: %s\n", error.message);
    }

    bson_destroy(command);

    return rc;
}


int
main(int argc, char **argv)
{
    int                       rc;
    uint8_t                   uuid[16];
    uint64_t                  n, records, batch, start, end;
    const char               *name;
    bson_error_t              error;
    mongoc_uri_t             *uri;
    mongoc_client_t          *client;
    mongoc_collection_t      *collection;
    mongoc_write_concern_t   *concern;

    if (argc < 2) {
        fprintf(stderr, "insert_loop: see the head of its source\n");
        return 2;
    }

    records = (argc > 2) ? strtoull(argv[2], NULL, 10) : 100000;
    batch = (argc > 3) ? strtoull(argv[3], NULL, 10) : 1000;

    mongoc_init();

    uri = mongoc_uri_new_with_error(argv[1], &error);
    client = (uri != NULL) ? mongoc_client_new_from_uri(uri) : NULL;

    if (client == NULL) {
        fprintf(stderr, "insert_loop: the URI is not understood\n");
        return 1;
    }

    name = mongoc_uri_get_database(uri);
    name = (name != NULL) ? name : "sluice";
    collection = mongoc_client_get_collection(client, name, "insert_loop");

    concern = mongoc_write_concern_new();
    mongoc_write_concern_set_w(concern, MONGOC_WRITE_CONCERN_W_MAJORITY);
    mongoc_collection_set_write_concern(collection, concern);
    mongoc_write_concern_destroy(concern);

    rc = insert_indexes(client, name);

    start = sluice_clock_us();
    memset(uuid, 0, sizeof(uuid));
    memcpy(uuid, &start, sizeof(start));

    for (n = 0; n < records && rc == 0; n += batch) {
        rc = insert_batch(collection, n,
                          batch < records - n ? batch : records - n, uuid);
    }

    end = sluice_clock_us();

    if (rc == 0) {
        printf("{\"records\":%llu,\"batch\":%llu,\"seconds\":%.6f,"
               "\"rate\":%.0f}\n", (unsigned long long) records,
               (unsigned long long) batch, (double) (end - start) / 1e6,
               (double) records * 1e6 / (double) (end - start + 1));
    }

    mongoc_collection_destroy(collection);
    mongoc_client_destroy(client);
    mongoc_uri_destroy(uri);
    mongoc_cleanup();

    return rc;
}
