# Why it exists: with "direct=allowed" a request for which no proxy is up goes to
# the origin itself; it is logged and recorded, and as soon as a proxy is up
# again nothing goes direct any more, not even over a connection that is kept.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 41;

Sluice::Upstream::start('/t' => ["HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n\$nth"],
                        '/300ms' => [\0.3, Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(eu1 => 'http refuse', eu2 => 'socks5 close');

add_block_preprocessor(sub {
    my ($block) = @_;
    my $rest = $block->x_rest // '30s';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1 fail_timeout=$rest;
            proxy socks5://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 fail_timeout=$rest;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu direct=allowed;
            keepalive 4;
        }
    ");
    $block->set_value('config', '
        sluice_usage on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 500ms;
        add_header X-Proxy "$sluice_proxy_id $sluice_proxy_tries" always;
        location = /t {
            proxy_pass http://origin;
        }
        location = /never {
            sluice_egress eu;
            proxy_pass http://origin/t;
        }
        location = /pause {
            sluice_usage off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/300ms;
        }
        location /control/ {
            sluice_usage off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_CONTROL/;
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: direct
--- request eval
["POST /t\nhello", "GET /t"]
--- response_body_like eval
["^1\$", "^2\$"]
--- response_headers eval
["X-Proxy: direct 3", "X-Proxy: direct 1"]
--- x_proxies
eu2
--- x_records
outcome=admitted status=200
outcome=admitted status=200
--- x_log
1-2: ~\[(warn|error)\] .*direct
--- x_members
eu eu1 in_flight=0 state=cooling
eu eu2 in_flight=0 state=cooling



=== TEST 2: not where it is not allowed
--- request eval
["GET /t", "GET /never", "GET /t"]
--- error_code eval
[200, 503, 200]
--- x_proxies
eu2



=== TEST 3: a proxy that is up again has the next one
--- x_rest: 200ms
--- request eval
["GET /t", "GET /control/eu1/http", "GET /control/eu2/socks5", "GET /pause", "GET /t", "GET /t"]
--- response_body_like eval
["^1\$", "", "", "ok", "^1\$", "^1\$"]
--- response_headers_like eval
["X-Proxy: direct 3", "", "", "", "X-Proxy: eu[12] 1", "X-Proxy: eu[12] 1"]
--- x_proxies
eu2
~^eu[12]$ ~^(CONNECT|SOCKS5)$
~^eu[12]$ ~^(CONNECT|SOCKS5)$



=== TEST 4: with one that is up, none goes direct
--- x_proxy: eu2 socks5
--- request eval
["GET /t", "GET /t"]
--- response_body_like eval
["^1\$", "^2\$"]
--- response_headers eval
["X-Proxy: eu2 2", "X-Proxy: eu2 1"]
--- x_proxies
eu2 SOCKS5
--- x_log
0: ~\[(warn|error)\] .*direct



=== TEST 5: an origin's fault is none of the proxies'
--- x_proxy: eu2 socks5 5
--- request
GET /t
--- error_code: 502
--- x_proxies
eu2 SOCKS5
--- x_log
0: ~\[(warn|error)\] .*direct
