# Why it exists: a proxy that fails so many times in a row rests, for all workers
# and requests; when its time is over one request at a time is its probe.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 79;

# nothing is kept: each request asks a proxy

my $ok = Sluice::Upstream::answer(200, 'ok', 'Connection: close');

Sluice::Upstream::start('/t' => [$ok], '/300ms' => [\0.3, $ok]);
Sluice::Proxy::start(eu1 => 'http refuse', eu2 => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;
    my $is = $block->x_is // '';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1 $is;
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 backup;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
    ");
    $block->set_value('config', '
        proxy_connect_timeout 500ms;
        add_header X-Proxy "$sluice_proxy_id $sluice_proxy_tries" always;
        location /t {
            proxy_pass http://origin;
        }
        location /300ms {
            proxy_pass http://origin;
        }
        location = /pause {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/300ms;
        }
        location /control/ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_CONTROL/;
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: the first failure is enough, and lasts for ten seconds
--- request eval
["GET /t", "GET /t"]
--- response_headers eval
["X-Proxy: eu2 2", "X-Proxy: eu2 1"]
--- x_members
eu eu1 in_flight=0 state=cooling for=10000
eu eu2 used=2 in_flight=0 state=healthy
--- x_log
1: ~\[error\] .*no tunnel to "127\.0\.0\.1:\d+" by proxy "eu1" \("http://127\.0\.0\.1:\d+"\): unreachable
1: ~\[warn\] .*proxy "eu1" of pool "eu" is down for 10 seconds



=== TEST 2: the third one
--- x_is: max_fails=3 fail_timeout=20s
--- request eval
[("GET /t") x 5]
--- response_headers eval
[("X-Proxy: eu2 2") x 3, ("X-Proxy: eu2 1") x 2]
--- x_members
eu eu1 in_flight=0 state=cooling for=20000
eu eu2 used=5



=== TEST 3: in a row
--- x_is: max_fails=2 fail_timeout=20s
--- x_proxy: eu1 http close, http, http close, http, http close, http close, http
--- request eval
[("GET /t") x 7]
--- response_headers eval
["X-Proxy: eu2 2", "X-Proxy: eu1 1", "X-Proxy: eu2 2", "X-Proxy: eu1 1", "X-Proxy: eu2 2", "X-Proxy: eu2 2", "X-Proxy: eu2 1"]
--- x_members
eu eu1 in_flight=0 state=cooling
eu eu2 in_flight=0



=== TEST 4: within the time
--- x_is: max_fails=2 fail_timeout=200ms
--- request eval
["GET /t", "GET /pause", "GET /t", "GET /t"]
--- response_headers_like eval
["X-Proxy: eu2 2", "", "X-Proxy: eu2 2", "X-Proxy: eu2 2"]



=== TEST 5: never
--- x_is: max_fails=0
--- request eval
[("GET /t") x 4]
--- response_headers eval
[("X-Proxy: eu2 2") x 4]
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 used=4



=== TEST 6: back, when its time is over
--- x_is: fail_timeout=200ms
--- request eval
["GET /t", "GET /control/eu1/http", "GET /pause", "GET /t", "GET /t"]
--- response_headers_like eval
["X-Proxy: eu2 2", "", "", "X-Proxy: eu1 1", "X-Proxy: eu1 1"]
--- x_members
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0



=== TEST 7: a probe that fails: it rests as long as before
--- x_is: max_fails=3 fail_timeout=200ms
--- request eval
["GET /t", "GET /t", "GET /t", "GET /pause", "GET /t", "GET /t"]
--- response_headers_like eval
[("X-Proxy: eu2 2") x 3, "", "X-Proxy: eu2 2", "X-Proxy: eu2 1"]
--- x_members
eu eu1 in_flight=0 state=cooling for=200
eu eu2 in_flight=0



=== TEST 8: one request at a time is the probe
--- x_is: fail_timeout=200ms
--- request eval
["GET /t", "GET /control/eu1/http+slow", "GET /pause"]
--- error_code eval
[200, 200, 200]
--- x_curl
+0 -o /dev/null -w '%header{x-proxy}\n' http://127.0.0.1:$SERVER/t
+100 -o /dev/null -w '%header{x-proxy}\n' http://127.0.0.1:$SERVER/t
+100 -o /dev/null -w '%header{x-proxy}\n' http://127.0.0.1:$SERVER/t
--- x_curl_out
eu1 1
eu2 1
eu2 1



=== TEST 9: the origin's fault says nothing of a proxy, neither way
--- x_is: fail_timeout=200ms
--- request eval
["GET /t", "GET /control/eu1/http+502", "GET /pause", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200, 502, 502]
--- x_members
eu eu1 in_flight=0 state=cooling
eu eu2 in_flight=0
