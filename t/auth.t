# Why it exists: admission comes after access.  What nginx's own modules deny
# is denied, charged to nobody, takes no key, and is recorded as unadmitted;
# and no directive of ours opens a door under "satisfy any".

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 32;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location = /ok   { return 204; }
            location = /no   { return 403; }
            location / { return 200 "for $http_authorization\n"; }
        }
    ');
    $block->set_value('user_files', [['users', "u:{PLAIN}p\n"]])
        unless defined $block->user_files;
});

run_tests();

__DATA__

=== TEST 1: deny
--- config
    location = /t {
        deny all;
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request
GET /t
--- error_code: 403
--- x_records
outcome=unadmitted status=403 flags=late uri=/t key=- request_id=~^[0-9a-f]{32}$
--- x_zone
rpm passed=0 refused=0
--- x_members
p a used=0 in_flight=0
--- x_counters
admitted=0 recorded=1



=== TEST 2: auth_basic
--- config
    location = /t {
        auth_basic closed;
        auth_basic_user_file $TEST_NGINX_SERVER_ROOT/html/users;
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X: y", "Authorization: Basic dTpw", "Authorization: Basic dTpx"]
--- error_code eval
[401, 200, 401]
--- x_records
outcome=unadmitted status=401 flags=late
outcome=admitted status=200 key=a flags=-
outcome=unadmitted status=401 flags=late
--- x_zone
rpm passed=1 refused=0
--- x_members
p a used=1 in_flight=0



=== TEST 3: auth_request
--- config
    location = /t {
        auth_request /auth;
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
    location = /auth {
        internal;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1$http_x_auth;
    }
--- request eval
["GET /t", "GET /t"]
--- more_headers eval
["X-Auth: /no", "X-Auth: /ok"]
--- error_code eval
[403, 200]
--- x_records
outcome=unadmitted status=403 flags=late
outcome=admitted status=200 flags=- key=a
--- x_zone
rpm passed=1 refused=0
--- x_members
p a used=1 in_flight=0



=== TEST 4: satisfy any: closed to who satisfies nothing, open to the others
--- config
    location /t {
        satisfy any;
        deny all;
        auth_basic closed;
        auth_basic_user_file $TEST_NGINX_SERVER_ROOT/html/users;
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request eval
["GET /t", "GET /t"]
--- more_headers eval
["X: y", "Authorization: Basic dTpw"]
--- error_code eval
[401, 200]
--- response_body_like eval
["401 Authorization Required", "for sk-1"]
--- x_records
outcome=unadmitted status=401 flags=late
outcome=admitted status=200 flags=-
--- x_zone
rpm passed=1 refused=0



=== TEST 5: what the auth request says of the client is known at admission
--- config
    location = /t {
        auth_request /auth;
        auth_request_set $who $upstream_http_x_who;
        sluice_usage on;
        sluice_usage_field who $who;
        sluice_client $who;
        sluice_limit zone=rpm limit=10;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
    location = /auth {
        internal;
        add_header X-Unused 1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/who;
    }
    location = /who {
        add_header X-Who me;
        return 204;
    }
--- request
GET /t
--- x_records
outcome=admitted status=200 field.who=me client=~^[0-9a-f]{32}$ tries=1



=== TEST 6: the page of a denial is not charged for
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=10;
    error_page 403 /page.html;
    location = /t {
        deny all;
    }
    location = /page.html {
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- user_files
>>> page.html
no
--- request
GET /t
--- error_code: 403
--- response_body
no
--- x_records
outcome=unadmitted status=403 flags=late uri=/t key=- request_id=~^[0-9a-f]{32}$
--- x_zone
rpm passed=0 refused=0



=== TEST 7: what "error_page =" passes on is another request
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=10;
    location = /t {
        error_page 418 = @api;
        return 418;
    }
    location @api {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t
--- response_body
for sk-1
--- x_records
outcome=admitted status=200 uri=/t key=a request_id=~^[0-9a-f]{32}$
--- x_zone
rpm passed=1 refused=0
