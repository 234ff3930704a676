# Why it exists: a client must be told by something of the request; one value
# for everybody is a mistake, and so is a limit by client where no client is.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 12;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1);
    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
    ');
});

run_tests();

__DATA__

=== TEST 1: no variable
--- config
    sluice_client everybody;
--- error_log eval
qr/\[emerg\] .*"everybody" has no variable: it would be the same client for everybody in /



=== TEST 2: an unknown variable
--- config
    sluice_client $no_such_variable;
--- error_log eval
qr/\[emerg\] .*unknown "no_such_variable" variable/



=== TEST 3: twice
--- config
    sluice_client $http_a;
    sluice_client $http_b;
--- error_log eval
qr/\[emerg\] .*"sluice_client" directive is duplicate in /



=== TEST 4: a limit by client without one
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
    }
--- error_log eval
qr{\[emerg\] .*limit "rpm" in location "/t" never matches: it counts by \$sluice_client, and there is no "sluice_client"}



=== TEST 5: a limit by client where it is switched off
--- config
    sluice_client $http_a;
    sluice_limit zone=rpm limit=1;
    location = /t {
        sluice_client off;
    }
--- error_log eval
qr{\[emerg\] .*limit "rpm" in location "/t" never matches}



=== TEST 6: the same, before the zone is defined, in a nested location
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location /a/ {
            sluice_client $http_a;
            location /a/b/ {
                sluice_client off;
                sluice_limit zone=rpm limit=1;
            }
        }
    }
--- config
--- error_log eval
qr{\[emerg\] .*limit "rpm" in location "/a/b/" never matches}
