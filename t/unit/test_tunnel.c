
/*
 * A proxy's URL, and the handshake with it: as proxies answer, and as whatever
 * else may stand behind the port does.  Each answer is fed at once, byte by
 * byte, and in any two pieces, with the origin's bytes behind it.
 */

#include "tunnel.h"
#include "util.h"

#include <ctype.h>


#define TEST_ORIGIN   "\026\003\003origin"      /* what TLS begins with      */
#define TEST_SECRET   "hunter2"
#define TEST_MUCH     (2 * SLUICE_TUNNEL_HEAD_MAX)
#define TEST_60       "123456789012345678901234567890"                        \
                      "123456789012345678901234567890"


/* of an answer all but its length is a string: bytes with NULs, too */
#define TEST_BYTES(s)  s, sizeof(s) - 1


typedef struct {
    const char              *answer;
    size_t                   len;
    sluice_tunnel_result_t   result;
    unsigned                 code;
    int                      taken;     /* bytes; -1: all                    */
    const char              *line;      /* NULL: any                         */
} test_answer_t;


/* of exactly that size, so that ASan sees a byte too many */

static void *
test_copy(const void *from, size_t len)
{
    void  *copy;

    copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, from, len);

    return copy;
}


static const char *
test_parse_len(const char *text, size_t len, sluice_proxy_url_t *url)
{
    char        *copy;
    const char  *error;

    copy = test_copy(text, len);
    error = sluice_proxy_url_parse(copy, len, url);
    free(copy);

    return error;
}


static const char *
test_parse(const char *text, sluice_proxy_url_t *url)
{
    return test_parse_len(text, strlen(text), url);
}


static void
test_url(sluice_proxy_url_t *url, const char *text)
{
    const char  *error;

    error = test_parse(text, url);

    if (error != NULL) {
        fail_msg("\"%s\": %s", text, error);
    }
}


static bool
test_zero(const void *p, size_t len)
{
    const uint8_t  *byte;

    for (byte = p; len != 0; byte++, len--) {
        if (*byte != 0) {
            return false;
        }
    }

    return true;
}


static void
test_urls(void **state)
{
    unsigned             i;
    sluice_proxy_url_t   url;

    static const struct {
        const char             *text;
        sluice_proxy_scheme_t   scheme;
        const char             *host;
        unsigned                port;
        const char             *user;           /* NULL: none                */
        const char             *password;
    } cases[] = {
        { "http://10.0.0.1:3128", SLUICE_PROXY_HTTP, "10.0.0.1", 3128, NULL,
          NULL },
        { "HTTP://10.0.0.1:3128/", SLUICE_PROXY_HTTP, "10.0.0.1", 3128, NULL,
          NULL },
        { "SocKS5://proxy.example:1", SLUICE_PROXY_SOCKS5, "proxy.example", 1,
          NULL, NULL },
        { "socks5://[::1]:65535", SLUICE_PROXY_SOCKS5, "::1", 65535, NULL,
          NULL },
        { "http://[2001:DB8::ffff:10.0.0.1]:80/", SLUICE_PROXY_HTTP,
          "2001:DB8::ffff:10.0.0.1", 80, NULL, NULL },
        { "http://a-b_c.Example.:080", SLUICE_PROXY_HTTP, "a-b_c.Example.", 80,
          NULL, NULL },
        { "http://u:p@h:1", SLUICE_PROXY_HTTP, "h", 1, "u", "p" },
        { "http://user:p%40ss@10.0.0.1:3128", SLUICE_PROXY_HTTP, "10.0.0.1",
          3128, "user", "p@ss" },
        { "socks5://u%3a%2F:%3F%23%25%3A@[::]:9", SLUICE_PROXY_SOCKS5, "::", 9,
          "u:/", "?#%:" },
        { "http://u:%C3%a9\303\251%20%7e!$&'()*+,;=-._~[]@h:1/",
          SLUICE_PROXY_HTTP, "h", 1, "u",
          "\303\251\303\251 ~!$&'()*+,;=-._~[]" },
        { "http://key:@h:1", SLUICE_PROXY_HTTP, "h", 1, "key", "" },
        { "http://:key@h:1", SLUICE_PROXY_HTTP, "h", 1, "", "key" },
        { "http://u:%3A@h:1", SLUICE_PROXY_HTTP, "h", 1, "u", ":" },
        { NULL, 0, NULL, 0, NULL, NULL }
    };

    (void) state;

    for (i = 0; cases[i].text != NULL; i++) {

        memset(&url, 0xa5, sizeof(url));
        test_url(&url, cases[i].text);

        assert_int_equal(url.scheme, cases[i].scheme);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.auth, cases[i].user != NULL);

        assert_string_equal(url.user, cases[i].user ? cases[i].user : "");
        assert_string_equal(url.password,
                            cases[i].password ? cases[i].password : "");
        assert_int_equal(url.user_len, strlen(url.user));
        assert_int_equal(url.password_len, strlen(url.password));
    }
}


/* each with a word of what is said, and nothing of what it was */

static void
test_urls_refused(void **state)
{
    unsigned             i;
    const char          *error;
    sluice_proxy_url_t   url;

    static const struct {
        const char  *text;
        const char  *word;
    } cases[] = {
        { "", "http://" },
        { ":", "http://" },
        { "http", "socks5://" },
        { "http:", "http://" },
        { "http:/", "http://" },
        { "http:/h:1", "http://" },
        { "://h:1", "http://" },
        { "10.0.0.1:3128", "http://" },
        { "user:" TEST_SECRET "@h:1", "http://" },
        { "http//h:1", "http://" },
        { "httpp://h:1", "begins with" },
        { "htt://h:1", "begins with" },
        { " http://h:1", "begins with" },
        { "ftp://h:1", "begins with" },
        { "socks://h:1", "begins with" },
        { "socks5a://h:1", "begins with" },
        { "https://h:1", "no TLS to the proxy" },
        { "HTTPS://u:" TEST_SECRET "@h:1", "no TLS to the proxy" },
        { "socks5h://h:1", "resolves names" },
        { "SOCKS4://h:1", "\"socks4://\" is not" },
        { "socks4a://h:1", "\"socks4a://\" is not" },

        { "http://", "host is missing" },
        { "http:///", "host is missing" },
        { "http://:80", "host is missing" },
        { "http://u:p@:80", "host is missing" },
        { "http://u:p@", "host is missing" },
        { "http://h", "port is missing" },
        { "http://h/", "port is missing" },
        { "http://h:", "port is missing" },
        { "http://h:/", "port is missing" },
        { "http://[::1]", "port is missing" },
        { "http://[::1]:", "port is missing" },
        { "http://h:0", "1 to 65535" },
        { "http://h:00000", "1 to 65535" },
        { "http://h:65536", "1 to 65535" },
        { "http://h:4294967376", "1 to 65535" },
        { "http://h:18446744073709551696", "1 to 65535" },
        { "http://h:-1", "1 to 65535" },
        { "http://h:+1", "1 to 65535" },
        { "http://h: 1", "1 to 65535" },
        { "http://h:1 ", "1 to 65535" },
        { "http://h:8o", "1 to 65535" },
        { "http://h:http", "1 to 65535" },
        { "http://[::1]80", "behind the \"]\"" },
        { "http://[::1]x:80", "behind the \"]\"" },

        { "http://::1:80", "brackets" },
        { "http://2001:db8::1", "brackets" },
        { "http://u:" TEST_SECRET ":h:80", "\"@\"" },
        { "http://[::1:80", "\"]\"" },
        { "http://[]:80", "no IPv6" },
        { "http://[:1]:80", "no IPv6" },
        { "http://[::1::]:80", "no IPv6" },
        { "http://[10.0.0.1]:80", "no IPv6" },
        { "http://[h]:80", "no IPv6" },
        { "http://[fe80::1%25eth0]:80", "no IPv6" },
        { "http://[::1 ]:80", "no IPv6" },
        { "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
          "no IPv6" },
        { "http://h]:80", "a name" },
        { "http://.:80", "a name" },
        { "http://..:80", "a name" },
        { "http://.h:80", "a name" },
        { "http://a..b:80", "a name" },
        { "http://a..:80", "a name" },
        { "http://h%41:80", "a name" },
        { "http://h h:80", "a name" },
        { "http://h\n:80", "a name" },
        { "http://\303\251:80", "a name" },
        { "http://h\\:80", "a name" },

        { "http://h:80//", "no path" },
        { "http://h:80/x", "no path" },
        { "http://h:80/x/", "no path" },
        { "http://h:80?", "no path" },
        { "http://h:80?/", "no path" },
        { "http://h:80#x", "no path" },
        { "http://h/x:80", "no path" },

        { "http://u:p@" TEST_SECRET "@h:1", "percent-encoded" },
        { "http://@u:p@h:1", "percent-encoded" },
        { "http://u:p/" TEST_SECRET "@h:1", "percent-encoded" },
        { "http://u:p?" TEST_SECRET "@h:1", "percent-encoded" },
        { "http://u:p#" TEST_SECRET "@h:1", "percent-encoded" },
        { "http://u/u:p@h:1", "percent-encoded" },
        { "http://u:p:" TEST_SECRET "@h:1", "percent-encoded" },
        { "http://u:p:@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "/h:1", "percent-encoded" },
        { "http://u:p " TEST_SECRET "@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%4@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%4g@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%g4@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%%@h:1", "percent-encoded" },
        { "http://u%4:p@h:1", "percent-encoded" },
        { "http://u:" TEST_SECRET "%00@h:1", "control" },
        { "http://u:" TEST_SECRET "%0a@h:1", "control" },
        { "http://u:" TEST_SECRET "%1F@h:1", "control" },
        { "http://u:" TEST_SECRET "%7f@h:1", "control" },
        { "http://u:" TEST_SECRET "\r@h:1", "control" },
        { "http://u:" TEST_SECRET "\177@h:1", "control" },
        { "socks5://u%0d:p@h:1", "control" },
        { "http://u@h:1", "needs a password" },
        { "http://@h:1", "needs a password" },
        { "http://" TEST_SECRET "%3Ax@h:1", "needs a password" },
        { "http://u%3A:p@h:1", "no \":\"" },
        { "socks5://:p@h:1", "empty" },
        { "socks5://u:@h:1", "empty" },
        { "socks5://:@h:1", "empty" },
        { NULL, NULL }
    };

    (void) state;

    for (i = 0; cases[i].text != NULL; i++) {

        memset(&url, 0xa5, sizeof(url));
        error = test_parse(cases[i].text, &url);

        if (error == NULL || strstr(error, cases[i].word) == NULL) {
            fail_msg("\"%s\": %s", cases[i].text, error ? error : "taken");
        }

        assert_null(strstr(error, TEST_SECRET));

        for ( /* void */ ; *error != '\0'; error++) {
            assert_true(isprint((uint8_t) *error));
        }

        assert_true(test_zero(&url, sizeof(url)));
    }

    /* a NUL ends nothing */

    assert_non_null(test_parse_len(TEST_BYTES("http://h:1\0"), &url));
    assert_non_null(test_parse_len(TEST_BYTES("http://h\0:1"), &url));
    assert_non_null(test_parse_len(TEST_BYTES("http\0://h:1"), &url));
    assert_non_null(test_parse_len(TEST_BYTES("http://[::1\0]:1"), &url));
    assert_non_null(test_parse_len(TEST_BYTES("http://u:p\0@h:1"), &url));
}


/* of any length: what is shorter than a URL is none */

static void
test_urls_cut(void **state)
{
    size_t               len;
    const char          *error;
    sluice_proxy_url_t   url;

    static const char  text[] = "socks5://us%65r:p%40ss@[2001:db8::1]:1080";

    (void) state;

    for (len = 0; len < sizeof(text); len++) {
        error = test_parse_len(text, len, &url);

        if (len < sizeof(text) - sizeof("080")) {
            assert_non_null(error);

        } else if (len < sizeof(text) - 1) {
            assert_null(error);
        }
    }
}


static void
test_url_lengths(void **state)
{
    char                 text[2048], label[300];
    size_t               i;
    const char          *error;
    sluice_proxy_url_t   url;

    static const char  *forms[] = { "http://%s:p@h:1", "socks5://u:%s@h:1",
                                    "http://%s:1" };

    (void) state;

    for (i = 1; i < sizeof(label); i++) {

        memset(label, 'x', i);
        label[i] = '\0';

        snprintf(text, sizeof(text), forms[i % 3], label);
        error = test_parse(text, &url);

        assert_int_equal(error == NULL, i <= 255);

        if (error == NULL) {
            assert_int_equal(strlen(i % 3 == 0 ? url.user
                                    : i % 3 == 1 ? url.password
                                    : url.host), i);
        }
    }

    /* the dot at the end of a host, which is kept, counts as well */

    memset(label, 'x', 255);

    for (i = 254; i < 257; i++) {
        label[i - 1] = '.';
        label[i] = '\0';
        snprintf(text, sizeof(text), "http://%s:1", label);
        assert_int_equal(test_parse(text, &url) == NULL, i <= 255);
        label[i - 1] = 'x';
    }

    /* it is the decoded length that counts */

    strcpy(text, "http://u:");

    for (i = 0; i < 255; i++) {
        strcat(text, "%41");
    }

    strcat(text, "@h:1");
    test_url(&url, text);
    assert_int_equal(url.password_len, 255);
    assert_int_equal(url.password[254], 'A');

    text[strlen(text) - 4] = '\0';
    strcat(text, "%42@h:1");
    error = test_parse(text, &url);
    assert_non_null(error);
    assert_non_null(strstr(error, "255"));
}


static void
test_init(sluice_tunnel_t *tunnel, const sluice_proxy_url_t *proxy,
    const char *host, uint16_t port)
{
    char  *copy;

    memset(tunnel, 0xa5, sizeof(sluice_tunnel_t));

    copy = test_copy(host, strlen(host));
    assert_true(sluice_tunnel_init(tunnel, proxy, copy, strlen(host), port));
    free(copy);

    assert_int_equal(tunnel->step, SLUICE_TUNNEL_SEND);
    assert_int_equal(tunnel->code, 0);
    assert_int_equal(tunnel->line_len, 0);
    assert_string_equal(tunnel->line, "");
}


static void
test_out(sluice_tunnel_t *tunnel, const char *out, size_t len)
{
    assert_int_equal(tunnel->step, SLUICE_TUNNEL_SEND);

    if (tunnel->out_len != len || memcmp(tunnel->out, out, len) != 0) {
        fail_msg("\"%.*s\" is not \"%.*s\"", (int) tunnel->out_len,
                 (const char *) tunnel->out, (int) len, out);
    }

    /* nothing is read before it is sent */

    assert_int_equal(sluice_tunnel_feed(tunnel, (const uint8_t *) "H", 1), 0);

    sluice_tunnel_sent(tunnel);

    assert_int_equal(tunnel->step, SLUICE_TUNNEL_READ);
    assert_int_equal(tunnel->out_len, 0);
    assert_true(test_zero(tunnel->out, sizeof(tunnel->out)));
}


static void
test_connect(void **state)
{
    size_t               i;
    char                 out[512];
    sluice_tunnel_t      tunnel;
    sluice_proxy_url_t   url;

    static const struct {
        const char  *host;
        const char  *sent;
    } cases[] = {
        { "api.example.com", "api.example.com" },
        { "api.example.com.", "api.example.com" },
        { "API_1.example-2.com", "API_1.example-2.com" },
        { "localhost", "localhost" },
        { "10.0.0.1", "10.0.0.1" },
        { "::1", "[::1]" },
        { "[::1]", "[::1]" },
        { "2001:db8::ffff:255.255.255.255",
          "[2001:db8::ffff:255.255.255.255]" },
        { "[2001:0db8:0000:0000:0000:ffff:0000:0001]",
          "[2001:0db8:0000:0000:0000:ffff:0000:0001]" },
        { NULL, NULL }
    };

    static const struct {
        const char  *url;
        const char  *basic;
    } users[] = {
        { "http://u:p@h:1", "dTpw" },
        { "http://Aladdin:open%20sesame@h:1",
          "QWxhZGRpbjpvcGVuIHNlc2FtZQ==" },           /* RFC 7617, 2         */
        { "http://test:123%C2%A3@h:1", "dGVzdDoxMjPCow==" },    /* ... 2.1   */
        { "http://u:pw@h:1", "dTpwdw==" },
        { "http://u:pwd@h:1", "dTpwd2Q=" },
        { "http://u:@h:1", "dTo=" },
        { "http://:@h:1", "Og==" },
        { "http://u:%FF%FE%FB%EF%BE@h:1", "dTr//vvvvg==" },
        { NULL, NULL }
    };

    (void) state;

    test_url(&url, "http://h:1");

    for (i = 0; cases[i].host != NULL; i++) {
        test_init(&tunnel, &url, cases[i].host, 443);
        snprintf(out, sizeof(out), "CONNECT %s:443 HTTP/1.1\r\n"
                 "Host: %s:443\r\n\r\n", cases[i].sent, cases[i].sent);
        test_out(&tunnel, out, strlen(out));
    }

    for (i = 0; users[i].url != NULL; i++) {
        test_url(&url, users[i].url);
        test_init(&tunnel, &url, "o", 65535);
        snprintf(out, sizeof(out), "CONNECT o:65535 HTTP/1.1\r\n"
                 "Host: o:65535\r\n"
                 "Proxy-Authorization: Basic %s\r\n\r\n", users[i].basic);
        test_out(&tunnel, out, strlen(out));
    }
}


/* the longest of all: they fit, as ASan and the assertion in tunnel.c say */

static void
test_longest(void **state)
{
    char                 host[256];
    sluice_tunnel_t     *tunnel;
    sluice_proxy_url_t   url;

    (void) state;

    tunnel = malloc(sizeof(sluice_tunnel_t));
    assert_non_null(tunnel);

    memset(host, 'x', 255);
    host[255] = '\0';

    memset(&url, 0, sizeof(url));
    url.auth = true;
    url.user_len = url.password_len = 255;
    memset(url.user, 0xff, 255);
    memset(url.password, 0xff, 255);

    test_init(tunnel, &url, host, 65535);
    assert_int_equal(tunnel->out_len, 8 + 261 + 17 + 261 + 2 + 27 + 684 + 4);
    assert_memory_equal(tunnel->out + tunnel->out_len - 8, "/w==\r\n\r\n", 8);

    url.scheme = SLUICE_PROXY_SOCKS5;
    test_init(tunnel, &url, host, 65535);
    test_out(tunnel, TEST_BYTES("\5\2\0\2"));
    assert_int_equal(sluice_tunnel_feed(tunnel, (uint8_t *) "\5\2", 2), 2);
    assert_int_equal(tunnel->out_len, 3 + 255 + 255);
    assert_memory_equal(tunnel->out, "\1\377\377\377", 4);
    assert_memory_equal(tunnel->out + 256, "\377\377\377\377", 4);
    sluice_tunnel_sent(tunnel);
    assert_true(test_zero(tunnel->out, sizeof(tunnel->out)));

    assert_int_equal(sluice_tunnel_feed(tunnel, (uint8_t *) "\1\0", 2), 2);
    assert_int_equal(tunnel->out_len, 5 + 255 + 2);
    assert_memory_equal(tunnel->out, "\5\1\0\3\377x", 6);
    assert_memory_equal(tunnel->out + 259, "x\377\377", 3);

    free(tunnel);
}


static void
test_origins_refused(void **state)
{
    bool                 good;
    char                *copy, host[300];
    size_t               i;
    sluice_tunnel_t      tunnel;
    sluice_proxy_url_t   url[2], any;

    static const struct {
        const char  *host;
        size_t       len;
    } cases[] = {
        { TEST_BYTES("") },
        { TEST_BYTES(".") },
        { TEST_BYTES("..") },
        { TEST_BYTES(".a") },
        { TEST_BYTES("a..") },
        { TEST_BYTES("a..b") },
        { TEST_BYTES("a b") },
        { TEST_BYTES("a\r\nX: y") },
        { TEST_BYTES("a\n") },
        { TEST_BYTES("a\0") },
        { TEST_BYTES("a\0.example") },
        { TEST_BYTES("a:443") },
        { TEST_BYTES("10.0.0.1:443") },
        { TEST_BYTES("a/b") },
        { TEST_BYTES("a@b") },
        { TEST_BYTES("a%41") },
        { TEST_BYTES("a*") },
        { TEST_BYTES("\303\251") },
        { TEST_BYTES("[") },
        { TEST_BYTES("]") },
        { TEST_BYTES("[]") },
        { TEST_BYTES("[a]") },
        { TEST_BYTES("[10.0.0.1]") },
        { TEST_BYTES("[::1") },
        { TEST_BYTES("::1]") },
        { TEST_BYTES("[[::1]]") },
        { TEST_BYTES("[::1].") },
        { TEST_BYTES("::1.") },
        { TEST_BYTES("[::1]:443") },
        { TEST_BYTES("::1\0") },
        { TEST_BYTES("[::1\0]") },
        { TEST_BYTES("fe80::1%eth0") },
        { TEST_BYTES(":::") },
        { TEST_BYTES("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000") },
        { NULL, 0 }
    };

    (void) state;

    test_url(&url[0], "http://h:1");
    test_url(&url[1], "socks5://h:1");

    for (i = 0; cases[i].host != NULL; i++) {
        copy = test_copy(cases[i].host, cases[i].len);

        if (sluice_tunnel_init(&tunnel, &url[i % 2], copy, cases[i].len, 443))
        {
            fail_msg("\"%s\" is taken", cases[i].host);
        }

        free(copy);
    }

    /* a name has no other bytes, wherever it is from */

    for (i = 0; i < 256; i++) {
        memcpy(host, "http://aXb:1", 12);
        host[8] = (char) i;
        good = (i < 0x80 && isalnum((int) i)) || i == '-' || i == '.'
               || i == '_';

        assert_int_equal(sluice_tunnel_init(&tunnel, &url[i % 2], host + 7, 3,
                                            443), good);
        assert_int_equal(test_parse_len(host, 12, &any) == NULL, good);
    }

    assert_false(sluice_tunnel_init(&tunnel, &url[0], NULL, 0, 443));
    assert_false(sluice_tunnel_init(&tunnel, &url[0], "a", 1, 0));
    assert_true(sluice_tunnel_init(&tunnel, &url[0], "a", 1, 1));

    memset(host, 'a', sizeof(host));

    for (i = 250; i < sizeof(host); i++) {
        assert_int_equal(sluice_tunnel_init(&tunnel, &url[i % 2], host, i, 1),
                         i <= 255);
    }

    /* the dot is not sent, so it is not counted */

    host[255] = '.';
    assert_true(sluice_tunnel_init(&tunnel, &url[1], host, 256, 1));
}


/*
 * Feeds an answer with something behind it in pieces of those sizes, the last
 * one again and again; returns how many bytes were taken.  What is sent
 * between them is not looked at.
 */

static size_t
test_feed(sluice_tunnel_t *tunnel, const void *answer, size_t len,
    size_t first, size_t then)
{
    size_t    at, n, taken;
    uint8_t  *piece;

    for (at = 0, n = first; at < len; at += taken, n = then) {

        if (tunnel->step == SLUICE_TUNNEL_SEND) {
            assert_true(tunnel->out_len > 0);
            assert_true(tunnel->out_len <= SLUICE_TUNNEL_OUT_MAX);
            sluice_tunnel_sent(tunnel);
        }

        if (n > len - at) {
            n = len - at;
        }

        piece = test_copy((const uint8_t *) answer + at, n);
        taken = sluice_tunnel_feed(tunnel, piece, n);
        free(piece);

        assert_true(taken <= n);

        if (tunnel->step == SLUICE_TUNNEL_DONE) {
            assert_true(taken > 0 || n == 0);
            return at + taken;
        }

        assert_true(taken == n || tunnel->step == SLUICE_TUNNEL_SEND);
    }

    return at;
}


static void
test_result(const sluice_tunnel_t *tunnel, const test_answer_t *c,
    size_t taken)
{
    size_t  wanted;

    wanted = (c->taken < 0) ? c->len : (size_t) c->taken;

    if (tunnel->step != SLUICE_TUNNEL_DONE || tunnel->result != c->result
        || tunnel->code != c->code || taken != wanted
        || (c->line != NULL && strcmp(tunnel->line, c->line) != 0))
    {
        fail_msg("\"%.*s\": step %d, %s, code %u, %zu bytes, \"%s\"",
                 (int) c->len, c->answer, tunnel->step,
                 sluice_tunnel_result_name(tunnel->result), tunnel->code,
                 taken, tunnel->line);
    }

    assert_int_equal(tunnel->line_len, strlen(tunnel->line));
}


static void
test_answers(const char *proxy, const test_answer_t *c)
{
    char                *all;
    size_t               i, len, wanted;
    sluice_tunnel_t      tunnel, before;
    sluice_proxy_url_t   url;

    test_url(&url, proxy);

    for ( /* void */ ; c->answer != NULL; c++) {

        len = c->len + sizeof(TEST_ORIGIN);
        all = malloc(len);
        assert_non_null(all);
        memcpy(all, c->answer, c->len);
        memcpy(all + c->len, TEST_ORIGIN, sizeof(TEST_ORIGIN));

        for (i = 0; i <= len; i++) {
            test_init(&tunnel, &url, "api.example.com", 443);
            test_result(&tunnel, c, test_feed(&tunnel, all, len, i, len));
            test_init(&tunnel, &url, "api.example.com", 443);
            test_result(&tunnel, c, test_feed(&tunnel, all, len, 0, i + 1));
        }

        /* nothing behind it is looked at, and its last byte is needed */

        wanted = (c->taken < 0) ? c->len : (size_t) c->taken;

        test_init(&tunnel, &url, "api.example.com", 443);
        assert_int_equal(test_feed(&tunnel, all, wanted - 1, 1, 1),
                         wanted - 1);
        assert_int_not_equal(tunnel.step, SLUICE_TUNNEL_DONE);

        test_init(&tunnel, &url, "api.example.com", 443);
        test_result(&tunnel, c, test_feed(&tunnel, all, wanted, 1, 1));

        before = tunnel;
        assert_int_equal(sluice_tunnel_feed(&tunnel, (uint8_t *) all, len), 0);
        sluice_tunnel_sent(&tunnel);
        assert_memory_equal(&tunnel, &before, sizeof(before));

        free(all);
    }
}


static void
test_http(void **state)
{
    static const test_answer_t  cases[] = {
        { TEST_BYTES("HTTP/1.1 200 Connection established\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1,
          "HTTP/1.1 200 Connection established" },
        { TEST_BYTES("HTTP/1.0 200 Connection established\r\n"
                     "Proxy-agent: tinyproxy/1.11.1\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },
        { TEST_BYTES("HTTP/1.1 200\r\n\r\n"), SLUICE_TUNNEL_CONNECTED, 200,
          -1, "HTTP/1.1 200" },
        { TEST_BYTES("HTTP/1.1 204 \r\nA: b\r\n c\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 204, -1, "HTTP/1.1 204 " },
        { TEST_BYTES("HTTP/1.1 299 x\r\n\r\n"), SLUICE_TUNNEL_CONNECTED, 299,
          -1, NULL },

        /* lines that end with LF */

        { TEST_BYTES("HTTP/1.1 200 OK\n\n"), SLUICE_TUNNEL_CONNECTED, 200, -1,
          "HTTP/1.1 200 OK" },
        { TEST_BYTES("HTTP/1.1 200\n\n"), SLUICE_TUNNEL_CONNECTED, 200, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\n\r\n"), SLUICE_TUNNEL_CONNECTED, 200,
          -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\r\n\n"), SLUICE_TUNNEL_CONNECTED, 200,
          -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\r\nA: b\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\nA: b\nC: d\n\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },

        /* a CR that ends no line */

        { TEST_BYTES("HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\r\n\r\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },
        { TEST_BYTES("HTTP/1.1 200 OK\r\n\rA: b\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, NULL },

        /* interim ones */

        { TEST_BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, "HTTP/1.1 200 OK" },
        { TEST_BYTES("HTTP/1.1 103 E\nLink: x\n\nHTTP/1.1 199\n\n"
                     "HTTP/1.0 200\n\n"),
          SLUICE_TUNNEL_CONNECTED, 200, -1, "HTTP/1.0 200" },
        { TEST_BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 x\r\n"),
          SLUICE_TUNNEL_DENIED, 407, -1, "HTTP/1.1 407 x" },
        { TEST_BYTES("HTTP/1.1 100 Continue\r\n\r\n\026\003"),
          SLUICE_TUNNEL_INVALID, 100, 26, "." },
        { TEST_BYTES("HTTP/1.1 101 Switching Protocols\r\n"),
          SLUICE_TUNNEL_INVALID, 101, -1, "HTTP/1.1 101 Switching Protocols" },

        /* refusals, known by their first line */

        { TEST_BYTES("HTTP/1.1 407 Proxy Authentication Required\r\n"),
          SLUICE_TUNNEL_DENIED, 407, -1,
          "HTTP/1.1 407 Proxy Authentication Required" },
        { TEST_BYTES("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n"),
          SLUICE_TUNNEL_DENIED, 407, 16, NULL },
        { TEST_BYTES("HTTP/1.1 407\n"), SLUICE_TUNNEL_DENIED, 407, -1, NULL },
        { TEST_BYTES("HTTP/1.1 403 Forbidden\r\n"), SLUICE_TUNNEL_FORBIDDEN,
          403, -1, NULL },
        { TEST_BYTES("HTTP/1.1 401 x\r\n"), SLUICE_TUNNEL_DENIED, 401, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 400 x\r\n"), SLUICE_TUNNEL_FORBIDDEN, 400, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 429 x\r\n"), SLUICE_TUNNEL_FORBIDDEN, 429, -1,
          NULL },
        { TEST_BYTES("HTTP/1.0 302 Found\r\n"), SLUICE_TUNNEL_FORBIDDEN, 302,
          -1, NULL },
        { TEST_BYTES("HTTP/1.1 300\r\n"), SLUICE_TUNNEL_FORBIDDEN, 300, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 600 x\r\n"), SLUICE_TUNNEL_FORBIDDEN, 600, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 999 x\r\n"), SLUICE_TUNNEL_FORBIDDEN, 999, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 499 x\r\n"), SLUICE_TUNNEL_FORBIDDEN, 499, -1,
          NULL },

        { TEST_BYTES("HTTP/1.1 500 x\r\n"), SLUICE_TUNNEL_ORIGIN, 500, -1,
          NULL },
        { TEST_BYTES("HTTP/1.1 502 Bad Gateway\r\n"), SLUICE_TUNNEL_ORIGIN,
          502, -1, NULL },
        { TEST_BYTES("HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\n"),
          SLUICE_TUNNEL_ORIGIN, 503, 34, NULL },
        { TEST_BYTES("HTTP/1.1 599\n"), SLUICE_TUNNEL_ORIGIN, 599, -1, NULL },

        /* what is no answer is known by the byte that no answer has there */

        { TEST_BYTES("\026\003\001\002"), SLUICE_TUNNEL_INVALID, 0, 1, "." },
        { TEST_BYTES("\025\003\001\0\2\2\12"), SLUICE_TUNNEL_INVALID, 0, 1,
          "." },
        { TEST_BYTES("\5\377"), SLUICE_TUNNEL_INVALID, 0, 1, "." },
        { TEST_BYTES("SSH-2.0-OpenSSH_9.2\r\n"), SLUICE_TUNNEL_INVALID, 0, 1,
          "S" },
        { TEST_BYTES("220 smtp\r\n"), SLUICE_TUNNEL_INVALID, 0, 1, "2" },
        { TEST_BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"), SLUICE_TUNNEL_INVALID, 0,
          1, "." },
        { TEST_BYTES("\0"), SLUICE_TUNNEL_INVALID, 0, 1, "." },
        { TEST_BYTES("<html>"), SLUICE_TUNNEL_INVALID, 0, 1, "<" },
        { TEST_BYTES("http/1.1 200 OK\r\n\r\n"), SLUICE_TUNNEL_INVALID, 0, 1,
          "h" },
        { TEST_BYTES("HELO"), SLUICE_TUNNEL_INVALID, 0, 2, "HE" },
        { TEST_BYTES("HTTP 200"), SLUICE_TUNNEL_INVALID, 0, 5, "HTTP " },
        { TEST_BYTES("HTTP/2 200"), SLUICE_TUNNEL_INVALID, 0, 6, "HTTP/2" },
        { TEST_BYTES("HTTP/0.9"), SLUICE_TUNNEL_INVALID, 0, 6, NULL },
        { TEST_BYTES("HTTP/1.2 200"), SLUICE_TUNNEL_INVALID, 0, 8, NULL },
        { TEST_BYTES("HTTP/1.10 200"), SLUICE_TUNNEL_INVALID, 0, 9, NULL },
        { TEST_BYTES("HTTP/1.1  200"), SLUICE_TUNNEL_INVALID, 0, 10, NULL },
        { TEST_BYTES("HTTP/1.1\t200"), SLUICE_TUNNEL_INVALID, 0, 9, NULL },
        { TEST_BYTES("HTTP/1.1\r\n"), SLUICE_TUNNEL_INVALID, 0, 9,
          "HTTP/1.1." },
        { TEST_BYTES("HTTP/1.1 099 x"), SLUICE_TUNNEL_INVALID, 0, 10, NULL },
        { TEST_BYTES("HTTP/1.1 -20 x"), SLUICE_TUNNEL_INVALID, 0, 10, NULL },
        { TEST_BYTES("HTTP/1.1 20\r\n"), SLUICE_TUNNEL_INVALID, 0, 12, NULL },
        { TEST_BYTES("HTTP/1.1 2OO OK"), SLUICE_TUNNEL_INVALID, 0, 11, NULL },
        { TEST_BYTES("HTTP/1.1 2000 OK"), SLUICE_TUNNEL_INVALID, 0, 13, NULL },
        { TEST_BYTES("HTTP/1.1 200OK"), SLUICE_TUNNEL_INVALID, 0, 13, NULL },
        { TEST_BYTES("HTTP/1.1 200\tOK"), SLUICE_TUNNEL_INVALID, 0, 13, NULL },
        { TEST_BYTES("HTTP/1.1 200 O\0K"), SLUICE_TUNNEL_INVALID, 0, 15,
          NULL },
        { TEST_BYTES("HTTP/1.1 200 O\rK"), SLUICE_TUNNEL_INVALID, 0, 16,
          "HTTP/1.1 200 O" },
        { TEST_BYTES("HTTP/1.1 200\r\r\n"), SLUICE_TUNNEL_INVALID, 0, 14,
          NULL },

        /* a line for the log is of one line, and not too long */

        { TEST_BYTES("HTTP/1.1 403 \033[2J\303\251\t\177\b\"\n"),
          SLUICE_TUNNEL_FORBIDDEN, 403, -1, "HTTP/1.1 403 .[2J.....\"" },
        { TEST_BYTES("HTTP/1.1 403 4567890" TEST_60 "\r\n"),
          SLUICE_TUNNEL_FORBIDDEN, 403, -1, "HTTP/1.1 403 4567890" TEST_60 },
        { TEST_BYTES("HTTP/1.1 403 4567890" TEST_60 "1\r\n"),
          SLUICE_TUNNEL_FORBIDDEN, 403, -1, "HTTP/1.1 403 4567890" TEST_60 },

        { NULL, 0, 0, 0, 0, NULL }
    };

    (void) state;

    test_answers("http://u:p@h:1", cases);
}


/* len bytes, with those at its begin and its end */

static void
test_fill(char *to, size_t len, const char *begin, const char *end)
{
    memset(to, 'x', len);
    memcpy(to, begin, strlen(begin));
    memcpy(to + len - strlen(end), end, strlen(end));
}


static void
test_http_lengths(void **state)
{
    char                *answer;
    size_t               i, len, first, then;
    sluice_tunnel_t      tunnel;
    sluice_proxy_url_t   url;

    static const char  interim[] = "HTTP/1.1 100 Continue\r\n\r\n";

    (void) state;

    test_url(&url, "http://h:1");
    answer = malloc(TEST_MUCH);
    assert_non_null(answer);

    for (i = 0; i < 3; i++) {

        first = (i == 0) ? TEST_MUCH : i;
        then = (i == 0) ? TEST_MUCH : (i == 1) ? 1 : 4099;

        /* the head has a bound... */

        for (len = SLUICE_TUNNEL_HEAD_MAX - 2;
             len < SLUICE_TUNNEL_HEAD_MAX + 3;
             len++)
        {
            test_fill(answer, len, "HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n");
            memset(answer + len, 'o', TEST_MUCH - len);

            test_init(&tunnel, &url, "o", 443);

            if (len <= SLUICE_TUNNEL_HEAD_MAX) {
                assert_int_equal(test_feed(&tunnel, answer, TEST_MUCH, first,
                                           then), len);
                assert_int_equal(tunnel.result, SLUICE_TUNNEL_CONNECTED);

            } else {
                assert_int_equal(test_feed(&tunnel, answer, TEST_MUCH, first,
                                           then), SLUICE_TUNNEL_HEAD_MAX);
                assert_int_equal(tunnel.step, SLUICE_TUNNEL_DONE);
                assert_int_equal(tunnel.result, SLUICE_TUNNEL_INVALID);
                assert_string_equal(tunnel.line, "HTTP/1.1 200 OK");
            }
        }

        /* ... its first line one of its own... */

        for (len = 1020; len < 1030; len++) {
            test_fill(answer, len, "HTTP/1.1 200 ", "");
            memcpy(answer + len, "\r\n\r\no", 5);

            test_init(&tunnel, &url, "o", 443);

            if (len <= 1024) {
                assert_int_equal(test_feed(&tunnel, answer, len + 5, first,
                                           then), len + 4);
                assert_int_equal(tunnel.result, SLUICE_TUNNEL_CONNECTED);

            } else {
                assert_int_equal(test_feed(&tunnel, answer, len + 5, first,
                                           then), 1025);
                assert_int_equal(tunnel.result, SLUICE_TUNNEL_INVALID);
            }
        }

        /* ... and interim answers count */

        for (len = 0; len < TEST_MUCH; len++) {
            answer[len] = interim[len % (sizeof(interim) - 1)];
        }

        test_init(&tunnel, &url, "o", 443);
        assert_int_equal(test_feed(&tunnel, answer, TEST_MUCH, first, then),
                         SLUICE_TUNNEL_HEAD_MAX);
        assert_int_equal(tunnel.step, SLUICE_TUNNEL_DONE);
        assert_int_equal(tunnel.result, SLUICE_TUNNEL_INVALID);
    }

    free(answer);
}


/* every status: to whom it is a fault */

static void
test_http_codes(void **state)
{
    char                     answer[64];
    unsigned                 code;
    sluice_tunnel_t          tunnel;
    sluice_proxy_url_t       url;
    sluice_tunnel_result_t   result;

    (void) state;

    test_url(&url, "http://h:1");

    for (code = 200; code < 1000; code++) {

        result = code < 300 ? SLUICE_TUNNEL_CONNECTED
                 : code == 401 || code == 407 ? SLUICE_TUNNEL_DENIED
                 : code / 100 == 5 ? SLUICE_TUNNEL_ORIGIN
                 : SLUICE_TUNNEL_FORBIDDEN;

        snprintf(answer, sizeof(answer), "HTTP/1.0 %u x\r\n\r\n", code);

        test_init(&tunnel, &url, "o", 443);
        (void) test_feed(&tunnel, answer, strlen(answer), 64, 64);

        assert_int_equal(tunnel.step, SLUICE_TUNNEL_DONE);
        assert_int_equal(tunnel.code, code);
        assert_int_equal(tunnel.result, result);
        assert_int_equal(sluice_tunnel_blames_proxy(tunnel.result),
                         code >= 300 && code / 100 != 5);
    }
}


static void
test_socks5(void **state)
{
    static const test_answer_t  open[] = {
        { TEST_BYTES("\5\0" "\5\0\0\1\177\0\0\1\4\70"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, "SOCKS5 reply 0 (succeeded)" },
        { TEST_BYTES("\5\0" "\5\0\377\1\5\5\5\5\5\5"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\4" "0123456789abcdef\0\0"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\3\0\1\273"), SLUICE_TUNNEL_CONNECTED, 0,
          -1, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\3\5proxy\1\273"), SLUICE_TUNNEL_CONNECTED,
          0, -1, NULL },

        { TEST_BYTES("\5\377"), SLUICE_TUNNEL_DENIED, 0, -1,
          "SOCKS5 method 255 (none acceptable)" },
        { TEST_BYTES("\5\2"), SLUICE_TUNNEL_INVALID, 0, -1,
          "SOCKS5 method 2 (not offered)" },
        { TEST_BYTES("\5\1"), SLUICE_TUNNEL_INVALID, 0, -1, NULL },
        { TEST_BYTES("\5\200"), SLUICE_TUNNEL_INVALID, 0, -1, NULL },

        { TEST_BYTES("\5\0" "\5\1"), SLUICE_TUNNEL_FORBIDDEN, 1, -1,
          "SOCKS5 reply 1 (general failure)" },
        { TEST_BYTES("\5\0" "\5\2\0\1\0\0\0\0\0\0"), SLUICE_TUNNEL_FORBIDDEN,
          2, 4, "SOCKS5 reply 2 (not allowed)" },
        { TEST_BYTES("\5\0" "\5\3"), SLUICE_TUNNEL_ORIGIN, 3, -1,
          "SOCKS5 reply 3 (network unreachable)" },
        { TEST_BYTES("\5\0" "\5\4"), SLUICE_TUNNEL_ORIGIN, 4, -1,
          "SOCKS5 reply 4 (host unreachable)" },
        { TEST_BYTES("\5\0" "\5\5"), SLUICE_TUNNEL_ORIGIN, 5, -1,
          "SOCKS5 reply 5 (connection refused)" },
        { TEST_BYTES("\5\0" "\5\6"), SLUICE_TUNNEL_ORIGIN, 6, -1,
          "SOCKS5 reply 6 (TTL expired)" },
        { TEST_BYTES("\5\0" "\5\7"), SLUICE_TUNNEL_FORBIDDEN, 7, -1,
          "SOCKS5 reply 7 (command not supported)" },
        { TEST_BYTES("\5\0" "\5\10"), SLUICE_TUNNEL_FORBIDDEN, 8, -1,
          "SOCKS5 reply 8 (address type not supported)" },
        { TEST_BYTES("\5\0" "\5\11"), SLUICE_TUNNEL_FORBIDDEN, 9, -1,
          "SOCKS5 reply 9 (unassigned)" },
        { TEST_BYTES("\5\0" "\5\377"), SLUICE_TUNNEL_FORBIDDEN, 255, -1,
          "SOCKS5 reply 255 (unassigned)" },

        { TEST_BYTES("\5\0" "\4\0"), SLUICE_TUNNEL_INVALID, 0, 3, NULL },
        { TEST_BYTES("\5\0" "\1\0"), SLUICE_TUNNEL_INVALID, 0, 3, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\0"), SLUICE_TUNNEL_INVALID, 0, -1,
          "SOCKS5 address of type 0 (unknown)" },
        { TEST_BYTES("\5\0" "\5\0\0\2"), SLUICE_TUNNEL_INVALID, 0, -1, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\5"), SLUICE_TUNNEL_INVALID, 0, -1, NULL },

        { TEST_BYTES("HTTP/1.1 400 Bad Request\r\n"), SLUICE_TUNNEL_INVALID,
          0, 1, "not SOCKS5: byte 72 (HTTP)" },
        { TEST_BYTES("\0\133"), SLUICE_TUNNEL_INVALID, 0, 1,
          "not SOCKS5: byte 0 (SOCKS4)" },
        { TEST_BYTES("\026\003"), SLUICE_TUNNEL_INVALID, 0, 1,
          "not SOCKS5: byte 22 (unknown)" },

        { NULL, 0, 0, 0, 0, NULL }
    };

    static const test_answer_t  password[] = {
        { TEST_BYTES("\5\2" "\1\0" "\5\0\0\1\177\0\0\1\4\70"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, "SOCKS5 reply 0 (succeeded)" },
        { TEST_BYTES("\5\2" "\5\0" "\5\0\0\3\1o\0\0"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, NULL },
        { TEST_BYTES("\5\0" "\5\0\0\1\177\0\0\1\4\70"),
          SLUICE_TUNNEL_CONNECTED, 0, -1, NULL },

        { TEST_BYTES("\5\2" "\1\1"), SLUICE_TUNNEL_DENIED, 0, -1,
          "SOCKS5 status 1 (user refused)" },
        { TEST_BYTES("\5\2" "\5\377"), SLUICE_TUNNEL_DENIED, 0, -1,
          "SOCKS5 status 255 (user refused)" },
        { TEST_BYTES("\5\377"), SLUICE_TUNNEL_DENIED, 0, -1, NULL },
        { TEST_BYTES("\5\3"), SLUICE_TUNNEL_INVALID, 0, -1, NULL },
        { TEST_BYTES("\5\2" "\0\0"), SLUICE_TUNNEL_INVALID, 0, 3, NULL },
        { TEST_BYTES("\5\2" "\2\0"), SLUICE_TUNNEL_INVALID, 0, 3, NULL },
        { TEST_BYTES("\5\2" "\1\0" "\5\5"), SLUICE_TUNNEL_ORIGIN, 5, -1,
          NULL },
        { TEST_BYTES("\5\2" "\1\0" "\1\0"), SLUICE_TUNNEL_INVALID, 0, 5,
          NULL },

        { NULL, 0, 0, 0, 0, NULL }
    };

    (void) state;

    test_answers("socks5://h:1", open);
    test_answers("socks5://u:p@h:1", password);
}


/* an address of any length that one byte can say */

static void
test_socks5_names(void **state)
{
    char                 answer[600];
    size_t               i, len;
    test_answer_t        c[2];

    (void) state;

    memset(c, 0, sizeof(c));
    c[0].answer = answer;
    c[0].result = SLUICE_TUNNEL_CONNECTED;
    c[0].taken = -1;

    for (i = 0; i < 256; i += 51) {
        memcpy(answer, "\5\0\5\0\0\3", 6);
        answer[6] = (char) i;
        memset(answer + 7, '\5', sizeof(answer) - 7);

        len = 7 + i + 2;
        c[0].len = len;
        test_answers("socks5://h:1", c);
    }
}


/* what is sent, step by step */

static void
test_socks5_sent(void **state)
{
    size_t               i;
    sluice_tunnel_t      tunnel;
    sluice_proxy_url_t   url;

    static const struct {
        const char  *host;
        uint16_t     port;
        const char  *out;
        size_t       len;
    } cases[] = {
        { "api.example.com", 443,
          TEST_BYTES("\5\1\0\3\17api.example.com\1\273") },
        { "api.example.com.", 443,
          TEST_BYTES("\5\1\0\3\17api.example.com\1\273") },
        { "10.1.2.255", 80, TEST_BYTES("\5\1\0\1\12\1\2\377\0\120") },
        { "10.1.2.256", 80, TEST_BYTES("\5\1\0\3\012" "10.1.2.256\0\120") },
        { "2001:db8::1", 65535,
          TEST_BYTES("\5\1\0\4\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\377\377") },
        { "[::ffff:10.0.0.1]", 1,
          TEST_BYTES("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\377\377\12\0\0\1\0\1") },
        { NULL, 0, NULL, 0 }
    };

    (void) state;

    for (i = 0; cases[i].host != NULL; i++) {

        test_url(&url, "socks5://h:1");
        test_init(&tunnel, &url, cases[i].host, cases[i].port);
        test_out(&tunnel, TEST_BYTES("\5\1\0"));
        assert_int_equal(sluice_tunnel_feed(&tunnel, (uint8_t *) "\5\0", 2),
                         2);
        test_out(&tunnel, cases[i].out, cases[i].len);

        test_url(&url, "socks5://us%65r:p%40@h:1");
        test_init(&tunnel, &url, cases[i].host, cases[i].port);
        test_out(&tunnel, TEST_BYTES("\5\2\0\2"));
        assert_int_equal(sluice_tunnel_feed(&tunnel, (uint8_t *) "\5\2", 2),
                         2);
        test_out(&tunnel, TEST_BYTES("\1\4user\2p@"));
        assert_int_equal(sluice_tunnel_feed(&tunnel, (uint8_t *) "\1\0", 2),
                         2);
        test_out(&tunnel, cases[i].out, cases[i].len);
    }
}


static void
test_given_up(void **state)
{
    sluice_tunnel_t      tunnel;
    sluice_proxy_url_t   url;

    (void) state;

    test_url(&url, "http://user:" TEST_SECRET "@h:1");
    test_init(&tunnel, &url, "o", 443);
    assert_true(tunnel.out_len > 0);

    /* a caller whose send() failed */

    tunnel.step = SLUICE_TUNNEL_DONE;
    tunnel.result = SLUICE_TUNNEL_CLOSED;
    sluice_tunnel_sent(&tunnel);

    assert_true(test_zero(tunnel.out, sizeof(tunnel.out)));
    assert_int_equal(tunnel.step, SLUICE_TUNNEL_DONE);
}


static void
test_names(void **state)
{
    unsigned  i;

    static const struct {
        const char  *name;
        bool         blames;
    } cases[] = {
        { "connected", false }, { "reused", false }, { "direct", false },
        { "unreachable", true }, { "timeout", true }, { "closed", true },
        { "invalid", true }, { "denied", true }, { "forbidden", true },
        { "origin", false }
    };

    (void) state;

    for (i = 0; i < SLUICE_TUNNEL_RESULTS; i++) {
        assert_string_equal(sluice_tunnel_result_name(i), cases[i].name);
        assert_int_equal(sluice_tunnel_blames_proxy(i), cases[i].blames);
    }

    assert_null(sluice_tunnel_result_name(SLUICE_TUNNEL_RESULTS));
    assert_null(sluice_tunnel_result_name(UINT32_MAX));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_urls_refused),
        cmocka_unit_test(test_urls_cut),
        cmocka_unit_test(test_url_lengths),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_origins_refused),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_lengths),
        cmocka_unit_test(test_http_codes),
        cmocka_unit_test(test_socks5),
        cmocka_unit_test(test_socks5_names),
        cmocka_unit_test(test_socks5_sent),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_names)
    };

    return cmocka_run_group_tests_name("tunnel", tests, NULL, NULL);
}
