
/*
 * libFuzzer: an upstream's headers.  The first byte chooses the moment, and
 * whether a limit is spent; each line is a byte that stands for a name and a
 * value, or a name, a colon and a value; what is said is within its bounds.
 */

#include "hint.h"

#include <stdlib.h>
#include <string.h>


#define FUZZ_NOW    1769515200000000ull         /* us                        */
#define FUZZ_GUESS  60000                       /* ms                        */


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const char  *fuzz_names[] = {
    "retry-after-ms", "Retry-After", "x-ratelimit-reset",
    "x-ratelimit-remaining", "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-requests", "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-tokens-remaining"
};

#define FUZZ_NAMES  (sizeof(fuzz_names) / sizeof(fuzz_names[0]))


static char *
fuzz_copy(const uint8_t *from, size_t len)
{
    char  *copy;

    /* of exactly that size, so that ASan sees a byte too many */

    copy = malloc(len + (len == 0));

    if (copy == NULL) {
        abort();
    }

    memcpy(copy, from, len);

    return copy;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            *name, *value;
    size_t           name_len, len;
    uint64_t         wait;
    const uint8_t   *p, *end, *colon;
    sluice_hints_t   hints;

    if (size == 0) {
        return 0;
    }

    sluice_hints_init(&hints, (data[0] & 1) ? FUZZ_NOW : 0);

    for (p = data + 1; p < data + size; p = end + 1) {

        end = memchr(p, '\n', (size_t) (data + size - p));

        if (end == NULL) {
            end = data + size;
        }

        if (p != end && *p < FUZZ_NAMES) {
            value = fuzz_copy(p + 1, (size_t) (end - p - 1));
            sluice_hints_add(&hints, fuzz_names[*p], strlen(fuzz_names[*p]),
                             value, (size_t) (end - p - 1));
            free(value);
            continue;
        }

        colon = memchr(p, ':', (size_t) (end - p));

        if (colon == NULL) {
            continue;
        }

        name_len = (size_t) (colon - p);
        len = (size_t) (end - colon - 1);
        name = fuzz_copy(p, name_len);
        value = fuzz_copy(colon + 1, len);

        sluice_hints_add(&hints, name, name_len, value, len);

        free(name);
        free(value);
    }

    wait = sluice_hints_wait(&hints, (data[0] & 2) != 0, FUZZ_GUESS);

    if (hints.n > SLUICE_HINT_LIMITS
        || (wait > SLUICE_HINT_MAX && wait != UINT64_MAX))
    {
        abort();
    }

    return 0;
}
