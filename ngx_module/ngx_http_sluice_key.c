
/*
 * A key for a request.  Admission takes it: then it is in flight, its windows
 * are charged, and it cannot be had by another any more; so what makes the
 * request, the getter of $sluice_key, cannot fail.  A response from the cache,
 * or a refusal, gives it back unused.
 */

#include "ngx_http_sluice.h"


static void ngx_http_sluice_key_have(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_key_conf_t *conf);
static uint64_t ngx_http_sluice_key_began(uint64_t now);
static ngx_inline ngx_int_t ngx_http_sluice_key_choose(ngx_http_request_t *r,
    ngx_http_sluice_key_conf_t *conf, sluice_balance_set_t *had,
    ngx_uint_t prefer, bool early, uint64_t now, sluice_balance_hold_t *hold,
    sluice_balance_result_t *result, uint64_t *retry);
static void ngx_http_sluice_key_cleanup(void *data);
static ngx_int_t ngx_http_sluice_key_clone(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf);
static ngx_uint_t ngx_http_sluice_key_names_cache(ngx_http_request_t *r);
static ngx_http_sluice_key_t *ngx_http_sluice_key_of(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_key_denied(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, sluice_answer_t answer,
    sluice_member_reason_t reason, ngx_uint_t status);
static void ngx_http_sluice_key_told(ngx_http_request_t *r,
    ngx_http_sluice_pool_t *pool, ngx_http_sluice_key_t *key, int state,
    sluice_member_reason_t reason, ngx_uint_t status);
static ngx_int_t ngx_http_sluice_key_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_key_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_key_state_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_tries_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_sluice_key_vars[] = {

    { ngx_string("sluice_key"), NULL, ngx_http_sluice_key_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_key_id"), NULL, ngx_http_sluice_key_id_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_key_state"), NULL,
      ngx_http_sluice_key_state_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_tries"), NULL, ngx_http_sluice_tries_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sluice_key_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_key_vars);
}


/* this process has a slot now */

void
ngx_http_sluice_key_start(ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                i;
    ngx_http_sluice_pool_t  **pools;

    pools = smcf->pools.elts;

    /* not all workers are to begin with the first key */

    for (i = 0; i < smcf->pools.nelts; i++) {
        sluice_balance_start(pools[i]->balance, ngx_http_sluice_process.slot,
                             ngx_http_sluice_process.slot);
    }
}


/*
 * Takes a key for what this location asks for, if the request has none of its
 * pool; now: the clock, in microseconds, just read, or 0, and then it is read
 * if it is needed.  NGX_BUSY: none is to be had for *retry milliseconds
 * (UINT64_MAX: nobody knows), or before a place is given back if ctx->full;
 * *status is what to refuse with.  NGX_ERROR: a value that the location needs
 * for it is none.
 */

ngx_int_t
ngx_http_sluice_key_take(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t *now, uint64_t *retry, ngx_uint_t *status)
{
    ngx_int_t                rc;
    ngx_uint_t               prefer;
    sluice_balance_hold_t    hold;
    sluice_balance_result_t  result;
    ngx_http_sluice_pool_t  *pool;

    pool = slcf->key->pool;

    if (ctx->taken && ctx->pool == pool) {
        return NGX_OK;
    }

    /* a redirect keeps its key, unless it was the key that failed */

    prefer = (ctx->key != NULL && ctx->pool == pool && !ctx->failed)
             ? ctx->hold.member : SLUICE_BALANCE_MAX;

    if (ctx->key != NULL) {
        ngx_http_sluice_key_give(ctx);
    }

    *status = NGX_HTTP_SERVICE_UNAVAILABLE;
    ctx->full = 0;

    /* without a slot nothing can be held */

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        *retry = 1000;
        return NGX_BUSY;
    }

    /* given back before the log phase, where no variable may have it */

    if (ctx->cleanup.handler == NULL) {
        ctx->cleanup.handler = ngx_http_sluice_key_cleanup;
        ctx->cleanup.data = ctx;
        ctx->cleanup.next = r->main->cleanup;
        r->main->cleanup = &ctx->cleanup;
    }

    /* an estimate must be a number, whatever is done with it */

    if (prefer == SLUICE_BALANCE_MAX && slcf->key->tokens == NULL
        && sluice_balance_next(pool->balance,
                               ngx_http_sluice_key_began(*now), &ctx->hold))
    {
        ngx_http_sluice_key_have(ctx, slcf->key);
        return NGX_OK;
    }

    if (*now == 0) {
        *now = sluice_clock_us();
    }

    /*
     * Not over the last one's hold: what that was charged may still be settled.
     * Who waits has time, and leaves early tries to who would be refused.
     */

    rc = ngx_http_sluice_key_choose(r, slcf->key, NULL, prefer, !ctx->waits,
                                    *now / 1000, &hold, &result, retry);
    if (rc != NGX_OK) {

        if (rc == NGX_BUSY) {
            ctx->full = (result == SLUICE_BALANCE_FULL);

            if (result == SLUICE_BALANCE_COOLING) {
                *status = NGX_HTTP_TOO_MANY_REQUESTS;
            }
        }

        return rc;
    }

    ctx->hold = hold;
    ngx_http_sluice_key_have(ctx, slcf->key);

    return NGX_OK;
}


/*
 * When a try begins, or some time before.  nginx's own clock, where it is the
 * same one, costs nothing to read; timer_resolution may make it a second old.
 */

static uint64_t
ngx_http_sluice_key_began(uint64_t now)
{
#if (NGX_HAVE_CLOCK_MONOTONIC)

    return now ? now / 1000 : ngx_current_msec;

#else

    return now ? now / 1000 : sluice_clock_ms();

#endif
}


/* the request holds a key for that now, and nothing has been tried yet */

static void
ngx_http_sluice_key_have(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_key_conf_t *conf)
{
    ngx_http_sluice_key_t  *keys;

    keys = conf->pool->keys.elts;

    ctx->key_conf = conf;
    ctx->pool = conf->pool;
    ctx->key = &keys[ctx->hold.member];

    ctx->taken = 1;
    ctx->charged = 1;
    ctx->tried = 0;
    ctx->sent = 0;
    ctx->judged = 0;
    ctx->failed = 0;
}


static ngx_inline ngx_int_t
ngx_http_sluice_key_choose(ngx_http_request_t *r,
    ngx_http_sluice_key_conf_t *conf, sluice_balance_set_t *had,
    ngx_uint_t prefer, bool early, uint64_t now, sluice_balance_hold_t *hold,
    sluice_balance_result_t *result, uint64_t *retry)
{
    uint64_t  hash, tokens;

    tokens = 0;

    if (ngx_http_sluice_pool_hash(r, conf->pool->hash, &hash) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->tokens != NULL
        && ngx_http_sluice_amount(r, conf->tokens,
                                  "an estimate of tokens must be a number, "
                                  "not", &tokens)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    *result = sluice_balance_take(conf->pool->balance, had, prefer, hash,
                                  tokens, conf->pool->policy.probe, early,
                                  now, hold, retry);

    return (*result == SLUICE_BALANCE_TAKEN) ? NGX_OK : NGX_BUSY;
}


/* another key for another try; `had` are those that this request has tried */

ngx_int_t
ngx_http_sluice_key_next(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    sluice_balance_set_t *had, sluice_balance_hold_t *hold)
{
    uint64_t                 retry;
    sluice_balance_result_t  result;

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return NGX_BUSY;
    }

    return ngx_http_sluice_key_choose(r, ctx->key_conf, had,
                                      SLUICE_BALANCE_MAX, true,
                                      sluice_clock_ms(), hold, &result,
                                      &retry);
}


/* from here on the request has that one, and the one before is given back */

void
ngx_http_sluice_key_switch(ngx_http_sluice_ctx_t *ctx,
    sluice_balance_hold_t *hold)
{
    ngx_http_sluice_key_give(ctx);

    ctx->hold = *hold;
    ngx_http_sluice_key_have(ctx, ctx->key_conf);
}


/*
 * The same one for another try: to its upstream that is another request.
 * NGX_BUSY: its windows have no room for it.
 */

ngx_int_t
ngx_http_sluice_key_again(ngx_http_sluice_ctx_t *ctx)
{
    if (ngx_http_sluice_process.slot == SLUICE_SLOTS
        || !sluice_balance_again(ctx->pool->balance, &ctx->hold,
                                 sluice_clock_ms()))
    {
        return NGX_BUSY;
    }

    ctx->charged = 1;
    ctx->sent = 0;

    return NGX_OK;
}


/* of the tokens that its windows were charged none were used */

void
ngx_http_sluice_key_unused(ngx_http_sluice_ctx_t *ctx)
{
    if (!ctx->charged || ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    ctx->charged = 0;

    sluice_balance_settle(ctx->pool->balance, &ctx->hold, 0,
                          sluice_clock_ms());
}


void
ngx_http_sluice_key_judge(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    sluice_answer_t answer, sluice_member_reason_t reason, ngx_uint_t status,
    uint64_t hint)
{
    int  state;

    if (ctx->judged) {
        return;
    }

    ctx->judged = 1;
    ctx->failed = (answer > SLUICE_ANSWER_NONE);

    /* the client's own mistake may repeat his words; a 429 is never one */

    if ((answer == SLUICE_ANSWER_DENIED
         || (reason == SLUICE_REASON_BODY
             && status != NGX_HTTP_TOO_MANY_REQUESTS))
        && ngx_http_sluice_key_denied(r, ctx, answer, reason, status)
           == NGX_OK)
    {
        return;
    }

    /* now it is known whom the denials before it are to be blamed on */

    if (answer == SLUICE_ANSWER_WELL || answer == SLUICE_ANSWER_CLIENT) {
        ctx->allowed = 1;
        ctx->well |= (answer == SLUICE_ANSWER_WELL);

        if (ctx->denied != NULL) {
            ngx_http_sluice_key_blame(ctx);
        }
    }

    if (answer == SLUICE_ANSWER_WELL && sluice_member_fine(ctx->key->line)) {
        return;
    }

    state = sluice_member_answer(ctx->key->line, &ctx->pool->policy,
                                 &ctx->hold.try, answer, reason, status,
                                 hint, sluice_clock_ms());

    if (state != -1) {
        ngx_http_sluice_key_told(r, ctx->pool, ctx->key, state, reason,
                                 status);
    }
}


/* what was judged well has ended short */

void
ngx_http_sluice_key_cut(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    sluice_answer_t answer, ngx_uint_t status)
{
    int  state;

    state = sluice_member_cut(ctx->key->line, &ctx->pool->policy,
                              &ctx->hold.try, answer, status,
                              sluice_clock_ms());

    if (state != -1) {
        ngx_http_sluice_key_told(r, ctx->pool, ctx->key, state,
                                 SLUICE_REASON_ERRORS, status);
    }
}


/* NGX_ERROR: there is no memory to put it off */

static ngx_int_t
ngx_http_sluice_key_denied(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    sluice_answer_t answer, sluice_member_reason_t reason, ngx_uint_t status)
{
    ngx_http_sluice_denied_t  *denied;

    if (ctx->denied == NULL) {
        ctx->denied = ngx_array_create(r->pool, 2,
                                       sizeof(ngx_http_sluice_denied_t));
        if (ctx->denied == NULL) {
            return NGX_ERROR;
        }
    }

    denied = ngx_array_push(ctx->denied);
    if (denied == NULL) {
        return NGX_ERROR;
    }

    denied->pool = ctx->pool;
    denied->key = ctx->key;
    denied->try = ctx->hold.try;
    denied->answer = answer;
    denied->reason = reason;
    denied->status = status;

    return NGX_OK;
}


/*
 * A request may be one that no key is good for: a client that asks for what the
 * account may not have would have its keys disabled, one by one, and whose
 * words come back in an error would have them exhausted.  So a 403 counts
 * against a key if another one was let through with the same request; what a
 * body says beside 400 or 403, if another one's answer was well: an error may
 * be the same one in other words; and a 401 if no other one was denied besides,
 * which a 400 is not: who answers that has let the key in.  Else the key is
 * doubted, and another request that it refuses is tried with one that is not.
 * There is ctx->denied.
 */

void
ngx_http_sluice_key_blame(ngx_http_sluice_ctx_t *ctx)
{
    int                        state;
    uint64_t                   now;
    ngx_uint_t                 i, n, counts;
    sluice_answer_t            answer;
    ngx_http_sluice_denied_t  *denied;

    if (ctx->denied->nelts == 0) {
        return;
    }

    denied = ctx->denied->elts;
    now = sluice_clock_ms();

    for (i = 0, n = 0; i < ctx->denied->nelts; i++) {
        n += (denied[i].status != NGX_HTTP_BAD_REQUEST);
    }

    for (i = 0; i < ctx->denied->nelts; i++) {

        counts = (denied[i].answer != SLUICE_ANSWER_DENIED)
                 ? ctx->well
                 : ctx->allowed
                   || (n == 1 && denied[i].status != NGX_HTTP_FORBIDDEN);

        answer = counts ? denied[i].answer : SLUICE_ANSWER_CLIENT;

        if (!counts) {
            sluice_member_doubt(denied[i].key->line, now);
        }

        state = sluice_member_answer(denied[i].key->line,
                                     &denied[i].pool->policy, &denied[i].try,
                                     answer, denied[i].reason,
                                     denied[i].status, SLUICE_NEVER, now);

        if (state != -1) {
            ngx_http_sluice_key_told(ctx->request, denied[i].pool,
                                     denied[i].key, state, denied[i].reason,
                                     denied[i].status);
        }
    }

    ctx->denied->nelts = 0;
}


static void
ngx_http_sluice_key_told(ngx_http_request_t *r, ngx_http_sluice_pool_t *pool,
    ngx_http_sluice_key_t *key, int state, sluice_member_reason_t reason,
    ngx_uint_t status)
{
    u_char                 *p;
    uint64_t                now;
    ngx_uint_t              level;
    sluice_member_status_t  ms;
    u_char                  after[NGX_INT_T_LEN + 64];

    level = (state == SLUICE_MEMBER_DISABLED
             || state == SLUICE_MEMBER_EXHAUSTED) ? NGX_LOG_ERR
            : (state == SLUICE_MEMBER_HEALTHY) ? NGX_LOG_NOTICE
                                               : NGX_LOG_WARN;

    sluice_member_status(sluice_load16(&key->line->state), &ms);
    now = sluice_clock_ms();

    p = ngx_sprintf(after, reason == SLUICE_REASON_ERRORS
                           ? "errors, the last with " : "");

    p = status ? ngx_sprintf(p, "status %ui", status)
               : ngx_sprintf(p, "no answer");

    if (reason == SLUICE_REASON_BODY) {
        p = ngx_sprintf(p, " and a body that says so");

    } else if (reason == SLUICE_REASON_ERRORS && status
               && status < NGX_HTTP_SLUICE_STATUS_MIN)
    {
        p = ngx_sprintf(p, " and no end");
    }

    if (ms.until > now && ms.until != SLUICE_NEVER) {
        ngx_log_error(level, r->connection->log, 0,
                      "key \"%V\" of pool \"%V\" is %s for %uL seconds after "
                      "%*s", &key->id, &pool->named.name,
                      sluice_member_state_name(state),
                      (ms.until - now + 999) / 1000,
                      (size_t) (p - after), after);
        return;
    }

    ngx_log_error(level, r->connection->log, 0,
                  "key \"%V\" of pool \"%V\" is %s after %*s",
                  &key->id, &pool->named.name,
                  sluice_member_state_name(state), (size_t) (p - after),
                  after);
}


/* gives one back that nothing was sent with */

void
ngx_http_sluice_key_drop(ngx_http_sluice_ctx_t *ctx,
    sluice_balance_hold_t *hold)
{
    ngx_http_sluice_key_t  *keys;

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    keys = ctx->pool->keys.elts;

    sluice_member_forgo(keys[hold->member].line, &hold->try);

    sluice_balance_refund(ctx->pool->balance, hold, sluice_clock_ms());
    sluice_balance_give(ctx->pool->balance, hold);
}


/* safe to do twice; what the windows were charged stays for what was sent */

void
ngx_http_sluice_key_give(ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->try != NULL) {
        ngx_http_sluice_try_end(ctx->try);
    }

    if (!ctx->taken) {
        return;
    }

    ctx->taken = 0;

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    if (!ctx->tried) {
        sluice_member_forgo(ctx->key->line, &ctx->hold.try);

    } else if (!ctx->judged) {
        ngx_http_sluice_key_judge(ctx->request, ctx, SLUICE_ANSWER_NONE,
                                  SLUICE_REASON_NONE, 0, SLUICE_NEVER);
    }

    if (!ctx->sent && ctx->charged) {
        sluice_balance_refund(ctx->pool->balance, &ctx->hold,
                              sluice_clock_ms());
        ctx->charged = 0;
    }

    sluice_balance_give(ctx->pool->balance, &ctx->hold);
}


static void
ngx_http_sluice_key_cleanup(void *data)
{
    ngx_http_sluice_ctx_t *ctx = data;

    ngx_http_sluice_key_give(ctx);

    if (ctx->denied != NULL) {
        ngx_http_sluice_key_blame(ctx);
    }
}


/*
 * In the log phase, of what was charged by a location with settle=: what was
 * used is known now, or never will be.
 */

void
ngx_http_sluice_key_settle(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    off_t      n;
    ngx_str_t  text;

    if (!ctx->sent || ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    if (ngx_http_sluice_cached(r)) {
        ngx_http_sluice_key_unused(ctx);
        return;
    }

    if (ctx->key_conf->settle == NULL
        || ngx_http_sluice_value(r, ctx->key_conf->settle, &text) != NGX_OK)
    {
        return;
    }

    n = ngx_atoof(text.data, text.len);

    if (n == NGX_ERROR) {
        return;
    }

    ctx->charged = 0;

    sluice_balance_settle(ctx->pool->balance, &ctx->hold, (uint64_t) n,
                          sluice_clock_ms());
}


/*
 * A clone (a slice, an update of the cache) has run no phases of its own: it
 * asks for its key when it is on its way.
 */

static ngx_int_t
ngx_http_sluice_key_clone(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf)
{
    uint64_t                now, retry;
    ngx_int_t               rc;
    ngx_uint_t              status;
    ngx_http_sluice_ctx_t  *ctx, *parent;

    parent = ngx_http_sluice_get_ctx(r->parent);

    if (parent == NULL
        || (parent->pool != slcf->key->pool
            && (parent->lack == NULL
                || parent->lack->pool != slcf->key->pool)))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_sluice_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    now = 0;

    rc = ngx_http_sluice_key_take(r, slcf, ctx, &now, &retry, &status);

    if (rc == NGX_BUSY
        && ngx_http_sluice_lack(r, slcf, ctx, status, retry) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return rc;
}


/* whether what asks is the key that the cache has its answers under */

static ngx_uint_t
ngx_http_sluice_key_names_cache(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)

    return r->cache != NULL && r->cache->header_start == 0;

#else

    return 0;

#endif
}


/*
 * There is one only while a request to an upstream is being made: neither a
 * log nor a header of the answer can have it.
 */

static ngx_int_t
ngx_http_sluice_key_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_loc_conf_t  *slcf;

    v->not_found = 1;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (slcf->key == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL && r != r->main && r->upstream != NULL
        && ngx_http_sluice_key_clone(r, slcf) != NGX_DECLINED)
    {
        ctx = ngx_http_sluice_get_ctx(r);
    }

    /* the file of the answer has it in its head */

    if (ngx_http_sluice_key_names_cache(r)) {
        ngx_http_sluice_complain(r, "a cache's key has $sluice_key, and is "
                                 "without it: pool",
                                 &slcf->key->pool->named.name);
        return NGX_OK;
    }

    /* refused by peer.init; where there is none it must not get anywhere */

    if (ctx != NULL && !ctx->taken && ctx->lack != NULL
        && ctx->lack->pool == slcf->key->pool && r->upstream != NULL)
    {
        ngx_http_sluice_try_stop(r->upstream);
        return NGX_OK;
    }

    if (ctx == NULL || ctx->pool != slcf->key->pool || r->upstream == NULL) {

        /* "set" copies it before there is one, and that goes out */

        if (ctx == NULL || ctx->try == NULL) {
            ngx_http_sluice_complain(r, "$sluice_key was asked for before "
                                     "admission, and is empty: pool",
                                     &slcf->key->pool->named.name);
        }

        return NGX_OK;
    }

    if (ngx_http_sluice_try_begin(r, ctx) != NGX_OK) {
        return NGX_OK;
    }

    v->not_found = 0;
    ngx_http_sluice_set_value(v, &ctx->key->secret);

    return NGX_OK;
}


/*
 * The key that the request goes out with, or went last; a response from the
 * cache has none.
 */

static ngx_http_sluice_key_t *
ngx_http_sluice_key_of(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL) {
        return NULL;
    }

    if (ctx->taken && r->upstream != NULL && !r->cached) {
        return ctx->key;
    }

    return ctx->ntries ? ctx->tries[ctx->ntries - 1].key : NULL;
}


static ngx_int_t
ngx_http_sluice_key_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_key_t  *key;

    key = ngx_http_sluice_key_of(r);

    if (key == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, &key->id);

    return NGX_OK;
}


/* as it is now */

static ngx_int_t
ngx_http_sluice_key_state_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_key_t  *key;
    sluice_member_status_t  status;

    key = ngx_http_sluice_key_of(r);

    if (key == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    sluice_member_status(sluice_load16(&key->line->state), &status);

    ngx_http_sluice_set_text(v, sluice_member_state_name(
                                    sluice_member_state(&status,
                                                        sluice_clock_ms())));

    return NGX_OK;
}


/* with a key of ours, over all upstreams of the request */

static ngx_int_t
ngx_http_sluice_tries_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL || ctx->ntries == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_sluice_set_number(r, v, ctx->ntries);
}
