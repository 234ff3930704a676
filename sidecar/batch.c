
#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


sluice_batch_t *
sluice_batch_create(uint32_t size)
{
    sluice_batch_t  *batch;

    batch = calloc(1, sizeof(sluice_batch_t));
    if (batch == NULL) {
        return NULL;
    }

    batch->size = size;
    batch->data = malloc(SLUICE_BATCH_BYTES);
    batch->records = malloc(size * sizeof(sluice_batch_record_t));
    batch->lanes = malloc(SLUICE_BATCH_LANES * sizeof(sluice_batch_lane_t));

    if (batch->data == NULL || batch->records == NULL || batch->lanes == NULL) {
        sluice_batch_destroy(batch);
        return NULL;
    }

    return batch;
}


void
sluice_batch_destroy(sluice_batch_t *batch)
{
    if (batch == NULL) {
        return;
    }

    free(batch->data);
    free(batch->records);
    free(batch->lanes);
    free(batch->rejects);
    free(batch);
}


void
sluice_batch_clear(sluice_batch_t *batch)
{
    batch->used = 0;
    batch->count = 0;
    batch->nlanes = 0;
    batch->nrejects = 0;
}


bool
sluice_batch_full(const sluice_batch_t *batch)
{
    return batch->count == batch->size
           || SLUICE_BATCH_BYTES - batch->used < SLUICE_RECORD_MAX
           || batch->nlanes == SLUICE_BATCH_LANES;
}


uint32_t
sluice_batch_join(sluice_batch_t *batch, void *inlet, const uint8_t uuid[16],
    const char *node)
{
    sluice_batch_lane_t  *l;

    l = &batch->lanes[batch->nlanes];

    memcpy(l->uuid, uuid, 16);
    memcpy(l->node, node, SLUICE_NODE_MAX);
    l->inlet = inlet;

    return batch->nlanes++;
}


void
sluice_batch_add(sluice_batch_t *batch, uint32_t lane,
    const sluice_record_t *record)
{
    sluice_batch_record_t  *r;

    r = &batch->records[batch->count++];

    r->offset = (uint32_t) batch->used;
    r->lane = (uint16_t) lane;
    r->state = SLUICE_BATCH_PENDING;

    memcpy(batch->data + batch->used, record, record->length);
    batch->used += sluice_record_size(record);
}


bool
sluice_batch_reject(sluice_batch_t *batch, uint32_t i, int32_t code,
    const char *text)
{
    uint32_t                size;
    sluice_batch_reject_t  *reject;

    if (batch->nrejects == batch->rejects_size) {
        size = batch->rejects_size ? batch->rejects_size * 2 : 16;
        reject = realloc(batch->rejects, size * sizeof(sluice_batch_reject_t));

        if (reject == NULL) {
            return false;
        }

        batch->rejects = reject;
        batch->rejects_size = size;
    }

    reject = &batch->rejects[batch->nrejects++];

    reject->index = i;
    reject->code = code;
    snprintf(reject->text, sizeof(reject->text), "%s", text);

    batch->records[i].state = SLUICE_BATCH_REJECTED;

    return true;
}
