# Why it exists: an operator chooses the status of a refusal; its body agrees
# with it, in each dialect, and an error_page is asked for that status.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 49;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        map all $none { default 0; }
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_limit_zone $arg_k zone=other:64k window=1h;
    ');
});

our $formats = '
    location = /problem {
        sluice_limit zone=rpm limit=$none status=503;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /openai {
        sluice_error_format openai;
        sluice_limit zone=rpm limit=$none status=503;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /anthropic {
        sluice_error_format anthropic;
        sluice_limit zone=rpm limit=$none status=503;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /page {
        internal;
        sluice_limit off;
        alias $TEST_NGINX_SERVER_ROOT/html/page;
    }
';

run_tests();

__DATA__

=== TEST 1: in each dialect
--- config eval: $::formats
--- request eval
["GET /problem", "GET /openai", "GET /anthropic"]
--- error_code eval
[503, 503, 503]
--- response_headers eval
["Content-Type: application/problem+json", "Content-Type: application/json",
 "Content-Type: application/json"]
--- response_body eval
['{"status":503,"detail":"Rate limit reached. Try again later."}' . "\r\n",
 '{"error":{"message":"Rate limit reached. Try again later.",'
 . '"type":"requests","param":null,"code":"rate_limit_exceeded"}}' . "\r\n",
 '{"type":"error","error":{"type":"rate_limit_error",'
 . '"message":"Rate limit reached. Try again later."}}' . "\r\n"]



=== TEST 2: 429 by its name is the usual one
--- config
    location = /t {
        sluice_limit zone=rpm limit=1 status=429;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_body_like eval
["It works", '^\{"type":"about:blank","title":"Too Many Requests","status":429,']



=== TEST 3: the ends of the range, Retry-After as with any
--- config
    location = /400 {
        sluice_limit zone=rpm limit=1 status=400;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /599 {
        sluice_limit zone=rpm limit=1 status=599;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /400", "GET /400", "GET /599"]
--- error_code eval
[200, 400, 599]
--- raw_response_headers_like eval
["OK", "Retry-After: [1-9][0-9]+\r\n", "Retry-After: [1-9][0-9]+\r\n"]
--- response_body_like eval
["It works", '^\{"status":400,"detail":"Rate', '^\{"status":599,"detail":"Rate']



=== TEST 4: a page for that status comes before a body of ours, in each dialect
--- config eval
$::formats . '
    error_page 503 /page;
    error_page 429 /wrong;
'
--- user_files
>>> page
wait a little
--- request eval
["GET /problem", "GET /openai", "GET /anthropic"]
--- error_code eval
[503, 503, 503]
--- response_body eval
[("wait a little\n") x 3]



=== TEST 5: a page for another status does not
--- config eval
$::formats . '
    error_page 429 /page;
'
--- user_files
>>> page
wait a little
--- request eval
["GET /problem", "GET /openai", "GET /anthropic"]
--- error_code eval
[503, 503, 503]
--- response_body_like eval
['"status":503', 'rate_limit_exceeded', 'rate_limit_error']



=== TEST 6: of several limits the one that refuses has its own
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=2 status=503;
        sluice_limit zone=other limit=1 status=420;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=2", "GET /t?k=3"]
--- error_code eval
[200, 420, 200, 503]
--- x_records
outcome=admitted status=200
outcome=limit status=420 zone=other
outcome=admitted status=200
outcome=limit status=503 zone=rpm
--- x_counters
admitted=2 refused_limit=2



=== TEST 7: 444 closes the connection without an answer, as everywhere in nginx
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location = /t {
            sluice_limit zone=rpm limit=1 status=444;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
    }
--- config
--- x_curl
-o /dev/null -w '%{http_code}\n' http://127.0.0.1:$PORT/t
-o /dev/null -w '%{http_code}:%{size_header}\n' http://127.0.0.1:$PORT/t
--- x_curl_out
200
000:0
--- request
GET /
--- error_code: 200
--- x_zone
rpm passed=1 refused=1



=== TEST 8: a variable has no number: that is no refusal by the limit
--- config
    location = /t {
        sluice_limit zone=rpm limit=$arg_n status=503;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- error_code: 500
--- response_body_like: misconfigured



=== TEST 9: the page is the client's way elsewhere
--- config
    location = /t {
        sluice_limit zone=rpm limit=1 status=402;
        error_page 402 =200 @other;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location @other {
        try_files /page =404;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- user_files
>>> page
another plan
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]
--- response_body_like eval
["It works", "another plan"]
