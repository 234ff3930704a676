
/*
 * libFuzzer: the record codec.  What sluice_record_check() lets through can
 * be walked, sealed and read; nothing is read behind its size.
 */

#include "record.h"
#include "tunnel.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t            offset, items;
    uint8_t          *p, sum;
    uint16_t          i;
    sluice_item_t     item;
    sluice_record_t  *record;

    sluice_record_tunnel_t  tunnel;

    static const uint8_t  uuid[16];

    if (size == 0 || size > SLUICE_RECORD_MAX + 64) {
        return 0;
    }

    /* of exactly that size, so that ASan sees a byte too many */

    p = malloc(size);

    if (p == NULL) {
        return 0;
    }

    memcpy(p, data, size);
    record = (sluice_record_t *) p;

    /* most inputs would not get past the head */

    if (size >= sizeof(sluice_record_t)) {
        record->type = SLUICE_RECORD_REQUEST;
        record->version = SLUICE_RECORD_VERSION;
        record->outcome %= SLUICE_OUTCOME_COUNT + 1;

        if (data[4] & 1) {
            record->length = (uint32_t) size;
        }

        /* nor past the first item */

        if ((data[4] & 2) && size >= sizeof(sluice_record_t) + 4) {
            p[sizeof(sluice_record_t)] %= SLUICE_ITEM_TAGS + 1;
            i = (uint16_t) (size - sizeof(sluice_record_t) - 4);
            memcpy(p + sizeof(sluice_record_t) + 2, &i, 2);
        }
    }

    if (sluice_record_check(record, size) == NULL) {
        offset = 0;
        items = 0;
        sum = 0;

        while (sluice_record_next(record, &offset, &item)) {
            for (i = 0; i < item.length; i++) {
                sum ^= item.data[i];
            }

            if (item.tag == SLUICE_ITEM_TUNNEL) {
                memcpy(&tunnel, item.data, sizeof(tunnel));

                if (tunnel.try >= SLUICE_RECORD_TRIES
                    || tunnel.result >= SLUICE_TUNNEL_RESULTS)
                {
                    abort();
                }
            }

            (void) sluice_item_name(item.tag);
            items++;
        }

        if (offset != record->length
            && !(items == 0 && offset == sizeof(sluice_record_t)))
        {
            abort();
        }

        (void) sluice_outcome_name(record->outcome);

        if (sluice_record_size(record) <= size) {
            sluice_record_seal(record, uuid, sum);

            if (record->crc != sluice_record_crc(record, uuid, sum)
                || sluice_record_check(record, size) != NULL)
            {
                abort();
            }
        }
    }

    free(p);

    return 0;
}
