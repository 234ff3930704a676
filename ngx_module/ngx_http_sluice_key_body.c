
/*
 * What the body of an upstream's error says: as far as it has come, out of its
 * chunks, and inflated.
 */

#include "ngx_http_sluice_key_try.h"

#include <zlib.h>


/* bytes that are looked at, as they are sent, and of what they say */
#define NGX_HTTP_SLUICE_BODY_MAX    2048

/* all that zlib may have: a window of 32K, its state, and some for others */
#define NGX_HTTP_SLUICE_BODY_STATE  65536


typedef struct {
    u_char  *last;
    u_char  *end;
} ngx_http_sluice_arena_t;


static ngx_int_t ngx_http_sluice_body_coding(ngx_http_upstream_t *u,
    int *bits);
static ngx_uint_t ngx_http_sluice_body_dechunk(ngx_http_request_t *r,
    ngx_str_t *body, u_char *text);
static void ngx_http_sluice_body_inflate(ngx_str_t *body, int bits,
    u_char *text);
static int ngx_http_sluice_body_inflate_as(ngx_str_t *body, int bits,
    u_char *text, size_t *len);
static void *ngx_http_sluice_body_alloc(void *opaque, u_int items,
    u_int size);
static void ngx_http_sluice_body_free(void *opaque, void *address);


/*
 * Whether the body of an error, as far as it has come, says that the account
 * has run dry.  NGX_OK: it does; NGX_DECLINED: it does not; NGX_AGAIN: more of
 * it must come before that can be told.
 */

ngx_int_t
ngx_http_sluice_key_body(ngx_http_request_t *r, ngx_http_sluice_pool_t *pool)
{
    int                   bits;
    size_t                size;
    u_char                chunks[NGX_HTTP_SLUICE_BODY_MAX];
    u_char                text[NGX_HTTP_SLUICE_BODY_MAX];
    ngx_str_t             body, *pattern;
    ngx_uint_t            i, whole;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* what other modules read from an upstream is not an answer in HTTP */

    if (pool->patterns.nelts == 0
        || (u->headers_in.status_n != NGX_HTTP_BAD_REQUEST
            && u->headers_in.status_n != NGX_HTTP_FORBIDDEN
            && u->headers_in.status_n != NGX_HTTP_TOO_MANY_REQUESTS)
        || r->method == NGX_HTTP_HEAD
        || !ngx_http_sluice_is_proxy(u))
    {
        return NGX_DECLINED;
    }

    if (ngx_http_sluice_body_coding(u, &bits) != NGX_OK) {

        if (!pool->unread) {
            pool->unread = 1;

            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "an upstream's error is compressed, and neither by "
                          "gzip nor by deflate: whether a key has run dry "
                          "cannot be read there, set Accept-Encoding by "
                          "\"proxy_set_header\", pool \"%V\"",
                          &pool->named.name);
        }

        return NGX_DECLINED;
    }

    size = u->buffer.last - u->buffer.pos;

    body.data = u->buffer.pos;
    body.len = ngx_min(size, NGX_HTTP_SLUICE_BODY_MAX);

    /* without a length it ends with the connection, which is an error here */

    if (u->headers_in.chunked) {
        whole = ngx_http_sluice_body_dechunk(r, &body, chunks);

    } else {
        whole = u->headers_in.content_length_n <= (off_t) size;
    }

    if (bits != 0) {
        ngx_http_sluice_body_inflate(&body, bits, text);
    }

    pattern = pool->patterns.elts;

    for (i = 0; i < pool->patterns.nelts; i++) {
        if (memmem(body.data, body.len, pattern[i].data, pattern[i].len)
            != NULL)
        {
            return NGX_OK;
        }
    }

    /* or as much as is looked at, or as there is room for */

    return (whole || size >= NGX_HTTP_SLUICE_BODY_MAX
            || body.len == NGX_HTTP_SLUICE_BODY_MAX
            || u->buffer.last == u->buffer.end)
           ? NGX_DECLINED : NGX_AGAIN;
}


/*
 * bits: as inflateInit2() has them, 0 if it is not compressed.  NGX_DECLINED:
 * nobody here can read it.  nginx has the header at hand only if it is built
 * with gzip.
 */

static ngx_int_t
ngx_http_sluice_body_coding(ngx_http_upstream_t *u, int *bits)
{
    ngx_uint_t        i, j;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static struct {
        ngx_str_t  name;
        int        bits;
    } codings[] = {
        { ngx_string("identity"), 0 },
        { ngx_string("gzip"), MAX_WBITS + 16 },
        { ngx_string("x-gzip"), MAX_WBITS + 16 },
        { ngx_string("deflate"), MAX_WBITS },
        { ngx_null_string, 0 }
    };

    *bits = 0;

    for (part = &u->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len != sizeof("Content-Encoding") - 1
                || ngx_strncasecmp(h[i].key.data,
                                   (u_char *) "Content-Encoding",
                                   sizeof("Content-Encoding") - 1)
                   != 0)
            {
                continue;
            }

            for (j = 0; codings[j].name.len != 0; j++) {
                if (h[i].value.len == codings[j].name.len
                    && ngx_strncasecmp(h[i].value.data, codings[j].name.data,
                                       codings[j].name.len)
                       == 0)
                {
                    break;
                }
            }

            /* of two, one within the other */

            if (codings[j].name.len == 0
                || (*bits != 0 && codings[j].bits != 0))
            {
                return NGX_DECLINED;
            }

            *bits |= codings[j].bits;
        }
    }

    return NGX_OK;
}


/* returns whether no more of it will come; what is no chunk ends it, too */

static ngx_uint_t
ngx_http_sluice_body_dechunk(ngx_http_request_t *r, ngx_str_t *body,
    u_char *text)
{
    size_t              n;
    u_char             *p;
    ngx_buf_t           b;
    ngx_int_t           rc;
    ngx_http_chunked_t  chunked;

    ngx_memzero(&b, sizeof(ngx_buf_t));
    ngx_memzero(&chunked, sizeof(ngx_http_chunked_t));

    b.pos = body->data;
    b.last = body->data + body->len;
    p = text;

    for ( ;; ) {

#if (nginx_version >= 1027002)
        rc = ngx_http_parse_chunked(r, &b, &chunked, 0);
#else
        rc = ngx_http_parse_chunked(r, &b, &chunked);
#endif

        if (rc != NGX_OK) {
            break;
        }

        n = ngx_min(b.last - b.pos, chunked.size);

        p = ngx_cpymem(p, b.pos, n);
        b.pos += n;
        chunked.size -= n;
    }

    body->data = text;
    body->len = p - text;

    return rc != NGX_AGAIN;
}


/* "deflate" is zlib's format, and of some servers what that has inside */

static void
ngx_http_sluice_body_inflate(ngx_str_t *body, int bits, u_char *text)
{
    size_t  len;

    if (ngx_http_sluice_body_inflate_as(body, bits, text, &len)
        == Z_DATA_ERROR && bits == MAX_WBITS && len == 0)
    {
        (void) ngx_http_sluice_body_inflate_as(body, -MAX_WBITS, text, &len);
    }

    body->data = text;
    body->len = len;
}


/* as much as there is until an error, or its end, or that of the room for it */

static int
ngx_http_sluice_body_inflate_as(ngx_str_t *body, int bits, u_char *text,
    size_t *len)
{
    int                      rc;
    z_stream                 z;
    ngx_http_sluice_arena_t  arena;

    /* a worker has one body at a time here, and needs no other memory */

    static u_char  state[NGX_HTTP_SLUICE_BODY_STATE];

    arena.last = state;
    arena.end = state + NGX_HTTP_SLUICE_BODY_STATE;

    ngx_memzero(&z, sizeof(z_stream));

    z.zalloc = ngx_http_sluice_body_alloc;
    z.zfree = ngx_http_sluice_body_free;
    z.opaque = &arena;

    z.next_in = body->data;
    z.avail_in = body->len;
    z.next_out = text;
    z.avail_out = NGX_HTTP_SLUICE_BODY_MAX;

    rc = inflateInit2(&z, bits);

    if (rc == Z_OK) {
        rc = inflate(&z, Z_SYNC_FLUSH);
        (void) inflateEnd(&z);
    }

    *len = NGX_HTTP_SLUICE_BODY_MAX - z.avail_out;

    return rc;
}


static void *
ngx_http_sluice_body_alloc(void *opaque, u_int items, u_int size)
{
    ngx_http_sluice_arena_t *arena = opaque;

    size_t   n;
    u_char  *p;

    p = ngx_align_ptr(arena->last, NGX_ALIGNMENT);
    n = (size_t) items * size;

    if (p > arena->end || n > (size_t) (arena->end - p)) {
        return NULL;
    }

    arena->last = p + n;

    return p;
}


static void
ngx_http_sluice_body_free(void *opaque, void *address)
{
    /* void */
}
