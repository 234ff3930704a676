# Why it exists: what nginx has around an upstream goes on: its balancers, cache,
# buffers, limits of a rate, HTTP/2 before it, and the other protocols.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 79;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')],
                        '/echo' => ["HTTP/1.1 200 X\r\n\r\n", '$body', undef]);
Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5');

our @balancers = ('', 'least_conn;', 'ip_hash;', 'hash $arg_k consistent;',
                  'random two least_conn;', 'zone z 128k;',
                  'zone z 128k; least_conn;');

add_block_preprocessor(sub {
    my ($block) = @_;
    my $balancer = $block->x_balancer // '';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        proxy_cache_path \$TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy socks5://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2;
        }
        upstream origin {
            $balancer
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
            server 127.0.0.1:1 down;
            sluice_egress eu;
            keepalive 4;
        }
        upstream script {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
        upstream grpc {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_3;
            sluice_egress eu;
            keepalive 4;
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
            location / {
                return 200 'ok';
            }
            location = /rate {
                root \$TEST_NGINX_SERVER_ROOT/html;
            }
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_3 default_server http2;
            return 200 'grpc';
        }
    ");
    $block->set_value('config', '
        sluice_usage on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        add_header X-Proxy $sluice_proxy_id:$upstream_cache_status always;
        location / {
            proxy_pass http://origin;
        }
        location = /cached {
            proxy_cache c;
            proxy_cache_valid 1m;
            proxy_pass http://origin;
        }
        location = /echo {
            client_body_buffer_size 1k;
            proxy_pass http://script;
        }
        location = /stream {
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://script/echo;
        }
        location = /rate {
            proxy_limit_rate 1m;
            proxy_pass http://origin;
        }
        location = /grpc {
            grpc_pass grpc://grpc;
        }
        location /control/ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_CONTROL/;
        }
        location = /off {
            return 204;
        }
    ');
    Sluice::Test::http2_server($block);
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: in turns
--- request eval
[("GET /") x 4]
--- response_body eval
[("ok") x 4]
--- x_proxies
eu1 CONNECT
eu2 SOCKS5



=== TEST 2: least_conn
--- x_balancer: least_conn;
--- request eval
[("GET /") x 4]
--- response_body eval
[("ok") x 4]



=== TEST 3: ip_hash
--- x_balancer: ip_hash;
--- request eval
[("GET /") x 4]
--- response_body eval
[("ok") x 4]



=== TEST 4: hash
--- x_balancer: hash $arg_k consistent;
--- request eval
[map { "GET /?k=$_" } 1 .. 4]
--- response_body eval
[("ok") x 4]



=== TEST 5: random
--- x_balancer: random two least_conn;
--- request eval
[("GET /") x 4]
--- response_body eval
[("ok") x 4]



=== TEST 6: in a zone
--- x_balancer: zone z 128k;
--- request eval
[("GET /") x 4]
--- response_body eval
[("ok") x 4]



=== TEST 7: a hit has no proxy
--- request eval
["GET /cached", "GET /cached"]
--- response_headers eval
["X-Proxy: eu1:MISS", "X-Proxy: :HIT"]
--- x_proxies
eu1



=== TEST 8: a body in a file
--- request eval
"POST /echo\n" . CORE::join '', map { "line $_\n" } 1 .. 3000
--- response_body eval
(CORE::join '', map { "line $_\n" } 1 .. 2999) . "line 3000"



=== TEST 9: one that is not kept, after a proxy that fails: nothing of it was sent
--- x_proxy: eu1 http drop
--- request
POST /stream
hello, world
--- response_body: hello, world
--- x_proxies
eu1 CONNECT
eu2 SOCKS5



=== TEST 10: at a rate
--- request
GET /rate
--- user_files eval
[["rate", "0123456789abcdef\n" x 20000]]
--- response_body eval
"0123456789abcdef\n" x 20000



=== TEST 11: gRPC
--- request
POST /grpc
hello
--- response_body: grpc
--- x_proxies
eu1 CONNECT



=== TEST 12: HTTP/2 before us, several at a time
--- x_http2
--- x_proxy: eu1 http slow
--- request
GET /off
--- error_code: 204
--- x_curl
+0 --http2-prior-knowledge http://127.0.0.1:$HTTP2/
+30 --http2-prior-knowledge http://127.0.0.1:$HTTP2/
+60 --http2-prior-knowledge http://127.0.0.1:$HTTP2/
+90 --http2-prior-knowledge http://127.0.0.1:$HTTP2/
--- x_curl_out chomp
okokokok
--- x_members
eu eu1 in_flight=0 used=2
eu eu2 in_flight=0 used=2



=== TEST 13: what is in the cache needs no proxy
--- request eval
["GET /cached?1", "GET /cached?2", "GET /control/eu1/http+refuse", "GET /control/eu2/socks5+refuse",
 "GET /control/eu1/cut", "GET /control/eu2/cut", "GET /", "GET /", "GET /", "GET /", "GET /cached?1", "GET /cached?2"]
--- error_code eval
[(200) x 6, (503) x 4, 200, 200]
