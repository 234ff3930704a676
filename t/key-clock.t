# Why it exists: nginx's own clock stands still while a worker is busy, and for
# as long as timer_resolution says.  What is concluded from answers must not
# depend on it: a success that began after an error ends a row of them, and each
# denial after another counts.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 26;

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value('main_config', 'timer_resolution 1s;');
    $block->set_value('http_config', <<'_EOC_');
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p {
        key sk-1 id=a;
        breaker errors=3 window=10s open=30s;
        disable 401 after=3;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location = /500 { return 500; }
        location = /401 { return 401; }
        location / { return 200; }
    }
_EOC_
    $block->set_value('config', <<'_EOC_');
    location ~ ^/ {
        sluice_key p;
        sluice_key_tries 1;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
_EOC_
});

no_shuffle();
run_tests();

__DATA__

=== TEST 1: errors between which there is a success are none in a row
--- request eval
[("GET /500", "GET /200") x 6]
--- error_code eval
[(500, 200) x 6]
--- x_members
p a state=healthy used=12 in_flight=0



=== TEST 2: and without one they are
--- request eval
["GET /500", "GET /200", ("GET /500") x 4]
--- error_code eval
[500, 200, 500, 500, 500, 503]
--- x_members
p a state=cooling used=5 in_flight=0



=== TEST 3: each denial is one in the row
--- request eval
["GET /200", ("GET /401") x 4]
--- error_code eval
[200, 401, 401, 401, 503]
--- x_members
p a state=disabled used=4 in_flight=0
