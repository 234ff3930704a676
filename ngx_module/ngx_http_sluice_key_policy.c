
/*
 * What a key pool does about the answers of an upstream, as it is written.
 */

#include "ngx_http_sluice.h"


static ngx_int_t ngx_http_sluice_pool_status(ngx_conf_t *cf,
    ngx_http_sluice_pool_t *pool, ngx_str_t *value, sluice_answer_t answer);


/*
 * What providers call an account without money.  With the quotation mark:
 * within a string of JSON none stands bare, so a client whose words come back
 * to him in an error cannot bring it about.
 */

static ngx_str_t  ngx_http_sluice_pool_patterns[] = {
    ngx_string("\"insufficient_quota\""),
    ngx_string("\"billing_hard_limit_reached\""),
    ngx_string("\"billing_not_active\""),
    ngx_string("\"billing_error\""),
    ngx_string("\"Your credit balance is too low")
};


/* of what was not written; a status that was is left where it is */

void
ngx_http_sluice_pool_defaults(ngx_http_sluice_pool_t *pool)
{
    ngx_uint_t               i;
    sluice_member_policy_t  *policy;

    static struct {
        ngx_uint_t       line;
        ngx_uint_t       status;
        sluice_answer_t  answer;
    } defaults[] = {
        { NGX_HTTP_SLUICE_COOLDOWN, 429, SLUICE_ANSWER_COOL },
        { NGX_HTTP_SLUICE_COOLDOWN, 529, SLUICE_ANSWER_COOL },
        { NGX_HTTP_SLUICE_DISABLE, 401, SLUICE_ANSWER_DENIED },
        { NGX_HTTP_SLUICE_DISABLE, 403, SLUICE_ANSWER_DENIED },
        { NGX_HTTP_SLUICE_EXHAUST, 402, SLUICE_ANSWER_EXHAUSTED }
    };

    for (i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {

        if (!(pool->written & defaults[i].line)
            && pool->answers[defaults[i].status - NGX_HTTP_SLUICE_STATUS_MIN]
               == SLUICE_ANSWERS)
        {
            pool->answers[defaults[i].status - NGX_HTTP_SLUICE_STATUS_MIN]
                = defaults[i].answer;
        }
    }

    for (i = 0; i < NGX_HTTP_SLUICE_STATUSES; i++) {

        if (pool->answers[i] == SLUICE_ANSWERS) {
            pool->answers[i] = (i + NGX_HTTP_SLUICE_STATUS_MIN < 500)
                               ? SLUICE_ANSWER_CLIENT : SLUICE_ANSWER_ERROR;
        }
    }

    policy = &pool->policy;

    if (!(pool->written & NGX_HTTP_SLUICE_COOLDOWN)) {
        policy->cool = 60 * 1000;
        policy->cool_max = 600 * 1000;
    }

    if (!(pool->written & NGX_HTTP_SLUICE_DISABLE)) {
        policy->denied = 3;
    }

    if (!(pool->written & NGX_HTTP_SLUICE_EXHAUST)) {
        policy->exhausted = 86400 * 1000;
    }

    if (!(pool->written & NGX_HTTP_SLUICE_BREAKER)) {
        policy->errors = 5;
        policy->window = 10 * 1000;
        policy->open = 30 * 1000;
        policy->open_max = 600 * 1000;
    }

    if (policy->probe == 0) {
        policy->probe = 60 * 1000;
    }

    if (pool->patterns.elts == NULL) {
        pool->patterns.elts = ngx_http_sluice_pool_patterns;
        pool->patterns.nelts = sizeof(ngx_http_sluice_pool_patterns)
                               / sizeof(ngx_str_t);
    }
}


/* cooldown status ... time [max=time]; cooldown off; */

char *
ngx_http_sluice_pool_cooldown(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    uint64_t                 ms;
    ngx_int_t                n;
    ngx_str_t               *value;
    ngx_uint_t               i;
    sluice_member_policy_t  *policy;

    value = cf->args->elts;
    policy = &pool->policy;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "max=", 4) == 0) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 4,
                                          &policy->cool_max)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        /* a bare number is a status, a time has its unit */

        n = ngx_atoi(value[i].data, value[i].len);

        if (n == NGX_ERROR) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 0, &ms) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            if (policy->cool != 0) {
                return ngx_http_sluice_pool_invalid(cf, &value[i]);
            }

            policy->cool = ms;
            continue;
        }

        if (ngx_http_sluice_pool_status(cf, pool, &value[i],
                                        SLUICE_ANSWER_COOL)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (policy->cool == 0) {
        policy->cool = 60 * 1000;
    }

    if (policy->cool_max == 0) {
        policy->cool_max = ngx_max(policy->cool, 600 * 1000);
    }

    if (policy->cool_max < policy->cool) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"cooldown\" is longer than its \"max=\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* disable status ... [after=number]; disable off; */

char *
ngx_http_sluice_pool_disable(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    pool->policy.denied = 3;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "after=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1 || n > 100) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": 1 to 100 answers in a "
                                   "row may disable a key", &value[i]);
                return NGX_CONF_ERROR;
            }

            pool->policy.denied = (uint32_t) n;
            continue;
        }

        if (ngx_http_sluice_pool_status(cf, pool, &value[i],
                                        SLUICE_ANSWER_DENIED)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* exhaust status ... [for=time] [match=text ...]; exhaust off; */

char *
ngx_http_sluice_pool_exhaust(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    ngx_str_t   *value, *pattern;
    ngx_uint_t   i;

    value = cf->args->elts;

    if (ngx_array_init(&pool->patterns, cf->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "for=", 4) == 0) {

            if (ngx_http_sluice_pool_time(cf, &value[i], 4,
                                          &pool->policy.exhausted)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "match=", 6) == 0) {

            if (value[i].len < 6 + 4) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": less than 4 bytes would "
                                   "match by chance", &value[i]);
                return NGX_CONF_ERROR;
            }

            pattern = ngx_array_push(&pool->patterns);
            if (pattern == NULL) {
                return NGX_CONF_ERROR;
            }

            pattern->data = value[i].data + 6;
            pattern->len = value[i].len - 6;
            continue;
        }

        if (ngx_http_sluice_pool_status(cf, pool, &value[i],
                                        SLUICE_ANSWER_EXHAUSTED)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (pool->policy.exhausted == 0) {
        pool->policy.exhausted = 86400 * 1000;
    }

    if (pool->patterns.nelts == 0) {
        pool->patterns.elts = NULL;
    }

    return NGX_CONF_OK;
}


/* breaker [errors=n] [window=time] [open=time] [max=time] [probe=time]; */

char *
ngx_http_sluice_pool_breaker(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_pool_t *pool = conf;

    uint64_t                *to;
    ngx_int_t                n;
    ngx_str_t               *value;
    ngx_uint_t               i;
    sluice_member_policy_t  *policy;

    value = cf->args->elts;
    policy = &pool->policy;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    policy->errors = 5;
    policy->window = 10 * 1000;
    policy->open = 30 * 1000;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "errors=", 7) == 0) {
            n = ngx_atoi(value[i].data + 7, value[i].len - 7);

            if (n < 1 || n > 1000) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": 1 to 1000 errors in a "
                                   "row may open a breaker", &value[i]);
                return NGX_CONF_ERROR;
            }

            policy->errors = (uint32_t) n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "window=", 7) == 0) {
            to = &policy->window;
            n = 7;

        } else if (ngx_strncmp(value[i].data, "open=", 5) == 0) {
            to = &policy->open;
            n = 5;

        } else if (ngx_strncmp(value[i].data, "max=", 4) == 0) {
            to = &policy->open_max;
            n = 4;

        } else if (ngx_strncmp(value[i].data, "probe=", 6) == 0) {
            to = &policy->probe;
            n = 6;

        } else {
            return ngx_http_sluice_pool_invalid(cf, &value[i]);
        }

        if (ngx_http_sluice_pool_time(cf, &value[i], n, to) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (policy->open_max == 0) {
        policy->open_max = ngx_max(policy->open, 600 * 1000);
    }

    if (policy->open_max < policy->open) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"open=\" is longer than \"max=\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* one that the client's own errors have is no sign of a bad key */

static ngx_int_t
ngx_http_sluice_pool_status(ngx_conf_t *cf, ngx_http_sluice_pool_t *pool,
    ngx_str_t *value, sluice_answer_t answer)
{
    u_char     *to;
    ngx_int_t   n;

    n = ngx_atoi(value->data, value->len);

    if (n < NGX_HTTP_SLUICE_STATUS_MIN
        || n >= NGX_HTTP_SLUICE_STATUS_MIN + NGX_HTTP_SLUICE_STATUSES
        || n == 400 || n == 404 || n == 413 || n == 422)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid status \"%V\": it must be 401 to 599, "
                           "and none of 404, 413 and 422, which are the "
                           "client's", value);
        return NGX_ERROR;
    }

    to = &pool->answers[n - NGX_HTTP_SLUICE_STATUS_MIN];

    if (*to != SLUICE_ANSWERS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "status %V stands twice in key pool \"%V\"",
                           value, &pool->named.name);
        return NGX_ERROR;
    }

    *to = (u_char) answer;

    return NGX_OK;
}
