
/*
 * A sink: where batches go.  It tells what became of a batch and nothing
 * else: when to try again, what to say and where dead letters lie is decided
 * above it, once for all of them (writer.h).
 *
 * The record states of the batch are the sink's to keep: what is DONE or
 * REJECTED in it is not sent again by the next try.
 */

#ifndef SLUICE_SINK_H
#define SLUICE_SINK_H

#include "batch.h"
#include "options.h"


typedef enum {
    SLUICE_SINK_DONE,           /* no record of the batch is pending         */
    SLUICE_SINK_RETRY,          /* not now: the sink is away; its text says  */
    SLUICE_SINK_FAILED          /* not without an operator: its text says    */
} sluice_sink_answer_t;


typedef struct sluice_sink_s  sluice_sink_t;

struct sluice_sink_s {
    const char  *name;          /* "MongoDB": what is away, in a log line    */

    /*
     * One batch at a time, and none before the lanes' tails have moved over
     * the last one.
     */
    bool         serial;

    /* nothing is kept, damaged bytes neither */
    bool         keeps_nothing;

    /*
     * Once at start, from the main thread.  FAILED: it can never be used as
     * it is; RETRY: nobody can say yet.
     */
    sluice_sink_answer_t (*check)(sluice_sink_t *sink, sluice_error_t *error);

    /* a writer thread's own memory; NULL: no memory */
    void *(*writer_create)(sluice_sink_t *sink);
    void (*writer_destroy)(sluice_sink_t *sink, void *writer);

    /* from the writer threads, each with its own memory and batch */
    sluice_sink_answer_t (*write)(sluice_sink_t *sink, void *writer,
        sluice_batch_t *batch, sluice_error_t *error);

    /*
     * From the thread that drains: SIGHUP has come; and: whatever the lanes
     * held at start has been taken over.  Both NULL if it is of no interest.
     */
    void (*reopen)(sluice_sink_t *sink);
    void (*settled)(sluice_sink_t *sink);

    void (*destroy)(sluice_sink_t *sink);
};


/*
 * Makes the sink that options->sink names.  NULL: it cannot be, for the
 * reason in `error`, which holds no password.  Passwords are told to
 * sluice_log_secret().  From the main thread, before any other is started.
 */
sluice_sink_t *sluice_sink_create(const sluice_options_t *options,
    sluice_error_t *error);

/* each in a file of its own; `rest` is what follows "file:" */
sluice_sink_t *sluice_sink_mongodb_create(const sluice_options_t *options,
    sluice_error_t *error);
sluice_sink_t *sluice_sink_file_create(const char *rest,
    sluice_error_t *error);
sluice_sink_t *sluice_sink_null_create(sluice_error_t *error);

/*
 * Takes away what libmongoc leaves in /dev/shm when it is loaded, whichever
 * the sink.  Once, first of all: who is killed before that leaves it behind.
 */
void sluice_sink_mongodb_tidy(void);


#endif /* SLUICE_SINK_H */
