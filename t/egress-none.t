# Why it exists: with no proxy to be had a request is refused, with the time of
# the first that comes back; it never goes out without one.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 32;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'origin')]);
Sluice::Proxy::start(eu1 => 'http refuse', eu2 => 'socks5 close');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1 fail_timeout=20s;
            proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 fail_timeout=30s;
        }
        proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
        upstream origin {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
            keepalive 4;
        }
        upstream two {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT max_fails=1;
            server 127.0.0.2:$TEST_NGINX_SLUICE_PORT max_fails=1;
            sluice_egress eu;
        }
        ' . ($block->http_config // ''));
    $block->set_value('config', ($block->x_usage // 'sluice_usage on;') . '
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 500ms;
        add_header X-Proxy $sluice_proxy_id always;
        location = /t {
            proxy_pass http://origin;
        }
        location = /two {
            proxy_pass http://two/t;
        }
        location = /again {
            proxy_next_upstream error timeout http_502 http_503 non_idempotent;
            proxy_pass http://origin/t;
        }
        location = /literal {
            sluice_egress eu;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/t;
        }
        location = /openai {
            sluice_error_format openai;
            proxy_pass http://origin/t;
        }
        location = /page {
            error_page 503 = @page;
            proxy_pass http://origin/t;
        }
        location = /fill {
            sluice_egress off;
            proxy_cache c;
            proxy_cache_valid 1m;
            proxy_cache_key $arg_k;
            proxy_pass http://origin/t;
        }
        location = /cached {
            proxy_cache c;
            proxy_cache_key $arg_k;
            proxy_pass http://origin/t;
        }
        location @page {
            return 200 "page\n";
        }
        ' . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: all fail
--- request
POST /t
hello
--- error_code: 503
--- raw_response_headers_like: \r\nRetry-After: (19|20)\r\n
--- x_proxies
eu2
--- x_records
outcome=no_proxy status=503
--- x_members
eu eu1 in_flight=0 state=cooling
eu eu2 in_flight=0 state=cooling



=== TEST 2: all rest: nobody is asked, and the record has no try
--- request eval
["GET /t", "GET /t", "GET /again", "GET /literal"]
--- error_code eval
[503, 503, 503, 503]
--- raw_response_headers_like eval
[("\r\nRetry-After: (19|20)\r\n") x 4]
--- x_proxies
eu2
--- x_records
outcome=no_proxy status=503
outcome=no_proxy status=503 tries=0
outcome=no_proxy status=503 tries=0
outcome=no_proxy status=503 tries=0



=== TEST 3: in the client's dialect
--- request
GET /openai
--- error_code: 503
--- response_body_like: ^\{"error":\{"message":".*","type":
--- raw_response_headers_like: \r\nRetry-After: (19|20)\r\n



=== TEST 4: an error page comes before it
--- request
GET /page
--- response_body
page
--- response_headers
!Retry-After



=== TEST 5: what is in the cache is served, and what is not is refused
--- request eval
["GET /t", "GET /fill?k=a", "GET /cached?k=a", "GET /cached?k=b"]
--- error_code eval
[503, 200, 200, 503]
--- x_records
outcome=no_proxy status=503
outcome=admitted status=200
outcome=admitted status=200
outcome=no_proxy status=503



=== TEST 6: a page that is no error has nothing to be tried again
--- x_usage
--- config
        location = /well {
            error_page 503 =200 @page;
            proxy_pass http://origin/t;
        }
--- request
GET /well
--- response_headers
! Retry-After
--- response_body
page



=== TEST 5: no server rests for it
--- request eval
["GET /two", "GET /two"]
--- error_code eval
[503, 503]
--- x_log
0: upstream server temporarily disabled
0: no live upstreams
