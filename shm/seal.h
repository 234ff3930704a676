
/*
 * Sealed files: a few lines of secrets, encrypted and authenticated with
 * AES-256-GCM (OpenSSL) under a master key that stands in another file.
 *
 *   sluice-sealed-1 BASE64(nonce:12 | ciphertext | tag:16)
 *
 * on one line; its first word is authenticated, too.  The master key is 32
 * bytes, as 64 hex digits on the only line of its file.  The one file of shm/
 * that needs more than libc; the module opens what sluicectl seals.
 */

#ifndef SLUICE_SEAL_H
#define SLUICE_SEAL_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SLUICE_SEAL_KEY     32
#define SLUICE_SEAL_PLAIN   (1024 * 1024)      /* bytes at most             */

/* bytes that the sealed form of so many takes, its newline and NUL included */
size_t sluice_sealed_size(size_t len);

/* the master key from the text of its file; SLUICE_CORRUPT: it is none */
sluice_status_t sluice_seal_key(const char *text, size_t len,
    uint8_t key[SLUICE_SEAL_KEY], sluice_error_t *error);

/*
 * len is 1 to SLUICE_SEAL_PLAIN; to has room for sluice_sealed_size(len) bytes
 * and is NUL-terminated.
 */
sluice_status_t sluice_seal(const uint8_t key[SLUICE_SEAL_KEY],
    const void *plain, size_t len, char *to, sluice_error_t *error);

/*
 * The newline may be missing.  to has room for len bytes; *plain_len of them
 * are written.  A wrong master key and a changed byte cannot be told apart.
 * After a failure all of to is zero.
 */
sluice_status_t sluice_unseal(const uint8_t key[SLUICE_SEAL_KEY],
    const char *sealed, size_t len, void *to, size_t *plain_len,
    sluice_error_t *error);


#endif /* SLUICE_SEAL_H */
