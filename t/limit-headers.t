# Why it exists: a client that is told what is left, and until when, need not
# find out by being refused.  What it is told is of its own limits, never of
# the gateway's with an upstream, and no more than it can use.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 171;

Sluice::Upstream::start(
    '/2s' => [\2.1, Sluice::Upstream::answer(200, 'ok')],
);

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone all zone=rpm:64k window=1m;
        sluice_limit_zone all zone=tpm:64k window=1h unit=tokens;
        sluice_limit_zone all zone=volume:64k window=90500ms unit=bytes;
        sluice_limit_zone all zone=day:64k window=1d;
        map all $zero { default 0; }
        sluice_limit_headers on;
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            add_header RateLimit ""upstream";r=1" always;
            add_header RateLimit-Policy ""upstream";q=1" always;
            add_header x-ratelimit-limit-requests 1 always;
            add_header X-RateLimit-Remaining-Requests 2 always;
            add_header x-ratelimit-reset-requests 3s always;
            add_header x-ratelimit-limit-tokens 4 always;
            add_header x-ratelimit-remaining-tokens 5 always;
            add_header x-ratelimit-reset-tokens 6s always;
            add_header anthropic-ratelimit-requests-limit 7 always;
            add_header anthropic-ratelimit-requests-remaining 8 always;
            add_header anthropic-ratelimit-requests-reset 9 always;
            add_header anthropic-ratelimit-tokens-limit 10 always;
            add_header anthropic-ratelimit-tokens-remaining 11 always;
            add_header anthropic-ratelimit-tokens-reset 12 always;
            add_header X-Other 13 always;
            location = /404 { return 404; }
            location / { return 200 "ok\n"; }
        }
    ' =~ s/""upstream";(\w=1)"/'"upstream";$1'/gr);
});

our $one = '
    location = /t {
        sluice_limit zone=rpm limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: what is left, to the last one and at a refusal
--- config eval: $::one
--- request eval
["GET /t", "HEAD /t", "GET /t"]
--- error_code eval
[200, 200, 429]
--- response_headers eval
['RateLimit-Policy: "rpm";q=2;w=60', 'RateLimit-Policy: "rpm";q=2;w=60',
 'RateLimit-Policy: "rpm";q=2;w=60']
--- raw_response_headers_like eval
['\r\nRateLimit: "rpm";r=1;t=(?:6[0-9]|[789].|1[01].|120)\r\n',
 '\r\nRateLimit: "rpm";r=0;t=(?:3[1-9]|[4-8].|90)\r\n',
 '\r\nRateLimit: "rpm";r=0;t=(?:3[1-9]|[4-8].|90)\r\n']
--- raw_response_headers_unlike eval
[('(?i)\n(?:x-|anthropic-)ratelimit') x 3]



=== TEST 2: a location without limits, or without headers, says nothing
--- config
    sluice_error_format openai;
    location = /none {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /off {
        sluice_limit_headers off;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /empty {
        sluice_limit zone=empty limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- http_config
    sluice_limit_zone $arg_k zone=empty:64k window=1m;
--- request eval
["GET /none", "GET /off", "GET /off", "GET /empty", "GET /missing"]
--- error_code eval
[200, 200, 429, 200, 404]
--- raw_response_headers_unlike eval
[('(?i)ratelimit') x 5]



=== TEST 3: an upstream's own are not passed on, nor those of any dialect
--- config
    location /problem/ {
        sluice_limit zone=rpm limit=5;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request eval
["GET /problem/", "GET /problem/404"]
--- error_code eval
[200, 404]
--- response_headers eval
['RateLimit-Policy: "rpm";q=5;w=60', 'RateLimit-Policy: "rpm";q=5;w=60']
--- raw_response_headers_like eval
['\nX-Other: 13\r\n.*\nRateLimit: "rpm";r=4;', '\nRateLimit: "rpm";r=3;']
--- raw_response_headers_unlike eval
['(?i)upstream|x-ratelimit|anthropic', '(?i)upstream|x-ratelimit|anthropic']



=== TEST 4: as OpenAI has them
--- config
    location = /openai {
        sluice_error_format openai;
        sluice_limit zone=day limit=7;
        sluice_limit zone=rpm limit=5;
        sluice_limit zone=tpm limit=1000 weight=100;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /openai
--- response_headers
RateLimit-Policy: "day";q=7;w=86400, "rpm";q=5;w=60, "tpm";q=1000;w=3600;qu="tokens"
x-ratelimit-limit-requests: 5
x-ratelimit-remaining-requests: 4
x-ratelimit-limit-tokens: 1000
x-ratelimit-remaining-tokens: 900
--- raw_response_headers_like chomp
\nRateLimit: "day";r=6;t=\d+, "rpm";r=4;t=\d+, "tpm";r=900;t=\d+\r\n.*\nx-ratelimit-reset-requests: [12]m\d+(?:\.\d+)?s\r\n.*\nx-ratelimit-reset-tokens: [12]h\d+m\d+(?:\.\d+)?s\r\n
--- raw_response_headers_unlike: (?i)upstream|(remaining|limit|reset)-(?:requests|tokens):.*\n\1



=== TEST 5: as Anthropic has them
--- config
    location = /anthropic {
        sluice_error_format anthropic;
        sluice_limit zone=rpm limit=5;
        sluice_limit zone=tpm limit=1000 weight=100;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /anthropic
--- response_headers
anthropic-ratelimit-requests-limit: 5
anthropic-ratelimit-requests-remaining: 4
anthropic-ratelimit-tokens-limit: 1000
anthropic-ratelimit-tokens-remaining: 900
--- raw_response_headers_like chomp
\nanthropic-ratelimit-requests-reset: 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\r\n.*\nanthropic-ratelimit-tokens-reset: 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\r\n



=== TEST 6: of two zones of a unit the dialect has the one with less left
--- config
    location = /t {
        sluice_error_format openai;
        sluice_limit zone=rpm limit=$arg_rpm;
        sluice_limit zone=day limit=$arg_day;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?rpm=5&day=9", "GET /t?rpm=9&day=5", "GET /t?rpm=2&day=5"]
--- error_code eval
[200, 200, 429]
--- response_headers eval
["x-ratelimit-limit-requests: 5\nx-ratelimit-remaining-requests: 4",
 "x-ratelimit-limit-requests: 5\nx-ratelimit-remaining-requests: 3",
 "x-ratelimit-limit-requests: 2\nx-ratelimit-remaining-requests: 0"]
--- raw_response_headers_like eval
['"rpm";r=4;t=\d+, "day";r=8;', '"rpm";r=7;t=\d+, "day";r=3;',
 '"rpm";r=0;t=\d+, "day";r=3\r\n']



=== TEST 7: bytes, a window that is not whole seconds; no dialect has them
--- config
    sluice_error_format openai;
    location = /t {
        sluice_limit zone=volume limit=100000 weight=1000;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- response_headers
RateLimit-Policy: "volume";q=100000;w=91;qu="content-bytes"
--- raw_response_headers_like: \nRateLimit: "volume";r=99000;t=\d+\r\n
--- raw_response_headers_unlike: x-ratelimit



=== TEST 8: a dry run is nobody's business
--- config
    location = /t {
        sluice_error_format openai;
        sluice_limit zone=rpm limit=1 dry_run;
        sluice_limit zone=day limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /only {
        sluice_error_format openai;
        sluice_limit zone=rpm limit=1 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /only"]
--- error_code eval
[200, 200, 429, 200]
--- response_headers eval
['RateLimit-Policy: "day";q=2;w=86400', 'RateLimit-Policy: "day";q=2;w=86400',
 'RateLimit-Policy: "day";q=2;w=86400', '!RateLimit-Policy']
--- raw_response_headers_unlike eval
["rpm", "rpm", "rpm", "(?i)ratelimit"]



=== TEST 9: with every status: errors of ours, of an upstream, and their pages
--- config
    location = /502 {
        sluice_limit zone=day limit=9;
        proxy_pass http://127.0.0.1:1;
    }
    location = /404 {
        sluice_limit zone=day limit=9;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
    location = /page {
        sluice_limit zone=day limit=9;
        error_page 404 /index.html;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
    location = /refused {
        sluice_limit zone=rpm limit=$zero status=503;
        error_page 503 /index.html;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
--- request eval
["GET /502", "GET /404", "GET /page", "GET /refused"]
--- error_code eval
[502, 404, 404, 503]
--- response_headers eval
['RateLimit-Policy: "day";q=9;w=86400', 'RateLimit-Policy: "day";q=9;w=86400',
 'RateLimit-Policy: "day";q=9;w=86400', 'RateLimit-Policy: "rpm";q=0;w=60']
--- raw_response_headers_like eval
['\nRateLimit: "day";r=8;', '\nRateLimit: "day";r=7;',
 '\nRateLimit: "day";r=6;', '\nRateLimit: "rpm";r=0\r\n']



=== TEST 10: nothing is told of limits that could not be decided
--- config
    location = /t {
        sluice_limit zone=rpm limit=5;
        sluice_limit zone=day limit=$arg_n;
        add_header X-Status $sluice_limit_status always;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?n=x", "GET /t?n=3", "GET /t"]
--- error_code eval
[500, 200, 500]
--- response_headers eval
["!RateLimit\n!RateLimit-Policy\nX-Status: ", "X-Status: PASSED",
 "!RateLimit\n!RateLimit-Policy\nX-Status: "]



=== TEST 11: a refusal that another location answers: all are told, once
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        error_page 429 = @other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @other {
        sluice_limit zone=day limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 429]
--- raw_response_headers_like eval
['\nRateLimit: "rpm";r=0;t=\d+\r\n',
 '\nRateLimit: "rpm";r=0;t=\d+, "day";r=0;t=\d+\r\n',
 '\nRateLimit: "rpm";r=0;t=\d+, "day";r=0;t=\d+\r\n.*\nRetry-After: \d{5,6}\r\n|\nRetry-After: \d{5,6}\r\n.*\nRateLimit: "rpm";r=0;t=\d+, "day";r=0;t=\d+\r\n']
--- raw_response_headers_unlike eval
['Retry-After', 'Retry-After', 'Retry-After.*Retry-After']



=== TEST 12: over HTTP/2, where names are in lower case
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2 http2;
        location = /t {
            sluice_limit zone=rpm limit=1;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
    }
--- config
--- x_curl
--http2-prior-knowledge -i http://127.0.0.1:$PORT/t | sed -n 's/;t=.*//; s/: [0-9][0-9]*.$/: N/; /^ratelimit\|^retry/p'
--http2-prior-knowledge -i http://127.0.0.1:$PORT/t | sed -n 's/;t=.*//; s/: [0-9][0-9]*.$/: N/; /^ratelimit\|^retry/p'
--- x_curl_out
ratelimit-policy: "rpm";q=1;w=60
ratelimit: "rpm";r=0
retry-after: N
ratelimit-policy: "rpm";q=1;w=60
ratelimit: "rpm";r=0
--- request
GET /



=== TEST 13: a number that a structured field can hold, whatever the limit
--- http_config
    sluice_limit_zone all zone=huge:64k window=1s unit=tokens scale=1000000000;
--- config
    location = /t {
        sluice_error_format openai;
        sluice_limit zone=huge limit=8388608000000000;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- response_headers
RateLimit-Policy: "huge";q=999999999999999;w=1;qu="tokens"
--- raw_response_headers_like chomp
\nRateLimit: "huge";r=999999999999999;t=[12]\r\n



=== TEST 14: t is when more is left, which Retry-After does not come before
--- config
    location = /t {
        sluice_limit zone=rpm limit=9 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- x_curl
-i http://127.0.0.1:$SERVER/t?w=5 | sed -n 's/;t=.*//; /^RateLimit:/p'
-i http://127.0.0.1:$SERVER/t?w=6 | awk '/^Retry/ { r = $2 } sub(/^RateLimit:.*;t=/, "") { t = $0 } END { print r - t }'
--- x_curl_out
RateLimit: "rpm";r=4
12
--- request
GET /t?w=0
--- raw_response_headers_like: \nRateLimit: "rpm";r=9\r\n



=== TEST 15: a refusal for want of something else tells of the limits as well
--- http_config
    sluice_limit_conn_zone all zone=par:64k;
    sluice_limit_conn_zone all zone=other:64k;
    sluice_key_pool p { key sk-a id=a limit=1/1h; }
--- config
    location = /key {
        sluice_key p;
        sluice_limit zone=rpm limit=5;
        sluice_limit zone=day limit=5 dry_run;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /window {
        sluice_limit_conn zone=par limit=3;
        sluice_limit_conn zone=other limit=7 dry_run;
        sluice_limit zone=rpm limit=$zero;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /place {
        sluice_limit_conn zone=other limit=7;
        sluice_limit_conn zone=par limit=$zero;
        sluice_limit zone=rpm limit=5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /error {
        sluice_limit_conn zone=other limit=7;
        sluice_limit zone=rpm limit=$arg_n;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /key", "GET /key", "GET /window", "GET /place", "GET /place",
 "GET /error"]
--- error_code eval
[200, 429, 429, 429, 429, 500]
--- response_headers eval
['RateLimit-Policy: "rpm";q=5;w=60', 'RateLimit-Policy: "rpm";q=5;w=60',
 'RateLimit-Policy: "rpm";q=0;w=60, "par";q=3;qu="concurrent-requests"',
 ('RateLimit-Policy: "rpm";q=5;w=60, "other";q=7;qu="concurrent-requests", '
  . '"par";q=0;qu="concurrent-requests"') x 2, '!RateLimit']
--- raw_response_headers_like eval
['\nRateLimit: "rpm";r=4;t=\d+\r\n', '\nRateLimit: "rpm";r=4;t=\d+\r\n',
 '\nRateLimit: "rpm";r=0, "par";r=3\r\n',
 ('\nRateLimit: "rpm";r=4, "other";r=7, "par";r=0\r\n') x 2, '500']



=== TEST 16: the next location charges what one before it only looked at
--- http_config
    sluice_key_pool p { key sk-a id=a limit=1/1h; }
--- config
    location = /t {
        sluice_key p;
        sluice_limit zone=rpm limit=5;
        error_page 429 = @other;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @other {
        sluice_key off;
        sluice_limit zone=day limit=9;
        sluice_limit zone=rpm limit=7;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]
--- response_headers eval
['RateLimit-Policy: "rpm";q=5;w=60',
 'RateLimit-Policy: "day";q=9;w=86400, "rpm";q=7;w=60']
--- raw_response_headers_like eval
['\nRateLimit: "rpm";r=4;t=\d+\r\n',
 '\nRateLimit: "day";r=8;t=\d+, "rpm";r=5;t=\d+\r\n']
--- raw_response_headers_unlike eval
['Retry', 'Retry']
--- x_zone
rpm passed=2 refused=0
day passed=1 refused=0



=== TEST 17: an upstream's own are not passed on for want of ours
--- http_config
    sluice_limit_zone $arg_k zone=empty:64k window=1m;
    sluice_key_pool p { key sk-a id=a; }
--- config
    location = /empty {
        sluice_limit zone=empty limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /dry {
        sluice_limit zone=rpm limit=1 dry_run;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /key {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /empty", "GET /dry", "GET /dry", "GET /key"]
--- response_headers eval
[("X-Other: 13") x 4]
--- raw_response_headers_unlike eval
['(?i)ratelimit', '(?i)ratelimit', '(?i)ratelimit', '(?i)ratelimit']



=== TEST 18: what is told is of the answer, not of when it was admitted
--- http_config
    sluice_limit_zone all zone=short:64k window=1s;
    sluice_limit_conn_zone all zone=par:64k;
--- config
    location = /slow {
        sluice_error_format openai;
        sluice_limit zone=short limit=9 weight=4;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/2s;
    }
    location = /outer {
        sluice_limit zone=rpm limit=100 weight=10 settle=$zero;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/inner;
    }
    location = /inner {
        sluice_limit zone=rpm limit=100 weight=80;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location /par/ {
        sluice_limit_conn zone=par limit=5;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
    }
--- x_curl
+0 -i http://127.0.0.1:$SERVER/par/2s | sed -n '/^RateLimit:/p'
+1000 -i http://127.0.0.1:$SERVER/par/2s | sed -n '/^RateLimit:/p'
--- x_curl_out
RateLimit: "par";r=3
RateLimit: "par";r=4
--- request eval
["GET /slow", "GET /outer"]
--- response_headers eval
["x-ratelimit-reset-requests: 0s", ""]
--- raw_response_headers_like eval
['\nRateLimit: "short";r=9\r\n', '\nRateLimit: "rpm";r=10;t=\d+\r\n']



=== TEST 19: an upstream's own are not passed on where no limit is, nor any key
--- config
    location = /plain {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /off {
        sluice_limit_headers off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /own {
        add_header X-RateLimit-Limit-Requests 5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /plain", "GET /off", "GET /own"]
--- raw_response_headers_like eval
['\nX-Other: 13\r\n', '\nRateLimit: "upstream";r=1\r\n',
 '\nX-RateLimit-Limit-Requests: 5\r\n']
--- raw_response_headers_unlike eval
['(?i)ratelimit', '!', '!']



=== TEST 20: ... and where a location that tells nobody has sent the request
--- config
    location = /t {
        sluice_limit_headers off;
        sluice_limit zone=rpm limit=1;
        error_page 429 = @other;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location @other {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- raw_response_headers_like eval
['\n', '\nX-Other: 13\r\n']
--- raw_response_headers_unlike eval
['(?i)ratelimit', '(?i)ratelimit']
