# Why it exists: subrequests may need keys of their own.  They are neither
# recorded nor charged: their request is.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 40;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
        sluice_key_pool q { key sk-3 id=c; }
        log_format up "$uri $http_authorization $http_range";
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            access_log $TEST_NGINX_SERVER_ROOT/logs/upstream.log up;
            location / { return 200 "$http_authorization\n"; }
            location = /file {
                alias $TEST_NGINX_SERVER_ROOT/html/file;
            }
        }
    ' . ($block->http_config // ''));
});

# what the upstream was sent

add_test_cleanup_handler(sub {
    my ($block) = @_;

    open my $log, '<', "$Test::Nginx::Util::ServRoot/logs/upstream.log"
        or die $!;
    my $is = ref $block->x_upstream ? \&like : \&is;
    $is->(join('', map { s/ -$//r } sort <$log>), $block->x_upstream,
       $block->name . ' - x_upstream');
});

run_tests();

__DATA__

=== TEST 1: an auth request with a key
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=2;
    location = /t {
        auth_request /auth;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /auth {
        internal;
        sluice_key q;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 429]
--- x_records
outcome=admitted uri=/t pool=p key=a tries=1
outcome=admitted uri=/t pool=p key=b tries=1
outcome=limit uri=/t pool=- key=- tries=0
--- x_zone
rpm passed=2 refused=1
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=3 in_flight=0
--- x_counters
admitted=2 recorded=3 refused_limit=1
--- x_upstream
/auth sk-3
/auth sk-3
/auth sk-3
/t sk-1
/t sk-2



=== TEST 2: a mirror takes a key of its own; a refused request has no mirror
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=1;
    location = /t {
        mirror /mirror;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /mirror {
        internal;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["POST /t\nbody", "POST /t\nbody"]
--- error_code eval
[200, 429]
--- wait: 0.1
--- x_records
outcome=admitted uri=/t pool=p key=~^[ab]$ tries=1 status=200
outcome=limit uri=/t
--- x_zone
rpm passed=1 refused=1
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0
--- x_upstream eval
qr/^\/mirror sk-([12])\n\/t sk-(?!\1)[12]\n$/



=== TEST 3: server side includes
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=1;
    log_subrequest on;
    location = /page {
        ssi on;
        default_type text/html;
        alias $TEST_NGINX_SERVER_ROOT/html/page;
    }
    location /inc/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- user_files
>>> page
<!--# include virtual="/inc/1" --><!--# include virtual="/inc/2" -->.
--- request
GET /page
--- response_body_like: ^sk-[12]\nsk-[12]\n\.\n$
--- x_records
outcome=admitted uri=/page key=- pool=- status=200
--- x_zone
rpm passed=1 refused=0
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0
--- x_upstream eval
qr/^\/inc\/1 sk-[12]\n\/inc\/2 sk-[12]\n$/



=== TEST 4: slices run no phases: each still goes out with a key
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=1;
    location = /file {
        slice 10;
        sluice_key p;
        proxy_http_version 1.1;
        proxy_set_header Range $slice_range;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- user_files eval
[["file", "0123456789" x 3]]
--- request
GET /file
--- response_body chomp
012345678901234567890123456789
--- x_records
outcome=admitted uri=/file status=200
--- x_zone
rpm passed=1 refused=0
--- x_members
p a used=2 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0
--- x_upstream
/file sk-1 bytes=0-9
/file sk-1 bytes=20-29
/file sk-2 bytes=10-19



=== TEST 5: a cache that is updated in the background takes a key for it
--- http_config
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=4;
    location = /t {
        sluice_key p;
        proxy_cache c;
        proxy_cache_valid 1s;
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        add_header X-Cache $upstream_cache_status;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /wait {
        sluice_usage off;
        limit_rate 200;
        alias $TEST_NGINX_SERVER_ROOT/html/wait;
    }
--- user_files eval
[["wait", "x" x 300]]
--- request eval
["GET /t", "GET /wait", "GET /t", "GET /t"]
--- response_headers eval
["X-Cache: MISS", "!X-Cache", "X-Cache: STALE", "X-Cache: HIT"]
--- response_body eval
["sk-1\n", "x" x 300, "sk-1\n", "sk-1\n"]
--- error_code eval
[200, 200, 200, 200]
--- x_members
p a used=2 in_flight=0
p b used=0 in_flight=0
q c used=0 in_flight=0
--- x_upstream
/t sk-1
/t sk-1
