
/*
 * What a refused client reads: status, Retry-After, and a body in its own
 * dialect, so that its library raises the error that it has for the case.
 */

#include "ngx_http_sluice.h"


typedef struct {
    ngx_uint_t    status;
    ngx_str_t     body[3];      /* by NGX_HTTP_SLUICE_FORMAT_...             */
} ngx_http_sluice_refusal_t;


static ngx_int_t ngx_http_sluice_restate(ngx_http_request_t *r,
    ngx_str_t *body, ngx_uint_t status);
static ngx_int_t ngx_http_sluice_retry_after(ngx_http_request_t *r,
    uint64_t retry);
static ngx_int_t ngx_http_sluice_refusal_header_filter(ngx_http_request_t *r);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;

static ngx_str_t  ngx_http_sluice_retry_name = ngx_string("Retry-After");


#define ngx_http_sluice_body(status, title, detail, otype, ocode, atype)      \
    { ngx_string("{\"type\":\"about:blank\",\"title\":\"" title               \
                 "\",\"status\":" status ",\"detail\":\"" detail "\"}" CRLF), \
      ngx_string("{\"error\":{\"message\":\"" detail "\",\"type\":\"" otype   \
                 "\",\"param\":null,\"code\":\"" ocode "\"}}" CRLF),          \
      ngx_string("{\"type\":\"error\",\"error\":{\"type\":\"" atype           \
                 "\",\"message\":\"" detail "\"}}" CRLF) }


static ngx_http_sluice_refusal_t  ngx_http_sluice_over_limit = {
    NGX_HTTP_TOO_MANY_REQUESTS,
    ngx_http_sluice_body("429", "Too Many Requests",
                         "Rate limit reached. Try again later.",
                         "requests", "rate_limit_exceeded",
                         "rate_limit_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_over_tokens = {
    NGX_HTTP_TOO_MANY_REQUESTS,
    ngx_http_sluice_body("429", "Too Many Requests",
                         "Rate limit reached. Try again later.",
                         "tokens", "rate_limit_exceeded",
                         "rate_limit_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_no_key = {
    NGX_HTTP_SERVICE_UNAVAILABLE,
    ngx_http_sluice_body("503", "Service Unavailable",
                         "No upstream key is available. Try again later.",
                         "server_error", "no_key_available",
                         "overloaded_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_keys_limited = {
    NGX_HTTP_TOO_MANY_REQUESTS,
    ngx_http_sluice_body("429", "Too Many Requests",
                         "All upstream keys have reached their limits. Try "
                         "again later.",
                         "requests", "rate_limit_exceeded",
                         "rate_limit_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_no_proxy = {
    NGX_HTTP_SERVICE_UNAVAILABLE,
    ngx_http_sluice_body("503", "Service Unavailable",
                         "No egress proxy is available. Try again later.",
                         "server_error", "no_proxy_available",
                         "overloaded_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_no_room = {
    NGX_HTTP_SERVICE_UNAVAILABLE,
    ngx_http_sluice_body("503", "Service Unavailable",
                         "The request cannot be accounted for now. Try again "
                         "later.",
                         "server_error", "accounting_unavailable",
                         "overloaded_error")
};

static ngx_http_sluice_refusal_t  ngx_http_sluice_misconfigured = {
    NGX_HTTP_INTERNAL_SERVER_ERROR,
    ngx_http_sluice_body("500", "Internal Server Error",
                         "The gateway is misconfigured.",
                         "server_error", "gateway_misconfigured",
                         "api_error")
};


static ngx_str_t  ngx_http_sluice_json = ngx_string("application/json");
static ngx_str_t  ngx_http_sluice_problem =
    ngx_string("application/problem+json");


void
ngx_http_sluice_refusal_init(ngx_http_sluice_main_conf_t *smcf)
{
    /* see ngx_http_sluice_usage_init(): once there, always there */
    static ngx_uint_t  installed;

    if (smcf->other_answers) {
        installed = 1;
    }

    if (installed) {
        ngx_http_next_header_filter = ngx_http_top_header_filter;
        ngx_http_top_header_filter = ngx_http_sluice_refusal_header_filter;
    }
}


/* whether an error_page may answer with another status than an error's */

ngx_uint_t
ngx_http_sluice_refusal_other(ngx_http_core_loc_conf_t *clcf)
{
    u_char                ch;
    ngx_uint_t            i;
    ngx_http_err_page_t  *err_page;

    if (clcf->error_pages == NULL) {
        return 0;
    }

    err_page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        ch = err_page[i].value.value.data[0];

        /* what is no path is redirected to */

        if ((err_page[i].overwrite >= 0
             && err_page[i].overwrite < NGX_HTTP_BAD_REQUEST)
            || (ch != '/' && ch != '@'))
        {
            return 1;
        }
    }

    return 0;
}


/* such an answer is known when it is sent: "return" asks no phase of ours */

static ngx_int_t
ngx_http_sluice_refusal_header_filter(ngx_http_request_t *r)
{
    if (r == r->main && r->headers_out.status < NGX_HTTP_BAD_REQUEST)
    {
        ngx_http_sluice_refuse_undo(r);
    }

    return ngx_http_next_header_filter(r);
}


/*
 * Ends the request in a phase handler: its answer is the handler's answer.
 * outcome OPEN: there was no room for its record.  status: 0 is the usual
 * one.  retry: milliseconds, UINT64_MAX: waiting does not help.
 */

ngx_int_t
ngx_http_sluice_refuse(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, sluice_outcome_t outcome,
    ngx_uint_t status, uint64_t retry)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_http_err_page_t        *err_page;
    ngx_http_complex_value_t    cv;
    ngx_http_sluice_charge_t   *charge;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_sluice_refusal_t  *refusal;

    switch (outcome) {

    case SLUICE_OUTCOME_LIMIT:
        charge = ngx_http_sluice_get_ctx(r)->refused_charge;

        refusal = (charge != NULL && charge->limit->zone->conf.unit
                                     == NGX_HTTP_SLUICE_UNIT_TOKENS)
                  ? &ngx_http_sluice_over_tokens
                  : &ngx_http_sluice_over_limit;
        break;

    case SLUICE_OUTCOME_KEY:
        refusal = (status == NGX_HTTP_TOO_MANY_REQUESTS)
                  ? &ngx_http_sluice_keys_limited : &ngx_http_sluice_no_key;
        break;

    case SLUICE_OUTCOME_PROXY:
        refusal = &ngx_http_sluice_no_proxy;
        break;

    case SLUICE_OUTCOME_OPEN:
        refusal = &ngx_http_sluice_no_room;
        break;

    default:
        refusal = &ngx_http_sluice_misconfigured;
        retry = UINT64_MAX;
    }

    if (status == 0) {
        status = refusal->status;
    }

    /* no answer is no place for a body: 444 ends the connection */

    if (status == NGX_HTTP_CLOSE) {
        return status;
    }

    if (ngx_http_sluice_retry_after(r, retry) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* an error_page of the operator's comes before a body of ours */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages != NULL && !r->error_page) {
        err_page = clcf->error_pages->elts;

        for (i = 0; i < clcf->error_pages->nelts; i++) {
            if (err_page[i].status == (ngx_int_t) status) {
                return status;
            }
        }
    }

    /* of an error_page that brought us here: it would be sent for ours */

    r->err_status = 0;

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = refusal->body[slcf->format];

    if (slcf->format == NGX_HTTP_SLUICE_FORMAT_PROBLEM
        && status != refusal->status)
    {
        if (ngx_http_sluice_restate(r, &cv.value, status) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_send_response(r, status,
                                slcf->format == NGX_HTTP_SLUICE_FORMAT_PROBLEM
                                ? &ngx_http_sluice_problem
                                : &ngx_http_sluice_json,
                                &cv);

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* a problem has its status in its body, and the title is the status's own */

static ngx_int_t
ngx_http_sluice_restate(ngx_http_request_t *r, ngx_str_t *body,
    ngx_uint_t status)
{
    u_char  *detail;

    detail = ngx_strlcasestrn(body->data, body->data + body->len,
                              (u_char *) ",\"detail\"",
                              sizeof(",\"detail\"") - 2);
    if (detail == NULL) {
        return NGX_ERROR;
    }

    body->len = body->data + body->len - detail;
    body->data = ngx_pnalloc(r->pool, sizeof("{\"status\":}") + NGX_INT_T_LEN
                                      + body->len);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    body->len = ngx_sprintf(body->data, "{\"status\":%ui%*s", status,
                            body->len, detail)
                - body->data;

    return NGX_OK;
}


/* whole seconds, rounded up: a second sooner would be refused again */

static ngx_int_t
ngx_http_sluice_retry_after(ngx_http_request_t *r, uint64_t retry)
{
    u_char                 *p, *last;
    ngx_http_sluice_ctx_t  *ctx;

    ngx_http_sluice_clear_header(r, &ngx_http_sluice_retry_name);

    ctx = ngx_http_sluice_get_ctx(r);

    retry = (retry == UINT64_MAX) ? 0 : ngx_max((retry + 999) / 1000, 1);

    if (ctx != NULL) {
        ctx->retry_told = retry;
    }

    if (retry == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_sprintf(p, "%uL", retry);

    return ngx_http_sluice_set_header(r, &ngx_http_sluice_retry_name, p, last);
}


/*
 * Another location answers what was refused: there is nothing to retry.  Once,
 * as what stands there later is the upstream's own.
 */

void
ngx_http_sluice_refuse_undo(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx != NULL && ctx->retry_told != 0
        && r->err_status < NGX_HTTP_BAD_REQUEST)
    {
        ctx->retry_told = 0;
        ngx_http_sluice_clear_header(r, &ngx_http_sluice_retry_name);
    }
}
