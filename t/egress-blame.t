# Why it exists: a proxy that cannot reach the origin says so, and is well: what
# it says counts against the origin, as if connect() to it had failed, and the
# next server may have the request, through the same proxy.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 50;

Sluice::Upstream::start('/t' => ["HTTP/1.1 200 X\r\n\r\n", '$body', undef],
                        '/403' => [Sluice::Upstream::answer(403, 'no', 'Connection: close')],
                        '/500' => [Sluice::Upstream::answer(500, 'no', 'Connection: close')],
                        '/407' => [Sluice::Upstream::answer(407, 'no', 'Connection: close')]);
Sluice::Proxy::start(eu1 => 'http', s1 => 'socks5', eu2 => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;
    my ($one) = ($block->x_proxy // '') =~ /^(\w+) /;
    my $other;
    my $scheme = ($one //= 'eu1') eq 's1' ? 'socks5' : 'http';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy $scheme://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_\U$one\E id=eu1;
            " . ($other = defined $block->x_one ? '' :
            'proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 backup;') . "
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
        upstream two {
            server 127.0.0.1:1 fail_timeout=60s;
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT backup;
            sluice_egress eu;
        }
    ");
    $block->set_value('config', '
        proxy_connect_timeout 500ms;
        location / {
            proxy_pass http://origin;
        }
        location /two/ {
            proxy_pass http://two/;
        }
    ');

    if (!defined $block->request) {
        $block->set_value('request', "POST /t\nhello");
        $block->set_value('error_code', 502);
        $block->set_value('x_proxies', "$one\n");
    }

    # nobody rests
    $block->set_value('x_members', '
eu eu1 in_flight=0 state=healthy
' . ($other && "eu eu2 used=0 in_flight=0\n"));
});

no_root_location();
run_tests();

__DATA__

=== TEST 1: 500
--- x_proxy: eu1 http 500



=== TEST 2: 502
--- x_proxy: eu1 http 502



=== TEST 3: 503
--- x_proxy: eu1 http 503



=== TEST 4: 504
--- x_proxy: eu1 http 504



=== TEST 5: 599
--- x_proxy: eu1 http 599



=== TEST 6: SOCKS5: network unreachable
--- x_proxy: s1 socks5 3



=== TEST 7: host unreachable
--- x_proxy: s1 socks5 4



=== TEST 8: connection refused
--- x_proxy: s1 socks5 5



=== TEST 9: TTL expired
--- x_proxy: s1 socks5 6



=== TEST 10: another server may have it
--- request
POST /two/t
hello
--- response_body: hello
--- x_proxies
eu1 CONNECT 127.0.0.1:1
eu1 CONNECT ~^127



=== TEST 11: with SOCKS5
--- x_proxy: s1 socks5
--- request
POST /two/t
hello
--- response_body: hello
--- x_proxies
s1 SOCKS5 127.0.0.1:1
s1 SOCKS5 ~^127



=== TEST 12: a server that failed rests, as nginx has it
--- request eval
["GET /two/t", "GET /two/t"]
--- response_body eval
["", ""]
--- x_proxies
eu1 CONNECT 127.0.0.1:1
eu1 CONNECT ~^127
eu1 CONNECT ~^127



=== TEST 13: what the origin answers is the origin's
--- request eval
["GET /403", "GET /407", "GET /500"]
--- error_code eval
[403, 407, 500]
--- x_proxies
eu1
eu1
eu1



=== TEST 14: with one proxy as well
--- x_one
--- request
POST /two/t
hello
--- response_body: hello
--- x_proxies
eu1 CONNECT 127.0.0.1:1
eu1 CONNECT ~^127
