# Why it exists: a limit of bytes counts what went over the connection, both
# ways, headers included, each request for itself though its connection is kept.
#
# GET /look?k=KEY charges nothing and tells what is left.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 49;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $arg_k zone=down:64k window=1h unit=bytes;
        map all $zero { default 0; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location / { return 200 "ok\n"; }
        }
    ');
    $block->set_value('config', ($block->config // '') . '
        sluice_limit_headers on;
        location = /look {
            sluice_limit zone=down limit=100000 weight=$zero settle=$zero;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
        location = /t {
            sluice_limit zone=down limit=100000;
            alias $TEST_NGINX_SERVER_ROOT/html/large;
        }
        location = /upload {
            sluice_limit zone=down limit=100000;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /missing {
            sluice_limit zone=down limit=100000 weight=50000;
            alias $TEST_NGINX_SERVER_ROOT/html/none;
        }
    ');
    $block->set_value('user_files', [['large', 'x' x 40000]]);
});

run_tests();

__DATA__

=== TEST 1: what was sent
--- request eval
["GET /t?k=1", "GET /look?k=1", "GET /t?k=1", "GET /look?k=1", "GET /t?k=1",
 "GET /look?k=1", "GET /t?k=1", "GET /t?k=2"]
--- error_code eval
[200, 200, 200, 200, 200, 429, 429, 200]
--- raw_response_headers_like eval
['"down";r=99999;', '"down";r=59[3-7]..;', '"down";r=59[3-7]..;',
 '"down";r=1[89]...;', '"down";r=1[89]...;', '"down";r=0;', '"down";r=0;',
 '"down";r=99999;']
--- raw_response_headers_unlike eval
[('Retry') x 5, 'OK', 'OK', 'Retry']



=== TEST 2: a head has no body to be charged for
--- request eval
["HEAD /t?k=1", "GET /look?k=1"]
--- error_code eval
[200, 200]
--- raw_response_headers_like eval
['"down";r=99999;', '"down";r=99[3-7]..;']



=== TEST 3: what was received
--- request eval
["POST /upload?k=1\n" . "x" x 30000, "GET /look?k=1"]
--- error_code eval
[200, 200]
--- raw_response_headers_like eval
['"down";r=99999;', '"down";r=69[3-7]..;']



=== TEST 4: a key of many bytes is received, too
--- http_config
    large_client_header_buffers 4 128k;
--- request eval
["GET /missing?k=1", "GET /look?k=1"]
--- more_headers eval
["X-Long: " . "x" x 30000, ""]
--- error_code eval
[404, 200]
--- raw_response_headers_like eval
['"down";r=50000;', '"down";r=69[0-7]..;']



=== TEST 5: a connection that is kept begins anew with each request
--- pipelined_requests eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=1", "GET /t?k=1", "GET /t?k=2"]
--- error_code eval
[200, 200, 200, 429, 200]
--- response_body_like eval
["^x+\$", "^x+\$", "^x+\$", "Rate limit", "^x+\$"]
--- x_zone
down passed=4 refused=1



=== TEST 6: over HTTP/2, where a request is a stream
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2 http2;
        sluice_limit_headers on;
        location = /look {
            sluice_limit zone=down limit=100000 weight=$zero settle=$zero;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
        location = /t {
            sluice_limit zone=down limit=100000;
            alias $TEST_NGINX_SERVER_ROOT/html/large;
        }
    }
--- x_curl
--http2-prior-knowledge -i http://127.0.0.1:$PORT/t?k=1 | sed -n '/^ratelimit:/ { s/;t=.*//; s/[0-9]..$/.../; p }'
--http2-prior-knowledge -i http://127.0.0.1:$PORT/t?k=1 | sed -n '/^ratelimit:/ { s/;t=.*//; s/[0-9]..$/.../; p }'
--http2-prior-knowledge -i http://127.0.0.1:$PORT/look?k=1 | sed -n '/^ratelimit:/ { s/;t=.*//; s/[0-9]..$/.../; p }'
--- x_curl_out
ratelimit: "down";r=99...
ratelimit: "down";r=59...
ratelimit: "down";r=19...
--- request
GET /look?k=2
