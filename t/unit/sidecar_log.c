
/* no secret reaches a line of the log: however many, however long */

#include "log.c"

#include <fcntl.h>


#define TEST_LONG  1500


static void
test_log_redacted(const char *text, const char *wanted)
{
    char  copy[4096];

    snprintf(copy, sizeof(copy), "%s", text);
    sluice_log_redact(copy);
    assert_string_equal(copy, wanted);
}


/* an unescaped password falls into parts, and each may be shown alone */

static void
test_log_many(void **state)
{
    char      uri[1024], part[32], text[64];
    size_t    n;
    unsigned  i;

    (void) state;

    n = (size_t) snprintf(uri, sizeof(uri), "mongodb://manyuser:first1");

    for (i = 0; i < 40; i++) {
        n += (size_t) snprintf(uri + n, sizeof(uri) - n, "%cpart%02u",
                               "@/:?,"[i % 5], i);
    }

    snprintf(uri + n, sizeof(uri) - n, "@127.0.0.1/");
    sluice_log_secret_uri(uri);

    for (i = 0; i < 40; i++) {
        snprintf(part, sizeof(part), "part%02u", i);
        snprintf(text, sizeof(text), "what is \"%s\"?", part);
        test_log_redacted(text, "what is \"***\"?");
    }
}


/* what an option holds whose name ends in "password" */

static void
test_log_query(void **state)
{
    (void) state;

    sluice_log_secret_uri("mongodb://h/?tls=true&tlsCertificateKeyFilePASSWORD="
                          "query%40W%c3%bc%zz%4&bare-rest&tlsCAFile=/a/file"
                          "&sslClientCertificateKeyPassword=second%21");

    test_log_redacted("is query%40W%c3%bc%zz%4 it?", "is *** it?");
    test_log_redacted("is query@W\xc3\xbc%zz%4 it?", "is *** it?");
    test_log_redacted("is bare-rest it?", "is *** it?");
    test_log_redacted("is second%21 it?", "is *** it?");
    test_log_redacted("is second! it?", "is *** it?");
    test_log_redacted("is tlsCAFile=/a/file it?", "is tlsCAFile=/a/file it?");

    /* none of these is a whole one */

    sluice_log_secret_uri("mongodb://h/?password=");
    sluice_log_secret_uri("mongodb://h/?password=&");
    sluice_log_secret_uri("mongodb://h/?password=%");
    sluice_log_secret_uri("mongodb://h/?password=%4");
}


/* as a whole, and where a message of somebody else's has cut it off */

static void
test_log_long(void **state)
{
    char    secret[TEST_LONG + 1], text[4096];
    size_t  i, len;

    (void) state;

    for (i = 0; i < TEST_LONG; i++) {
        secret[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i * i / 7 % 26];
    }

    secret[TEST_LONG] = '\0';
    sluice_log_secret(secret, TEST_LONG);

    for (len = TEST_LONG; len > 20; len -= 20) {
        snprintf(text, sizeof(text), "what is \"%.*s\"?", (int) len, secret);
        test_log_redacted(text, "what is \"***\"?");
    }
}


/* whichever of the two was told first */

static void
test_log_within(void **state)
{
    (void) state;

    sluice_log_secret("inner-word", 10);
    sluice_log_secret("outer+inner-word+outer", 22);
    sluice_log_secret("in", 2);

    test_log_redacted("what is outer+inner-word+outer?", "what is ***?");
    test_log_redacted("what is inner-word in it?", "what is *** in it?");
}


/* a line that is cut to its length, wherever the cut falls */

static void
test_log_cut(void **state)
{
    int      fds[2], saved, pad;
    char     line[8192];
    ssize_t  n;

    (void) state;

    sluice_log_secret("#7Xw9Kd3Fj5#", 12);

    assert_int_equal(pipe(fds), 0);
    saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);

    for (pad = 1900; pad < 2100; pad++) {
        sluice_log(SLUICE_LOG_ERROR, "%*s#7Xw9Kd3Fj5# and more", pad, "");
        n = read(fds[0], line, sizeof(line) - 1);

        if (n <= 0 || n > 2048 || line[n - 1] != '\n'
            || memchr(line, '#', (size_t) n) != NULL)
        {
            break;
        }
    }

    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[0]);
    close(fds[1]);

    assert_int_equal(pad, 2100);
}
