# Why it exists: a request leaves through a proxy that speaks HTTP as if the
# proxy were not there: of the client's, and of the origin's, nothing is missing,
# and the proxy is told nothing but where to.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 140;

Sluice::Proxy::start(
    eu1  => 'http',
    auth => 'http user=joe:p%40ss%3a%2F%20%25%2B',
    long => 'http user=' . 'u' x 255 . ':' . 'p' x 255,
    Sluice::Proxy::has_ipv6() ? (six => '[::1] http') : (),
);

$ENV{TEST_NGINX_SLUICE_PROXY_SIX} //= 0;

add_block_preprocessor(sub {
    my ($block) = @_;
    my $proxy = $block->x_pool
                // 'proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        client_body_buffer_size 2m;
        sluice_proxy_pool eu { $proxy }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            sluice_egress eu;
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            root \$TEST_NGINX_SERVER_ROOT/html;
            location /t {
                return 200 '\$request_method \$request_uri \$http_host \$http_x\\n';
            }
            location /body {
                client_max_body_size 0;
                proxy_pass http://127.0.0.1:\$TEST_NGINX_RAND_PORT_1/echo;
            }
            location /echo {
                client_max_body_size 0;
                client_body_in_single_buffer on;
                client_body_buffer_size 2m;
                mirror /void;
                add_header X-Body \$request_body;
                return 200;
            }
            location /none {
                return 204;
            }
        }
        " . ($block->http_config // ''));
    $block->set_value('config', '
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location / {
            proxy_pass http://origin;
        }
        ' . ($block->config // ''));
    $block->set_value('no_error_log', "[error]\n[alert]\np\@ss\ncDpwQHNzOi")
        if !defined $block->error_log;
    $block->set_value('request', 'GET /t?a=b') if !defined $block->request;
    $block->set_value('response_body', "GET /t?a=b origin \n")
        if !defined $block->response_body
           && !defined $block->response_body_like && !defined $block->error_code;
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: CONNECT
--- request
PUT /t?a=b
body
--- more_headers
X: client's
--- response_body
PUT /t?a=b origin client's
--- x_proxies
eu1 CONNECT ~^127\.0\.0\.1:\d+$ -



=== TEST 2: who asks, with a password that a URL must escape
--- x_pool: proxy http://joe:p%40ss%3a%2F%20%25%2B@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_AUTH id=eu1;
--- x_proxies
auth CONNECT ~^127\.0\.0\.1:\d+$ joe



=== TEST 3: the longest ones
--- x_pool eval
'proxy http://' . 'u' x 255 . ':' . 'p' x 255 . '@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_LONG id=eu1;'
--- x_proxies
long CONNECT ~^127\.0\.0\.1:\d+$ ~^u{255}$



=== TEST 4: who is not asked who he is
--- x_pool: proxy http://joe:p%40ss@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
--- x_proxies
eu1 CONNECT ~^127 joe



=== TEST 5: a proxy with an address of IPv6
--- skip_eval: 7: !Sluice::Proxy::has_ipv6()
--- x_pool: proxy http://[::1]:$TEST_NGINX_SLUICE_PROXY_SIX id=eu1;
--- x_proxies
six CONNECT ~^127 -



=== TEST 6: an origin with one
--- skip_eval: 7: !Sluice::Proxy::has_ipv6()
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
eu1 CONNECT ~^\[::1\]:\d+$ -



=== TEST 7: an origin with a name, which the proxy resolves
--- http_config
    upstream named { server localhost:$TEST_NGINX_RAND_PORT_1; sluice_egress eu; }
--- config
    location = /t {
        proxy_pass http://named;
    }
--- response_body
GET /t?a=b named 
--- x_proxies
eu1 CONNECT ~^localhost:\d+$ -



=== TEST 8: or nginx
--- http_config
    upstream named { server localhost:$TEST_NGINX_RAND_PORT_1; sluice_egress eu resolve=local; }
--- config
    location = /t {
        proxy_pass http://named;
    }
--- response_body
GET /t?a=b named 
--- x_proxies
eu1 CONNECT ~^(127\.0\.0\.1|\[::1\]):\d+$ -



=== TEST 9: two names of one address
--- http_config
    upstream named {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.01:$TEST_NGINX_RAND_PORT_1;
        sluice_egress eu;
    }
--- config
    location = /t {
        proxy_pass http://named;
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["GET /t named \n", "GET /t named \n"]
--- x_proxies
eu1 CONNECT ~^127\.0\.0\.1:\d+$ -
eu1 CONNECT ~^127\.0\.0\.01:\d+$ -



=== TEST 10: another status that is well, and no reason
--- x_proxy: eu1 http 2xx



=== TEST 11: a slow answer
--- x_proxy: eu1 http slow



=== TEST 12: byte by byte
--- x_proxy: eu1 http bytes



=== TEST 13: a longer one
--- x_proxy: eu1 http via



=== TEST 14: HTTP/1.0
--- x_proxy: eu1 http 1.0



=== TEST 15: interim answers
--- x_proxy: eu1 http interim



=== TEST 16: lines that end with LF
--- x_proxy: eu1 http lf



=== TEST 17: a length, which is none
--- x_proxy: eu1 http length



=== TEST 18: nor is it chunked
--- x_proxy: eu1 http chunked



=== TEST 19: the origin's first bytes, glued to it
--- x_proxy: eu1 http glued
--- response_body
glued



=== TEST 20: a long answer
--- request
GET /long
--- user_files eval
[["long", "0123456789abcdef\n" x 100000]]
--- response_body eval
"0123456789abcdef\n" x 100000



=== TEST 21: without one
--- request
HEAD /none
--- error_code: 204
