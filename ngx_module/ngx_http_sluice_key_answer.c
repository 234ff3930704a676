
/*
 * What an upstream's answer says about the key that it was asked with, and
 * whether another key is to be asked instead.
 */

#include "ngx_http_sluice_key_try.h"

#include "shm/hint.h"


static void ngx_http_sluice_try_mask(ngx_http_sluice_try_t *t);
static u_char *ngx_http_sluice_find_secret(ngx_http_sluice_key_t *key,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_sluice_try_answer(ngx_http_sluice_try_t *t,
    sluice_answer_t *answer);
static void ngx_http_sluice_try_judge(ngx_http_sluice_try_t *t,
    sluice_answer_t answer, sluice_member_reason_t reason);
static ngx_int_t ngx_http_sluice_try_again(ngx_http_sluice_try_t *t,
    sluice_answer_t answer);
static ngx_uint_t ngx_http_sluice_try_origin_failed(
    ngx_http_sluice_try_t *t);
static ngx_uint_t ngx_http_sluice_try_after(ngx_uint_t status);
static sluice_answer_t ngx_http_sluice_key_answer(
    ngx_http_sluice_pool_t *pool, ngx_uint_t status);
static uint64_t ngx_http_sluice_key_hint(ngx_http_request_t *r,
    ngx_http_sluice_pool_t *pool, sluice_answer_t answer);


/* the status and the headers of each try, before nginx looks at them */

ngx_int_t
ngx_http_sluice_try_process_header(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    sluice_answer_t         answer;
    ngx_http_sluice_try_t  *t;

    t = ngx_http_sluice_try(r);

    if (t == NULL) {
        return NGX_ERROR;
    }

    if (!t->parsed) {
        ngx_http_sluice_try_mask(t);

        rc = t->process_header(r);

        ngx_http_sluice_try_wrap(t);

        if (rc != NGX_OK || r->cached) {
            return rc;
        }

        if (ngx_http_sluice_try_meet(t) != NGX_OK) {
            return NGX_ERROR;
        }

        t->parsed = 1;
    }

    rc = ngx_http_sluice_try_answer(t, &answer);

    if (rc != NGX_OK || answer == SLUICE_ANSWER_WELL) {
        return rc;
    }

    return ngx_http_sluice_try_again(t, answer);
}


/*
 * A header that repeats the key would carry it to the client, to a cache, and
 * to the log: as an error, in nginx's own words of debugging, or as a URI that
 * X-Accel-Redirect has named.  It may have come in pieces: looked at is all
 * that has come.
 */

static void
ngx_http_sluice_try_mask(ngx_http_sluice_try_t *t)
{
    u_char                 *p, *start, *last, *end;
    ngx_http_upstream_t    *u;
    ngx_http_sluice_key_t  *key;

    u = t->u;
    key = t->ctx->key;

    if (t->request->cached || key->secret.len < NGX_HTTP_SLUICE_MASK_MIN) {
        return;
    }

    start = u->buffer.start;
    last = u->buffer.last;

#if (NGX_HTTP_CACHE)

    if (t->request->cache != NULL) {
        start += t->request->cache->header_start;
    }

#endif

    p = ngx_http_sluice_find_secret(key, start, last);

    if (p == NULL) {
        return;
    }

    /* an empty line ends it, which nginx takes for one without a CR as well */

    for (end = start; end < last; end++) {
        end = memchr(end, LF, last - end);

        if (end == NULL) {
            end = last;
            break;
        }

        if ((end + 1 < last && end[1] == LF)
            || (end + 2 < last && end[1] == CR && end[2] == LF))
        {
            break;
        }
    }

    while (p != NULL && p < end) {
        ngx_memset(p, '*', key->secret.len);
        p = ngx_http_sluice_find_secret(key, p, last);
    }
}


/*
 * As memmem(), which takes five times as long: by a byte that stands in few
 * headers, see ngx_http_sluice_rare_byte().
 */

static u_char *
ngx_http_sluice_find_secret(ngx_http_sluice_key_t *key, u_char *p,
    u_char *last)
{
    u_char  *rare;

    rare = &key->secret.data[key->rare];
    last -= key->secret.len - 1;

    for ( /* void */ ; p < last; p++) {
        p = memchr(p + key->rare, *rare, last - p);

        if (p == NULL) {
            return NULL;
        }

        p -= key->rare;

        if (ngx_memcmp(p, key->secret.data, key->secret.len) == 0) {
            return p;
        }
    }

    return NULL;
}


/* NGX_AGAIN: more of the body must come first */

static ngx_int_t
ngx_http_sluice_try_answer(ngx_http_sluice_try_t *t, sluice_answer_t *answer)
{
    ngx_int_t                rc;
    sluice_member_reason_t   reason;

    *answer = ngx_http_sluice_key_answer(t->ctx->pool,
                                         t->u->headers_in.status_n);
    reason = (*answer == SLUICE_ANSWER_ERROR) ? SLUICE_REASON_ERRORS
                                              : SLUICE_REASON_STATUS;

    if (*answer != SLUICE_ANSWER_WELL && *answer != SLUICE_ANSWER_EXHAUSTED) {

        rc = ngx_http_sluice_key_body(t->request, t->ctx->pool);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_OK) {
            *answer = SLUICE_ANSWER_EXHAUSTED;
            reason = SLUICE_REASON_BODY;
        }
    }

    ngx_http_sluice_try_judge(t, *answer, reason);

    return NGX_OK;
}


/* its body was waited for, and has not come: the status has */

void
ngx_http_sluice_try_unfinished(ngx_http_sluice_try_t *t)
{
    sluice_answer_t  answer;

    answer = ngx_http_sluice_key_answer(t->ctx->pool,
                                        t->u->headers_in.status_n);

    ngx_http_sluice_try_judge(t, answer,
                              answer == SLUICE_ANSWER_ERROR
                              ? SLUICE_REASON_ERRORS : SLUICE_REASON_STATUS);
}


/*
 * What began well has ended, rc being what nginx says of it: 502 and 504 are
 * the upstream's doing, anything else but 0 the client's, or our own.  What was
 * upgraded may end at any time; and what breaks in a tunnel may be its proxy's
 * fault.
 */

void
ngx_http_sluice_try_ended(ngx_http_sluice_try_t *t, ngx_int_t rc)
{
    ngx_uint_t            late;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = t->u;

    if (ngx_http_sluice_key_answer(t->ctx->pool, u->headers_in.status_n)
        != SLUICE_ANSWER_WELL
        || u->upgrade)
    {
        return;
    }

    if (rc == 0) {
        sluice_member_whole(t->ctx->key->line);
        return;
    }

    if ((rc != NGX_HTTP_BAD_GATEWAY && rc != NGX_HTTP_GATEWAY_TIME_OUT)
        || t->request->reading_body)
    {
        return;
    }

    c = u->peer.connection;
    late = (c != NULL && c->read->timedout);

    if (late || !ngx_http_sluice_egress_used(t->ctx->egress)) {
        ngx_http_sluice_key_cut(t->request, t->ctx,
                                late ? SLUICE_ANSWER_TIMEOUT
                                     : SLUICE_ANSWER_ERROR,
                                u->headers_in.status_n);
    }
}


static void
ngx_http_sluice_try_judge(ngx_http_sluice_try_t *t, sluice_answer_t answer,
    sluice_member_reason_t reason)
{
    uint64_t  hint;

    hint = (answer == SLUICE_ANSWER_COOL
            || (answer == SLUICE_ANSWER_EXHAUSTED
                && reason == SLUICE_REASON_STATUS))
           ? ngx_http_sluice_key_hint(t->request, t->ctx->pool, answer)
           : SLUICE_NEVER;

    ngx_http_sluice_try_went(t);

    ngx_http_sluice_key_judge(t->request, t->ctx, answer, reason,
                              t->u->headers_in.status_n, hint);
}


/* has nginx move on, if there is another key; else the client gets this one */

static ngx_int_t
ngx_http_sluice_try_again(ngx_http_sluice_try_t *t, sluice_answer_t answer)
{
    ngx_uint_t            status;
    ngx_http_upstream_t  *u;

    u = t->u;

    /* a quota error is one, whatever status it comes with */

    status = (answer == SLUICE_ANSWER_EXHAUSTED) ? 402
                                                 : u->headers_in.status_n;

    if (!ngx_http_sluice_try_wanted(t, answer,
                                    ngx_http_sluice_try_after(status))
        || ngx_http_sluice_try_next(t) != NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_sluice_try_pass(t, NGX_HTTP_UPSTREAM_FT_HTTP_429) != NGX_OK)
    {
        return NGX_ERROR;
    }

    t->again->next_upstream &= ~NGX_HTTP_UPSTREAM_FT_OFF;

    t->blamed = (answer != SLUICE_ANSWER_ERROR
                 || !ngx_http_sluice_try_origin_failed(t));
    t->status = u->headers_in.status_n;
    u->headers_in.status_n = NGX_HTTP_TOO_MANY_REQUESTS;

    /* a key's failure costs no server its turn, nor an only one its tries */

    t->origins = ngx_max(u->peer.tries, 1);
    u->peer.tries = ngx_max(u->peer.tries, 2);

    return NGX_OK;
}


/*
 * Whether this status is a failure of the server for nginx: one that is tried
 * again for another key only puts no server out of service.
 */

static ngx_uint_t
ngx_http_sluice_try_origin_failed(ngx_http_sluice_try_t *t)
{
    ngx_uint_t  mask;

    switch (t->u->headers_in.status_n) {

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        mask = NGX_HTTP_UPSTREAM_FT_HTTP_500;
        break;

    case NGX_HTTP_BAD_GATEWAY:
        mask = NGX_HTTP_UPSTREAM_FT_HTTP_502;
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        mask = NGX_HTTP_UPSTREAM_FT_HTTP_503;
        break;

    case NGX_HTTP_GATEWAY_TIME_OUT:
        mask = NGX_HTTP_UPSTREAM_FT_HTTP_504;
        break;

    default:
        return 0;
    }

    return (t->real->next_upstream & mask) != 0;
}


/* what it is called in sluice_key_next */

static ngx_uint_t
ngx_http_sluice_try_after(ngx_uint_t status)
{
    ngx_uint_t  i;

    static struct {
        ngx_uint_t  status;
        ngx_uint_t  mask;
    } next[] = {
        { 401, NGX_HTTP_SLUICE_NEXT_401 },
        { 402, NGX_HTTP_SLUICE_NEXT_402 },
        { 403, NGX_HTTP_SLUICE_NEXT_403 },
        { 429, NGX_HTTP_SLUICE_NEXT_429 },
        { 500, NGX_HTTP_SLUICE_NEXT_500 },
        { 502, NGX_HTTP_SLUICE_NEXT_502 },
        { 503, NGX_HTTP_SLUICE_NEXT_503 },
        { 504, NGX_HTTP_SLUICE_NEXT_504 },
        { 529, NGX_HTTP_SLUICE_NEXT_529 }
    };

    for (i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
        if (next[i].status == status) {
            return next[i].mask;
        }
    }

    return 0;
}


/* whether another key is asked for after that, and may be tried */

ngx_uint_t
ngx_http_sluice_try_wanted(ngx_http_sluice_try_t *t, sluice_answer_t answer,
    ngx_uint_t mask)
{
    ngx_msec_t            spent;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    if (!t->hooked || t->tries + 1 >= t->conf->key_tries) {
        return 0;
    }

    r = t->request;
    u = t->u;

    if ((t->conf->key_next & (mask|NGX_HTTP_SLUICE_NEXT_OFF)) != mask
        || mask == 0)
    {
        return 0;
    }

    /* what a key was refused for has not been done, what failed may have */

    if ((answer == SLUICE_ANSWER_ERROR || answer == SLUICE_ANSWER_TIMEOUT)
        && (r->method & NGX_HTTP_SLUICE_NON_IDEMPOTENT)
        && !(t->conf->key_next & NGX_HTTP_SLUICE_NEXT_NON_IDEMPOTENT))
    {
        return 0;
    }

    if (u->request_sent && r->request_body_no_buffering) {
        return 0;
    }

    spent = ngx_current_msec - t->start;

    return (t->conf->key_timeout == 0 || spent < t->conf->key_timeout)
           && (t->real->next_upstream_timeout == 0
               || ngx_current_msec - u->peer.start_time
                  < t->real->next_upstream_timeout);
}


static sluice_answer_t
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
 * Milliseconds that the answer asks to wait; SLUICE_NEVER: it does not say.
 * Nothing but a 429 is about a limit; others may tell of theirs all the same.
 */

static uint64_t
ngx_http_sluice_key_hint(ngx_http_request_t *r, ngx_http_sluice_pool_t *pool,
    sluice_answer_t answer)
{
    ngx_uint_t        i, limited;
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

    limited = (answer == SLUICE_ANSWER_COOL
               && r->upstream->headers_in.status_n
                  == NGX_HTTP_TOO_MANY_REQUESTS);

    return sluice_hints_wait(&hints, limited, pool->policy.cool);
}
