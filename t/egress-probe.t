# Why it exists: a pool's probe finds a proxy that is down before a request does,
# and one that is up again; however many workers there are, one of them asks.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

workers(4);
master_on();

plan tests => 25;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')],
                        '/2s' => [\2.4, Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1 '
                . ($block->x_is // '') . ';
            proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 backup;
            probe 127.0.0.1:' . ($block->x_port // '$TEST_NGINX_SLUICE_PORT') . ' interval=1s timeout=900ms;
        }
        upstream origin {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
    ');
    $block->set_value('config', '
        add_header X-Proxy "$sluice_proxy_id $sluice_proxy_tries" always;
        location = /t {
            proxy_pass http://origin;
        }
        location = /pause {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/2s;
        }
        location /control/ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_CONTROL/;
        }
    ');
});

timeout(5);
no_root_location();
run_tests();

__DATA__

=== TEST 1: each once a second, by one worker
--- request eval
["GET /pause", "GET /control/asked"]
--- response_body_like eval
["ok", "^((eu1 CONNECT|eu2 SOCKS5) 127\\S+ -\n){4,6}\$"]



=== TEST 2: one that is down is known to be
--- x_proxy: eu1 http hole
--- x_is: fail_timeout=60s
--- request eval
["GET /pause", "GET /t"]
--- response_headers eval
["", "X-Proxy: eu2 1"]
--- x_members
eu eu1 state=cooling used=0
eu eu2 state=healthy used=1



=== TEST 3: and one that is up again, before its time is over
--- x_proxy: eu1 http close, http
--- x_is: fail_timeout=60s
--- request eval
["GET /pause", "GET /pause", "GET /t"]
--- response_headers_like eval
["", "", "X-Proxy: eu1 1"]
--- x_members
eu eu1 state=healthy
eu eu2 state=healthy



=== TEST 4: a proxy is not down because the one that is asked for is
--- x_port: 1
--- request eval
["GET /pause", "GET /t"]
--- response_headers_like eval
["", "X-Proxy: eu1 1"]
--- x_members
eu eu1 state=healthy
eu eu2 state=healthy
--- error_log
for a probe: origin



=== TEST 5: it is if another one reaches it
--- x_proxy: eu1 http 502
--- x_is: fail_timeout=60s
--- request eval
["GET /pause", "GET /t"]
--- response_headers eval
["", "X-Proxy: eu2 1"]
--- x_members
eu eu1 state=cooling used=0
eu eu2 state=healthy
--- error_log
for a probe: origin, which others reach: HTTP/1.1 502
