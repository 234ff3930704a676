
/*
 * Another try with another key, inside one request, without a patch of nginx.
 *
 * The getter of $sluice_key is called while the upstream module makes the
 * request, before it initializes the peer: that is where a request's try
 * begins.  It wraps u->process_header, to see the status and the headers of
 * each answer, and u->reinit_request, to have the request made once more, with
 * another key in it.  peer.init is wrapped for every upstream, and puts hooks
 * of ours around the balancer's: free() for the tries that got no answer,
 * get() for the next one.
 *
 * nginx does not repeat a request after a 401, nor a POST, nor on an only
 * server.  If the answer is the key's fault and another key is to be had, nginx
 * sees a 429 that is, in a private copy of u->conf, to be tried again; the
 * next get() undoes both.  The key for it is taken before the answer is given
 * up, so that the last one is always somebody's answer.
 */

#include "ngx_http_sluice_key_try.h"


typedef struct {
    ngx_http_upstream_srv_conf_t   *upstream;
    ngx_http_upstream_init_peer_pt  init;
} ngx_http_sluice_upstream_t;


static ngx_uint_t ngx_http_sluice_try_over(ngx_http_request_t *r);
static ngx_uint_t ngx_http_sluice_try_strays(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_try_strict(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_try_hush(ngx_http_sluice_try_t *t);
static void ngx_http_sluice_try_made(ngx_http_sluice_try_t *t);
static ngx_http_upstream_init_peer_pt ngx_http_sluice_try_wrapped(
    ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_try_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_sluice_try_hook(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_count(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_get(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sluice_try_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type);
static ngx_int_t ngx_http_sluice_try_move(ngx_http_sluice_try_t *t);
static ngx_uint_t ngx_http_sluice_try_sent(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_origins(ngx_peer_connection_t *pc,
    ngx_http_sluice_try_t *t);
static ngx_uint_t ngx_http_sluice_try_turns(ngx_http_sluice_try_t *t,
    ngx_uint_t left, ngx_uint_t tries);
static void ngx_http_sluice_try_anew(ngx_http_upstream_rr_peer_data_t *rrp);
static void ngx_http_sluice_try_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_uint_t ngx_http_sluice_try_failed(ngx_peer_connection_t *pc,
    ngx_http_sluice_try_t *t);
static ngx_uint_t ngx_http_sluice_try_repeats(ngx_http_sluice_try_t *t);
static void ngx_http_sluice_try_keep(ngx_http_upstream_t *u);
static ngx_int_t ngx_http_sluice_try_reinit_request(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_try_make(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_output(void *data, ngx_chain_t *in);
static void ngx_http_sluice_try_finalize_request(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_sluice_try_unmet(ngx_http_sluice_try_t *t);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_sluice_try_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sluice_try_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


/* after all upstreams have their balancers: wraps peer.init of each */

ngx_int_t
ngx_http_sluice_try_init(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                       i;
    ngx_http_sluice_srv_conf_t      *sscf;
    ngx_http_sluice_upstream_t      *su;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    if (ngx_array_init(&smcf->upstreams, cf->pool, umcf->upstreams.nelts + 1,
                       sizeof(ngx_http_sluice_upstream_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        /* named in a configuration, and never used by it */

        if (uscfp[i]->peer.init == NULL) {
            continue;
        }

        /* of one that has no block the configuration is nowhere */

        if (uscfp[i]->srv_conf != NULL) {
            sscf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                                   ngx_http_sluice_module);
            sscf->try_init = uscfp[i]->peer.init;

        } else {
            su = ngx_array_push(&smcf->upstreams);
            if (su == NULL) {
                return NGX_ERROR;
            }

            su->upstream = uscfp[i];
            su->init = uscfp[i]->peer.init;
        }

        uscfp[i]->peer.init = ngx_http_sluice_try_init_peer;
    }

    ngx_http_sluice_sort_upstreams(&smcf->upstreams);

    return NGX_OK;
}


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
 * upstream has, which nothing of ours is asked for.  That request is ended:
 * nginx gives 500 to an address without a port, before it connects.
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

    ur->host.len = 0;
    ur->sockaddr = NULL;
    ur->port = 0;

    return 1;
}


static void
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


static void
ngx_http_sluice_try_made(ngx_http_sluice_try_t *t)
{
    if (t->debug == 0) {
        return;
    }

    t->request->connection->log->log_level |= t->debug;
    t->debug = 0;
}


static ngx_http_upstream_init_peer_pt
ngx_http_sluice_try_wrapped(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_sluice_srv_conf_t   *sscf;
    ngx_http_sluice_upstream_t   *su;
    ngx_http_sluice_main_conf_t  *smcf;

    if (us->srv_conf != NULL) {
        sscf = ngx_http_conf_upstream_srv_conf(us, ngx_http_sluice_module);

        return sscf->try_init;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);

    su = ngx_http_sluice_find_upstream(&smcf->upstreams, us);

    return (su != NULL) ? su->init : NULL;
}


static ngx_int_t
ngx_http_sluice_try_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_sluice_try_t           *t;
    ngx_http_sluice_loc_conf_t      *slcf;
    ngx_http_upstream_init_peer_pt   init;

    init = ngx_http_sluice_try_wrapped(r, us);

    if (init == NULL || init(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (slcf->key == NULL) {
        return NGX_OK;
    }

    t = ngx_http_sluice_try(r);

    if (t == NULL) {

        /* an upstream that asks for a key would only refuse it, later */

        ngx_http_sluice_complain(r, "no request goes out without its key: "
                                 "nothing of it has $sluice_key, or it was "
                                 "asked for too soon: pool",
                                 &slcf->key->pool->named.name);
        return NGX_ERROR;
    }

    ngx_http_sluice_try_made(t);

    t->upstream = us;
    t->init = init;

    /* a cached answer that nginx cannot read is a request that was sent */

    t->former = r->upstream->request_sent;

    ngx_http_sluice_try_hook(t);

    return NGX_OK;
}


/* around the balancer's own: after peer.init, before the first get */

static void
ngx_http_sluice_try_hook(ngx_http_sluice_try_t *t)
{
    ngx_http_upstream_t  *u;

    if (t->hooked) {
        return;
    }

    u = t->u;

    t->hooked = 1;

#if (NGX_HTTP_CACHE)
    t->cacheable = u->cacheable;
#endif

    t->data = u->peer.data;
    t->get = u->peer.get;
    t->free = u->peer.free;

    u->peer.data = t;
    u->peer.get = ngx_http_sluice_try_get;
    u->peer.free = ngx_http_sluice_try_free;

    t->notify = u->peer.notify;

    if (t->notify != NULL) {
        u->peer.notify = ngx_http_sluice_try_notify;
    }

#if (NGX_HTTP_SSL)
    t->set_session = u->peer.set_session;
    t->save_session = u->peer.save_session;

    u->peer.set_session = ngx_http_sluice_try_set_session;
    u->peer.save_session = ngx_http_sluice_try_save_session;
#endif
}


/* a try begins: it belongs to the last one of r->upstream_states */

static ngx_int_t
ngx_http_sluice_try_count(ngx_http_sluice_try_t *t)
{
    ngx_http_sluice_ctx_t      *ctx;
    ngx_http_sluice_key_try_t  *kt;

    ctx = t->ctx;

    /* most have one; arrays grow by as many as are described in a record */

    if (ctx->ntries == 0) {
        ctx->tries = &ctx->first_try;

    } else if (ctx->ntries % SLUICE_RECORD_TRIES == 1
        && ngx_http_sluice_grow(t->request->pool, (void **) &ctx->tries,
                                ctx->ntries, SLUICE_RECORD_TRIES,
                                sizeof(ngx_http_sluice_key_try_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    kt = &ctx->tries[ctx->ntries++];

    t->stale = 0;
    t->unmet = 0;
    t->used = 0;
    ctx->tried = 1;

    kt->key = ctx->key;
    kt->state = t->request->upstream_states->nelts - 1;

    t->parsed = 0;
    t->blamed = 0;
    t->origins = 0;

    if (ctx->judged) {
        ctx->judged = 0;
        ctx->hold.try.began = sluice_clock_ms();
        ctx->hold.try.probe = 0;
    }

    if (ctx->entry != NULL) {
        (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_POOL,
                                 ctx->pool->named.name.data,
                                 ctx->pool->named.name.len);
        (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_KEY,
                                 ctx->key->id.data, ctx->key->id.len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_try_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_try_t *t = data;

    ngx_int_t                   rc;
    ngx_http_upstream_t        *u;
    ngx_http_request_t         *r;
    ngx_http_upstream_state_t  *state;

    r = t->request;
    u = t->u;

    if (t->again != NULL) {
        u->conf = t->real;
        t->again = NULL;
    }

    /* where nginx has noted the status that it was shown */

    if (t->status != 0) {
        state = r->upstream_states->elts;

        if (r->upstream_states->nelts > 1) {
            state[r->upstream_states->nelts - 2].status = t->status;
        }

        t->status = 0;
    }

    if (ngx_http_sluice_try_sent(t) && !t->stale
        && ngx_http_sluice_try_move(t) != NGX_OK)
    {
        return NGX_BUSY;
    }

    if (ngx_http_sluice_egress_strays(t->ctx, u)) {
        ngx_http_sluice_try_strict(r, t->ctx);
        return NGX_ERROR;
    }

    t->former = u->request_sent;

    rc = t->get(pc, t->data);

    /*
     * All tries of the servers begin anew once for each of sluice_key_tries.
     * For a key that was taken as nginx went on by itself none is added.
     */

    if (rc == NGX_BUSY && (t->renew || t->remake)) {
        rc = ngx_http_sluice_try_origins(pc, t);
        t->renew = 0;
    }

    if (rc == NGX_BUSY || rc == NGX_ERROR) {
        return rc;
    }

    return (ngx_http_sluice_try_count(t) == NGX_OK) ? rc : NGX_ERROR;
}


static void
ngx_http_sluice_try_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_sluice_try_t *t = data;

    t->notify(pc, t->data, type);
}


/*
 * The key that was sent is done with: the next one, if there is one.  nginx may
 * go on by itself, for another server's sake: then it stays if it must, and if
 * its windows have room for another request.
 */

static ngx_int_t
ngx_http_sluice_try_move(ngx_http_sluice_try_t *t)
{
    t->met = 1;

    /* an answer that was an error has used no tokens, none says nothing */

    if (t->parsed) {
        ngx_http_sluice_key_unused(t->ctx);
    }

    if (t->has_next) {
        t->tries++;
        t->renew = 1;

    } else if (t->request->request_body_no_buffering
               || ngx_http_sluice_try_next(t) != NGX_OK)
    {
        return ngx_http_sluice_key_again(t->ctx);
    }

    t->has_next = 0;
    t->remake = 1;

    ngx_http_sluice_key_switch(t->ctx, t->next);

    return NGX_OK;
}


/*
 * Whether bytes of this try may have gone out.  nginx clears u->request_sent
 * behind reinit_request(), to which it does not come if connect() fails.
 */

static ngx_uint_t
ngx_http_sluice_try_sent(ngx_http_sluice_try_t *t)
{
    return t->u->request_sent && !t->former;
}


/* whether the upstream has seen it, on a kept connection, nobody can tell */

void
ngx_http_sluice_try_went(ngx_http_sluice_try_t *t)
{
    if (!ngx_http_sluice_try_sent(t)) {
        return;
    }

    t->ctx->sent = 1;

    if (!t->used) {
        t->used = 1;
        sluice_member_use(t->ctx->key->line);
    }
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


/*
 * Every server was tried once, and keys are left: a new state of the balancer
 * beneath us.  What is in u->peer now stays: others may have wrapped us.  Of a
 * name that was resolved nothing but the balancer's own state is left to begin
 * with: u->resolved points to what the resolver has taken back.
 */

static ngx_int_t
ngx_http_sluice_try_origins(ngx_peer_connection_t *pc,
    ngx_http_sluice_try_t *t)
{
    ngx_int_t                          rc;
    ngx_peer_connection_t              outer;
    ngx_http_upstream_rr_peer_data_t  *rrp;

    if (t->init == NULL) {

        if (t->get != ngx_http_upstream_get_round_robin_peer) {
            return NGX_BUSY;
        }

        rrp = t->data;

        ngx_http_sluice_try_anew(rrp);
        pc->tries = ngx_http_sluice_try_turns(t, pc->tries,
                                               rrp->peers->number);

        return t->get(pc, t->data);
    }

    outer = *pc;
    pc->data = NULL;

    rc = t->init(t->request, t->upstream);

    if (rc == NGX_OK) {
        t->data = pc->data;
        t->get = pc->get;
        t->free = pc->free;
        t->notify = pc->notify;
#if (NGX_HTTP_SSL)
        t->set_session = pc->set_session;
        t->save_session = pc->save_session;
#endif
    }

    pc->data = outer.data;
    pc->get = outer.get;
    pc->free = outer.free;
    pc->notify = outer.notify;
    pc->tries = ngx_http_sluice_try_turns(t, outer.tries, pc->tries);
#if (NGX_HTTP_SSL)
    pc->set_session = outer.set_session;
    pc->save_session = outer.save_session;
#endif

    return (rc == NGX_OK) ? t->get(pc, t->data) : NGX_ERROR;
}


/* as many as proxy_next_upstream_tries allows still, and one at least */

static ngx_uint_t
ngx_http_sluice_try_turns(ngx_http_sluice_try_t *t, ngx_uint_t left,
    ngx_uint_t tries)
{
    ngx_uint_t  max;

    if (!t->renew) {
        return left;
    }

    max = t->real->next_upstream_tries;

    if (max == 0) {
        return tries;
    }

    return ngx_min(tries, (max > t->turns) ? max - t->turns : 1);
}


/* nobody has these peers but the request */

static void
ngx_http_sluice_try_anew(ngx_http_upstream_rr_peer_data_t *rrp)
{
    ngx_uint_t                    n;
    ngx_http_upstream_rr_peer_t  *peer;

    n = (rrp->peers->number + 8 * sizeof(uintptr_t) - 1)
        / (8 * sizeof(uintptr_t));

    ngx_memzero(rrp->tried, n * sizeof(uintptr_t));

    for (peer = rrp->peers->peer; peer; peer = peer->next) {
        peer->fails = 0;
    }
}


static void
ngx_http_sluice_try_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_sluice_try_t *t = data;

    ngx_uint_t            wanted;
    ngx_http_upstream_t  *u;

    u = t->u;
    wanted = 0;

    ngx_http_sluice_try_went(t);

    if (t->parsed && !t->ctx->judged) {
        ngx_http_sluice_try_unfinished(t);

    } else if ((state & NGX_PEER_FAILED) && !t->parsed) {
        wanted = ngx_http_sluice_try_failed(pc, t);
    }

    if (t->again != NULL) {

        if (t->blamed) {
            state = NGX_PEER_NEXT;
            ngx_http_sluice_try_keep(u);
        }

        /* keepalive has a use for it later, and a copy of ours ends sooner */

        u->conf = t->real;
        t->free(pc, t->data, state);
        u->conf = t->again;

        pc->tries = t->origins;

        return;
    }

    t->free(pc, t->data, state);

    if ((state & NGX_PEER_FAILED) && !pc->cached) {
        t->turns++;
    }

    /* nginx would take a POST for one that was sent, and not go on */

    if ((state & NGX_PEER_FAILED) && u->request_sent && t->former) {
        (void) ngx_http_sluice_try_pass(t, 0);
    }

    /* an only server has no tries left, and is well for another key */

    if (wanted && (t->stale || ngx_http_sluice_try_next(t) == NGX_OK)
        && ngx_http_sluice_try_pass(t, NGX_HTTP_UPSTREAM_FT_ERROR
                                       |NGX_HTTP_UPSTREAM_FT_TIMEOUT)
           == NGX_OK)
    {
        t->again->next_upstream &= ~NGX_HTTP_UPSTREAM_FT_OFF;

        /* behind a kept connection nginx adds one by itself */

        if (!t->stale) {
            pc->tries = ngx_max(pc->tries, 1);
        }
    }
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
 * There was no answer; returns whether another try is wanted for it: with
 * another key, or with the same one if t->stale.
 */

static ngx_uint_t
ngx_http_sluice_try_failed(ngx_peer_connection_t *pc,
    ngx_http_sluice_try_t *t)
{
    ngx_connection_t  *c;
    sluice_answer_t    answer;

    c = pc->connection;

    /*
     * Closed while it was kept: nobody's fault, and nginx tries again.  What it
     * does not, we have it do once; an upstream that reads the request and
     * closes looks the same, and does it again.
     */

    if (pc->cached && t->u->state->bytes_received == 0
        && !(c != NULL && c->read->timedout))
    {
        if (ngx_http_sluice_try_repeats(t)) {
            t->stale = 1;
            return 0;
        }

        if (!t->spared) {
            t->stale = 1;
            t->spared = ngx_http_sluice_try_wanted(t, SLUICE_ANSWER_ERROR,
                                                NGX_HTTP_SLUICE_NEXT_ERROR);
            return t->spared;
        }
    }

    /* that server's fault, unless none was reached and it was the last one */

    if (!ngx_http_sluice_try_sent(t)) {
        t->unmet = !t->met
                   && !ngx_http_sluice_egress_blamed(t->ctx->egress);
        return 0;
    }

    /* the proxy's, perhaps */

    if (ngx_http_sluice_egress_broken(t->ctx->egress)) {
        return 0;
    }

    /* who waits for the rest of a body has the client to blame, perhaps */

    if (t->request->reading_body) {
        ngx_http_sluice_key_judge(t->request, t->ctx, SLUICE_ANSWER_NONE,
                                  SLUICE_REASON_NONE, 0, SLUICE_NEVER);
        return 0;
    }

    answer = (c != NULL && (c->read->timedout || c->write->timedout))
             ? SLUICE_ANSWER_TIMEOUT : SLUICE_ANSWER_ERROR;

    ngx_http_sluice_key_judge(t->request, t->ctx, answer,
                              SLUICE_REASON_ERRORS, 0, SLUICE_NEVER);

    return ngx_http_sluice_try_wanted(t, answer,
                                      answer == SLUICE_ANSWER_TIMEOUT
                                      ? NGX_HTTP_SLUICE_NEXT_TIMEOUT
                                      : NGX_HTTP_SLUICE_NEXT_ERROR);
}


/* whether nginx goes on by itself when a connection breaks */

static ngx_uint_t
ngx_http_sluice_try_repeats(ngx_http_sluice_try_t *t)
{
    ngx_uint_t  mask;

    mask = NGX_HTTP_UPSTREAM_FT_ERROR;

    if (t->u->request_sent
        && (t->request->method & NGX_HTTP_SLUICE_NON_IDEMPOTENT))
    {
        mask |= NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;
    }

    return (t->real->next_upstream & mask) == mask;
}


/*
 * The answer is not wanted: if all of it is here, nothing more will come, and
 * the connection serves the next try.
 */

static void
ngx_http_sluice_try_keep(ngx_http_upstream_t *u)
{
    if (u->output.output_filter == ngx_chain_writer
        && ngx_http_sluice_is_proxy(u)
        && !u->headers_in.connection_close
        && !u->headers_in.chunked
        && u->headers_in.content_length_n
           == (off_t) (u->buffer.last - u->buffer.pos))
    {
        u->keepalive = 1;
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


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_sluice_try_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_try_t *t = data;

    return t->set_session(pc, t->data);
}


static void
ngx_http_sluice_try_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_try_t *t = data;

    t->save_session(pc, t->data);
}

#endif
