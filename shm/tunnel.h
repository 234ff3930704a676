
/*
 * A tunnel through a forward proxy: what a proxy's URL says, and the handshake
 * with it.  HTTP CONNECT (RFC 9110, 9.3.6) with Basic (RFC 7617), and SOCKS5
 * (RFC 1928) with a user's password (RFC 1929).
 *
 * It does no I/O: the caller sends what is in `out`, looks (MSG_PEEK) at what
 * has come, feeds it, and takes as many bytes off the socket as were fed; so no
 * byte behind the proxy's last one, which is the origin's, is ever taken.
 * Nothing of a reply is kept but its first line.
 *
 * One thread's, in private memory.
 */

#ifndef SLUICE_TUNNEL_H
#define SLUICE_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SLUICE_PROXY_HOST_MAX   255     /* bytes of a name                   */
#define SLUICE_PROXY_USER_MAX   255     /* bytes, of a password as well      */

#define SLUICE_TUNNEL_HEAD_MAX  8192    /* bytes of an answer to CONNECT     */
#define SLUICE_TUNNEL_LINE_MAX  80      /* of its first line, for the log    */
#define SLUICE_TUNNEL_OUT_MAX   1536    /* bytes of any one message of ours  */


typedef enum {
    SLUICE_PROXY_HTTP = 0,
    SLUICE_PROXY_SOCKS5
} sluice_proxy_scheme_t;


typedef struct {
    sluice_proxy_scheme_t  scheme;
    uint16_t               port;
    uint8_t                user_len;
    uint8_t                password_len;
    bool                   auth;                    /* a user is given       */
    char                   host[SLUICE_PROXY_HOST_MAX + 1];     /* no [ ]    */
    char                   user[SLUICE_PROXY_USER_MAX + 1];
    char                   password[SLUICE_PROXY_USER_MAX + 1];
} sluice_proxy_url_t;


/* how a try to get a connection to an origin ended: the record's, too */
typedef enum {
    SLUICE_TUNNEL_CONNECTED = 0,
    SLUICE_TUNNEL_REUSED,           /* it was kept alive                     */
    SLUICE_TUNNEL_DIRECT,           /* without a proxy: direct=allowed       */

    /* the proxy's fault */
    SLUICE_TUNNEL_UNREACHABLE,      /* connect() failed                      */
    SLUICE_TUNNEL_TIMEOUT,
    SLUICE_TUNNEL_CLOSED,           /* closed, or reset, within a handshake  */
    SLUICE_TUNNEL_INVALID,          /* not what the protocol allows          */
    SLUICE_TUNNEL_DENIED,           /* 407, 401, or the user is refused      */
    SLUICE_TUNNEL_FORBIDDEN,        /* any other refusal: 403, a rule set    */

    /* the origin's: 5xx, SOCKS5's replies 3 to 6 */
    SLUICE_TUNNEL_ORIGIN,

    SLUICE_TUNNEL_RESULTS
} sluice_tunnel_result_t;


typedef enum {
    SLUICE_TUNNEL_SEND = 0,         /* `out`, then sluice_tunnel_sent()      */
    SLUICE_TUNNEL_READ,             /* sluice_tunnel_feed()                  */
    SLUICE_TUNNEL_DONE              /* `result` is set                       */
} sluice_tunnel_step_t;


typedef struct {
    const sluice_proxy_url_t  *proxy;
    sluice_tunnel_step_t       step;
    sluice_tunnel_result_t     result;      /* CONNECTED or a fault          */
    unsigned                   code;        /* HTTP's status, the last one;
                                               SOCKS5's reply; 0: none came,
                                               or SOCKS5 succeeded           */
    unsigned                   state;       /* tunnel.c's, as what follows:  */
    unsigned                   head;        /* bytes of all answers to
                                               CONNECT, of a SOCKS5 message  */
    unsigned                   match;       /* bytes of the status line; of
                                               an end of the head            */
    unsigned                   want;        /* bytes of an address to come;
                                               a status not yet whole        */
    unsigned                   line_len;
    char                       line[SLUICE_TUNNEL_LINE_MAX + 1];
                                            /* what the proxy said, for the
                                               log: printable, and ends with
                                               a NUL; empty: nothing         */
    char                       host[SLUICE_PROXY_HOST_MAX + 1];  /* no [ ]   */
    uint16_t                   port;        /* the origin's                  */
    unsigned                   out_len;
    uint8_t                    out[SLUICE_TUNNEL_OUT_MAX];
} sluice_tunnel_t;


/*
 * "http://user:password@host:port", "socks5://[::1]:1080": user and password
 * percent-decoded, a port always.  NULL, or what is wrong with it: a static
 * text that has nothing of the URL, in which a password may stand; then url is
 * zeroed.
 */
const char *sluice_proxy_url_parse(const char *text, size_t len,
    sluice_proxy_url_t *url);

/*
 * Begins a handshake for an origin: a name, or an address with or without its
 * brackets.  false: it is neither (empty, too long, with an empty label, or of
 * bytes that no name has: what a client may have chosen must not write lines of
 * its own), or port is 0.  One dot at the end of a name is left out.  proxy
 * must stay.
 */
bool sluice_tunnel_init(sluice_tunnel_t *tunnel,
    const sluice_proxy_url_t *proxy, const char *host, size_t len,
    uint16_t port);

/*
 * All of `out` has gone out; it is zeroed, as there may be a password in it.
 * Also for a handshake that is given up before: it is what zeroes it.
 */
void sluice_tunnel_sent(sluice_tunnel_t *tunnel);

/*
 * What came from the proxy, from its first byte that was not fed before.
 * Returns how many bytes were the proxy's: 1 at least if step is READ and len
 * is not 0; 0 if step is another.  In what pieces they are fed makes no
 * difference.  A failure is known from the first byte that shows it: the rest
 * of such an answer is not looked at.
 */
size_t sluice_tunnel_feed(sluice_tunnel_t *tunnel, const uint8_t *data,
    size_t len);

/* "connected", "unreachable"...; NULL: no such result */
const char *sluice_tunnel_result_name(unsigned result);

/* whether it is a proxy's fault, for which another one is to be tried */
static inline bool
sluice_tunnel_blames_proxy(sluice_tunnel_result_t result)
{
    return result >= SLUICE_TUNNEL_UNREACHABLE
           && result <= SLUICE_TUNNEL_FORBIDDEN;
}


#endif /* SLUICE_TUNNEL_H */
