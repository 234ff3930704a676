
/*
 * Proxy pools and egress as they are written: proxies, what leaves through
 * them, and what would bypass them and is refused.
 */

#include "ngx_http_sluice_egress.h"


#define NGX_HTTP_SLUICE_PROXY_BALANCE  0x01
#define NGX_HTTP_SLUICE_PROXY_PROBE    0x02

static ngx_http_sluice_proxy_pool_t *ngx_http_sluice_proxies(ngx_conf_t *cf,
    ngx_str_t *name);
static char *ngx_http_sluice_proxy_line(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_http_sluice_proxy_url(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_sluice_proxy_t *proxy);
static ngx_int_t ngx_http_sluice_proxy_policy(ngx_conf_t *cf,
    ngx_str_t *value, sluice_member_policy_t *policy);
static ngx_int_t ngx_http_sluice_proxy_add(ngx_conf_t *cf,
    ngx_http_sluice_proxy_pool_t *pool, ngx_http_sluice_proxy_t *proxy,
    sluice_balance_conf_t *member);
static char *ngx_http_sluice_proxy_balance(ngx_conf_t *cf, void *conf);
static char *ngx_http_sluice_proxy_probe(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_http_sluice_proxy_host(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *host, in_port_t *port);
static char *ngx_http_sluice_egress_parse(ngx_conf_t *cf,
    ngx_http_sluice_egress_conf_t **to);
static ngx_uint_t ngx_http_sluice_egress_tied(
    ngx_http_sluice_main_conf_t *smcf, ngx_str_t *id);
#if (nginx_version < 1029007)
static ngx_uint_t ngx_http_sluice_egress_kept(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
#endif


static ngx_http_sluice_pool_line_t  ngx_http_sluice_proxy_lines[] = {

    { ngx_string("proxy"), 0, ngx_http_sluice_proxy_line },

    { ngx_string("balance"), NGX_HTTP_SLUICE_PROXY_BALANCE,
      ngx_http_sluice_proxy_balance },

    { ngx_string("probe"), NGX_HTTP_SLUICE_PROXY_PROBE,
      ngx_http_sluice_proxy_probe },

    { ngx_null_string, 0, NULL }
};


/* finds the pool, or makes one that somebody must still define */

static ngx_http_sluice_proxy_pool_t *
ngx_http_sluice_proxies(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_sluice_main_conf_t   *smcf;
    ngx_http_sluice_proxy_pool_t  *pool;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    pool = (ngx_http_sluice_proxy_pool_t *)
               ngx_http_sluice_named(cf, &smcf->proxy_pools,
                                     sizeof(ngx_http_sluice_proxy_pool_t),
                                     name, "proxy pool");

    if (pool == NULL || pool->proxies.elts != NULL) {
        return pool;
    }

    if (ngx_array_init(&pool->proxies, cf->pool, 4,
                       sizeof(ngx_http_sluice_proxy_t))
        != NGX_OK
        || ngx_array_init(&pool->members, cf->pool, 4,
                          sizeof(sluice_balance_conf_t))
           != NGX_OK)
    {
        return NULL;
    }

    pool->pool.file.fd = -1;

    return pool;
}


/* sluice_proxy_pool name { ... } */

char *
ngx_http_sluice_proxy_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                     *value;
    ngx_http_sluice_block_t        block;
    ngx_http_sluice_proxy_pool_t  *pool;

    value = cf->args->elts;

    pool = ngx_http_sluice_proxies(cf, &value[1]);
    if (pool == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_define(cf, &pool->named, "proxy pool") != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    block.what = "proxy";
    block.many = "proxies";
    block.known = "\"proxy\", \"balance\" and \"probe\"";
    block.lines = ngx_http_sluice_proxy_lines;
    block.named = &pool->named;
    block.pool = pool;
    block.written = 0;

    return ngx_http_sluice_pool_block(cf, &block, &pool->members);
}


/* proxy url id=name ...; no message has the url: a password may be in it */

static char *
ngx_http_sluice_proxy_line(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_proxy_pool_t *pool = conf;

    ngx_int_t                 rc;
    ngx_str_t                *value, id;
    ngx_uint_t                i;
    sluice_balance_conf_t     member;
    ngx_http_sluice_proxy_t   proxy;

    value = cf->args->elts;

    ngx_memzero(&proxy, sizeof(ngx_http_sluice_proxy_t));
    ngx_memzero(&member, sizeof(sluice_balance_conf_t));
    ngx_str_null(&id);

    member.weight = 1;

    /* as nginx's own servers have it */

    proxy.policy.errors = 1;
    proxy.policy.window = 10000;

    for (i = 2; i < cf->args->nelts; i++) {

        rc = ngx_http_sluice_pool_id(cf, &value[i], "proxy", &id);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        rc = ngx_http_sluice_pool_parameter(cf, &value[i], &member);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_sluice_proxy_policy(cf, &value[i], &proxy.policy);
        }

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter %ui of a proxy: it knows "
                               "\"id=\", \"weight=\", \"max_conns=\", "
                               "\"max_fails=\", \"fail_timeout=\" and "
                               "\"backup\"", i);
            return NGX_CONF_ERROR;
        }
    }

    if (id.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a proxy must be \"proxy URL id=NAME\"");
        return NGX_CONF_ERROR;
    }

    /* a proxy that is down is tried once a while, not ever more seldom */

    proxy.policy.open = proxy.policy.window;
    proxy.policy.open_max = proxy.policy.window;
    proxy.policy.probe = NGX_HTTP_SLUICE_PROBE_TIME;

    if (ngx_http_sluice_copy_name(cf, &proxy.id, &id, "proxy id") != NGX_OK
        || ngx_http_sluice_proxy_url(cf, &value[1], &proxy) != NGX_OK
        || ngx_http_sluice_proxy_add(cf, pool, &proxy, &member) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* max_fails=, fail_timeout=.  NGX_DECLINED: it is another parameter */

static ngx_int_t
ngx_http_sluice_proxy_policy(ngx_conf_t *cf, ngx_str_t *value,
    sluice_member_policy_t *policy)
{
    ngx_int_t  n;

    if (ngx_strncmp(value->data, "max_fails=", 10) == 0) {
        n = ngx_atoi(value->data + 10, value->len - 10);

        if (n == NGX_ERROR || n > 65535) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": it must be 0 to 65535", value);
            return NGX_ERROR;
        }

        policy->errors = (uint32_t) n;

        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "fail_timeout=", 13) == 0) {
        return ngx_http_sluice_pool_time(cf, value, 13, &policy->window);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_sluice_proxy_url(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_sluice_proxy_t *proxy)
{
    u_char            *p;
    size_t             len;
    ngx_url_t          url;
    ngx_uint_t         v6;
    const char        *what;
    sluice_proxy_url_t  *u;

    u = &proxy->url;

    what = sluice_proxy_url_parse((char *) value->data, value->len, u);

    if (what != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL of proxy \"%V\": %s", &proxy->id,
                           what);
        return NGX_ERROR;
    }

    len = ngx_strlen(u->host);
    v6 = (ngx_strchr(u->host, ':') != NULL);

    p = ngx_pnalloc(cf->pool, sizeof("socks5://[]:65535") + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    proxy->name.data = p;

    p = ngx_sprintf(p, "%s://", u->scheme == SLUICE_PROXY_SOCKS5 ? "socks5"
                                                                 : "http");
    ngx_memzero(&url, sizeof(ngx_url_t));
    url.url.data = p;

    p = ngx_sprintf(p, v6 ? "[%s]:%ui" : "%s:%ui", u->host,
                    (ngx_uint_t) u->port);

    url.url.len = p - url.url.data;
    proxy->name.len = p - proxy->name.data;

    if (ngx_parse_url(cf->pool, &url) != NGX_OK || url.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of proxy \"%V\" (\"%V\")",
                           url.err ? url.err : "no address", &proxy->id,
                           &proxy->name);
        return NGX_ERROR;
    }

    proxy->addrs = url.addrs;
    proxy->naddrs = url.naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_proxy_add(ngx_conf_t *cf, ngx_http_sluice_proxy_pool_t *pool,
    ngx_http_sluice_proxy_t *proxy, sluice_balance_conf_t *member)
{
    sluice_balance_conf_t    *m;
    ngx_http_sluice_proxy_t  *p;

    if (ngx_strcmp(proxy->id.data, "direct") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a proxy cannot have the id \"direct\": records "
                           "say so of what went without one");
        return NGX_ERROR;
    }

    if (ngx_http_sluice_proxy_find(pool, &proxy->id) != SLUICE_BALANCE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate proxy id \"%V\" in pool \"%V\"",
                           &proxy->id, &pool->named.name);
        return NGX_ERROR;
    }

    if (pool->proxies.nelts == SLUICE_BALANCE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "proxy pool \"%V\" has more than %d proxies",
                           &pool->named.name, SLUICE_BALANCE_MAX);
        return NGX_ERROR;
    }

    p = ngx_array_push(&pool->proxies);
    m = ngx_array_push(&pool->members);

    if (p == NULL || m == NULL) {
        return NGX_ERROR;
    }

    *p = *proxy;
    *m = *member;
    m->id = (char *) p->id.data;

    return NGX_OK;
}


static char *
ngx_http_sluice_proxy_balance(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_proxy_pool_t *pool = conf;

    return ngx_http_sluice_pool_balance(cf, "proxy", &pool->method,
                                        &pool->hash);
}


/* probe host:port [interval=30s] [timeout=5s]; */

static char *
ngx_http_sluice_proxy_probe(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_proxy_pool_t *pool = conf;

    uint64_t     ms;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (ngx_http_sluice_proxy_host(cf, &value[1], &pool->probe,
                                   &pool->probe_port)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    pool->probe_interval = 30000;
    pool->probe_timeout = 5000;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "interval=", 9) == 0) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 9, &ms) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            pool->probe_interval = (ngx_msec_t) ms;
            continue;
        }

        if (ngx_strncmp(value[i].data, "timeout=", 8) == 0) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 8, &ms) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            pool->probe_timeout = (ngx_msec_t) ms;
            continue;
        }

        return ngx_http_sluice_pool_invalid(cf, &value[i]);
    }

    if (pool->probe_interval < 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "proxies cannot be probed more than once a second");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* "host:port", of which a proxy can be asked for */

static ngx_int_t
ngx_http_sluice_proxy_host(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *host,
    in_port_t *port)
{
    sluice_tunnel_t     tunnel;
    sluice_proxy_url_t  proxy;

    ngx_memzero(&proxy, sizeof(sluice_proxy_url_t));

    if (ngx_http_sluice_egress_split(value, host, port) == NGX_OK
        && sluice_tunnel_init(&tunnel, &proxy, (char *) host->data, host->len,
                              *port))
    {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": it must be a host and a port, as in "
                       "\"api.example.com:443\"", value);

    return NGX_ERROR;
}


/* "host:port", "[::1]:port" */

ngx_int_t
ngx_http_sluice_egress_split(ngx_str_t *value, ngx_str_t *host,
    in_port_t *port)
{
    u_char     *p, *last;
    ngx_int_t   n;

    last = value->data + value->len;

    for (p = last; p > value->data && p[-1] != ':'; p--) { /* void */ }

    n = (p == value->data) ? NGX_ERROR : ngx_atoi(p, last - p);

    if (n < 1 || n > 65535) {
        return NGX_ERROR;
    }

    host->data = value->data;
    host->len = p - 1 - value->data;
    *port = (in_port_t) n;

    return NGX_OK;
}


/*
 * sluice_egress pool|off [direct=allowed] [resolve=remote|local]
 *               [target=host:port];
 */

static char *
ngx_http_sluice_egress_parse(ngx_conf_t *cf,
    ngx_http_sluice_egress_conf_t **to)
{
    in_port_t                       port;
    ngx_str_t                      *value, text, host;
    ngx_uint_t                      i;
    ngx_http_sluice_egress_conf_t  *conf;

    if (*to != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_egress_conf_t));
    if (conf == NULL) {
        return NGX_CONF_ERROR;
    }

    *to = conf;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return (cf->args->nelts == 2)
               ? NGX_CONF_OK : ngx_http_sluice_pool_invalid(cf, &value[2]);
    }

    conf->pool = ngx_http_sluice_proxies(cf, &value[1]);
    if (conf->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "direct=allowed") == 0) {
            conf->direct = 1;
            continue;
        }

        if (ngx_strcmp(value[i].data, "resolve=remote") == 0) {
            conf->local = 0;
            continue;
        }

        if (ngx_strcmp(value[i].data, "resolve=local") == 0) {
            conf->local = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "target=", 7) != 0
            || conf->target != NULL)
        {
            return ngx_http_sluice_pool_invalid(cf, &value[i]);
        }

        text.data = value[i].data + 7;
        text.len = value[i].len - 7;

        conf->target = ngx_palloc(cf->pool, sizeof(ngx_http_sluice_value_t));

        if (conf->target == NULL
            || ngx_http_sluice_compile(cf, &text, conf->target) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (conf->target->complex.lengths == NULL
            && ngx_http_sluice_proxy_host(cf, &text, &host, &port) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    /* there is no way without a proxy to what only a proxy knows */

    if (conf->target != NULL && (conf->direct || conf->local)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"target=\" is for proxies: it goes with neither "
                           "\"direct=allowed\" nor \"resolve=local\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* in a location */

char *
ngx_http_sluice_egress(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    return ngx_http_sluice_egress_parse(cf, &slcf->egress);
}


/*
 * In upstream{}: what we wrap here is below "keepalive", which knows kept
 * connections by the address that we give them.
 */

char *
ngx_http_sluice_egress_upstream(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_sluice_srv_conf_t *sscf = conf;

    char                          *rv;
    ngx_http_upstream_srv_conf_t  *us;

    rv = ngx_http_sluice_egress_parse(cf, &sscf->egress);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

#if (nginx_version < 1029007)

    /* later ones have it around whatever stands in upstream{} */

    if (ngx_http_sluice_egress_kept(cf, us)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sluice_egress\" must come before \"keepalive\"");
        return NGX_CONF_ERROR;
    }

#endif

    sscf->init_upstream = us->peer.init_upstream
                          ? us->peer.init_upstream
                          : ngx_http_upstream_init_round_robin;

    us->peer.init_upstream = ngx_http_sluice_egress_init_upstream;

    return NGX_CONF_OK;
}


/* a key may go with a proxy of its own: some pool has it */

ngx_int_t
ngx_http_sluice_egress_ties(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                i, n;
    ngx_http_sluice_key_t    *keys;
    ngx_http_sluice_pool_t  **pools;

    pools = smcf->pools.elts;

    for (i = 0; i < smcf->pools.nelts; i++) {
        keys = pools[i]->keys.elts;

        for (n = 0; n < pools[i]->keys.nelts; n++) {

            if (keys[n].proxy.data != NULL
                && !ngx_http_sluice_egress_tied(smcf, &keys[n].proxy))
            {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "unknown proxy \"%V\" of key \"%V\" in pool "
                              "\"%V\": no \"sluice_proxy_pool\" has it",
                              &keys[n].proxy, &keys[n].id,
                              &pools[i]->named.name);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sluice_egress_tied(ngx_http_sluice_main_conf_t *smcf, ngx_str_t *id)
{
    ngx_uint_t                      i;
    ngx_http_sluice_proxy_pool_t  **pools;

    pools = smcf->proxy_pools.elts;

    for (i = 0; i < smcf->proxy_pools.nelts; i++) {
        if (ngx_http_sluice_proxy_find(pools[i], id) != SLUICE_BALANCE_MAX) {
            return 1;
        }
    }

    return 0;
}


/*
 * What a location's requests leave through is decided by the location, or by
 * the upstream that it names.  Whatever would go around that is refused here.
 */

ngx_int_t
ngx_http_sluice_egress_check(ngx_conf_t *cf,
    ngx_http_sluice_loc_conf_t *prev, ngx_http_sluice_loc_conf_t *slcf,
    ngx_str_t *location)
{
    ngx_uint_t                     n;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_upstream_conf_t      *literal;
    ngx_http_sluice_srv_conf_t    *sscf;
    ngx_http_upstream_srv_conf_t  *us, **wanted;
    ngx_http_sluice_main_conf_t   *smcf;
    ngx_http_sluice_egress_conf_t  *conf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    if (smcf->proxy_pools.nelts == 0) {
        return NGX_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == NULL) {

        /* an "if" and its like: its location's */

        slcf->handler = clcf->noname ? prev->handler : NULL;
        return NGX_OK;
    }

    slcf->handler = clcf->handler;

    n = ngx_http_sluice_upstream_confs(cf, &literal);

    /* it has inherited the upstream of a module that is not asked here */

    if (clcf->noname && prev->handler != NULL
        && prev->handler != slcf->handler)
    {
        n = 2;
    }

    us = (n == 1) ? literal->upstream : NULL;

    sscf = (us != NULL && us->srv_conf != NULL)
           ? ngx_http_conf_upstream_srv_conf(us, ngx_http_sluice_module)
           : NULL;

    conf = slcf->egress;

    if (conf == NULL && sscf != NULL && sscf->egress != NGX_CONF_UNSET_PTR) {
        conf = sscf->egress;
    }

    if (conf == NULL || conf->pool == NULL) {
        return NGX_OK;
    }

    if (!conf->direct) {
        slcf->proxies = conf->pool;
    }

#if (NGX_HTTP_CACHE)

    /* what is in the cache needs none */

    if (us != NULL && literal->cache) {
        slcf->proxies = NULL;
    }

#endif

    if (slcf->egress == NULL || slcf->egress->pool == NULL) {
        return NGX_OK;
    }

    if (n > 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has \"sluice_egress\", and passes "
                      "requests in several ways, of which some would bypass "
                      "it: write a location for each of them", location);
        return NGX_ERROR;
    }

    if (us == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has \"sluice_egress\", and an upstream "
                      "that is known only at run time would bypass it: name "
                      "one without variables, or write \"sluice_egress\" into "
                      "each upstream{} that a variable may name", location);
        return NGX_ERROR;
    }

    if (sscf != NULL && sscf->egress == NGX_CONF_UNSET_PTR) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has \"sluice_egress\", and upstream "
                      "\"%V\" in %s:%ui has none: write \"sluice_egress off;\" "
                      "there, before \"keepalive\", if others are to go "
                      "direct", location, &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    if (us->srv_conf != NULL) {
        return NGX_OK;
    }

    wanted = ngx_array_push(&smcf->egress_literals);
    if (wanted == NULL) {
        return NGX_ERROR;
    }

    *wanted = us;

    return NGX_OK;
}


#if (nginx_version < 1029007)

/* whether "keepalive" has been read: its number is the first of its own */

static ngx_uint_t
ngx_http_sluice_egress_kept(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t    index;
    ngx_uint_t  *max_cached;

    index = ngx_http_sluice_module_index(cf,
                                       "ngx_http_upstream_keepalive_module");
    if (index == NGX_ERROR) {
        return 0;
    }

    max_cached = us->srv_conf[index];

    return max_cached != NULL && *max_cached != 0;
}

#endif
