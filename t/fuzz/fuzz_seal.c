
/*
 * libFuzzer: sealed files and master keys of hostile bytes.  What is refused
 * leaves nothing behind; what was sealed here comes back, and with one byte
 * changed it does not.
 */

#include "seal.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void *
fuzz_alloc(size_t len)
{
    void  *p;

    p = malloc(len + (len == 0));

    if (p == NULL) {
        abort();
    }

    return p;
}


static sluice_status_t
fuzz_unseal(const uint8_t key[SLUICE_SEAL_KEY], const void *sealed,
    size_t len, const void *plain, size_t plain_len)
{
    char             *copy;
    size_t            i, n;
    uint8_t          *to;
    sluice_error_t    error;
    sluice_status_t   status;

    /* of exactly that size, so that ASan sees a byte too many */

    copy = fuzz_alloc(len);
    to = fuzz_alloc(len);

    memcpy(copy, sealed, len);
    memset(to, 0xa5, len);

    status = sluice_unseal(key, copy, len, to, &n, &error);

    if (status == SLUICE_OK) {
        if (n != plain_len || memcmp(to, plain, n) != 0) {
            abort();
        }

    } else {
        for (i = 0; i < len; i++) {
            if (to[i] != 0) {
                abort();
            }
        }
    }

    free(copy);
    free(to);

    return status;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            *text;
    size_t           len;
    uint8_t          key[SLUICE_SEAL_KEY], what, at;
    sluice_error_t   error;

    static const char  word[] = "sluice-sealed-1 ";

    if (size < 3) {
        return 0;
    }

    what = data[0];
    at = data[1];
    data += 2;
    size -= 2;

    memset(key, 0x3c, sizeof(key));

    switch (what % 4) {

    case 0:
        text = fuzz_alloc(size);
        memcpy(text, data, size);
        (void) sluice_seal_key(text, size, key, &error);
        free(text);
        break;

    case 1:
        (void) fuzz_unseal(key, data, size, "", 0);
        break;

    case 2:
        len = sizeof(word) - 1;
        text = fuzz_alloc(len + size);
        memcpy(text, word, len);
        memcpy(text + len, data, size);
        (void) fuzz_unseal(key, text, len + size, "", 0);
        free(text);
        break;

    default:
        text = fuzz_alloc(sluice_sealed_size(size));

        if (sluice_seal(key, data, size, text, &error) != SLUICE_OK) {
            abort();
        }

        len = strlen(text);

        if (len + 1 != sluice_sealed_size(size)
            || fuzz_unseal(key, text, len, data, size) != SLUICE_OK)
        {
            abort();
        }

        text[at % len] = (char) (text[at % len] ^ (1 + what / 4));

        if (fuzz_unseal(key, text, len, "", 0) == SLUICE_OK) {
            abort();
        }

        free(text);
    }

    return 0;
}
