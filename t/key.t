# Why it exists: the keys of a pool take turns, each request has one of them
# while it is under way, and says which in its record.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 32;

run_tests();

__DATA__

=== TEST 1: in turns
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p {
        balance round_robin;
        key sk-1 id=a;
        key sk-2 id=b;
        key "sk 3" id=c;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "$http_authorization\n";
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_key p;
        add_header X-Key $sluice_key_id;
        proxy_set_header Authorization "Bearer $sluice_key";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t"]
--- response_headers eval
["X-Key: a", "X-Key: b", "X-Key: c", "X-Key: a"]
--- response_body eval
["Bearer sk-1\n", "Bearer sk-2\n", "Bearer sk 3\n", "Bearer sk-1\n"]
--- x_records
key=a pool=p
key=b
key=c
key=a
--- x_members
p a used=2 in_flight=0
p b used=1 in_flight=0
p c used=1 in_flight=0



=== TEST 2: asked for twice, it is one key
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "$http_authorization $http_x $http_id\n";
    }
--- config
    location = /t {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_set_header X $sluice_key;
        proxy_set_header Id $sluice_key_id;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["sk-1 sk-1 a\n", "sk-2 sk-2 b\n"]
--- x_members
p a used=1
p b used=1



=== TEST 3: from files, relative to the configuration and not
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p {
        key file:../html/one id=a;
        key file:$TEST_NGINX_SERVER_ROOT/html/two id=b;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "$http_authorization\n";
    }
--- config
    location = /t {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- user_files eval
[["one", "sk-one\n"], ["two", "sk-two\r\n"]]
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["sk-one\n", "sk-two\n"]



=== TEST 4: two pools, a location without one, and who asks and sends nothing
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    sluice_key_pool q { key sk-2 id=a; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "$http_authorization\n";
    }
--- config
    sluice_key p;
    proxy_set_header Authorization $sluice_key;
    location = /p {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /q {
        sluice_key q;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /off {
        sluice_key off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /rewrite {
        set $early $sluice_key;
        return 200 "$early\n";
    }
--- request eval
["GET /p", "GET /q", "GET /off", "GET /rewrite"]
--- response_body eval
["sk-1\n", "sk-2\n", "\n", "\n"]
--- x_members
p a used=1 in_flight=0
q a used=1 in_flight=0
