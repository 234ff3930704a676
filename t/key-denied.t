# Why it exists: a client may ask for what no key of the account is allowed.
# Three such requests must not take the keys away from everybody; a key that
# was revoked must go all the same.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 41;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-revoked id=a; key sk-well id=b; }
        sluice_key_pool only { key sk-well id=b; }
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
