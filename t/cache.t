# Why it exists: an answer from the cache asks no upstream: it takes no key,
# but it is charged and recorded like any other.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 11;

run_tests();

__DATA__

=== TEST 1: a miss, two hits
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "for $http_authorization\n";
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=3;
        sluice_key p;
        proxy_cache c;
        proxy_cache_valid 1h;
        add_header X-Cache "$upstream_cache_status|$sluice_key_id";
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200, 429]
--- response_headers eval
["X-Cache: MISS|a", "X-Cache: HIT|", "X-Cache: HIT|", "!X-Cache"]
--- x_records
outcome=admitted status=200 key=a pool=p tries=1
outcome=admitted status=200 key=- pool=- tries=0
outcome=admitted status=200 key=- pool=- tries=0
outcome=limit status=429
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0
--- x_zone
rpm passed=3 refused=1
