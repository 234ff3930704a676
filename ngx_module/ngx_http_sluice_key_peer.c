
/*
 * A try and the servers: what stands around the balancer.  peer.init is wrapped
 * for every upstream, and puts hooks of ours around the balancer's own: free()
 * for the tries that got no answer, get() for the next one, with the next key
 * if there is one.
 */

#include "ngx_http_sluice_key_try.h"


typedef struct {
    ngx_http_upstream_srv_conf_t   *upstream;
    ngx_http_upstream_init_peer_pt  init;
} ngx_http_sluice_upstream_t;


static ngx_http_upstream_init_peer_pt ngx_http_sluice_try_wrapped(
    ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_try_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_try_get(ngx_peer_connection_t *pc, void *data);
static ngx_uint_t ngx_http_sluice_try_sent(ngx_http_sluice_try_t *t);
static ngx_int_t ngx_http_sluice_try_move(ngx_http_sluice_try_t *t);
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
static void ngx_http_sluice_try_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type);
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
    ngx_http_sluice_ctx_t           *ctx;
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
        ctx = ngx_http_sluice_get_ctx(r);

        if (ctx != NULL && !ctx->taken && ctx->lack != NULL) {
            return ngx_http_sluice_admission_late(r, ctx);
        }

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

void
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


/* a try begins: it belongs to the last one of r->upstream_states */

ngx_int_t
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


static void
ngx_http_sluice_try_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_sluice_try_t *t = data;

    t->notify(pc, t->data, type);
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
