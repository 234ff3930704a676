
/*
 * libFuzzer: a proxy's URL, an origin's host, and a proxy's answers.  The
 * first byte says which of them.  A URL that is taken is taken again as it is
 * written out from what was read.  An answer's end does not depend on the
 * pieces that it comes in, nor on what is behind it, and a second reading of it
 * as a whole finds the same number of bytes.
 */

#include "tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


#define fuzz_assert(x)                                                        \
    do {                                                                      \
        if (!(x)) {                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);           \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    sluice_tunnel_t  tunnel;
    size_t           taken;
    unsigned         sent;              /* messages                          */
} fuzz_run_t;


/* of exactly that size, so that ASan sees a byte too many */

static void *
fuzz_copy(const void *from, size_t len)
{
    void  *copy;

    copy = malloc(len + (len == 0));
    fuzz_assert(copy != NULL);
    memcpy(copy, from, len);

    return copy;
}


static bool
fuzz_zero(const uint8_t *p, size_t len)
{
    for ( /* void */ ; len != 0; p++, len--) {
        if (*p != 0) {
            return false;
        }
    }

    return true;
}


static char *
fuzz_encode(char *to, const char *from, size_t len)
{
    for ( /* void */ ; len != 0; from++, len--) {
        to += sprintf(to, "%%%02X", (uint8_t) *from);
    }

    return to;
}


static void
fuzz_url(const uint8_t *data, size_t size)
{
    char                 text[4096], *p;
    const char          *error;
    sluice_proxy_url_t   url, again;

    memset(&url, 0xa5, sizeof(url));
    error = sluice_proxy_url_parse((const char *) data, size, &url);

    if (error != NULL) {
        fuzz_assert(strlen(error) > 10);
        fuzz_assert(fuzz_zero((uint8_t *) &url, sizeof(url)));
        return;
    }

    fuzz_assert(url.port != 0);
    fuzz_assert(url.host[0] != '\0' && memchr(url.host, 0, sizeof(url.host)));
    fuzz_assert(strlen(url.user) == url.user_len);
    fuzz_assert(strlen(url.password) == url.password_len);
    fuzz_assert(url.auth || (url.user_len == 0 && url.password_len == 0));

    p = text;
    p += sprintf(p, url.scheme == SLUICE_PROXY_HTTP ? "http://" : "socks5://");

    if (url.auth) {
        p = fuzz_encode(p, url.user, url.user_len);
        *p++ = ':';
        p = fuzz_encode(p, url.password, url.password_len);
        *p++ = '@';
    }

    p += sprintf(p, strchr(url.host, ':') ? "[%s]:%u" : "%s:%u", url.host,
                 url.port);

    fuzz_assert(sluice_proxy_url_parse(text, (size_t) (p - text), &again)
                == NULL);
    fuzz_assert(memcmp(&url, &again, sizeof(url)) == 0);
}


/* what is sent for a host has the lines that it is to have, and no other */

static void
fuzz_host(const uint8_t *data, size_t size, const sluice_proxy_url_t *proxy)
{
    char             *head;
    size_t            i, lines;
    sluice_tunnel_t   tunnel;

    if (sluice_tunnel_init(&tunnel, proxy, (const char *) data, size, 443)) {

        fuzz_assert(size != 0 && strlen(tunnel.host) <= size);
        fuzz_assert(memmem(data, size, tunnel.host, strlen(tunnel.host)));
        fuzz_assert(tunnel.out_len <= SLUICE_TUNNEL_OUT_MAX);

        if (proxy->scheme == SLUICE_PROXY_HTTP) {
            head = (char *) tunnel.out;
            lines = 0;

            for (i = 0; i < tunnel.out_len; i++) {
                fuzz_assert((head[i] >= ' ' && head[i] < 0x7f)
                            || (head[i] == '\r' && head[i + 1] == '\n')
                            || (head[i] == '\n' && head[i - 1] == '\r'));
                lines += (head[i] == '\n');
            }

            fuzz_assert(lines == (proxy->auth ? 4u : 3u));
            fuzz_assert(strncmp(head, "CONNECT ", 8) == 0);
            fuzz_assert(memcmp(head + tunnel.out_len - 4, "\r\n\r\n", 4) == 0);
        }
    }
}


/* pieces of 1 to `most` bytes, as a generator has it; most 0: all at once */

static void
fuzz_run(fuzz_run_t *run, const sluice_proxy_url_t *proxy,
    const uint8_t *answer, size_t len, unsigned most, uint32_t seed)
{
    size_t            n, taken;
    uint8_t          *piece;
    sluice_tunnel_t  *tunnel;

    memset(run, 0, sizeof(fuzz_run_t));

    tunnel = &run->tunnel;
    fuzz_assert(sluice_tunnel_init(tunnel, proxy, "a.example", 9, 443));

    for ( ;; ) {

        if (tunnel->step == SLUICE_TUNNEL_SEND) {
            fuzz_assert(tunnel->out_len != 0);
            fuzz_assert(tunnel->out_len <= SLUICE_TUNNEL_OUT_MAX);
            fuzz_assert(sluice_tunnel_feed(tunnel, answer, len) == 0);

            sluice_tunnel_sent(tunnel);
            run->sent++;

            fuzz_assert(tunnel->out_len == 0);
            fuzz_assert(fuzz_zero(tunnel->out, sizeof(tunnel->out)));
        }

        if (tunnel->step == SLUICE_TUNNEL_DONE || run->taken == len) {
            break;
        }

        seed = seed * 1664525 + 1013904223;
        n = len - run->taken;

        if (most != 0 && n > 1 + (seed >> 16) % most) {
            n = 1 + (seed >> 16) % most;
        }

        piece = fuzz_copy(answer + run->taken, n);
        taken = sluice_tunnel_feed(tunnel, piece, n);
        free(piece);

        fuzz_assert(taken != 0 && taken <= n);
        fuzz_assert(taken == n || tunnel->step != SLUICE_TUNNEL_READ);

        run->taken += taken;
    }

    fuzz_assert(tunnel->step != SLUICE_TUNNEL_DONE
                || (tunnel->result < SLUICE_TUNNEL_RESULTS
                    && sluice_tunnel_feed(tunnel, answer, len) == 0));
    fuzz_assert(tunnel->line_len <= SLUICE_TUNNEL_LINE_MAX);
    fuzz_assert(strlen(tunnel->line) == tunnel->line_len);

    for (n = 0; n < tunnel->line_len; n++) {
        fuzz_assert(tunnel->line[n] >= ' ' && tunnel->line[n] < 0x7f);
    }
}


/* how long a head is, with its empty line; 0: it has none */

static size_t
fuzz_head(const uint8_t *p, size_t len)
{
    size_t  i;

    for (i = 1; i < len; i++) {
        if (p[i] == '\n'
            && (p[i - 1] == '\n'
                || (p[i - 1] == '\r' && i > 1 && p[i - 2] == '\n')))
        {
            return i + 1;
        }
    }

    return 0;
}


/* bytes of answers that end in a connection; another way to count them */

static size_t
fuzz_http_len(const uint8_t *p, size_t len)
{
    size_t  at, n;

    for (at = 0; ; at += n) {
        n = fuzz_head(p + at, len - at);
        fuzz_assert(n >= 14 && memcmp(p + at, "HTTP/1.", 7) == 0);

        if (p[at + 9] == '2') {
            return at + n;
        }

        fuzz_assert(p[at + 9] == '1');
    }
}


static size_t
fuzz_socks5_len(const uint8_t *p, size_t len)
{
    size_t  n;

    n = (p[1] == 2) ? 4 : 2;

    fuzz_assert(len >= n + 7);

    switch (p[n + 3]) {

    case 1:
        return n + 4 + 4 + 2;

    case 4:
        return n + 4 + 16 + 2;

    default:
        fuzz_assert(p[n + 3] == 3);
        return n + 4 + 1 + p[n + 4] + 2;
    }
}


static void
fuzz_same(const fuzz_run_t *a, const fuzz_run_t *b)
{
    fuzz_assert(a->taken == b->taken && a->sent == b->sent);
    fuzz_assert(memcmp(&a->tunnel, &b->tunnel, sizeof(sluice_tunnel_t)) == 0);
}


static void
fuzz_answer(const uint8_t *answer, size_t len,
    const sluice_proxy_url_t *proxy, uint8_t seed)
{
    uint8_t     *other;
    unsigned     code;
    fuzz_run_t   one, run;

    fuzz_run(&one, proxy, answer, len, 1, seed);

    fuzz_run(&run, proxy, answer, len, 0, seed);
    fuzz_same(&one, &run);
    fuzz_run(&run, proxy, answer, len, 2, seed);
    fuzz_same(&one, &run);
    fuzz_run(&run, proxy, answer, len, 40, seed);
    fuzz_same(&one, &run);

    if (one.tunnel.step != SLUICE_TUNNEL_DONE) {
        fuzz_assert(one.taken == len);
        return;
    }

    /* all that was taken is needed, and nothing else */

    fuzz_run(&run, proxy, answer, one.taken - 1, 0, seed);
    fuzz_assert(run.tunnel.step != SLUICE_TUNNEL_DONE);

    other = fuzz_copy(answer, len);
    memset(other + one.taken, seed, len - one.taken);
    fuzz_run(&run, proxy, other, len, 0, seed);
    fuzz_same(&one, &run);
    free(other);

    code = one.tunnel.code;

    switch (one.tunnel.result) {

    case SLUICE_TUNNEL_CONNECTED:
        if (proxy->scheme == SLUICE_PROXY_HTTP) {
            fuzz_assert(code >= 200 && code < 300);
            fuzz_assert(one.taken == fuzz_http_len(answer, len));
            fuzz_assert(one.taken <= SLUICE_TUNNEL_HEAD_MAX);

        } else {
            fuzz_assert(code == 0);
            fuzz_assert(one.taken == fuzz_socks5_len(answer, len));
        }

        break;

    case SLUICE_TUNNEL_DENIED:
        fuzz_assert(proxy->scheme == SLUICE_PROXY_HTTP
                    ? code == 401 || code == 407 : code == 0);
        break;

    case SLUICE_TUNNEL_FORBIDDEN:
        fuzz_assert(proxy->scheme == SLUICE_PROXY_HTTP
                    ? code >= 300 && code / 100 != 5 && code != 401
                      && code != 407
                    : code != 0 && !(code >= 3 && code <= 6));
        break;

    case SLUICE_TUNNEL_ORIGIN:
        fuzz_assert(proxy->scheme == SLUICE_PROXY_HTTP
                    ? code / 100 == 5 : code >= 3 && code <= 6);
        break;

    default:
        fuzz_assert(one.tunnel.result == SLUICE_TUNNEL_INVALID);
        fuzz_assert(code < 300);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       i, len;
    uint8_t     *bytes, what, kind, seed;
    const char  *begin, *end;

    static bool                 ready;
    static sluice_proxy_url_t   proxy[4];

    static const char  *urls[] = { "http://h:1", "http://u:p@h:1",
                                   "socks5://h:1", "socks5://u:p@h:1" };

    /* what libFuzzer need not find by itself */

    static const char  *begins[4][4] = {
        { "", "http://", "socks5://u:", "http://u%41:p@[::1]:" },
        { "", "[", "::ffff:", "10.0." },
        { "", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n",
          "HTTP/1.1 100 C\n\nHTTP/1." },
        { "", "\5", "\5\2\1", "\5\2\1\1" }
    };

    static const char  *ends[4][4] = {
        { "", ":1", "@h:1", ":p@h:1" },
        { "", ".", "]", ".1" },
        { "", "\n", "\r\n\r\n", " x\r\nX: y\n\n" },
        { "", "\1", "\1\1\1\1\1\1\1", "\5" }
    };

    if (!ready) {
        for (i = 0; i < 4; i++) {
            fuzz_assert(sluice_proxy_url_parse(urls[i], strlen(urls[i]),
                                               &proxy[i]) == NULL);
        }

        ready = true;
    }

    if (size < 2) {
        return 0;
    }

    what = data[0];
    seed = data[1];
    data += 2;
    size -= 2;

    /* 0 is a URL, 1 a host, 2 what HTTP answers, 3 what SOCKS5 does */

    kind = what >> 4 & 3;
    begin = begins[kind][what >> 2 & 3];
    end = ends[kind][what >> 6];
    len = strlen(begin) + size + strlen(end);

    bytes = malloc(len + (len == 0));
    fuzz_assert(bytes != NULL);
    memcpy(bytes, begin, strlen(begin));
    memcpy(bytes + strlen(begin), data, size);
    memcpy(bytes + len - strlen(end), end, strlen(end));

    switch (kind) {

    case 0:
        fuzz_url(bytes, len);
        break;

    case 1:
        fuzz_host(bytes, len, &proxy[what & 3]);
        break;

    default:
        fuzz_answer(bytes, len, &proxy[(kind & 1) << 1 | (what & 1)], seed);
    }

    free(bytes);

    return 0;
}
