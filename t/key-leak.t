# Why it exists: what the cache answers, or nobody, has no key in it: not in a
# header of the answer, nor in the access log.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 16;

run_tests();

__DATA__

=== TEST 1: a hit, a body that is no good, a name that is none
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    log_format leak '[$sluice_key] $uri $status';
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "for $http_authorization\n";
    }
--- config
    sluice_key p;
    access_log $TEST_NGINX_SERVER_ROOT/logs/leak.log leak;
    add_header X-Leak "[$sluice_key]" always;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        proxy_cache c;
        proxy_cache_valid 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /body {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /name {
        set $name nowhere.example;
        proxy_pass http://$name;
    }
    location = /leak.log {
        sluice_key off;
        root $TEST_NGINX_SERVER_ROOT/logs;
    }
--- request eval
["GET /t", "GET /t", "POST /body\nzz\r\n\r\n", "GET /name", "GET /leak.log"]
--- more_headers eval
["", "", "Transfer-Encoding: chunked", "", ""]
--- error_code eval
[200, 200, 400, 502, 200]
--- raw_response_headers_unlike eval
["sk-", "sk-", "sk-", "sk-", "sk-"]
--- response_body_like eval
["for sk-1", "for sk-1", "400 Bad Request", "502 Bad Gateway",
 "^\\[-\\] /t 200\n\\[-\\] /t 200\n\\[-\\] /body 400\n\\[-\\] /name 502\n\$"]
--- x_members
p a used=1 left=0 in_flight=0

