
/*
 * Asks an nginx behind a unix socket with many keys, many requests on the way.
 *
 *   ask SOCKET URI KEYS N SEED
 *
 * N requests over one connection, up to 64 on the way, each with the header
 * X-Key of one of KEYS keys: SEED 0 takes one after the other, others take
 * them at random.  Every answer must be a 200, and as long as the first.  It
 * never sleeps: to wake it would cost nginx more than what is to be measured.
 */

#define _GNU_SOURCE

#include "table.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>


#define ASK_BATCH   32
#define ASK_OK      "HTTP/1.1 200 "
#define ASK_OK_LEN  (sizeof(ASK_OK) - 1)


static int   ask_fd;
static char  ask_answer[65536];


static void
ask_fail(const char *what)
{
    fprintf(stderr, "ask: %s\n", what);
    exit(1);
}


static void
ask_connect(const char *path)
{
    struct sockaddr_un  addr;

    memset(&addr, 0, sizeof(struct sockaddr_un));
    addr.sun_family = AF_UNIX;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);

    ask_fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (ask_fd == -1
        || connect(ask_fd, (struct sockaddr *) &addr, sizeof(addr)) == -1)
    {
        ask_fail("no connection");
    }
}


static size_t
ask_request(char *text, const char *uri, uint64_t key)
{
    return (size_t) snprintf(text, 256,
                             "GET %s HTTP/1.1\r\nHost: a\r\n"
                             "X-Key: client-%016llx\r\n\r\n", uri,
                             (unsigned long long) table_mix(key));
}


static void
ask_send(const char *text, size_t len)
{
    ssize_t  n;

    for ( /* void */ ; len != 0; text += n, len -= (size_t) n) {
        n = write(ask_fd, text, len);

        if (n <= 0) {
            ask_fail("the connection broke");
        }
    }
}


/* some bytes into the answers, at least one */

static size_t
ask_some(size_t done, size_t len)
{
    ssize_t  n;

    for ( ;; ) {
        n = recv(ask_fd, ask_answer + done, len, MSG_DONTWAIT);

        if (n > 0) {
            return (size_t) n;
        }

        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            ask_fail("the connection broke");
        }

        (void) sched_yield();
    }
}


static void
ask_read(size_t len)
{
    size_t  done;

    for (done = 0; done < len; /* void */) {
        done += ask_some(done, len - done);
    }
}


/* the length of an answer, by the first one */

static size_t
ask_first(const char *uri)
{
    char    text[256], *body, *length;
    size_t  n;

    ask_send(text, ask_request(text, uri, 0));

    n = ask_some(0, sizeof(ask_answer) - 1);
    ask_answer[n] = '\0';

    body = strstr(ask_answer, "\r\n\r\n");
    length = strstr(ask_answer, "Content-Length: ");

    if (body == NULL || length == NULL
        || body + 4 + atoi(length + 16) != ask_answer + n)
    {
        ask_fail("the first answer is not in one piece");
    }

    return n;
}


static void
ask_batch(const char *uri, uint64_t first, uint64_t keys, uint64_t *seed)
{
    char      text[ASK_BATCH * 256];
    size_t    len;
    unsigned  i;

    len = 0;

    for (i = 0; i < ASK_BATCH; i++) {
        len += ask_request(text + len, uri,
                           *seed ? table_random(seed, keys)
                                 : (first + i) % keys);
    }

    ask_send(text, len);
}


static void
ask_check(size_t size)
{
    unsigned  i;

    ask_read(size * ASK_BATCH);

    for (i = 0; i < ASK_BATCH; i++) {
        if (memcmp(ask_answer + i * size, ASK_OK, ASK_OK_LEN) != 0) {
            ask_fail("an answer is not a 200");
        }
    }
}


int
main(int argc, char **argv)
{
    size_t    size;
    uint64_t  n, sent, keys, seed;

    if (argc != 6) {
        fprintf(stderr, "ask: see the head of its source\n");
        return 2;
    }

    keys = strtoull(argv[3], NULL, 10);
    n = strtoull(argv[4], NULL, 10) / ASK_BATCH * ASK_BATCH;
    seed = strtoull(argv[5], NULL, 10);

    ask_connect(argv[1]);
    size = ask_first(argv[2]);

    if (size * ASK_BATCH > sizeof(ask_answer)) {
        ask_fail("the answers are too long");
    }

    for (sent = 0; sent < n; sent += ASK_BATCH) {
        ask_batch(argv[2], sent, keys, &seed);

        /* one is on the way while the one before is read */

        if (sent != 0) {
            ask_check(size);
        }
    }

    if (n != 0) {
        ask_check(size);
    }

    close(ask_fd);

    return 0;
}
