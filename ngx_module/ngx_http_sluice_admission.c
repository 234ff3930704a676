
/*
 * Admission: one handler in the precontent phase, after everything that may
 * end a request otherwise.  A request needs, in this order, a well key, room
 * for its record, and its limits; what it holds is in a context that finds
 * its way through redirects and is given back by a cleanup.
 */

#include "ngx_http_sluice_key_try.h"


/*
 * ms between two looks: for a place that nobody can tell the time of, and for
 * a key that another request, or the operator, may find well before its time
 */
#define NGX_HTTP_SLUICE_WAIT_PLACE  50
#define NGX_HTTP_SLUICE_WAIT_KEY    250


typedef struct ngx_http_sluice_room_s  ngx_http_sluice_room_t;

/*
 * A context, and what nearly every request has besides.  On r->pool it would
 * be what a block of 4 KB more is allocated for.  So they are the worker's, and
 * are used again: there are as many as it ever had requests at once.
 */
struct ngx_http_sluice_room_s {
    union {
        ngx_http_sluice_ctx_t    ctx;
        ngx_http_sluice_room_t  *next;              /* while it is free      */
    } u;

    ngx_http_sluice_try_t        try;
    ngx_http_sluice_charge_t     charges[NGX_HTTP_SLUICE_CHARGES];
};


static ngx_int_t ngx_http_sluice_admit(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx);
static ngx_int_t ngx_http_sluice_no_peer(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_sluice_refused(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_outcome_t outcome, ngx_uint_t status, uint64_t retry);
static ngx_int_t ngx_http_sluice_wait(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t retry);
static void ngx_http_sluice_wait_handler(ngx_http_request_t *r);
static void ngx_http_sluice_cleanup(void *data);
static ngx_http_sluice_room_t *ngx_http_sluice_get_room(ngx_log_t *log);
static void ngx_http_sluice_free_room(ngx_http_sluice_room_t *room);


static ngx_http_sluice_room_t  *ngx_http_sluice_rooms;


ngx_int_t
ngx_http_sluice_admission_handler(ngx_http_request_t *r)
{
    uint64_t                     now, retry;
    ngx_uint_t                   status;
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (slcf->key == NULL && slcf->limits == NULL && slcf->conns == NULL
        && !slcf->usage)
    {
        /* an upstream that answers a refusal has a Retry-After of its own */

        if (r->internal && r == r->main && r->content_handler != NULL) {
            ngx_http_sluice_refuse_undo(r);
        }

        return NGX_DECLINED;
    }

    ctx = ngx_http_sluice_get_ctx(r);

    /*
     * Subrequests need a key, and count for nothing else; and a file is asked
     * of no upstream.
     */

    if (r != r->main && (slcf->key == NULL || r->content_handler == NULL)) {
        return NGX_DECLINED;
    }

    /*
     * The page of a refusal is free, and that of an error that came before us:
     * a request that was denied is not admitted by it, and charges nobody.
     * What goes to an upstream instead is not.
     */

    if (r->content_handler == NULL
        && ((ctx == NULL || ctx->outcome == SLUICE_OUTCOME_OPEN)
            ? r->internal && r->err_status >= NGX_HTTP_BAD_REQUEST
            : ctx->outcome != SLUICE_OUTCOME_ADMITTED))
    {
        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        ctx = ngx_http_sluice_create_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (r != r->main) {
        now = 0;

        switch (ngx_http_sluice_key_take(r, slcf, ctx, &now, &retry, &status))
        {

        case NGX_OK:
            return NGX_DECLINED;

        case NGX_BUSY:
            return status;

        default:
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_sluice_admit(r, slcf, ctx);
}


/*
 * A redirect brings an admitted request here again.  It is recorded and
 * charged once, by the first location that asks for it, but what none has
 * asked for before is still to be done: a location that was reached by
 * try_files limits as well as any.
 */

static ngx_int_t
ngx_http_sluice_admit(ngx_http_request_t *r, ngx_http_sluice_loc_conf_t *slcf,
    ngx_http_sluice_ctx_t *ctx)
{
    uint64_t                      now, retry;
    ngx_int_t                     rc, key;
    ngx_uint_t                    first, status;
    ngx_http_sluice_zones_t       held;
    ngx_http_sluice_main_conf_t  *smcf;

    /* what a refusal would have been charged is not this location's */

    ctx->ncharges -= ctx->foreseen;
    ctx->foreseen = 0;

    /* one reading for the record, for the limits, and for the key if need be */

    now = (slcf->usage || slcf->limits != NULL) ? sluice_clock_us() : 0;

    retry = 0;
    status = 0;
    key = NGX_OK;

    if (slcf->limit_headers && ctx->told == NULL) {
        ctx->told = slcf;
    }

    /* who has been to an upstream may end at a file: it costs no other key */

    if (slcf->key != NULL && slcf->key->pool != ctx->refused_pool
        && (ctx->ntries == 0 || r->content_handler != NULL))
    {

        key = ngx_http_sluice_key_take(r, slcf, ctx, &now, &retry, &status);

        if (key == NGX_BUSY
            && ngx_http_sluice_wait(r, slcf, ctx, retry) == NGX_OK)
        {
            return NGX_AGAIN;
        }

        ctx->waits = 0;

        if (key == NGX_BUSY && (slcf->cached & r->method)
            && r->content_handler != NULL)
        {
            key = ngx_http_sluice_lack(r, slcf, ctx, status, retry);
            retry = 0;
        }
    }

    /* before the refusal for a key: that one is recorded, too */

    if (slcf->usage && ctx->conf == NULL) {
        ctx->conf = slcf;
        rc = ngx_http_sluice_usage_open(r, slcf, ctx, now);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (rc == NGX_BUSY) {
            smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);

            ngx_http_sluice_count(REFUSED_RECORD);
            ngx_http_sluice_complain(r, "refusing request, no room for its "
                                     "record in", &smcf->path);

            ngx_http_sluice_key_give(ctx);

            ctx->outcome = SLUICE_OUTCOME_ERROR;
            ctx->conf = NULL;       /* a redirect to an upstream asks again */

            retry = 1000;
            ngx_http_sluice_limit_foresee(r, slcf, ctx, now / 1000, &retry);

            return ngx_http_sluice_refuse(r, slcf, SLUICE_OUTCOME_OPEN, 0,
                                          retry);
        }

    } else if (ctx->entry != NULL && !ctx->client.known) {

        if (ngx_http_sluice_client_get(r, slcf, &ctx->client) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (ctx->client.known) {
            (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_CLIENT,
                                     ctx->client.text,
                                     NGX_HTTP_SLUICE_CLIENT_LEN);
        }
    }

    if (key != NGX_OK) {
        ngx_http_sluice_limit_foresee(r, slcf, ctx, now / 1000, &retry);

        return ngx_http_sluice_refused(r, slcf, ctx,
                                       key == NGX_BUSY ? SLUICE_OUTCOME_KEY
                                                       : SLUICE_OUTCOME_ERROR,
                                       status, retry);
    }

    /* what cannot leave without a proxy costs nobody anything */

    if (slcf->proxies != NULL && r->content_handler != NULL
        && ngx_http_sluice_proxy_look(slcf, &retry) != NGX_OK)
    {
        ngx_http_sluice_key_give(ctx);
        ngx_http_sluice_limit_foresee(r, slcf, ctx, now / 1000, &retry);

        return ngx_http_sluice_refused(r, slcf, ctx, SLUICE_OUTCOME_PROXY, 0,
                                       retry);
    }

    /* places before charges: they are given back as if never taken */

    first = ctx->nplaces;
    held = ctx->held;
    rc = NGX_OK;

    if (slcf->conns != NULL) {
        rc = ngx_http_sluice_conn_take(r, slcf, ctx, &retry);

        if (rc == NGX_BUSY) {
            ngx_http_sluice_limit_foresee(r, slcf, ctx, now / 1000, &retry);
        }
    }

    if (rc == NGX_OK && slcf->limits != NULL) {
        rc = ngx_http_sluice_limit_charge(r, slcf, ctx, now / 1000,
                                          &retry);
    }

    if (rc != NGX_OK) {
        ngx_http_sluice_conn_give(ctx, first);
        ngx_http_sluice_key_give(ctx);

        if (rc == NGX_ERROR) {
            ctx->nplaces = first;       /* as with charges: nothing is told */
            ctx->held = held;           /* ... and another location decides */
        }

        return ngx_http_sluice_refused(r, slcf, ctx,
                                       rc == NGX_BUSY ? SLUICE_OUTCOME_LIMIT
                                                      : SLUICE_OUTCOME_ERROR,
                                       ctx->refused_status, retry);
    }

    if (ctx->outcome == SLUICE_OUTCOME_OPEN) {

        if (ctx->lack == NULL) {
            ngx_http_sluice_count(ADMITTED);
        }

        ctx->outcome = SLUICE_OUTCOME_ADMITTED;

    } else if (ctx->outcome != SLUICE_OUTCOME_ADMITTED) {
        ngx_http_sluice_refuse_undo(r);
    }

    return NGX_DECLINED;
}


/* what is in the cache needs no key; else it is refused after all, late */

ngx_int_t
ngx_http_sluice_lack(ngx_http_request_t *r, ngx_http_sluice_loc_conf_t *slcf,
    ngx_http_sluice_ctx_t *ctx, ngx_uint_t status, uint64_t retry)
{
    ngx_http_sluice_lack_t  *lack;

    lack = ngx_palloc(r->pool, sizeof(ngx_http_sluice_lack_t));
    if (lack == NULL) {
        return NGX_ERROR;
    }

    lack->pool = slcf->key->pool;
    lack->status = status;
    lack->retry = retry;
    lack->outcome = ctx->outcome;
    lack->decided = ctx->decided;
    lack->held = ctx->held;
    lack->ncharges = ctx->ncharges;
    lack->nplaces = ctx->nplaces;

    ctx->lack = lack;

    return NGX_OK;
}


/*
 * Where nginx is about to go to an upstream for a request that has no key.
 * NGX_OK: what has expired is better than nothing; NGX_ERROR: the request has
 * got its refusal.
 */

ngx_int_t
ngx_http_sluice_admission_late(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx)
{
    uint64_t                     retry;
    ngx_int_t                    rc;
    ngx_http_upstream_t         *u;
    ngx_http_sluice_lack_t      *lack;
    ngx_http_sluice_loc_conf_t  *slcf;

    u = r->upstream;

    if (ngx_http_sluice_stale(r)) {
        u->peer.get = ngx_http_sluice_no_peer;
        return NGX_OK;
    }

    lack = ctx->lack;

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "refusing subrequest, no key of pool \"%V\" is well",
                      &lack->pool->named.name);
        return NGX_ERROR;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    ngx_http_sluice_limit_undo(ctx, lack->ncharges);
    ngx_http_sluice_conn_give(ctx, lack->nplaces);

    /* as if it had come to none of them: what answers instead is to be */

    ctx->outcome = lack->outcome;
    ctx->decided = lack->decided;
    ctx->held = lack->held;
    ctx->ncharges = lack->ncharges;
    ctx->nplaces = lack->nplaces;
    ctx->lack = NULL;

    retry = lack->retry;
    ngx_http_sluice_limit_foresee(r, slcf, ctx, sluice_clock_ms(), &retry);

    /* one is the cleanup's, one is the caller's, who finds it finalized */

    r->main->count += 2;

    (*u->cleanup)(r);

    rc = ngx_http_sluice_refused(r, slcf, ctx, SLUICE_OUTCOME_KEY,
                                 lack->status, retry);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_sluice_no_peer(ngx_peer_connection_t *pc, void *data)
{
    return NGX_BUSY;
}


static ngx_int_t
ngx_http_sluice_refused(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_outcome_t outcome, ngx_uint_t status, uint64_t retry)
{
    ngx_uint_t                i, admitted;
    ngx_http_sluice_conn_t   *conn;
    ngx_http_sluice_limit_t  *limit;

    admitted = (ctx->outcome == SLUICE_OUTCOME_ADMITTED);
    ctx->outcome = outcome;

    switch (outcome) {

    case SLUICE_OUTCOME_LIMIT:

        /* the page that answers it is not asked again for what it inherits */

        for (i = 0; slcf->limits != NULL && i < slcf->limits->nelts; i++) {
            limit = slcf->limits->elts;
            ngx_http_sluice_add_zone(&ctx->decided, &limit[i]);
        }

        for (i = 0; slcf->conns != NULL && i < slcf->conns->nelts; i++) {
            conn = slcf->conns->elts;
            ngx_http_sluice_add_zone(&ctx->held, &conn[i]);
        }

        ngx_http_sluice_count(REFUSED_LIMIT);
        ngx_http_sluice_limit_log(r, ctx->refused_by, ctx->refused_charge, "");
        break;

    case SLUICE_OUTCOME_PROXY:
        ngx_http_sluice_count(REFUSED_PROXY);
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "refusing request, no proxy of pool \"%V\" can be "
                      "had",
                      ngx_http_sluice_proxy_pool_name(slcf));
        break;

    case SLUICE_OUTCOME_KEY:
        ctx->refused_pool = slcf->key->pool;

        if (ctx->entry != NULL && ctx->ntries == 0) {
            (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_POOL,
                                     slcf->key->pool->named.name.data,
                                     slcf->key->pool->named.name.len);
        }

        ngx_http_sluice_count(REFUSED_KEY);
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "refusing request, no key of pool \"%V\" is well",
                      &slcf->key->pool->named.name);
        break;

    default:
        ngx_http_sluice_count(REFUSED_ERROR);
    }

    /* what was admitted may have been to an upstream: that record stays */

    if (!slcf->usage_refused && !admitted) {
        ngx_http_sluice_usage_cancel(ctx);
    }

    return ngx_http_sluice_refuse(r, slcf, outcome,
                                  outcome == SLUICE_OUTCOME_ERROR ? 0 : status,
                                  retry);
}


/*
 * For a key, where the location has time for it: until the first one is said to
 * be well, or there is a place.  NGX_DECLINED: that is not so in time.
 */

static ngx_int_t
ngx_http_sluice_wait(ngx_http_request_t *r, ngx_http_sluice_loc_conf_t *slcf,
    ngx_http_sluice_ctx_t *ctx, uint64_t retry)
{
    ngx_msec_t  spent, step;

    if (slcf->key->wait == 0) {
        return NGX_DECLINED;
    }

    if (!ctx->waits) {
        ctx->waits = 1;
        ctx->waiting = ngx_current_msec;
    }

    spent = ngx_current_msec - ctx->waiting;

    if (spent >= slcf->key->wait
        || (!ctx->full && retry > slcf->key->wait - spent))
    {
        return NGX_DECLINED;
    }

    step = ctx->full ? NGX_HTTP_SLUICE_WAIT_PLACE : NGX_HTTP_SLUICE_WAIT_KEY;
    step = ngx_min(step, slcf->key->wait - spent);

    /* as ngx_http_limit_req_handler() does */

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_DECLINED;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_sluice_wait_handler;

    r->connection->write->delayed = 1;
    ngx_add_timer(r->connection->write, ngx_max(ngx_min(retry, step), 1));

    return NGX_OK;
}


static void
ngx_http_sluice_wait_handler(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->delayed) {

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


/*
 * A redirect has zeroed r->ctx.  The pool is the main request's, so the
 * contexts of subrequests are there as well, and tell whose they are.
 */

ngx_http_sluice_ctx_t *
ngx_http_sluice_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_sluice_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_sluice_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {
            ngx_http_set_ctx(r, ctx, ngx_http_sluice_module);
            return ctx;
        }
    }

    return NULL;
}


ngx_http_sluice_ctx_t *
ngx_http_sluice_create_ctx(ngx_http_request_t *r)
{
    volatile size_t          size;
    ngx_pool_cleanup_t      *cln;
    ngx_http_sluice_ctx_t   *ctx;
    ngx_http_sluice_room_t  *room;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    room = ngx_http_sluice_get_room(r->connection->log);
    if (room == NULL) {
        return NULL;
    }

    /* that the compiler does not know it: its "rep stos" is slow to begin */

    size = offsetof(ngx_http_sluice_room_t, charges);

    ngx_memzero(room, size);

    ctx = &room->u.ctx;
    ctx->request = r;
    ctx->outcome = SLUICE_OUTCOME_OPEN;
    ctx->spare = &room->try;
    ctx->charges = room->charges;

    cln->handler = ngx_http_sluice_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_sluice_module);

    return ctx;
}


/* pool cleanups run after the log phase: whatever is still held goes back */

static void
ngx_http_sluice_cleanup(void *data)
{
    ngx_http_sluice_ctx_t *ctx = data;

    if (ctx->egress != NULL) {
        ngx_http_sluice_egress_end(ctx->egress);
    }

    ngx_http_sluice_conn_give(ctx, 0);

    /* the cache had it after all */

    if (ctx->lack != NULL && ctx->lack->outcome == SLUICE_OUTCOME_OPEN
        && ctx->outcome == SLUICE_OUTCOME_ADMITTED)
    {
        ngx_http_sluice_count(ADMITTED);
    }

    ngx_http_sluice_usage_push(ctx);

    ngx_http_sluice_free_room((ngx_http_sluice_room_t *) ctx);
}


static ngx_http_sluice_room_t *
ngx_http_sluice_get_room(ngx_log_t *log)
{
    ngx_http_sluice_room_t  *room;

    room = ngx_http_sluice_rooms;

    if (room == NULL) {
        return ngx_memalign(ngx_cacheline_size,
                            sizeof(ngx_http_sluice_room_t), log);
    }

    ngx_http_sluice_rooms = room->u.next;

    return room;
}


static void
ngx_http_sluice_free_room(ngx_http_sluice_room_t *room)
{
#if (NGX_DEBUG_PALLOC || __SANITIZE_ADDRESS__)

    /* who comes to it too late is to be seen */

    ngx_free(room);

#else

    room->u.next = ngx_http_sluice_rooms;
    ngx_http_sluice_rooms = room;

#endif
}
