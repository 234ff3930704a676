
/*
 * A batch: a private copy of checked records, of many lanes, and the
 * positions up to which it covers them.  One thread has it at a time: the
 * one that drains fills it, a writer writes it, the first one takes it back.
 */

#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H

#include "lane.h"


#define SLUICE_BATCH_BYTES    (1024 * 1024)     /* of records, at most       */
#define SLUICE_BATCH_LANES    SLUICE_LANES_MAX


/* what became of a record */
typedef enum {
    SLUICE_BATCH_PENDING = 0,
    SLUICE_BATCH_DONE,                  /* the sink has it                   */
    SLUICE_BATCH_REJECTED               /* the sink will never take it       */
} sluice_batch_state_t;


/* a lane that the batch has records of, or moves over damaged bytes of */
typedef struct {
    uint8_t   uuid[16];
    char      node[SLUICE_NODE_MAX];
    void     *inlet;                    /* for the drain alone               */
} sluice_batch_lane_t;


typedef struct {
    uint32_t  offset;                   /* in the batch's bytes              */
    uint16_t  lane;                     /* in the batch's lanes              */
    uint16_t  state;                    /* sluice_batch_state_t              */
} sluice_batch_record_t;


typedef struct {
    uint32_t  index;                    /* of the record                     */
    int32_t   code;                     /* the sink's own                    */
    char      text[184];
} sluice_batch_reject_t;


typedef struct sluice_batch_s  sluice_batch_t;

struct sluice_batch_s {
    uint64_t                number;     /* from 1                            */
    uint64_t                opened;     /* monotonic ms: its first record    */

    uint8_t                *data;
    size_t                  used;

    sluice_batch_record_t  *records;
    uint32_t                count;
    uint32_t                size;

    sluice_batch_lane_t    *lanes;
    uint32_t                nlanes;

    sluice_batch_reject_t  *rejects;    /* not yet written as dead letters   */
    uint32_t                nrejects;
    uint32_t                rejects_size;

    sluice_batch_t         *next;
};


/* makes an empty batch for up to `size` records; NULL: no memory */
sluice_batch_t *sluice_batch_create(uint32_t size);
void sluice_batch_destroy(sluice_batch_t *batch);

void sluice_batch_clear(sluice_batch_t *batch);

/* whether one more record of any size, from any lane, has room */
bool sluice_batch_full(const sluice_batch_t *batch);

/* the batch is not full; returns the lane's index in `lanes` */
uint32_t sluice_batch_join(sluice_batch_t *batch, void *inlet,
    const uint8_t uuid[16], const char *node);

/* copies a checked record of that lane; the batch is not full */
void sluice_batch_add(sluice_batch_t *batch, uint32_t lane,
    const sluice_record_t *record);

static inline const sluice_record_t *
sluice_batch_record(const sluice_batch_t *batch, uint32_t i)
{
    return (const void *) (batch->data + batch->records[i].offset);
}

static inline const sluice_batch_lane_t *
sluice_batch_lane(const sluice_batch_t *batch, uint32_t i)
{
    return &batch->lanes[batch->records[i].lane];
}

/*
 * Marks a pending record as one that the sink will never take.  false: no
 * memory to note it down, and it is pending as before.
 */
bool sluice_batch_reject(sluice_batch_t *batch, uint32_t i, int32_t code,
    const char *text);


#endif /* SLUICE_BATCH_H */
