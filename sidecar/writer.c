
#define _GNU_SOURCE

#include "writer.h"
#include "clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>


#define SLUICE_BACKOFF_MIN     100          /* ms                            */
#define SLUICE_BACKOFF_MAX     10000
#define SLUICE_BACKOFF_FAILED  1000         /* not before an operator can act */
#define SLUICE_REPEAT          10000        /* a line of the same event      */
#define SLUICE_UNANSWERED      10000        /* when a try is told to hang    */


static void *sluice_writer_run(void *data);
static void sluice_writer_put(sluice_writer_t *writer,
    sluice_batch_t *batch);
static sluice_sink_answer_t sluice_writer_try(sluice_writer_t *writer,
    sluice_batch_t *batch, const char **who, sluice_error_t *error);
static sluice_sink_answer_t sluice_writer_write(sluice_writer_t *writer,
    sluice_batch_t *batch, sluice_error_t *error);
static sluice_status_t sluice_writer_bury(sluice_writers_t *writers,
    sluice_batch_t *batch, sluice_error_t *error);
static uint64_t sluice_writer_delay(uint64_t *backoff,
    sluice_sink_answer_t answer);
static void sluice_writer_tell(sluice_writers_t *writers, const char *who,
    sluice_sink_answer_t answer, uint64_t delay, const sluice_error_t *error);
static void sluice_writer_settle(sluice_writers_t *writers,
    sluice_batch_t *batch);
static void sluice_writer_sleep(uint64_t ms);


sluice_status_t
sluice_writers_start(sluice_writers_t *writers, sluice_sink_t *sink,
    sluice_quarantine_t *quarantine, unsigned n, sluice_error_t *error)
{
    int                  rc;
    sigset_t             all, old;
    sluice_writer_t     *writer;
    pthread_condattr_t   attr;

    memset(writers, 0, sizeof(sluice_writers_t));

    writers->sink = sink;
    writers->quarantine = quarantine;
    writers->queue_end = &writers->queue;

    pthread_mutex_init(&writers->mutex, NULL);
    pthread_cond_init(&writers->work, NULL);

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&writers->done, &attr);
    pthread_condattr_destroy(&attr);

    /* signals are the main thread's */

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = 0;

    while (writers->n < n) {

        writer = &writers->writer[writers->n];

        writer->writers = writers;
        writer->memory = sink->writer_create(sink);

        if (writer->memory == NULL) {
            rc = ENOMEM;
            break;
        }

        rc = pthread_create(&writer->thread, NULL, sluice_writer_run, writer);

        if (rc != 0) {
            sink->writer_destroy(sink, writer->memory);
            break;
        }

        writers->n++;
    }

    pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        sluice_writers_stop(writers);
        return sluice_error(error, SLUICE_FAILED,
                            "starting a writer failed: %s", strerror(rc));
    }

    return SLUICE_OK;
}


void
sluice_writers_stop(sluice_writers_t *writers)
{
    unsigned  i;

    pthread_mutex_lock(&writers->mutex);
    writers->stop = true;
    pthread_cond_broadcast(&writers->work);
    pthread_mutex_unlock(&writers->mutex);

    for (i = 0; i < writers->n; i++) {
        pthread_join(writers->writer[i].thread, NULL);
        writers->sink->writer_destroy(writers->sink,
                                      writers->writer[i].memory);
    }

    writers->n = 0;
}


void
sluice_writers_submit(sluice_writers_t *writers, sluice_batch_t *batch)
{
    batch->next = NULL;

    pthread_mutex_lock(&writers->mutex);

    *writers->queue_end = batch;
    writers->queue_end = &batch->next;
    writers->in_flight++;
    writers->records += batch->count;

    pthread_cond_signal(&writers->work);
    pthread_mutex_unlock(&writers->mutex);
}


sluice_batch_t *
sluice_writers_collect(sluice_writers_t *writers)
{
    sluice_batch_t  *batch;

    pthread_mutex_lock(&writers->mutex);

    batch = writers->finished;

    if (batch != NULL) {
        writers->finished = batch->next;
        writers->in_flight--;
    }

    pthread_mutex_unlock(&writers->mutex);

    return batch;
}


void
sluice_writers_wait(sluice_writers_t *writers, uint64_t ms)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    ts.tv_sec += (time_t) (ms / 1000);
    ts.tv_nsec += (long) (ms % 1000) * 1000000;

    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }

    pthread_mutex_lock(&writers->mutex);

    /* an early return is one more look: no loop */

    if (writers->finished == NULL) {
        pthread_cond_timedwait(&writers->done, &writers->mutex, &ts);
    }

    pthread_mutex_unlock(&writers->mutex);
}


void
sluice_writers_lag(sluice_writers_t *writers, uint64_t bytes)
{
    pthread_mutex_lock(&writers->mutex);
    writers->lag = bytes;
    pthread_mutex_unlock(&writers->mutex);
}


void
sluice_writers_watch(sluice_writers_t *writers)
{
    unsigned          i, hung;
    uint64_t          now, records, lag;
    sluice_writer_t  *writer;

    now = sluice_clock_ms();
    hung = 0;

    pthread_mutex_lock(&writers->mutex);

    for (i = 0; i < writers->n; i++) {
        writer = &writers->writer[i];

        if (writer->since != 0 && !writer->told
            && now - writer->since > SLUICE_UNANSWERED)
        {
            writer->told = true;
            hung++;
        }
    }

    records = writers->records;
    lag = writers->lag;

    pthread_mutex_unlock(&writers->mutex);

    if (hung != 0) {
        sluice_log(SLUICE_LOG_WARN, "%s has not answered %u writer%s for "
                   "%us; %llu records wait, with them %llu bytes in the lanes",
                   writers->sink->name, hung, hung == 1 ? "" : "s",
                   SLUICE_UNANSWERED / 1000, (unsigned long long) records,
                   (unsigned long long) lag);
    }
}


static void *
sluice_writer_run(void *data)
{
    sluice_writer_t  *writer = data;

    sluice_batch_t    *batch;
    sluice_writers_t  *writers;

    writers = writer->writers;

    pthread_mutex_lock(&writers->mutex);

    for ( ;; ) {

        while (writers->queue == NULL && !writers->stop) {
            pthread_cond_wait(&writers->work, &writers->mutex);
        }

        batch = writers->queue;

        if (batch == NULL) {
            break;
        }

        writers->queue = batch->next;

        if (writers->queue == NULL) {
            writers->queue_end = &writers->queue;
        }

        pthread_mutex_unlock(&writers->mutex);

        sluice_writer_put(writer, batch);

        pthread_mutex_lock(&writers->mutex);

        batch->next = writers->finished;
        writers->finished = batch;

        pthread_cond_signal(&writers->done);
    }

    pthread_mutex_unlock(&writers->mutex);

    return NULL;
}


/* returns when nothing of the batch is pending: there is no other way out */

static void
sluice_writer_put(sluice_writer_t *writer, sluice_batch_t *batch)
{
    uint64_t              backoff, delay;
    const char           *who;
    sluice_error_t        error;
    sluice_sink_answer_t  answer;

    backoff = SLUICE_BACKOFF_MIN;

    for ( ;; ) {
        answer = sluice_writer_try(writer, batch, &who, &error);

        if (answer == SLUICE_SINK_DONE) {
            break;
        }

        delay = sluice_writer_delay(&backoff, answer);

        sluice_writer_tell(writer->writers, who, answer, delay, &error);
        sluice_writer_sleep(delay);
    }

    sluice_writer_settle(writer->writers, batch);
}


/* *who: what the batch waits for */

static sluice_sink_answer_t
sluice_writer_try(sluice_writer_t *writer, sluice_batch_t *batch,
    const char **who, sluice_error_t *error)
{
    sluice_error_t         text;
    sluice_writers_t      *writers;
    sluice_sink_answer_t   answer;

    writers = writer->writers;
    answer = SLUICE_SINK_DONE;
    *who = writers->sink->name;

    /* a batch without records moves a tail over damaged bytes */

    if (batch->count != 0) {
        answer = sluice_writer_write(writer, batch, error);
    }

    /* even if others have to wait: what was rejected is known now */

    if (batch->nrejects != 0
        && sluice_writer_bury(writers, batch, &text) != SLUICE_OK
        && answer != SLUICE_SINK_FAILED)
    {
        *error = text;
        *who = "the quarantine";
        answer = SLUICE_SINK_FAILED;
    }

    return answer;
}


/* for as long as it takes, sluice_writers_watch() sees it */

static sluice_sink_answer_t
sluice_writer_write(sluice_writer_t *writer, sluice_batch_t *batch,
    sluice_error_t *error)
{
    sluice_writers_t      *writers;
    sluice_sink_answer_t   answer;

    writers = writer->writers;

    pthread_mutex_lock(&writers->mutex);
    writer->since = sluice_clock_ms();
    writer->told = false;
    pthread_mutex_unlock(&writers->mutex);

    answer = writers->sink->write(writers->sink, writer->memory, batch, error);

    pthread_mutex_lock(&writers->mutex);
    writer->since = 0;
    pthread_mutex_unlock(&writers->mutex);

    return answer;
}


/* dead letters are on the disk before anybody hears that the batch is done */

static sluice_status_t
sluice_writer_bury(sluice_writers_t *writers, sluice_batch_t *batch,
    sluice_error_t *error)
{
    sluice_status_t  status;

    status = sluice_quarantine_rejects(writers->quarantine, batch, error);
    if (status != SLUICE_OK) {
        return status;
    }

    sluice_log(SLUICE_LOG_ERROR, "%s refused %u record%s for good: %s; "
               "see the dead letters in \"%s\"", writers->sink->name,
               batch->nrejects, batch->nrejects == 1 ? "" : "s",
               batch->rejects[0].text, writers->quarantine->path);

    batch->nrejects = 0;

    return SLUICE_OK;
}


/* half of the backoff is fixed, the other half left to chance */

static uint64_t
sluice_writer_delay(uint64_t *backoff, sluice_sink_answer_t answer)
{
    uint64_t  delay, random;

    if (answer == SLUICE_SINK_FAILED && *backoff < SLUICE_BACKOFF_FAILED) {
        *backoff = SLUICE_BACKOFF_FAILED;
    }

    sluice_random(&random, sizeof(random));

    delay = *backoff / 2 + random % (*backoff / 2 + 1);

    *backoff *= 2;

    if (*backoff > SLUICE_BACKOFF_MAX) {
        *backoff = SLUICE_BACKOFF_MAX;
    }

    return delay;
}


static void
sluice_writer_tell(sluice_writers_t *writers, const char *who,
    sluice_sink_answer_t answer, uint64_t delay, const sluice_error_t *error)
{
    bool      due;
    uint64_t  records, lag;
    unsigned  withheld;

    pthread_mutex_lock(&writers->mutex);

    if (!writers->away) {
        writers->away = true;
        writers->told = false;
        writers->away_since = sluice_clock_ms();
    }

    writers->who = who;

    due = sluice_log_due(&writers->limit, SLUICE_REPEAT, &withheld);
    writers->told |= due;
    records = writers->records;
    lag = writers->lag;
    writers->counters.retries++;

    pthread_mutex_unlock(&writers->mutex);

    if (!due) {
        return;
    }

    sluice_log(answer == SLUICE_SINK_FAILED ? SLUICE_LOG_ERROR
                                            : SLUICE_LOG_WARN,
               "%s %s: %s; %llu records wait, with them %llu bytes in the "
               "lanes; next try in %llums", who,
               answer == SLUICE_SINK_FAILED ? "refuses" : "is away",
               error->text, (unsigned long long) records,
               (unsigned long long) lag, (unsigned long long) delay);
}


static void
sluice_writer_settle(sluice_writers_t *writers, sluice_batch_t *batch)
{
    bool         back;
    uint32_t     i, rejected;
    uint64_t     since;
    const char  *who;

    rejected = 0;

    for (i = 0; i < batch->count; i++) {
        rejected += (batch->records[i].state == SLUICE_BATCH_REJECTED);
    }

    pthread_mutex_lock(&writers->mutex);

    back = writers->away && writers->told;
    since = writers->away_since;
    who = writers->who;

    writers->away = false;
    writers->records -= batch->count;
    writers->counters.batches++;
    writers->counters.written += batch->count - rejected;
    writers->counters.rejected += rejected;

    pthread_mutex_unlock(&writers->mutex);

    if (back) {
        sluice_log(SLUICE_LOG_WARN, "%s takes records again, after %llus",
                   who,
                   (unsigned long long) (sluice_clock_ms() - since) / 1000);
    }
}


static void
sluice_writer_sleep(uint64_t ms)
{
    struct timespec  ts;

    ts.tv_sec = (time_t) (ms / 1000);
    ts.tv_nsec = (long) (ms % 1000) * 1000000;

    nanosleep(&ts, NULL);
}
