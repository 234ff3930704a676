
/*
 * Names and values: as a configuration writes them and as a request has them.
 */

#include "ngx_http_sluice.h"

#include <stdlib.h>


static int ngx_libc_cdecl ngx_http_sluice_upstream_cmp(const void *one,
    const void *two);
static ngx_http_sluice_named_t *ngx_http_sluice_find_named(
    ngx_array_t *array, ngx_str_t *name);
static void ngx_http_sluice_where(ngx_conf_t *cf,
    ngx_http_sluice_named_t *named);
static ngx_uint_t ngx_http_sluice_sole(ngx_str_t *text, ngx_str_t *name);
static ngx_http_get_variable_pt ngx_http_sluice_authorization(ngx_conf_t *cf,
    ngx_str_t *name);


ngx_int_t
ngx_http_sluice_add_vars(ngx_conf_t *cf, ngx_http_variable_t *vars)
{
    ngx_http_variable_t  *var, *v;

    for (v = vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* a variable's value; the text is not copied */

void
ngx_http_sluice_set_value(ngx_http_variable_value_t *v, ngx_str_t *value)
{
    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


/* static, or the request's own */

void
ngx_http_sluice_set_text(ngx_http_variable_value_t *v, const char *text)
{
    ngx_str_t  value;

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    ngx_http_sluice_set_value(v, &value);
}


ngx_int_t
ngx_http_sluice_set_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t n)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%ui", n) - text.data;

    ngx_http_sluice_set_value(v, &text);

    return NGX_OK;
}


/*
 * Most values are one variable and nothing else: its own text serves, where
 * a complex value would be measured, allocated and copied for each request.
 */

ngx_int_t
ngx_http_sluice_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_sluice_value_t *value)
{
    ngx_str_t                         name;
    ngx_http_compile_complex_value_t  ccv;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = &value->complex;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_ERROR;
    }

    value->index = NGX_ERROR;
    value->header = NULL;

    if (ngx_http_sluice_sole(text, &name)) {
        value->header = ngx_http_sluice_authorization(cf, &name);
        value->index = ngx_http_get_variable_index(cf, &name);

        if (value->index == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* "$name" or "${name}"; a capture, "$1", is no variable with an index */

static ngx_uint_t
ngx_http_sluice_sole(ngx_str_t *text, ngx_str_t *name)
{
    size_t  i;
    u_char  c;

    *name = *text;

    if (name->len < 2 || name->data[0] != '$') {
        return 0;
    }

    name->data++;
    name->len--;

    if (name->data[0] == '{' && name->data[name->len - 1] == '}') {
        name->data++;
        name->len -= 2;
    }

    if (name->len == 0 || (name->data[0] >= '0' && name->data[0] <= '9')) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
              || (c >= 'A' && c <= 'Z')))
        {
            return 0;
        }
    }

    return 1;
}


/*
 * The getter of all $http_..., if the name is that of the one whose header
 * nginx has at hand: the getter would look for it among all headers.
 */

static ngx_http_get_variable_pt
ngx_http_sluice_authorization(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    if (name->len != sizeof("http_authorization") - 1
        || ngx_strncmp(name->data, "http_authorization", name->len) != 0)
    {
        return NULL;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {
        if (v[i].name.len == sizeof("http_") - 1
            && ngx_strncmp(v[i].name.data, "http_", v[i].name.len) == 0)
        {
            return v[i].get_handler;
        }
    }

    return NULL;
}


/* the text is the request's or the variable's own: not to be written to */

ngx_int_t
ngx_http_sluice_value(ngx_http_request_t *r, ngx_http_sluice_value_t *value,
    ngx_str_t *text)
{
    ngx_table_elt_t            *header;
    ngx_http_variable_t        *v;
    ngx_http_variable_value_t  *vv;
    ngx_http_core_main_conf_t  *cmcf;

    if (value->index == NGX_ERROR) {
        return ngx_http_complex_value(r, &value->complex, text);
    }

    if (value->header != NULL) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
        v = cmcf->variables.elts;

        /* a "map" has another getter, and "set" has given it a value */

        if (v[value->index].get_handler == value->header
            && !r->variables[value->index].valid)
        {
            header = r->headers_in.authorization;

            /* without a hash: somebody has taken it away */

            if (header == NULL || header->hash == 0) {
                ngx_str_null(text);

            } else {
                *text = header->value;
            }

            return NGX_OK;
        }
    }

    vv = ngx_http_get_flushed_variable(r, value->index);

    if (vv == NULL || vv->not_found) {
        ngx_str_null(text);
        return NGX_OK;
    }

    text->len = vv->len;
    text->data = vv->data;

    return NGX_OK;
}


/*
 * Whether the value has one of these variables, and which: a name, or the
 * beginning of one if it ends with "*".  The list ends with NULL.
 */

const char *
ngx_http_sluice_mentions(ngx_str_t *value, const char **names)
{
    size_t        len, left;
    u_char       *p, *last;
    ngx_uint_t    i;

    last = value->data + value->len;

    for (p = value->data; p < last; p++) {

        if (*p != '$') {
            continue;
        }

        if (p + 1 < last && p[1] == '{') {
            p++;
        }

        left = last - (p + 1);

        for (i = 0; names[i] != NULL; i++) {
            len = ngx_strlen(names[i]);

            if (names[i][len - 1] == '*') {
                if (left >= len - 1
                    && ngx_strncasecmp(p + 1, (u_char *) names[i], len - 1)
                       == 0)
                {
                    return names[i];
                }

                continue;
            }

            if (left >= len
                && ngx_strncasecmp(p + 1, (u_char *) names[i], len) == 0
                && (left == len
                    || !(p[1 + len] == '_'
                         || (p[1 + len] >= '0' && p[1 + len] <= '9')
                         || (p[1 + len] >= 'a' && p[1 + len] <= 'z')
                         || (p[1 + len] >= 'A' && p[1 + len] <= 'Z'))))
            {
                return names[i];
            }
        }
    }

    return NULL;
}


static ngx_http_sluice_named_t *
ngx_http_sluice_find_named(ngx_array_t *array, ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_http_sluice_named_t  **elts;

    elts = array->elts;

    for (i = 0; i < array->nelts; i++) {
        if (elts[i]->name.len == name->len
            && ngx_strncmp(elts[i]->name.data, name->data, name->len) == 0)
        {
            return elts[i];
        }
    }

    return NULL;
}


/*
 * What directives define in one place and name in others: it is made where
 * it is met first.  NULL: no memory, or its name is none.
 */

ngx_http_sluice_named_t *
ngx_http_sluice_named(ngx_conf_t *cf, ngx_array_t *array, size_t size,
    ngx_str_t *name, const char *what)
{
    ngx_http_sluice_named_t   *named, **elts;

    named = ngx_http_sluice_find_named(array, name);

    if (named != NULL) {
        return named;
    }

    named = ngx_pcalloc(cf->pool, size);
    if (named == NULL
        || ngx_http_sluice_copy_name(cf, &named->name, name, what) != NGX_OK)
    {
        return NULL;
    }

    ngx_http_sluice_where(cf, named);

    elts = ngx_array_push(array);
    if (elts == NULL) {
        return NULL;
    }

    *elts = named;

    return named;
}


/* here is its definition, and it has none yet */

ngx_int_t
ngx_http_sluice_define(ngx_conf_t *cf, ngx_http_sluice_named_t *named,
    const char *what)
{
    if (named->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %s \"%V\": it is in %V:%ui",
                           what, &named->name, &named->file, named->line);
        return NGX_ERROR;
    }

    ngx_http_sluice_where(cf, named);
    named->defined = 1;

    return NGX_OK;
}


/* ... nor has what is of another kind, but told of by its name alone */

ngx_int_t
ngx_http_sluice_define_apart(ngx_conf_t *cf, ngx_array_t *others,
    const char *other, ngx_http_sluice_named_t *named, const char *what)
{
    ngx_http_sluice_named_t  *twin;

    twin = ngx_http_sluice_find_named(others, &named->name);

    if (twin != NULL && twin->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %s \"%V\": a %s of that name is in "
                           "%V:%ui", what, &named->name, other, &twin->file,
                           twin->line);
        return NGX_ERROR;
    }

    return ngx_http_sluice_define(cf, named, what);
}


ngx_int_t
ngx_http_sluice_all_defined(ngx_conf_t *cf, ngx_array_t *array,
    const char *what, const char *directive)
{
    ngx_uint_t                 i;
    ngx_http_sluice_named_t  **elts;

    elts = array->elts;

    for (i = 0; i < array->nelts; i++) {
        if (!elts[i]->defined) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown %s \"%V\" in %V:%ui: no \"%s\" "
                          "defines it", what, &elts[i]->name,
                          &elts[i]->file, elts[i]->line, directive);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* in the words of the configuration parser: where we are */

static void
ngx_http_sluice_where(ngx_conf_t *cf, ngx_http_sluice_named_t *named)
{
    named->file = cf->conf_file->file.name;
    named->line = cf->conf_file->line;
}


/* names go into file names, records and C strings */

ngx_int_t
ngx_http_sluice_copy_name(ngx_conf_t *cf, ngx_str_t *to, ngx_str_t *from,
    const char *what)
{
    if (!sluice_name_valid((char *) from->data, from->len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid %s \"%V\": it must have 1 to %d letters, "
                           "digits, \"_\" or \"-\"",
                           what, from, SLUICE_NAME_MAX - 1);
        return NGX_ERROR;
    }

    to->len = from->len;
    to->data = ngx_pnalloc(cf->pool, from->len + 1);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(to->data, from->data, from->len + 1);

    return NGX_OK;
}


/*
 * Arrays of what we keep of upstreams, by their addresses: each element begins
 * with a pointer to its ngx_http_upstream_srv_conf_t.
 */

void
ngx_http_sluice_sort_upstreams(ngx_array_t *array)
{
    qsort(array->elts, array->nelts, array->size,
          ngx_http_sluice_upstream_cmp);
}


/* NULL: there is none of it */

void *
ngx_http_sluice_find_upstream(ngx_array_t *array,
    ngx_http_upstream_srv_conf_t *us)
{
    return bsearch(&us, array->elts, array->nelts, array->size,
                   ngx_http_sluice_upstream_cmp);
}


static int ngx_libc_cdecl
ngx_http_sluice_upstream_cmp(const void *one, const void *two)
{
    const uintptr_t  *a = one;
    const uintptr_t  *b = two;

    return (*a > *b) - (*a < *b);
}


/*
 * Of the upstreams that a location's proxy_pass, or its like, names as they
 * are, one; and how many there are.  An "if" has those of its location, too.
 */

ngx_uint_t
ngx_http_sluice_upstream_confs(ngx_conf_t *cf,
    ngx_http_upstream_conf_t **literal)
{
    ngx_int_t                  index;
    ngx_uint_t                 n, found;
    ngx_http_conf_ctx_t       *ctx;
    ngx_http_upstream_conf_t  *conf;

    /* each has an upstream's configuration at its beginning */

    static const char  *modules[] = {
        "ngx_http_proxy_module", "ngx_http_grpc_module",
        "ngx_http_fastcgi_module", "ngx_http_uwsgi_module",
        "ngx_http_scgi_module", "ngx_http_memcached_module"
    };

    ctx = cf->ctx;
    found = 0;
    *literal = NULL;

    for (n = 0; n < sizeof(modules) / sizeof(modules[0]); n++) {

        index = ngx_http_sluice_module_index(cf, modules[n]);

        if (index == NGX_ERROR) {
            continue;
        }

        conf = ctx->loc_conf[index];

        if (conf != NULL && conf->upstream != NULL) {
            *literal = conf;
            found++;
        }
    }

    return found;
}


/* where its configurations are; NGX_ERROR: this nginx has no such module */

ngx_int_t
ngx_http_sluice_module_index(ngx_conf_t *cf, const char *name)
{
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; cf->cycle->modules[i]; i++) {
        module = cf->cycle->modules[i];

        if (module->type == NGX_HTTP_MODULE
            && ngx_strcmp(module->name, name) == 0)
        {
            return module->ctx_index;
        }
    }

    return NGX_ERROR;
}
