
/*
 * Proxies: in their pool's file, judged by what they did, and told of in
 * records and variables.
 */

#include "ngx_http_sluice_egress.h"


static uint64_t ngx_http_sluice_proxy_fingerprint(sluice_pool_t *pool,
    ngx_http_sluice_proxy_t *proxy);
static ngx_http_sluice_passage_t *ngx_http_sluice_proxy_last(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_proxy_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_proxy_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_proxy_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_proxy_tries_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_sluice_proxy_vars[] = {

    { ngx_string("sluice_proxy_id"), NULL, ngx_http_sluice_proxy_id_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_proxy_time"), NULL,
      ngx_http_sluice_proxy_time_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_proxy_result"), NULL,
      ngx_http_sluice_proxy_result_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_proxy_tries"), NULL,
      ngx_http_sluice_proxy_tries_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_str_t  ngx_http_sluice_direct = ngx_string("direct");


ngx_int_t
ngx_http_sluice_proxy_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_proxy_vars);
}


/* finds the proxies' lines */

ngx_int_t
ngx_http_sluice_proxy_open(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    uint64_t                        fp;
    ngx_uint_t                      i, n;
    sluice_balance_conf_t          *member;
    ngx_http_sluice_proxy_t        *proxy;
    ngx_http_sluice_proxy_pool_t   *pool, **pools;

    pools = smcf->proxy_pools.elts;

    for (i = 0; i < smcf->proxy_pools.nelts; i++) {
        pool = pools[i];

        if (ngx_http_sluice_files_pool(cycle, smcf, SLUICE_POOL_PROXIES,
                                       &pool->named, &pool->pool)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        proxy = pool->proxies.elts;
        member = pool->members.elts;

        for (n = 0; n < pool->proxies.nelts; n++) {

            fp = ngx_http_sluice_proxy_fingerprint(&pool->pool, &proxy[n]);

            proxy[n].line = ngx_http_sluice_files_member(cycle, &pool->pool,
                                                         fp, &member[n]);
            if (proxy[n].line == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_http_sluice_files_balance(cycle, &pool->pool, pool->method,
                                          &pool->members, &pool->balance)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_sluice_proxy_close(ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                      i;
    ngx_http_sluice_proxy_pool_t  **pools;

    ngx_http_sluice_probe_stop();

    pools = smcf->proxy_pools.elts;

    for (i = 0; i < smcf->proxy_pools.nelts; i++) {
        ngx_http_sluice_files_retire(smcf, &pools[i]->pool.file);
        sluice_pool_close(&smcf->dir, &pools[i]->pool);
    }
}


/* of the id, the address and the user: a new password changes nothing */

static uint64_t
ngx_http_sluice_proxy_fingerprint(sluice_pool_t *pool,
    ngx_http_sluice_proxy_t *proxy)
{
    u_char   *p, data[SLUICE_NAME_MAX + SLUICE_PROXY_USER_MAX
                      + sizeof("socks5://[]:65535") + SLUICE_PROXY_HOST_MAX];
    uint64_t  fp;

    p = ngx_cpymem(data, proxy->id.data, proxy->id.len + 1);
    p = ngx_cpymem(p, proxy->url.user, proxy->url.user_len);
    p = ngx_cpymem(p, proxy->name.data, proxy->name.len);

    fp = sluice_siphash(pool->file.header.key, data, p - data).lo;

    return fp ? fp : 1;
}


/* its index; SLUICE_BALANCE_MAX: the pool has none of that id */

ngx_uint_t
ngx_http_sluice_proxy_find(ngx_http_sluice_proxy_pool_t *pool, ngx_str_t *id)
{
    ngx_uint_t                i;
    ngx_http_sluice_proxy_t  *proxies;

    proxies = pool->proxies.elts;

    for (i = 0; i < pool->proxies.nelts; i++) {
        if (proxies[i].id.len == id->len
            && ngx_memcmp(proxies[i].id.data, id->data, id->len) == 0)
        {
            return i;
        }
    }

    return SLUICE_BALANCE_MAX;
}


/*
 * A name may have several addresses: who calls begins with each in turn, and
 * goes on with the others if it cannot be reached.  *n: how many he has had;
 * NULL: all.
 */

ngx_addr_t *
ngx_http_sluice_proxy_addr(ngx_http_sluice_proxy_t *proxy, ngx_uint_t *first,
    ngx_uint_t *n)
{
    if (*n == proxy->naddrs) {
        return NULL;
    }

    if (*n == 0) {
        *first = proxy->next++;
    }

    return &proxy->addrs[(*first + (*n)++) % proxy->naddrs];
}


/*
 * What an end of a handshake says of the proxy; status: the last of CONNECT.
 * That an origin cannot be reached, by the proxy's word or by its rules, says
 * nothing about the proxy.  Returns as sluice_member_answer().
 */

int
ngx_http_sluice_proxy_judge(ngx_http_sluice_proxy_t *proxy,
    sluice_member_try_t *try, sluice_tunnel_result_t result,
    ngx_uint_t status)
{
    uint64_t         now;
    sluice_answer_t  answer;

    switch (result) {

    case SLUICE_TUNNEL_CONNECTED:
        answer = SLUICE_ANSWER_WELL;
        break;

    case SLUICE_TUNNEL_UNREACHABLE:
    case SLUICE_TUNNEL_CLOSED:
        answer = SLUICE_ANSWER_CONNECT;
        break;

    case SLUICE_TUNNEL_TIMEOUT:
        answer = SLUICE_ANSWER_TIMEOUT;
        break;

    case SLUICE_TUNNEL_ORIGIN:
    case SLUICE_TUNNEL_FORBIDDEN:
        answer = SLUICE_ANSWER_CLIENT;
        break;

    default:
        answer = SLUICE_ANSWER_ERROR;
    }

    if (proxy->url.scheme != SLUICE_PROXY_HTTP) {
        status = 0;
    }

    /* one that is well, and was, has no deadline to be compared with */

    now = (answer == SLUICE_ANSWER_WELL
           && sluice_member_healthy(proxy->line))
          ? try->began : sluice_clock_ms();

    return sluice_member_answer(proxy->line, &proxy->policy, try, answer,
                                SLUICE_REASON_ERRORS, status, SLUICE_NEVER,
                                now);
}


void
ngx_http_sluice_proxy_say(ngx_log_t *log, ngx_str_t *pool,
    ngx_http_sluice_proxy_t *proxy, int state)
{
    if (state == SLUICE_MEMBER_HEALTHY) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "proxy \"%V\" of pool \"%V\" is up again",
                      &proxy->id, pool);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "proxy \"%V\" of pool \"%V\" is down for %uL seconds",
                  &proxy->id, pool, (proxy->policy.open + 999) / 1000);
}


/* whether one is up, as far as can be told before there is an upstream */

ngx_int_t
ngx_http_sluice_proxy_look(ngx_http_sluice_loc_conf_t *slcf, uint64_t *retry)
{
    ngx_http_sluice_proxy_pool_t  *pool;

    pool = slcf->proxies;

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        *retry = 1000;
        return NGX_BUSY;
    }

    return (sluice_balance_look(pool->balance, NULL, 0,
                                NGX_HTTP_SLUICE_PROBE_TIME,
                                sluice_clock_ms(), retry)
            == SLUICE_BALANCE_TAKEN)
           ? NGX_OK : NGX_BUSY;
}


ngx_str_t *
ngx_http_sluice_proxy_pool_name(ngx_http_sluice_loc_conf_t *slcf)
{
    ngx_http_sluice_proxy_pool_t  *pool;

    pool = slcf->proxies;

    return &pool->named.name;
}


/* what a killed worker leaves: NULL is for a request that goes direct */

void
ngx_http_sluice_proxy_begin(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_proxy_t *proxy)
{
    ngx_str_t  *id;

    /* as many as the record describes: no long list crowds out the rest */

    if (ctx->entry != NULL && ctx->npassages < SLUICE_RECORD_TRIES) {
        id = (proxy != NULL) ? &proxy->id : &ngx_http_sluice_direct;

        (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_PROXY,
                                 id->data, id->len);
    }
}


/* most requests have one; arrays grow by as many as a record describes */

void
ngx_http_sluice_proxy_passage(ngx_http_sluice_egress_t *e,
    ngx_http_sluice_proxy_t *proxy, sluice_tunnel_result_t result,
    ngx_msec_t time)
{
    ngx_http_sluice_ctx_t      *ctx;
    ngx_http_sluice_passage_t  *passage;

    ctx = e->ctx;

    if (ctx->npassages == 0) {
        ctx->passages = &e->first;

    } else if (ctx->npassages % SLUICE_RECORD_TRIES == 1
               && ngx_http_sluice_grow(e->request->pool,
                                       (void **) &ctx->passages,
                                       ctx->npassages, SLUICE_RECORD_TRIES,
                                       sizeof(ngx_http_sluice_passage_t))
                  != NGX_OK)
    {
        return;
    }

    passage = &ctx->passages[ctx->npassages++];

    passage->proxy = proxy;
    passage->state = e->request->upstream_states->nelts - 1;
    passage->result = result;
    passage->time = time;
}


/* those of one of nginx's tries, which is the record's try so-and-so */

void
ngx_http_sluice_proxy_record(ngx_http_sluice_ctx_t *ctx, ngx_uint_t state,
    ngx_uint_t try, sluice_record_t *record)
{
    ngx_str_t                  *id;
    ngx_uint_t                  i;
    sluice_record_tunnel_t      t;
    ngx_http_sluice_passage_t  *passage;

    ngx_memzero(&t, sizeof(sluice_record_tunnel_t));

    for (i = 0; i < ctx->npassages; i++) {
        passage = &ctx->passages[i];

        if (passage->state != state) {
            continue;
        }

        t.time = (uint32_t) passage->time;
        t.try = (uint8_t) try;
        t.result = (uint8_t) passage->result;

        id = (passage->proxy != NULL) ? &passage->proxy->id
                                      : &ngx_http_sluice_direct;

        (void) sluice_record_add_tunnel(record, &t, id->data, id->len);
    }
}


/* the last one that was tried */

static ngx_http_sluice_passage_t *
ngx_http_sluice_proxy_last(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    return (ctx != NULL && ctx->npassages != 0)
           ? &ctx->passages[ctx->npassages - 1] : NULL;
}


static ngx_int_t
ngx_http_sluice_proxy_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_passage_t  *passage;

    passage = ngx_http_sluice_proxy_last(r);

    if (passage == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, passage->proxy != NULL
                                 ? &passage->proxy->id
                                 : &ngx_http_sluice_direct);

    return NGX_OK;
}


/* seconds, as $upstream_connect_time; a kept tunnel took none */

static ngx_int_t
ngx_http_sluice_proxy_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   text;
    ngx_http_sluice_passage_t  *passage;

    passage = ngx_http_sluice_proxy_last(r);

    if (passage == NULL || passage->time == (ngx_msec_t) -1) {
        v->not_found = 1;
        return NGX_OK;
    }

    text.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%T.%03M",
                           (time_t) passage->time / 1000,
                           passage->time % 1000)
               - text.data;

    ngx_http_sluice_set_value(v, &text);

    return NGX_OK;
}


/* "connected", "reused", "direct", or why there was no tunnel */

static ngx_int_t
ngx_http_sluice_proxy_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_passage_t  *passage;

    passage = ngx_http_sluice_proxy_last(r);

    if (passage == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_text(v, sluice_tunnel_result_name(passage->result));

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_proxy_tries_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL || ctx->npassages == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_sluice_set_number(r, v, ctx->npassages);
}
