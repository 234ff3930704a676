
/*
 * MongoDB, by libmongoc: unordered inserts, a client of a pool a writer.
 * What is sent and what a reply tells of it: insert.h.  What needs no
 * libmongoc is elsewhere: here is the one file that may use it.
 */

#define _GNU_SOURCE

#include "sink.h"
#include "clock.h"
#include "codes.h"
#include "collection.h"
#include "insert.h"
#include "log.h"

#include <fcntl.h>
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <signal.h>
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

#define SLUICE_INDEX_END  3             /* s that an end waits for indexes   */
#define SLUICE_REPEAT     60000         /* ms between lines that are alike   */
#define SLUICE_TELLS      8             /* of libmongoc, in that time        */


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


/* a line of libmongoc's, as far as it is needed to know it again */
typedef struct {
    char                    text[128];
    sluice_log_limit_t      limit;
} sluice_mongodb_tell_t;


static bool sluice_mongodb_secret_names(const char *uri);
static void sluice_mongodb_logged(mongoc_log_level_t level,
    const char *domain, const char *message, void *data);
static bool sluice_mongodb_due(const char *message);
static bool sluice_mongodb_concern(sluice_sink_mongodb_t *mongodb,
    sluice_error_t *error);
static bool sluice_mongodb_tls(sluice_sink_mongodb_t *mongodb,
    sluice_error_t *error);
static bool sluice_mongodb_readable(const char *option, const char *path,
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
static void sluice_mongodb_hint(const sluice_sink_mongodb_t *mongodb,
    sluice_error_t *error);
static void sluice_mongodb_start_indexer(sluice_sink_mongodb_t *mongodb);
static void *sluice_mongodb_indexer(void *data);
static bool sluice_mongodb_indexes(sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database);
static bool sluice_mongodb_command(mongoc_database_t *database,
    bson_t *command, bson_error_t *be);
static bool sluice_mongodb_expires(const sluice_sink_mongodb_t *mongodb,
    mongoc_database_t *database);
static sluice_sink_answer_t sluice_mongodb_insert(
    sluice_sink_mongodb_t *mongodb, mongoc_client_t *client,
    sluice_insert_t *insert, sluice_batch_t *batch, sluice_error_t *error);
static sluice_sink_answer_t sluice_mongodb_judge(
    const sluice_insert_t *insert, sluice_batch_t *batch,
    const bson_t *reply, const bson_error_t *be, sluice_error_t *error);
static sluice_sink_answer_t sluice_mongodb_failure(const char *what,
    const bson_t *reply, const bson_error_t *be, sluice_error_t *error);


/* libmongoc has one handler for all, in any thread */

static pthread_mutex_t        sluice_mongodb_telling =
                                                  PTHREAD_MUTEX_INITIALIZER;
static sluice_mongodb_tell_t  sluice_mongodb_tells[SLUICE_TELLS];


sluice_sink_t *
sluice_sink_mongodb_create(const sluice_options_t *options,
    sluice_error_t *error)
{
    bson_error_t            be;
    const char             *name;
    sluice_sink_t          *sink;
    sluice_sink_mongodb_t  *mongodb;

    if (!sluice_log_secret_uri(options->sink)
        || !sluice_mongodb_secret_names(options->sink)
        || (mongodb = calloc(1, sizeof(sluice_sink_mongodb_t))) == NULL)
    {
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

        if (!sluice_log_secret(name, strlen(name))) {
            sluice_error(error, SLUICE_FAILED, "no memory");
            goto failed;
        }
    }

    if (!sluice_mongodb_concern(mongodb, error)
        || !sluice_mongodb_tls(mongodb, error))
    {
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


/*
 * A password with an "&" that is not escaped goes on in the name of an option
 * that libmongoc does not know, and tells, in lower case.
 */

static bool
sluice_mongodb_secret_names(const char *uri)
{
    char         name[256];
    size_t       i, n;
    const char  *p;

    p = strcasestr(uri, "password=");

    while (p != NULL && (p = strchr(p, '&')) != NULL) {

        n = strcspn(++p, "=&");

        if (n >= sizeof(name)) {
            n = sizeof(name) - 1;
        }

        for (i = 0; i < n; i++) {
            name[i] = (p[i] >= 'A' && p[i] <= 'Z') ? (char) (p[i] | 0x20)
                                                   : p[i];
        }

        name[n] = '\0';

        if (mongoc_uri_option_is_bool(name) || mongoc_uri_option_is_int32(name)
            || mongoc_uri_option_is_int64(name)
            || mongoc_uri_option_is_utf8(name))
        {
            continue;
        }

        if (!sluice_log_secret(name, n)) {
            return false;
        }
    }

    return true;
}


/*
 * What matters comes back as an error, but for options that nobody knows, and
 * for what is wrong with a file of TLS; the rest is for who looks for more.
 */

static void
sluice_mongodb_logged(mongoc_log_level_t level, const char *domain,
    const char *message, void *data)
{
    bool  tell;

    (void) data;

    tell = level <= MONGOC_LOG_LEVEL_WARNING && sluice_mongodb_due(message);

    sluice_log(tell ? SLUICE_LOG_WARN : SLUICE_LOG_DEBUG,
               "libmongoc, %s: %s", domain, message);
}


/* the same once in a while, and no more than a few: it tries twice a second */

static bool
sluice_mongodb_due(const char *message)
{
    bool                    due;
    uint64_t                now;
    unsigned                i, withheld;
    sluice_mongodb_tell_t  *tell, *place;

    due = false;
    place = NULL;
    now = sluice_clock_ms();

    pthread_mutex_lock(&sluice_mongodb_telling);

    for (i = 0; i < SLUICE_TELLS; i++) {

        tell = &sluice_mongodb_tells[i];

        if (strncmp(tell->text, message, sizeof(tell->text) - 1) == 0) {
            place = tell;
            break;
        }

        if (now >= tell->limit.next) {
            place = tell;
        }
    }

    if (place != NULL) {
        snprintf(place->text, sizeof(place->text), "%s", message);
        due = sluice_log_due(&place->limit, SLUICE_REPEAT, &withheld);
    }

    pthread_mutex_unlock(&sluice_mongodb_telling);

    return due;
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


/* what is known to be wrong before anything is sent */

static bool
sluice_mongodb_tls(sluice_sink_mongodb_t *mongodb, sluice_error_t *error)
{
    const char  *ca, *key, *password;

    if (!mongoc_uri_get_tls(mongodb->uri)) {
        return true;
    }

    if (mongoc_uri_get_option_as_bool(mongodb->uri, MONGOC_URI_TLSINSECURE,
                                      false)
        || mongoc_uri_get_option_as_bool(mongodb->uri,
                              MONGOC_URI_TLSALLOWINVALIDCERTIFICATES, false)
        || mongoc_uri_get_option_as_bool(mongodb->uri,
                              MONGOC_URI_TLSALLOWINVALIDHOSTNAMES, false))
    {
        sluice_log(SLUICE_LOG_WARN, "the URI of the sink has the server's "
                   "certificate, or its name, not checked: whoever is in "
                   "between can read the records, and keep them");
    }

    ca = mongoc_uri_get_option_as_utf8(mongodb->uri, MONGOC_URI_TLSCAFILE,
                                       NULL);
    key = mongoc_uri_get_option_as_utf8(mongodb->uri,
                                     MONGOC_URI_TLSCERTIFICATEKEYFILE, NULL);

    if ((ca != NULL && !sluice_mongodb_readable("tlsCAFile", ca, error))
        || (key != NULL
            && !sluice_mongodb_readable("tlsCertificateKeyFile", key, error)))
    {
        return false;
    }

    password = mongoc_uri_get_option_as_utf8(mongodb->uri,
                             MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD, NULL);

    /* for a key that has one OpenSSL would ask the terminal, and wait */

    if (key != NULL && password == NULL) {
        mongoc_uri_set_option_as_utf8(mongodb->uri,
                                MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD, "");
    }

    return true;
}


static bool
sluice_mongodb_readable(const char *option, const char *path,
    sluice_error_t *error)
{
    int      fd;
    char     byte;
    ssize_t  n;

    fd = open(path, O_RDONLY|O_CLOEXEC|O_NONBLOCK);
    n = (fd != -1) ? read(fd, &byte, 1) : -1;

    if (n == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "the URI of the sink: "
                           "reading %s=%s failed", option, path);

    } else if (n == 0) {
        sluice_error(error, SLUICE_FAILED, "the URI of the sink: %s=%s is "
                     "empty", option, path);
    }

    if (fd != -1) {
        close(fd);
    }

    return n == 1;
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
        unfit = sluice_collection_unfit(info);

        if (unfit != NULL) {
            sluice_error(error, SLUICE_FAILED, "\"%s.%s\" is %s",
                         mongodb->database, mongodb->collection, unfit);
            *refused = true;
            answer = SLUICE_SINK_FAILED;
        }
    }

    if (mongoc_cursor_error_document(cursor, &be, &reply)) {
        answer = sluice_mongodb_failure("listCollections", reply, &be, error);

        if (be.domain == MONGOC_ERROR_SERVER_SELECTION) {
            sluice_mongodb_hint(mongodb, error);
        }
    }

    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);

    return answer;
}


/* the driver does not say so where TLS may be what is wrong */

static void
sluice_mongodb_hint(const sluice_sink_mongodb_t *mongodb,
    sluice_error_t *error)
{
    size_t       len;
    const char  *hint;

    if (strstr(error->text, "initialize TLS") != NULL) {
        hint = "a file that the URI names is not what it should be, or "
               "tlsCertificateKeyFilePassword is not its password";

    } else if (strstr(error->text, "Failed to read") == NULL
               && strstr(error->text, "onnection closed") == NULL)
    {
        return;

    } else if (!mongoc_uri_get_tls(mongodb->uri)) {
        hint = "does the server want TLS? the URI has no tls=true";

    } else {
        hint = "does the server want another client certificate? see "
               "tlsCertificateKeyFile";
    }

    len = strlen(error->text);

    snprintf(error->text + len, sizeof(error->text) - len, " (%s)", hint);
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
    bool            ok;
    bson_t         *command;
    unsigned        withheld;
    bson_error_t    be;
    sluice_index_t  i;

    for (i = 0; i < SLUICE_INDEXES; i++) {

        memset(&be, 0, sizeof(bson_error_t));

        command = sluice_collection_index(mongodb->collection, i,
                                          mongodb->retention);
        ok = sluice_mongodb_command(database, command, &be);

        /* IndexOptionsConflict, IndexKeySpecsConflict: it has another TTL */

        if (!ok && i == SLUICE_INDEX_TIME && mongodb->retention != 0
            && (be.code == 85 || be.code == 86))
        {
            command = sluice_collection_retain(mongodb->collection,
                                               mongodb->retention);
            ok = sluice_mongodb_command(database, command, &be);
        }

        if (i == SLUICE_INDEX_TIME && mongodb->retention == 0
            && sluice_mongodb_expires(mongodb, database))
        {
            continue;
        }

        if (ok) {
            continue;
        }

        if (be.domain != MONGOC_ERROR_SERVER
            || sluice_code_class((int32_t) be.code) == SLUICE_CODE_TRANSIENT)
        {
            return false;
        }

        if (sluice_log_due(&mongodb->limit, SLUICE_REPEAT, &withheld)) {
            sluice_log(SLUICE_LOG_WARN, "the index %s of \"%s.%s\" is not as "
                       "it should be: %s (%u)",
                       sluice_collection_index_name(i), mongodb->database,
                       mongodb->collection, be.message, be.code);
        }
    }

    return true;
}


/* destroys the command */

static bool
sluice_mongodb_command(mongoc_database_t *database, bson_t *command,
    bson_error_t *be)
{
    bool  ok;

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
    int64_t               after;
    const bson_t         *info;
    mongoc_cursor_t      *cursor;
    mongoc_collection_t  *collection;

    collection = mongoc_database_get_collection(database,
                                                mongodb->collection);
    cursor = mongoc_collection_find_indexes_with_opts(collection, NULL);
    found = false;

    while (!found && mongoc_cursor_next(cursor, &info)) {

        if (!sluice_collection_expires(info, &after)) {
            continue;
        }

        found = true;

        sluice_log(SLUICE_LOG_ERROR, "MongoDB still removes records (TTL of "
                   "%lld s) although --retention is 0: drop the index time_1",
                   (long long) after);
    }

    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);

    return found;
}


static void *
sluice_sink_mongodb_writer_create(sluice_sink_t *sink)
{
    (void) sink;

    return calloc(1, sizeof(sluice_insert_t));
}


static void
sluice_sink_mongodb_writer_destroy(sluice_sink_t *sink, void *data)
{
    sluice_insert_t  *insert = data;

    (void) sink;

    sluice_insert_free(insert);
    free(insert);
}


static sluice_sink_answer_t
sluice_sink_mongodb_write(sluice_sink_t *sink, void *data,
    sluice_batch_t *batch, sluice_error_t *error)
{
    sluice_insert_t        *insert = data;
    sluice_sink_mongodb_t  *mongodb = (sluice_sink_mongodb_t *) sink;

    bool                   refused;
    mongoc_client_t       *client;
    sluice_sink_answer_t   answer;

    client = mongoc_client_pool_pop(mongodb->pool);

    answer = sluice_mongodb_prepare(mongodb, client, &refused, error);

    if (answer == SLUICE_SINK_DONE) {
        answer = sluice_mongodb_insert(mongodb, client, insert, batch, error);

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
    mongoc_client_t *client, sluice_insert_t *insert,
    sluice_batch_t *batch, sluice_error_t *error)
{
    bool                    ok;
    bson_t                  opts, reply;
    bson_error_t            be;
    mongoc_collection_t    *collection;
    sluice_sink_answer_t    answer;

    if (!sluice_insert_build(insert, batch)) {
        sluice_error(error, SLUICE_FAILED, "no memory for %u documents",
                     batch->count);
        return SLUICE_SINK_RETRY;
    }

    if (insert->count == 0) {
        return SLUICE_SINK_DONE;
    }

    collection = mongoc_client_get_collection(client, mongodb->database,
                                              mongodb->collection);

    /* what document.c makes is valid: no need to look at each byte again */

    bson_init(&opts);
    BSON_APPEND_BOOL(&opts, "ordered", false);
    BSON_APPEND_BOOL(&opts, "validate", false);

    memset(&be, 0, sizeof(bson_error_t));

    ok = mongoc_collection_insert_many(collection, insert->list,
                                       insert->count, &opts, &reply, &be);

    if (ok) {
        sluice_insert_done(insert, batch);
        answer = SLUICE_SINK_DONE;

    } else {
        answer = sluice_mongodb_judge(insert, batch, &reply, &be, error);
    }

    bson_destroy(&reply);
    bson_destroy(&opts);
    mongoc_collection_destroy(collection);

    return answer;
}


/* the insert failed as a whole or in part: what is known of each record */

static sluice_sink_answer_t
sluice_mongodb_judge(const sluice_insert_t *insert, sluice_batch_t *batch,
    const bson_t *reply, const bson_error_t *be, sluice_error_t *error)
{
    bson_error_t  concern;

    if (sluice_insert_concern(reply, &concern)) {

        /* written, but nobody knows whether to stay: all of it again */

        concern.domain = MONGOC_ERROR_SERVER;
        return sluice_mongodb_failure("insert", reply, &concern, error);
    }

    if (!sluice_insert_accounted(insert, reply)) {
        return sluice_mongodb_failure("insert", reply, be, error);
    }

    return sluice_insert_judge(insert, batch, reply, error);
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
        return sluice_code_class((int32_t) be->code)
               == SLUICE_CODE_TRANSIENT
               ? SLUICE_SINK_RETRY : SLUICE_SINK_FAILED;

    default:            /* CLIENT: a wrong password, above all */
        return SLUICE_SINK_FAILED;
    }
}
