
/*
 * The handshake with a proxy, on a connection of nginx's: bytes in and out of
 * shm/tunnel.c, whenever there is an event.
 */

#include "ngx_http_sluice_egress.h"


static ngx_int_t ngx_http_sluice_tunnel_connected(ngx_http_sluice_tunnel_t *t);
static ngx_int_t ngx_http_sluice_tunnel_send(ngx_http_sluice_tunnel_t *t);
static ngx_int_t ngx_http_sluice_tunnel_read(ngx_http_sluice_tunnel_t *t);


/* t->shake is begun; connect() may be under way */

void
ngx_http_sluice_tunnel_start(ngx_http_sluice_tunnel_t *t, ngx_connection_t *c)
{
    t->connection = c;
    t->sent = 0;
    t->tcp = 1;
}


/*
 * NGX_OK: the tunnel is there; NGX_AGAIN: another event must come first;
 * NGX_DECLINED: there will be none, t->shake.result says why; NGX_ERROR: it is
 * our own fault.
 */

ngx_int_t
ngx_http_sluice_tunnel_step(ngx_http_sluice_tunnel_t *t)
{
    ngx_int_t  rc;

    if (t->tcp) {
        rc = ngx_http_sluice_tunnel_connected(t);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    for ( ;; ) {

        switch (t->shake.step) {

        case SLUICE_TUNNEL_SEND:
            rc = ngx_http_sluice_tunnel_send(t);
            break;

        case SLUICE_TUNNEL_READ:
            rc = ngx_http_sluice_tunnel_read(t);
            break;

        default: /* SLUICE_TUNNEL_DONE */
            return (t->shake.result == SLUICE_TUNNEL_CONNECTED)
                   ? NGX_OK : NGX_DECLINED;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


static ngx_int_t
ngx_http_sluice_tunnel_connected(ngx_http_sluice_tunnel_t *t)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;

    c = t->connection;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        (void) ngx_connection_error(c, err, "connect() to proxy failed");

        t->shake.result = SLUICE_TUNNEL_UNREACHABLE;
        return NGX_DECLINED;
    }

    if (!c->write->ready) {
        return NGX_AGAIN;
    }

    t->tcp = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_tunnel_send(ngx_http_sluice_tunnel_t *t)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = t->connection;

    while (t->sent < t->shake.out_len) {

        n = c->send(c, t->shake.out + t->sent, t->shake.out_len - t->sent);

        if (n == NGX_AGAIN) {
            return (ngx_handle_write_event(c->write, 0) == NGX_OK)
                   ? NGX_AGAIN : NGX_ERROR;
        }

        if (n <= 0) {
            t->shake.result = SLUICE_TUNNEL_CLOSED;
            return NGX_DECLINED;
        }

        t->sent += n;
    }

    t->sent = 0;
    sluice_tunnel_sent(&t->shake);

    return NGX_OK;
}


/*
 * Looks first, and takes what is the proxy's: c->recv() is the origin's, which
 * comes to know of no byte that was not its own.
 */

static ngx_int_t
ngx_http_sluice_tunnel_read(ngx_http_sluice_tunnel_t *t)
{
    size_t             size;
    ssize_t            n;
    ngx_err_t          err;
    ngx_connection_t  *c;
    u_char             buf[1024];

    c = t->connection;

    n = recv(c->fd, buf, sizeof(buf), MSG_PEEK);

    if (n == -1) {
        err = ngx_socket_errno;

        if (err == NGX_EINTR) {
            return NGX_OK;
        }

        if (err == NGX_EAGAIN) {
            c->read->ready = 0;

            /* poll() would say again and again that we may send */

            return (ngx_handle_read_event(c->read, 0) == NGX_OK
                    && ngx_handle_write_event(c->write, 0) == NGX_OK)
                   ? NGX_AGAIN : NGX_ERROR;
        }

        (void) ngx_connection_error(c, err, "recv() from proxy failed");
    }

    if (n <= 0) {
        t->shake.result = SLUICE_TUNNEL_CLOSED;
        return NGX_DECLINED;
    }

    size = sluice_tunnel_feed(&t->shake, buf, (size_t) n);

    /* they are there: it is one call that takes them all */

    n = recv(c->fd, buf, size, 0);

    ngx_memzero(buf, sizeof(buf));

    if (n != (ssize_t) size) {
        t->shake.result = SLUICE_TUNNEL_CLOSED;
        return NGX_DECLINED;
    }

    return NGX_OK;
}
