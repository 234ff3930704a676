
/*
 * MongoDB, by libmongoc: unordered inserts, a client of a pool a writer.
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
 */

#define _GNU_SOURCE

#include "sink.h"
#include "document.h"
#include "log.h"

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


#define SLUICE_DATABASE   "sluice"

/* ms, unless the URI has another */
#define SLUICE_SELECTION  3000
#define SLUICE_SOCKET     30000         /* no answer to an insert            */
#define SLUICE_WTIMEOUT   10000         /* no answer of other servers        */

#define SLUICE_DUPLICATE  11000
#define SLUICE_INDEX_END  3             /* s that an end waits for indexes   */
#define SLUICE_REPEAT     60000         /* ms between lines about indexes    */


typedef struct {
    sluice_sink_t           sink;

    mongoc_uri_t           *uri;
    mongoc_uri_t           *patient;    /* the same, for making indexes      */
    mongoc_client_pool_t   *pool;
    char                   *database;
    char                   *collection;
    int64_t                 retention;  /* seconds, 0: for ever              */

    pthread_mutex_t         mutex;
    bool                    ready;      /* the collection was looked at      */

    pthread_t               indexer;
    bool                    indexing;   /* the thread is there, or was       */
    bool                    indexed;    /* atomic: indexes are as they can be */
    bool                    idle;       /* atomic: the thread is at its end  */
    sluice_log_limit_t      limit;
} sluice_sink_mongodb_t;


/* a writer's memory: the documents of one try, one after another */
typedef struct {
    uint8_t        *data;
    size_t          size;
    bson_t         *documents;
    const bson_t  **list;
    uint32_t       *index;              /* in the batch                      */
    size_t         *offset;             /* in data                           */
    uint32_t        room;
} sluice_mongodb_writer_t;


/* of which index a key is a duplicate */
typedef enum {
    SLUICE_INDEX_ID,
    SLUICE_INDEX_OTHER,
    SLUICE_INDEX_UNTOLD
} sluice_mongodb_index_t;


typedef enum {
    SLUICE_CODE_TRANSIENT,              /* it will be over                   */
    SLUICE_CODE_REJECTED,               /* of the document, for good         */
    SLUICE_CODE_OTHER                   /* rights, and what we do not know   */
} sluice_mongodb_code_t;


static void sluice_mongodb_logged(mongoc_log_level_t level,
    const char *domain, const char *message, void *data);
static void sluice_mongodb_secrets(const char *uri);
static bool sluice_mongodb_concern(sluice_sink_mongodb_t *mongodb,
    sluice_error_t *error);
static void sluice_mongodb_timeouts(sluice_sink_mongodb_t *mongodb);
static sluice_sink_answer_t sluice_sink_mongodb_check(sluice_sink_t *sink,
    sluice_error_t *error);
static void *sluice_sink_mongodb_writer_create(sluice_sink_t *sink);
static void sluice_sink_mongodb_writer_destroy(sluice_sink_t *sink,
    void *data);
static sluice_sink_answer_t sluice_sink_mongodb_write(sluice_sink_t *sink,
    void *data, sluice_batch_t *batch, sluice_error_t *error);
static void sluice_sink_mongodb_destroy(sluice_sink_t *sink);

static sluice_sink_answer_t sluice_mongodb_prepare(
    sluice_sink_mongodb_t *mongodb, mongoc_client_t *client, bool *refused,
    sluice_error_t *error);
static sluice_sink_answer_t sluice_mongodb_look(
    sluice_sink_mongodb_t *mongodb, mongoc_database_t *database,
    bool *refused, sluice_error_t *error);
static const char *sluice_mongodb_unfit(const bson_t *info);
static void sluice_mongodb_start_indexer(sluice_sink_mongodb_t *mongodb);
static void *sluice_mongodb_indexer(void *data);
static bool sluice_mongodb_indexes(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database);
static bool sluice_mongodb_index(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database, const char *name, const bson_t *keys,
    int64_t expire, bson_error_t *be);
static bool sluice_mongodb_retain(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database, bson_error_t *be);
static bool sluice_mongodb_expires(const sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database);
static sluice_sink_answer_t sluice_mongodb_insert(
    sluice_sink_mongodb_t *mongodb, mongoc_client_t *client,
    sluice_mongodb_writer_t *writer, sluice_batch_t *batch,
    sluice_error_t *error);
static uint32_t sluice_mongodb_build(sluice_mongodb_writer_t *writer,
    const sluice_batch_t *batch);
static sluice_sink_answer_t sluice_mongodb_judge(
    const sluice_mongodb_writer_t *writer, sluice_batch_t *batch,
    uint32_t sent, const bson_t *reply, const bson_error_t *be,
    sluice_error_t *error);
static sluice_sink_answer_t sluice_mongodb_judge_one(
    const sluice_mongodb_writer_t *writer, sluice_batch_t *batch,
    uint32_t sent, const bson_t *written, sluice_error_t *error);
static bool sluice_mongodb_array(const bson_t *reply, const char *name,
    bson_iter_t *array, uint32_t *n);
static sluice_mongodb_index_t sluice_mongodb_duplicate(
    const bson_t *written);
static sluice_mongodb_code_t sluice_mongodb_code(int32_t code);
static sluice_sink_answer_t sluice_mongodb_failure(const char *what,
    const bson_t *reply, const bson_error_t *be, sluice_error_t *error);


/* a primary that is going, or not there yet; a network; an end in sight */
static const int32_t  sluice_mongodb_transient[] = {
    6,          /* HostUnreachable                     */
    7,          /* HostNotFound                        */
    24,         /* LockTimeout                         */
    50,         /* MaxTimeMSExpired                    */
    64,         /* WriteConcernFailed: wtimeout        */
    89,         /* NetworkTimeout                      */
    91,         /* ShutdownInProgress                  */
    112,        /* WriteConflict                       */
    133,        /* FailedToSatisfyReadPreference       */
    134,        /* ReadConcernMajorityNotAvailableYet  */
    189,        /* PrimarySteppedDown                  */
    202,        /* NetworkInterfaceExceededTimeLimit   */
    262,        /* ExceededTimeLimit                   */
    317,        /* ConnectionPoolExpired               */
    462,        /* IngressRequestRateLimitExceeded     */
    9001,       /* SocketException                     */
    10058,      /* NotWritablePrimary, as it was       */
    10107,      /* NotWritablePrimary                  */
    11600,      /* InterruptedAtShutdown               */
    11601,      /* Interrupted                         */
    11602,      /* InterruptedDueToReplStateChange     */
    13388,      /* StaleConfig                         */
    13435,      /* NotPrimaryNoSecondaryOk             */
    13436       /* NotPrimaryOrSecondary               */
};


/* it is the document, and it will be the same tomorrow */
static const int32_t  sluice_mongodb_rejected[] = {
    22,         /* InvalidBSON                         */
    121,        /* DocumentValidationFailure           */
    10334,      /* BSONObjectTooLarge                  */
    17280       /* KeyTooLong: before MongoDB 4.2      */
};


sluice_sink_t *
sluice_sink_mongodb_create(const sluice_options_t *options,
    sluice_error_t *error)
{
    bson_error_t            be;
    const char             *name;
    sluice_sink_t          *sink;
    sluice_sink_mongodb_t  *mongodb;

    mongodb = calloc(1, sizeof(sluice_sink_mongodb_t));

    if (mongodb == NULL) {
        sluice_error(error, SLUICE_FAILED, "no memory");
        return NULL;
    }

    sink = &mongodb->sink;
    sink->name = "MongoDB";
    sink->check = sluice_sink_mongodb_check;
    sink->writer_create = sluice_sink_mongodb_writer_create;
    sink->writer_destroy = sluice_sink_mongodb_writer_destroy;
    sink->write = sluice_sink_mongodb_write;
    sink->destroy = sluice_sink_mongodb_destroy;

    pthread_mutex_init(&mongodb->mutex, NULL);

    sluice_mongodb_secrets(options->sink);

    mongoc_log_set_handler(sluice_mongodb_logged, NULL);

    mongoc_init();

    mongodb->uri = mongoc_uri_new_with_error(options->sink, &be);

    if (mongodb->uri == NULL) {
        sluice_error(error, SLUICE_FAILED, "the URI of the sink: %s",
                     be.message);
        goto failed;
    }

    if (mongoc_uri_get_password(mongodb->uri) != NULL) {

        /* as it is once it is unescaped */

        name = mongoc_uri_get_password(mongodb->uri);
        sluice_log_secret(name, strlen(name));
    }

    if (!sluice_mongodb_concern(mongodb, error)) {
        goto failed;
    }

    name = options->database;

    if (name == NULL) {
        name = mongoc_uri_get_database(mongodb->uri);
    }

    mongodb->database = strdup(name != NULL ? name : SLUICE_DATABASE);
    mongodb->collection = strdup(options->collection);
    mongodb->retention = (int64_t) (options->retention / 1000);

    if (options->retention != 0 && mongodb->retention == 0) {
        mongodb->retention = 1;
    }

    if (mongoc_uri_get_option_as_int32(mongodb->uri,
                             MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 0) == 0)
    {
        mongoc_uri_set_option_as_int32(mongodb->uri,
                                       MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                       SLUICE_SELECTION);
    }

    sluice_mongodb_timeouts(mongodb);

    mongodb->pool = mongoc_client_pool_new_with_error(mongodb->uri, &be);

    if (mongodb->pool == NULL) {
        sluice_error(error, SLUICE_FAILED, "the URI of the sink: %s",
                     be.message);
        goto failed;
    }

    mongoc_client_pool_set_error_api(mongodb->pool, 2);
    mongoc_client_pool_set_appname(mongodb->pool, "sluiced");
    mongoc_client_pool_max_size(mongodb->pool,
                                (uint32_t) options->writers + 2);

    return sink;

failed:

    sluice_sink_mongodb_destroy(sink);

    return NULL;
}


static void
sluice_sink_mongodb_destroy(sluice_sink_t *sink)
{
    sluice_sink_mongodb_t  *mongodb = (sluice_sink_mongodb_t *) sink;

    struct timespec  ts;

    if (mongodb->indexing) {
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_sec += SLUICE_INDEX_END;

        /* the server goes on by itself; nothing here may be taken from it */

        if (pthread_timedjoin_np(mongodb->indexer, NULL, &ts) != 0) {
            return;
        }
    }

    if (mongodb->pool != NULL) {
        mongoc_client_pool_destroy(mongodb->pool);
    }

    mongoc_uri_destroy(mongodb->uri);
    mongoc_uri_destroy(mongodb->patient);
    mongoc_cleanup();

    pthread_mutex_destroy(&mongodb->mutex);

    free(mongodb->database);
    free(mongodb->collection);
    free(mongodb);
}


/*
 * Its counters would stay behind after each kill.  Some releases make them in
 * a constructor, before main(), and others in mongoc_init(): those ask the
 * environment.
 */

void
sluice_sink_mongodb_tidy(void)
{
    char  name[32];

    snprintf(name, sizeof(name), "/mongoc-%u", (unsigned) getpid());

    (void) shm_unlink(name);
    (void) setenv("MONGOC_DISABLE_SHM", "1", 0);
}


static void
sluice_mongodb_logged(mongoc_log_level_t level, const char *domain,
    const char *message, void *data)
{
    (void) level;
    (void) data;

    /* what matters comes back as an error; this is for who looks for more */

    sluice_log(SLUICE_LOG_DEBUG, "libmongoc, %s: %s", domain, message);
}


/*
 * Before anything parses it: what is between "://" and the last "@" is a
 * secret, as a whole and in the parts that a message might show of it.
 */

static void
sluice_mongodb_secrets(const char *uri)
{
    size_t       n;
    const char  *start, *end, *p;

    start = strstr(uri, "://");
    end = strrchr(uri, '@');

    if (start == NULL || end == NULL || end < start) {
        return;
    }

    start += 3;

    sluice_log_secret(start, (size_t) (end - start));

    p = memchr(start, ':', (size_t) (end - start));

    if (p == NULL) {
        return;
    }

    sluice_log_secret(p + 1, (size_t) (end - p - 1));

    /* an unescaped one falls apart where the parser thinks it ends */

    while (++p < end) {
        n = strcspn(p, "@/:?,");
        sluice_log_secret(p, n);
        p += n;
    }
}


static bool
sluice_mongodb_concern(sluice_sink_mongodb_t *mongodb, sluice_error_t *error)
{
    int32_t                  w;
    mongoc_write_concern_t  *concern;

    concern = mongoc_write_concern_copy(
                              mongoc_uri_get_write_concern(mongodb->uri));

    w = mongoc_write_concern_get_w(concern);

    if (!mongoc_write_concern_is_acknowledged(concern) || w == 0 || w == -1) {
        mongoc_write_concern_destroy(concern);
        sluice_error(error, SLUICE_FAILED, "the URI of the sink has w=%d: "
                     "with it MongoDB does not say what it has written, and "
                     "records would be lost", w);
        return false;
    }

    if (w == MONGOC_WRITE_CONCERN_W_DEFAULT) {
        mongoc_write_concern_set_w(concern, MONGOC_WRITE_CONCERN_W_MAJORITY);
        mongoc_uri_set_write_concern(mongodb->uri, concern);

    } else if (w == 1) {
        sluice_log(SLUICE_LOG_WARN, "the URI of the sink has w=1: records "
                   "that one server has taken are lost if another becomes "
                   "primary before it has them");
    }

    mongoc_write_concern_destroy(concern);

    return true;
}


/* an insert that nobody answers is to end; an index takes what it takes */

static void
sluice_mongodb_timeouts(sluice_sink_mongodb_t *mongodb)
{
    mongoc_write_concern_t  *concern;

    mongodb->patient = mongoc_uri_copy(mongodb->uri);

    /* of a client without a pool, which looks for its server once only */

    mongoc_uri_set_option_as_bool(mongodb->patient,
                                  MONGOC_URI_SERVERSELECTIONTRYONCE, false);

    if (!mongoc_uri_has_option(mongodb->uri, MONGOC_URI_SOCKETTIMEOUTMS)) {
        mongoc_uri_set_option_as_int32(mongodb->uri,
                                       MONGOC_URI_SOCKETTIMEOUTMS,
                                       SLUICE_SOCKET);
    }

    concern = mongoc_write_concern_copy(
                              mongoc_uri_get_write_concern(mongodb->uri));

    if (mongoc_write_concern_get_wtimeout_int64(concern) == 0) {
        mongoc_write_concern_set_wtimeout_int64(concern, SLUICE_WTIMEOUT);
        mongoc_uri_set_write_concern(mongodb->uri, concern);
    }

    mongoc_write_concern_destroy(concern);
}


static sluice_sink_answer_t
sluice_sink_mongodb_check(sluice_sink_t *sink, sluice_error_t *error)
{
    sluice_sink_mongodb_t  *mongodb = (sluice_sink_mongodb_t *) sink;

    bool                   refused;
    mongoc_client_t       *client;
    sluice_sink_answer_t   answer;

    client = mongoc_client_pool_pop(mongodb->pool);
    answer = sluice_mongodb_prepare(mongodb, client, &refused, error);
    mongoc_client_pool_push(mongodb->pool, client);

    /* rights may be given and passwords changed while we wait */

    if (answer == SLUICE_SINK_FAILED && !refused) {
        answer = SLUICE_SINK_RETRY;
    }

    return answer;
}


/*
 * What is in the place of the collection: at start, and after each time that
 * the server was away, for it may be another one.
 */

static sluice_sink_answer_t
sluice_mongodb_prepare(sluice_sink_mongodb_t *mongodb,
    mongoc_client_t *client, bool *refused, sluice_error_t *error)
{
    mongoc_database_t     *database;
    sluice_sink_answer_t   answer;

    *refused = false;
    answer = SLUICE_SINK_DONE;

    pthread_mutex_lock(&mongodb->mutex);

    if (!mongodb->ready) {
        database = mongoc_client_get_database(client, mongodb->database);

        answer = sluice_mongodb_look(mongodb, database, refused, error);

        if (answer == SLUICE_SINK_DONE) {
            mongodb->ready = true;
            sluice_mongodb_start_indexer(mongodb);
        }

        mongoc_database_destroy(database);
    }

    pthread_mutex_unlock(&mongodb->mutex);

    return answer;
}


static sluice_sink_answer_t
sluice_mongodb_look(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database, bool *refused, sluice_error_t *error)
{
    bson_t                  opts, filter;
    const char             *unfit;
    const bson_t           *info, *reply;
    bson_error_t            be;
    mongoc_cursor_t        *cursor;
    sluice_sink_answer_t    answer;

    bson_init(&opts);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "filter", &filter);
    BSON_APPEND_UTF8(&filter, "name", mongodb->collection);
    bson_append_document_end(&opts, &filter);

    cursor = mongoc_database_find_collections_with_opts(database, &opts);

    answer = SLUICE_SINK_DONE;

    while (mongoc_cursor_next(cursor, &info)) {
        unfit = sluice_mongodb_unfit(info);

        if (unfit != NULL) {
            sluice_error(error, SLUICE_FAILED, "\"%s.%s\" is %s",
                         mongodb->database, mongodb->collection, unfit);
            *refused = true;
            answer = SLUICE_SINK_FAILED;
        }
    }

    if (mongoc_cursor_error_document(cursor, &be, &reply)) {
        answer = sluice_mongodb_failure("listCollections", reply, &be, error);
    }

    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);

    return answer;
}


/* a collection in which a record sent twice might stand twice, or vanish */

static const char *
sluice_mongodb_unfit(const bson_t *info)
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


/*
 * Building an index of a large collection takes minutes, and createIndexes
 * answers when it is built.  Records need not wait for that: a thread of its
 * own does.  Under the mutex.
 */

static void
sluice_mongodb_start_indexer(sluice_sink_mongodb_t *mongodb)
{
    int       rc;
    sigset_t  all, old;

    if (__atomic_load_n(&mongodb->indexed, __ATOMIC_ACQUIRE)) {
        return;
    }

    if (mongodb->indexing) {
        if (!__atomic_load_n(&mongodb->idle, __ATOMIC_ACQUIRE)) {
            return;
        }

        pthread_join(mongodb->indexer, NULL);
    }

    mongodb->idle = false;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = pthread_create(&mongodb->indexer, NULL, sluice_mongodb_indexer,
                        mongodb);

    pthread_sigmask(SIG_SETMASK, &old, NULL);

    mongodb->indexing = (rc == 0);

    if (rc != 0) {
        sluice_log(SLUICE_LOG_ERROR, "no thread to make indexes: %s",
                   strerror(rc));
    }
}


static void *
sluice_mongodb_indexer(void *data)
{
    sluice_sink_mongodb_t  *mongodb = data;

    bool                done;
    mongoc_client_t    *client;
    mongoc_database_t  *database;

    done = false;
    client = mongoc_client_new_from_uri(mongodb->patient);

    if (client != NULL) {
        mongoc_client_set_error_api(client, 2);
        mongoc_client_set_appname(client, "sluiced");

        database = mongoc_client_get_database(client, mongodb->database);

        done = sluice_mongodb_indexes(mongodb, database);

        mongoc_database_destroy(database);
        mongoc_client_destroy(client);
    }

    /* else again when the server is back: that is when it is looked at */

    __atomic_store_n(&mongodb->indexed, done, __ATOMIC_RELEASE);
    __atomic_store_n(&mongodb->idle, true, __ATOMIC_RELEASE);

    return NULL;
}


/*
 * An index that cannot be had costs its readers time, and us no record.
 * false: the server went away meanwhile.
 */

static bool
sluice_mongodb_indexes(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database)
{
    bool           ok;
    bson_t        *keys;
    unsigned       i, withheld;
    bson_error_t   be;

    static const struct {
        const char  *name;
        const char  *first;
        const char  *second;
    } index[] = {
        { "time_1", "time", NULL },
        { "client_1_time_-1", "client", "time" },
        { "request_id_1", "request_id", NULL }
    };

    for (i = 0; i < sizeof(index) / sizeof(index[0]); i++) {

        keys = BCON_NEW(index[i].first, BCON_INT32(1));

        if (index[i].second != NULL) {
            BSON_APPEND_INT32(keys, index[i].second, -1);
        }

        memset(&be, 0, sizeof(bson_error_t));

        ok = sluice_mongodb_index(mongodb, database, index[i].name, keys,
                                  i == 0 ? mongodb->retention : 0, &be);
        bson_destroy(keys);

        /* IndexOptionsConflict, IndexKeySpecsConflict: it has another TTL */

        if (!ok && i == 0 && mongodb->retention != 0
            && (be.code == 85 || be.code == 86))
        {
            ok = sluice_mongodb_retain(mongodb, database, &be);
        }

        if (i == 0 && mongodb->retention == 0
            && sluice_mongodb_expires(mongodb, database))
        {
            continue;
        }

        if (ok) {
            continue;
        }

        if (be.domain != MONGOC_ERROR_SERVER
            || sluice_mongodb_code((int32_t) be.code) == SLUICE_CODE_TRANSIENT)
        {
            return false;
        }

        if (sluice_log_due(&mongodb->limit, SLUICE_REPEAT, &withheld)) {
            sluice_log(SLUICE_LOG_WARN, "the index %s of \"%s.%s\" is not as "
                       "it should be: %s (%u)", index[i].name,
                       mongodb->database, mongodb->collection, be.message,
                       be.code);
        }
    }

    return true;
}


static bool
sluice_mongodb_index(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database, const char *name, const bson_t *keys,
    int64_t expire, bson_error_t *be)
{
    bool    ok;
    bson_t  command, indexes, index;

    bson_init(&command);
    BSON_APPEND_UTF8(&command, "createIndexes", mongodb->collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "indexes", &indexes);
    BSON_APPEND_DOCUMENT_BEGIN(&indexes, "0", &index);
    BSON_APPEND_DOCUMENT(&index, "key", keys);
    BSON_APPEND_UTF8(&index, "name", name);

    if (expire != 0) {
        BSON_APPEND_INT64(&index, "expireAfterSeconds", expire);
    }

    bson_append_document_end(&indexes, &index);
    bson_append_array_end(&command, &indexes);

    ok = mongoc_database_write_command_with_opts(database, &command, NULL,
                                                 NULL, be);
    bson_destroy(&command);

    return ok;
}


static bool
sluice_mongodb_retain(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database, bson_error_t *be)
{
    bool     ok;
    bson_t  *command;

    command = BCON_NEW("collMod", BCON_UTF8(mongodb->collection),
                       "index", "{",
                           "keyPattern", "{", "time", BCON_INT32(1), "}",
                           "expireAfterSeconds",
                           BCON_INT64(mongodb->retention),
                       "}");

    ok = mongoc_database_write_command_with_opts(database, command, NULL,
                                                 NULL, be);
    bson_destroy(command);

    return ok;
}


/* whether records are removed although nobody asked for it: then it tells */

static bool
sluice_mongodb_expires(const sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database)
{
    bool                  found;
    bson_iter_t           iter, keys;
    const bson_t         *info;
    mongoc_cursor_t      *cursor;
    mongoc_collection_t  *collection;

    collection = mongoc_database_get_collection(database,
                                                mongodb->collection);
    cursor = mongoc_collection_find_indexes_with_opts(collection, NULL);
    found = false;

    while (!found && mongoc_cursor_next(cursor, &info)) {

        if (!bson_iter_init_find(&iter, info, "key")
            || !BSON_ITER_HOLDS_DOCUMENT(&iter)
            || !bson_iter_recurse(&iter, &keys)
            || !bson_iter_find(&keys, "time")
            || !bson_iter_init_find(&iter, info, "expireAfterSeconds"))
        {
            continue;
        }

        found = true;

        sluice_log(SLUICE_LOG_ERROR, "MongoDB still removes records (TTL of "
                   "%lld s) although --retention is 0: drop the index time_1",
                   (long long) bson_iter_as_int64(&iter));
    }

    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);

    return found;
}


static void *
sluice_sink_mongodb_writer_create(sluice_sink_t *sink)
{
    (void) sink;

    return calloc(1, sizeof(sluice_mongodb_writer_t));
}


static void
sluice_sink_mongodb_writer_destroy(sluice_sink_t *sink, void *data)
{
    sluice_mongodb_writer_t  *writer = data;

    (void) sink;

    bson_free(writer->data);
    free(writer->documents);
    free(writer->list);
    free(writer->index);
    free(writer->offset);
    free(writer);
}


static sluice_sink_answer_t
sluice_sink_mongodb_write(sluice_sink_t *sink, void *data,
    sluice_batch_t *batch, sluice_error_t *error)
{
    sluice_mongodb_writer_t  *writer = data;
    sluice_sink_mongodb_t    *mongodb = (sluice_sink_mongodb_t *) sink;

    bool                   refused;
    mongoc_client_t       *client;
    sluice_sink_answer_t   answer;

    client = mongoc_client_pool_pop(mongodb->pool);

    answer = sluice_mongodb_prepare(mongodb, client, &refused, error);

    if (answer == SLUICE_SINK_DONE) {
        answer = sluice_mongodb_insert(mongodb, client, writer, batch, error);

        if (answer != SLUICE_SINK_DONE) {
            pthread_mutex_lock(&mongodb->mutex);
            mongodb->ready = false;
            __atomic_store_n(&mongodb->indexed, false, __ATOMIC_RELEASE);
            pthread_mutex_unlock(&mongodb->mutex);
        }
    }

    mongoc_client_pool_push(mongodb->pool, client);

    return answer;
}


static sluice_sink_answer_t
sluice_mongodb_insert(sluice_sink_mongodb_t *mongodb,
    mongoc_client_t *client, sluice_mongodb_writer_t *writer,
    sluice_batch_t *batch, sluice_error_t *error)
{
    bool                    ok;
    bson_t                  opts, reply;
    uint32_t                i, n;
    bson_error_t            be;
    mongoc_collection_t    *collection;
    sluice_sink_answer_t    answer;

    n = sluice_mongodb_build(writer, batch);

    if (n == UINT32_MAX) {
        sluice_error(error, SLUICE_FAILED, "no memory for %u documents",
                     batch->count);
        return SLUICE_SINK_RETRY;
    }

    if (n == 0) {
        return SLUICE_SINK_DONE;
    }

    collection = mongoc_client_get_collection(client, mongodb->database,
                                              mongodb->collection);

    /* what document.c makes is valid: no need to look at each byte again */

    bson_init(&opts);
    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);

    memset(&be, 0, sizeof(bson_error_t));

    ok = mongoc_collection_insert_many(collection, writer->list, n, &opts,
                                       &reply, &be);

    if (ok) {
        for (i = 0; i < n; i++) {
            batch->records[writer->index[i]].state = SLUICE_BATCH_DONE;
        }

        answer = SLUICE_SINK_DONE;

    } else {
        answer = sluice_mongodb_judge(writer, batch, n, &reply, &be, error);
    }

    bson_destroy(&reply);
    bson_destroy(&opts);
    mongoc_collection_destroy(collection);

    return answer;
}


/*
 * Documents of the pending records, in memory that is kept from batch to
 * batch.  Returns how many, UINT32_MAX if there is no memory.
 */

static uint32_t
sluice_mongodb_build(sluice_mongodb_writer_t *writer,
    const sluice_batch_t *batch)
{
    bson_t                      *document;
    uint32_t                     i, n;
    bson_writer_t               *w;
    const sluice_batch_lane_t   *lane;

    if (writer->room < batch->size) {
        free(writer->documents);
        free(writer->list);
        free(writer->index);
        free(writer->offset);

        /* bson_t is aligned to 128 bytes */

        writer->documents = aligned_alloc(128, batch->size * sizeof(bson_t));
        writer->list = malloc(batch->size * sizeof(bson_t *));
        writer->index = malloc(batch->size * sizeof(uint32_t));
        writer->offset = malloc(batch->size * sizeof(size_t));
        writer->room = batch->size;

        if (writer->documents == NULL || writer->list == NULL
            || writer->index == NULL || writer->offset == NULL)
        {
            writer->room = 0;
            return UINT32_MAX;
        }
    }

    w = bson_writer_new(&writer->data, &writer->size, 0, bson_realloc_ctx,
                        NULL);
    n = 0;

    for (i = 0; i < batch->count; i++) {

        if (batch->records[i].state != SLUICE_BATCH_PENDING) {
            continue;
        }

        writer->index[n] = i;
        writer->offset[n] = bson_writer_get_length(w);
        n++;

        lane = sluice_batch_lane(batch, i);

        bson_writer_begin(w, &document);
        sluice_document_make(document, sluice_batch_record(batch, i),
                             lane->uuid, lane->node);
        bson_writer_end(w);
    }

    /* the buffer may have moved until now */

    for (i = 0; i < n; i++) {
        (void) bson_init_static(&writer->documents[i],
                                writer->data + writer->offset[i],
                                (i + 1 < n ? writer->offset[i + 1]
                                           : bson_writer_get_length(w))
                                - writer->offset[i]);

        writer->list[i] = &writer->documents[i];
    }

    bson_writer_destroy(w);

    return n;
}


/* the insert failed as a whole or in part: what is known of each record */

static sluice_sink_answer_t
sluice_mongodb_judge(const sluice_mongodb_writer_t *writer,
    sluice_batch_t *batch, uint32_t sent, const bson_t *reply,
    const bson_error_t *be, sluice_error_t *error)
{
    bson_t                 written;
    uint32_t               i, len, errors, concerns;
    const uint8_t         *data;
    bson_iter_t            iter, array;
    bson_error_t           concern;
    sluice_sink_answer_t   answer, one;

    (void) sluice_mongodb_array(reply, "writeErrors", &array, &errors);

    if (sluice_mongodb_array(reply, "writeConcernErrors", &iter, &concerns)
        && bson_iter_next(&iter) && BSON_ITER_HOLDS_DOCUMENT(&iter))
    {
        /* written, but nobody knows whether to stay: all of it again */

        bson_iter_document(&iter, &len, &data);
        memset(&concern, 0, sizeof(bson_error_t));
        concern.domain = MONGOC_ERROR_SERVER;
        snprintf(concern.message, sizeof(concern.message),
                 "a write concern error");

        if (bson_init_static(&written, data, len)) {
            if (bson_iter_init_find(&iter, &written, "code")) {
                concern.code = (uint32_t) bson_iter_as_int64(&iter);
            }

            if (bson_iter_init_find(&iter, &written, "errmsg")
                && BSON_ITER_HOLDS_UTF8(&iter))
            {
                snprintf(concern.message, sizeof(concern.message), "%s",
                         bson_iter_utf8(&iter, NULL));
            }
        }

        return sluice_mongodb_failure("insert", reply, &concern, error);
    }

    if (errors == 0 || !bson_iter_init_find(&iter, reply, "insertedCount")
        || (uint64_t) bson_iter_as_int64(&iter) + errors != sent)
    {
        return sluice_mongodb_failure("insert", reply, be, error);
    }

    /* those that have an error are pending again, or rejected; the rest */

    for (i = 0; i < sent; i++) {
        batch->records[writer->index[i]].state = SLUICE_BATCH_DONE;
    }

    answer = SLUICE_SINK_DONE;

    while (bson_iter_next(&array)) {

        one = SLUICE_SINK_FAILED;

        if (BSON_ITER_HOLDS_DOCUMENT(&array)) {
            bson_iter_document(&array, &len, &data);

            if (bson_init_static(&written, data, len)) {
                one = sluice_mongodb_judge_one(writer, batch, sent, &written,
                                               error);
            }
        }

        if (one > answer) {
            answer = one;
        }
    }

    return answer;
}


static sluice_sink_answer_t
sluice_mongodb_judge_one(const sluice_mongodb_writer_t *writer,
    sluice_batch_t *batch, uint32_t sent, const bson_t *written,
    sluice_error_t *error)
{
    int32_t                 code;
    int64_t                 at;
    uint32_t                i;
    const char             *text;
    bson_iter_t             iter;
    sluice_mongodb_code_t   class;

    at = -1;
    code = 0;
    text = "an error without a text";

    if (bson_iter_init_find(&iter, written, "index")) {
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

    if (at < 0 || at >= sent) {

        /* of which one it tells nobody knows: then of any */

        for (i = 0; i < sent; i++) {
            batch->records[writer->index[i]].state = SLUICE_BATCH_PENDING;
        }

        sluice_error(error, SLUICE_FAILED, "insert: %s (%d)", text, code);
        return SLUICE_SINK_FAILED;
    }

    i = writer->index[at];

    class = sluice_mongodb_code(code);

    if (code == SLUICE_DUPLICATE) {
        switch (sluice_mongodb_duplicate(written)) {

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
sluice_mongodb_array(const bson_t *reply, const char *name,
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

static sluice_mongodb_index_t
sluice_mongodb_duplicate(const bson_t *written)
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


static sluice_mongodb_code_t
sluice_mongodb_code(int32_t code)
{
    unsigned  i;

    for (i = 0;
         i < sizeof(sluice_mongodb_transient)
             / sizeof(sluice_mongodb_transient[0]);
         i++)
    {
        if (sluice_mongodb_transient[i] == code) {
            return SLUICE_CODE_TRANSIENT;
        }
    }

    for (i = 0;
         i < sizeof(sluice_mongodb_rejected)
             / sizeof(sluice_mongodb_rejected[0]);
         i++)
    {
        if (sluice_mongodb_rejected[i] == code) {
            return SLUICE_CODE_REJECTED;
        }
    }

    return SLUICE_CODE_OTHER;
}


/* a command that failed as a whole */

static sluice_sink_answer_t
sluice_mongodb_failure(const char *what, const bson_t *reply,
    const bson_error_t *be, sluice_error_t *error)
{
    if (be->domain == MONGOC_ERROR_SERVER) {
        sluice_error(error, SLUICE_FAILED, "%s: %s (%u)", what, be->message,
                     be->code);

    } else {            /* the driver's own codes mean nothing to anybody */
        sluice_error(error, SLUICE_FAILED, "%s: %s", what, be->message);
    }

    if (reply != NULL
        && (mongoc_error_has_label(reply, "RetryableWriteError")
            || mongoc_error_has_label(reply, "NetworkError")))
    {
        return SLUICE_SINK_RETRY;
    }

    switch (be->domain) {

    case MONGOC_ERROR_STREAM:
    case MONGOC_ERROR_SERVER_SELECTION:
    case MONGOC_ERROR_POOL:
        return SLUICE_SINK_RETRY;

    case MONGOC_ERROR_SERVER:
    case MONGOC_ERROR_WRITE_CONCERN:
        return sluice_mongodb_code((int32_t) be->code)
               == SLUICE_CODE_TRANSIENT
               ? SLUICE_SINK_RETRY : SLUICE_SINK_FAILED;

    default:            /* CLIENT: a wrong password, above all */
        return SLUICE_SINK_FAILED;
    }
}
