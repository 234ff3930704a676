
/*
 * A request on its way to a proxy: connect(), the handshake, and the next proxy
 * if that was in vain.  All of it is one try of nginx's: what a proxy does to
 * us takes none of proxy_next_upstream_tries, and no origin is blamed for it.
 */

#include "ngx_http_sluice_egress.h"


static ngx_int_t ngx_http_sluice_egress_dial(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e);
static ngx_int_t ngx_http_sluice_egress_call(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e);
static ngx_int_t ngx_http_sluice_egress_connect_to(ngx_peer_connection_t *pc,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name);
static ngx_int_t ngx_http_sluice_egress_again(ngx_http_sluice_egress_t *e);
static ngx_int_t ngx_http_sluice_egress_park(ngx_peer_connection_t *pc);
static void ngx_http_sluice_egress_handler(ngx_http_request_t *r,
    ngx_http_upstream_t *u);
static void ngx_http_sluice_egress_up(ngx_http_sluice_egress_t *e);
static void ngx_http_sluice_egress_failed(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result);
static void ngx_http_sluice_egress_next(ngx_http_sluice_egress_t *e);
static void ngx_http_sluice_egress_dialled(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former, ngx_int_t rc);
static void ngx_http_sluice_egress_direct(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former);
static void ngx_http_sluice_egress_adopt(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former);
static void ngx_http_sluice_egress_restore(ngx_http_sluice_egress_t *e);
static void ngx_http_sluice_egress_error(ngx_http_sluice_egress_t *e);
static ssize_t ngx_http_sluice_egress_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_http_sluice_egress_refuse(ngx_http_sluice_egress_t *e);
static void ngx_http_sluice_egress_finalize(ngx_http_sluice_egress_t *e,
    ngx_uint_t status);
static void ngx_http_sluice_egress_leave(ngx_http_sluice_egress_t *e,
    ngx_uint_t status);
static void ngx_http_sluice_egress_log(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result);


/*
 * In get(), when no kept tunnel was found.  NGX_OK: nginx connects, directly;
 * NGX_AGAIN: ngx_http_upstream_connect() sets its handlers and its timer behind
 * this, and no event of the connection comes before the posted one.
 */

ngx_int_t
ngx_http_sluice_egress_connect(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e)
{
    ngx_int_t  rc;

    rc = e->none ? NGX_DECLINED : ngx_http_sluice_egress_dial(pc, e);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {

        if (e->direct) {
            pc->sockaddr = e->origin;
            pc->socklen = e->origin_len;

            ngx_http_sluice_egress_told(e, SLUICE_TUNNEL_DIRECT);

            return NGX_OK;
        }

        /* nginx has no 503 for it here: behind the event we may answer */

        if (ngx_http_sluice_egress_park(pc) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    e->swapped = 0;

    ngx_post_event(&e->event, &ngx_posted_events);

    return NGX_AGAIN;
}


/*
 * Connects to the proxy that is taken, or to the next one that can be had.
 * NGX_DECLINED: there is none.
 */

static ngx_int_t
ngx_http_sluice_egress_dial(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e)
{
    ngx_int_t                  rc;
    ngx_http_sluice_tunnel_t  *t;

    if (e->tunnel == NULL) {
        e->tunnel = ngx_palloc(e->request->pool,
                               sizeof(ngx_http_sluice_tunnel_t));
        if (e->tunnel == NULL) {
            return NGX_ERROR;
        }
    }

    t = e->tunnel;

    for ( ;; ) {

        if (!sluice_tunnel_init(&t->shake, &e->proxy->url,
                                (char *) e->host.data, e->host.len, e->port))
        {
            ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                          "no proxy can be asked for \"%V\"", &e->host);

            e->tunnel = NULL;
            return NGX_ERROR;
        }

        e->start = ngx_current_msec;

        ngx_http_sluice_proxy_begin(e->ctx, e->proxy);

        e->addrs = 0;

        rc = ngx_http_sluice_egress_call(pc, e);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ngx_http_sluice_egress_told(e, SLUICE_TUNNEL_UNREACHABLE);

        rc = ngx_http_sluice_egress_again(e);

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


/* the next of its addresses.  NGX_DECLINED: there is none that answers */

static ngx_int_t
ngx_http_sluice_egress_call(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e)
{
    ngx_int_t    rc;
    ngx_addr_t  *addr;

    do {
        addr = ngx_http_sluice_proxy_addr(e->proxy, &e->addr, &e->addrs);

        if (addr == NULL) {
            return NGX_DECLINED;
        }

        rc = ngx_http_sluice_egress_connect_to(pc, addr->sockaddr,
                                               addr->socklen,
                                               &e->proxy->name);
    } while (rc == NGX_DECLINED);

    if (rc != NGX_ERROR) {
        ngx_http_sluice_tunnel_start(e->tunnel, pc->connection);
    }

    return rc;
}


/* with what nginx has for a connection to the origin: local address, options */

static ngx_int_t
ngx_http_sluice_egress_connect_to(ngx_peer_connection_t *pc,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name)
{
    ngx_int_t              rc;
    ngx_peer_connection_t  peer;

    peer = *pc;

    peer.get = ngx_event_get_peer;
    peer.connection = NULL;
    peer.sockaddr = sockaddr;
    peer.socklen = socklen;
    peer.name = name;

    rc = ngx_event_connect_peer(&peer);

    if (rc == NGX_OK || rc == NGX_AGAIN) {
        pc->connection = peer.connection;
    }

    return rc;
}


/* another proxy.  NGX_DECLINED: none is to be had, or it is too late */

static ngx_int_t
ngx_http_sluice_egress_again(ngx_http_sluice_egress_t *e)
{
    ngx_msec_t  timeout;

    timeout = e->u->conf->next_upstream_timeout;

    if (timeout && ngx_current_msec - e->u->peer.start_time >= timeout) {
        ngx_http_sluice_egress_give(e);
        e->none = 1;
        e->late = 1;
        return NGX_DECLINED;
    }

    return ngx_http_sluice_egress_take(e);
}


/* a connection to nobody: nginx wants one to go on */

static ngx_int_t
ngx_http_sluice_egress_park(ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(AF_UNIX, SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NGX_ERROR;
    }

    c->type = SOCK_STREAM;
    c->recv = ngx_http_sluice_egress_recv;
    c->log_error = pc->log_error;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->start_time = ngx_current_msec;

    pc->connection = c;

    return NGX_OK;
}


/* behind ngx_http_upstream_connect(), or another proxy was dialled */

void
ngx_http_sluice_egress_posted(ngx_event_t *ev)
{
    ngx_http_sluice_egress_t *e = ev->data;

    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = e->request;
    u = e->u;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (!e->swapped) {
        e->swapped = 1;
        e->read_handler = u->read_event_handler;
        e->write_handler = u->write_event_handler;

        u->read_event_handler = ngx_http_sluice_egress_handler;
        u->write_event_handler = ngx_http_sluice_egress_handler;
    }

    if (e->none) {
        ngx_http_sluice_egress_refuse(e);

    } else if (u->peer.connection->write->ready) {
        ngx_http_sluice_egress_handler(r, u);
    }

    ngx_http_run_posted_requests(c);
}


/* both of the upstream's handlers, meanwhile; r may be gone behind it */

static void
ngx_http_sluice_egress_handler(ngx_http_request_t *r, ngx_http_upstream_t *u)
{
    ngx_http_sluice_egress_t  *e;

    e = ngx_http_sluice_get_ctx(r)->egress;

    /* an event that was under way when another proxy was dialled */

    if (e->event.posted) {
        return;
    }

    u->peer.connection->log->action = "opening a tunnel through a proxy";

    if (u->peer.connection->write->timedout) {
        ngx_http_sluice_egress_failed(e, SLUICE_TUNNEL_TIMEOUT);
        return;
    }

    switch (ngx_http_sluice_tunnel_step(e->tunnel)) {

    case NGX_AGAIN:
        return;

    case NGX_OK:
        ngx_http_sluice_egress_up(e);
        return;

    case NGX_DECLINED:
        ngx_http_sluice_egress_failed(e, e->tunnel->shake.result);
        return;

    default:
        ngx_http_sluice_egress_finalize(e, NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* as if connect() were done now: TLS to the origin comes next */

static void
ngx_http_sluice_egress_up(ngx_http_sluice_egress_t *e)
{
    ngx_http_upstream_t  *u;

    u = e->u;

    ngx_http_sluice_egress_told(e, SLUICE_TUNNEL_CONNECTED);
    ngx_http_sluice_egress_restore(e);

    u->peer.connection->sent = 0;
    u->write_event_handler(e->request, u);
}


static void
ngx_http_sluice_egress_failed(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result)
{
    ngx_int_t          rc;
    ngx_connection_t  *former;

    if (result == SLUICE_TUNNEL_UNREACHABLE) {

        former = e->u->peer.connection;

        rc = ngx_http_sluice_egress_call(&e->u->peer, e);

        if (rc != NGX_DECLINED) {
            ngx_http_sluice_egress_dialled(e, former, rc);
            return;
        }
    }

    ngx_http_sluice_egress_told(e, result);

    if (sluice_tunnel_blames_proxy(result)) {
        ngx_http_sluice_egress_next(e);
        return;
    }

    ngx_http_sluice_egress_restore(e);
    ngx_http_sluice_egress_error(e);
}


static void
ngx_http_sluice_egress_next(ngx_http_sluice_egress_t *e)
{
    ngx_int_t               rc;
    ngx_connection_t       *former;
    ngx_peer_connection_t  *pc;

    pc = &e->u->peer;
    former = pc->connection;

    rc = ngx_http_sluice_egress_again(e);

    if (rc == NGX_OK) {
        rc = ngx_http_sluice_egress_dial(pc, e);
    }

    if (rc != NGX_DECLINED) {
        ngx_http_sluice_egress_dialled(e, former, rc);
        return;
    }

    if (e->direct) {
        ngx_http_sluice_egress_direct(e, former);
        return;
    }

    ngx_http_sluice_egress_refuse(e);
}


/* a connection to a proxy is under way, or could not be made at all */

static void
ngx_http_sluice_egress_dialled(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former, ngx_int_t rc)
{
    if (rc == NGX_ERROR) {
        ngx_http_sluice_egress_finalize(e, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_sluice_egress_adopt(e, former);

    ngx_post_event(&e->event, &ngx_posted_events);
}


/* from here on nginx connects to the origin, as it does without us */

static void
ngx_http_sluice_egress_direct(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former)
{
    ngx_int_t               rc;
    ngx_peer_connection_t  *pc;

    pc = &e->u->peer;

    pc->sockaddr = e->origin;
    pc->socklen = e->origin_len;

    ngx_http_sluice_egress_told(e, SLUICE_TUNNEL_DIRECT);

    rc = ngx_http_sluice_egress_connect_to(pc, pc->sockaddr, pc->socklen,
                                           pc->name);

    ngx_http_sluice_egress_restore(e);

    if (rc == NGX_OK || rc == NGX_AGAIN) {
        ngx_http_sluice_egress_adopt(e, former);

        if (rc == NGX_OK) {
            e->u->write_event_handler(e->request, e->u);
        }

        return;
    }

    if (rc == NGX_DECLINED) {

        /* the old connection is as good as any to fail on */

        ngx_http_sluice_egress_error(e);
        return;
    }

    ngx_http_sluice_egress_finalize(e, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/*
 * Another connection takes the place of one that ngx_http_upstream_connect()
 * has set up, with all that it has got there.
 */

static void
ngx_http_sluice_egress_adopt(ngx_http_sluice_egress_t *e,
    ngx_connection_t *former)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = e->u;
    c = u->peer.connection;

    c->requests++;
    c->data = former->data;
    c->pool = former->pool;
    former->pool = NULL;

    c->read->handler = former->read->handler;
    c->write->handler = former->write->handler;

    c->log = former->log;
    c->read->log = former->log;
    c->write->log = former->log;

    c->sendfile &= e->request->connection->sendfile;
    u->output.sendfile = c->sendfile;

    if (former->tcp_nopush == NGX_TCP_NOPUSH_DISABLED) {
        c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    }

    u->writer.connection = c;

    ngx_close_connection(former);

    ngx_add_timer(c->write, u->conf->connect_timeout);
}


static void
ngx_http_sluice_egress_restore(ngx_http_sluice_egress_t *e)
{
    e->swapped = 0;
    e->u->read_event_handler = e->read_handler;
    e->u->write_event_handler = e->write_handler;
}


/*
 * ngx_http_upstream_next() is static: ngx_http_upstream_process_header() calls
 * it when recv() fails.  For tunnel_pass it does not ask recv(), and takes the
 * upstream for connected: a timeout is the failure that it sees.
 */

static void
ngx_http_sluice_egress_error(ngx_http_sluice_egress_t *e)
{
    ngx_http_upstream_t  *u;

    u = e->u;

    if (u->conf->module.len == sizeof("tunnel") - 1
        && ngx_strncmp(u->conf->module.data, "tunnel", sizeof("tunnel") - 1)
           == 0)
    {
        u->peer.connection->read->timedout = 1;
    }

    u->peer.connection->recv = ngx_http_sluice_egress_recv;
    u->read_event_handler(e->request, u);
}


static ssize_t
ngx_http_sluice_egress_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}


/*
 * No proxy is up: said at once, and when one may be again.  Where the time for
 * it is over nginx's own answer is the true one.
 */

static void
ngx_http_sluice_egress_refuse(ngx_http_sluice_egress_t *e)
{
    ngx_int_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_sluice_loc_conf_t  *slcf;

    r = e->request;

    e->blamed = 1;
    ngx_http_sluice_egress_restore(e);

    if (e->u->peer.connection != NULL && ngx_http_sluice_stale(r)) {
        ngx_http_sluice_egress_error(e);
        return;
    }

    if (e->late) {
        ngx_http_sluice_egress_finalize(e, NGX_HTTP_GATEWAY_TIME_OUT);
        return;
    }

    ngx_http_sluice_count(REFUSED_PROXY);

    if (e->ctx->taken && e->ctx->key->strict) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "refusing request, key \"%V\" goes with proxy \"%V\" "
                      "only, and that cannot be had in pool \"%V\"",
                      &e->ctx->key->id, &e->ctx->key->proxy,
                      &e->conf->pool->named.name);

    } else {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "refusing request, no proxy of pool \"%V\" can be "
                      "had", &e->conf->pool->named.name);
    }

    if (r != r->main) {
        ngx_http_sluice_egress_finalize(e, NGX_HTTP_SERVICE_UNAVAILABLE);
        return;
    }

    e->ctx->outcome = SLUICE_OUTCOME_PROXY;

    ngx_http_sluice_egress_leave(e, NGX_HTTP_SERVICE_UNAVAILABLE);

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);
    rc = ngx_http_sluice_refuse(r, slcf, SLUICE_OUTCOME_PROXY, 0, e->retry);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* as ngx_http_upstream_finalize_request() does, which is static */

static void
ngx_http_sluice_egress_finalize(ngx_http_sluice_egress_t *e, ngx_uint_t status)
{
    ngx_http_sluice_egress_leave(e, status);
    ngx_http_finalize_request(e->request, status);
}


/* ends the upstream, and leaves the request to be answered */

static void
ngx_http_sluice_egress_leave(ngx_http_sluice_egress_t *e, ngx_uint_t status)
{
    e->blamed = 1;
    e->u->state->status = status;

    e->request->main->count++;
    (*e->u->cleanup)(e->request);
}


/* a try with a proxy has ended, or a kept tunnel serves it */

void
ngx_http_sluice_egress_told(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result)
{
    int         state;
    ngx_msec_t  time;

    if (result == SLUICE_TUNNEL_REUSED || result == SLUICE_TUNNEL_DIRECT) {
        time = (ngx_msec_t) -1;

    } else {
        time = ngx_current_msec - e->start;
    }

    if (result == SLUICE_TUNNEL_DIRECT) {
        ngx_http_sluice_count(DIRECT);
        ngx_log_error(NGX_LOG_WARN, e->request->connection->log, 0,
                      "no proxy of pool \"%V\" can be had: going to \"%V\" "
                      "directly", &e->conf->pool->named.name,
                      e->u->peer.name);

        ngx_http_sluice_proxy_begin(e->ctx, NULL);
        ngx_http_sluice_proxy_passage(e, NULL, result, time);
        return;
    }

    if (result == SLUICE_TUNNEL_REUSED) {
        ngx_http_sluice_proxy_begin(e->ctx, e->proxy);

    } else if (result == SLUICE_TUNNEL_CONNECTED) {
        ngx_http_sluice_count(TUNNELS);

    } else {
        if (sluice_tunnel_blames_proxy(result)) {
            sluice_balance_set(&e->had, e->hold.member);
        }

        ngx_http_sluice_count(TUNNEL_FAILURES);
        ngx_http_sluice_egress_log(e, result);
    }

    e->up = (result == SLUICE_TUNNEL_REUSED
             || result == SLUICE_TUNNEL_CONNECTED);

    sluice_member_use(e->proxy->line);

    ngx_http_sluice_proxy_passage(e, e->proxy, result, time);

    if (result == SLUICE_TUNNEL_REUSED) {
        return;
    }

    e->judged = 1;

    state = ngx_http_sluice_proxy_judge(e->proxy, &e->hold.try, result,
                                        e->tunnel->shake.code);

    if (state != -1) {
        ngx_http_sluice_proxy_say(e->request->connection->log,
                                  &e->conf->pool->named.name, e->proxy,
                                  state);
    }
}


static void
ngx_http_sluice_egress_log(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result)
{
    sluice_tunnel_t  *shake;

    shake = &e->tunnel->shake;

    if (shake->line_len != 0) {
        ngx_log_error(NGX_LOG_ERR, e->request->connection->log, 0,
                      "no tunnel to \"%V:%ui\" by proxy \"%V\" (\"%V\"): "
                      "%s: \"%s\"", &e->host, (ngx_uint_t) e->port,
                      &e->proxy->id, &e->proxy->name,
                      sluice_tunnel_result_name(result), shake->line);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, e->request->connection->log, 0,
                  "no tunnel to \"%V:%ui\" by proxy \"%V\" (\"%V\"): %s",
                  &e->host, (ngx_uint_t) e->port, &e->proxy->id,
                  &e->proxy->name, sluice_tunnel_result_name(result));
}
