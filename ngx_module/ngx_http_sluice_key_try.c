
/*
 * Another try with another key, inside one request, without a patch of nginx.
 *
 * The getter of $sluice_key is called while the upstream module makes the
 * request, before it initializes the peer: that is where a request's try
 * begins.  It wraps u->process_header, to see the status and the headers of
 * each answer (key_answer), u->reinit_request, to have the request made once
 * more, with another key in it, and u->finalize_request, where a try ends.
 * What stands around the balancer, and goes from one try to the next, is in
 * key_peer.
 *
 * nginx does not repeat a request after a 401, nor a POST, nor on an only
 * server.  If the answer is the key's fault and another key is to be had, nginx
 * sees a 429 that is, in a private copy of u->conf, to be tried again; the
 * next get() undoes both.  The key for it is taken before the answer is given
 * up, so that the last one is always somebody's answer.
 */

#include "ngx_http_sluice_key_try.h"


static ngx_uint_t ngx_http_sluice_try_over(ngx_http_request_t *r);
static ngx_uint_t ngx_http_sluice_try_strays(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_try_hush(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_reinit_request(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_try_make(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_output(void *data, ngx_chain_t *in);
static void ngx_http_sluice_try_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_sluice_try_unmet(ngx_http_sluice_try_t *t);


/* the one of this request's present upstream */

ngx_http_sluice_try_t *
ngx_http_sluice_try(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    return (ctx != NULL && ctx->try != NULL && ctx->try->u == r->upstream)
           ? ctx->try : NULL;
}


/*
 * Somebody asks for the key.  NGX_OK: a request is being made with it, for the
 * first time or once more; NGX_DECLINED: it is too late for that.
 */

ngx_int_t
ngx_http_sluice_try_begin(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_upstream_t    *u;
    ngx_http_sluice_try_t  *t;

    u = r->upstream;
    t = ctx->try;

    if (!ctx->taken) {
        return NGX_DECLINED;
    }

    if (t != NULL && t->u == u) {

        if (!t->making && ngx_http_sluice_try_over(r)) {
            return NGX_DECLINED;
        }

        t->asked = 1;
        ngx_http_sluice_try_hush(t);

        return NGX_OK;
    }

    if (ngx_http_sluice_try_over(r) || u->process_header == NULL
        || u->reinit_request == NULL || u->finalize_request == NULL
        || ngx_http_sluice_try_strays(r, ctx))
    {
        return NGX_DECLINED;
    }

    t = ctx->spare;
    ctx->spare = NULL;

    if (t == NULL) {
        t = ngx_pcalloc(r->pool, sizeof(ngx_http_sluice_try_t));
        if (t == NULL) {
            return NGX_ERROR;
        }
    }

    t->request = r;
    t->ctx = ctx;
    t->u = u;
    t->conf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);
    t->real = u->conf;
    t->asked = 1;
    t->start = ngx_current_msec;

    sluice_balance_set(&t->had, ctx->hold.member);

    ngx_http_sluice_try_wrap(t);

    t->reinit_request = u->reinit_request;
    u->reinit_request = ngx_http_sluice_try_reinit_request;

    /* an address of a resolver's has no peer.init: hooked when it is sent to */

    if (u->resolved != NULL && u->output.output_filter == NULL) {
        u->output.output_filter = ngx_http_sluice_try_output;
        u->output.filter_ctx = t;
    }

    t->finalize_request = u->finalize_request;
    u->finalize_request = ngx_http_sluice_try_finalize_request;

    ctx->try = t;

    ngx_http_sluice_try_hush(t);

    return NGX_OK;
}


/* nginx's modules put the next step of their parser there, as they go on */

void
ngx_http_sluice_try_wrap(ngx_http_sluice_try_t *t)
{
    ngx_http_upstream_t  *u;

    u = t->u;

    if (u->process_header != ngx_http_sluice_try_process_header) {
        t->process_header = u->process_header;
        u->process_header = ngx_http_sluice_try_process_header;
    }
}


/*
 * Whether the first request to the upstream is made, or never will be: nginx
 * sets up u->output behind u->create_request(), and where it does not come to
 * that, somebody else has the answer.
 */

static ngx_uint_t
ngx_http_sluice_try_over(ngx_http_request_t *r)
{
    return r->upstream->output.pool != NULL
           || r->cached
           || (r->headers_out.status != 0 && !r->post_action);
}


/*
 * Whether a key that must go with its proxy would go to an address that no
 * upstream has, which nothing of ours is asked for.  That request is ended.
 */

static ngx_uint_t
ngx_http_sluice_try_strays(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    ngx_uint_t                       i;
    ngx_http_upstream_resolved_t    *ur;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    ur = r->upstream->resolved;

    if (!ctx->key->strict || ur == NULL) {
        return 0;
    }

    /* as ngx_http_upstream_init_request() looks for it */

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->host.len == ur->host.len
            && ((uscfp[i]->port == 0 && ur->no_port)
                || uscfp[i]->port == ur->port)
            && ngx_strncasecmp(uscfp[i]->host.data, ur->host.data,
                               ur->host.len) == 0)
        {
            return 0;
        }
    }

    ngx_http_sluice_try_strict(r, ctx);
    ngx_http_sluice_try_stop(r->upstream);

    return 1;
}


/*
 * Ends a request that is being made, if its address is one that no upstream may
 * have: nginx gives 500 to an address without a port, before it connects.
 */

void
ngx_http_sluice_try_stop(ngx_http_upstream_t *u)
{
    ngx_http_upstream_resolved_t  *ur;

    ur = u->resolved;

    if (ur != NULL && u->output.pool == NULL) {
        ur->host.len = 0;
        ur->sockaddr = NULL;
        ur->port = 0;
    }
}


void
ngx_http_sluice_try_strict(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_complain(r, "no request goes out here with a key that is "
                             "\"strict\", as nothing says "
                             "\"sluice_egress\": pool",
                             &ctx->pool->named.name);
}


/*
 * At its debug level nginx writes down the request that it makes, and each
 * variable in it: not while the key is one of them.
 */

static void
ngx_http_sluice_try_hush(ngx_http_sluice_try_t *t)
{
    ngx_log_t  *log;

    log = t->request->connection->log;

    t->debug |= log->log_level & NGX_LOG_DEBUG_HTTP;
    log->log_level &= ~(ngx_uint_t) NGX_LOG_DEBUG_HTTP;
}


void
ngx_http_sluice_try_made(ngx_http_sluice_try_t *t)
{
    if (t->debug == 0) {
        return;
    }

    t->request->connection->log->log_level |= t->debug;
    t->debug = 0;
}


/* takes a key for it; few requests need room for one */

ngx_int_t
ngx_http_sluice_try_next(ngx_http_sluice_try_t *t)
{
    if (t->next == NULL) {
        t->next = ngx_palloc(t->request->pool, sizeof(sluice_balance_hold_t));
        if (t->next == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_sluice_key_next(t->request, t->ctx, &t->had, t->next)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    t->has_next = 1;

    return NGX_OK;
}


/* nginx goes on to the next try, if not for other reasons it must not */

ngx_int_t
ngx_http_sluice_try_pass(ngx_http_sluice_try_t *t, ngx_uint_t mask)
{
    t->again = ngx_palloc(t->request->pool,
                          sizeof(ngx_http_upstream_conf_t));
    if (t->again == NULL) {
        return NGX_ERROR;
    }

    *t->again = *t->real;

    t->again->next_upstream |= mask|NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;

    t->u->conf = t->again;

    return NGX_OK;
}


/* the key that a next try would have had, if there will be none */

void
ngx_http_sluice_try_end(ngx_http_sluice_try_t *t)
{
    ngx_http_sluice_try_made(t);

    if (t->has_next) {
        t->has_next = 0;
        ngx_http_sluice_key_drop(t->ctx, t->next);
    }
}


/*
 * Called by nginx first of all when a request is to be sent again, so that
 * what it rewinds is the one we make.
 */

static ngx_int_t
ngx_http_sluice_try_reinit_request(ngx_http_request_t *r)
{
    ngx_http_sluice_try_t  *t;

    t = ngx_http_sluice_try(r);

    if (t == NULL) {
        return NGX_ERROR;
    }

    /* what comes next, from the cache perhaps, has headers of its own */

    t->parsed = 0;

    if (t->remake) {
        t->remake = 0;

        if (ngx_http_sluice_try_make(t) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (t->reinit_request(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_sluice_try_wrap(t);

    t->former = 0;

    return NGX_OK;
}


/* as ngx_http_upstream_init_request() does */

static ngx_int_t
ngx_http_sluice_try_make(ngx_http_sluice_try_t *t)
{
    ngx_int_t             rc;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = t->request;
    u = t->u;

    u->request_bufs = (r->request_body != NULL) ? r->request_body->bufs
                                                : NULL;

#if (NGX_HTTP_CACHE)

    /* an answer that was given up may have changed what the next may do */

    u->cacheable = t->cacheable;

    if (r->cache != NULL) {
        r->cache->valid_sec = 0;
        r->cache->updating_sec = 0;
        r->cache->error_sec = 0;
    }

#endif

    t->asked = 0;
    t->making = 1;

    rc = u->create_request(r);

    t->making = 0;
    ngx_http_sluice_try_made(t);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (!t->asked) {

        /* another key would be blamed for what the old one gets */

        ngx_http_sluice_complain(r, "a request was made once more and has its "
                                 "old key: a map over $sluice_key must be "
                                 "\"volatile\": pool",
                                 &t->ctx->pool->named.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the first bytes to an address that had no peer.init */

static ngx_int_t
ngx_http_sluice_try_output(void *data, ngx_chain_t *in)
{
    ngx_http_sluice_try_t *t = data;

    ngx_http_upstream_t  *u;

    u = t->u;

    u->output.output_filter = ngx_chain_writer;
    u->output.filter_ctx = &u->writer;

    if (ngx_http_sluice_try_meet(t) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_chain_writer(&u->writer, in);
}


/*
 * An address that had no peer.init is being talked to.  gRPC, and a body that
 * is not buffered, have an output of their own: there it has answered already.
 */

ngx_int_t
ngx_http_sluice_try_meet(ngx_http_sluice_try_t *t)
{
    if (t->hooked) {
        return NGX_OK;
    }

    ngx_http_sluice_try_made(t);
    ngx_http_sluice_try_hook(t);

    return ngx_http_sluice_try_count(t);
}


/*
 * The upstream is done with, or failed, after which nginx calls no free().  And
 * where it never came to an output: nothing could be sent to that address.
 */

static void
ngx_http_sluice_try_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_upstream_t    *u;
    ngx_http_sluice_try_t  *t;

    u = r->upstream;
    t = ngx_http_sluice_try(r);

    if (t == NULL) {
        return;
    }

    if (!t->hooked && u->peer.get != NULL && u->state != NULL) {
        ngx_http_sluice_try_unmet(t);
    }

    u->conf = t->real;

    t->finalize_request(r, rc);

    ngx_http_sluice_try_went(t);

    if (t->parsed && !t->ctx->judged) {
        ngx_http_sluice_try_unfinished(t);

    } else if (t->parsed && t->ctx->taken) {
        ngx_http_sluice_try_ended(t, rc);
    }

    if (t->unmet) {
        ngx_http_sluice_key_judge(r, t->ctx, SLUICE_ANSWER_CONNECT,
                                  SLUICE_REASON_ERRORS, 0, SLUICE_NEVER);
    }

    ngx_http_sluice_key_give(t->ctx);

    if (t->ctx->denied != NULL) {
        ngx_http_sluice_key_blame(t->ctx);
    }

    /* a redirect makes another one, and its keys may be denied all the same */

    t->ctx->allowed = 0;
    t->ctx->well = 0;
}


/* an address that had no peer.init, and has not answered */

static void
ngx_http_sluice_try_unmet(ngx_http_sluice_try_t *t)
{
    ngx_uint_t            status;
    sluice_answer_t       answer;
    ngx_http_upstream_t  *u;

    u = t->u;
    status = u->state->status;

    if ((!u->request_sent && status != NGX_HTTP_BAD_GATEWAY
         && status != NGX_HTTP_GATEWAY_TIME_OUT)
        || ngx_http_sluice_try_count(t) != NGX_OK)
    {
        return;
    }

    if (status == NGX_HTTP_GATEWAY_TIME_OUT) {
        answer = SLUICE_ANSWER_TIMEOUT;

    } else if (status == NGX_HTTP_BAD_GATEWAY && !t->request->reading_body) {
        answer = u->request_sent ? SLUICE_ANSWER_ERROR : SLUICE_ANSWER_CONNECT;

    } else {
        return;
    }

    ngx_http_sluice_key_judge(t->request, t->ctx, answer,
                              SLUICE_REASON_ERRORS, 0, SLUICE_NEVER);
}
