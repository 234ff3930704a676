
/*
 * What pools of keys and of proxies have in common as they are written: the
 * block, the parameters of a member, and how one is chosen.
 */

#include "ngx_http_sluice.h"


static char *ngx_http_sluice_pool_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);


/* members: sluice_balance_conf_t, which the lines of the block add to */

char *
ngx_http_sluice_pool_block(ngx_conf_t *cf, ngx_http_sluice_block_t *block,
    ngx_array_t *members)
{
    char                   *rv;
    ngx_uint_t              i;
    ngx_conf_t              save;
    sluice_balance_conf_t  *member;

    save = *cf;

    cf->handler = ngx_http_sluice_pool_line;
    cf->handler_conf = (char *) block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    member = members->elts;

    for (i = 0; i < members->nelts; i++) {
        if (!member[i].backup) {
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       members->nelts ? "%s pool \"%V\" has backup %s only"
                                      : "%s pool \"%V\" has no %s",
                       block->what, &block->named->name, block->many);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_sluice_pool_line(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_http_sluice_block_t *block = conf;

    ngx_str_t                    *value;
    ngx_http_sluice_pool_line_t  *line;

    value = cf->args->elts;

    for (line = block->lines; line->name.len; line++) {

        if (value[0].len != line->name.len
            || ngx_strcmp(value[0].data, line->name.data) != 0)
        {
            continue;
        }

        if (block->written & line->once) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is duplicate in %s pool \"%V\"",
                               &line->name, block->what, &block->named->name);
            return NGX_CONF_ERROR;
        }

        block->written |= line->once;

        if (cf->args->nelts < 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" says nothing in %s pool \"%V\"",
                               &line->name, block->what, &block->named->name);
            return NGX_CONF_ERROR;
        }

        return line->handler(cf, block->pool);
    }

    /* not by its name: it may be a secret, and the word before it be missing */

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive in a %s pool: it knows %s",
                       block->what, block->known);

    return NGX_CONF_ERROR;
}


/*
 * weight=, max_conns=, backup.  NGX_DECLINED: it is another parameter.
 */

ngx_int_t
ngx_http_sluice_pool_parameter(ngx_conf_t *cf, ngx_str_t *value,
    sluice_balance_conf_t *member)
{
    ngx_int_t  n;

    if (ngx_strncmp(value->data, "weight=", 7) == 0) {
        n = ngx_atoi(value->data + 7, value->len - 7);

        if (n < 1 || n > SLUICE_WEIGHT_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": a weight is 1 to %d",
                               value, SLUICE_WEIGHT_MAX);
            return NGX_ERROR;
        }

        member->weight = (uint32_t) n;

        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "max_conns=", 10) == 0) {
        n = ngx_atoi(value->data + 10, value->len - 10);

        if (n < 1 || n > 65535) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": 1 to 65535 requests can "
                               "be in flight", value);
            return NGX_ERROR;
        }

        member->max_conns = (uint32_t) n;

        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "backup") == 0) {
        member->backup = true;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* balance round_robin|least_used|random|hash $variable; */

char *
ngx_http_sluice_pool_balance(ngx_conf_t *cf, const char *what,
    ngx_uint_t *method, ngx_http_sluice_value_t **hash)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    static const char  *secret[] = { "sluice_key", NULL };

    static ngx_str_t  methods[] = {
        [SLUICE_BALANCE_ROUND_ROBIN] = ngx_string("round_robin"),
        [SLUICE_BALANCE_LEAST_USED] = ngx_string("least_used"),
        [SLUICE_BALANCE_RANDOM] = ngx_string("random"),
        [SLUICE_BALANCE_HASH] = ngx_string("hash")
    };

    value = cf->args->elts;

    for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {

        if (value[1].len != methods[i].len
            || ngx_strcmp(value[1].data, methods[i].data) != 0
            || cf->args->nelts != (i == SLUICE_BALANCE_HASH ? 3u : 2u))
        {
            continue;
        }

        *method = i;

        if (i != SLUICE_BALANCE_HASH) {
            return NGX_CONF_OK;
        }

        /* it is empty then, and all would have the same member */

        if (ngx_http_sluice_mentions(&value[2], secret) != NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "$sluice_key is empty when a member of a %s "
                               "pool is chosen", what);
            return NGX_CONF_ERROR;
        }

        *hash = ngx_palloc(cf->pool, sizeof(ngx_http_sluice_value_t));
        if (*hash == NULL) {
            return NGX_CONF_ERROR;
        }

        return ngx_http_sluice_compile(cf, &value[2], *hash) == NGX_OK
               ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "a %s pool's balance is \"round_robin\", "
                       "\"least_used\", \"random\" or \"hash $variable\"",
                       what);

    return NGX_CONF_ERROR;
}


/* what HASH goes by: the same over restarts, and on all nodes, so not keyed */

ngx_int_t
ngx_http_sluice_pool_hash(ngx_http_request_t *r,
    ngx_http_sluice_value_t *value, uint64_t *hash)
{
    ngx_str_t      text;
    const uint8_t  zero[16] = { 0 };

    *hash = 0;

    if (value == NULL) {
        return NGX_OK;
    }

    if (ngx_http_sluice_value(r, value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    *hash = sluice_siphash(zero, text.data, text.len).lo;

    return NGX_OK;
}


/* id=.  NGX_DECLINED: it is another parameter, which may be a secret */

ngx_int_t
ngx_http_sluice_pool_id(ngx_conf_t *cf, ngx_str_t *value, const char *what,
    ngx_str_t *id)
{
    if (ngx_strncmp(value->data, "id=", 3) != 0) {
        return NGX_DECLINED;
    }

    if (id->data != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a %s has one \"id=\", not two", what);
        return NGX_ERROR;
    }

    id->data = value->data + 3;
    id->len = value->len - 3;

    return NGX_OK;
}


/* 1ms to 31d, behind so many bytes of a name */

ngx_int_t
ngx_http_sluice_pool_time(ngx_conf_t *cf, ngx_str_t *value, size_t prefix,
    uint64_t *ms)
{
    ngx_int_t  time;
    ngx_str_t  text;

    text.data = value->data + prefix;
    text.len = value->len - prefix;

    time = ngx_parse_time(&text, 0);

    if (time == NGX_ERROR || time == 0
        || time > (ngx_int_t) SLUICE_LIMIT_WINDOW_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": it must be a time of up to 31d",
                           value);
        return NGX_ERROR;
    }

    *ms = (uint64_t) time;

    return NGX_OK;
}


char *
ngx_http_sluice_pool_invalid(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);

    return NGX_CONF_ERROR;
}
