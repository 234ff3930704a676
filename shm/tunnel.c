
#include "tunnel.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>


#define SLUICE_TUNNEL_STATUS_MAX  1024  /* bytes of a status line            */

#define SLUICE_SOCKS5_VERSION     5
#define SLUICE_SOCKS5_OPEN        0     /* methods: none,                    */
#define SLUICE_SOCKS5_PASSWORD    2     /* RFC 1929's,                       */
#define SLUICE_SOCKS5_NO_METHOD   0xff  /* and no one of those offered       */

/* an authority: a name, or an IPv6 address in its brackets, and a port */
#define SLUICE_TUNNEL_AUTHORITY   (SLUICE_PROXY_HOST_MAX + sizeof("[]:65535"))

/* user:password */
#define SLUICE_TUNNEL_PAIR        (2 * SLUICE_PROXY_USER_MAX + 1)

/* the longest message of ours is a CONNECT with a user */
_Static_assert(sizeof("CONNECT  HTTP/1.1\r\nHost: \r\n"
                      "Proxy-Authorization: Basic \r\n\r\n")
               + 2 * SLUICE_TUNNEL_AUTHORITY
               + (SLUICE_TUNNEL_PAIR + 2) / 3 * 4 <= SLUICE_TUNNEL_OUT_MAX,
               "a message of ours has no room");


/* what comes next from the proxy */
typedef enum {
    SLUICE_TUNNEL_STATUS = 0,           /* HTTP's first line                 */
    SLUICE_TUNNEL_STATUS_LF,            /* its end, after a CR               */
    SLUICE_TUNNEL_FIELDS,
    SLUICE_TUNNEL_METHOD,               /* SOCKS5's choice of ours           */
    SLUICE_TUNNEL_AUTH,
    SLUICE_TUNNEL_REPLY,
    SLUICE_TUNNEL_NAME,                 /* the length of an address          */
    SLUICE_TUNNEL_ADDRESS
} sluice_tunnel_state_t;


typedef struct {
    const char  *p;
    const char  *end;
} sluice_tunnel_text_t;


static const char *sluice_proxy_url_scheme(sluice_tunnel_text_t *text,
    sluice_proxy_url_t *url);
static const char *sluice_proxy_url_auth(sluice_tunnel_text_t text,
    sluice_proxy_url_t *url);
static const char *sluice_proxy_url_decode(sluice_tunnel_text_t text, char *to,
    uint8_t *len);
static const char *sluice_proxy_url_host(sluice_tunnel_text_t *text,
    sluice_proxy_url_t *url);
static const char *sluice_proxy_url_port(sluice_tunnel_text_t text,
    uint16_t *port);
static bool sluice_tunnel_is_name(sluice_tunnel_text_t text);
static bool sluice_tunnel_is_ipv6(sluice_tunnel_text_t text);
static void sluice_tunnel_put(sluice_tunnel_t *tunnel, const void *data,
    size_t len);
static void sluice_tunnel_connect(sluice_tunnel_t *tunnel);
static void sluice_tunnel_basic(sluice_tunnel_t *tunnel);
static void sluice_tunnel_greet(sluice_tunnel_t *tunnel);
static void sluice_tunnel_password(sluice_tunnel_t *tunnel);
static void sluice_tunnel_request(sluice_tunnel_t *tunnel);
static void sluice_tunnel_http(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_status(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_status_done(sluice_tunnel_t *tunnel);
static void sluice_tunnel_fields(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_socks5(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_method(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_auth(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_reply(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_replied(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_line_add(sluice_tunnel_t *tunnel, uint8_t c);
static void sluice_tunnel_line(sluice_tunnel_t *tunnel, const char *format,
    unsigned number, const char *what);
static void sluice_tunnel_done(sluice_tunnel_t *tunnel,
    sluice_tunnel_result_t result);


static const char  *sluice_tunnel_results[SLUICE_TUNNEL_RESULTS] = {
    "connected", "reused", "direct", "unreachable", "timeout", "closed",
    "invalid", "denied", "forbidden", "origin"
};


static inline bool
sluice_tunnel_has(sluice_tunnel_text_t text, char c)
{
    return text.p != text.end
           && memchr(text.p, c, (size_t) (text.end - text.p)) != NULL;
}


/* what comes before the first c, which is there; both are taken off */

static sluice_tunnel_text_t
sluice_tunnel_cut(sluice_tunnel_text_t *text, char c)
{
    sluice_tunnel_text_t  head;

    head.p = text->p;
    head.end = memchr(text->p, c, (size_t) (text->end - text->p));

    text->p = head.end + 1;

    return head;
}


/* letters of any case; is has none of upper case */

static bool
sluice_tunnel_is(sluice_tunnel_text_t text, const char *is)
{
    char  c;

    for ( /* void */ ; text.p != text.end && *is != '\0'; text.p++, is++) {
        c = *text.p;

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c | 0x20);
        }

        if (c != *is) {
            return false;
        }
    }

    return text.p == text.end && *is == '\0';
}


const char *
sluice_proxy_url_parse(const char *text, size_t len, sluice_proxy_url_t *url)
{
    const char            *error;
    sluice_tunnel_text_t   rest, auth;

    explicit_bzero(url, sizeof(sluice_proxy_url_t));

    rest.p = text;
    rest.end = text + len;

    error = sluice_proxy_url_scheme(&rest, url);

    if (error == NULL && sluice_tunnel_has(rest, '@')) {
        auth = sluice_tunnel_cut(&rest, '@');

        /* "p@ss" and its like: which of them is meant cannot be known */

        if (sluice_tunnel_has(rest, '@')) {
            error = "an \"@\" of a user or a password must be "
                    "percent-encoded: %40";

        } else {
            error = sluice_proxy_url_auth(auth, url);
        }
    }

    if (error == NULL) {
        error = sluice_proxy_url_host(&rest, url);
    }

    if (error == NULL) {
        error = sluice_proxy_url_port(rest, &url->port);
    }

    if (error != NULL) {
        explicit_bzero(url, sizeof(sluice_proxy_url_t));
    }

    return error;
}


static const char *
sluice_proxy_url_scheme(sluice_tunnel_text_t *text, sluice_proxy_url_t *url)
{
    size_t                 i;
    sluice_tunnel_text_t   scheme;

    static const char  other[] =
        "a proxy begins with \"http://\" or \"socks5://\"";

    static const struct {
        const char  *name;
        const char  *error;
    } refused[] = {
        { "https", "\"https://\" is not supported: there is no TLS to the "
                   "proxy itself, write \"http://\"" },
        { "socks5h", "write \"socks5://\" instead of \"socks5h://\": the "
                     "proxy resolves names in any case" },
        { "socks4", "\"socks4://\" is not supported: write \"socks5://\", if "
                    "the proxy speaks that" },
        { "socks4a", "\"socks4a://\" is not supported: write \"socks5://\", "
                     "if the proxy speaks that" },
        { NULL, other }
    };

    if (!sluice_tunnel_has(*text, ':')) {
        return other;
    }

    scheme = sluice_tunnel_cut(text, ':');

    if (text->end - text->p < 2 || text->p[0] != '/' || text->p[1] != '/') {
        return other;
    }

    text->p += 2;

    if (sluice_tunnel_is(scheme, "http")) {
        url->scheme = SLUICE_PROXY_HTTP;
        return NULL;
    }

    if (sluice_tunnel_is(scheme, "socks5")) {
        url->scheme = SLUICE_PROXY_SOCKS5;
        return NULL;
    }

    for (i = 0; refused[i].name != NULL; i++) {
        if (sluice_tunnel_is(scheme, refused[i].name)) {
            break;
        }
    }

    return refused[i].error;
}


static const char *
sluice_proxy_url_auth(sluice_tunnel_text_t text, sluice_proxy_url_t *url)
{
    const char            *error;
    sluice_tunnel_text_t   user;

    if (sluice_tunnel_has(text, '/') || sluice_tunnel_has(text, '?')
        || sluice_tunnel_has(text, '#'))
    {
        return "\"/\", \"?\" and \"#\" of a user or a password must be "
               "percent-encoded: %2F, %3F, %23";
    }

    if (!sluice_tunnel_has(text, ':')) {
        return "a user needs a password: \"user:password@\"";
    }

    user = sluice_tunnel_cut(&text, ':');

    if (sluice_tunnel_has(text, ':')) {
        return "a \":\" of a user or a password must be percent-encoded: %3A";
    }

    error = sluice_proxy_url_decode(user, url->user, &url->user_len);

    if (error == NULL) {
        error = sluice_proxy_url_decode(text, url->password,
                                        &url->password_len);
    }

    if (error != NULL) {
        return error;
    }

    /* in Basic the first colon ends the user */

    if (url->scheme == SLUICE_PROXY_HTTP
        && memchr(url->user, ':', url->user_len) != NULL)
    {
        return "a user of an HTTP proxy can have no \":\"";
    }

    if (url->scheme == SLUICE_PROXY_SOCKS5
        && (url->user_len == 0 || url->password_len == 0))
    {
        return "a user and a password for SOCKS5 cannot be empty";
    }

    url->auth = true;

    return NULL;
}


static int
sluice_proxy_url_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


/* to has room for SLUICE_PROXY_USER_MAX bytes, and is zeroed */

static const char *
sluice_proxy_url_decode(sluice_tunnel_text_t text, char *to, uint8_t *len)
{
    int      high, low;
    size_t   n;
    uint8_t  c;

    for (n = 0; text.p != text.end; text.p++) {

        c = (uint8_t) *text.p;

        if (c == ' ') {
            return "a space in a user or a password must be percent-encoded: "
                   "%20";
        }

        if (c == '%') {
            high = low = -1;

            if (text.end - text.p > 2) {
                high = sluice_proxy_url_digit(text.p[1]);
                low = sluice_proxy_url_digit(text.p[2]);
            }

            if (high < 0 || low < 0) {
                return "a \"%\" in a user or a password is followed by two hex "
                       "digits: it must be percent-encoded itself, as %25";
            }

            c = (uint8_t) (high << 4 | low);
            text.p += 2;
        }

        if (c < 0x20 || c == 0x7f) {
            return "a user and a password have no control characters";
        }

        if (n == SLUICE_PROXY_USER_MAX) {
            return "a user and a password have 255 bytes each at most";
        }

        to[n++] = (char) c;
    }

    *len = (uint8_t) n;

    return NULL;
}


/* leaves the colon before the port, if there is one */

static const char *
sluice_proxy_url_host(sluice_tunnel_text_t *text, sluice_proxy_url_t *url)
{
    sluice_tunnel_text_t  host, name;

    if (text->p != text->end && text->end[-1] == '/') {
        text->end--;
    }

    if (sluice_tunnel_has(*text, '/') || sluice_tunnel_has(*text, '?')
        || sluice_tunnel_has(*text, '#'))
    {
        return "a proxy has no path, query or fragment; in a user or a "
               "password \"/\", \"?\" and \"#\" must be percent-encoded";
    }

    if (text->p != text->end && *text->p == '[') {
        text->p++;

        if (!sluice_tunnel_has(*text, ']')) {
            return "a \"[\" needs its \"]\"";
        }

        host = sluice_tunnel_cut(text, ']');

        if (!sluice_tunnel_is_ipv6(host)) {
            return "what is in brackets is no IPv6 address";
        }

    } else {
        host = *text;

        if (sluice_tunnel_has(host, ':')) {
            host.end = memchr(host.p, ':', (size_t) (host.end - host.p));
        }

        text->p = host.end;
        name = *text;

        if (name.p != name.end) {
            name.p++;
        }

        if (sluice_tunnel_has(name, ':')) {
            return "one \":\" stands before the port: an IPv6 address needs "
                   "brackets, a user and a password an \"@\" behind them";
        }

        if (host.p == host.end) {
            return "the host is missing";
        }

        name = host;
        name.end -= (name.end[-1] == '.');

        if (!sluice_tunnel_is_name(name)
            || host.end - host.p > SLUICE_PROXY_HOST_MAX)
        {
            return "a host is a name, an IPv4 address or an IPv6 address in "
                   "brackets";
        }
    }

    memcpy(url->host, host.p, (size_t) (host.end - host.p));

    return NULL;
}


static const char *
sluice_proxy_url_port(sluice_tunnel_text_t text, uint16_t *port)
{
    unsigned  number;

    if (text.p != text.end && *text.p != ':') {
        return "behind the \"]\" stands the port: \"]:port\"";
    }

    if (text.end - text.p < 2) {
        return "the port is missing: a proxy has none by default";
    }

    number = 0;

    for (text.p++; text.p != text.end; text.p++) {

        if (*text.p < '0' || *text.p > '9') {
            number = 0;
            break;
        }

        number = number * 10 + (unsigned) (*text.p - '0');

        if (number > UINT16_MAX) {
            number = 0;
            break;
        }
    }

    if (number == 0) {
        return "a port is a number from 1 to 65535";
    }

    *port = (uint16_t) number;

    return NULL;
}


/* labels of those bytes, an IPv4 address as well; without a dot at its end */

static bool
sluice_tunnel_is_name(sluice_tunnel_text_t text)
{
    char         c;
    const char  *label;

    if (text.end - text.p > SLUICE_PROXY_HOST_MAX) {
        return false;
    }

    for (label = text.p; text.p != text.end; text.p++) {

        c = *text.p;

        if (c == '.') {
            if (text.p == label) {
                return false;
            }

            label = text.p + 1;

        } else if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                     || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            return false;
        }
    }

    return text.p != label;
}


static bool
sluice_tunnel_is_ipv6(sluice_tunnel_text_t text)
{
    char    copy[INET6_ADDRSTRLEN];
    size_t  len;

    struct in6_addr  addr;

    len = (size_t) (text.end - text.p);

    /* a NUL would end it, for inet_pton() */

    if (len == 0 || len >= sizeof(copy) || sluice_tunnel_has(text, '\0')) {
        return false;
    }

    memcpy(copy, text.p, len);
    copy[len] = '\0';

    return inet_pton(AF_INET6, copy, &addr) == 1;
}


bool
sluice_tunnel_init(sluice_tunnel_t *tunnel, const sluice_proxy_url_t *proxy,
    const char *host, size_t len, uint16_t port)
{
    sluice_tunnel_text_t  text;

    memset(tunnel, 0, sizeof(sluice_tunnel_t));

    if (len == 0 || port == 0) {
        return false;
    }

    tunnel->proxy = proxy;
    tunnel->port = port;

    text.p = host;
    text.end = host + len;

    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        text.p++;
        text.end--;

        if (!sluice_tunnel_is_ipv6(text)) {
            return false;
        }

    } else if (!sluice_tunnel_is_ipv6(text)) {

        /*
         * The dot that makes a name absolute is not sent: the rules of proxies
         * have names without, and so have SNI and certificates.  What it is
         * good for, that no search list is tried, a name with another dot in
         * it has from most resolvers anyway.
         */

        text.end -= (text.end[-1] == '.');

        if (!sluice_tunnel_is_name(text)) {
            return false;
        }
    }

    memcpy(tunnel->host, text.p, (size_t) (text.end - text.p));

    if (proxy->scheme == SLUICE_PROXY_HTTP) {
        sluice_tunnel_connect(tunnel);

    } else {
        sluice_tunnel_greet(tunnel);
    }

    return true;
}


/* there is room: see the assertion above */

static void
sluice_tunnel_put(sluice_tunnel_t *tunnel, const void *data, size_t len)
{
    memcpy(tunnel->out + tunnel->out_len, data, len);
    tunnel->out_len += (unsigned) len;
}


static inline void
sluice_tunnel_puts(sluice_tunnel_t *tunnel, const char *text)
{
    sluice_tunnel_put(tunnel, text, strlen(text));
}


static inline void
sluice_tunnel_putc(sluice_tunnel_t *tunnel, unsigned c)
{
    tunnel->out[tunnel->out_len++] = (uint8_t) c;
}


/* no more than RFC 9110 asks for: nothing of what we are goes to a proxy */

static void
sluice_tunnel_connect(sluice_tunnel_t *tunnel)
{
    char  authority[SLUICE_TUNNEL_AUTHORITY];

    snprintf(authority, sizeof(authority),
             strchr(tunnel->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
             tunnel->host, tunnel->port);

    sluice_tunnel_puts(tunnel, "CONNECT ");
    sluice_tunnel_puts(tunnel, authority);
    sluice_tunnel_puts(tunnel, " HTTP/1.1\r\nHost: ");
    sluice_tunnel_puts(tunnel, authority);
    sluice_tunnel_puts(tunnel, "\r\n");

    if (tunnel->proxy->auth) {
        sluice_tunnel_puts(tunnel, "Proxy-Authorization: Basic ");
        sluice_tunnel_basic(tunnel);
        sluice_tunnel_puts(tunnel, "\r\n");
    }

    sluice_tunnel_puts(tunnel, "\r\n");

    tunnel->state = SLUICE_TUNNEL_STATUS;
}


/* base64 of user:password */

static void
sluice_tunnel_basic(sluice_tunnel_t *tunnel)
{
    size_t                     i, len;
    uint8_t                    pair[SLUICE_TUNNEL_PAIR + 2];
    uint32_t                   bits;
    const sluice_proxy_url_t  *proxy;

    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789+/";

    proxy = tunnel->proxy;
    len = (size_t) proxy->user_len + 1 + proxy->password_len;

    memcpy(pair, proxy->user, proxy->user_len);
    pair[proxy->user_len] = ':';
    memcpy(pair + proxy->user_len + 1, proxy->password, proxy->password_len);
    pair[len] = pair[len + 1] = 0;

    for (i = 0; i < len; i += 3) {
        bits = (uint32_t) pair[i] << 16 | (uint32_t) pair[i + 1] << 8
               | pair[i + 2];

        sluice_tunnel_putc(tunnel, digits[bits >> 18]);
        sluice_tunnel_putc(tunnel, digits[bits >> 12 & 63]);
        sluice_tunnel_putc(tunnel, i + 1 < len ? digits[bits >> 6 & 63] : '=');
        sluice_tunnel_putc(tunnel, i + 2 < len ? digits[bits & 63] : '=');
    }

    explicit_bzero(pair, sizeof(pair));
}


static void
sluice_tunnel_greet(sluice_tunnel_t *tunnel)
{
    sluice_tunnel_putc(tunnel, SLUICE_SOCKS5_VERSION);

    if (tunnel->proxy->auth) {
        sluice_tunnel_putc(tunnel, 2);
        sluice_tunnel_putc(tunnel, SLUICE_SOCKS5_OPEN);
        sluice_tunnel_putc(tunnel, SLUICE_SOCKS5_PASSWORD);

    } else {
        sluice_tunnel_putc(tunnel, 1);
        sluice_tunnel_putc(tunnel, SLUICE_SOCKS5_OPEN);
    }

    tunnel->state = SLUICE_TUNNEL_METHOD;
}


static void
sluice_tunnel_password(sluice_tunnel_t *tunnel)
{
    const sluice_proxy_url_t  *proxy;

    proxy = tunnel->proxy;

    sluice_tunnel_putc(tunnel, 1);
    sluice_tunnel_putc(tunnel, proxy->user_len);
    sluice_tunnel_put(tunnel, proxy->user, proxy->user_len);
    sluice_tunnel_putc(tunnel, proxy->password_len);
    sluice_tunnel_put(tunnel, proxy->password, proxy->password_len);

    tunnel->head = 0;
    tunnel->step = SLUICE_TUNNEL_SEND;
    tunnel->state = SLUICE_TUNNEL_AUTH;
}


static void
sluice_tunnel_request(sluice_tunnel_t *tunnel)
{
    size_t   len;
    uint8_t  addr[sizeof(struct in6_addr)];

    sluice_tunnel_putc(tunnel, SLUICE_SOCKS5_VERSION);
    sluice_tunnel_putc(tunnel, 1);              /* CONNECT                   */
    sluice_tunnel_putc(tunnel, 0);

    if (inet_pton(AF_INET, tunnel->host, addr) == 1) {
        sluice_tunnel_putc(tunnel, 1);
        sluice_tunnel_put(tunnel, addr, 4);

    } else if (inet_pton(AF_INET6, tunnel->host, addr) == 1) {
        sluice_tunnel_putc(tunnel, 4);
        sluice_tunnel_put(tunnel, addr, 16);

    } else {
        len = strlen(tunnel->host);

        sluice_tunnel_putc(tunnel, 3);
        sluice_tunnel_putc(tunnel, (unsigned) len);
        sluice_tunnel_put(tunnel, tunnel->host, len);
    }

    sluice_tunnel_putc(tunnel, tunnel->port >> 8);
    sluice_tunnel_putc(tunnel, tunnel->port & 0xff);

    tunnel->head = 0;
    tunnel->step = SLUICE_TUNNEL_SEND;
    tunnel->state = SLUICE_TUNNEL_REPLY;
}


void
sluice_tunnel_sent(sluice_tunnel_t *tunnel)
{
    explicit_bzero(tunnel->out, tunnel->out_len);
    tunnel->out_len = 0;

    if (tunnel->step == SLUICE_TUNNEL_SEND) {
        tunnel->step = SLUICE_TUNNEL_READ;
    }
}


/* byte by byte: then it cannot matter in what pieces they came */

size_t
sluice_tunnel_feed(sluice_tunnel_t *tunnel, const uint8_t *data, size_t len)
{
    size_t  n;

    for (n = 0; n < len && tunnel->step == SLUICE_TUNNEL_READ; n++) {

        tunnel->head++;

        if (tunnel->proxy->scheme == SLUICE_PROXY_HTTP) {
            sluice_tunnel_http(tunnel, data[n]);

        } else {
            sluice_tunnel_socks5(tunnel, data[n]);
        }
    }

    return n;
}


static void
sluice_tunnel_http(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (tunnel->state == SLUICE_TUNNEL_FIELDS) {
        sluice_tunnel_fields(tunnel, c);

    } else {
        sluice_tunnel_status(tunnel, c);
    }

    /* interim answers count as well, or they could come for ever */

    if (tunnel->step == SLUICE_TUNNEL_READ
        && tunnel->head == SLUICE_TUNNEL_HEAD_MAX)
    {
        sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
    }
}


/*
 * "HTTP/1.1 200 Connection established", the reason and the space before it
 * may be missing.  Whoever does not speak HTTP, as TLS or SSH, is found by
 * the first byte that is another: its line may never end.
 */

static void
sluice_tunnel_status(sluice_tunnel_t *tunnel, uint8_t c)
{
    bool      good;
    unsigned  i;

    static const char  form[] = "HTTP/1.v sdd";

    if (tunnel->state == SLUICE_TUNNEL_STATUS_LF) {

        if (c == '\n') {
            sluice_tunnel_status_done(tunnel);

        } else {
            sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
        }

        return;
    }

    i = tunnel->match++;

    if (i == 0) {
        tunnel->line_len = 0;                   /* an interim answer's       */
        tunnel->want = 0;
    }

    if (i >= sizeof(form) - 1) {

        if (c == '\n') {
            sluice_tunnel_status_done(tunnel);
            return;
        }

        if (c == '\r') {
            tunnel->state = SLUICE_TUNNEL_STATUS_LF;
            return;
        }

        good = (i != sizeof(form) - 1 || c == ' ') && c != '\0'
               && i < SLUICE_TUNNEL_STATUS_MAX;

    } else {
        switch (form[i]) {

        case 'v':
            good = (c == '0' || c == '1');
            break;

        case 's':
            good = (c >= '1' && c <= '9');
            break;

        case 'd':
            good = (c >= '0' && c <= '9');
            break;

        default:
            good = (c == (uint8_t) form[i]);
        }

        if (form[i] == 's' || form[i] == 'd') {
            tunnel->want = tunnel->want * 10 + (c & 15u);
        }
    }

    sluice_tunnel_line_add(tunnel, c);

    if (!good) {
        sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
    }
}


/* a refusal's fields are not waited for: nothing more is wanted of it */

static void
sluice_tunnel_status_done(sluice_tunnel_t *tunnel)
{
    tunnel->code = tunnel->want;

    switch (tunnel->code / 100) {

    case 1:
        if (tunnel->code == 101) {

            /* another protocol, which nobody has asked for */

            sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
            return;
        }

        break;

    case 2:
        break;

    case 5:
        sluice_tunnel_done(tunnel, SLUICE_TUNNEL_ORIGIN);
        return;

    default:

        /* tinyproxy says 401 to a wrong password */

        sluice_tunnel_done(tunnel, tunnel->code == 407 || tunnel->code == 401
                                   ? SLUICE_TUNNEL_DENIED
                                   : SLUICE_TUNNEL_FORBIDDEN);
        return;
    }

    tunnel->state = SLUICE_TUNNEL_FIELDS;
    tunnel->match = 1;
}


/*
 * Up to an empty line; match: 0 within a line, 1 at its beginning, 2 after a
 * CR there.  What follows is the origin's, a Content-Length or a Transfer-
 * Encoding must be ignored (RFC 9110, 9.3.6).
 */

static void
sluice_tunnel_fields(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (c == '\r' && tunnel->match == 1) {
        tunnel->match = 2;
        return;
    }

    if (c != '\n') {
        tunnel->match = 0;
        return;
    }

    if (tunnel->match == 0) {
        tunnel->match = 1;
        return;
    }

    if (tunnel->code >= 200) {
        sluice_tunnel_done(tunnel, SLUICE_TUNNEL_CONNECTED);
        return;
    }

    tunnel->state = SLUICE_TUNNEL_STATUS;
    tunnel->match = 0;
}


/* head: bytes of this message, with this one */

static void
sluice_tunnel_socks5(sluice_tunnel_t *tunnel, uint8_t c)
{
    switch (tunnel->state) {

    case SLUICE_TUNNEL_METHOD:
        sluice_tunnel_method(tunnel, c);
        break;

    case SLUICE_TUNNEL_AUTH:
        sluice_tunnel_auth(tunnel, c);
        break;

    case SLUICE_TUNNEL_REPLY:
        sluice_tunnel_reply(tunnel, c);
        break;

    case SLUICE_TUNNEL_NAME:
        tunnel->want = c + 2u;                  /* it may be empty           */
        tunnel->state = SLUICE_TUNNEL_ADDRESS;
        break;

    default:                                    /* SLUICE_TUNNEL_ADDRESS     */
        if (--tunnel->want == 0) {
            sluice_tunnel_done(tunnel, SLUICE_TUNNEL_CONNECTED);
        }
    }
}


static bool
sluice_tunnel_version(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (c == SLUICE_SOCKS5_VERSION) {
        return true;
    }

    sluice_tunnel_line(tunnel, "not SOCKS5: byte %u (%s)", c,
                       c == 4 || c == 0 ? "SOCKS4"
                       : c == 'H' ? "HTTP" : "unknown");
    sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);

    return false;
}


static void
sluice_tunnel_method(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (tunnel->head == 1) {
        (void) sluice_tunnel_version(tunnel, c);
        return;
    }

    switch (c) {

    case SLUICE_SOCKS5_OPEN:
        sluice_tunnel_request(tunnel);
        return;

    case SLUICE_SOCKS5_PASSWORD:
        if (tunnel->proxy->auth) {
            sluice_tunnel_password(tunnel);
            return;
        }

        break;

    case SLUICE_SOCKS5_NO_METHOD:
        sluice_tunnel_line(tunnel, "SOCKS5 method %u (%s)", c,
                           "none acceptable");
        sluice_tunnel_done(tunnel, SLUICE_TUNNEL_DENIED);
        return;
    }

    sluice_tunnel_line(tunnel, "SOCKS5 method %u (%s)", c, "not offered");
    sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
}


static void
sluice_tunnel_auth(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (tunnel->head == 1) {

        /* the version is of this exchange, 1: many have SOCKS's own here */

        if (c != 1) {
            (void) sluice_tunnel_version(tunnel, c);
        }

        return;
    }

    if (c == 0) {
        sluice_tunnel_request(tunnel);
        return;
    }

    sluice_tunnel_line(tunnel, "SOCKS5 status %u (%s)", c, "user refused");
    sluice_tunnel_done(tunnel, SLUICE_TUNNEL_DENIED);
}


static void
sluice_tunnel_reply(sluice_tunnel_t *tunnel, uint8_t c)
{
    switch (tunnel->head) {

    case 1:
        (void) sluice_tunnel_version(tunnel, c);
        return;

    case 2:
        sluice_tunnel_replied(tunnel, c);
        return;

    case 3:                                     /* reserved                  */
        return;
    }

    switch (c) {

    case 1:
        tunnel->want = 4 + 2;
        tunnel->state = SLUICE_TUNNEL_ADDRESS;
        return;

    case 3:
        tunnel->state = SLUICE_TUNNEL_NAME;
        return;

    case 4:
        tunnel->want = 16 + 2;
        tunnel->state = SLUICE_TUNNEL_ADDRESS;
        return;
    }

    sluice_tunnel_line(tunnel, "SOCKS5 address of type %u (%s)", c, "unknown");
    sluice_tunnel_done(tunnel, SLUICE_TUNNEL_INVALID);
}


/* a refusal's address is not waited for */

static void
sluice_tunnel_replied(sluice_tunnel_t *tunnel, uint8_t c)
{
    static const char  *texts[] = {
        "succeeded", "general failure", "not allowed", "network unreachable",
        "host unreachable", "connection refused", "TTL expired",
        "command not supported", "address type not supported"
    };

    tunnel->code = c;

    sluice_tunnel_line(tunnel, "SOCKS5 reply %u (%s)", c,
                       c < sizeof(texts) / sizeof(texts[0]) ? texts[c]
                                                            : "unassigned");

    if (c != 0) {
        sluice_tunnel_done(tunnel, c >= 3 && c <= 6
                                   ? SLUICE_TUNNEL_ORIGIN
                                   : SLUICE_TUNNEL_FORBIDDEN);
    }
}


/* it goes to a log: nothing of it may be a line's end, or a terminal's */

static void
sluice_tunnel_line_add(sluice_tunnel_t *tunnel, uint8_t c)
{
    if (tunnel->line_len == SLUICE_TUNNEL_LINE_MAX) {
        return;
    }

    tunnel->line[tunnel->line_len++] = (c >= 0x20 && c < 0x7f) ? (char) c
                                                               : '.';
    tunnel->line[tunnel->line_len] = '\0';
}


static void
sluice_tunnel_line(sluice_tunnel_t *tunnel, const char *format,
    unsigned number, const char *what)
{
    snprintf(tunnel->line, sizeof(tunnel->line), format, number, what);
    tunnel->line_len = (unsigned) strlen(tunnel->line);
}


static void
sluice_tunnel_done(sluice_tunnel_t *tunnel, sluice_tunnel_result_t result)
{
    tunnel->step = SLUICE_TUNNEL_DONE;
    tunnel->result = result;
}


const char *
sluice_tunnel_result_name(unsigned result)
{
    return (result < SLUICE_TUNNEL_RESULTS) ? sluice_tunnel_results[result]
                                            : NULL;
}
