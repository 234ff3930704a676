# Why it exists: where only the proxy can resolve the origin's name, the request
# says what it is asked for; whatever a client may have put into that goes into
# no handshake unless it is a host and a port.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 36;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            balance hash $arg_p;
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
        }
        sluice_proxy_pool socks {
            proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2;
        }
        upstream named {
            server 127.0.0.1:1;
            sluice_egress eu target=origin.test:$TEST_NGINX_SLUICE_PORT;
            keepalive 4;
        }
        upstream asked {
            server 127.0.0.1:1 max_fails=0;
            sluice_egress eu target=$host_and_port;
            keepalive 4;
        }
        upstream socks {
            server 127.0.0.1:1 max_fails=0;
            sluice_egress socks target=$host_and_port;
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location = /named {
            proxy_pass http://named/t;
        }
        location ~ (?s)^/(?<up>asked|socks)/(?<host_and_port>.*)$ {
            set $port $TEST_NGINX_SLUICE_PORT;
            proxy_pass http://$up/t;
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: a name
--- request eval
["GET /named", "GET /named"]
--- response_body eval
["ok", "ok"]
--- x_proxies
eu1 CONNECT ~^origin\.test:\d+$



=== TEST 2: another for each request; kept for the same one
--- request eval
["GET /asked/a.test:$ENV{TEST_NGINX_SLUICE_PORT}",
 "GET /asked/b.test:$ENV{TEST_NGINX_SLUICE_PORT}",
 "GET /asked/a.test:$ENV{TEST_NGINX_SLUICE_PORT}"]
--- response_body eval
["ok", "ok", "ok"]
--- x_proxies
eu1 CONNECT ~^a\.test:\d+$
eu1 CONNECT ~^b\.test:\d+$



=== TEST 3: with SOCKS5
--- request eval
["GET /socks/a.test:$ENV{TEST_NGINX_SLUICE_PORT}",
 "GET /socks/127.0.0.1:$ENV{TEST_NGINX_SLUICE_PORT}"]
--- response_body eval
["ok", "ok"]
--- x_proxies
eu2 SOCKS5 ~^a\.test:\d+$
eu2 SOCKS5 ~^127\.0\.0\.1:\d+$



=== TEST 4: what is none
--- request eval
[map { "GET /asked/$_" } "", "a.test", ":80", "a.test:0", "a.test:65536",
 "a.test:80%0d%0aX:%20y", "a%0d%0aX:1", "a%20b:80", "a..test:80",
 "[::1:80", "user\@a.test:80", "a/b:80"]
--- error_code_like eval
[("^50[0-9]\$") x 12]
--- x_proxies
--- x_members
eu eu1 used=0 in_flight=0 state=healthy
socks eu2 used=0



=== TEST 5: nor with SOCKS5
--- request eval
[map { "GET /socks/$_" } "", "a.test:80%0d%0aX:%20y", "x" x 256 . ":80"]
--- error_code_like eval
[("^50[0-9]\$") x 3]
--- x_proxies
--- x_members
eu eu1 used=0
socks eu2 used=0 in_flight=0 state=healthy
