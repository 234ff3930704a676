
/*
 * What an upstream's answer says about the key that it was asked with.
 */

#include "ngx_http_sluice.h"

#include "shm/hint.h"


/* bytes of an error's body that are looked at */
#define NGX_HTTP_SLUICE_BODY_MAX  2048


static ngx_uint_t ngx_http_sluice_body_encoded(ngx_http_upstream_t *u);
static ngx_uint_t ngx_http_sluice_body_whole(ngx_http_upstream_t *u,
    size_t size);
static u_char *ngx_http_sluice_find(u_char *data, size_t len,
    ngx_str_t *pattern);


sluice_answer_t
ngx_http_sluice_key_answer(ngx_http_sluice_pool_t *pool, ngx_uint_t status)
{
    if (status < NGX_HTTP_SLUICE_STATUS_MIN) {
        return SLUICE_ANSWER_WELL;
    }

    if (status >= NGX_HTTP_SLUICE_STATUS_MIN + NGX_HTTP_SLUICE_STATUSES) {
        return SLUICE_ANSWER_ERROR;
    }

    return pool->answers[status - NGX_HTTP_SLUICE_STATUS_MIN];
}


/*
 * Whether the body of an error, as far as it has come, says that the account
 * has run dry.  NGX_OK: it does; NGX_DECLINED: it does not; NGX_AGAIN: more of
 * it must come before that can be told.
 */

ngx_int_t
ngx_http_sluice_key_body(ngx_http_request_t *r, ngx_http_sluice_pool_t *pool)
{
    size_t                size;
    ngx_str_t            *pattern;
    ngx_uint_t            i;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* what other modules read from an upstream is not an answer in HTTP */

    if (pool->patterns.nelts == 0
        || (u->headers_in.status_n != NGX_HTTP_BAD_REQUEST
            && u->headers_in.status_n != NGX_HTTP_FORBIDDEN
            && u->headers_in.status_n != NGX_HTTP_TOO_MANY_REQUESTS)
        || r->method == NGX_HTTP_HEAD
        || ngx_strcmp(u->conf->module.data, "proxy") != 0
        || ngx_http_sluice_body_encoded(u))
    {
        return NGX_DECLINED;
    }

    size = u->buffer.last - u->buffer.pos;
    pattern = pool->patterns.elts;

    for (i = 0; i < pool->patterns.nelts; i++) {
        if (ngx_http_sluice_find(u->buffer.pos,
                                 ngx_min(size, NGX_HTTP_SLUICE_BODY_MAX),
                                 &pattern[i])
            != NULL)
        {
            return NGX_OK;
        }
    }

    return ngx_http_sluice_body_whole(u, size) ? NGX_DECLINED : NGX_AGAIN;
}


/* nginx has it at hand only if it is built with gzip */

static ngx_uint_t
ngx_http_sluice_body_encoded(ngx_http_upstream_t *u)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &u->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == sizeof("Content-Encoding") - 1
                && ngx_strncasecmp(h[i].key.data,
                                   (u_char *) "Content-Encoding",
                                   sizeof("Content-Encoding") - 1)
                   == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/* as much of it is here as will be, or as is looked at, or as there is room */

static ngx_uint_t
ngx_http_sluice_body_whole(ngx_http_upstream_t *u, size_t size)
{
    if (size >= NGX_HTTP_SLUICE_BODY_MAX || u->buffer.last == u->buffer.end) {
        return 1;
    }

    /* the last chunk, and a trailer; or a line's end before it: as good */

    if (u->headers_in.chunked) {
        return size >= 4 && ngx_memcmp(u->buffer.last - 4, CRLF CRLF, 4) == 0;
    }

    /* without a length it ends with the connection, which is an error here */

    return u->headers_in.content_length_n == -1
           || u->headers_in.content_length_n <= (off_t) size;
}


static u_char *
ngx_http_sluice_find(u_char *data, size_t len, ngx_str_t *pattern)
{
    u_char  *p, *last;

    if (len < pattern->len) {
        return NULL;
    }

    last = data + len - pattern->len + 1;

    for (p = data; p < last; p++) {

        p = ngx_strlchr(p, last, pattern->data[0]);

        if (p == NULL) {
            return NULL;
        }

        if (ngx_memcmp(p, pattern->data, pattern->len) == 0) {
            return p;
        }
    }

    return NULL;
}


/* milliseconds that the answer asks to wait; SLUICE_NEVER: it does not say */

uint64_t
ngx_http_sluice_key_hint(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_time_t       *tp;
    sluice_hints_t    hints;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    tp = ngx_timeofday();

    sluice_hints_init(&hints,
                      (uint64_t) tp->sec * 1000000 + tp->msec * 1000);

    part = &r->upstream->headers_in.headers.part;

    for ( /* void */ ; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            sluice_hints_add(&hints, (char *) h[i].key.data, h[i].key.len,
                             (char *) h[i].value.data, h[i].value.len);
        }
    }

    return sluice_hints_wait(&hints);
}
