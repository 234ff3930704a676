# Why it exists: a client may leave at any time: while a proxy is asked, between
# two of them, in a tunnel.  Nothing is in flight then, and no proxy is blamed.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 13;

Sluice::Upstream::start('/late' => [\1, Sluice::Upstream::answer(200, 'ok')],
                        '/t' => [Sluice::Upstream::answer(200, 'ok')],
                        '/half' => ["HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhalf", \1, "whole"]);
Sluice::Proxy::start(eu1 => 'http', eu2 => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 backup;
        }
        upstream origin {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
            keepalive 4;
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location / {
            proxy_pass http://origin;
        }
        location = /stay {
            proxy_ignore_client_abort on;
            proxy_connect_timeout 500ms;
            proxy_pass http://origin/t;
        }
    ');
    $block->set_value('timeout', 0.2);
    $block->set_value('abort', '');
    $block->set_value('ignore_response', '');
});

no_root_location();
run_tests();

__DATA__

=== TEST 1: a proxy says nothing
--- x_proxy: eu1 http hole
--- request
POST /t
hello
--- x_records
outcome=admitted status=499 flags=closed tries=1
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0 used=0



=== TEST 2: the second one
--- x_proxy
eu1 http close
eu2 http mute
--- request
GET /t
--- x_records
outcome=admitted status=499 flags=closed tries=1
--- x_members
eu eu1 in_flight=0 state=cooling
eu eu2 in_flight=0 state=healthy
--- x_proxies
eu1
eu2 CONNECT



=== TEST 3: a slow one
--- x_proxy: eu1 http slow
--- request
GET /t
--- x_records
outcome=admitted status=499 flags=closed tries=1
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0 used=0



=== TEST 4: in the tunnel
--- request
GET /late
--- x_records
outcome=admitted status=499 flags=closed tries=1 tunnels=0:connected@eu1
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0 used=0



=== TEST 5: in the answer
--- request
GET /half
--- x_records
outcome=admitted status=499 flags=closed tries=1 tunnels=0:connected@eu1
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0 used=0



=== TEST 6: a request that goes on without him
--- x_proxy: eu1 http hole
--- request
GET /stay
--- x_records
outcome=admitted tries=1 proxy=eu2 tunnels=0:timeout@eu1+0:connected@eu2
--- x_members
eu eu1 in_flight=0 state=cooling timeout=1
eu eu2 in_flight=0 used=1

