
/*
 * Sealed files: what was sealed comes back whole, and nothing else comes back
 * at all.
 */

#include "seal.h"
#include "util.h"

#include <openssl/err.h>


#define TEST_PLAIN  "a sk-proj-1\nb sk-proj-2\n"


static sluice_error_t  test_error;


static void
test_key(uint8_t key[SLUICE_SEAL_KEY], uint8_t first)
{
    unsigned  i;

    for (i = 0; i < SLUICE_SEAL_KEY; i++) {
        key[i] = (uint8_t) (first + i);
    }
}


/* that it is refused, that nothing is left, and nothing for nginx to log */

static sluice_status_t
test_refused(const uint8_t key[SLUICE_SEAL_KEY], const char *sealed,
    size_t len)
{
    char             *copy;
    size_t            n, i;
    uint8_t          *to;
    sluice_status_t   status;

    /* of exactly that size, so that ASan sees a byte too many */

    copy = malloc(len + (len == 0));
    to = malloc(len + (len == 0));
    assert_non_null(copy);
    assert_non_null(to);

    memcpy(copy, sealed, len);
    memset(to, 0xa5, len);
    n = 7;
    test_error.text[0] = '\0';

    status = sluice_unseal(key, copy, len, to, &n, &test_error);

    if (status != SLUICE_OK) {
        assert_int_equal(n, 0);
        assert_true(test_error.text[0] != '\0');
        assert_null(strstr(test_error.text, "sk-"));
        assert_int_equal(ERR_peek_error(), 0);

        for (i = 0; i < len; i++) {
            assert_int_equal(to[i], 0);
        }
    }

    free(copy);
    free(to);

    return status;
}


static void
test_round(const uint8_t key[SLUICE_SEAL_KEY], const uint8_t *plain,
    size_t len)
{
    char     *sealed;
    size_t    size, n;
    uint8_t  *to;

    size = sluice_sealed_size(len);
    sealed = malloc(size);
    to = malloc(size);
    assert_non_null(sealed);
    assert_non_null(to);

    assert_int_equal(sluice_seal(key, plain, len, sealed, &test_error),
                     SLUICE_OK);
    assert_int_equal(strlen(sealed), size - 1);
    assert_int_equal(sealed[size - 2], '\n');
    assert_int_equal(strcspn(sealed, "\n"), size - 2);

    assert_int_equal(sluice_unseal(key, sealed, size - 1, to, &n,
                                   &test_error), SLUICE_OK);
    assert_int_equal(n, len);
    assert_memory_equal(to, plain, len);

    /* without its newline as well: an editor may have cut it */

    assert_int_equal(sluice_unseal(key, sealed, size - 2, to, &n,
                                   &test_error), SLUICE_OK);
    assert_int_equal(n, len);
    assert_memory_equal(to, plain, len);

    free(sealed);
    free(to);
}


static void
test_sizes(void **state)
{
    size_t    len;
    uint8_t  *plain, key[SLUICE_SEAL_KEY];
    uint64_t  seed;

    (void) state;

    test_key(key, 0);
    seed = util_seed();

    plain = malloc(SLUICE_SEAL_PLAIN + 1);
    assert_non_null(plain);

    for (len = 0; len <= SLUICE_SEAL_PLAIN; len++) {
        plain[len] = (uint8_t) util_random(&seed);
    }

    for (len = 1; len < 200; len++) {
        test_round(key, plain, len);
    }

    test_round(key, plain, SLUICE_SEAL_PLAIN - 1);
    test_round(key, plain, SLUICE_SEAL_PLAIN);

    /* none, and too much */

    assert_int_equal(sluice_seal(key, plain, 0, (char *) plain, &test_error),
                     SLUICE_FAILED);
    assert_int_equal(sluice_seal(key, plain, SLUICE_SEAL_PLAIN + 1,
                                 (char *) plain, &test_error),
                     SLUICE_FAILED);

    free(plain);
}


/* made by another implementation (pyca/cryptography), as seal.h has it */

static void
test_known(void **state)
{
    char      text[128];
    size_t    n;
    uint8_t   key[SLUICE_SEAL_KEY], to[128];

    static const char  sealed[] = "sluice-sealed-1 ZGVmZ2hpamtsbW5vKTutDVSZJPF"
                                  "UT27iuEUZlm+ydGXhQcF4zZTZ2tjKQ8A4vRqhqzt8vw"
                                  "==\n";
    static const char  other[] = "sluice-sealed-1 ZGVmZ2hpamtsbW5vKTutDVSZJPFU"
                                 "T27iuEUZlm+ydGXhQcF4Jr+a3koaSsmLgVq5Zizw6A=="
                                 "\n";

    (void) state;

    test_key(key, 0);

    assert_int_equal(sluice_unseal(key, sealed, strlen(sealed), to, &n,
                                   &test_error), SLUICE_OK);
    assert_int_equal(n, strlen(TEST_PLAIN));
    assert_memory_equal(to, TEST_PLAIN, n);

    /* the same, but for the first word, which was not authenticated */

    assert_int_equal(test_refused(key, other, strlen(other)), SLUICE_CORRUPT);

    test_key(key, 1);
    assert_int_equal(test_refused(key, sealed, strlen(sealed)),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(test_error.text, "another master key"));

    test_key(key, 0);

    snprintf(text, sizeof(text), "%s", sealed);
    text[14] = '2';
    assert_int_equal(test_refused(key, text, strlen(text)), SLUICE_VERSION);

    assert_int_equal(test_refused(key, TEST_PLAIN, strlen(TEST_PLAIN)),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(test_error.text, "not sealed"));
}


/* any bit of it, and any end of it; key bits as well */

static void
test_changed(void **state)
{
    char      sealed[160];
    size_t    len, i;
    uint8_t   key[SLUICE_SEAL_KEY];
    unsigned  cut;

    (void) state;

    test_key(key, 40);

    /* of each length of padding */

    for (cut = 0; cut < 3; cut++) {

        assert_int_equal(sluice_seal(key, TEST_PLAIN,
                                     strlen(TEST_PLAIN) - cut, sealed,
                                     &test_error), SLUICE_OK);
        len = strlen(sealed);
        assert_int_equal(test_refused(key, sealed, len), SLUICE_OK);

        for (i = 0; i < len * 8; i++) {
            sealed[i / 8] ^= (char) (1 << i % 8);
            assert_int_not_equal(test_refused(key, sealed, len), SLUICE_OK);
            sealed[i / 8] ^= (char) (1 << i % 8);
        }

        for (i = 0; i + 1 < len; i++) {
            assert_int_not_equal(test_refused(key, sealed, i), SLUICE_OK);
        }

        for (i = 0; i < sizeof(key) * 8; i++) {
            key[i / 8] ^= (uint8_t) (1 << i % 8);
            assert_int_equal(test_refused(key, sealed, len), SLUICE_CORRUPT);
            key[i / 8] ^= (uint8_t) (1 << i % 8);
        }

        /* more behind it, and two in one file */

        memcpy(sealed + len, "\n", 2);
        assert_int_not_equal(test_refused(key, sealed, len + 1), SLUICE_OK);
        memcpy(sealed + len, "A", 2);
        assert_int_not_equal(test_refused(key, sealed, len + 1), SLUICE_OK);
        assert_int_not_equal(test_refused(key, sealed, len + 2), SLUICE_OK);
    }
}


static void
test_garbage(void **state)
{
    char      *text;
    size_t     i, len;
    uint8_t    key[SLUICE_SEAL_KEY];
    uint64_t   seed;

    static const char  *cases[] = {
        "", "\n", " ", "sluice-sealed-1", "sluice-sealed-1 ",
        "sluice-sealed-1 \n", "sluice-sealed-1  AAAA\n",
        "sluice-sealed-1 =\n", "sluice-sealed-1 ====\n",
        "sluice-sealed-1 A===\n", "sluice-sealed-1 AA==AA==\n",
        "sluice-sealed-1\tAAAA\n", "Sluice-sealed-1 AAAA\n",

        /* nonce and tag of nothing, and they are right */

        "sluice-sealed-1 ZGVmZ2hpamtsbW5vj3qGZK3LDO/vBq5wlN0hNA==\n",
        NULL
    };

    (void) state;

    test_key(key, 0);

    for (i = 0; cases[i] != NULL; i++) {
        assert_int_not_equal(test_refused(key, cases[i], strlen(cases[i])),
                             SLUICE_OK);
    }

    len = sluice_sealed_size(SLUICE_SEAL_PLAIN) + 3;
    text = malloc(len);
    assert_non_null(text);

    memset(text, 'A', len);
    memcpy(text, "sluice-sealed-1 ", 16);

    assert_int_equal(test_refused(key, text, len), SLUICE_CORRUPT);
    assert_non_null(strstr(test_error.text, "too long"));

    seed = util_seed();

    for (i = 0; i < 2000; i++) {
        text[16 + util_random(&seed) % 64] = (char) util_random(&seed);
        assert_int_equal(test_refused(key, text, 16 + i % 100),
                         SLUICE_CORRUPT);
    }

    free(text);
}


static void
test_nonce(void **state)
{
    char     one[128], two[128];
    uint8_t  key[SLUICE_SEAL_KEY];

    (void) state;

    test_key(key, 0);

    assert_int_equal(sluice_seal(key, "x", 1, one, &test_error), SLUICE_OK);
    assert_int_equal(sluice_seal(key, "x", 1, two, &test_error), SLUICE_OK);

    /* the nonce's own characters, then all */

    assert_memory_not_equal(one + 16, two + 16, 16);
}


static void
test_master(void **state)
{
    char      text[80];
    size_t    len;
    uint8_t   key[SLUICE_SEAL_KEY], want[SLUICE_SEAL_KEY];
    unsigned  c, i;

    static const uint8_t  zero[SLUICE_SEAL_KEY];

    (void) state;

    /* every byte's digits, in both cases */

    for (c = 0; c < 256; c += SLUICE_SEAL_KEY) {
        test_key(want, (uint8_t) c);

        for (i = 0; i < SLUICE_SEAL_KEY; i++) {
            sprintf(text + 2 * i, (c & 64) ? "%02X" : "%02x", want[i]);
        }

        assert_int_equal(sluice_seal_key(text, 64, key, &test_error),
                         SLUICE_OK);
        assert_memory_equal(key, want, SLUICE_SEAL_KEY);

        strcpy(text + 64, "\n");
        memset(key, 0, sizeof(key));

        assert_int_equal(sluice_seal_key(text, 65, key, &test_error),
                         SLUICE_OK);
        assert_memory_equal(key, want, SLUICE_SEAL_KEY);
    }

    /* lengths */

    memset(text, '5', sizeof(text));

    for (len = 0; len < sizeof(text); len++) {
        memset(key, 1, sizeof(key));

        assert_int_equal(sluice_seal_key(text, len, key, &test_error),
                         len == 64 ? SLUICE_OK : SLUICE_CORRUPT);
        assert_true(len == 64 || memcmp(key, zero, sizeof(key)) == 0);
    }

    strcpy(text + 64, "\n\n");
    assert_int_equal(sluice_seal_key(text, 66, key, &test_error),
                     SLUICE_CORRUPT);

    /* characters: each one that there is, at each place */

    for (c = 0; c < 256; c++) {
        for (i = 0; i < 64; i++) {
            memset(text, '5', 64);
            text[i] = (char) c;
            memset(key, 1, sizeof(key));

            if (c != 0 && strchr("0123456789abcdefABCDEF", (int) c) != NULL) {
                assert_int_equal(sluice_seal_key(text, 64, key, &test_error),
                                 SLUICE_OK);
                continue;
            }

            assert_int_equal(sluice_seal_key(text, 64, key, &test_error),
                             SLUICE_CORRUPT);
            assert_memory_equal(key, zero, sizeof(key));
            assert_null(strstr(test_error.text, "555"));
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_nonce),
        cmocka_unit_test(test_master)
    };

    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
