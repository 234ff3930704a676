
/*
 * The writer threads, and the policy of what to do when a sink says no:
 * backoff with jitter for as long as it takes, dead letters, counters, and
 * one line in the log where it repeats.  No record is given up.
 */

#ifndef SLUICE_WRITER_H
#define SLUICE_WRITER_H

#include "batch.h"
#include "log.h"
#include "quarantine.h"
#include "sink.h"

#include <pthread.h>


#define SLUICE_WRITERS_MAX  16


/* written under the mutex */
typedef struct {
    uint64_t  written;          /* records that the sink has                 */
    uint64_t  rejected;         /* records that lie among the dead letters   */
    uint64_t  batches;
    uint64_t  retries;
} sluice_writer_counters_t;


typedef struct sluice_writers_s  sluice_writers_t;


typedef struct {
    sluice_writers_t          *writers;
    void                      *memory;          /* the sink's, for this one  */
    pthread_t                  thread;

    /* of the sink's write, under the mutex */
    uint64_t                   since;           /* monotonic ms, 0: none     */
    bool                       told;            /* that it takes long        */
} sluice_writer_t;


struct sluice_writers_s {
    sluice_sink_t             *sink;
    sluice_quarantine_t       *quarantine;

    pthread_mutex_t            mutex;
    pthread_cond_t             work;            /* for a writer              */
    pthread_cond_t             done;            /* for the drain             */
    sluice_batch_t            *queue;           /* first in, first out       */
    sluice_batch_t           **queue_end;
    sluice_batch_t            *finished;
    unsigned                   in_flight;       /* submitted, not collected  */
    uint64_t                   records;         /* in them                   */
    uint64_t                   lag;             /* bytes that wait in lanes  */
    bool                       stop;

    bool                       away;            /* under the mutex           */
    bool                       told;
    const char                *who;             /* is away                   */
    uint64_t                   away_since;
    sluice_log_limit_t         limit;
    sluice_writer_counters_t   counters;

    sluice_writer_t            writer[SLUICE_WRITERS_MAX];
    unsigned                   n;
};


/* starts them; the sink and the quarantine outlive them */
sluice_status_t sluice_writers_start(sluice_writers_t *writers,
    sluice_sink_t *sink, sluice_quarantine_t *quarantine, unsigned n,
    sluice_error_t *error);

/* from the thread that drains: hands a batch over, takes one back or NULL */
void sluice_writers_submit(sluice_writers_t *writers, sluice_batch_t *batch);
sluice_batch_t *sluice_writers_collect(sluice_writers_t *writers);

/* sleeps until a batch is finished, or for that long */
void sluice_writers_wait(sluice_writers_t *writers, uint64_t ms);

/* what waits in the lanes, for the lines of the log */
void sluice_writers_lag(sluice_writers_t *writers, uint64_t bytes);

/* tells, once, of a write that does not come to an end */
void sluice_writers_watch(sluice_writers_t *writers);

/* ends them; every batch has been collected */
void sluice_writers_stop(sluice_writers_t *writers);


#endif /* SLUICE_WRITER_H */
