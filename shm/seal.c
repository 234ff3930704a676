
#include "seal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <stdlib.h>
#include <string.h>


#define SLUICE_SEAL_WORD     "sluice-sealed-1"
#define SLUICE_SEAL_VERSION  "sluice-sealed-"
#define SLUICE_SEAL_NONCE    12                 /* random, never used twice: */
#define SLUICE_SEAL_TAG      16                 /* 2^32 texts under one key  */


static sluice_status_t sluice_seal_failed(sluice_error_t *error);
static bool sluice_seal_encrypt(const uint8_t *key, const uint8_t *plain,
    size_t len, uint8_t *raw);
static int sluice_seal_decrypt(const uint8_t *key, const uint8_t *raw,
    size_t len, uint8_t *plain);
static bool sluice_seal_decode(const char *text, size_t len, uint8_t *to,
    size_t *size);
static int sluice_seal_digit(char c);


static inline size_t
sluice_seal_base64(size_t len)
{
    return (len + 2) / 3 * 4;
}


size_t
sluice_sealed_size(size_t len)
{
    return sizeof(SLUICE_SEAL_WORD) - 1 + 1
           + sluice_seal_base64(SLUICE_SEAL_NONCE + len + SLUICE_SEAL_TAG)
           + 2;
}


/* neither branches nor places in memory depend on the digits */

sluice_status_t
sluice_seal_key(const char *text, size_t len, uint8_t key[SLUICE_SEAL_KEY],
    sluice_error_t *error)
{
    size_t    i;
    unsigned  c, digit, is_digit, letter, is_letter, well;

    if (len != 0 && text[len - 1] == '\n') {
        len--;
    }

    if (len != 2 * SLUICE_SEAL_KEY) {
        OPENSSL_cleanse(key, SLUICE_SEAL_KEY);

        return sluice_error(error, SLUICE_CORRUPT, "a master key is %u hex "
                            "digits on one line, not %zu characters",
                            2 * SLUICE_SEAL_KEY, len);
    }

    well = 0xff;

    for (i = 0; i < len; i++) {
        c = (uint8_t) text[i];

        /* a difference below zero has its upper bits set */

        digit = c ^ '0';
        is_digit = (digit - 10) >> 8 & 0xff;
        letter = (c & ~32u) - ('A' - 10);
        is_letter = ((letter - 10) ^ (letter - 16)) >> 8 & 0xff;

        well &= is_digit | is_letter;
        digit = (is_digit & digit) | (is_letter & letter);

        if (i % 2 == 0) {
            key[i / 2] = (uint8_t) (digit << 4);

        } else {
            key[i / 2] |= (uint8_t) digit;
        }
    }

    if (well != 0xff) {
        OPENSSL_cleanse(key, SLUICE_SEAL_KEY);

        return sluice_error(error, SLUICE_CORRUPT, "a master key is %u hex "
                            "digits, and this has another character",
                            2 * SLUICE_SEAL_KEY);
    }

    return SLUICE_OK;
}


/* nginx takes what is left in the queue for an error of a connection */

static sluice_status_t
sluice_seal_failed(sluice_error_t *error)
{
    const char  *reason;

    reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();

    return sluice_error(error, SLUICE_FAILED, "AES-256-GCM failed: %s",
                        reason != NULL ? reason : "no memory");
}


sluice_status_t
sluice_seal(const uint8_t key[SLUICE_SEAL_KEY], const void *plain, size_t len,
    char *to, sluice_error_t *error)
{
    char     *p;
    size_t    size;
    uint8_t  *raw;

    if (len == 0) {
        return sluice_error(error, SLUICE_FAILED, "there is nothing to seal");
    }

    if (len > SLUICE_SEAL_PLAIN) {
        return sluice_error(error, SLUICE_FAILED, "no more than %u bytes can "
                            "be sealed", SLUICE_SEAL_PLAIN);
    }

    size = SLUICE_SEAL_NONCE + len + SLUICE_SEAL_TAG;
    raw = malloc(size);

    if (raw == NULL || !sluice_seal_encrypt(key, plain, len, raw)) {
        free(raw);
        return sluice_seal_failed(error);
    }

    memcpy(to, SLUICE_SEAL_WORD " ", sizeof(SLUICE_SEAL_WORD));

    p = to + sizeof(SLUICE_SEAL_WORD);
    p += EVP_EncodeBlock((uint8_t *) p, raw, (int) size);
    *p++ = '\n';
    *p = '\0';

    free(raw);

    return SLUICE_OK;
}


static bool
sluice_seal_encrypt(const uint8_t *key, const uint8_t *plain, size_t len,
    uint8_t *raw)
{
    int              n;
    bool             well;
    uint8_t         *nonce, *text, *tag;
    EVP_CIPHER_CTX  *ctx;

    nonce = raw;
    text = nonce + SLUICE_SEAL_NONCE;
    tag = text + len;

    ctx = EVP_CIPHER_CTX_new();

    well = ctx != NULL
           && RAND_bytes(nonce, SLUICE_SEAL_NONCE) == 1
           && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1
           && EVP_EncryptUpdate(ctx, NULL, &n,
                                (const uint8_t *) SLUICE_SEAL_WORD,
                                sizeof(SLUICE_SEAL_WORD) - 1) == 1
           && EVP_EncryptUpdate(ctx, text, &n, plain, (int) len) == 1
           && EVP_EncryptFinal_ex(ctx, tag, &n) == 1
           && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SLUICE_SEAL_TAG,
                                  tag) == 1;

    /* it wipes the key schedule */

    EVP_CIPHER_CTX_free(ctx);

    return well;
}


sluice_status_t
sluice_unseal(const uint8_t key[SLUICE_SEAL_KEY], const char *sealed,
    size_t len, void *to, size_t *plain_len, sluice_error_t *error)
{
    int               rc;
    size_t            n, word, room;
    uint8_t          *raw;
    sluice_status_t   status;

    room = len;
    raw = NULL;
    *plain_len = 0;
    word = sizeof(SLUICE_SEAL_WORD) - 1;

    if (len <= word || memcmp(sealed, SLUICE_SEAL_WORD " ", word + 1) != 0) {

        n = sizeof(SLUICE_SEAL_VERSION) - 1;

        if (len > word && memcmp(sealed, SLUICE_SEAL_VERSION, n) == 0) {
            status = sluice_error(error, SLUICE_VERSION,
                                  "it is sealed as another version of Sluice "
                                  "does it");
            goto failed;
        }

        status = sluice_error(error, SLUICE_CORRUPT, "it is not sealed: its "
                              "first word is not \"" SLUICE_SEAL_WORD "\"");
        goto failed;
    }

    if (len > sluice_sealed_size(SLUICE_SEAL_PLAIN) - 1) {
        status = sluice_error(error, SLUICE_CORRUPT, "it is too long");
        goto failed;
    }

    sealed += word + 1;
    len -= word + 1;

    if (len != 0 && sealed[len - 1] == '\n') {
        len--;
    }

    raw = malloc(len + 1);

    if (raw == NULL) {
        status = sluice_error(error, SLUICE_FAILED, "no memory");
        goto failed;
    }

    if (!sluice_seal_decode(sealed, len, raw, &n)
        || n <= SLUICE_SEAL_NONCE + SLUICE_SEAL_TAG)
    {
        status = sluice_error(error, SLUICE_CORRUPT, "it is damaged: not "
                              "base64, or cut off");
        goto failed;
    }

    rc = sluice_seal_decrypt(key, raw, n, to);

    if (rc == -1) {
        status = sluice_seal_failed(error);
        goto failed;
    }

    if (rc == 0) {
        ERR_clear_error();

        status = sluice_error(error, SLUICE_CORRUPT, "it is sealed under "
                              "another master key, or it was changed");
        goto failed;
    }

    free(raw);

    *plain_len = n - SLUICE_SEAL_NONCE - SLUICE_SEAL_TAG;

    return SLUICE_OK;

failed:

    free(raw);
    OPENSSL_cleanse(to, room);

    return status;
}


/* 1; 0: the tag is of another text or key; -1: OpenSSL failed */

static int
sluice_seal_decrypt(const uint8_t *key, const uint8_t *raw, size_t len,
    uint8_t *plain)
{
    int              n, rc;
    uint8_t          tag[SLUICE_SEAL_TAG];
    const uint8_t   *nonce, *text;
    EVP_CIPHER_CTX  *ctx;

    nonce = raw;
    text = nonce + SLUICE_SEAL_NONCE;
    len -= SLUICE_SEAL_NONCE + SLUICE_SEAL_TAG;
    memcpy(tag, text + len, SLUICE_SEAL_TAG);

    ctx = EVP_CIPHER_CTX_new();
    rc = -1;

    if (ctx != NULL
        && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1
        && EVP_DecryptUpdate(ctx, NULL, &n,
                             (const uint8_t *) SLUICE_SEAL_WORD,
                             sizeof(SLUICE_SEAL_WORD) - 1) == 1
        && EVP_DecryptUpdate(ctx, plain, &n, text, (int) len) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SLUICE_SEAL_TAG,
                               tag) == 1)
    {
        /* writes nothing: GCM has no last block */

        rc = (EVP_DecryptFinal_ex(ctx, tag, &n) == 1);
    }

    EVP_CIPHER_CTX_free(ctx);

    return rc;
}


/*
 * OpenSSL's lets spaces and loose bits pass, and counts the padding; one text
 * has one form here.  What is decoded is no secret.
 */

static bool
sluice_seal_decode(const char *text, size_t len, uint8_t *to, size_t *size)
{
    int       digit;
    size_t    i, n;
    uint32_t  bits;

    if (len == 0 || len % 4 != 0) {
        return false;
    }

    len -= (text[len - 1] == '=');
    len -= (text[len - 1] == '=');
    bits = 0;
    n = 0;

    for (i = 0; i < len; i++) {
        digit = sluice_seal_digit(text[i]);

        if (digit == -1) {
            return false;
        }

        bits = bits << 6 | (uint32_t) digit;

        if (i % 4 != 0) {
            to[n++] = (uint8_t) (bits >> (6 - i % 4 * 2));
        }
    }

    *size = n;

    /* of two digits four bits are left, of three two */

    switch (len % 4) {

    case 2:
        return (bits & 15) == 0;

    case 3:
        return (bits & 3) == 0;

    default:
        return true;
    }
}


static int
sluice_seal_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '+' ? 62 : c == '/' ? 63 : -1;
}
