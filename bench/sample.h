
/* a record as a gateway for LLM APIs makes them: some 430 bytes */

#ifndef SLUICE_SAMPLE_H
#define SLUICE_SAMPLE_H

#include "record.h"

#include <stdio.h>
#include <string.h>


static inline void
sample_text(sluice_record_t *record, sluice_item_tag_t tag, const char *text)
{
    sluice_record_add(record, tag, text, strlen(text));
}


/* fills in a record that was just made, as the n-th of its kind */
static inline void
sample_fill(sluice_record_t *record, uint64_t n)
{
    static const char  hex[] = "0123456789abcdef";
    static const char  digits[] = "0123456789";

    char                 id[32], client[32], key[] = "key-00";
    unsigned             i;
    uint64_t             h;
    sluice_record_try_t  t;

    h = (n + 1) * 0x9e3779b97f4a7c15ull;

    for (i = 0; i < 32; i++) {
        id[i] = hex[(h >> (i % 16 * 4)) & 15];
        client[i] = hex[(n % 997 * 0x9e3779b97f4a7c15ull >> (i % 16 * 4))
                        & 15];
    }

    key[4] = digits[n / 10 % 4];
    key[5] = digits[n % 10];

    sluice_record_add(record, SLUICE_ITEM_REQUEST_ID, id, 32);
    sluice_record_add(record, SLUICE_ITEM_CLIENT, client, 32);
    sample_text(record, SLUICE_ITEM_METHOD, "POST");
    sample_text(record, SLUICE_ITEM_HOST, "gateway.example.com");
    sample_text(record, SLUICE_ITEM_URI, "/v1/chat/completions");
    sample_text(record, SLUICE_ITEM_POOL, "openai");
    sample_text(record, SLUICE_ITEM_KEY, key);

    memset(&t, 0, sizeof(sluice_record_try_t));
    t.connect_time = 3;
    t.header_time = 180 + (uint32_t) (h % 400);
    t.response_time = t.header_time + (uint32_t) (h >> 20) % 3000;
    t.status = 200;
    t.bytes_received = 900 + h % 4000;
    t.bytes_sent = 1400 + h % 900;

    sluice_record_add_try(record, &t, "a", 1, "192.0.2.17:443", 14);

    sluice_record_add_field(record, "team", 4, "payments", 8);
    sluice_record_add_field(record, "model", 5, "large-2024-05-17", 16);

    record->outcome = SLUICE_OUTCOME_ADMITTED;
    record->status = 200;
    record->tries = 1;
    record->request_time = (uint64_t) t.response_time * 1000 + h % 1000;
    record->first_byte = (uint64_t) t.header_time * 1000 + h % 1000;
    record->bytes_in = t.bytes_sent;
    record->bytes_out = t.bytes_received;
    record->tokens_in = 200 + h % 2000;
    record->tokens_out = 50 + h % 700;
    record->tokens_cached = h % 128;
}


#endif /* SLUICE_SAMPLE_H */
