# Why it exists: the same through a proxy that speaks SOCKS5, with its replies in
# all the forms that they may have.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 72;

Sluice::Proxy::start(
    eu1  => 'socks5',
    auth => 'socks5 user=jo%3ae:p%40ss%00%ff' =~ s/%00//r,
    long => 'socks5 user=' . 'u' x 255 . ':' . 'p' x 255,
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $proxy = $block->x_pool
                // 'proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu { $proxy }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            sluice_egress eu;
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            return 200 '\$request_method \$request_uri\\n';
        }
        " . ($block->http_config // ''));
    $block->set_value('config', '
        location / {
            proxy_pass http://origin;
        }
        ' . ($block->config // ''));
    $block->set_value('no_error_log', "[error]\n[alert]\np\@ss");
    $block->set_value('request', 'GET /t?a=b') if !defined $block->request;
    $block->set_value('response_body', "GET /t?a=b\n")
        if !defined $block->response_body;
});

no_root_location();
run_tests();

__DATA__

=== TEST 1: who need not say who he is
--- x_proxies
eu1 SOCKS5 ~^127\.0\.0\.1:\d+$ -



=== TEST 2: who must
--- x_pool: proxy socks5://jo%3ae:p%40ss%ff@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_AUTH id=eu1;
--- x_proxies
auth SOCKS5 ~^127\.0\.0\.1:\d+$ jo:e



=== TEST 3: the longest user and password
--- x_pool eval
'proxy socks5://' . 'u' x 255 . ':' . 'p' x 255 . '@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_LONG id=eu1;'
--- x_proxies
long SOCKS5 ~^127\.0\.0\.1:\d+$ ~^u{255}$



=== TEST 4: who could, and is not asked
--- x_pool: proxy socks5://joe:p%40ss@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
--- x_proxies
eu1 SOCKS5 ~^127 -



=== TEST 5: an origin with an address of IPv6
--- skip_eval: 6: !Sluice::Proxy::has_ipv6()
--- http_config
    upstream six { server [::1]:$TEST_NGINX_RAND_PORT_2; sluice_egress eu; }
    server {
        listen [::1]:$TEST_NGINX_RAND_PORT_2;
        return 200 "six\n";
    }
--- config
    location = /six {
        proxy_pass http://six;
    }
--- request
GET /six
--- response_body
six
--- x_proxies
eu1 SOCKS5 ~^\[::1\]:\d+$ -



=== TEST 6: one with a name, which the proxy resolves
--- http_config
    upstream named { server localhost:$TEST_NGINX_RAND_PORT_1; sluice_egress eu; }
--- config
    location = /t {
        proxy_pass http://named;
    }
--- x_proxies
eu1 SOCKS5 ~^localhost:\d+$ -



=== TEST 7: or nginx
--- http_config
    upstream named { server localhost:$TEST_NGINX_RAND_PORT_1; sluice_egress eu resolve=local; }
--- config
    location = /t {
        proxy_pass http://named;
    }
--- x_proxies
eu1 SOCKS5 ~^(127\.0\.0\.1|\[::1\]):\d+$ -



=== TEST 8: a slow reply
--- x_proxy: eu1 socks5 slow



=== TEST 9: byte by byte
--- x_proxy: eu1 socks5 bytes



=== TEST 10: that names an address of IPv6
--- x_proxy: eu1 socks5 ipv6



=== TEST 11: that names a name
--- x_proxy: eu1 socks5 name



=== TEST 12: the longest one
--- x_proxy: eu1 socks5 long-name



=== TEST 13: the origin's first bytes, glued to it
--- x_proxy: eu1 socks5 glued
--- response_body
glued
