# Why it exists: what a client has sent goes out once more with another key,
# whole and the same, wherever it is kept; and never if it has gone out as it
# came, and is kept nowhere.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 32;

Sluice::Upstream::start(
    'A /t' => [Sluice::Upstream::answer(429, 'no')],
    'A /sent' => [Sluice::Upstream::answer(401, 'no')],
    '/sent' => ["HTTP/1.1 200 X\r\n\r\n", '$body', undef],
    'B /t' => ["HTTP/1.1 200 X\r\n\r\n", '$body', undef],
);

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key A id=a; key B id=b; }
    ');
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        location ~ ^/(t|sent)$ {
            ' . ($block->x_location // '') . '
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        }
        location = /off {
            sluice_key off;
            sluice_usage off;
            return 204;
        }
    ');
    Sluice::Test::http2_server($block);
    $block->set_value('x_members', '
p a used=1 in_flight=0 state=cooling
p b used=1 in_flight=0
') if !defined $block->x_members;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: in memory
--- request
POST /t
hello, world
--- response_body: hello, world
--- x_records
status=200 tries=2 keys=429@a+200@b



=== TEST 2: in a file
--- x_location: client_body_in_file_only clean;
--- request
POST /t
hello, world
--- response_body: hello, world



=== TEST 3: part of it in a file
--- x_location: client_body_buffer_size 1k;
--- request eval
"POST /t\n" . CORE::join '', map { "line $_\n" } 1 .. 3000
--- response_body eval
(CORE::join '', map { "line $_\n" } 1 .. 2999) . "line 3000"



=== TEST 4: in chunks
--- x_location: proxy_http_version 1.1;
--- request eval
"POST /t
5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- response_body: hello, world



=== TEST 5: a body of the operator's
--- x_location: proxy_set_body "for $sluice_key_id: $request_body"; client_body_in_single_buffer on;
--- request
POST /t
hello
--- response_body: for b: hello



=== TEST 6: none
--- x_location: proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Authorization $sluice_key;
--- request
POST /t
hello
--- response_body:



=== TEST 7: not buffered, but here before anything was sent
--- x_location: proxy_request_buffering off; proxy_http_version 1.1;
--- request
POST /t
hello, world
--- response_body: hello, world



=== TEST 8: not buffered, and sent as it came: the answer is the client's
--- x_location: proxy_request_buffering off; proxy_http_version 1.1;
--- raw_request eval
["POST /sent HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 12\r\n\r\nhello", ", world"]
--- raw_request_middle_delay: 0.1
--- error_code: 401
--- response_body: no
--- x_records
status=401 tries=1 keys=401@a
--- x_members
p a used=1 in_flight=0 state=healthy denied=1
p b used=0 in_flight=0



=== TEST 9: HTTP/2
--- x_http2
--- request
GET /off
--- error_code: 204
--- x_curl
--http2-prior-knowledge --data 'hello, world' -w '\n' http://127.0.0.1:$HTTP2/t
--- x_curl_out
hello, world



=== TEST 10: HTTP/2, in a file
--- x_http2
--- x_location: client_body_in_file_only clean;
--- request
GET /off
--- error_code: 204
--- x_curl
--http2-prior-knowledge --data 'hello, world' -w '\n' http://127.0.0.1:$HTTP2/t
--- x_curl_out
hello, world
