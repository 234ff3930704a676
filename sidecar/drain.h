
/*
 * The thread that drains: reads the lanes into batches, hands them to the
 * writers, and moves the tails over what they have acknowledged.  It never
 * waits for a sink: with all batches under way the lanes fill, and their
 * workers decide by on_full.
 */

#ifndef SLUICE_DRAIN_H
#define SLUICE_DRAIN_H

#include "lanes.h"
#include "options.h"
#include "quarantine.h"
#include "writer.h"


typedef struct {
    uint64_t  records;          /* read, those of open entries included      */
    uint64_t  recovered;        /* of open entries                           */
    uint64_t  damaged;          /* ranges of bytes that were no record       */
    uint64_t  damaged_bytes;
} sluice_drain_counters_t;


typedef struct {
    const sluice_options_t   *options;
    sluice_sink_t            *sink;
    sluice_quarantine_t      *quarantine;
    sluice_writers_t         *writers;
    sluice_lanes_t            lanes;

    sluice_batch_t           *free;
    sluice_batch_t           *batch;        /* being filled, NULL: none      */
    uint64_t                  number;       /* of the last batch             */
    unsigned                  first;        /* the lane that is read first   */
    uint64_t                  next_scan;    /* monotonic ms                  */
    uint64_t                  pause;        /* ms, the last one              */

    bool                      settled;      /* the sink was told             */
    bool                      stopping;

    sluice_log_limit_t        limit;
    sluice_drain_counters_t   counters;
} sluice_drain_t;


/* all of these outlive it; the writers have nothing under way */
sluice_status_t sluice_drain_init(sluice_drain_t *drain,
    const sluice_dir_t *dir, const sluice_options_t *options,
    sluice_sink_t *sink, sluice_quarantine_t *quarantine,
    sluice_writers_t *writers, sluice_error_t *error);
void sluice_drain_close(sluice_drain_t *drain);

/* one turn; true: something moved, and the next one should follow at once */
bool sluice_drain_turn(sluice_drain_t *drain);

/* ms until the next turn is due after one in which nothing moved, 1 to poll */
uint64_t sluice_drain_pause(sluice_drain_t *drain);

/*
 * From now on only what the lanes hold at this moment; `over` is true once
 * that is acknowledged.
 */
void sluice_drain_stop(sluice_drain_t *drain);
bool sluice_drain_over(const sluice_drain_t *drain);


#endif /* SLUICE_DRAIN_H */
