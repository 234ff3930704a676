
/*
 * The consumer's side of a lane.  It trusts nothing that it reads: bytes are
 * copied to private memory first and checked there, and a fault on the map
 * (a truncated file) is an answer.  One thread of one process at a time.
 */

#ifndef SLUICE_LANE_READER_H
#define SLUICE_LANE_READER_H

#include "lane.h"


typedef enum {
    SLUICE_READ_RECORD,         /* here is one                               */
    SLUICE_READ_EMPTY,          /* nothing more up to the head               */
    SLUICE_READ_DAMAGED,        /* some bytes were skipped: see `damage`     */
    SLUICE_READ_BROKEN          /* the lane cannot be read: see the error    */
} sluice_read_t;


typedef struct {
    sluice_file_t            file;
    sluice_lane_control_t   *control;
    const sluice_entry_t    *entries;
    const uint8_t           *ring;

    uint64_t                 ring_size;
    uint32_t                 nentries;
    uint64_t                 position;  /* of the next record to be read     */
    uint64_t                 head;      /* as last read                      */
    uint64_t                 skipped;   /* bytes, by this reader             */

    char                     node[SLUICE_NODE_MAX];
    uint32_t                 pid;

    /* a copy of ring bytes [window_start, window_start + window_len) */
    uint8_t                 *window;
    uint64_t                 window_start;
    size_t                   window_len;
    uint64_t                 dropped;   /* position: pages before it are     */

    struct {
        uint64_t     position;
        size_t       len;
        const char  *reason;            /* static text                       */
    } damage;
} sluice_lane_reader_t;


/*
 * Opens a lane; reading begins at its tail.  A tail that cannot be is no
 * tail: reading then begins a ring before the head, and what was taken over
 * already is read again.  SLUICE_CORRUPT: its geometry or its head cannot
 * be.  sluice_guard_init() must have been called.
 */
sluice_status_t sluice_lane_reader_open(const sluice_dir_t *dir,
    const char *name, sluice_lane_reader_t *reader, sluice_error_t *error);

void sluice_lane_reader_close(const sluice_dir_t *dir,
    sluice_lane_reader_t *reader);

/* takes the lock of an ownerless lane; false: its owner lives */
bool sluice_lane_reader_own(sluice_lane_reader_t *reader);

/*
 * The next record of the ring, checked, CRC included; it is valid until the
 * next call, and `*end` is the position behind it.  DAMAGED: the bytes told
 * in `damage` were no record; the next call goes on behind them.
 */
sluice_read_t sluice_lane_reader_next(sluice_lane_reader_t *reader,
    const sluice_record_t **record, uint64_t *end, sluice_error_t *error);

/*
 * Copies raw bytes of the ring, for a quarantine; len <= SLUICE_WINDOW.
 * false: they are no longer there.
 */
bool sluice_lane_reader_raw(const sluice_lane_reader_t *reader,
    uint64_t position, void *to, size_t len);

/* gives the owner room up to the position; false: the file is truncated */
bool sluice_lane_reader_advance(sluice_lane_reader_t *reader,
    uint64_t position);

/*
 * The i-th entry of a lane that this reader owns, drained to its head:
 * RECORD: `copy` (SLUICE_RECORD_MAX bytes, 8-byte aligned) is a record made
 * of it, marked as aborted unless it was final; EMPTY: free, or published;
 * DAMAGED: `damage` says why.
 */
sluice_read_t sluice_lane_reader_entry(sluice_lane_reader_t *reader,
    uint32_t i, sluice_record_t *copy);

/*
 * Frees the i-th entry of a lane that this reader owns, once what was made
 * of it is in safe keeping.  false: the file is truncated.
 */
bool sluice_lane_reader_forget(sluice_lane_reader_t *reader, uint32_t i);

/*
 * Unlinks a lane that this reader owns and that holds nothing any more: the
 * tail at the head, no open entry.  SLUICE_BUSY: it holds something, or
 * somebody has it open.  After sluice_lane_reader_entry() was seen through,
 * `done` unlinks it with its entries.
 */
sluice_status_t sluice_lane_reader_retire(const sluice_dir_t *dir,
    sluice_lane_reader_t *reader);
sluice_status_t sluice_lane_reader_done(const sluice_dir_t *dir,
    sluice_lane_reader_t *reader);


#endif /* SLUICE_LANE_READER_H */
