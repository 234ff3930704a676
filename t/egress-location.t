# Why it exists: a location decides which way its requests take, also where it
# shares its upstream with others, and where the host stands in proxy_pass as it
# is; the way that is not configured is never taken.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 47;

Sluice::Proxy::start(eu1 => 'http', us1 => 'socks5');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
        }
        sluice_proxy_pool us {
            proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_US1 id=us1;
        }
        upstream origin {
            server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            sluice_egress eu;
            keepalive 4;
        }
        upstream plain {
            server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            return 200 "$uri\n";
        }
        ' . ($block->http_config // ''));
    $block->set_value('config', '
        proxy_http_version 1.0;
        add_header X-Proxy $sluice_proxy_id always;
        ' . $block->config);
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: a literal host, three ways
--- config
    location = /eu {
        sluice_egress eu;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /us {
        sluice_egress us;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /off {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /eu", "GET /us", "GET /off", "GET /eu"]
--- response_body eval
["/eu\n", "/us\n", "/off\n", "/eu\n"]
--- response_headers eval
["X-Proxy: eu1", "X-Proxy: us1", "!X-Proxy", "X-Proxy: eu1"]
--- x_proxies
eu1 CONNECT ~^127\.0\.0\.1:\d+$
us1 SOCKS5 ~^127\.0\.0\.1:\d+$
eu1 CONNECT



=== TEST 2: an upstream that has one, and another in the location
--- config
    location = /t {
        proxy_pass http://origin;
    }
    location = /us {
        sluice_egress us;
        proxy_pass http://origin;
    }
    location = /off {
        sluice_egress off;
        proxy_pass http://origin;
    }
--- request eval
["GET /t", "GET /us", "GET /off", "GET /t"]
--- response_headers eval
["X-Proxy: eu1", "X-Proxy: us1", "!X-Proxy", "X-Proxy: eu1"]
--- x_proxies
eu1
us1
eu1



=== TEST 3: inherited
--- config
    location /t {
        sluice_egress us;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location /t/off {
            sluice_egress off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /t/eu {
            sluice_egress eu;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    }
--- request eval
["GET /t", "GET /t/off", "GET /t/eu"]
--- response_headers eval
["X-Proxy: us1", "!X-Proxy", "X-Proxy: eu1"]
--- x_proxies
us1
eu1



=== TEST 4: variables that name an upstream
--- config
    location ~ ^/(origin|plain)$ {
        proxy_pass http://$1;
    }
--- request eval
["GET /origin", "GET /plain"]
--- response_headers eval
["X-Proxy: eu1", "!X-Proxy"]
--- x_proxies
eu1



=== TEST 5: an internal redirect takes the way of where it ends
--- config
    location = /t {
        sluice_egress us;
        error_page 404 = /eu;
        proxy_intercept_errors on;
        rewrite ^ /eu last;
    }
    location = /eu {
        proxy_pass http://origin;
    }
    location = /page {
        sluice_egress us;
        error_page 502 = @other;
        proxy_pass http://127.0.0.1:1;
    }
    location @other {
        proxy_pass http://origin;
    }
--- request eval
["GET /t", "GET /page"]
--- response_headers eval
["X-Proxy: eu1", "X-Proxy: eu1"]
--- x_proxies
eu1
us1 SOCKS5 127.0.0.1:1
eu1



=== TEST 6: what is asked beside it goes its own way
--- config
    location = /t {
        auth_request /auth;
        mirror /mirror;
        proxy_pass http://origin;
    }
    location = /auth {
        internal;
        sluice_egress us;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /mirror {
        internal;
        proxy_pass http://plain;
    }
--- request
GET /t
--- response_headers
X-Proxy: eu1
--- x_proxies
us1
eu1



=== TEST 7: an if of the same location
--- config
    location /t {
        sluice_egress eu;
        if ($arg_us) {
            set $a b;
        }
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t?us=1", "GET /t"]
--- response_headers eval
["X-Proxy: eu1", "X-Proxy: eu1"]
--- x_proxies
eu1
eu1
