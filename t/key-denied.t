# Why it exists: a client may ask for what no key of the account is allowed.
# Three such requests must not take the keys away from everybody; a key that
# was revoked must go all the same.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 266;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-revoked id=a; key sk-well id=b; }
        sluice_key_pool only { key sk-well id=b; }
        ' . ($block->http_config // '') . '
        map "$uri $http_authorization" $answer {
            "~^/forbidden "          403;
            "~^/unauthorized "       401;
            "~^/(?:t|only).*revoked" 401;
            "~^/revoked.*revoked"    403;
            default                  200;
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            if ($answer = 401) { return 401 "401"; }
            if ($answer = 403) { return 403 "403"; }
            return 200 "200";
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
            set $s $arg_a;
            if ($http_authorization = sk-well) { set $s $arg_b; }
            set $words "{\"error\":{\"param\":\"insufficient_quota\"}}";
            if ($s = 400) { return 400 $words; }
            if ($s = 403) { return 403 $words; }
            if ($s = 429) { return 429 $words; }
            if ($s = 401) { return 401 "401"; }
            if ($s = 404) { return 404 "404"; }
            return 200 "200";
        }
    ');
    $block->set_value('config', '
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        location ~ ^/(forbidden|unauthorized|revoked|t)$ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /only {
            sluice_key only;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/forbidden;
        }
        location = /only401 {
            sluice_key only;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/unauthorized;
        }
        location = /echo {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        }
        ' . ($block->config // '') . '
    ');
});

run_tests();

__DATA__

=== TEST 1: 403 for every key: it is the request
--- request eval
["GET /forbidden", "GET /forbidden", "GET /forbidden", "GET /forbidden"]
--- error_code eval
[403, 403, 403, 403]
--- x_members
only b used=0 denied=0
p a used=4 state=healthy denied=0 client=4 in_flight=0
p b used=4 state=healthy denied=0 client=4 in_flight=0



=== TEST 2: 401 for every key: the provider has trouble
--- request eval
["GET /unauthorized", "GET /unauthorized", "GET /unauthorized"]
--- error_code eval
[401, 401, 401]
--- x_members
only b used=0
p a used=3 state=healthy denied=0 client=3 in_flight=0
p b used=3 state=healthy denied=0 client=3 in_flight=0



=== TEST 3: 403 for one of them, and not for another: it is the key
--- request eval
["GET /revoked", "GET /revoked", "GET /revoked", "GET /revoked",
 "GET /revoked", "GET /revoked", "GET /revoked"]
--- error_code eval
[200, 200, 200, 200, 200, 200, 200]
--- x_members
only b used=0
p a state=disabled denied=3 client=0 used=3 in_flight=0
p b state=healthy denied=0 used=7 in_flight=0
--- x_log
1: key "a" of pool "p" is disabled after status 403



=== TEST 4: the only key of a pool: 403 may always be the request
--- request eval
["GET /only", "GET /only", "GET /only", "GET /only"]
--- error_code eval
[403, 403, 403, 403]
--- x_members
only b state=healthy used=4 denied=0 client=4
p a used=0
p b used=0



=== TEST 5: and 401 never is
--- request eval
["GET /only401", "GET /only401", "GET /only401", "GET /only401"]
--- error_code eval
[401, 401, 401, 503]
--- x_members
only b state=disabled used=3 denied=3 client=0
p a used=0
p b used=0
--- x_log
1: key "b" of pool "only" is disabled after status 401



=== TEST 6: between a client's forbidden requests a revoked key goes
--- request eval
["GET /forbidden", "GET /t", "GET /forbidden", "GET /t", "GET /forbidden",
 "GET /t", "GET /t", "GET /t", "GET /t", "GET /t", "GET /t"]
--- error_code eval
[403, 200, 403, 200, 403, 200, 200, 200, 200, 200, 200]
--- x_members
only b used=0
p a state=disabled denied=3 in_flight=0
p b state=healthy denied=0 in_flight=0



=== TEST 7: many are revoked at once: whoever is well is found, and they go
--- http_config
    sluice_key_pool many {
        key sk-revoked1 id=a; key sk-revoked2 id=b; key sk-revoked3 id=c;
        key sk-revoked4 id=d; key sk-revoked5 id=e; key sk-well id=f;
    }
--- config
    location = /many {
        sluice_key many;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/t;
    }
--- request eval
[("GET /many") x 40]
--- error_code eval
[401, (200) x 39]
--- x_members
many a state=disabled denied=3 client=1
many b state=disabled denied=3 client=1
many c state=disabled denied=3 client=1
many d state=disabled denied=3 client=0
many e state=disabled denied=3 client=0
many f state=healthy denied=0 used=39
only b used=0
p a used=0
p b used=0



=== TEST 8: by 403, too
--- http_config
    sluice_key_pool many {
        key sk-revoked1 id=a; key sk-revoked2 id=b; key sk-revoked3 id=c;
        key sk-revoked4 id=d; key sk-revoked5 id=e; key sk-well id=f;
    }
--- config
    location = /many {
        sluice_key many;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/revoked;
    }
--- request eval
[("GET /many") x 40]
--- error_code eval
[403, (200) x 39]
--- x_members
many a state=disabled denied=3 client=1
many b state=disabled denied=3 client=1
many c state=disabled denied=3 client=1
many d state=disabled denied=3 client=0
many e state=disabled denied=3 client=0
many f state=healthy denied=0 used=39
only b used=0
p a used=0
p b used=0



=== TEST 9: a client whose keys are all revoked comes to another's
--- http_config
    sluice_key_pool many {
        key sk-revoked1 id=a; key sk-revoked2 id=b; key sk-well id=c;
        balance hash $arg_u;
    }
--- config
    location = /many {
        sluice_key many;
        sluice_key_tries 2;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/t;
    }
--- request eval
[(map { "GET /many?u=$_" } 3, 4, 5, 6, 8) x 4]
--- error_code eval
[401, (200) x 19]
--- x_members
many a state=disabled
many b state=disabled
many c state=healthy denied=0
only b used=0
p a used=0
p b used=0



=== TEST 10: a client of keys that all are doubted, one of them for nothing
--- http_config
    sluice_key_pool many {
        key sk-revoked1 id=a; key sk-revoked2 id=b; key sk-well id=c;
        balance hash $arg_u;
    }
--- config
    location = /many {
        sluice_key many;
        sluice_key_tries 2;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/t;
    }
    location = /unauthorized/many {
        sluice_key many;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/unauthorized;
    }
--- request eval
["GET /unauthorized/many?u=3", ("GET /many?u=3") x 8]
--- error_code eval
[401, 401, (200) x 7]
--- x_members
many a state=disabled
many b state=disabled
many c state=healthy denied=0
only b used=0
p a used=0
p b used=0



=== TEST 11: among requests of all others a client's cost no key anything
--- http_config
    sluice_key_pool many {
        key sk-well1 id=a; key sk-well2 id=b; key sk-well3 id=c;
        key sk-well4 id=d; key sk-well5 id=e; key sk-well6 id=f;
    }
--- config
    location /many/ {
        sluice_key many;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request eval
[("GET /many/unauthorized", "GET /many/t", "GET /many/forbidden") x 20]
--- error_code eval
[(401, 200, 403) x 20]
--- x_members
many a state=healthy denied=0
many b state=healthy denied=0
many c state=healthy denied=0
many d state=healthy denied=0
many e state=healthy denied=0
many f state=healthy denied=0
only b used=0
p a used=0
p b used=0



=== TEST 12: it is told when the other key's answer begins, not when that ends
--- http_config
    sluice_key_pool slow { key sk-revoked id=a; key sk-well id=b backup; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        root $TEST_NGINX_SERVER_ROOT/html;
        limit_rate 300;
        if ($http_authorization ~ revoked) { return 401; }
    }
--- user_files eval
[["slow", "x" x 300]]
--- config
    location = /slow {
        sluice_key slow;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- x_curl
+0 -o /dev/null -w '%{http_code} ' http://127.0.0.1:$SERVER/slow
+150 -o /dev/null -w '%{http_code} ' http://127.0.0.1:$SERVER/slow
+300 -o /dev/null -w '%{http_code} ' http://127.0.0.1:$SERVER/slow
+450 -o /dev/null -w '%{http_code} ' http://127.0.0.1:$SERVER/slow
--- x_curl_out chomp
200 200 200 200 
--- x_members
only b used=0
p a used=1
p b used=1
slow a used=3 state=disabled denied=3
slow b used=4 state=healthy
--- request
GET /t
--- response_body: 200



=== TEST 13: a client's words come back, with every key: it is the request
--- request eval
["GET /echo?a=400&b=400", "GET /echo?a=403&b=403", "GET /echo?a=400&b=400"]
--- error_code eval
[400, 403, 400]
--- x_members
only b used=0
p a used=3 state=healthy quota=0 client=3 in_flight=0
p b used=3 state=healthy quota=0 client=3 in_flight=0
--- x_log
0: exhausted



=== TEST 14: with one of them, and not with another: it is the key
--- request eval
["GET /echo?a=400&b=200", "GET /echo?a=400&b=200", "GET /echo?a=400&b=200"]
--- error_code eval
[200, 200, 200]
--- x_members
only b used=0
p a used=1 state=exhausted for=86400000 reason=body status=400 quota=1 client=0
p b used=3 state=healthy quota=0 in_flight=0
--- x_log
1: key "a" of pool "p" is exhausted for 86400 seconds after status 400 and a body that says so



=== TEST 15: an error in other words is one all the same
--- request eval
["GET /echo?a=400&b=404", "GET /echo?a=400&b=404"]
--- error_code eval
[404, 404]
--- x_members
only b used=0
p a used=1 state=healthy quota=0 client=1 in_flight=0
p b used=2 state=healthy quota=0 client=2 in_flight=0
--- x_log
0: exhausted



=== TEST 16: with 403, too, and that is no denial besides
--- request eval
["GET /echo?a=403&b=200", "GET /echo?a=403&b=200", "GET /echo?a=403&b=200"]
--- error_code eval
[200, 200, 200]
--- x_members
only b used=0
p a used=1 state=exhausted reason=body status=403 quota=1 denied=0
p b used=3 state=healthy quota=0 in_flight=0
--- x_log
1: key "a" of pool "p" is exhausted for 86400 seconds after status 403 and a body that says so



=== TEST 17: the only key of a pool: it may always be the request
--- config
    location = /echo/only {
        sluice_key only;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
    }
--- request eval
["GET /echo/only?b=400", "GET /echo/only?b=403", "GET /echo/only?b=400"]
--- error_code eval
[400, 403, 400]
--- response_body_like eval
["insufficient_quota", "insufficient_quota", "insufficient_quota"]
--- x_members
only b used=3 state=healthy quota=0 client=3
p a used=0
p b used=0



=== TEST 18: nor is another one asked
--- config
    location = /echo/once {
        sluice_key_tries 1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
    }
--- request eval
["GET /echo/once?a=400&b=200", "GET /echo/once?a=400&b=200"]
--- error_code eval
[400, 200]
--- x_members
only b used=0
p a used=1 state=healthy quota=0 client=1
p b used=1 state=healthy



=== TEST 19: with 429 it never is the request
--- request eval
["GET /echo?a=429&b=429", "GET /echo?a=200&b=200"]
--- error_code eval
[429, 503]
--- x_members
only b used=0
p a used=1 state=exhausted reason=body status=429 quota=1
p b used=1 state=exhausted reason=body status=429 quota=1



=== TEST 20: who answers 400 has let the key in: a 401 counts beside it
--- http_config
    sluice_key_pool order { key sk-revoked id=a; key sk-well id=b backup; }
--- config
    location = /echo/order {
        sluice_key order;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
    }
--- request eval
[("GET /echo/order?a=401&b=400") x 4]
--- error_code eval
[400, 400, 400, 400]
--- x_members
only b used=0
order a used=3 state=disabled denied=3 client=0
order b used=4 state=healthy quota=0 client=4
p a used=0
p b used=0



=== TEST 21: and not beside a 403, whatever that says
--- http_config
    sluice_key_pool order { key sk-revoked id=a; key sk-well id=b backup; }
--- config
    location = /echo/order {
        sluice_key order;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
    }
--- request eval
[("GET /echo/order?a=401&b=403") x 4]
--- error_code eval
[403, 403, 403, 403]
--- x_members
only b used=0
order a used=4 state=healthy denied=0 client=4
order b used=4 state=healthy quota=0 client=4
p a used=0
p b used=0



=== TEST 22: a page in place of an error is another request to the upstream
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        return 404;
    }
--- config
    location = /page {
        proxy_intercept_errors on;
        error_page 404 = /echo?a=400&b=400;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    location = /page403 {
        proxy_intercept_errors on;
        error_page 404 = /forbidden;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request eval
["GET /page", ("GET /page403") x 3]
--- error_code eval
[400, 403, 403, 403]
--- x_members
only b used=0
p a state=healthy quota=0 denied=0
p b state=healthy quota=0 denied=0
