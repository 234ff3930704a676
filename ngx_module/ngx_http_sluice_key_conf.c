
/*
 * Key pools as they are written: keys, and how one is chosen.
 */

#include "ngx_http_sluice.h"


static ngx_http_sluice_pool_t *ngx_http_sluice_pool(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf, ngx_str_t *name);
static char *ngx_http_sluice_pool_key(ngx_conf_t *cf, void *conf);
static char *ngx_http_sluice_pool_keys(ngx_conf_t *cf, void *conf);
static size_t ngx_http_sluice_rare_byte(ngx_str_t *secret);
static ngx_int_t ngx_http_sluice_pool_add(ngx_conf_t *cf,
    ngx_http_sluice_pool_t *pool, ngx_http_sluice_key_t *key,
    sluice_balance_conf_t *member);
static ngx_int_t ngx_http_sluice_pool_member(ngx_conf_t *cf,
    ngx_uint_t first, sluice_balance_conf_t *member,
    ngx_http_sluice_key_t *key, ngx_str_t *id);
static ngx_int_t ngx_http_sluice_pool_limit(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *text, sluice_counts_t counts, sluice_balance_conf_t *member);
static char *ngx_http_sluice_key_balance(ngx_conf_t *cf, void *conf);


static ngx_http_sluice_pool_line_t  ngx_http_sluice_pool_lines[] = {

    { ngx_string("key"), 0, ngx_http_sluice_pool_key },

    { ngx_string("keys"), 0, ngx_http_sluice_pool_keys },

    { ngx_string("balance"), NGX_HTTP_SLUICE_BALANCE,
      ngx_http_sluice_key_balance },

    { ngx_string("cooldown"), NGX_HTTP_SLUICE_COOLDOWN,
      ngx_http_sluice_pool_cooldown },

    { ngx_string("disable"), NGX_HTTP_SLUICE_DISABLE,
      ngx_http_sluice_pool_disable },

    { ngx_string("exhaust"), NGX_HTTP_SLUICE_EXHAUST,
      ngx_http_sluice_pool_exhaust },

    { ngx_string("breaker"), NGX_HTTP_SLUICE_BREAKER,
      ngx_http_sluice_pool_breaker },

    { ngx_null_string, 0, NULL }
};


/* finds the pool, or makes one that somebody must still define */

static ngx_http_sluice_pool_t *
ngx_http_sluice_pool(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    ngx_str_t *name)
{
    ngx_http_sluice_pool_t  *pool;

    pool = (ngx_http_sluice_pool_t *)
               ngx_http_sluice_named(cf, &smcf->pools,
                                     sizeof(ngx_http_sluice_pool_t), name,
                                     "pool");

    if (pool == NULL || pool->keys.elts != NULL) {
        return pool;
    }

    if (ngx_array_init(&pool->keys, cf->pool, 4,
                       sizeof(ngx_http_sluice_key_t))
        != NGX_OK
        || ngx_array_init(&pool->members, cf->pool, 4,
                          sizeof(sluice_balance_conf_t))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_memset(pool->answers, SLUICE_ANSWERS,
               NGX_HTTP_SLUICE_STATUSES);

    pool->pool.file.fd = -1;

    return pool;
}


/* sluice_key pool|off [wait=time] [tokens=$estimate] [settle=$actual]; */

char *
ngx_http_sluice_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    uint64_t                      ms;
    ngx_str_t                    *value, text;
    ngx_uint_t                    i;
    ngx_http_sluice_value_t     **to;
    ngx_http_sluice_key_conf_t   *key;
    ngx_http_sluice_main_conf_t  *smcf;

    if (slcf->key != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        slcf->key = NULL;
        return NGX_CONF_OK;
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    key = ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_key_conf_t));
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    key->pool = ngx_http_sluice_pool(cf, smcf, &value[1]);
    if (key->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "wait=", 5) == 0) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 5, &ms) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            key->wait = (ngx_msec_t) ms;
            continue;
        }

        if (ngx_strncmp(value[i].data, "tokens=", 7) == 0) {
            to = &key->tokens;

        } else if (ngx_strncmp(value[i].data, "settle=", 7) == 0) {
            to = &key->settle;

        } else {
            return ngx_http_sluice_pool_invalid(cf, &value[i]);
        }

        text.data = value[i].data + 7;
        text.len = value[i].len - 7;

        if (*to != NULL || text.len == 0) {
            return ngx_http_sluice_pool_invalid(cf, &value[i]);
        }

        *to = ngx_palloc(cf->pool, sizeof(ngx_http_sluice_value_t));
        if (*to == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_sluice_compile(cf, &text, *to) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (key->settle != NULL && key->tokens == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"settle=\" needs \"tokens=\": the estimate that "
                           "it replaces");
        return NGX_CONF_ERROR;
    }

    slcf->key = key;

    return NGX_CONF_OK;
}


/*
 * Whether a cache may answer; and what is written and never acts: of a default
 * nothing is said.
 */

void
ngx_http_sluice_key_check(ngx_conf_t *cf, ngx_http_sluice_loc_conf_t *slcf,
    ngx_str_t *location)
{
    ngx_http_sluice_pool_t    *pool;
#if (NGX_HTTP_CACHE)
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_upstream_conf_t  *literal;
#endif

    if (slcf->key == NULL) {
        return;
    }

#if (NGX_HTTP_CACHE)

    /*
     * Where peer.init refuses who has no key.  An "if" may go elsewhere with
     * what it has inherited.
     */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname
        && ngx_http_sluice_upstream_confs(cf, &literal) == 1
        && literal->cache)
    {
        slcf->cached = literal->cache_methods;
    }

#endif

    pool = slcf->key->pool;

    if (!(pool->written & NGX_HTTP_SLUICE_DISABLE)
        || pool->answers[NGX_HTTP_FORBIDDEN - NGX_HTTP_SLUICE_STATUS_MIN]
           != SLUICE_ANSWER_DENIED)
    {
        return;
    }

    if (slcf->key_tries == 1
        || (slcf->key_next & (NGX_HTTP_SLUICE_NEXT_403
                              |NGX_HTTP_SLUICE_NEXT_OFF))
           != NGX_HTTP_SLUICE_NEXT_403)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"disable\" of key pool \"%V\" has 403, which counts "
                      "only if another key is let through with the same "
                      "request, and in location \"%V\" none is tried after "
                      "it: \"%s\"", &pool->named.name, location,
                      slcf->key_tries == 1 ? "sluice_key_tries"
                                           : "sluice_key_next");
    }
}


/* sluice_key_pool name { ... } */

char *
ngx_http_sluice_key_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_http_sluice_pool_t   *pool;
    ngx_http_sluice_block_t   block;

    value = cf->args->elts;

    pool = ngx_http_sluice_pool(cf, smcf, &value[1]);
    if (pool == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_define(cf, &pool->named, "key pool") != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    block.what = "key";
    block.many = "keys";
    block.known = "\"key\", \"keys\", \"balance\", \"cooldown\", "
                  "\"disable\", \"exhaust\" and \"breaker\"";
    block.lines = ngx_http_sluice_pool_lines;
    block.named = &pool->named;
    block.pool = pool;
    block.written = 0;

    rv = ngx_http_sluice_pool_block(cf, &block, &pool->members);

    if (rv == NGX_CONF_OK) {
        pool->written = block.written;
        ngx_http_sluice_pool_defaults(pool);
    }

    return rv;
}


/* key secret|file:path|sealed:path id=name ...; no message has the secret */

static char *
ngx_http_sluice_pool_key(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    ngx_str_t              *value, id;
    ngx_http_sluice_key_t   key;
    sluice_balance_conf_t   member;

    value = cf->args->elts;

    ngx_memzero(&key, sizeof(ngx_http_sluice_key_t));
    ngx_memzero(&member, sizeof(sluice_balance_conf_t));
    ngx_str_null(&id);

    if (ngx_http_sluice_pool_member(cf, 2, &member, &key, &id) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (id.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a key must be \"key SECRET id=NAME\", "
                           "\"key file:PATH id=NAME\" or "
                           "\"key sealed:PATH id=NAME\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_copy_name(cf, &key.id, &id, "key id") != NGX_OK
        || ngx_http_sluice_read_secret(cf, &value[1], &key.secret) != NGX_OK
        || ngx_http_sluice_pool_add(cf, pool, &key, &member) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* keys file:path|sealed:path ...; an id and a key a line, parameters of all */

static char *
ngx_http_sluice_pool_keys(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_array_t             keys;
    ngx_http_sluice_key_t  *key, all;
    sluice_balance_conf_t   member;

    value = cf->args->elts;

    ngx_memzero(&all, sizeof(ngx_http_sluice_key_t));
    ngx_memzero(&member, sizeof(sluice_balance_conf_t));

    if (ngx_http_sluice_pool_member(cf, 2, &member, &all, NULL) != NGX_OK
        || ngx_array_init(&keys, cf->temp_pool, 16,
                          sizeof(ngx_http_sluice_key_t))
           != NGX_OK
        || ngx_http_sluice_read_secrets(cf, &value[1], &keys) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    key = keys.elts;

    for (i = 0; i < keys.nelts; i++) {
        key[i].proxy = all.proxy;
        key[i].strict = all.strict;

        if (ngx_http_sluice_pool_add(cf, pool, &key[i], &member) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/*
 * The place of the byte that an answer is searched for the key by.  Headers
 * are lower case and digits mostly: capitals are the least of them, but for
 * those that names and dates begin with.
 */

static size_t
ngx_http_sluice_rare_byte(ngx_str_t *secret)
{
    u_char  *p;
    size_t   i, at, rank, best;

    static u_char  common[] = "QZYVUKBIGNMJLORFWPEHDXTSAC_qzjxvkbywfgmphucl"
                              "9876543210dsnrioate-";

    at = 0;
    best = sizeof(common);

    for (i = 0; i < secret->len; i++) {
        p = (u_char *) ngx_strchr(common, secret->data[i]);
        rank = (p != NULL) ? (size_t) (p - common) : 0;

        if (rank < best) {
            best = rank;
            at = i;
        }
    }

    return at;
}


static ngx_int_t
ngx_http_sluice_pool_add(ngx_conf_t *cf, ngx_http_sluice_pool_t *pool,
    ngx_http_sluice_key_t *key, sluice_balance_conf_t *member)
{
    ngx_uint_t              i;
    sluice_balance_conf_t  *m;
    ngx_http_sluice_key_t  *k;

    k = pool->keys.elts;

    for (i = 0; i < pool->keys.nelts; i++) {
        if (k[i].id.len == key->id.len
            && ngx_strncmp(k[i].id.data, key->id.data, key->id.len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate key id \"%V\" in pool \"%V\"",
                               &key->id, &pool->named.name);
            return NGX_ERROR;
        }

        /* its windows would be twice what the upstream lets it have */

        if (k[i].secret.len == key->secret.len
            && ngx_memcmp(k[i].secret.data, key->secret.data, key->secret.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "keys \"%V\" and \"%V\" of pool \"%V\" are the "
                               "same, under two ids", &k[i].id, &key->id,
                               &pool->named.name);
        }
    }

    /* the word that a server of one's own takes for a key, or a mistake */

    if (key->secret.len < NGX_HTTP_SLUICE_MASK_MIN) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "key \"%V\" of pool \"%V\" has less than %d bytes: "
                           "an answer's header that repeats it is not masked",
                           &key->id, &pool->named.name,
                           NGX_HTTP_SLUICE_MASK_MIN);
    }

    key->rare = ngx_http_sluice_rare_byte(&key->secret);

    if (pool->keys.nelts == SLUICE_BALANCE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key pool \"%V\" has more than %d keys",
                           &pool->named.name, SLUICE_BALANCE_MAX);
        return NGX_ERROR;
    }

    k = ngx_array_push(&pool->keys);
    m = ngx_array_push(&pool->members);

    if (k == NULL || m == NULL) {
        return NGX_ERROR;
    }

    *k = *key;
    *m = *member;
    m->id = (char *) k->id.data;

    return NGX_OK;
}


/* id: NULL, where each line of a file has its own */

static ngx_int_t
ngx_http_sluice_pool_member(ngx_conf_t *cf, ngx_uint_t first,
    sluice_balance_conf_t *member, ngx_http_sluice_key_t *key, ngx_str_t *id)
{
    ngx_int_t    n;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    value = cf->args->elts;
    member->weight = 1;

    for (i = first; i < cf->args->nelts; i++) {

        n = (id != NULL) ? ngx_http_sluice_pool_id(cf, &value[i], "key", id)
                         : NGX_DECLINED;

        if (n == NGX_DECLINED) {
            n = ngx_http_sluice_pool_parameter(cf, &value[i], member);
        }

        if (n == NGX_OK) {
            continue;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (ngx_strncmp(value[i].data, "limit=", 6) == 0) {
            text.data = value[i].data + 6;
            text.len = value[i].len - 6;

            if (ngx_http_sluice_pool_limit(cf, &value[i], &text,
                                           SLUICE_COUNTS_REQUESTS, member)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "tokens=", 7) == 0) {
            text.data = value[i].data + 7;
            text.len = value[i].len - 7;

            if (ngx_http_sluice_pool_limit(cf, &value[i], &text,
                                           SLUICE_COUNTS_TOKENS, member)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "proxy=", 6) == 0) {
            text.data = value[i].data + 6;
            text.len = value[i].len - 6;

            if (ngx_http_sluice_copy_name(cf, &key->proxy, &text, "proxy id")
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_strcmp(value[i].data, "strict") == 0) {
            key->strict = 1;
            continue;
        }

        /* not by itself: a space within a key leaves a part of it here */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter %ui of a key: it knows %s"
                           "\"weight=\", \"max_conns=\", \"limit=\", "
                           "\"tokens=\", \"proxy=\", \"strict\" and "
                           "\"backup\"",
                           i, id != NULL ? "\"id=\", " : "");
        return NGX_ERROR;
    }

    if (key->strict && key->proxy.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"strict\" needs \"proxy=\": the one that a key "
                           "goes with or not at all");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* "500/1m" */

static ngx_int_t
ngx_http_sluice_pool_limit(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *text,
    sluice_counts_t counts, sluice_balance_conf_t *member)
{
    off_t                   max;
    u_char                 *slash, *last;
    ngx_int_t               window;
    ngx_str_t               time;
    ngx_uint_t              i;
    sluice_member_limit_t  *limit;

    last = text->data + text->len;
    slash = ngx_strlchr(text->data, last, '/');

    if (slash == NULL) {
        goto invalid;
    }

    time.data = slash + 1;
    time.len = last - time.data;

    max = ngx_atoof(text->data, slash - text->data);
    window = ngx_parse_time(&time, 0);

    if (max == NGX_ERROR || max == 0 || window == NGX_ERROR
        || window < 1000 || window > (ngx_int_t) SLUICE_LIMIT_WINDOW_MAX
        || window % 1000 != 0)
    {
        goto invalid;
    }

    if (member->nlimits == SLUICE_MEMBER_LIMITS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a key can have %d windows, and no \"%V\" besides",
                           SLUICE_MEMBER_LIMITS, value);
        return NGX_ERROR;
    }

    for (i = 0; i < member->nlimits; i++) {
        if (member->limit[i].counts == counts
            && member->limit[i].window == (uint32_t) window)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is a second limit of the same window",
                               value);
            return NGX_ERROR;
        }
    }

    limit = &member->limit[member->nlimits++];

    limit->counts = counts;
    limit->window = (uint32_t) window;
    limit->max = (uint64_t) max;

    if (!sluice_member_limit_init(limit)) {
        goto invalid;
    }

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": it must be a number, \"/\", and a "
                       "window of whole seconds up to 31d, as in \"500/1m\"",
                       value);

    return NGX_ERROR;
}


static char *
ngx_http_sluice_key_balance(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    return ngx_http_sluice_pool_balance(cf, "key", &pool->method,
                                        &pool->hash);
}
