
/*
 * Egress: a request leaves through a proxy of a pool, without a patch of nginx.
 *
 * Two wrappers are put around an upstream's balancer.  The inner one, below
 * keepalive, asks the balancer for an origin, chooses a proxy, and gives
 * keepalive a hash of (proxy, origin, TLS) in place of the origin's address: a
 * kept tunnel serves again only for the same way.  The outer one, if keepalive
 * has none, connects to the proxy itself, says that the connection is not ready
 * yet, and posts an event, behind which the handshake (egress_try) has the
 * upstream's events until the tunnel is there.
 *
 * An upstream without upstream{} has the outer one only, and no keepalive.
 *
 * The order of the wrappers, from outside: key_try, ours, keepalive, ours, the
 * balancer.  So the key has moved when a proxy is chosen by it.
 */

#include "ngx_http_sluice_egress.h"


#define NGX_HTTP_SLUICE_SESSIONS  256


#if (NGX_HTTP_SSL)

typedef struct {
    u_char                      hash[16];
    ngx_ssl_session_t          *session;
} ngx_http_sluice_session_t;

#endif


static ngx_int_t ngx_http_sluice_egress_origins(ngx_conf_t *cf,
    ngx_http_sluice_egress_upstream_t *eu);
static ngx_http_sluice_egress_upstream_t *ngx_http_sluice_egress_find(
    ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_egress_inner_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_egress_outer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sluice_egress_begin(ngx_http_request_t *r,
    ngx_http_sluice_egress_upstream_t *eu, ngx_http_sluice_egress_t **egress);
static void ngx_http_sluice_egress_save(ngx_http_sluice_peer_t *saved,
    ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_sluice_egress_inner_get(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sluice_egress_inner_free(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_http_sluice_egress_inner_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static ngx_int_t ngx_http_sluice_egress_outer_get(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sluice_egress_outer_free(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_http_sluice_egress_outer_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static ngx_int_t ngx_http_sluice_egress_target(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e);
static ngx_http_sluice_origin_t *ngx_http_sluice_egress_origin(
    ngx_peer_connection_t *pc, ngx_http_sluice_egress_upstream_t *eu);
static ngx_int_t ngx_http_sluice_egress_tls(ngx_http_sluice_egress_t *e);
static ngx_uint_t ngx_http_sluice_egress_tie(ngx_http_sluice_egress_t *e,
    ngx_uint_t *strict);
#if (NGX_HTTP_SSL)
static ngx_http_sluice_session_t *ngx_http_sluice_egress_session(
    ngx_http_sluice_egress_t *e);
static ngx_int_t ngx_http_sluice_egress_set_session(
    ngx_peer_connection_t *pc, void *data);
static void ngx_http_sluice_egress_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


/* what a way is hashed with: a worker's own, that nobody can aim at */
static uint8_t  ngx_http_sluice_egress_key[16];

#if (NGX_HTTP_SSL)
static ngx_http_sluice_session_t
    ngx_http_sluice_sessions[NGX_HTTP_SLUICE_SESSIONS];
#endif


/* this process has a slot now */

void
ngx_http_sluice_egress_start(ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                      i;
    ngx_http_sluice_proxy_pool_t  **pools;

    sluice_random(ngx_http_sluice_egress_key,
                  sizeof(ngx_http_sluice_egress_key));

    pools = smcf->proxy_pools.elts;

    for (i = 0; i < smcf->proxy_pools.nelts; i++) {
        sluice_balance_start(pools[i]->balance, ngx_http_sluice_process.slot,
                             ngx_http_sluice_process.slot);
    }
}


/* the upstream{} has its balancer, and not yet its keepalive */

ngx_int_t
ngx_http_sluice_egress_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_sluice_srv_conf_t  *sscf;

    sscf = ngx_http_conf_upstream_srv_conf(us, ngx_http_sluice_module);

    if (sscf->init_upstream(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    sscf->inner_init = us->peer.init;
    us->peer.init = ngx_http_sluice_egress_inner_init;

    return NGX_OK;
}


/* after all upstreams have their balancers, and before key_try wraps them */

ngx_int_t
ngx_http_sluice_egress_init(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                          i, n;
    ngx_http_sluice_srv_conf_t         *sscf;
    ngx_http_upstream_srv_conf_t      **uscfp, **wanted;
    ngx_http_upstream_main_conf_t      *umcf;
    ngx_http_sluice_egress_upstream_t  *eu;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    if (ngx_array_init(&smcf->egresses, cf->pool, 4,
                       sizeof(ngx_http_sluice_egress_upstream_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    uscfp = umcf->upstreams.elts;
    wanted = smcf->egress_literals.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->peer.init == NULL) {
            continue;
        }

        sscf = NULL;

        if (uscfp[i]->srv_conf != NULL) {
            sscf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                                   ngx_http_sluice_module);
            if (sscf->egress == NGX_CONF_UNSET_PTR) {
                continue;
            }

            if (sscf->inner_init == NULL) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "\"sluice_egress\" must come after the "
                              "balancing method in upstream \"%V\" in %s:%ui",
                              &uscfp[i]->host, uscfp[i]->file_name,
                              uscfp[i]->line);
                return NGX_ERROR;
            }

        } else {

            for (n = 0; n < smcf->egress_literals.nelts; n++) {
                if (wanted[n] == uscfp[i]) {
                    break;
                }
            }

            if (n == smcf->egress_literals.nelts) {
                continue;
            }
        }

        eu = ngx_array_push(&smcf->egresses);
        if (eu == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(eu, sizeof(ngx_http_sluice_egress_upstream_t));

        eu->upstream = uscfp[i];
        eu->outer_init = uscfp[i]->peer.init;

        if (sscf != NULL) {
            eu->inner_init = sscf->inner_init;
            eu->conf = sscf->egress;
        }

        uscfp[i]->peer.init = ngx_http_sluice_egress_outer_init;

        if (ngx_http_sluice_egress_origins(cf, eu) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_sluice_sort_upstreams(&smcf->egresses);

    return NGX_OK;
}


/* what the servers are called, by the addresses that the balancer knows */

static ngx_int_t
ngx_http_sluice_egress_origins(ngx_conf_t *cf,
    ngx_http_sluice_egress_upstream_t *eu)
{
    u_char                       *p, *last;
    ngx_uint_t                    i, n;
    ngx_http_sluice_origin_t     *origin;
    ngx_http_upstream_server_t   *server;

    if (ngx_array_init(&eu->origins, cf->pool, 4,
                       sizeof(ngx_http_sluice_origin_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (eu->upstream->servers == NULL) {
        return NGX_OK;
    }

    server = eu->upstream->servers->elts;

    for (i = 0; i < eu->upstream->servers->nelts; i++) {

        for (n = 0; n < server[i].naddrs; n++) {

            if (server[i].addrs[n].sockaddr->sa_family == AF_UNIX) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "no proxy leads to \"%V\": upstream \"%V\" in "
                              "%s:%ui has \"sluice_egress\"",
                              server[i].name.len ? &server[i].name
                                                 : &server[i].addrs[n].name,
                              &eu->upstream->host,
                              eu->upstream->file_name, eu->upstream->line);
                return NGX_ERROR;
            }

            origin = ngx_array_push(&eu->origins);
            if (origin == NULL) {
                return NGX_ERROR;
            }

            origin->addr = &server[i].addrs[n];

            /* without upstream{} an address stands here, and has no name */

            origin->host = server[i].name.len ? server[i].name
                                              : eu->upstream->host;

            /* without its port, if one is written */

            p = origin->host.data;
            last = p + origin->host.len;

            if (*p == '[') {
                p = ngx_strlchr(p, last, ']');
            }

            p = (p != NULL) ? ngx_strlchr(p, last, ':') : NULL;

            if (p != NULL) {
                origin->host.len = p - origin->host.data;
            }
        }
    }

    return NGX_OK;
}


static ngx_http_sluice_egress_upstream_t *
ngx_http_sluice_egress_find(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);

    return ngx_http_sluice_find_upstream(&smcf->egresses, us);
}


static ngx_int_t
ngx_http_sluice_egress_inner_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_peer_connection_t              *pc;
    ngx_http_sluice_egress_t           *e;
    ngx_http_sluice_egress_upstream_t  *eu;

    eu = ngx_http_sluice_egress_find(r, us);

    if (eu == NULL || eu->inner_init(r, us) != NGX_OK
        || ngx_http_sluice_egress_begin(r, eu, &e) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (e == NULL) {
        return NGX_OK;
    }

    pc = &r->upstream->peer;

    ngx_http_sluice_egress_save(&e->inner, pc);

    pc->data = e;
    pc->get = ngx_http_sluice_egress_inner_get;
    pc->free = ngx_http_sluice_egress_inner_free;

    if (pc->notify != NULL) {
        pc->notify = ngx_http_sluice_egress_inner_notify;
    }

    e->wrapped = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_egress_outer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_peer_connection_t              *pc;
    ngx_http_sluice_egress_t           *e;
    ngx_http_sluice_egress_upstream_t  *eu;

    eu = ngx_http_sluice_egress_find(r, us);

    if (eu == NULL || eu->outer_init(r, us) != NGX_OK
        || ngx_http_sluice_egress_begin(r, eu, &e) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (e == NULL) {
        return NGX_OK;
    }

    pc = &r->upstream->peer;

    ngx_http_sluice_egress_save(&e->outer, pc);

    pc->data = e;
    pc->get = ngx_http_sluice_egress_outer_get;
    pc->free = ngx_http_sluice_egress_outer_free;

    if (pc->notify != NULL) {
        pc->notify = ngx_http_sluice_egress_outer_notify;
    }

#if (NGX_HTTP_SSL)
    e->set_session = pc->set_session;
    e->save_session = pc->save_session;

    pc->set_session = ngx_http_sluice_egress_set_session;
    pc->save_session = ngx_http_sluice_egress_save_session;
#endif

    return NGX_OK;
}


/*
 * Both wrappers of one upstream share it; and so does what key_try begins anew
 * beneath itself, which may not have the same proxies once more.  NULL: this
 * request goes out as it would without us.
 */

static ngx_int_t
ngx_http_sluice_egress_begin(ngx_http_request_t *r,
    ngx_http_sluice_egress_upstream_t *eu, ngx_http_sluice_egress_t **egress)
{
    ngx_http_sluice_ctx_t          *ctx;
    ngx_http_sluice_egress_t       *e;
    ngx_http_sluice_loc_conf_t     *slcf;
    ngx_http_sluice_egress_conf_t  *conf;

    *egress = NULL;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    conf = (slcf->egress != NULL) ? slcf->egress : eu->conf;

    if (conf == NULL || conf->pool == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_sluice_create_ctx(r);
        if (ctx == NULL) {
            return NGX_ERROR;
        }
    }

    e = ctx->egress;

    if (e != NULL && e->u == r->upstream) {
        *egress = e;
        return NGX_OK;
    }

    e = ngx_pcalloc(r->pool, sizeof(ngx_http_sluice_egress_t));
    if (e == NULL) {
        return NGX_ERROR;
    }

    e->request = r;
    e->ctx = ctx;
    e->u = r->upstream;
    e->conf = conf;
    e->eu = eu;

    e->event.handler = ngx_http_sluice_egress_posted;
    e->event.data = e;
    e->event.log = r->connection->log;

    ctx->egress = e;
    *egress = e;

    return NGX_OK;
}


static void
ngx_http_sluice_egress_save(ngx_http_sluice_peer_t *saved,
    ngx_peer_connection_t *pc)
{
    saved->data = pc->data;
    saved->get = pc->get;
    saved->free = pc->free;
    saved->notify = pc->notify;
}


static ngx_int_t
ngx_http_sluice_egress_inner_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_egress_t *e = data;

    ngx_int_t  rc;

    rc = e->inner.get(pc, e->inner.data);

    return (rc == NGX_OK) ? ngx_http_sluice_egress_choose(pc, e) : rc;
}


static ngx_int_t
ngx_http_sluice_egress_outer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_egress_t *e = data;

    ngx_int_t  rc;

    e->chosen = 0;
    e->blamed = 0;
    e->up = 0;
    e->none = 0;
    e->late = 0;
    e->direct = 0;

    rc = e->outer.get(pc, e->outer.data);

    if (rc != NGX_OK && rc != NGX_DONE) {
        return rc;
    }

    if (!e->wrapped) {

        /* somebody else keeps connections, and knows nothing of proxies */

        if (rc == NGX_DONE) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, 0,
                          "upstream \"%V\" keeps connections that no proxy "
                          "was asked for", &e->eu->upstream->host);
            return NGX_ERROR;
        }

        if (ngx_http_sluice_egress_choose(pc, e) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (!e->chosen) {
        return NGX_ERROR;
    }

    if (rc == NGX_DONE) {
        ngx_http_sluice_egress_told(e, e->direct ? SLUICE_TUNNEL_DIRECT
                                                 : SLUICE_TUNNEL_REUSED);
        return NGX_DONE;
    }

    return ngx_http_sluice_egress_connect(pc, e);
}


/*
 * A proxy for an origin: chosen before it is known whether a tunnel is kept.
 */

ngx_int_t
ngx_http_sluice_egress_choose(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e)
{
    e->origin = pc->sockaddr;
    e->origin_len = pc->socklen;

    if (ngx_http_sluice_egress_target(pc, e) != NGX_OK
        || ngx_http_sluice_egress_tls(e) != NGX_OK
        || ngx_http_sluice_egress_take(e) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    e->chosen = 1;

    if (!e->direct) {
        pc->sockaddr = (struct sockaddr *) &e->way;
        pc->socklen = sizeof(ngx_http_sluice_way_t);
    }

    return NGX_OK;
}


/* NGX_DECLINED: none is to be had */

ngx_int_t
ngx_http_sluice_egress_take(ngx_http_sluice_egress_t *e)
{
    uint64_t                       hash;
    ngx_uint_t                     i, tie, strict;
    sluice_balance_set_t           had;
    sluice_balance_result_t        result;
    ngx_http_sluice_proxy_t       *proxies;
    ngx_http_sluice_proxy_pool_t  *pool;

    pool = e->conf->pool;

    ngx_http_sluice_egress_give(e);

    if (ngx_http_sluice_pool_hash(e->request, pool->hash, &hash) != NGX_OK) {
        return NGX_ERROR;
    }

    /* not the request's own: one that does not fail may serve it again */

    had = e->had;

    tie = ngx_http_sluice_egress_tie(e, &strict);

    for (i = 0; strict && i < pool->proxies.nelts; i++) {
        if (i != tie) {
            sluice_balance_set(&had, i);
        }
    }

    e->retry = 1000;
    e->none = 0;

    result = (ngx_http_sluice_process.slot == SLUICE_SLOTS)
             ? SLUICE_BALANCE_NONE
             : sluice_balance_take(pool->balance, &had, tie, hash, 0,
                                   NGX_HTTP_SLUICE_PROBE_TIME, true,
                                   sluice_clock_ms(), &e->hold, &e->retry);

    if (result != SLUICE_BALANCE_TAKEN) {
        e->none = 1;
        e->direct = e->conf->direct && !strict;

        /* that of an earlier try is another proxy's: keepalive may have one */

        ngx_memzero(&e->way, sizeof(ngx_http_sluice_way_t));

        return NGX_DECLINED;
    }

    proxies = pool->proxies.elts;

    e->proxy = &proxies[e->hold.member];
    e->taken = 1;
    e->judged = 0;

    ngx_http_sluice_egress_way(e);

    return NGX_OK;
}


/* the proxy that the key must, or should, go with: its index */

static ngx_uint_t
ngx_http_sluice_egress_tie(ngx_http_sluice_egress_t *e, ngx_uint_t *strict)
{
    ngx_http_sluice_key_t  *key;

    *strict = 0;

    if (!e->ctx->taken || e->ctx->key->proxy.data == NULL) {
        return SLUICE_BALANCE_MAX;
    }

    key = e->ctx->key;
    *strict = key->strict;

    return ngx_http_sluice_proxy_find(e->conf->pool, &key->proxy);
}


void
ngx_http_sluice_egress_give(ngx_http_sluice_egress_t *e)
{
    if (!e->taken) {
        return;
    }

    e->taken = 0;

    /* a password that did not go out stays nowhere */

    if (e->tunnel != NULL) {
        sluice_tunnel_sent(&e->tunnel->shake);
    }

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    /* the client left first, or it was a kept tunnel: neither says anything */

    if (!e->judged) {
        sluice_member_forgo(e->proxy->line, &e->hold.try);
    }

    sluice_balance_give(e->conf->pool->balance, &e->hold);
}


/* what the proxy is asked for */

static ngx_int_t
ngx_http_sluice_egress_target(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e)
{
    ngx_str_t                     text;
    ngx_http_sluice_origin_t     *origin;

    if (e->conf->target != NULL) {

        if (ngx_http_sluice_value(e->request, e->conf->target, &text)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_sluice_egress_split(&text, &e->host, &e->port)
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ERR, pc->log, 0,
                          "no target for proxies in \"%V\"", &text);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    e->port = ngx_inet_get_port(pc->sockaddr);

    if (!e->conf->local) {

        if (e->eu->upstream->servers == NULL) {
            e->host = e->eu->upstream->host;
            return NGX_OK;
        }

        origin = ngx_http_sluice_egress_origin(pc, e->eu);

        if (origin != NULL) {
            e->host = origin->host;
            return NGX_OK;
        }

        /* a balancer that finds its servers elsewhere: by their addresses */
    }

    e->host = *pc->name;

    if (e->host.len != 0 && e->host.data[e->host.len - 1] != ']') {
        return ngx_http_sluice_egress_split(&e->host, &e->host, &e->port);
    }

    return NGX_OK;
}


/*
 * The server that the balancer means.  Two that have one address are told apart
 * by the text that it has of the server's own, unless it has copied that into a
 * "zone": then the first one is asked for.
 */

static ngx_http_sluice_origin_t *
ngx_http_sluice_egress_origin(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_upstream_t *eu)
{
    ngx_uint_t                 i;
    ngx_http_sluice_origin_t  *origin;

    origin = eu->origins.elts;

    for (i = 0; i < eu->origins.nelts; i++) {
        if (origin[i].addr->name.data == pc->name->data) {
            return &origin[i];
        }
    }

    for (i = 0; i < eu->origins.nelts; i++) {
        if (ngx_cmp_sockaddr(origin[i].addr->sockaddr,
                             origin[i].addr->socklen, pc->sockaddr,
                             pc->socklen, 1)
            == NGX_OK)
        {
            return &origin[i];
        }
    }

    return NULL;
}


/*
 * What a TLS session, and with the proxy a kept tunnel, is good for: the
 * origin, what it is called, and what is asked of its certificate.
 */

static ngx_int_t
ngx_http_sluice_egress_tls(ngx_http_sluice_egress_t *e)
{
    u_char                    *p, *last, stack[1024];
    size_t                     len;
    ngx_str_t                  name, certificate;
    sluice_hash_t              hash;
#if (NGX_HTTP_SSL)
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;

    u = e->u;
    conf = u->conf;
#endif

    ngx_str_null(&name);
    ngx_str_null(&certificate);

#if (NGX_HTTP_SSL)

    if (u->ssl) {
        name = u->ssl_name;

        if (conf->ssl_name != NULL
            && ngx_http_complex_value(e->request, conf->ssl_name, &name)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (conf->ssl_certificate != NULL
            && ngx_http_complex_value(e->request, conf->ssl_certificate,
                                      &certificate)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

#endif

    len = e->host.len + name.len + certificate.len + e->origin_len + 64;

    p = stack;

    if (len > sizeof(stack)) {
        p = ngx_pnalloc(e->request->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    /* each with its length: "ab", "c" is not "a", "bc" */

    last = ngx_cpymem(p, &e->host.len, sizeof(size_t));
    last = ngx_cpymem(last, e->host.data, e->host.len);
    last = ngx_cpymem(last, &e->port, sizeof(in_port_t));
    last = ngx_cpymem(last, &e->origin_len, sizeof(socklen_t));
    last = ngx_cpymem(last, e->origin, e->origin_len);

#if (NGX_HTTP_SSL)

    if (u->ssl) {
        last = ngx_cpymem(last, &name.len, sizeof(size_t));
        last = ngx_cpymem(last, name.data, name.len);
        last = ngx_cpymem(last, &conf->ssl, sizeof(ngx_ssl_t *));
        last = ngx_cpymem(last, &conf->ssl_verify, sizeof(ngx_flag_t));
        last = ngx_cpymem(last, &conf->ssl_server_name, sizeof(ngx_flag_t));
        last = ngx_cpymem(last, certificate.data, certificate.len);
    }

#endif

    hash = sluice_siphash(ngx_http_sluice_egress_key, p, last - p);

    ngx_memcpy(e->session, &hash, sizeof(e->session));

    return NGX_OK;
}


/* the proxy is chosen: pc->sockaddr, if it is ours, points there */

void
ngx_http_sluice_egress_way(ngx_http_sluice_egress_t *e)
{
    u_char         data[sizeof(e->session) + sizeof(e->proxy)];
    sluice_hash_t  hash;

    ngx_memcpy(data, e->session, sizeof(e->session));
    ngx_memcpy(data + sizeof(e->session), &e->proxy, sizeof(e->proxy));

    hash = sluice_siphash(ngx_http_sluice_egress_key, data, sizeof(data));

    ngx_memzero(&e->way, sizeof(ngx_http_sluice_way_t));

    e->way.family = AF_UNSPEC;
    ngx_memcpy(e->way.hash, &hash, sizeof(e->way.hash));
}


static void
ngx_http_sluice_egress_outer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_sluice_egress_t *e = data;

    if (e->event.posted) {
        ngx_delete_posted_event(&e->event);
    }

    ngx_http_sluice_egress_give(e);

    /* a proxy is no origin, whatever nginx takes it for */

    if (e->blamed || ngx_http_sluice_egress_broken(e)) {
        state &= ~NGX_PEER_FAILED;
    }

    e->outer.free(pc, e->outer.data, state);

    /* no server is any nearer without a proxy */

    if (e->blamed) {
        pc->tries = 0;
    }
}


static void
ngx_http_sluice_egress_inner_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_sluice_egress_t *e = data;

    e->inner.free(pc, e->inner.data, state);
}


static void
ngx_http_sluice_egress_inner_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_sluice_egress_t *e = data;

    e->inner.notify(pc, e->inner.data, type);
}


static void
ngx_http_sluice_egress_outer_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_sluice_egress_t *e = data;

    e->outer.notify(pc, e->outer.data, type);
}


/* a key that must go with its proxy would go with none */

ngx_uint_t
ngx_http_sluice_egress_strays(ngx_http_sluice_ctx_t *ctx,
    ngx_http_upstream_t *u)
{
    return ctx->taken && ctx->key->strict
           && (ctx->egress == NULL || ctx->egress->u != u);
}


/* that the try of nginx's which has failed says nothing of origin or key */

ngx_uint_t
ngx_http_sluice_egress_blamed(ngx_http_sluice_egress_t *e)
{
    /* the one before a redirect says nothing of this upstream */

    return e != NULL && e->blamed && e->u == e->request->upstream;
}


/* whether the request is in a tunnel */

ngx_uint_t
ngx_http_sluice_egress_used(ngx_http_sluice_egress_t *e)
{
    return e != NULL && e->up && e->u == e->request->upstream;
}


/*
 * That a tunnel has ended before there was an answer: by the proxy or by the
 * origin, that cannot be told.  A proxy that goes ends the tunnels of all
 * origins and keys at once; if all of them were blamed, none would be left.
 */

ngx_uint_t
ngx_http_sluice_egress_broken(ngx_http_sluice_egress_t *e)
{
    ngx_connection_t  *c;

    if (!ngx_http_sluice_egress_used(e)
        || e->u->state->header_time != (ngx_msec_t) -1)
    {
        return 0;
    }

    c = e->u->peer.connection;

    return c != NULL && !c->read->timedout && !c->write->timedout
           && (c->read->eof || c->read->pending_eof || c->read->error
               || c->write->error);
}


/* the last resort: whatever ended the request, nothing of ours outlives it */

void
ngx_http_sluice_egress_end(ngx_http_sluice_egress_t *e)
{
    if (e->event.posted) {
        ngx_delete_posted_event(&e->event);
    }

    ngx_http_sluice_egress_give(e);
}


#if (NGX_HTTP_SSL)

/*
 * nginx keeps one session a server.  Behind it may be several names, and each
 * must have its own: so ours are kept by what a session is good for.
 */

static ngx_int_t
ngx_http_sluice_egress_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_egress_t *e = data;

    ngx_http_sluice_session_t  *s;

    if (e->direct) {
        return e->set_session(pc, e->outer.data);
    }

    s = ngx_http_sluice_egress_session(e);

    if (s->session == NULL
        || ngx_memcmp(s->hash, e->session, sizeof(e->session)) != 0)
    {
        return NGX_OK;
    }

    return ngx_ssl_set_session(pc->connection, s->session);
}


static void
ngx_http_sluice_egress_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sluice_egress_t *e = data;

    ngx_ssl_session_t          *session;
    ngx_http_sluice_session_t  *s;

    if (e->direct) {
        e->save_session(pc, e->outer.data);
        return;
    }

    session = ngx_ssl_get_session(pc->connection);
    if (session == NULL) {
        return;
    }

    s = ngx_http_sluice_egress_session(e);

    if (s->session != NULL) {
        ngx_ssl_free_session(s->session);
    }

    s->session = session;
    ngx_memcpy(s->hash, e->session, sizeof(e->session));
}


/* one of another hash gives way: it costs a whole handshake, nothing more */

static ngx_http_sluice_session_t *
ngx_http_sluice_egress_session(ngx_http_sluice_egress_t *e)
{
    return &ngx_http_sluice_sessions[e->session[0]
                                     % NGX_HTTP_SLUICE_SESSIONS];
}

#endif
